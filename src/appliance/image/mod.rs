//! From a plan to bytes: an image is a layout before it is written.

pub mod chroot;
pub mod cpio;
pub mod ext2;
pub mod sink;
