//! What a kernel's file says of itself.

use crate::compression::{Format, decompress, format};
use crate::{Result, files};
use std::io::{BufReader, Read};
use std::path::Path;

/// Bytes that are enough to recognise a kernel: x86 keeps its version in the
/// first 64 KiB.
const HEAD: u64 = 64 << 10;

/// More than any kernel, in bytes.
const LIMIT: u64 = 1 << 30;

/// The whole of a kernel that is a gzip file as a whole, as on arm64 and
/// riscv64, decompressed: not every qemu can boot those.  `None` for others.
pub(in crate::appliance) fn decompressed(image: &Path) -> Result<Option<Vec<u8>>> {
    if !beginning(image).is_ok_and(|start| is_gzip(&start)) {
        return Ok(None);
    }
    let name = image.display().to_string();
    Ok(Some(decompress(&name, files::read(image)?, LIMIT)?))
}

/// The first [`HEAD`] bytes of a kernel, decompressed if it is compressed.
pub(super) fn head(image: &Path) -> std::io::Result<Vec<u8>> {
    let head = beginning(image)?;
    if !is_gzip(&head) {
        return Ok(head);
    }
    let mut plain = Vec::new();
    flate2::bufread::GzDecoder::new(BufReader::new(std::fs::File::open(image)?))
        .take(HEAD)
        .read_to_end(&mut plain)?;
    Ok(plain)
}

fn beginning(image: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(image)?
        .take(HEAD)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_gzip(bytes: &[u8]) -> bool {
    format(bytes) == Some(Format::Gzip)
}

/// The architecture of a kernel, by its header.
///
/// Sources: <https://docs.kernel.org/arch/x86/boot.html>,
/// <https://docs.kernel.org/arch/arm64/booting.html>, elf(5).
pub(super) fn architecture(head: &[u8]) -> Option<&'static str> {
    if head.len() as u64 == HEAD && head[0x202..0x206] == *b"HdrS" {
        return Some("x86_64");
    }
    if head.get(0x38..0x3c) == Some(b"ARM\x64") {
        return Some("aarch64");
    }
    if head.starts_with(b"\x7fELF") {
        return match head.get(0x12..0x14)? {
            [0x3e, 0] => Some("x86_64"),
            [0xb7, 0] => Some("aarch64"),
            [0xf3, 0] => Some("riscv64"),
            [0, 0x15] | [0x15, 0] => Some("powerpc64"),
            _ => None,
        };
    }
    None
}

/// The version that the kernel `image` says of itself, if it can be told.
pub fn version(image: &Path) -> Option<String> {
    bzimage_version(&head(image).ok()?)
}

/// The version that an x86 kernel says of itself.
pub(super) fn bzimage_version(head: &[u8]) -> Option<String> {
    if head.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let at = usize::from(u16::from_le_bytes([*head.get(0x20e)?, *head.get(0x20f)?])) + 0x200;
    let text = head.get(at..)?.split(|byte| *byte == 0).next()?;
    let version = std::str::from_utf8(text).ok()?.split_whitespace().next()?;
    (version.len() < 128).then(|| version.to_owned())
}
