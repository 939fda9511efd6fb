//! A signature inside a Debian package, as debsigs(1) and debsig-verify(1) have
//! it: a member `_gpgorigin` with a signature over the other members.
//!
//! dpkg ignores members whose names begin with an underscore, see deb(5).

use super::Signer;
use crate::Result;
use crate::package::read::{self, members};

const MEMBER: &str = "_gpgorigin";

/// The package `bytes`, signed; an earlier signature of ours is replaced.
pub(super) fn sign(signer: &Signer, name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    read::parse(name, bytes)?.must_be_sound(name)?;
    let members = members(name, bytes)?;
    let signature = signer.detached(&read::signed_members(bytes, &members))?;
    let mut signed = Vec::with_capacity(bytes.len() + 1024);
    signed.extend_from_slice(b"!<arch>\n");
    for member in members.iter().filter(|member| member.name != MEMBER) {
        // With the header of 60 bytes before it, and its padding behind it.
        let end = member.range.end.next_multiple_of(2).min(bytes.len());
        signed.extend_from_slice(&bytes[member.range.start - 60..end]);
    }
    // Time 0: when it was signed is in the signature.
    signed.extend_from_slice(
        format!(
            "{MEMBER:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            "100644",
            signature.len()
        )
        .as_bytes(),
    );
    signed.extend_from_slice(&signature);
    if !signature.len().is_multiple_of(2) {
        signed.push(b'\n');
    }
    Ok(signed)
}
