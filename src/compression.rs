//! Decompressing by content: gzip, xz and zstd.

use crate::{Error, Result};
use std::io::Read;

/// How a file of each format begins.
const GZIP: &[u8] = &[0x1f, 0x8b, 8];
const XZ: &[u8] = b"\xfd7zXZ\0";
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Reads `content` decompressed if it is gzip, xz or zstd, and as it is
/// otherwise; `name` is for messages.  There may be no end to what comes out:
/// whoever reads has to stop.
pub fn reader<'a>(name: &str, content: &'a [u8]) -> Result<Box<dyn Read + 'a>> {
    Ok(if content.starts_with(GZIP) {
        Box::new(flate2::read::MultiGzDecoder::new(content))
    } else if content.starts_with(XZ) {
        Box::new(xz2::read::XzDecoder::new_multi_decoder(content))
    } else if content.starts_with(ZSTD) {
        let decoder = zstd::Decoder::with_buffer(content);
        Box::new(decoder.map_err(|e| Error::io("cannot decompress", name, e))?)
    } else {
        Box::new(content)
    })
}

/// `content`, decompressed if it is gzip, xz or zstd, and as it is otherwise.
/// More than `limit` bytes are an error; `name` is for messages.
pub fn decompress(name: &str, content: Vec<u8>, limit: u64) -> Result<Vec<u8>> {
    if ![GZIP, XZ, ZSTD]
        .iter()
        .any(|magic| content.starts_with(magic))
    {
        return Ok(content);
    }
    let mut plain = Vec::new();
    reader(name, &content)?
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
