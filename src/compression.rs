//! Decompressing by content: gzip, xz and zstd.

use crate::{Error, Result};
use std::io::Read;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Gzip,
    Xz,
    Zstd,
}

/// The longest of the signatures below, in bytes.
const SIGNATURE: u64 = 6;

impl Format {
    fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(&[0x1f, 0x8b, 8]) {
            Some(Self::Gzip)
        } else if start.starts_with(b"\xfd7zXZ\0") {
            Some(Self::Xz)
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

/// How `content` is compressed, in a word.
pub fn name(content: &[u8]) -> &'static str {
    match Format::of(content) {
        Some(Format::Gzip) => "gzip",
        Some(Format::Xz) => "xz",
        Some(Format::Zstd) => "zstd",
        None => "uncompressed",
    }
}

/// What `source` has, decompressed as it is read if it is gzip, xz or zstd;
/// `name` is for messages.
pub fn reader<'a>(name: &str, mut source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let damaged = |e| Error::io("cannot decompress", name, e);
    let mut start = Vec::new();
    (&mut source)
        .take(SIGNATURE)
        .read_to_end(&mut start)
        .map_err(damaged)?;
    let format = Format::of(&start);
    let source = std::io::Cursor::new(start).chain(source);
    Ok(match format {
        Some(Format::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Some(Format::Xz) => Box::new(xz2::read::XzDecoder::new_multi_decoder(source)),
        Some(Format::Zstd) => Box::new(zstd::Decoder::new(source).map_err(damaged)?),
        None => Box::new(source),
    })
}

/// `content`, decompressed if it is gzip, xz or zstd, and as it is otherwise.
/// More than `limit` bytes are an error; `name` is for messages.
pub fn decompress(name: &str, content: Vec<u8>, limit: u64) -> Result<Vec<u8>> {
    if Format::of(&content).is_none() {
        return Ok(content);
    }
    let mut plain = Vec::new();
    reader(name, &content[..])?
        .take(limit + 1)
        .read_to_end(&mut plain)
        .map_err(|e| Error::io("cannot decompress", name, e))?;
    if plain.len() as u64 > limit {
        return Err(Error::input(format!(
            "`{name}` is larger than {limit} bytes when decompressed"
        ))
        .hint("this is more than any real file of its kind; check where it comes from"));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_format_is_known_by_its_content() {
        let plain = b"module ".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for packed in [
            plain.clone(),
            gzip.finish().unwrap(),
            xz.finish().unwrap(),
            zstd,
        ] {
            assert_eq!(decompress("x", packed.clone(), 1000).unwrap(), plain);
            if packed != plain {
                let error = decompress("x", packed, 99).unwrap_err().to_string();
                assert_eq!(error, "`x` is larger than 99 bytes when decompressed");
            }
        }
    }

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let error = decompress("base.tar.gz", vec![0x1f, 0x8b, 8, 0, 1], 9).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot decompress `base.tar.gz`"),
            "{error}"
        );
    }
}
