//! Signing RPM packages: an OpenPGP signature over the header, in the
//! signature header.
//!
//! The header has the digest of the payload, so nothing stays unsigned.  Tags:
//! <https://rpm-software-management.github.io/rpm/manual/format_v4.html>.

use super::Signer;
use crate::package::openpgp;
use crate::package::read::{damaged, frames};
use crate::{Error, Result, error::Kind};
use rpm::{Header, HeaderEntry, IndexData, IndexSignatureTag as Tag, IndexTag, PackageMetadata};

/// What a new signature replaces: signatures, and the room reserved for them.
const REPLACED: [Tag; 8] = [
    Tag::HEADER_SIGNATURES,
    Tag::RPMSIGTAG_OPENPGP,
    Tag::RPMSIGTAG_DSA,
    Tag::RPMSIGTAG_RSA,
    Tag::RPMSIGTAG_PGP,
    Tag::RPMSIGTAG_GPG,
    Tag::RPMSIGTAG_RESERVED,
    Tag::RPMSIGTAG_RESERVEDSPACE,
];

/// The package `bytes`, signed.
pub(super) fn sign(signer: &Signer, name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let frames = frames(name, bytes)?;
    let header = &bytes[frames.header.clone()];
    let bad = |e: rpm::Error| damaged(name, "the header", &e.to_string());
    let mut metadata = PackageMetadata::parse(&mut &bytes[..frames.header.end]).map_err(bad)?;
    if !metadata
        .header
        .entry_is_present(IndexTag::RPMTAG_PAYLOADSHA256 as u32)
    {
        // Then the signature would say nothing of the files.
        return Err(Error::input(format!(
            "the header of `{name}` has no digest of the payload"
        ))
        .hint("build the package anew with rpm 4.14 or newer"));
    }
    // Who signs vouches for the package as it is.
    crate::package::read::parse(name, bytes)?.must_be_sound(name)?;
    let signature = signer.detached(header)?;
    let tag = match openpgp::read(&signature).map(|packet| packet.algorithm) {
        Some("RSA") => Tag::RPMSIGTAG_RSA,
        Some(_) => Tag::RPMSIGTAG_DSA,
        None => {
            return Err(Error::new(
                Kind::System,
                "the signature that was made is no OpenPGP signature that can be read",
            ));
        }
    };
    let replaced = REPLACED.map(|tag| tag as u32);
    let entries = metadata.signature.get_all_entries().map_err(bad)?;
    let entries = entries
        .into_iter()
        .filter(|(tag, _)| !replaced.contains(tag))
        .chain([(tag as u32, IndexData::Bin(signature))])
        .map(|(tag, data)| HeaderEntry::new(tag, data));
    metadata.signature = Header::from_entries(entries, Tag::HEADER_SIGNATURES);
    let mut signed = Vec::with_capacity(bytes.len() + 1024);
    metadata.write(&mut signed).map_err(bad)?;
    // What is signed must be there byte by byte.
    if !signed.ends_with(header) {
        return Err(damaged(
            name,
            "the header",
            "it cannot be written as it was",
        ));
    }
    signed.extend_from_slice(&bytes[frames.payload]);
    Ok(signed)
}
