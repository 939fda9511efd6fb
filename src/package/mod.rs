//! Packages: plain data becomes the bytes of a `.deb` or `.rpm`, or of the
//! source package that build systems make these from.

pub mod changes;
mod checksums;
pub mod contents;
pub mod deb;
pub mod diff;
pub mod inspect;
pub mod koji;
pub mod lifecycle;
pub mod obs;
pub mod openpgp;
pub mod read;
pub mod rpm;
pub mod sign;
pub mod source;
pub mod source_deb;
pub mod source_rpm;
mod spec;
mod text;
mod verify;

pub use contents::{Contents, PackagedFile};
pub use source::Source;

/// A file that belongs to a package or is one: its name and its bytes.
pub type Named = (String, Vec<u8>);

/// A digest as text, in lower case.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
