//! Rehydration: a skeleton and a host become a bootable appliance.

pub mod image;
pub mod initrd;
pub mod kernel;
pub mod modules;
pub mod plan;
