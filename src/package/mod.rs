//! Packages: plain data becomes the bytes of a `.deb` or `.rpm`.

pub mod changes;
mod checksums;
pub mod contents;
pub mod deb;
pub mod diff;
pub mod inspect;
pub mod lifecycle;
pub mod openpgp;
pub mod read;
pub mod rpm;
pub mod sign;
mod verify;

pub use contents::{Contents, PackagedFile};
