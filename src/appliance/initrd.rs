//! The initrd: PID 1 and the modules it loads, as a newc cpio archive.
//!
//! It is not compressed: it is small, and decompressing costs time at boot.

use super::image::cpio::Archive;
use crate::compression::decompress;
use crate::{Result, files};
use std::path::PathBuf;

/// PID 1, compiled from `init/` by build.rs.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// More than any module.
const LIMIT: u64 = 256 << 20;

/// An initrd that loads `modules`, in that order, and then mounts the root
/// file system.
pub fn build(modules: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::new(Vec::new(), "in memory");
    archive.add("init", 0o100_755, INIT)?;
    add_modules(&mut archive, "modules", modules)?;
    archive.finish()
}

/// An archive that the kernel unpacks over the first, when it lies behind it in
/// the same file: `modules` are loaded after those of the first.
pub fn more(modules: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::new(Vec::new(), "in memory");
    add_modules(&mut archive, "modules.more", modules)?;
    archive.finish()
}

/// Adds modules, and their names in the order of loading as the file `list`.
fn add_modules(archive: &mut Archive<Vec<u8>>, list: &str, modules: &[PathBuf]) -> Result<()> {
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
        archive.add(&name, 0o100_644, &module)?;
        names.push_str(&name);
        names.push('\n');
    }
    archive.add(list, 0o100_644, names.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_1_is_static_and_tiny() {
        assert!(INIT.starts_with(b"\x7fELF"));
        assert!(INIT.len() < 16 << 10, "{} bytes", INIT.len());
        // No program interpreter: nothing but the kernel is there to load it.
        assert!(!INIT.windows(7).any(|window| window == b"/ld-lin"));
    }
}
