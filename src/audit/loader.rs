//! Where ld.so finds the libraries that a program needs.
//!
//! Source: ld.so(8).

use super::elf::{Elf, Kind};
use super::inside::{Inside, is_file};
use crate::appliance::plan::{Entry, Plan};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// How a library is found.
pub(super) enum Found<'a> {
    /// ld.so finds it.
    There(&'a Entry),
    /// It is there, where ld.so looks only if something else helps: the
    /// directories of ld.so.conf without a cache, or a private directory that
    /// another library has opened before.
    Aside(&'a Entry),
    Missing,
}

/// What is the same for every search in one appliance.
pub(super) struct Loader<'a> {
    inside: &'a Inside<'a>,
    /// Directories of /etc/ld.so.conf.
    configured: Vec<PathBuf>,
    /// Whether there is the cache that makes `configured` count.
    cached: bool,
    /// Every file whose name looks like a library's, by name.
    libraries: HashMap<&'a str, Vec<&'a Entry>>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(inside: &'a Inside<'a>, plan: &'a Plan) -> Self {
        let mut libraries: HashMap<&str, Vec<&Entry>> = HashMap::new();
        let mut configured = Vec::new();
        for entry in &plan.entries {
            let Some(name) = entry.path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            if name.contains(".so") {
                libraries.entry(name).or_default().push(entry);
            }
            let directory = entry.path.parent().and_then(Path::to_str);
            if directory == Some("/etc/ld.so.conf.d") || entry.path == Path::new("/etc/ld.so.conf")
            {
                let text = inside.read(entry, 0, 1 << 16).unwrap_or_default();
                configured.extend(directories(&String::from_utf8_lossy(&text)));
            }
        }
        Self {
            inside,
            configured,
            cached: inside.find(Path::new("/etc/ld.so.cache")).is_some(),
            libraries,
        }
    }

    /// Where `name`, which `elf` at `path` needs, is found; `inherited` are the
    /// RPATH directories of what loaded it, already expanded.
    pub(super) fn find(
        &self,
        name: &str,
        elf: &Elf,
        path: &Path,
        inherited: &[PathBuf],
    ) -> Found<'a> {
        let fits = |path: &Path| {
            let entry = self.inside.find(path)?;
            (is_file(entry) && self.inside.kind(entry) == Some(elf.kind)).then_some(entry)
        };
        if name.contains('/') {
            return fits(Path::new(name)).map_or(Found::Missing, Found::There);
        }
        let own = own_directories(elf, path);
        // DT_RUNPATH switches every DT_RPATH off.
        let inherited = if elf.runpath.is_empty() {
            inherited
        } else {
            &[]
        };
        let configured: &[PathBuf] = if self.cached { &self.configured } else { &[] };
        let standard = standard(elf.kind);
        let searched = own
            .iter()
            .chain(inherited)
            .chain(configured)
            .chain(&standard);
        if let Some(entry) = searched
            .map(|directory| directory.join(name))
            .find_map(|path| fits(&path))
        {
            return Found::There(entry);
        }
        let mut others = self.libraries.get(name).into_iter().flatten();
        others
            .find_map(|entry| fits(&entry.path))
            .map_or(Found::Missing, Found::Aside)
    }
}

/// The directories that a file names itself, expanded.
pub(super) fn own_directories(elf: &Elf, path: &Path) -> Vec<PathBuf> {
    let list = if elf.runpath.is_empty() {
        &elf.rpath
    } else {
        &elf.runpath
    };
    let origin = path
        .parent()
        .unwrap_or(Path::new("/"))
        .display()
        .to_string();
    let mut found = Vec::new();
    for directory in list.iter().filter(|directory| !directory.is_empty()) {
        let directory = directory
            .replace("${", "$")
            .replace('}', "")
            .replace("$ORIGIN", &origin);
        // What `$LIB` means depends on how ld.so was built.
        for lib in ["lib64", "lib"] {
            found.push(PathBuf::from(directory.replace("$LIB", lib)));
            if !directory.contains("$LIB") {
                break;
            }
        }
    }
    found
}

/// Directories that are searched without being told: those of every
/// distribution, since a file of another machine in them does not count.
fn standard(kind: Kind) -> Vec<PathBuf> {
    // e_machine, and the name that Debian's directories have.
    let triple = match kind.machine {
        3 => "i386-linux-gnu",
        22 => "s390x-linux-gnu",
        21 => "powerpc64le-linux-gnu",
        40 => "arm-linux-gnueabihf",
        62 if kind.wide => "x86_64-linux-gnu",
        62 => "x86_64-linux-gnux32",
        183 => "aarch64-linux-gnu",
        243 => "riscv64-linux-gnu",
        258 => "loongarch64-linux-gnu",
        _ => "",
    };
    let mut found = Vec::new();
    for directory in ["/lib", "/usr/lib"] {
        if !triple.is_empty() {
            found.push(Path::new(directory).join(triple));
        }
        found.push(format!("{directory}64").into());
        found.push(directory.into());
    }
    found
}

/// The directories of an ld.so.conf; `include` lines are left to the caller.
fn directories(text: &str) -> Vec<PathBuf> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim());
    lines
        .filter(|line| line.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_where_the_file_lies() {
        let elf = |runpath: &[&str], rpath: &[&str]| Elf {
            kind: Kind {
                wide: true,
                big: false,
                machine: 62,
            },
            interpreter: None,
            needed: Vec::new(),
            runpath: runpath.iter().map(ToString::to_string).collect(),
            rpath: rpath.iter().map(ToString::to_string).collect(),
        };
        let path = Path::new("/opt/x/bin/x");
        let both = elf(&["$ORIGIN/../lib", "/a"], &["/ignored"]);
        assert_eq!(
            own_directories(&both, path),
            [Path::new("/opt/x/bin/../lib"), Path::new("/a")]
        );
        let old = elf(&[], &["${ORIGIN}", "", "/usr/$LIB"]);
        let expected = ["/opt/x/bin", "/usr/lib64", "/usr/lib"].map(PathBuf::from);
        assert_eq!(own_directories(&old, path), expected);
    }

    #[test]
    fn ld_so_conf_has_comments_and_includes() {
        let text = "# local\ninclude /etc/ld.so.conf.d/*.conf\n/opt/lib # ours\n\nhwcap 0 x\n";
        assert_eq!(directories(text), [Path::new("/opt/lib")]);
    }
}
