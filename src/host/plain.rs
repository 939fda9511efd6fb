//! A host without a package database that Freezedry knows: NixOS, Void, Guix,
//! or one that was made by hand.
//!
//! No package is known there; an appliance gets everything from base images
//! and host files.

use super::packages::{ConfigFile, Package, PackageDatabase, PackageFile, PackageId, Resolution};
use crate::Result;
use std::path::Path;

/// No packages.
#[derive(Debug)]
pub(super) struct Plain;

impl PackageDatabase for Plain {
    fn packages(&self) -> &[Package] {
        &[]
    }

    fn find(&self, _name: &str) -> Option<PackageId> {
        None
    }

    fn closure(&self, _roots: &[PackageId], _resolution: Resolution) -> Vec<PackageId> {
        Vec::new()
    }

    fn files(&self, _packages: &[PackageId]) -> Result<Vec<PackageFile>> {
        Ok(Vec::new())
    }

    fn config_files(&self, _packages: &[PackageId]) -> Result<Vec<ConfigFile>> {
        Ok(Vec::new())
    }

    fn digest(&self, _package: PackageId, _path: &Path) -> Result<Option<String>> {
        Ok(None)
    }
}
