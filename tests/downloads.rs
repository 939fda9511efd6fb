//! Pristine configuration files out of real package managers' downloads.

use crate::support::appliance::yaml;
use crate::support::pacman::{Package, Root};
use crate::support::{both, freezedry, require, require_root, rpm_world, run, skip};
use freezedry::host::download::{self, Downloaded, Options, Pristine};
use freezedry::host::{ConfigState, Host, Manager};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Downloads what somebody edited on `host`.
fn edited(host: &Host, config: Option<&Path>) -> freezedry::Result<Downloaded> {
    let database = host.packages()?;
    let all: Vec<usize> = (0..database.packages().len()).collect();
    let files = database.config_files(&all)?.into_iter();
    let paths: Vec<PathBuf> = files
        .filter(|file| file.state == ConfigState::Edited)
        .map(|file| file.path)
        .collect();
    let owners = download::owners(database, &all, &paths)?;
    download::configuration(host, &owners, Options { config })
}

fn shown(files: &[Pristine]) -> Vec<(String, String, u16)> {
    let show = |file: &Pristine| {
        let content = String::from_utf8(file.content.clone()).unwrap();
        (file.path.display().to_string(), content, file.mode)
    };
    files.iter().map(show).collect()
}

fn script(text: &str, dir: &Path) -> String {
    run(Command::new("sh").args(["-euc", text]).current_dir(dir))
}

/// A Debian root with its own apt repository: one package that is still there
/// in the installed version beside a newer one, one that is only there in a newer.
#[test]
fn apt_get_downloads_the_installed_version_or_else_the_newer_one() {
    if !require(&["apt-get", "dpkg-deb", "dpkg", "sha256sum"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    script(
        r#"
        build() { # name version suffix compression
            mkdir -p tree/DEBIAN tree/etc/kept
            printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' \
                "$1" "$2" > tree/DEBIAN/control
            printf '/etc/%s.conf\n/etc/kept/%s\n' "$1" "$1" > tree/DEBIAN/conffiles
            echo "$1 $2" > "tree/etc/$1.conf"
            echo kept > "tree/etc/kept/$1"
            dpkg-deb --root-owner-group -Z"$4" -b tree "$3" >/dev/null
            rm -r tree
        }
        mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/etc repo
        touch root/var/lib/dpkg/status
        echo ID=debian > root/etc/os-release
        build first 1:1.0-1 repo/first_1.deb xz
        build first 1:2.0-1 repo/first_2.deb xz
        build second 1.0 second_1.deb gzip
        build second 1.1 repo/second_2.deb gzip
        build gone 1 gone.deb none
        dpkg --force-not-root --force-script-chrootless --root="$PWD/root" -i \
            repo/first_1.deb second_1.deb >/dev/null
        for deb in repo/*.deb; do
            dpkg-deb -f "$deb"
            echo "Filename: ./${deb#repo/}"
            echo "Size: $(stat -c %s "$deb")"
            echo "SHA256: $(sha256sum "$deb" | cut -d' ' -f1)"
            echo
        done > repo/Packages
        echo mine > root/etc/first.conf
        echo mine > root/etc/second.conf
        chmod 640 root/etc/first.conf
        echo "deb [trusted=yes] file:$PWD/repo ./" > sources.list
        mkdir -p state/lists/partial cache/archives/partial
        cat > apt.conf <<EOF
Dir::Etc::SourceList "$PWD/sources.list";
Dir::Etc::SourceParts "/nonexistent";
Dir::State "$PWD/state";
Dir::State::status "$PWD/root/var/lib/dpkg/status";
Dir::Cache "$PWD/cache";
APT::Sandbox::User "root";
EOF
        apt-get -qq --config-file apt.conf update
        "#,
        dir.path(),
    );
    let config = dir.path().join("apt.conf");
    let host = Host::with(&dir.path().join("root"), None).unwrap();
    assert_eq!(host.manager(), Manager::Dpkg);
    let downloaded = edited(&host, Some(&config)).unwrap();
    let expected = [
        ("/etc/first.conf", "first 1:1.0-1\n", 0o640),
        ("/etc/second.conf", "second 1.1\n", 0o644),
    ];
    let expected = expected.map(|(path, content, mode)| (path.into(), content.into(), mode));
    assert_eq!(shown(&downloaded.files), expected);
    assert_eq!(
        downloaded.notes,
        [
            "second_1.0_all is not to be had; its configuration files come from the version that is",
            "`/etc/second.conf` is not the one that was installed with second_1.0_all",
        ]
    );

    script(
        "dpkg --force-not-root --force-script-chrootless --root=$PWD/root -i gone.deb >/dev/null
         echo mine > root/etc/gone.conf",
        dir.path(),
    );
    let host = Host::with(&dir.path().join("root"), None).unwrap();
    let error = edited(&host, Some(&config)).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with(
            "cannot download the package gone: apt-get failed (exit status: 100): E: "
        ),
        "{said}"
    );
    assert!(error.advice().unwrap().contains("do without a download"));
    // Without a configuration the packages of *this* system would come.
    assert!(edited(&host, None).is_err());
}

/// This very system, with the real archive.
#[test]
fn freezedry_prepare_downloads_from_the_archive_of_this_system() {
    if !require(&["apt-get", "dpkg-deb", "unshare"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let theirs = Command::new("apt-get")
        .args(["-q", "-q", "download", "bash"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    if !theirs.status.success() {
        skip("apt-get cannot download from an archive (apt-get update?)");
        return;
    }
    let description = dir.path().join("box.yaml");
    let rest = "packages: [bash]\nboot: {init: \"true\"}\n";
    std::fs::write(&description, yaml("downloaded", rest)).unwrap();
    // The edit lasts as long as the mount namespace.
    let text = format!(
        "echo mine > edited; chmod 600 edited; mount --bind edited /etc/bash.bashrc; \
         {0} prepare box.yaml -o without; {0} prepare box.yaml -o with --download; \
         mkdir tree; dpkg-deb -x bash_*.deb tree; mkdir ours; tar -C ours -xzf with/base.tar.gz; \
         cmp ours/etc/bash.bashrc tree/etc/bash.bashrc; stat -c %a ours/etc/bash.bashrc; \
         tar -tzf without/base.tar.gz",
        env!("CARGO_BIN_EXE_freezedry"),
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-euc", &text])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", both(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.starts_with("600\n"), "{}", both(&output));
    assert!(!stdout.contains("etc/bash.bashrc"), "{}", both(&output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let notice =
        "(`freezedry prepare --download` gets the packages' own; or put yours under `files`): ";
    assert!(stderr.contains(notice), "{stderr}");
    assert_eq!(stderr.matches("/etc/bash.bashrc").count(), 1, "{stderr}");
}

#[test]
fn a_packager_config_without_a_download_is_wrong_usage() {
    let output = freezedry()
        .args(["prepare", "x.yaml", "--packager-config", "y"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
}

/// What is downloaded inside, with the repository inside.
const RPM_SCRIPT: &str = r#"
    cd /var/tmp
    echo mine >> /etc/bash.bashrc
    echo mine >> /etc/services
    for version in 1 2; do
        printf '%s\n' 'Name: mine' "Version: $version" 'Release: 1' 'Epoch: 1' 'Summary: x' 'License: MIT' \
            'BuildArch: noarch' '%description' x '%install' 'mkdir -p %{buildroot}/etc' \
            "echo $version > %{buildroot}/etc/mine.conf" '%files' '%config(noreplace) /etc/mine.conf' > mine.spec
        rpmbuild --quiet -bb --define "_topdir $PWD/build" mine.spec >&2
    done
    rpm -i build/RPMS/noarch/mine-1-1.noarch.rpm 2>/dev/null
    rm build/RPMS/noarch/mine-1-1.noarch.rpm
    createrepo_c -q build/RPMS
    echo mine >> /etc/mine.conf
    echo exclude=bash netbase >> /etc/dnf/dnf.conf
    cp /etc/dnf/dnf.conf other.conf
    printf '[mine]\nname=mine\nbaseurl=file://%s\ngpgcheck=0\n' $PWD/build/RPMS >> other.conf
    /opt/fd/freezedry prepare box.yaml -o sd --download --packager-config other.conf
    mkdir ours theirs
    tar -C ours -xzf sd/base.tar.gz
    cd theirs
    for name in bash netbase; do rpm2cpio /srv/rpm-world/$name-[0-9]*.rpm | cpio --quiet -idm; done
    cd ..
    for path in etc/bash.bashrc etc/services; do
        cmp ours/$path theirs/$path
        [ "$(stat -c %a ours/$path)" = "$(stat -c %a theirs/$path)" ]
    done
    [ "$(cat ours/etc/mine.conf)" = 2 ]
    echo same
"#;

#[test]
fn dnf_downloads_from_the_repository_of_the_rpm_world() {
    let Some(world) = rpm_world() else { return };
    if !require(&["unshare"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let rest = "packages: [bash, netbase, mine]\nboot: {init: \"true\"}\n";
    for part in ["upper/var/tmp", "upper/opt/fd", "work", "merged"] {
        std::fs::create_dir_all(dir.path().join(part)).unwrap();
    }
    std::fs::write(
        dir.path().join("upper/var/tmp/box.yaml"),
        yaml("downloaded", rest),
    )
    .unwrap();
    std::fs::copy(
        env!("CARGO_BIN_EXE_freezedry"),
        dir.path().join("upper/opt/fd/freezedry"),
    )
    .unwrap();
    let enter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rpm-world/enter-rpm-world");
    let text = "mount -t overlay -o lowerdir=\"$1\",upperdir=\"$PWD/upper\",workdir=\"$PWD/work\" x merged; \
                \"$2\" \"$PWD/merged\" sh -euc \"$3\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-euc", text, "sh"])
        .args([&world, &enter])
        .arg(RPM_SCRIPT)
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(output.stdout, b"same\n", "{}", both(&output));
    // Only the last of the three has another version in the repositories.
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.matches("is not to be had").count(), 1, "{stderr}");
    assert!(
        stderr.contains("mine-1:1-1.noarch is not to be had"),
        "{stderr}"
    );
}

/// zypper reads only the repositories in /etc/zypp, so those and the RPM
/// database are put there for the time of a mount namespace.
#[test]
fn zypper_downloads_from_the_repository_of_the_rpm_world() {
    let Some(world) = rpm_world() else { return };
    if !require(&["unshare", "zypper", "rpm", "rpm2cpio", "cpio"]) || !require_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rest = "packages: [bash]\nboot: {init: \"true\"}\n";
    std::fs::write(dir.path().join("box.yaml"), yaml("downloaded", rest)).unwrap();
    let text = r#"
        mkdir -p zypp/repos.d ours theirs home
        # Debian's rpm has its database in the home directory.
        cp -r "$1/usr/lib/sysimage/rpm" home/.rpmdb
        printf '[w]\nname=w\nenabled=1\nautorefresh=0\ntype=rpm-md\ngpgcheck=0\nbaseurl=file://%s\n' \
            "$1/srv/rpm-world" > zypp/repos.d/w.repo
        printf 'ID=opensuse-leap\n' > os-release
        echo mine > edited
        mount --bind zypp /etc/zypp
        mount --bind os-release /usr/lib/os-release
        mount --bind home/.rpmdb /var/lib/rpm
        mount --bind edited /etc/bash.bashrc
        HOME=$PWD/home "$2" prepare box.yaml -o sd --download
        tar -C ours -xzf sd/base.tar.gz
        rpm2cpio "$1"/srv/rpm-world/bash-[0-9]*.rpm | (cd theirs; cpio --quiet -id)
        cmp ours/etc/bash.bashrc theirs/etc/bash.bashrc
        echo same
    "#;
    let output = Command::new("unshare")
        .args(["-m", "sh", "-euc", text, "sh"])
        .arg(&world)
        .arg(env!("CARGO_BIN_EXE_freezedry"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", both(&output));
    assert_eq!(output.stdout, b"same\n", "{}", both(&output));
}

#[test]
fn pacman_downloads_from_a_repository() {
    const INSTALLED: [Package; 2] = [
        Package {
            info: &["backup etc/my file.conf", "depend not-there"],
            files: &[("etc/my file.conf", "first\n"), ("usr/bin/first", "x\n")],
            ..Package::new("first", "1:1.0-1")
        },
        Package {
            info: &["backup etc/second.conf"],
            files: &[("etc/second.conf", "old\n")],
            ..Package::new("second", "1.0-1")
        },
    ];
    const NEWER: Package = Package {
        info: &["backup etc/second.conf"],
        files: &[("etc/second.conf", "new\n")],
        ..Package::new("second", "1.1-1")
    };
    let Some(root) = Root::install(&INSTALLED) else {
        return;
    };
    if !require(&["repo-add"]) {
        return;
    }
    let dir = root.path();
    for path in ["etc/my file.conf", "etc/second.conf"] {
        std::fs::write(dir.join(path), "mine\n").unwrap();
    }
    let repository = dir.join("repository");
    std::fs::create_dir(&repository).unwrap();
    for package in [&INSTALLED[0], &NEWER] {
        let package = package.build(&repository);
        run(Command::new("repo-add")
            .args(["-q", "mine.db.tar.gz"])
            .arg(package)
            .current_dir(&repository));
    }
    let config = dir.join("download.conf");
    let text = format!(
        "[options]\nArchitecture = x86_64\nSigLevel = Never\n[mine]\nServer = file://{}\n",
        repository.display()
    );
    std::fs::write(&config, text).unwrap();

    let host = Host::with(dir, None).unwrap();
    let downloaded = edited(&host, Some(&config)).unwrap();
    let expected = [
        ("/etc/my file.conf", "first\n"),
        ("/etc/second.conf", "new\n"),
    ];
    let expected = expected.map(|(path, content)| (path.into(), content.into(), 0o644));
    assert_eq!(shown(&downloaded.files), expected);
    assert_eq!(
        downloaded.notes,
        [
            "second-1.0-1.x86_64 is not to be had; its configuration files come from the version that is",
            "`/etc/second.conf` is not the one that was installed with second-1.0-1.x86_64",
        ]
    );

    run(Command::new("repo-remove")
        .args(["-q", "mine.db.tar.gz", "second"])
        .current_dir(&repository));
    let error = edited(&host, Some(&config)).unwrap_err().to_string();
    assert!(error.contains("target not found: second"), "{error}");
}
