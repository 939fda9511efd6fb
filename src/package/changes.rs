//! `.changes` and `.buildinfo` for a Debian package that we made.
//!
//! Sources: deb-changes(5), deb-buildinfo(5).

use super::checksums::Checksums;
use super::{Contents, Named, deb};

/// The `.buildinfo` and the `.changes` of the package `deb`.
///
/// A `.buildinfo` records what the package was built with.  Ours depends on
/// Freezedry and the time alone, so that is what it says: no path, no clock and
/// no other package of the machine, and the same bytes everywhere.
pub fn write(contents: &Contents<'_>, deb: &Named) -> [Named; 2] {
    let name = &contents.description.name;
    let version = contents.full_version();
    // File names go without the epoch.
    let plain = version
        .split_once(':')
        .map_or(version.as_str(), |(_, rest)| rest);
    let build = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let stem = format!("{name}_{plain}_{build}");
    let architecture = deb::architecture(contents);
    let sums = Checksums::of(&deb.1);
    let buildinfo = format!(
        "Format: 1.0\nSource: {name}\nBinary: {name}\nArchitecture: {architecture}\n\
         Version: {version}\nChecksums-Md5:\n {} {size} {file}\nChecksums-Sha1:\n {} {size} {file}\n\
         Checksums-Sha256:\n {} {size} {file}\nBuild-Architecture: {build}\nBuild-Date: {}\n\
         Installed-Build-Depends:\n freezedry (= {})\nEnvironment:\n SOURCE_DATE_EPOCH=\"{}\"\n",
        sums.md5,
        sums.sha1,
        sums.sha256,
        deb::rfc_5322(contents.timestamp),
        env!("CARGO_PKG_VERSION"),
        contents.timestamp,
        size = deb.1.len(),
        file = deb.0,
    );
    let buildinfo = (format!("{stem}.buildinfo"), buildinfo.into_bytes());

    let files = [&buildinfo, deb];
    let maintainer = &contents.description.maintainer;
    let changelog = deb::changelog(contents);
    let newest = changelog.split("\n -- ").next().unwrap_or_default();
    let changes: String = newest
        .trim_end()
        .lines()
        .map(|line| {
            let line = if line.is_empty() { "." } else { line };
            format!(" {line}\n")
        })
        .collect();
    let text = format!(
        "Format: 1.8\nDate: {}\nSource: {name}\nBinary: {name}\nArchitecture: {architecture}\n\
         Version: {version}\nDistribution: unstable\nUrgency: medium\nMaintainer: {maintainer}\n\
         Changed-By: {maintainer}\nDescription:\n {name:<10} - {}\nChanges:\n{changes}\
         Checksums-Sha1:\n{}Checksums-Sha256:\n{}Files:\n{}",
        deb::rfc_5322(contents.timestamp),
        contents.description.summary,
        Checksums::list(&files, |sums| &sums.sha1, ""),
        Checksums::list(&files, |sums| &sums.sha256, ""),
        Checksums::list(&files, |sums| &sums.md5, " misc optional"),
    );
    [buildinfo, (format!("{stem}.changes"), text.into_bytes())]
}
