//! Packages, with the real package managers as judges.

use crate::support::appliance::{PATIENCE, yaml};
use crate::support::{both, cache, freezedry, require, require_root, rpm_world, run};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn hello() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-vm/appliance.yaml")
}

/// Packages `description`; the paths of the packages by extension.
pub(crate) fn package(description: &Path, out: &Path) -> [PathBuf; 2] {
    run(freezedry()
        .args(["package", "--format=deb,rpm", "-o"])
        .arg(out)
        .arg(description));
    ["deb", "rpm"].map(|extension| {
        let found = out.read_dir().unwrap().map(|entry| entry.unwrap().path());
        found
            .into_iter()
            .find(|path| path.extension().is_some_and(|e| e == extension))
            .unwrap()
    })
}

#[test]
fn hello_is_at_most_12_kilobytes_in_both_formats() {
    let dir = tempfile::tempdir().unwrap();
    for path in package(&hello(), dir.path()) {
        let size = path.metadata().unwrap().len();
        assert!(size <= 12 << 10, "{path:?} has {size} bytes");
    }
}

#[test]
fn dpkg_reads_the_package() {
    if !require(&["dpkg-deb"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [deb, _] = package(&hello(), dir.path());
    let field = |name: &str| run(Command::new("dpkg-deb").arg("-f").arg(&deb).arg(name));
    assert_eq!(field("Architecture"), "all\n");
    assert_eq!(field("Version"), "1.0-1\n");
    assert_eq!(
        field("Depends"),
        "mount, freezedry | supermin, qemu-system-x86 | qemu-system\n"
    );
    let listing = run(Command::new("dpkg-deb").arg("-c").arg(&deb));
    assert!(
        listing.lines().all(|line| line.contains(" root/root ")),
        "{listing}"
    );
    assert!(listing.contains(" ./usr/bin/boot-hello-vm\n"), "{listing}");
}

#[test]
fn rpm_reads_the_package() {
    if !require(&["rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [_, rpm] = package(&hello(), dir.path());
    let query = |what: &[&str]| run(Command::new("rpm").arg("-qp").args(what).arg(&rpm));
    assert_eq!(
        query(&["--qf", "%{NEVRA} %{SOURCERPM}"]),
        "hello-vm-1.0-1.noarch hello-vm-1.0-1.src.rpm"
    );
    let requires = query(&["--requires"]);
    for wanted in ["bash\n", "coreutils\n", "(freezedry or supermin)\n"] {
        assert!(requires.contains(wanted), "{requires}");
    }
    assert!(query(&["--changelog"]).contains("- First release"));
    assert!(query(&["-L"]).contains("/usr/share/licenses/hello-vm/copyright"));
    let checked = run(Command::new("rpm").arg("-K").arg(&rpm));
    assert!(checked.contains("digests OK"), "{checked}");
}

#[test]
fn the_man_page_has_no_warnings() {
    if !require(&["man", "dpkg-deb"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let description = dir.path().join("appliance.yaml");
    let tricky = "description: |\n  .SH not a heading\n  'nor this, a back\\slash -- and dashes\n\n  More.\n\
        packages: [bash]\nboot: {init: \".dotted -x\"}\n";
    std::fs::write(&description, yaml("tricky", tricky)).unwrap();
    let [deb, _] = package(&description, dir.path());
    run(Command::new("dpkg-deb")
        .arg("-x")
        .arg(deb)
        .arg(dir.path().join("x")));
    let page = dir.path().join("x/usr/share/man/man1/boot-tricky.1.gz");
    let mut man = Command::new("man");
    man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
        .arg(page);
    let output = man
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .env("MANROFFSEQ", "")
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        both(&output)
    );
    let text = run(Command::new("man")
        .arg("-l")
        .arg(dir.path().join("x/usr/share/man/man1/boot-tricky.1.gz")));
    assert!(
        text.contains(".SH not a heading") && text.contains("back\\slash"),
        "{text}"
    );
}

/// The description `name` with these lines, packaged: what dpkg and rpm read.
fn packaged(dir: &Path, name: &str, rest: &str) -> [PathBuf; 2] {
    let description = dir.join(format!("{name}.yaml"));
    std::fs::write(&description, yaml(name, rest)).unwrap();
    package(&description, &dir.join(name))
}

#[test]
fn a_description_with_odd_lines_is_one_field() {
    if !require(&["dpkg-deb", "rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rest = "packages: [bash]\n\
        description: \"First.\\n \\t \\n.profile\\n  \\n\\n.\\n\\nEvil: field\\n %files\\n\"\n";
    let [deb, rpm] = packaged(dir.path(), "odd", rest);
    let field = |name: &str| run(Command::new("dpkg-deb").arg("-f").arg(&deb).arg(name));
    assert_eq!(
        field("Description"),
        "An appliance for a test\n First.\n .\n  .profile\n .\n  .\n .\n Evil: field %files\n"
    );
    assert_eq!(field("Evil").trim(), "");
    let query = ["-qp", "--qf", "%{DESCRIPTION}"];
    let said = run(Command::new("rpm").args(query).arg(rpm));
    assert_eq!(said, "First.\n\n.profile\n\n.\n\nEvil: field %files");
}

/// Without Freezedry it would end at once, whatever else is installed.
#[test]
fn what_supermin_alone_cannot_run_depends_on_freezedry() {
    if !require(&["dpkg-deb", "rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, boot) in [
        ("keeps", "storage: persistent"),
        ("shows", "console: graphical"),
    ] {
        let rest = format!("packages: [bash]\nboot: {{{boot}}}\n");
        let [deb, rpm] = packaged(dir.path(), name, &rest);
        let depends = run(Command::new("dpkg-deb").arg("-f").arg(deb).arg("Depends"));
        assert!(
            depends.contains(", freezedry, qemu-system-x86 |"),
            "{depends}"
        );
        let requires = run(Command::new("rpm").arg("-qpR").arg(rpm));
        assert!(requires.contains("\nfreezedry\n"), "{requires}");
        assert!(!requires.contains("supermin"), "{requires}");
    }
}

/// As rpmbuild does, which is asked in source_builds.rs too.
#[test]
fn rpm_is_asked_to_know_a_tilde_where_there_is_one() {
    if !require(&["rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let description = dir.path().join("early.yaml");
    let needed = "rpmlib(TildeInVersions) <= 4.10.0-1\n";
    // In the version, a relation, and what it is built with; a source package does
    // not compare its own version.
    for (number, (version, more, binary, source)) in [
        ("1.0", "packages: [bash]", false, false),
        ("1.0~rc1", "packages: [bash]", true, false),
        (
            "1.0",
            "packages: [bash]\nconflicts: [\"dash < 1~\"]",
            true,
            false,
        ),
        ("1.0", "packages: [\"bash >= 5~\"]", true, true),
        (
            "1.0",
            "packages: {fedora: [(bash >= 5~ or dash)]}",
            true,
            true,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let text = yaml("early", &format!("{more}\n"));
        let text = text.replace("version: \"1.0\"", &format!("version: \"{version}\""));
        std::fs::write(&description, text).unwrap();
        let out = dir.path().join(number.to_string());
        run(freezedry()
            .args(["package", "--format=rpm,srpm", "-o"])
            .arg(&out)
            .arg(&description));
        for (architecture, wanted) in [("noarch", binary), ("src", source)] {
            let package = out.join(format!("early-{version}-1.{architecture}.rpm"));
            let requires = run(Command::new("rpm").arg("-qpR").arg(package));
            assert_eq!(
                requires.contains(needed),
                wanted,
                "{version} {more}: {requires}"
            );
        }
    }
}

#[test]
fn programs_bind_a_package_to_the_one_architecture_that_boots() {
    if !require(&["dpkg-deb", "rpm"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let elf = |name: &str, machine: u8| {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(64, 0);
        bytes[0x12] = machine;
        std::fs::write(dir.path().join(name), bytes).unwrap();
    };
    elf("ours", 62); // EM_X86_64
    elf("arm", 183); // EM_AARCH64
    let file = |name: &str| format!("  - {{path: /opt/{name}, source: {name}}}\n");
    let ours = format!("packages: [bash]\nfiles:\n{}", file("ours"));
    let [deb, rpm] = packaged(dir.path(), "native", &ours);
    let shown = run(Command::new("dpkg-deb")
        .arg("-f")
        .arg(deb)
        .arg("Architecture"));
    assert_eq!(shown, "amd64\n");
    let query = ["-qp", "--qf", "%{ARCH}"];
    assert_eq!(run(Command::new("rpm").args(query).arg(rpm)), "x86_64");

    // The second of two is looked at as well.
    let description = dir.path().join("both.yaml");
    std::fs::write(&description, yaml("both", &(ours + &file("arm")))).unwrap();
    for format in ["deb", "rpm", "dsc", "srpm"] {
        let out = dir.path().join("both");
        let mut command = freezedry();
        command
            .args(["package", "--format", format, "-o"])
            .arg(&out);
        let output = command.arg(&description).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{format}");
        let said = String::from_utf8_lossy(&output.stderr);
        let wanted =
            "arm` is a program that is for aarch64, and appliances boot on x86_64 alone; name";
        assert!(said.lines().last().unwrap().contains(wanted), "{said}");
        assert_eq!(out.read_dir().unwrap().count(), 0, "{format}");
    }
}

/// A root to install in, with everything below it told apart by path.
pub(crate) struct Root {
    pub(crate) path: PathBuf,
}

impl Root {
    /// `words` in the root, with everything a virtual machine needs.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let enter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rpm-world/enter-rpm-world");
        let mut command = Command::new("timeout");
        command
            .arg((3 * PATIENCE.as_secs()).to_string())
            .arg(enter)
            .args([
                "--env",
                "FREEZEDRY_CACHE_DIR=/var/tmp/freezedry",
                "--env",
                "DEBIAN_FRONTEND=noninteractive",
            ])
            .arg(&self.path)
            .args(words);
        command
    }

    /// Runs `words` in the root, without input.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        let mut command = self.command(words);
        command.stdin(std::process::Stdio::null());
        command.output().unwrap()
    }

    /// As [`Root::run`], and it has to succeed.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", both(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Paths below /usr and /etc.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let find = "find /usr /etc -not -path '*/__pycache__*' -not -path '/etc/ld.so.cache'";
        self.must(&["sh", "-c", find])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Copies a package in; its path inside.
    pub(crate) fn put(&self, package: &Path) -> String {
        let name = package.file_name().unwrap().to_str().unwrap();
        std::fs::copy(package, self.path.join("var/tmp").join(name)).unwrap();
        format!("/var/tmp/{name}")
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Not remove_dir_all in a half-mounted tree: mounts are private to the
        // command that ran inside, and are gone with it.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A copy of `original` that may be changed.
pub(crate) fn copy_of(original: &Path, name: &str) -> Root {
    // Those of tests that were killed are in nobody's way any more.
    for entry in cache().read_dir().unwrap().flatten() {
        let other = entry.file_name().into_string().unwrap_or_default();
        let id = other.strip_prefix(&format!("{name}.")).map(str::to_owned);
        if id.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let path = cache().join(format!("{name}.{}", std::process::id()));
    let mut copy = Command::new("cp");
    run(copy.args(["-a", "--reflink=auto"]).arg(original).arg(&path));
    Root { path }
}

/// A clean Debian with a kernel, made when it is missing.
pub(crate) fn debian() -> Option<PathBuf> {
    if !require(&["mmdebstrap"]) || !require_root() {
        return None;
    }
    let path = cache().join("debian");
    if !path.exists() {
        let new = cache().join(format!("debian-new.{}", std::process::id()));
        let release = std::fs::read_to_string("/etc/os-release").unwrap();
        let suite = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .unwrap_or("stable")
            .to_owned();
        run(Command::new("mmdebstrap")
            .args([
                "--variant=apt",
                "--mode=root",
                "--include=linux-image-cloud-amd64,util-linux",
            ])
            .args(["--aptopt=APT::Install-Recommends \"false\""])
            .arg(suite)
            .arg(&new));
        std::fs::rename(new, &path).unwrap();
    }
    Some(path)
}

/// The next release of hello, which says something else.
fn next_release(dir: &Path) -> PathBuf {
    let description = std::fs::read_to_string(hello()).unwrap();
    let next = description
        .replace("version: \"1.0\"\n", "version: \"1.0\"\nrelease: 2\n")
        .replace("Hello from", "Hello again from")
        .replace("version: 1.0-1\n", "version: 1.0-2\n");
    let path = dir.join("next.yaml");
    std::fs::write(&path, next).unwrap();
    path
}

#[test]
fn apt_installs_boots_upgrades_and_purges_without_a_trace() {
    let Some(debian) = debian() else { return };
    let dir = tempfile::tempdir().unwrap();
    let [deb, _] = package(&hello(), &dir.path().join("1"));
    let [next, _] = package(&next_release(dir.path()), &dir.path().join("2"));
    let root = copy_of(&debian, "apt-root");
    let apt = ["apt-get", "-q", "-y", "--no-install-recommends"];
    root.must(&["apt-get", "-q", "update"]);
    // With what it depends on, so that only its own files are looked at later.
    root.must(
        &[
            &apt[..],
            &["install", "supermin", "qemu-system-x86", "mount"],
        ]
        .concat(),
    );
    let before = root.paths();

    root.must(&[&apt[..], &["install", &root.put(&deb)]].concat());
    let output = root.run(&["boot-hello-vm", "--accel", "tcg"]);
    assert!(output.status.success(), "{}", both(&output));
    assert!(
        output.stdout.starts_with(b"Hello from Linux "),
        "{}",
        both(&output)
    );
    root.must(&[&apt[..], &["install", &root.put(&next)]].concat());
    let output = root.run(&["boot-hello-vm", "--accel", "tcg"]);
    assert!(
        output.stdout.starts_with(b"Hello again from Linux "),
        "{}",
        both(&output)
    );

    root.must(&[&apt[..], &["purge", "hello-vm"]].concat());
    let after = root.paths();
    assert_eq!(
        after.difference(&before).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

#[test]
fn dnf_installs_boots_upgrades_and_removes_without_a_trace() {
    let Some(world) = rpm_world() else { return };
    if !require(&["rpmbuild"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [_, rpm] = package(&hello(), &dir.path().join("1"));
    let [_, next] = package(&next_release(dir.path()), &dir.path().join("2"));
    let root = copy_of(&world, "rpm-root");
    let dnf = ["dnf", "-q", "-y", "--setopt=install_weak_deps=False"];
    root.must(
        &[
            &dnf[..],
            &["install", &root.put(&freezedry_rpm(dir.path()))],
        ]
        .concat(),
    );
    let before = root.paths();

    // As the demo does, which may have another build of the same version.
    for word in ["install", "reinstall"] {
        root.must(&[&dnf[..], &[word, &root.put(&rpm)]].concat());
    }
    root.must(&["rpm", "-V", "hello-vm"]);
    let output = root.run(&["boot-hello-vm", "--accel", "tcg"]);
    assert!(output.status.success(), "{}", both(&output));
    assert!(
        output.stdout.starts_with(b"Hello from Linux "),
        "{}",
        both(&output)
    );
    root.must(&[&dnf[..], &["upgrade", &root.put(&next)]].concat());
    let output = root.run(&["boot-hello-vm", "--accel", "tcg"]);
    assert!(
        output.stdout.starts_with(b"Hello again from Linux "),
        "{}",
        both(&output)
    );
    // As a user who is not root.
    let user = "runuser -u nobody -- env FREEZEDRY_CACHE_DIR=/var/tmp/nobody boot-hello-vm --accel tcg -- id -u";
    let output = root.run(&["sh", "-c", &format!("cd /; {user}")]);
    assert_eq!(output.stdout, b"0\n", "{}", both(&output));

    root.must(&[&dnf[..], &["remove", "hello-vm"]].concat());
    let after = root.paths();
    assert_eq!(
        after.difference(&before).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
}

/// The program under test as an RPM, which is what hello asks for there: the
/// RPM world has no supermin.
pub(crate) fn freezedry_rpm(dir: &Path) -> PathBuf {
    let spec = dir.join("freezedry.spec");
    let text = format!(
        "Name: freezedry\nVersion: 0\nRelease: 1\nSummary: Freezedry under test\nLicense: MIT\n\
         AutoReq: no\n%global debug_package %{{nil}}\n%define __strip /bin/true\n%description\n.\n%install\n\
         install -D {} %{{buildroot}}/usr/bin/freezedry\n%files\n/usr/bin/freezedry\n",
        env!("CARGO_BIN_EXE_freezedry")
    );
    std::fs::write(&spec, text).unwrap();
    let top = format!("_topdir {}", dir.join("rpmbuild").display());
    run(Command::new("rpmbuild")
        .args(["--quiet", "-bb", "--define", &top])
        .arg(spec));
    let built = dir
        .join("rpmbuild/RPMS")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    built.read_dir().unwrap().next().unwrap().unwrap().path()
}
