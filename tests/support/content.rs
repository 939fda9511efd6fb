//! Packages for appliances to be made of, built by dpkg-deb and rpmbuild.

use super::run;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files of a package for a test: path, mode, text.
fn content(name: &str, version: &str) -> Vec<(String, u32, String)> {
    let below = format!("usr/share/{name}");
    let mut files = vec![(
        format!("{below}/text"),
        0o644,
        format!("{name} {version}\n"),
    )];
    if name == "fd-content" {
        files.push((format!("{below}/secret"), 0o600, "secret\n".into()));
        files.push((format!("{below}/private/text"), 0o644, "secret\n".into()));
    }
    files
}

/// The package `name`, built by dpkg-deb.
pub(crate) fn deb(dir: &Path, name: &str, version: &str, depends: &str) -> PathBuf {
    let tree = tempfile::tempdir().unwrap();
    std::fs::set_permissions(tree.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut architecture = "all";
    let put = |path: &str, mode: u32, bytes: &[u8]| {
        let path = tree.path().join(path);
        let above = path.parent().unwrap();
        std::fs::create_dir_all(above).unwrap();
        if above.ends_with("private") {
            std::fs::set_permissions(above, PermissionsExt::from_mode(0o700)).unwrap();
        }
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    };
    if name == "freezedry" {
        architecture = "amd64";
        let program = std::fs::read(env!("CARGO_BIN_EXE_freezedry")).unwrap();
        put("usr/bin/freezedry", 0o755, &program);
    } else {
        for (path, mode, text) in content(name, version) {
            put(&path, mode, text.as_bytes());
        }
    }
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n{depends}\
         Maintainer: Jane Doe <jane@example.org>\nDescription: For a test\n"
    );
    put("DEBIAN/control", 0o644, control.as_bytes());
    let path = dir.join(format!("{name}_{version}_{architecture}.deb"));
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Znone", "-b"])
        .arg(tree.path())
        .arg(&path));
    path
}

/// The package `name`, built by rpmbuild.
pub(crate) fn rpm(dir: &Path, name: &str, version: &str) -> PathBuf {
    let mut install = String::new();
    for (path, mode, text) in content(name, version) {
        install.push_str(&format!(
            "mkdir -p $(dirname %{{buildroot}}/{path})\nprintf '{}' >%{{buildroot}}/{path}\n\
             chmod {mode:o} %{{buildroot}}/{path}\n",
            text.replace('\n', "\\n")
        ));
    }
    if name == "fd-content" {
        install.push_str("chmod 700 %{buildroot}/usr/share/fd-content/private\n");
    }
    let spec = dir.join(format!("{name}-{version}.spec"));
    let text = format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: For a test\nLicense: MIT\nBuildArch: noarch\n\
         %description\n.\n%install\n{install}%files\n/usr/share/{name}\n"
    );
    std::fs::write(&spec, text).unwrap();
    let top = format!("_topdir {}", dir.join("content").display());
    run(Command::new("rpmbuild")
        .args(["--quiet", "-bb", "--define", &top])
        .arg(spec));
    dir.join(format!("content/RPMS/noarch/{name}-{version}-1.noarch.rpm"))
}
