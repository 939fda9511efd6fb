//! The command lines of the package managers' downloaders.

use crate::family::Family;
use crate::host::{Host, Manager, Package};
use crate::{Error, Result, command, files};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that downloads packages without installing them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    AptGet,
    /// dnf up to version 4.
    Dnf,
    /// Its successor, under the name that the host gives it.
    Dnf5(&'static str),
    YumDownloader,
    Zypper,
    Pacman,
}

impl Tool {
    /// The one of this host.
    pub(super) fn choose(host: &Host) -> Result<Self> {
        let tools: &[&str] = match (host.manager(), host.family()) {
            (Manager::Dpkg, _) => return Ok(Self::AptGet),
            (Manager::Pacman, _) => return Ok(Self::Pacman),
            (Manager::Rpm, Family::Suse) => &["zypper", "dnf", "dnf5", "yumdownloader"],
            (Manager::Rpm, _) => &["dnf", "dnf5", "yumdownloader", "zypper"],
            (Manager::Apk | Manager::None, _) => {
                return Err(Error::host(
                    "packages cannot be downloaded on this host: \
                     that needs apt-get, dnf, yumdownloader, zypper or pacman",
                )
                .hint("do without a download"));
            }
        };
        match tools.iter().find(|tool| on_path(tool)) {
            Some(&"zypper") => Ok(Self::Zypper),
            Some(&"yumdownloader") => Ok(Self::YumDownloader),
            Some(dnf) => {
                // The name does not tell: `dnf` is dnf5 on new systems.
                let said = command::output(Command::new(dnf).arg("--version"))?;
                let five = String::from_utf8_lossy(&said).contains("version 5");
                Ok(if five { Self::Dnf5(dnf) } else { Self::Dnf })
            }
            None => Err(
                Error::host(format!("none of {} is installed", tools.join(", ")))
                    .hint("install one, or do without a download"),
            ),
        }
    }

    /// Whether it can be asked for one version of a package.
    pub(super) fn knows_versions(self) -> bool {
        self != Self::Pacman
    }

    /// How `package` is asked for: in the version that is installed, or in any.
    pub(super) fn spec(self, package: &Package, exact: bool) -> String {
        let Package {
            name,
            version,
            architecture,
            ..
        } = package;
        match (self, exact) {
            (Self::Pacman, _) => name.clone(),
            (Self::AptGet, _) => {
                let name = match architecture.as_str() {
                    "all" => name.clone(),
                    architecture => format!("{name}:{architecture}"),
                };
                if exact {
                    format!("{name}={version}")
                } else {
                    name
                }
            }
            (_, false) => format!("{name}.{architecture}"),
            (Self::Zypper, true) => format!("{name}.{architecture}={version}"),
            (_, true) => format!("{name}-{version}.{architecture}"),
        }
    }

    /// Whether `package`, in the version that is installed, is among `files`.
    pub(super) fn is_there(self, package: &Package, files: &[PathBuf]) -> bool {
        let Package {
            name,
            version,
            architecture,
            ..
        } = package;
        let without_epoch = version
            .split_once(':')
            .map_or(&version[..], |(_, rest)| rest);
        let start = match self {
            Self::AptGet => {
                let version = version.replace(':', "%3a");
                format!("{name}_{version}_{architecture}.deb")
            }
            Self::Pacman => format!("{name}-{version}-{architecture}.pkg.tar"),
            _ => format!("{name}-{without_epoch}.{architecture}.rpm"),
        };
        let mut names = files.iter().filter_map(|path| path.file_name());
        names.any(|name| name.to_string_lossy().starts_with(&start))
    }

    /// The command that downloads `specs` to a place below `scratch`.
    pub(super) fn command(
        self,
        specs: &[String],
        scratch: &Path,
        config: Option<&Path>,
    ) -> Result<Command> {
        let mut command = match self {
            Self::AptGet => {
                let mut command = Command::new("apt-get");
                command.args(["--quiet", "--quiet"]);
                if let Some(config) = config {
                    command.arg("--config-file").arg(config);
                }
                command.arg("download");
                command
            }
            // What the host excludes from updates is wanted all the same.
            Self::Dnf | Self::Dnf5(_) => {
                let (program, all) = match self {
                    Self::Dnf5(name) => (name, "--setopt=disable_excludes=*"),
                    _ => ("dnf", "--disableexcludes=all"),
                };
                let mut command = Command::new(program);
                command.args(["download", "-q"]);
                if let Some(config) = config {
                    command.arg(with("--config=", config));
                }
                command.arg(all).arg(with("--destdir=", scratch));
                command
            }
            Self::YumDownloader => {
                let mut command = Command::new("yumdownloader");
                command.arg("--quiet");
                if let Some(config) = config {
                    command.arg("-c").arg(config);
                }
                command.arg("--destdir").arg(scratch);
                command
            }
            Self::Zypper => {
                let mut command = Command::new("zypper");
                if let Some(config) = config {
                    command.arg("--config").arg(config);
                }
                command.args(["--quiet", "--reposd-dir", "/etc/zypp/repos.d"]);
                command.arg("--cache-dir").arg(scratch);
                command.arg("--pkg-cache-dir").arg(scratch);
                command.args(["--gpg-auto-import-keys", "--no-gpg-checks"]);
                command.args(["--non-interactive", "download"]);
                command
            }
            Self::Pacman => pacman(scratch, config)?,
        };
        command.args(specs).current_dir(scratch).env("LC_ALL", "C");
        Ok(command)
    }
}

/// pacman with a database of its own, so that the host's is neither needed to
/// be fresh nor changed.
fn pacman(scratch: &Path, config: Option<&Path>) -> Result<Command> {
    let config = match config {
        Some(config) => config.to_owned(),
        None => {
            let text = command::output(&mut Command::new("pacman-conf"))?;
            let path = scratch.join("pacman.conf");
            files::write(&path, pacman_config(&String::from_utf8_lossy(&text)))?;
            path
        }
    };
    for directory in ["root", "database"] {
        files::create_dir_all(scratch.join(directory))?;
    }
    let root = rustix::process::geteuid().is_root();
    let mut command = if root {
        Command::new("pacman")
    } else {
        // It refuses to work for others, although it need not here.
        let mut command = Command::new("fakeroot");
        command.arg("pacman");
        command
    };
    // Twice `d`: without what they depend on.
    command.args(["-Sywdd", "--noconfirm", "--noprogressbar"]);
    command.arg(with("--config=", &config));
    command.arg(with("--cachedir=", scratch));
    command.arg(with("--root=", &scratch.join("root")));
    command.arg(with("--dbpath=", &scratch.join("database")));
    command.arg(with("--logfile=", &scratch.join("log")));
    Ok(command)
}

/// What `pacman-conf` prints, without the places that we choose and without
/// the user for downloads, who could not write to ours.
fn pacman_config(text: &str) -> String {
    const OURS: [&str; 5] = ["CacheDir", "RootDir", "DBPath", "LogFile", "DownloadUser"];
    text.lines()
        .filter(|line| !OURS.contains(&line.split('=').next().unwrap_or_default().trim()))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn with(option: &str, path: &Path) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from(option);
    word.push(path);
    word
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tool: Tool, version: &str, exact: bool, config: bool) -> String {
        let package = Package {
            name: "bash".into(),
            version: version.into(),
            architecture: "x86_64".into(),
            separators: ['-', '.'],
        };
        let config = config.then_some(Path::new("/c"));
        let specs = [tool.spec(&package, exact)];
        let command = tool.command(&specs, Path::new("/d"), config).unwrap();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    /// Those that the tests do not run against the real program, and the rest
    /// beside them.
    #[test]
    fn command_lines() {
        for (tool, exact, config, expected) in [
            (
                Tool::AptGet,
                true,
                false,
                "apt-get --quiet --quiet download bash:x86_64=1:5-1",
            ),
            (
                Tool::Dnf,
                false,
                true,
                "dnf download -q --config=/c --disableexcludes=all --destdir=/d bash.x86_64",
            ),
            (
                Tool::Dnf5("dnf"),
                true,
                false,
                "dnf download -q --setopt=disable_excludes=* --destdir=/d bash-1:5-1.x86_64",
            ),
            (
                Tool::YumDownloader,
                false,
                true,
                "yumdownloader --quiet -c /c --destdir /d bash.x86_64",
            ),
            (
                Tool::Zypper,
                true,
                false,
                "zypper --quiet --reposd-dir /etc/zypp/repos.d --cache-dir /d --pkg-cache-dir /d \
                 --gpg-auto-import-keys --no-gpg-checks --non-interactive download bash.x86_64=1:5-1",
            ),
        ] {
            assert_eq!(line(tool, "1:5-1", exact, config), expected);
        }
    }

    #[test]
    fn the_places_of_pacman_are_ours() {
        let text = "[options]\nRootDir = /\nCacheDir = /var/cache/pacman/pkg/\nDownloadUser = alpm\n\
                    SigLevel = Required\n[core]\nServer = https://example.org/core\n";
        let expected =
            "[options]\nSigLevel = Required\n[core]\nServer = https://example.org/core\n";
        assert_eq!(pacman_config(text), expected);
    }

    #[test]
    fn an_installed_version_is_known_by_its_file_name() {
        let package = |version: &str, architecture: &str| Package {
            name: "a".into(),
            version: version.into(),
            architecture: architecture.into(),
            separators: ['-', '.'],
        };
        for (tool, version, architecture, file) in [
            (Tool::AptGet, "1:2-3", "all", "/d/a_1%3a2-3_all.deb"),
            (Tool::Dnf, "1:2-3", "noarch", "/d/a-2-3.noarch.rpm"),
            (Tool::Pacman, "1:2-3", "any", "/d/a-1:2-3-any.pkg.tar.xz"),
        ] {
            let files = [PathBuf::from(file)];
            assert!(
                tool.is_there(&package(version, architecture), &files),
                "{file}"
            );
            assert!(
                !tool.is_there(&package("1:2-4", architecture), &files),
                "{file}"
            );
        }
    }
}
