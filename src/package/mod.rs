//! Packages: plain data becomes the bytes of a `.deb` or `.rpm`.

pub mod contents;
pub mod deb;
pub mod lifecycle;
pub mod rpm;

pub use contents::{Contents, PackagedFile};
