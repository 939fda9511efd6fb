//! Packages: plain data becomes the bytes of a `.deb` or `.rpm`.

pub mod contents;
pub mod deb;
pub mod openpgp;
pub mod read;
pub mod rpm;

pub use contents::{Contents, PackagedFile};
