//! What an OpenPGP signature says of itself, without any cryptography.
//!
//! Source: RFC 4880 and RFC 9580, sections 4.2 (packet headers) and 5.2
//! (signature packets).

use super::hex;
use serde::Serialize;

/// A signature packet's own words; nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignaturePacket {
    /// The algorithm of the key: `RSA`, `EdDSA`, ...; `unknown` if the packet
    /// could not be read.
    pub algorithm: &'static str,
    /// The algorithm of the digest: `SHA256`, ...
    pub hash: &'static str,
    /// The key that made it: its fingerprint if the signature has it, else the
    /// last 16 digits of it; upper-case hexadecimal.
    pub key: String,
    /// When it was made, in seconds since 1970.
    pub created: Option<u32>,
}

impl SignaturePacket {
    /// What stands for a signature that cannot be read.
    pub fn unknown() -> Self {
        Self {
            algorithm: "unknown",
            hash: "unknown",
            key: String::new(),
            created: None,
        }
    }
}

/// Reads the binary signature packet that `bytes` begin with.
pub fn read(bytes: &[u8]) -> Option<SignaturePacket> {
    let body = packet(bytes)?;
    let mut signature = SignaturePacket::unknown();
    let (algorithm, hash) = match body.first()? {
        3 => {
            signature.created = number(body.get(3..7)?);
            signature.key = hex(body.get(7..15)?).to_uppercase();
            (*body.get(15)?, *body.get(16)?)
        }
        version @ (4 | 6) => {
            // Version 6 has longer length fields.
            let wide = if *version == 6 { 4 } else { 2 };
            let mut rest = body.get(4..)?;
            for _ in ["hashed", "unhashed"] {
                let length = number(rest.get(..wide)?)? as usize;
                let end = wide.checked_add(length)?;
                signature.subpackets(rest.get(wide..end)?)?;
                rest = rest.get(end..)?;
            }
            (*body.get(2)?, *body.get(3)?)
        }
        _ => return None,
    };
    signature.algorithm = match algorithm {
        1..=3 => "RSA",
        17 => "DSA",
        19 => "ECDSA",
        22 => "EdDSA",
        27 => "Ed25519",
        28 => "Ed448",
        _ => return None,
    };
    signature.hash = match hash {
        1 => "MD5",
        2 => "SHA1",
        8 => "SHA256",
        9 => "SHA384",
        10 => "SHA512",
        11 => "SHA224",
        12 => "SHA3-256",
        14 => "SHA3-512",
        _ => return None,
    };
    Some(signature)
}

/// The body of the signature packet (number 2) that `bytes` begin with.
fn packet(bytes: &[u8]) -> Option<&[u8]> {
    let first = *bytes.first()?;
    let (kind, start, length) = if first & 0x40 == 0 {
        let width = 1 << (first & 3);
        let length = number(bytes.get(1..1 + width)?)?;
        (first >> 2 & 15, 1 + width, length as usize)
    } else {
        let (width, length) = length(bytes.get(1..)?)?;
        (first & 63, 1 + width, length)
    };
    (first & 0x80 != 0 && kind == 2)
        .then(|| bytes.get(start..start.checked_add(length)?))
        .flatten()
}

/// A length of one, two or five bytes: how many, and the length itself.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    match *bytes.first()? {
        first @ 0..=191 => Some((1, first.into())),
        first @ 192..=223 => {
            let second = usize::from(*bytes.get(1)?);
            Some((2, ((usize::from(first) - 192) << 8) + second + 192))
        }
        255 => Some((5, number(bytes.get(1..5)?)? as usize)),
        // Parts of unknown total length do not occur in signatures.
        _ => None,
    }
}

/// Up to four bytes, the most significant first.
fn number(bytes: &[u8]) -> Option<u32> {
    (bytes.len() <= 4).then(|| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    })
}

impl SignaturePacket {
    fn subpackets(&mut self, mut area: &[u8]) -> Option<()> {
        while !area.is_empty() {
            let (width, length) = length(area)?;
            let end = width.checked_add(length)?;
            let body = area.get(width..end)?;
            area = area.get(end..)?;
            // The first bit marks subpackets that must be understood.
            match (body.first()? & 0x7f, &body[1..]) {
                (2, time) => self.created = number(time),
                (16, id) if self.key.is_empty() => self.key = hex(id).to_uppercase(),
                // After a byte with the version of the key.
                (33, fingerprint) => self.key = hex(fingerprint.get(1..)?).to_uppercase(),
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_version_3_signature() {
        let mut bytes = vec![0x88, 19, 3, 5, 0, 0x65, 0, 0, 0];
        bytes.extend([0xab; 8]);
        bytes.extend([17, 2, 0, 0]);
        let signature = read(&bytes).unwrap();
        assert_eq!(signature.algorithm, "DSA");
        assert_eq!(signature.hash, "SHA1");
        assert_eq!(signature.key, "ABABABABABABABAB");
        assert_eq!(signature.created, Some(0x6500_0000));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
        }

        #[test]
        fn garbage_that_begins_well_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..80))
        {
            let mut packet = vec![0x88, bytes.len() as u8, 4, 0, 22, 8];
            packet.extend(bytes);
            let _ = read(&packet);
        }
    }
}
