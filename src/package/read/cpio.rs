//! The cpio archive in an RPM package: "new ASCII", with or without checksums.
//!
//! Format: <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.

use std::io::{Error, ErrorKind, Read, Result};

/// Names are paths, so no longer than PATH_MAX allows.
const LONGEST_NAME: u64 = 4096;

/// Calls `each` for every member with its name, its number of links and its
/// content, which need not be read to its end.
pub(super) fn members(
    mut archive: impl Read,
    mut each: impl FnMut(&str, u32, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut last = "the start".to_owned();
    loop {
        let invalid =
            |what: &str| Error::new(ErrorKind::InvalidData, format!("after {last}: {what}"));
        let mut header = [0; 110];
        archive.read_exact(&mut header)?;
        match &header[..6] {
            b"070701" | b"070702" => {}
            b"07070X" => return Err(invalid("files of more than 4 GB, which are not supported")),
            _ => return Err(invalid("there is no header of a member")),
        }
        let field = |number: usize| {
            let at = 6 + 8 * number;
            let digits = std::str::from_utf8(&header[at..at + 8]).ok();
            digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
        };
        // The fields: inode, mode, owner, group, links, time, size, device (2),
        // special device (2), length of the name with its NUL byte, checksum.
        let (Some(links), Some(size), Some(name_size)) = (field(4), field(6), field(11)) else {
            return Err(invalid("the header has a field that is no number"));
        };
        let name_size = u64::from(name_size);
        if !(1..=LONGEST_NAME).contains(&name_size) {
            return Err(invalid("a name has an impossible length"));
        }
        let mut name = Vec::new();
        let padded = (110 + name_size).next_multiple_of(4) - 110;
        (&mut archive).take(padded).read_to_end(&mut name)?;
        if name.len() as u64 != padded {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        name.truncate(name_size as usize - 1);
        let name = String::from_utf8_lossy(&name).into_owned();
        if name == "TRAILER!!!" {
            return Ok(());
        }
        let mut content = (&mut archive).take(size.into());
        each(&name, links, &mut content)?;
        std::io::copy(&mut content, &mut std::io::sink())?;
        if content.limit() > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let padding = u64::from(size).next_multiple_of(4) - u64::from(size);
        std::io::copy(&mut (&mut archive).take(padding), &mut std::io::sink())?;
        last = format!("`{name}`");
    }
}
