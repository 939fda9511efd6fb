//! The initrd: PID 1 and the modules it loads, as a newc cpio archive.
//!
//! It is not compressed: it is small, and decompressing costs time at boot.
//! Format: <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.

use crate::compression::decompress;
use crate::{Error, Result, files};
use std::io::Write;
use std::path::PathBuf;

/// PID 1, compiled from `init/` by build.rs.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// More than any module.
const LIMIT: u64 = 256 << 20;

/// An initrd that loads `modules`, in that order, and then mounts the root
/// file system.
pub fn build(modules: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.add("init", 0o100_755, INIT)?;
    archive.add_modules("modules", modules)?;
    archive.finish()
}

/// An archive that the kernel unpacks over the first, when it lies behind it in
/// the same file: `modules` are loaded after those of the first.
pub fn more(modules: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.add_modules("modules.more", modules)?;
    archive.finish()
}

/// A newc archive in the making: owner 0, times 0, numbered inodes.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds modules, and their names in the order of loading as the file `list`.
    fn add_modules(&mut self, list: &str, modules: &[PathBuf]) -> Result<()> {
        let mut names = String::new();
        for path in modules {
            // The kernel of the guest may not know how to decompress them.
            let module = decompress(&path.display().to_string(), files::read(path)?, LIMIT)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name
                .split_once(".ko")
                .map_or(&*name, |(name, _)| name)
                .to_owned()
                + ".ko";
            self.add(&name, 0o100_644, &module)?;
            names.push_str(&name);
            names.push('\n');
        }
        self.add(list, 0o100_644, names.as_bytes())
    }

    fn add(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).map_err(|e| {
            Error::input(format!("`{name}` is too large for an initrd")).caused_by(e)
        })?;
        self.inode += 1;
        let inode = if mode == 0 { 0 } else { self.inode };
        // Inode, mode, owner, group, links, time, size, device (2), special
        // device (2), length of the name with its NUL byte, no checksum.
        let name_size = name.len() as u32 + 1;
        let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        let cannot = |e| Error::io("cannot write the initrd", "in memory", e);
        self.bytes.write_all(b"070701").map_err(cannot)?;
        for field in fields {
            write!(self.bytes, "{field:08X}").map_err(cannot)?;
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend(content);
        self.pad(4);
        Ok(())
    }

    fn pad(&mut self, unit: usize) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(unit), 0);
    }

    fn finish(mut self) -> Result<Vec<u8>> {
        self.add("TRAILER!!!", 0, b"")?;
        self.pad(512);
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::{Command, Stdio};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// cpio(1) is the judge.
        #[test]
        fn cpio_reads_what_was_written(members in proptest::collection::btree_map(
            "[a-z][a-z0-9_-]{0,40}", proptest::collection::vec(any::<u8>(), 0..300), 0..8))
        {
            let mut archive = Archive::default();
            for (name, content) in &members {
                archive.add(name, 0o100_644, content).unwrap();
            }
            let bytes = archive.finish().unwrap();
            prop_assert_eq!(bytes.len() % 512, 0);
            let dir = tempfile::tempdir().unwrap();
            let child = Command::new("cpio").args(["-i", "--quiet"]).current_dir(dir.path())
                .stdin(Stdio::piped()).spawn();
            prop_assume!(child.is_ok());
            let mut child = child.unwrap();
            child.stdin.take().unwrap().write_all(&bytes).unwrap();
            prop_assert!(child.wait().unwrap().success());
            for (name, content) in &members {
                prop_assert_eq!(&files::read(dir.path().join(name)).unwrap(), content);
            }
            prop_assert_eq!(dir.path().read_dir().unwrap().count(), members.len());
        }
    }

    #[test]
    fn pid_1_is_static_and_tiny() {
        assert!(INIT.starts_with(b"\x7fELF"));
        assert!(INIT.len() < 16 << 10, "{} bytes", INIT.len());
        // No program interpreter: nothing but the kernel is there to load it.
        assert!(!INIT.windows(7).any(|window| window == b"/ld-lin"));
    }
}
