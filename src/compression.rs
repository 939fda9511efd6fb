//! Decompressing by content: gzip, xz, lzma and zstd.

use crate::{Error, Result};
use std::io::Read;

/// A compression that can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 1952.
    Gzip,
    /// The format of xz(1).
    Xz,
    /// The older format of the same program, which has no real magic.
    Lzma,
    /// RFC 8878.
    Zstd,
}

/// The compression of `content`, by its first bytes.
pub fn format(content: &[u8]) -> Option<Format> {
    if content.starts_with(&[0x1f, 0x8b, 8]) {
        Some(Format::Gzip)
    } else if content.starts_with(b"\xfd7zXZ\0") {
        Some(Format::Xz)
    } else if content.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Some(Format::Zstd)
    } else if content.starts_with(&[0x5d, 0, 0]) {
        // The default properties, and a dictionary of a whole number of 64 KiB.
        Some(Format::Lzma)
    } else {
        None
    }
}

/// How `content` is compressed, in a word.
pub fn name(content: &[u8]) -> &'static str {
    match format(content) {
        Some(Format::Gzip) => "gzip",
        Some(Format::Xz) => "xz",
        Some(Format::Lzma) => "lzma",
        Some(Format::Zstd) => "zstd",
        None => "uncompressed",
    }
}

/// The longest of the signatures above, in bytes.
const SIGNATURE: u64 = 6;

/// What `source` has, decompressed as it is read if it is compressed; `name` is
/// for messages.  There may be no end to what comes out: whoever reads has to stop.
pub fn reader<'a>(name: &str, mut source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let damaged = |e| damaged(name, e);
    let mut start = Vec::new();
    (&mut source)
        .take(SIGNATURE)
        .read_to_end(&mut start)
        .map_err(damaged)?;
    let format = format(&start);
    let source = std::io::Cursor::new(start).chain(source);
    Ok(match format {
        Some(Format::Gzip) => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Some(Format::Xz) => Box::new(xz2::read::XzDecoder::new_multi_decoder(source)),
        Some(Format::Lzma) => Box::new(xz2::read::XzDecoder::new_stream(source, lzma(name)?)),
        Some(Format::Zstd) => Box::new(zstd::Decoder::new(source).map_err(damaged)?),
        None => Box::new(source),
    })
}

/// `content`, decompressed if it is compressed, and as it is otherwise.
/// More than `limit` bytes are an error; `name` is for messages.
pub fn decompress(name: &str, content: Vec<u8>, limit: u64) -> Result<Vec<u8>> {
    if format(&content).is_none() {
        return Ok(content);
    }
    read(name, &mut reader(name, &content[..])?, limit)
}

/// The first compressed stream of `content`, decompressed, and what follows it;
/// `None` if `content` is not compressed.
pub fn first_stream<'a>(
    name: &str,
    content: &'a [u8],
    limit: u64,
) -> Result<Option<(Vec<u8>, &'a [u8])>> {
    let damaged = |e| damaged(name, e);
    Ok(match format(content) {
        None => None,
        Some(Format::Gzip) => {
            let mut reader = flate2::bufread::GzDecoder::new(content);
            Some((read(name, &mut reader, limit)?, reader.into_inner()))
        }
        Some(Format::Xz) => {
            let mut reader = xz2::bufread::XzDecoder::new(content);
            Some((read(name, &mut reader, limit)?, reader.into_inner()))
        }
        Some(Format::Lzma) => {
            let mut reader = xz2::bufread::XzDecoder::new_stream(content, lzma(name)?);
            Some((read(name, &mut reader, limit)?, reader.into_inner()))
        }
        Some(Format::Zstd) => {
            let reader = zstd::Decoder::with_buffer(content).map_err(damaged)?;
            let mut reader = reader.single_frame();
            let plain = read(name, &mut reader, limit)?;
            Some((plain, reader.finish()))
        }
    })
}

fn damaged(name: &str, cause: std::io::Error) -> Error {
    Error::io("cannot decompress", name, cause)
        .hint("it is damaged or cut off: make or fetch it again")
}

fn lzma(name: &str) -> Result<xz2::stream::Stream> {
    xz2::stream::Stream::new_lzma_decoder(u64::MAX).map_err(|e| damaged(name, e.into()))
}

fn read(name: &str, reader: &mut dyn Read, limit: u64) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    reader
        .take(limit + 1)
        .read_to_end(&mut plain)
        .map_err(|e| damaged(name, e))?;
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
    use xz2::stream::{LzmaOptions, Stream};

    /// `plain` in every format that is known here.
    pub(crate) fn packed(plain: &[u8]) -> [Vec<u8>; 4] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(plain).unwrap();
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(plain).unwrap();
        let options = LzmaOptions::new_preset(6).unwrap();
        let stream = Stream::new_lzma_encoder(&options).unwrap();
        let mut lzma = xz2::write::XzEncoder::new_stream(Vec::new(), stream);
        lzma.write_all(plain).unwrap();
        let zstd = zstd::encode_all(plain, 1).unwrap();
        [
            gzip.finish().unwrap(),
            xz.finish().unwrap(),
            lzma.finish().unwrap(),
            zstd,
        ]
    }

    #[test]
    fn every_format_is_known_by_its_content() {
        let plain = b"module ".repeat(100);
        assert_eq!(decompress("x", plain.clone(), 1).unwrap(), plain);
        for packed in packed(&plain) {
            assert_eq!(decompress("x", packed.clone(), 1000).unwrap(), plain);
            let error = decompress("x", packed, 99).unwrap_err().to_string();
            assert_eq!(error, "`x` is larger than 99 bytes when decompressed");
        }
    }

    #[test]
    fn what_follows_a_stream_is_left_alone() {
        for mut packed in packed(b"first") {
            packed.extend(b"0707 and more");
            let (plain, rest) = first_stream("x", &packed, 100).unwrap().unwrap();
            assert_eq!((&plain[..], rest), (&b"first"[..], &b"0707 and more"[..]));
        }
        assert!(first_stream("x", b"0707", 100).unwrap().is_none());
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
