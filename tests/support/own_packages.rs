//! Building the packages of Freezedry itself, once for each state of the sources.

use crate::packages::{Root, copy_of};
use crate::support::{cache, run};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// What the packages are built from, for the hash of it.
const SOURCES: [&str; 15] = [
    "Cargo.lock",
    "Cargo.toml",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "build.rs",
    "examples",
    "init",
    "scripts/crates",
    "scripts/dist",
    "specs",
    "src",
    "templates",
    "tests/support/own_packages.rs",
];

pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The Rust that built this test; distributions' own are older than it needs.
fn toolchain() -> PathBuf {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    run(Command::new(rustc).args(["--print", "sysroot"]))
        .trim()
        .into()
}

fn add(hash: &mut Sha256, path: &Path) {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> = path
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inside.sort();
        inside.iter().for_each(|path| add(hash, path));
    } else {
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(std::fs::read(path).unwrap());
    }
}

/// The directory for what is built from these sources; of others, only those last
/// in use are kept, as several checkouts may share the cache.
fn kept() -> PathBuf {
    let mut hash = Sha256::new();
    hash.update(toolchain().as_os_str().as_encoded_bytes());
    for source in SOURCES {
        add(&mut hash, &here().join(source));
    }
    let digest: String = hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let all = cache().join("self-packaging");
    let ours = all.join(digest);
    std::fs::create_dir_all(&ours).unwrap();
    let now = std::time::SystemTime::now();
    let used = std::fs::File::open(&ours).and_then(|dir| dir.set_modified(now));
    used.unwrap();
    let mut all: Vec<_> = all
        .read_dir()
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            // Another process may remove it first.
            let used = path.metadata().and_then(|meta| meta.modified()).ok()?;
            Some((used, path))
        })
        .collect();
    all.sort();
    all.reverse();
    for (_, path) in all.iter().skip(4).filter(|(_, path)| *path != ours) {
        let _ = std::fs::remove_dir_all(path);
    }
    ours
}

/// The source tarballs.
static TARBALLS: LazyLock<PathBuf> = LazyLock::new(|| {
    let out = kept().join("dist");
    // The last one that it writes, whole or not at all.
    if !out
        .join(format!("freezedry-{}-vendor.tar.xz", version()))
        .exists()
    {
        run(Command::new(here().join("scripts/dist"))
            .arg(&out)
            // Small enough for a test.
            .env("FREEZEDRY_DIST_XZ", "-1"));
    }
    out
});

/// Where both formats' packages are built: crates at the same path are compiled
/// once for both.
const BUILD: &str = "/mnt";

/// What Cargo is to know for a build that is quick, and the same for both.
fn quick() -> [(&'static str, String); 4] {
    [
        // Each compiles all of Freezedry itself.
        ("CARGO_INCREMENTAL", "0".into()),
        ("CARGO_TARGET_DIR", format!("{BUILD}/target")),
        ("CARGO_PROFILE_DEV_DEBUG", "false".into()),
        // As the release profile does by itself.
        ("CARGO_PROFILE_DEV_STRIP", "symbols".into()),
    ]
}

/// Takes the directory for `CARGO_TARGET_DIR`, with crates that are compiled, but
/// nothing of Freezedry itself.
fn target() -> MutexGuard<'static, PathBuf> {
    static TARGET: LazyLock<Mutex<PathBuf>> =
        LazyLock::new(|| Mutex::new(cache().join("self-packaging-target")));
    let target = TARGET.lock().unwrap_or_else(PoisonError::into_inner);
    let fingerprints = target.join("debug/.fingerprint");
    std::fs::create_dir_all(&fingerprints).unwrap();
    for entry in fingerprints.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if name.starts_with("freezedry-") {
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
    target
}

/// The results with this extension that `build` leaves in the directory it is
/// given; kept from an earlier run if there was one.
fn results(extension: &str, build: impl FnOnce(&Path)) -> Vec<PathBuf> {
    let out = kept().join(extension);
    if !out.exists() {
        let new = kept().join(format!("{extension}.{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&new);
        std::fs::create_dir_all(&new).unwrap();
        build(&new);
        std::fs::rename(new, &out).unwrap();
    }
    let mut found: Vec<PathBuf> = out
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap_or_else(|e| panic!("{from:?}: {e}"));
}

fn tarball(part: &str) -> PathBuf {
    TARBALLS.join(format!("freezedry-{}{part}.tar.xz", version()))
}

/// The `.deb` files, the source package and the `.changes`, built by
/// dpkg-buildpackage.
pub(crate) static DEBS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    results("deb", |out| {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let stem = format!("freezedry_{}", version());
        copy(&tarball(""), &at(&format!("{stem}.orig.tar.xz")));
        copy(
            &tarball("-vendor"),
            &at(&format!("{stem}.orig-vendor.tar.xz")),
        );
        // As `dpkg-source -x` would: the second tarball becomes vendor/.
        for part in ["", "-vendor"] {
            run(Command::new("tar")
                .arg("-C")
                .arg(dir.path())
                .arg("-xf")
                .arg(tarball(part)));
        }
        let tree = at(&format!("freezedry-{}", version()));
        std::fs::rename(at("vendor"), tree.join("vendor")).unwrap();
        run(Command::new("cp")
            .arg("-a")
            .args([tree.join("specs/debian"), tree.join("debian")]));
        let path = format!(
            "{}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            toolchain().display()
        );
        std::fs::create_dir(at("target")).unwrap();
        let build = format!(
            "mount --bind \"$0\" {BUILD} && mount --bind \"$1\" {BUILD}/target
             cd {BUILD}/freezedry-{}
             # -d: the Rust that Debian 12 has is too old, so cargo and rustc are
             # no packages here.
             dpkg-buildpackage --unsigned-source --unsigned-changes -d",
            version()
        );
        let target = target();
        run(Command::new("unshare")
            // No network.
            .args(["--net", "--mount", "sh", "-ec", &build])
            .args([dir.path(), &target])
            .env("PATH", path)
            .env("HOME", dir.path())
            .env("FREEZEDRY_CARGO_PROFILE", "dev")
            .envs(quick())
            // There are no symbols to make a package of.
            .env("DEB_BUILD_OPTIONS", "noautodbgsym"));
        for entry in dir.path().read_dir().unwrap() {
            let path = entry.unwrap().path();
            // All that `.changes` lists.
            if path.is_file() {
                copy(&path, &out.join(path.file_name().unwrap()));
            }
        }
    })
});

/// The `.rpm` files, built by rpmbuild in a copy of the RPM world.
pub(crate) fn rpms(world: &Path) -> Vec<PathBuf> {
    results("rpm", |out| {
        let root = copy_of(world, "rpm-build");
        let sources = root.path.join("root/rpmbuild/SOURCES");
        std::fs::create_dir_all(&sources).unwrap();
        for part in ["", "-vendor"] {
            let from = tarball(part);
            copy(&from, &sources.join(from.file_name().unwrap()));
        }
        copy(
            &here().join("specs/freezedry.spec"),
            &root.path.join("root/freezedry.spec"),
        );
        compiler(&root);
        let build = tempfile::tempdir().unwrap();
        let target = target();
        let mut rpmbuild = Command::new(here().join("tests/rpm-world/enter-rpm-world"));
        rpmbuild
            .arg(format!("--bind={}:/opt/rust", toolchain().display()))
            .args(["--env", "PATH=/opt/rust/bin:/usr/sbin:/usr/bin"])
            .arg(format!("--bind={}:{BUILD}", build.path().display()))
            .arg(format!("--bind={}:{BUILD}/target", target.display()));
        for (name, value) in quick() {
            rpmbuild.args(["--env", &format!("{name}={value}")]);
        }
        rpmbuild
            .arg(&root.path)
            // No network.
            .args(["unshare", "--net", "rpmbuild", "-ba", "--quiet"])
            // The world's packages have neither cargo nor rust nor gcc; they lie
            // there all the same.
            .arg("--nodeps")
            .args(["--define", "cargo_profile dev"])
            .args(["--define", &format!("_builddir {BUILD}"), "freezedry.spec"]);
        run(&mut rpmbuild);
        drop(target);
        let built = run(Command::new("find")
            .arg(root.path.join("root/rpmbuild"))
            .args(["-name", "*.rpm"]));
        for path in built.lines().map(Path::new) {
            copy(path, &out.join(path.file_name().unwrap()));
        }
    })
}

/// Puts the C compiler of this Debian into a root of the same Debian's
/// libraries: the RPM world has none.
fn compiler(root: &Root) {
    let host = freezedry::host::Host::detect(Path::new("/")).unwrap();
    let packages = host.packages().unwrap();
    let wanted: Vec<_> = ["gcc", "libc6-dev"]
        .iter()
        .map(|name| packages.find(name).unwrap())
        .collect();
    let all = packages.closure(&wanted, freezedry::host::Resolution::Correct);
    let mut list = String::new();
    for file in packages.files(&all).unwrap() {
        let path = file.path.strip_prefix("/").unwrap();
        let there = file
            .source
            .symlink_metadata()
            .is_ok_and(|meta| !meta.is_dir());
        if there && !root.path.join(path).exists() && !path.starts_with("usr/share") {
            list.push_str(&format!("{}\n", path.display()));
        }
    }
    let names = root.path.join("var/tmp/compiler");
    std::fs::write(&names, list).unwrap();
    let pipe =
        "tar -C / -cf - -T \"$1\" | tar -C \"$2\" --skip-old-files --keep-directory-symlink -xf -";
    run(Command::new("sh")
        .args(["-ec", pipe, "sh"])
        .args([&names, &root.path]));
    // An alternative, so no package has it.
    std::os::unix::fs::symlink("gcc", root.path.join("usr/bin/cc")).unwrap();
}
