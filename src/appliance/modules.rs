//! Which kernel modules are needed, and in which order they are loaded.

use crate::glob::Pattern;
use crate::{Result, files};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// What a virtual machine of ours needs to come up: its disk and file system,
/// the ports of a session, entropy, and the network.
pub const NATIVE: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "virtio_rng",
    "virtio_net",
    // The file system, and the checksums it looks up by name at run time.
    "ext4",
    "crc32c_generic",
    "crc32c_intel",
    "libcrc32c",
];

/// What supermin's initrd loads, so that an appliance comes up on whatever disk
/// its user gives it.
pub const SUPERMIN: &[&str] = &[
    "ext2",
    "ext4",
    "virtio*",
    "libata*",
    "piix*",
    "sd_mod",
    "ata_piix",
    "crc*",
    "libcrc*",
    "ibmvscsi*",
    "libnvdimm*",
    "nd_pmem*",
    "nd_btt*",
    "nfit*",
];

/// Modules that [`SUPERMIN`]'s patterns match and that are of no use: this one
/// pulls in the whole graphics stack.
const UNWANTED: &[&str] = &["virtio_gpu"];

/// The modules of a kernel, from its `modules.dep`.
#[derive(Debug)]
pub struct Index {
    directory: PathBuf,
    /// By module name: its path, and the paths it depends on.
    modules: BTreeMap<String, (String, Vec<String>)>,
    /// Names of modules that are part of the kernel itself.
    builtin: HashSet<String>,
}

/// What [`Index::closure`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closure {
    /// Files in the order in which they have to be loaded.
    pub files: Vec<PathBuf>,
    /// Wanted names that the kernel has neither as a module nor built in.
    pub missing: Vec<String>,
}

impl Index {
    /// Reads the index in `directory`, which is a `/lib/modules/VERSION`.
    pub fn load(directory: &Path) -> Result<Self> {
        let dep = files::read_text(directory.join("modules.dep"))
            .map_err(|e| e.hint("run `depmod` for this kernel, or use another one"))?;
        let builtin = directory.join("modules.builtin");
        let builtin = if builtin.exists() {
            files::read_text(builtin)?
        } else {
            String::new()
        };
        Ok(Self::parse(directory, &dep, &builtin))
    }

    /// Lines `path: path path...`; those without a colon are passed over.
    fn parse(directory: &Path, dep: &str, builtin: &str) -> Self {
        let modules = dep.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            Some((name(path), (path.to_owned(), needs)))
        });
        Self {
            directory: directory.to_owned(),
            modules: modules.collect(),
            builtin: builtin.lines().map(name).collect(),
        }
    }

    /// The modules that `wanted` names, and those they depend on, each after
    /// what it needs.  A name may be a pattern of fnmatch(3) such as `virtio*`.
    pub fn closure(&self, wanted: &[&str]) -> Result<Closure> {
        let mut closure = Closure::default();
        let mut seen = HashSet::new();
        for &wanted in wanted {
            if wanted.contains(['*', '?', '[']) {
                let pattern = Pattern::new(wanted.replace('-', "_"))?;
                for (name, (path, _)) in &self.modules {
                    if pattern.matches(Path::new(name)) && !UNWANTED.contains(&name.as_str()) {
                        self.visit(path, &mut seen, &mut closure.files);
                    }
                }
            } else if let Some((path, _)) = self.modules.get(&name(wanted)) {
                self.visit(path, &mut seen, &mut closure.files);
            } else if !self.builtin.contains(&name(wanted)) {
                closure.missing.push(wanted.to_owned());
            }
        }
        Ok(closure)
    }

    fn visit<'a>(&'a self, path: &'a str, seen: &mut HashSet<&'a str>, files: &mut Vec<PathBuf>) {
        if !seen.insert(path) {
            return;
        }
        if let Some((_, needs)) = self.modules.get(&name(path)) {
            // depmod lists the nearest first; each comes after its own needs.
            for need in needs.iter().rev() {
                self.visit(need, seen, files);
            }
        }
        files.push(self.directory.join(path));
    }
}

/// The name of the module in a file: `virtio-pci.ko.xz` is `virtio_pci`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split_once(".ko").map_or(file, |(name, _)| name);
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn dependencies_come_first_and_once() {
        let dep = "a/virtio_net.ko.xz: b/net_failover.ko b/failover.ko\nb/net_failover.ko: b/failover.ko\n\
                   b/failover.ko:\nnonsense\nc/virtio-pci.ko:\n";
        let index = Index::parse(Path::new("/m"), dep, "kernel/fs/ext4/ext4.ko\n");
        let closure = index
            .closure(&["virtio-net", "virtio*", "ext4", "zz"])
            .unwrap();
        let files: Vec<_> = closure
            .files
            .iter()
            .map(|file| file.to_str().unwrap())
            .collect();
        assert_eq!(
            files,
            [
                "/m/b/failover.ko",
                "/m/b/net_failover.ko",
                "/m/a/virtio_net.ko.xz",
                "/m/c/virtio-pci.ko"
            ]
        );
        assert_eq!(closure.missing, ["zz"]);
    }

    #[test]
    fn a_circle_ends() {
        let index = Index::parse(Path::new("/m"), "a.ko: b.ko\nb.ko: a.ko\n", "");
        assert_eq!(index.closure(&["a"]).unwrap().files.len(), 2);
    }

    /// modprobe is the judge, for every module of every kernel here.
    #[test]
    fn as_modprobe_would_load_them() {
        let Ok(kernels) = std::fs::read_dir("/lib/modules") else {
            return;
        };
        for kernel in kernels.flatten() {
            let Ok(index) = Index::load(&kernel.path()) else {
                continue;
            };
            for module in [
                "ext4",
                "virtio_net",
                "virtio_scsi",
                "xfs",
                "btrfs",
                "9p",
                "dm_crypt",
            ] {
                let output = Command::new("modprobe")
                    .args(["--show-depends", "--set-version"])
                    .arg(kernel.file_name())
                    .arg(module)
                    .output();
                let Ok(output) = output else { return };
                let closure = index.closure(&[module]).unwrap();
                if !output.status.success() {
                    assert_eq!(closure.files, [""; 0].map(PathBuf::from), "{module}");
                    continue;
                }
                // modprobe also follows soft dependencies, which are not needed to boot.
                let expected: Vec<String> = String::from_utf8_lossy(&output.stdout)
                    .lines()
                    .filter_map(|line| Some(name(line.strip_prefix("insmod ")?.trim())))
                    .collect();
                let found: Vec<String> = closure
                    .files
                    .iter()
                    .map(|file| name(file.to_str().unwrap()))
                    .collect();
                let hard: Vec<_> = expected
                    .iter()
                    .filter(|name| found.contains(name))
                    .collect();
                assert_eq!(
                    found.iter().collect::<HashSet<_>>(),
                    hard.into_iter().collect(),
                    "{module}"
                );
            }
        }
    }
}
