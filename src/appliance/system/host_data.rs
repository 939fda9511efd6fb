//! What the host made out of its packages' files, and an appliance can take over:
//! certificate bundles, and indexes that would cost the guest seconds to make.

use super::{Context, linker};
use crate::appliance::tree::{Parents, Tree};
use crate::{files, glob};
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Trusted certificates: Debian's and SUSE's, and Fedora's.
const CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs",
    "/etc/pki/ca-trust/extracted",
    "/var/lib/ca-certificates",
    "/etc/pki/tls/certs",
];

/// An index, and the package's files that it is made of.
const INDEXES: [(&str, &str); 5] = [
    ("/usr/lib/udev/hwdb.bin", "/usr/lib/udev/hwdb.d"),
    ("/lib/udev/hwdb.bin", "/lib/udev/hwdb.d"),
    ("/etc/udev/hwdb.bin", "/usr/lib/udev/hwdb.d"),
    (
        "/var/lib/systemd/catalog/database",
        "/usr/lib/systemd/catalog",
    ),
    ("/usr/share/mime/mime.cache", "/usr/share/mime/packages"),
];

/// Puts in certificates, indexes, and the files that ucf(1) installed.
pub(super) fn apply<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) {
    let certified = |package: &&&crate::host::Package| package.name.starts_with("ca-certificates");
    if context.packages.iter().any(|package| certified(&package)) {
        for path in CERTIFICATES {
            below(Path::new(path), tree, context);
        }
    }
    for (index, source) in INDEXES {
        if tree.look_up(Path::new(source)).is_some() {
            context.host_file(tree, Path::new(index));
        }
    }
    ucf(tree, context);
}

/// Everything below a directory of the host.
fn below<P: Parents>(path: &Path, tree: &mut Tree<P>, context: &Context<'_>) {
    let real = glob::below(context.host.root(), path);
    let Ok(entries) = std::fs::read_dir(&real) else {
        return;
    };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let path = path.join(&name);
        let deeper = real
            .join(&name)
            .symlink_metadata()
            .is_ok_and(|meta| meta.is_dir());
        context.host_file(tree, &path);
        if deeper {
            below(&path, tree, context);
        }
    }
}

/// Configuration files that Debian's maintainer scripts install with ucf(1), as
/// long as they are what the package brought: ucf keeps their MD5 sums.
fn ucf<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) {
    let read = |path: &str| {
        let bytes = files::read(glob::below(context.host.root(), Path::new(path)));
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    };
    let owners = read("/var/lib/ucf/registry");
    let sums = read("/var/lib/ucf/hashfile");
    let sums = pairs(&sums).map(|(sum, path)| (path, sum));
    let sums: BTreeMap<&str, &str> = sums.collect();
    for (package, path) in pairs(&owners) {
        let real = glob::below(context.host.root(), Path::new(path));
        if context.has_package(package)
            && let Some(sum) = sums.get(path)
            && let Ok(bytes) = files::read(real)
            && format!("{:x}", Md5::digest(&bytes)) == **sum
        {
            context.host_file(tree, Path::new(path));
        }
    }
}

/// Lines of a word and a path.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (word, path) = line.split_once(char::is_whitespace)?;
        Some((word, path.trim())).filter(|(_, path)| path.starts_with('/'))
    })
}

/// Puts in the dynamic linker's cache, for the libraries that are in the plan.
pub(super) fn library_cache<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>) {
    let path = PathBuf::from("/etc/ld.so.cache");
    if tree.look_at(&path).is_some() {
        return;
    }
    let Ok(cache) = files::read(glob::below(context.host.root(), &path)) else {
        return; // the linker then looks into its own directories
    };
    if let Some(cache) = linker::restrict(&cache, |library| tree.look_up(library).is_some()) {
        super::file(tree, &path, 0o644, cache);
    }
}
