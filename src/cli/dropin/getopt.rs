//! The grammar of getopt_long(3), which clap does not have: operands and
//! options in any order, long names cut short, short ones run together.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// An option.
#[derive(Debug, Clone, Copy)]
pub(super) struct Definition<Id> {
    /// What the caller calls it.
    pub(super) id: Id,
    /// Its letter, if it has one.
    pub(super) short: Option<u8>,
    /// Its name, without the dashes; empty if it has only a letter.
    pub(super) long: &'static str,
    /// Whether a value follows.
    pub(super) value: bool,
}

/// What was found: the options in their order, each with its value (empty where
/// it takes none), and the operands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<Id> {
    pub(super) options: Vec<(Id, OsString)>,
    pub(super) operands: Vec<OsString>,
}

/// Takes `args`, without the name of the program, apart; an error is what
/// getopt_long would print, without the name of the program.
pub(super) fn parse<Id: Copy>(
    definitions: &[Definition<Id>],
    args: &[OsString],
) -> Result<Found<Id>, String> {
    let mut found = Found {
        options: Vec::new(),
        operands: Vec::new(),
    };
    let mut ahead = args.iter();
    while let Some(arg) = ahead.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            found.operands.extend(ahead.by_ref().cloned());
        } else if let Some(word) = bytes.strip_prefix(b"--") {
            let end = word.iter().position(|&byte| byte == b'=');
            let (name, glued) = match end {
                Some(end) => (&word[..end], Some(&word[end + 1..])),
                None => (word, None),
            };
            let option = by_long_name(definitions, name)?;
            let value = match (option.value, glued) {
                (false, None) => OsString::new(),
                (false, Some(_)) => {
                    let name = option.long;
                    return Err(format!("option '--{name}' doesn't allow an argument"));
                }
                (true, Some(value)) => OsStr::from_bytes(value).to_owned(),
                (true, None) => ahead.next().cloned().ok_or_else(|| {
                    let name = option.long;
                    format!("option '--{name}' requires an argument")
                })?,
            };
            found.options.push((option.id, value));
        } else if let Some(letters) = bytes.strip_prefix(b"-").filter(|rest| !rest.is_empty()) {
            for (at, letter) in letters.iter().enumerate() {
                let shown = char::from(*letter);
                let option = definitions
                    .iter()
                    .find(|option| option.short == Some(*letter))
                    .ok_or_else(|| format!("invalid option -- '{shown}'"))?;
                if !option.value {
                    found.options.push((option.id, OsString::new()));
                    continue;
                }
                // The rest of the word, or the next one.
                let value = match &letters[at + 1..] {
                    [] => ahead
                        .next()
                        .cloned()
                        .ok_or_else(|| format!("option requires an argument -- '{shown}'"))?,
                    rest => OsStr::from_bytes(rest).to_owned(),
                };
                found.options.push((option.id, value));
                break;
            }
        } else {
            found.operands.push(arg.clone());
        }
    }
    Ok(found)
}

/// The option that `name` is, or the only one that it begins.
fn by_long_name<'a, Id>(
    definitions: &'a [Definition<Id>],
    name: &[u8],
) -> Result<&'a Definition<Id>, String> {
    let named = || definitions.iter().filter(|option| !option.long.is_empty());
    if let Some(option) = named().find(|option| option.long.as_bytes() == name) {
        return Ok(option);
    }
    let mut fitting = named().filter(|option| option.long.as_bytes().starts_with(name));
    let shown = String::from_utf8_lossy(name);
    match (fitting.next(), fitting.next()) {
        (Some(option), None) => Ok(option),
        (None, _) => Err(format!("unrecognized option '--{shown}'")),
        (Some(first), Some(second)) => {
            let names: String = [first, second]
                .into_iter()
                .chain(fitting)
                .map(|option| format!(" '--{}'", option.long))
                .collect();
            Err(format!(
                "option '--{shown}' is ambiguous; possibilities:{names}"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    const TABLE: &[Definition<&str>] = &[
        Definition {
            id: "help",
            short: None,
            long: "help",
            value: false,
        },
        Definition {
            id: "host",
            short: None,
            long: "host-cpu",
            value: true,
        },
        Definition {
            id: "format",
            short: Some(b'f'),
            long: "format",
            value: true,
        },
        Definition {
            id: "verbose",
            short: Some(b'v'),
            long: "verbose",
            value: false,
        },
        Definition {
            id: "version",
            short: Some(b'V'),
            long: "version",
            value: false,
        },
    ];

    /// What we make of the words, in the way in which getopt(1) prints it.
    fn ours(words: &[String]) -> Option<String> {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        let found = parse(TABLE, &args).ok()?;
        let options = found.options.iter().map(|(id, value)| {
            let definition = TABLE.iter().find(|option| option.id == *id).unwrap();
            let value = value.to_str().unwrap();
            if definition.value {
                format!("{id} [{value}]\n")
            } else {
                format!("{id}\n")
            }
        });
        let operands = found.operands.iter();
        let operands = operands.map(|operand| format!("[{}]\n", operand.to_str().unwrap()));
        Some(options.chain(operands).collect())
    }

    /// The same by getopt(1), which calls getopt_long(3); an error where there
    /// is no such program.
    fn theirs(words: &[String]) -> std::io::Result<Option<String>> {
        let script = r#"set -e; unset POSIXLY_CORRECT
            words=$(getopt -q -o f:vV -l help,host-cpu:,format:,verbose,version -- "$@"); eval set -- "$words"
            while [ "$1" != -- ]; do case $1 in
                --help) echo help;; --host-cpu) shift; echo "host [$1]";;
                -f|--format) shift; echo "format [$1]";;
                -v|--verbose) echo verbose;; -V|--version) echo version;;
            esac; shift; done; shift
            for word; do echo "[$word]"; done"#;
        let output = Command::new("bash")
            .args(["-c", script, "sh"])
            .args(words)
            .output()?;
        let text = String::from_utf8(output.stdout).unwrap();
        Ok(output.status.success().then_some(text))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// getopt(1) of util-linux is the judge.
        #[test]
        fn as_getopt_has_it(words in proptest::collection::vec(prop_oneof![
            Just("a".to_owned()), Just("-".to_owned()), Just("--".to_owned()),
            "--(h|he|help|ho|host-cpu|format|f|v|verb|vers|x)(=|=b|)", "-[fvVx]{1,3}(c|=|)", ""], 0..7))
        {
            if let Ok(theirs) = theirs(&words) {
                prop_assert_eq!(ours(&words), theirs);
            }
        }
    }

    #[test]
    fn messages() {
        let say = |word: &str| parse(TABLE, &[word.into()]).unwrap_err();
        assert_eq!(say("-x"), "invalid option -- 'x'");
        assert_eq!(say("-vf"), "option requires an argument -- 'f'");
        assert_eq!(say("--host"), "option '--host-cpu' requires an argument");
        assert_eq!(say("--help=x"), "option '--help' doesn't allow an argument");
        assert_eq!(
            say("--ver"),
            "option '--ver' is ambiguous; possibilities: '--verbose' '--version'"
        );
        assert_eq!(say("--oops=1"), "unrecognized option '--oops'");
    }
}
