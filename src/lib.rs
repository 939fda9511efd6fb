//! Freezedry: whole virtual machines in packages of a few kilobytes.
//!
//! Data flows one way through the rooms of this library, and a room knows only
//! those below it in this list:
//!
//! | room | what it does |
//! | --- | --- |
//! | [`package`] | a skeleton and a boot command become a `.rpm` or `.deb` |
//! | [`boot`] | an appliance becomes a running virtual machine |
//! | [`audit`] | what an appliance would miss when it runs, for its author |
//! | [`appliance`] | rehydration: what goes in (the plan), the image, the kernel, the cache |
//! | [`skeleton`] | reading and writing `supermin.d` |
//! | [`host`] | the machine: its distribution, package database and kernels |
//! | [`description`] | the author's YAML |
//!
//! The library returns values and typed errors; only `src/cli` prints or
//! decides exit codes.  It runs on Linux.

pub mod appliance;
pub mod audit;
pub mod boot;
pub mod cli;
pub mod command;
pub mod compression;
pub mod description;
pub mod error;
pub mod examples;
pub mod family;
pub mod files;
pub mod glob;
pub mod host;
pub mod node;
pub mod package;
pub mod skeleton;
pub mod templates;
pub mod timestamp;

pub use error::{Error, Result};
