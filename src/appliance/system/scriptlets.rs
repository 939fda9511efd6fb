//! The packages' real scriptlets: which there are, those that nothing here
//! stands in for, and, where the author wants them to run, their way into the guest.

use super::{Context, file};
use crate::appliance::tree::{Parents, Tree};
use crate::family::Family;
use crate::host::{Host, Package, PackageId, Resolution};
use crate::skeleton::Skeleton;
use crate::skeleton::guest::FIRST_BOOT;
use crate::{Result, command, files, glob};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::process::Command;

/// Where the scripts lie in the guest, each with its number in the order.
const DIRECTORY: &str = "/usr/lib/freezedry/scriptlets";

/// A scriptlet of a package's installation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Script {
    package: String,
    /// `postinst`, or `pre`, `post` and `posttrans`; also says how it is called.
    kind: &'static str,
    /// The program that runs it; empty if its first line says it.
    interpreter: String,
    text: String,
}

/// Something that installing a package does, and an appliance does without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreproduced {
    /// The package.
    pub package: String,
    /// What does it: `postinst`, `post`, `posttrans`.
    pub scriptlet: String,
    /// Its first command that nothing stands in for.
    pub command: String,
}

impl fmt::Display for Unreproduced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            package,
            scriptlet,
            command,
        } = self;
        write!(
            f,
            "the {scriptlet} scriptlet of {package} is not run: `{command}`"
        )
    }
}

/// What installing the packages of `skeleton` does on `host`, and an appliance
/// does without, dependencies first; with `scriptlets: run` that is next to
/// nothing.
///
/// It is a list for people: what scripts call and Freezedry stands in for
/// (accounts, units, tmpfiles, alternatives, caches) is not in it, nor are
/// packages whose scripts are known to do no more.
pub fn unreproduced(skeleton: &Skeleton, host: &Host) -> Result<Vec<Unreproduced>> {
    let database = host.packages()?;
    let roots: Vec<PackageId> = skeleton
        .packages
        .iter()
        .filter_map(|name| database.find(name))
        .collect();
    let ids = database.closure(&roots, Resolution::Correct);
    let mut members = skeleton.images.iter().flat_map(|image| &image.members);
    let run = members.any(|member| member.path == Path::new(FIRST_BOOT));
    let scripts = scripts(host, &ids)?;
    let left = scripts
        .iter()
        .filter(|script| !run || script.executable().is_none());
    Ok(left.filter_map(Script::remainder).collect())
}

/// Puts the scripts in, if the skeleton has the program that runs them.
pub(super) fn apply<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) {
    if tree.look_up(Path::new(FIRST_BOOT)).is_none() {
        return;
    }
    // Whoever boots sees in the log that there were none.
    let scripts = scripts(context.host, context.ids).unwrap_or_default();
    let after = scripts.iter().filter(|script| script.kind != "pre");
    for (number, script) in after.enumerate() {
        let Some(text) = script.executable() else {
            continue;
        };
        let name = format!("{number:04}-{}.{}", script.package, script.kind);
        file(
            tree,
            &Path::new(DIRECTORY).join(name),
            0o755,
            text.into_bytes(),
        );
    }
}

/// Words of those scripts of the plan's packages that add accounts: the names of
/// these are among them.
pub(super) fn words_of_who_adds_accounts(context: &Context<'_>) -> BTreeSet<String> {
    const ADDING: [&str; 4] = ["adduser", "addgroup", "useradd", "groupadd"];
    let scripts = match context.host.family() {
        Family::Debian => dpkg(context.host.root(), &context.packages),
        // Where there is no answer, sysusers.d is all there is.
        _ => rpm(context.host.root(), &context.packages).unwrap_or_default(),
    };
    scripts
        .iter()
        .filter(|script| ADDING.iter().any(|command| script.text.contains(command)))
        .flat_map(|script| {
            let name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
            script.text.split(move |c| !name(c)).map(str::to_owned)
        })
        .collect()
}

/// The scripts of `packages`, dependencies first.
fn scripts(host: &Host, packages: &[PackageId]) -> Result<Vec<Script>> {
    let database = host.packages()?;
    let all = database.packages();
    // Who depends on another has the larger closure, unless both depend on each
    // other.
    let mut ordered: Vec<(usize, &Package)> = packages
        .iter()
        .map(|&id| (database.closure(&[id], Resolution::Correct).len(), &all[id]))
        .collect();
    ordered.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
    let ordered: Vec<&Package> = ordered.into_iter().map(|(_, package)| package).collect();
    match host.family() {
        Family::Debian => Ok(dpkg(host.root(), &ordered)),
        _ => rpm(host.root(), &ordered),
    }
}

fn dpkg(root: &Path, packages: &[&Package]) -> Vec<Script> {
    let read = |name: String| {
        let path = Path::new("/var/lib/dpkg/info").join(name);
        files::read(glob::below(root, &path)).ok()
    };
    let script = |package: &&Package| {
        let Package {
            name, architecture, ..
        } = package;
        let bytes = read(format!("{name}.postinst"))
            .or_else(|| read(format!("{name}:{architecture}.postinst")))?;
        Some(Script {
            package: name.clone(),
            kind: "postinst",
            interpreter: String::new(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    };
    packages.iter().filter_map(script).collect()
}

/// Between fields and records: characters that no script has.
const FORMAT: &str = "%{NAME}\\x1f%{ARCH}\\x1f[%{PREINPROG} ]\\x1f%{PREIN}\\x1f[%{POSTINPROG} ]\\x1f%{POSTIN}\\x1f[%{POSTTRANSPROG} ]\\x1f%{POSTTRANS}\\x1e";

fn rpm(root: &Path, packages: &[&Package]) -> Result<Vec<Script>> {
    let mut rpm = Command::new("rpm");
    if root != Path::new("/") {
        rpm.arg("--root").arg(root);
    }
    let format = FORMAT.replace("\\x1f", "\x1f").replace("\\x1e", "\x1e");
    let answer = command::output(rpm.args(["-qa", "--queryformat", &format]))?;
    let text = String::from_utf8_lossy(&answer);
    let found = parse_rpm(&text);
    let of = |kind: &str| {
        packages
            .iter()
            .filter_map(|package| found.get(&(&package.name[..], &package.architecture[..])))
            .flatten()
            .filter(|script| script.kind == kind)
            .cloned()
            .collect::<Vec<_>>()
    };
    Ok([of("pre"), of("post"), of("posttrans")].concat())
}

/// Reads the answer to [`FORMAT`], by name and architecture.
fn parse_rpm(text: &str) -> HashMap<(&str, &str), Vec<Script>> {
    let mut found = HashMap::new();
    for record in text.split('\x1e') {
        let fields: Vec<&str> = record.split('\x1f').collect();
        let [name, architecture, ref scripts @ ..] = fields[..] else {
            continue;
        };
        let scripts = scripts
            .as_chunks::<2>()
            .0
            .iter()
            .zip(["pre", "post", "posttrans"]);
        let scripts = scripts.filter_map(|([program, text], kind)| {
            let none = |text: &str| if text == "(none)" { "" } else { text }.trim().to_owned();
            let (interpreter, text) = (none(program), none(text));
            // `-p /sbin/ldconfig` has a program and no text.
            (!interpreter.is_empty() || !text.is_empty()).then(|| Script {
                package: name.to_owned(),
                kind,
                interpreter,
                text,
            })
        });
        let scripts: Vec<Script> = scripts.collect();
        if !scripts.is_empty() {
            found.insert((name, architecture), scripts);
        }
    }
    found
}

/// Packages whose scripts do nothing beyond what is done here, though that does
/// not show in single commands.
const KNOWN: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "ca-certificates",
    "dash",
    "dbus",
    "debconf",
    "debianutils",
    "dpkg",
    "libc-bin",
    "libc6",
    "libpam-modules",
    "libpam-runtime",
    "login",
    "mount",
    "openssh-client",
    "openssh-server",
    "passwd",
    "systemd",
    "tzdata",
    "udev",
    "util-linux",
];

/// Commands that are stood in for, and words of the shell.
const REPRODUCED: &[&str] = &[
    "set",
    "exit",
    "case",
    "esac",
    "if",
    "fi",
    "then",
    "else",
    "elif",
    "for",
    "done",
    "do",
    "true",
    ":",
    "&&",
    "return",
    "shift",
    "echo",
    "test",
    "[",
    "[[",
    "abort-upgrade",
    "configure",
    "update-alternatives",
    "alternatives",
    "ldconfig",
    "/sbin/ldconfig",
    "systemd-sysusers",
    "systemd-tmpfiles",
    "systemctl",
    "systemd-hwdb",
    "journalctl",
    "udevadm",
    "deb-systemd-helper",
    "deb-systemd-invoke",
    "pam-auth-update",
    "update-ca-certificates",
    "update-ca-trust",
    "dpkg",
    "dpkg-trigger",
    "dpkg-maintscript-helper",
    "py3compile",
    "py3clean",
    "/usr/lib/systemd/systemd-update-helper",
    "local",
    "{",
];

impl Script {
    /// The script as a file that can be executed; `None` of one that runs inside
    /// rpm itself.
    fn executable(&self) -> Option<String> {
        if self.interpreter.is_empty() {
            return Some(self.text.clone());
        }
        if self.interpreter.starts_with('<') {
            return None;
        }
        if self.text.is_empty() {
            return Some(format!("#!/bin/sh\nexec {}\n", self.interpreter));
        }
        Some(format!("#!{}\n{}\n", self.interpreter, self.text))
    }

    /// What of it is not stood in for.
    fn remainder(&self) -> Option<Unreproduced> {
        if self.kind == "pre" || KNOWN.contains(&self.package.as_str()) {
            return None;
        }
        let command = if self.text.is_empty() {
            Some(self.interpreter.as_str()).filter(|program| !REPRODUCED.contains(program))
        } else {
            first_other_command(&self.text)
        };
        command.map(|command| Unreproduced {
            package: self.package.clone(),
            scriptlet: self.kind.to_owned(),
            command: command.to_owned(),
        })
    }
}

/// The first line of a shell script that does what is not stood in for.
fn first_other_command(text: &str) -> Option<&str> {
    let mut generated = false;
    let mut continued = false;
    text.lines().map(str::trim).find(|line| {
        // debhelper's additions do what sysusers.d, tmpfiles.d and units say.
        if line.starts_with("# Automatically added by ") {
            generated = true;
        } else if line.starts_with("# End automatically added section") {
            generated = false;
        }
        let of_the_line_before = std::mem::replace(&mut continued, line.ends_with('\\'));
        if generated || of_the_line_before || line.is_empty() || line.starts_with('#') {
            return false;
        }
        let first = line.split_whitespace().next().unwrap_or("");
        let word = first.trim_end_matches(';');
        let pattern = word.ends_with(')') && !word.contains('(');
        let function = word.ends_with("()") || line.contains("() {") || word == "}";
        let assignment = word.contains('=');
        !(word.is_empty()
            || pattern
            || function
            || assignment
            || word.contains('|')
            || REPRODUCED.contains(&word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn postinst(text: &str) -> Script {
        Script {
            package: "x".into(),
            kind: "postinst",
            interpreter: String::new(),
            text: text.into(),
        }
    }

    #[test]
    fn what_debhelper_adds_is_stood_in_for() {
        let text = "#!/bin/sh\nset -e\ncase \"$1\" in\nconfigure)\n    X=1\n\
            update-alternatives --install /a b \\\n  /c 10\n;;\nesac\n\
            # Automatically added by dh_installsystemd/13\nsomething\n\
            # End automatically added section\nexit 0\n";
        assert_eq!(postinst(text).remainder(), None);
        let left = postinst(&text.replace("X=1", "mktexlsr --all"))
            .remainder()
            .unwrap();
        assert_eq!(
            left.to_string(),
            "the postinst scriptlet of x is not run: `mktexlsr --all`"
        );
    }

    #[test]
    fn rpm_tells_programs_and_texts() {
        let text = "a\x1fx86_64\x1f\x1f(none)\x1f/bin/sh \x1fecho 1\necho 2\x1f\x1f(none)\x1e\
                    b\x1fnoarch\x1f\x1f(none)\x1f/sbin/ldconfig \x1f(none)\x1f<lua> \x1fx()\x1e\
                    c\x1fnoarch\x1f\x1f(none)\x1f\x1f(none)\x1f\x1f(none)\x1e";
        let found = parse_rpm(text);
        let texts = |name, arch| -> Vec<Option<String>> {
            found[&(name, arch)]
                .iter()
                .map(Script::executable)
                .collect()
        };
        assert_eq!(
            texts("a", "x86_64"),
            [Some("#!/bin/sh\necho 1\necho 2\n".into())]
        );
        assert_eq!(
            texts("b", "noarch"),
            [Some("#!/bin/sh\nexec /sbin/ldconfig\n".into()), None]
        );
        assert_eq!(found.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC*(\n\\PC*){0,5}(\x1f\\PC*){0,5}") {
            let _ = postinst(&text).remainder();
            let _ = parse_rpm(&text);
        }
    }
}
