//! Every key of a description, once: what it may be, what it defaults to, what
//! it means.  The parser, the JSON Schema and appliance.yaml(5) all read this.

use super::decode::Fault;
use super::rules;
use std::ops::RangeInclusive;

/// A key and all that is known of it.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Whether it has to be there.
    pub(super) required: bool,
    /// What holds without it, as YAML; empty if that is nothing, or told in `doc`.
    pub(super) default: &'static str,
    /// A value, as YAML.
    pub(super) example: &'static str,
    /// What it means: sentences, with `code` in backquotes.
    pub(super) doc: &'static str,
}

/// The keys of a mapping.
pub(super) struct Keys {
    pub(super) list: &'static [Key],
    /// Exactly one of these has to be there; empty if there is no such rule.
    pub(super) one_of: &'static [&'static str],
}

/// What a value may be.
pub(super) enum Shape {
    /// Text that the rule accepts; a bare number counts as what is written.
    Text(Rule),
    /// The same, but a bare number is a mistake.
    Quoted(Rule),
    Number(RangeInclusive<u32>),
    /// One of a few words.
    Word(Words),
    /// Nothing but `true`.
    True,
    List(&'static Shape),
    Map(&'static Keys),
    Either(&'static [Shape]),
}

/// The words that a value may be.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) known: &'static [&'static str],
    /// Those of `known` that the format has and this version cannot do.
    pub(super) planned: &'static [&'static str],
}

/// What a text may be.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// The judge, with its reason.
    pub(super) check: fn(&str) -> Result<(), Fault>,
    /// A regular expression (ECMA 262) that matches all that `check` accepts,
    /// and little more; empty for anything.
    pub(super) pattern: &'static str,
    /// The most characters; 0 for any number.
    pub(super) longest: usize,
}

impl Key {
    const fn new(name: &'static str, shape: Shape, example: &'static str) -> Self {
        Self {
            name,
            shape,
            required: false,
            default: "",
            example,
            doc: "",
        }
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}

impl Keys {
    const fn all(list: &'static [Key]) -> Self {
        Self { list, one_of: &[] }
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static Key> {
        self.list.iter().find(|key| key.name == name)
    }

    pub(super) fn names(&self) -> Vec<&'static str> {
        self.list.iter().map(|key| key.name).collect()
    }
}

impl Shape {
    /// The first thing that `pick` takes of this shape or of one inside it.
    fn inner<T>(&'static self, pick: &dyn Fn(&'static Self) -> Option<T>) -> Option<T> {
        pick(self).or_else(|| match self {
            Self::List(shape) => shape.inner(pick),
            Self::Either(shapes) => shapes.iter().find_map(|shape| shape.inner(pick)),
            _ => None,
        })
    }

    pub(super) fn rule(&'static self) -> Option<Rule> {
        self.inner(&|shape| match shape {
            Self::Text(rule) | Self::Quoted(rule) => Some(*rule),
            _ => None,
        })
    }

    pub(super) fn words(&'static self) -> Option<Words> {
        self.inner(&|shape| match shape {
            Self::Word(words) => Some(*words),
            _ => None,
        })
    }

    pub(super) fn keys(&'static self) -> Option<&'static Keys> {
        self.inner(&|shape| match shape {
            Self::Map(keys) => Some(*keys),
            _ => None,
        })
    }
}

const fn rule(check: fn(&str) -> Result<(), Fault>, pattern: &'static str) -> Rule {
    Rule {
        check,
        pattern,
        longest: 0,
    }
}

const fn words(known: &'static [&'static str]) -> Shape {
    Shape::Word(Words {
        known,
        planned: &[],
    })
}

const fn first_of(known: &'static [&'static str], planned: &'static [&'static str]) -> Shape {
    Shape::Word(Words { known, planned })
}

const ANYTHING: Shape = Shape::Text(rule(rules::anything, ""));
const ONE_LINE: Rule = rule(
    rules::one_line,
    r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$",
);
const PACKAGE: Shape = Shape::Text(rule(rules::package, r"^[A-Za-z0-9][A-Za-z0-9+._:()/-]*$"));
const NAMES: Shape = Shape::List(&PACKAGE);
const MAINTAINER: Shape = Shape::Text(rule(
    rules::maintainer,
    r"^\s*[^<>,\s][^<>,]*<[^<>@,\s]+@[^<>@,\s]+>\s*$",
));

/// The whole description.
pub(super) static TOP: Keys = Keys::all(&[
    Key::new(
        "name",
        Shape::Text(rule(rules::name, r"^[a-z0-9][a-z0-9+.-]{1,63}$")),
        "hello",
    )
    .required()
    .doc(
        "The name of the appliance and of its packages; the command is `boot-NAME`. \
         2 to 64 lower-case letters, digits, `+`, `-` and `.`.",
    ),
    Key::new(
        "version",
        Shape::Text(rule(rules::version, r"^[0-9][A-Za-z0-9.+~]*$")),
        "\"1.0\"",
    )
    .required()
    .doc("The version of the packages. Quote it: a bare `1.10` is the number 1.1 to many readers."),
    Key::new(
        "release",
        Shape::Text(rule(rules::release, r"^[A-Za-z0-9.+~]+$")),
        "1",
    )
    .default("1")
    .doc("The release (RPM) or revision (Debian) of the packages: raised when the version stays."),
    Key::new("epoch", Shape::Number(0..=u32::MAX), "1")
        .doc("The epoch of the packages; only for a version that has to go backwards."),
    Key::new(
        "summary",
        Shape::Text(Rule {
            check: rules::summary,
            pattern: r"^(?=.*\S)[^\x00-\x1f\x7f-\x9f]*[^.\x00-\x1f\x7f-\x9f]$",
            longest: 79,
        }),
        "A virtual machine that says hello",
    )
    .required()
    .doc("One line of at most 79 characters, without a full stop."),
    Key::new("description", ANYTHING, "Boot it, use it, throw it away.")
        .doc("Paragraphs for the package manager; without it, the summary."),
    Key::new(
        "license",
        Shape::Text(rule(
            rules::license,
            r"^[A-Za-z0-9.+() -]*[A-Za-z0-9.+()-][A-Za-z0-9.+() -]*$",
        )),
        "MIT",
    )
    .required()
    .doc("The licence of the description and its files, as an SPDX expression."),
    Key::new("maintainer", MAINTAINER, "Jane Doe <jane@example.org>")
        .required()
        .doc("Who answers for it: `Name <address>`."),
    Key::new(
        "url",
        Shape::Text(rule(rules::url, r"^https?://\S+$")),
        "https://example.org/hello",
    )
    .doc("Its home page."),
    Key::new(
        "packages",
        Shape::Either(&[NAMES, Shape::Map(&PACKAGES)]),
        "[bash, coreutils]",
    )
    .required()
    .doc(
        "What it is made of: names of packages, whose dependencies come by themselves. \
         A list holds everywhere; a mapping has a list for each family of distributions.",
    ),
    Key::new(
        "files",
        Shape::List(&Shape::Map(&FILE)),
        "[{path: /etc/issue, content: \"Welcome\\n\"}]",
    )
    .doc(
        "Files that belong to no package and come with the appliance. \
         Each says where it goes (`path`) and, in one of four ways, what it is.",
    ),
    Key::new(
        "host_files",
        Shape::List(&Shape::Text(rule(rules::host_file, r"^/[^\x00\n]*$"))),
        "[/etc/ld.so.cache]",
    )
    .doc(
        "Patterns, as in a shell, of files that are taken from the host as they are at \
         rehydration, whether a package owns them or not.",
    ),
    Key::new(
        "exclude",
        Shape::List(&Shape::Text(rule(rules::pattern, r"^[/*][^\x00\n]*$"))),
        "[/usr/share/doc/*, /usr/share/man/*]",
    )
    .doc("Patterns of the packages' paths that are left out. `*` matches `/` too."),
    Key::new("boot", Shape::Map(&BOOT), "{init: shell, memory: 512M}").doc("How it runs."),
    Key::new(
        "rehydrate",
        first_of(&["at-boot", "at-install"], &["at-install"]),
        "at-boot",
    )
    .default("at-boot")
    .doc("When it is rehydrated: `at-boot`, for each user, in the user's own cache."),
    Key::new(
        "changelog",
        Shape::List(&Shape::Map(&CHANGE)),
        "[{version: 1.0-1, date: 2026-01-31, changes: [First release]}]",
    )
    .doc("What changed, newest first. The newest date is also the time that the packages carry."),
]);

/// Names of packages, by family.
pub(super) static PACKAGES: Keys = Keys::all(&[
    Key::new("all", NAMES, "[bash, coreutils]").doc("Packages with the same name everywhere."),
    Key::new("debian", NAMES, "[openssh-client]")
        .doc("Those of Debian, Ubuntu and their relatives."),
    Key::new("fedora", NAMES, "[openssh-clients]")
        .doc("Those of Fedora, RHEL, CentOS and their relatives."),
    Key::new("suse", NAMES, "[openssh-clients]").doc("Those of openSUSE and SLE."),
    Key::new("arch", NAMES, "[openssh]").doc("Those of Arch Linux."),
    Key::new("alpine", NAMES, "[openssh-client]").doc("Those of Alpine Linux."),
]);

/// A file.
pub(super) static FILE: Keys = Keys {
    list: &[
        Key::new(
            "path",
            Shape::Text(rule(
                rules::path,
                r"^(?!/init$)(/(?!\.{1,2}(/|$))[^/\x00\n]+)+$",
            )),
            "/usr/local/bin/hello",
        )
        .required()
        .doc("Where it goes: absolute, in its shortest form."),
        Key::new(
            "mode",
            Shape::Quoted(rule(rules::mode, r"^[0-7]{3,4}$")),
            "\"0755\"",
        )
        .doc(
            "Its permissions, in octal and in quotes. Without it 0644, or 0755 for a directory \
             and for a `source` that is executable.",
        ),
        Key::new("content", ANYTHING, "\"Welcome\\n\"").doc("It is a file with this text."),
        Key::new("source", ANYTHING, "hello.sh")
            .doc("It is a copy of this file, which lies in the description's folder or below it."),
        Key::new("symlink", Shape::Text(ONE_LINE), "../run/resolv.conf")
            .doc("It is a symlink to this."),
        Key::new("directory", Shape::True, "true").doc("It is an empty directory."),
    ],
    one_of: &["content", "source", "symlink", "directory"],
};

/// How an appliance runs.
pub(super) static BOOT: Keys = Keys::all(&[
    Key::new("init", Shape::Text(ONE_LINE), "echo hello")
        .default("shell")
        .doc(
            "What runs: `shell` for a shell on the console, `systemd` for `/sbin/init`, or a \
             command line for `/bin/sh -c`, whose output and exit status become those of `boot-NAME`.",
        ),
    Key::new(
        "memory",
        Shape::Text(rule(rules::memory, r"^[0-9]+[KMGTkmgt]$")),
        "1G",
    )
    .default("512M")
    .doc("Memory, with unit: at least `64M`."),
    Key::new("cpus", Shape::Number(1..=255), "2")
        .default("1")
        .doc("Processors."),
    Key::new(
        "network",
        Shape::Either(&[words(&["none", "user"]), Shape::Map(&NETWORK)]),
        "user",
    )
    .default("none")
    .doc(
        "`none`, or `user` for qemu's user network: connections go out through the host, and \
         come in only through forwarded ports. A mapping names the ports.",
    ),
    Key::new("console", first_of(&["serial", "graphical"], &["graphical"]), "serial")
        .default("serial")
        .doc("What the guest's console is: `serial`, the terminal of `boot-NAME`."),
    Key::new(
        "storage",
        first_of(&["throwaway", "persistent"], &["persistent"]),
        "throwaway",
    )
    .default("throwaway")
    .doc("What becomes of what the guest writes to its disk: `throwaway`, it is gone with the guest."),
    Key::new(
        "modules",
        Shape::Either(&[
            words(&["all"]),
            Shape::List(&Shape::Text(rule(rules::module, r"^[A-Za-z0-9_-]+$"))),
        ]),
        "[xfs, dm-crypt]",
    )
    .doc(
        "Kernel modules beyond those that booting needs, loaded before anything runs; or `all`, \
         to have every module of the kernel at hand in `/lib/modules`.",
    ),
]);

/// The network with its ports.
pub(super) static NETWORK: Keys = Keys::all(&[
    Key::new("mode", words(&["none", "user"]), "user")
        .default("user")
        .doc("`none` or `user`."),
    Key::new(
        "ports",
        Shape::List(&Shape::Text(rule(rules::port, r"^[0-9]+:[0-9]+$"))),
        "[\"2222:22\"]",
    )
    .doc("Ports of the host that lead to ports of the guest: `HOST:GUEST`, in quotes."),
]);

/// An entry of the changelog.
pub(super) static CHANGE: Keys = Keys::all(&[
    Key::new(
        "version",
        Shape::Text(rule(
            rules::changelog_version,
            r"^[0-9][A-Za-z0-9.+~]*(-[A-Za-z0-9.+~]+)?$",
        )),
        "1.0-1",
    )
    .required()
    .doc("The version, with its release."),
    Key::new(
        "date",
        Shape::Text(rule(rules::date, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")),
        "2026-01-31",
    )
    .required()
    .doc("The day: year, month, day."),
    Key::new("author", MAINTAINER, "Jane Doe <jane@example.org>")
        .doc("Who made it; without it, the maintainer."),
    Key::new(
        "changes",
        Shape::List(&Shape::Text(ONE_LINE)),
        "[First release]",
    )
    .required()
    .doc("What was done, a line each."),
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::parse;
    use crate::family::Family;
    use std::path::Path;

    const LEAST: &str = "name: hello\nversion: \"1.0\"\nsummary: A machine\nlicense: MIT\n\
                         maintainer: Jane Doe <jane@example.org>\npackages: [bash]\n";

    /// `value` as the value of `key` inside of `around`, in an otherwise good description.
    fn with(around: &str, key: &str, value: &str) -> String {
        let line = around.replace("KEY", &format!("{key}: {value}"));
        let top = line.split(':').next().unwrap();
        let others = LEAST
            .lines()
            .filter(|other| !other.starts_with(&format!("{top}:")));
        others
            .chain([line.as_str()])
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Every mapping of the format, and what is around one of its keys.
    const PLACES: [(&Keys, &str, &str); 6] = [
        (&TOP, "", "KEY"),
        (&PACKAGES, "packages.", "packages: {KEY}"),
        (&FILE, "files.", "files: [{path: /a, content: x, KEY}]"),
        (&BOOT, "boot.", "boot: {KEY}"),
        (&NETWORK, "boot.network.", "boot: {network: {KEY}}"),
        (
            &CHANGE,
            "changelog.",
            "changelog: [{version: 1-1, date: 2026-01-31, changes: [x], KEY}]",
        ),
    ];

    /// What the test above would say twice must not be there twice.
    fn around(around: &str, key: &str) -> String {
        let inside = around
            .replace(&format!("{key}: x, "), "")
            .replace(&format!("{key}: /a, "), "")
            .replace(&format!("{key}: 1-1, "), "")
            .replace(&format!("{key}: 2026-01-31, "), "")
            .replace(&format!("{key}: [x], "), "");
        // Another way to say what a file is excludes `content`.
        if FILE.one_of.contains(&key) {
            inside.replace("content: x, ", "")
        } else {
            inside
        }
    }

    #[test]
    fn the_parser_reads_every_key_of_the_table() {
        for (keys, label, place) in PLACES {
            for key in keys.list {
                let text = with(&around(place, key.name), key.name, "{a: {b: [c]}}");
                let problems = parse(&text, "x", Path::new("/nowhere")).unwrap_err();
                let named = format!("{label}{}", key.name);
                assert!(
                    problems
                        .list()
                        .iter()
                        .any(|problem| problem.title.contains(&named)
                            || problem.title.contains(&format!("in {named}"))),
                    "nothing reads `{named}`: {problems}\n{text}"
                );
            }
        }
    }

    #[test]
    fn every_example_and_every_default_is_good() {
        let folder = tempfile::tempdir().unwrap();
        crate::files::write(folder.path().join("hello.sh"), "").unwrap();
        for (keys, label, place) in PLACES {
            for key in keys.list {
                assert!(!key.doc.is_empty(), "{label}{}", key.name);
                for value in [key.example, key.default] {
                    if value.is_empty() {
                        continue;
                    }
                    let text = with(&around(place, key.name), key.name, value);
                    if let Err(problems) = parse(&text, "x", folder.path()) {
                        panic!("{label}{}: {problems}", key.name);
                    }
                }
            }
        }
    }

    #[test]
    fn a_default_is_what_holds_without_the_key() {
        let show = |text: &str| {
            let mut parsed = parse(text, "x", Path::new("/nowhere")).unwrap();
            parsed.warnings = crate::description::Problems::of("", "", Vec::new());
            format!("{parsed:?}")
        };
        for (keys, _, place) in PLACES {
            for key in keys.list.iter().filter(|key| !key.default.is_empty()) {
                // The mode of a network counts only where there is a mapping.
                let without = match place {
                    "boot: {network: {KEY}}" => with("KEY", "boot", "{network: {mode: user}}"),
                    _ => LEAST.to_owned(),
                };
                let text = with(&around(place, key.name), key.name, key.default);
                assert_eq!(show(&text), show(&without), "{}", key.name);
            }
        }
    }

    #[test]
    fn families_are_keys_of_packages() {
        let families = Family::ALL.map(Family::name);
        assert_eq!(PACKAGES.names()[1..], families);
    }
}
