//! Packages: plain data becomes the bytes of a `.deb` or `.rpm`, or of the
//! source package that build systems make these from.

pub mod contents;
pub mod deb;
pub mod koji;
pub mod obs;
pub mod rpm;
pub mod source;
pub mod source_deb;
pub mod source_rpm;
mod spec;

pub use contents::{Contents, PackagedFile};
pub use source::Source;

/// A digest as text.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
