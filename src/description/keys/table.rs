//! The table itself.

use super::super::{decode::Fault, dependency, rules};
use super::{Key, Keys, Rule, Shape};

const fn rule(check: fn(&str) -> Result<(), Fault>, pattern: &'static str) -> Rule {
    Rule {
        check,
        pattern,
        longest: 0,
    }
}

const fn words(known: &'static [&'static str]) -> Shape {
    Shape::Word(known)
}

const ANYTHING: Shape = Shape::Text(rule(rules::anything, ""));
const ONE_LINE: Rule = rule(
    rules::one_line,
    r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$",
);
/// A package with or without a version; what else is legal depends on the key,
/// see `dependency`.
const PACKAGE: Shape = Shape::Text(rule(
    dependency::legal_anywhere,
    r"^\s*[A-Za-z0-9][A-Za-z0-9+._:-]*(\s+(<=?|>=?|=)\s+[0-9][A-Za-z0-9.+~:-]*)?\s*$",
));
/// RPM has capabilities and rich dependencies too.
const RPM_PACKAGE: Shape = Shape::Text(rule(
    dependency::legal_for_rpm,
    r"^\s*([A-Za-z0-9][A-Za-z0-9+._:()/-]*(\s+(<=?|>=?|=)\s+[0-9][A-Za-z0-9.+~:-]*)?|\(.*\))\s*$",
));
const RPM_NAMES: Shape = Shape::List(&RPM_PACKAGE);
const NAMES: Shape = Shape::List(&PACKAGE);
/// A list for all families, or one for each.
const DEPENDENCIES: Shape = Shape::Either(&[NAMES, Shape::Map(&PACKAGES)]);
const MAINTAINER: Shape = Shape::Text(rule(
    rules::maintainer,
    r"^\s*[^<>,\s][^<>,]*<[^<>@,\s]+@[^<>@,\s]+>\s*$",
));

/// The whole description.
pub(in crate::description) static TOP: Keys = Keys::all(&[
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
    .doc(
        "The release (RPM) or revision (Debian) of the packages: raised when the version stays. \
         Source packages of a version share one tarball, as archives want it, so that with one of \
         them published, a change of more than `release`, `epoch` and `changelog` is a new version.",
    ),
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
        .doc("Paragraphs for the package manager; without it, that `boot-NAME` boots a virtual machine."),
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
        DEPENDENCIES,
        "[bash, coreutils]",
    )
    .required()
    .doc(
        "What it is made of: names of packages, whose dependencies come by themselves. \
         A list holds everywhere; a mapping has a list for each family of distributions. \
         A version may follow: `bash >= 5.2`; RPM's rich dependencies can stand under its families.",
    ),
    Key::new("recommends", DEPENDENCIES, "[less]")
        .doc("Packages that are installed with it unless the user objects."),
    Key::new("suggests", DEPENDENCIES, "[man-db]").doc("Packages that go well with it."),
    Key::new("provides", DEPENDENCIES, "[greeter]")
        .doc("Names that it can be asked for by; a version follows with `=`."),
    Key::new("conflicts", DEPENDENCIES, "[old-hello]")
        .doc("Packages that cannot be installed beside it."),
    Key::new("obsoletes", DEPENDENCIES, "[old-hello < 2]").doc("Packages that it takes the place of."),
    Key::new(
        "files",
        Shape::List(&Shape::Map(&FILE)),
        "[{path: /etc/issue, content: \"Welcome\\n\"}]",
    )
    .doc(
        "Files that come with the appliance, also instead of a package's of the same path. \
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
    Key::new("rehydrate", words(&["at-boot", "at-install"]), "at-boot")
        .default("at-boot")
        .doc(
            "When it is rehydrated: `at-boot`, for each user, in the user's own cache; or \
         `at-install`, once for all users, kept fresh by the package manager's triggers.",
        ),
    Key::new("scriptlets", words(&["none", "run"]), "run")
        .default("none")
        .doc(
            "What the packages' scripts would have done is made without them when the appliance is \
             rehydrated; with `run` they also run, once, at the first boot.",
        ),
    Key::new("engine", words(&["freezedry", "supermin"]), "freezedry")
        .default("freezedry")
        .doc(
            "What source packages are built with: Freezedry, or stock supermin alone, so that they \
             can enter a distribution before Freezedry does. Not for what keeps data (`boot.storage`) \
             or has a screen (`boot.console`): only Freezedry runs that.",
        ),
    Key::new(
        "changelog",
        Shape::List(&Shape::Map(&CHANGE)),
        "[{version: 1.0-1, date: 2026-01-31, changes: [First release]}]",
    )
    .doc("What changed, newest first. The newest date is also the time that the packages carry."),
]);

/// Names of packages, by family.
pub(in crate::description) static PACKAGES: Keys = Keys::all(&[
    Key::new("all", NAMES, "[bash, coreutils]").doc("Packages with the same name everywhere."),
    Key::new("debian", NAMES, "[openssh-client]")
        .doc("Those of Debian, Ubuntu and their relatives."),
    Key::new("fedora", RPM_NAMES, "[openssh-clients]")
        .doc("Those of Fedora, RHEL, CentOS and their relatives."),
    Key::new("suse", RPM_NAMES, "[openssh-clients]").doc("Those of openSUSE and SLE."),
    Key::new("arch", NAMES, "[openssh]").doc("Those of Arch Linux."),
    Key::new("alpine", NAMES, "[openssh-client]").doc("Those of Alpine Linux."),
]);

/// A file.
pub(in crate::description) static FILE: Keys = Keys {
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
pub(in crate::description) static BOOT: Keys = Keys::all(&[
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
    Key::new("console", words(&["serial", "graphical"]), "serial")
        .default("serial")
        .doc("What the guest's console is: `serial`, the terminal of `boot-NAME`; or `graphical`, a window."),
    Key::new(
        "storage",
        Shape::Either(&[words(&["throwaway", "persistent"]), Shape::Map(&STORAGE)]),
        "{persistent: [/var/lib/postgresql]}",
    )
    .default("throwaway")
    .doc(
        "What becomes of what the guest writes to its disk: `throwaway`, it is gone with the \
         guest; `persistent`, that in `/home`, `/root` and `/srv` is kept. A mapping names the \
         directories.",
    ),
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
    Key::new("root_password", words(&["empty", "locked"]), "locked")
        .default("empty")
        .doc("With `init: systemd`: whether root logs in on the console without a password, or not at all."),
    Key::new("autologin", Shape::Truth, "true")
        .default("false")
        .doc("With `init: systemd`: whether the console is root's without a login."),
    Key::new(
        "authorized_keys",
        Shape::List(&Shape::Text(rule(
            rules::public_key,
            r"^(ssh-|ecdsa-sha2-|sk-)[A-Za-z0-9@.-]+ AAAA[A-Za-z0-9+/]+={0,2}( [^\x00-\x1f]*)?$",
        ))),
        "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJMo8NRXFCFtk3v6HHZTbyP8E5OQk0uyRtcCN9vIkUKa jane@example.org]",
    )
    .doc(
        "Public keys of ssh, lines as in `id_ed25519.pub`: who has one may log in as root, where \
         the appliance runs an sshd and a port leads to it. `--ssh` needs none.",
    ),
]);

/// The network with its ports.
pub(in crate::description) static NETWORK: Keys = Keys::all(&[
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

/// What outlives the guest.
pub(in crate::description) static STORAGE: Keys = Keys::all(&[Key::new(
    "persistent",
    Shape::List(&Shape::Text(rule(
        rules::kept,
        r"^(?!/(dev|proc|run|sys)(/|$))(?!/(tmp|bin|sbin|lib|lib64|usr|etc)$)(/(?!\.{1,2}(/|$))[!#-&(-.0-\[\]-~]+)+$",
    ))),
    "[/var/lib/postgresql]",
)
.doc(
    "Directories that outlive the guest, each in a file system of its own in the user's data \
     directory. At first they hold what the appliance has there.",
)]);

/// An entry of the changelog.
pub(in crate::description) static CHANGE: Keys = Keys::all(&[
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
