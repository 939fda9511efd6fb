//! Choosing a kernel of the host.

mod image;

pub(super) use image::decompressed;
pub use image::version;

use super::readers::{Gate, Readers};
use crate::glob::below;
use crate::{Error, Result, files};
use image::{architecture, bzimage_version, head};
use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};

/// What the user asks for; the fields are supermin's environment variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `SUPERMIN_KERNEL`: this file, without a search.
    pub image: Option<PathBuf>,
    /// `SUPERMIN_KERNEL_VERSION`: the version of `image`, or without `image`
    /// the only version that the search accepts.
    pub version: Option<String>,
    /// `SUPERMIN_MODULES`: the directory of its modules.
    pub modules: Option<PathBuf>,
    /// Who has to be able to read it: the one field that is not supermin's.
    pub readers: Readers,
}

/// A kernel that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The file that qemu takes.
    pub image: PathBuf,
    /// Its version, as `uname -r` will say it.
    pub version: String,
    /// The directory of its modules.
    pub modules: PathBuf,
}

/// A kernel that was looked at and cannot be used, or is not as good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its file.
    pub image: PathBuf,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.image.display(), self.reason)
    }
}

/// The outcome of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// The kernel to use.
    pub kernel: Kernel,
    /// The others, best first.
    pub rejected: Vec<Rejected>,
}

/// Parts of a version that say that a kernel is for something else than an
/// ordinary virtual machine.
const SPECIAL: [&str; 8] = [
    "xen", "zfcpdump", "debug", "kdump", "rescue", "tegra", "lpae", "-rt",
];

/// Why a kernel that only some users may read cannot be in a shared appliance.
const FOR_SOME: &str = "not everybody may read it";

/// What the choice depends on: files and directories whose change may change it.
pub fn search_paths(root: &Path, request: &Request) -> Vec<PathBuf> {
    let mut paths = vec![
        below(root, Path::new("/boot")),
        below(root, Path::new("/lib/modules")),
    ];
    paths.extend(request.image.iter().chain(&request.modules).cloned());
    for (image, version) in candidates(root) {
        let modules = below(root, &Path::new("/lib/modules").join(version));
        paths.extend([image, modules.join("modules.dep"), modules]);
    }
    paths
}

/// The best kernel of the system below `root`.
///
/// Candidates are `/lib/modules/*/vmlinuz` and `/boot/vmlinu?-*`.  A candidate
/// has to be readable by this user, to be a kernel for this machine's
/// architecture, and to have modules (`modules.dep`).  Among those, ordinary
/// ones come before special ones (debug, real-time, Xen, ...), then the highest
/// version wins; a release candidate is lower than its release.
pub fn choose(root: &Path, request: &Request) -> Result<Selection> {
    if let Some(image) = &request.image {
        return given(root, request, image);
    }
    let mut candidates = candidates(root);
    candidates.sort_by(|a, b| rank(&b.1).cmp(&rank(&a.1)).then_with(|| order(&b.1, &a.1)));
    let mut chosen: Option<Kernel> = None;
    let mut rejected = Vec::new();
    for (image, version) in candidates {
        let verdict = match (&chosen, &request.version) {
            (_, Some(wanted)) if *wanted != version => {
                Err(format!("version {wanted} is asked for"))
            }
            (Some(best), _) if best.version == version => {
                Err(format!("the same version as `{}`", best.image.display()))
            }
            (Some(best), _) => Err(format!("{} comes before it", best.version)),
            (None, _) => usable(root, &image, &version, request),
        };
        match verdict {
            Ok(kernel) => chosen = Some(kernel),
            Err(reason) => rejected.push(Rejected { image, reason }),
        }
    }
    match chosen {
        Some(kernel) => Ok(Selection { kernel, rejected }),
        None => Err(none(&rejected)),
    }
}

fn none(rejected: &[Rejected]) -> Error {
    if rejected.is_empty() {
        return Error::host("there is no kernel in /lib/modules or /boot").hint(
            "install one (Debian: linux-image-cloud-amd64, Ubuntu: linux-image-virtual, \
             Fedora: kernel-core), or name one in SUPERMIN_KERNEL",
        );
    }
    let reasons: Vec<String> = rejected.iter().map(ToString::to_string).collect();
    let unreadable = rejected
        .iter()
        .find(|kernel| kernel.reason.contains("Permission denied") || kernel.reason == FOR_SOME);
    let error = Error::host(format!("no kernel can be used: {}", reasons.join("; ")));
    match unreadable {
        // Ubuntu installs kernels that only root may read.
        Some(kernel) => error.hint(format!(
            "let everybody read it: {}",
            make_readable(&kernel.image)
        )),
        None => error.hint("install another kernel, or name one in SUPERMIN_KERNEL"),
    }
}

/// Puts `kernel` at `path`: a symlink to it, or a copy.  One that has to be
/// decompressed is always a copy.
pub fn install(kernel: &Kernel, path: &Path, link: bool) -> Result<()> {
    let image = &kernel.image;
    if let Some(bytes) = image::decompressed(image)? {
        return files::write(path, bytes);
    }
    if link {
        let target = std::path::absolute(image)
            .map_err(|e| Error::io("cannot find out the whole path of", image, e))?;
        return std::os::unix::fs::symlink(target, path)
            .map_err(|e| Error::io("cannot make the symlink", path, e));
    }
    std::fs::copy(image, path)
        .map_err(|e| Error::io(&format!("cannot copy `{}` to", image.display()), path, e))?;
    Ok(())
}

/// The command that lets everybody read a kernel, and, where that is dpkg's to
/// say, keeps it so.
pub fn make_readable(image: &Path) -> String {
    let image = image.display();
    if Path::new(crate::host::dpkg::STATUS).exists() {
        format!("sudo dpkg-statoverride --update --add root root 0644 {image}")
    } else {
        format!("sudo chmod 0644 {image}")
    }
}

/// The kernel that `SUPERMIN_KERNEL` names.
fn given(root: &Path, request: &Request, image: &Path) -> Result<Selection> {
    let named = image.file_name().map(|name| name.to_string_lossy());
    let version = request
        .version
        .clone()
        .or_else(|| head(image).ok().and_then(|head| bzimage_version(&head)))
        .or_else(|| {
            let name = named.as_ref()?;
            let version = name
                .strip_prefix("vmlinuz-")
                .or(name.strip_prefix("vmlinux-"))?;
            Some(version.to_owned())
        })
        .ok_or_else(|| {
            Error::input(format!(
                "the version of the kernel `{}` in SUPERMIN_KERNEL cannot be found out",
                image.display()
            ))
            .hint("say it in SUPERMIN_KERNEL_VERSION")
        })?;
    let kernel = usable(root, image, &version, request).map_err(|reason| {
        Error::input(format!(
            "the kernel `{}` in SUPERMIN_KERNEL cannot be used: {reason}",
            image.display()
        ))
        .hint("correct SUPERMIN_KERNEL and SUPERMIN_MODULES, or unset them")
    })?;
    Ok(Selection {
        kernel,
        rejected: Vec::new(),
    })
}

/// Every file that may be a kernel, with its version by name.
fn candidates(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let list = |path: &str| {
        let directory = below(root, Path::new(path));
        std::fs::read_dir(directory).into_iter().flatten().flatten()
    };
    for entry in list("/lib/modules") {
        let image = entry.path().join("vmlinuz");
        if image.exists() {
            found.push((image, entry.file_name().to_string_lossy().into_owned()));
        }
    }
    for entry in list("/boot") {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(version) = name
            .strip_prefix("vmlinuz-")
            .or(name.strip_prefix("vmlinux-"))
        {
            // `vmlinuz-lts` says its version only inside.
            let inside = head(&entry.path())
                .ok()
                .and_then(|head| bzimage_version(&head));
            found.push((entry.path(), inside.unwrap_or_else(|| version.to_owned())));
        }
    }
    found.sort();
    found
}

/// The kernel at `image`, or why it cannot be used.
fn usable(root: &Path, image: &Path, version: &str, request: &Request) -> Result<Kernel, String> {
    let head = head(image).map_err(|e| e.to_string())?;
    if !Gate::new(request.readers).reads(image) {
        return Err(FOR_SOME.into());
    }
    match architecture(&head) {
        Some(architecture) if architecture == std::env::consts::ARCH => {}
        Some(architecture) => return Err(format!("it is a kernel for {architecture}")),
        None => return Err("it is no kernel, or only the beginning of one".into()),
    }
    let own = below(root, &Path::new("/lib/modules").join(version));
    let modules = request.modules.as_deref().unwrap_or(&own);
    let index = modules.join("modules.dep");
    if !index.is_file() {
        return Err(format!(
            "it has no modules: `{}` is missing",
            index.display()
        ));
    }
    Ok(Kernel {
        image: image.to_owned(),
        version: version.to_owned(),
        modules: modules.to_owned(),
    })
}

/// Ordinary kernels rank above special ones, and those above left-over ones.
fn rank(version: &str) -> u8 {
    if version.strip_suffix(".old").is_some() {
        0
    } else if SPECIAL.iter().any(|part| version.contains(part)) {
        1
    } else {
        2
    }
}

/// The order of versions: numbers by value, `-rc` before the release it leads to.
fn order(a: &str, b: &str) -> Ordering {
    let key = |text: &str| {
        let marked = text.replace("-rc", "~rc");
        let mut parts: Vec<(u8, u64, String)> = Vec::new();
        let mut rest = marked.as_str();
        while let Some(first) = rest.chars().next() {
            let digits = first.is_ascii_digit();
            let end = rest
                .find(|c: char| c.is_ascii_digit() != digits || c == '~')
                .filter(|end| *end > 0)
                .unwrap_or(if first == '~' { 1 } else { rest.len() });
            let (part, after) = rest.split_at(end);
            parts.push(match (first, part.parse()) {
                ('~', _) => (0, 0, String::new()),
                (_, Ok(number)) if digits => (3, number, String::new()),
                _ => (2, 0, part.to_owned()),
            });
            rest = after;
        }
        parts.push((1, 0, String::new())); // the end: after `~`, before the rest
        parts
    };
    key(a).cmp(&key(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use std::io::Write;

    #[test]
    fn versions_in_order() {
        let sorted = [
            "6.1.0-9-amd64",
            "6.1.0-56-amd64",
            "6.8.0-rc1",
            "6.8.0-rc2",
            "6.8.0",
            "6.8.0-1",
            "6.10.0",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    /// A root with kernels: version, and what is wrong with it.
    fn root(kernels: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join("boot");
        files::create_dir_all(&boot).unwrap();
        for (version, fault) in kernels {
            let mut image = vec![0; 70_000];
            image[0x202..0x206].copy_from_slice(b"HdrS");
            if *fault == "truncated" {
                image.truncate(100);
            }
            files::write(boot.join(format!("vmlinuz-{version}")), image).unwrap();
            let modules = dir.path().join("lib/modules").join(version);
            files::create_dir_all(&modules).unwrap();
            if *fault != "no modules" {
                files::write(modules.join("modules.dep"), "").unwrap();
            }
        }
        dir
    }

    #[test]
    fn the_best_usable_kernel_is_chosen_and_the_others_are_explained() {
        let root = root(&[
            ("6.1.0-9-amd64", ""),
            ("6.1.0-10-amd64", ""),
            ("6.1.0-10-rt-amd64", ""),
            ("6.9.0-debug", ""),
            ("6.11.0-rc1", "no modules"),
            ("6.12.0", "truncated"),
            ("6.13.0.old", ""),
        ]);
        let selection = choose(root.path(), &Request::default()).unwrap();
        assert_eq!(selection.kernel.version, "6.1.0-10-amd64");
        let reasons: Vec<_> = selection
            .rejected
            .iter()
            .map(|r| r.reason.as_str())
            .collect();
        assert_eq!(reasons[0], "it is no kernel, or only the beginning of one");
        assert!(reasons[1].starts_with("it has no modules: "), "{reasons:?}");
        assert!(
            reasons[2..]
                .iter()
                .all(|r| *r == "6.1.0-10-amd64 comes before it"),
            "{reasons:?}"
        );
    }

    /// As `make Image.gz` makes them for arm64 and riscv64.
    #[test]
    fn a_kernel_in_gzip_is_recognised_and_taken_out() {
        let root = root(&[("6.1.0", ""), ("6.2.0", ""), ("6.3.0", "truncated")]);
        let boot = root.path().join("boot");
        let plain = files::read(boot.join("vmlinuz-6.2.0")).unwrap();
        for version in ["6.2.0", "6.3.0"] {
            let image = boot.join(format!("vmlinuz-{version}"));
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&files::read(&image).unwrap()).unwrap();
            files::write(&image, encoder.finish().unwrap()).unwrap();
        }
        let selection = choose(root.path(), &Request::default()).unwrap();
        assert_eq!(selection.kernel.version, "6.2.0");
        assert!(selection.rejected[0].reason.contains("only the beginning"));
        for link in [true, false] {
            let out = root.path().join(format!("out-{link}"));
            install(&selection.kernel, &out, link).unwrap();
            assert!(!out.is_symlink());
            assert_eq!(files::read(out).unwrap(), plain);
        }
        // One that breaks off is found out before anything is made of it.
        let image = boot.join("vmlinuz-6.2.0");
        let mut damaged = files::read(&image).unwrap();
        damaged.truncate(30);
        files::write(&image, damaged).unwrap();
        let selection = choose(root.path(), &Request::default()).unwrap();
        assert_eq!(selection.kernel.version, "6.1.0");
    }

    #[test]
    fn a_wanted_version_is_the_only_one() {
        let root = root(&[("6.1.0", ""), ("6.2.0", "")]);
        let request = Request {
            version: Some("6.1.0".into()),
            ..Request::default()
        };
        assert_eq!(
            choose(root.path(), &request).unwrap().kernel.version,
            "6.1.0"
        );
        let request = Request {
            version: Some("9".into()),
            ..Request::default()
        };
        let error = choose(root.path(), &request).unwrap_err().to_string();
        assert!(
            error.contains("vmlinuz-6.2.0`: version 9 is asked for"),
            "{error}"
        );
    }

    #[test]
    fn no_kernel_at_all_comes_with_packages_to_install() {
        let error = choose(root(&[]).path(), &Request::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no kernel in /lib/modules or /boot"
        );
        assert!(error.advice().unwrap().contains("linux-image-cloud-amd64"));
    }

    #[test]
    fn a_given_kernel_is_checked_too() {
        let root = root(&[("6.1.0", ""), ("bad", "truncated")]);
        let request = |name: &str| Request {
            image: Some(root.path().join("boot").join(name)),
            ..Request::default()
        };
        let chosen = choose(root.path(), &request("vmlinuz-6.1.0")).unwrap();
        assert_eq!(chosen.kernel.version, "6.1.0");
        let error = choose(root.path(), &request("vmlinuz-bad"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("in SUPERMIN_KERNEL cannot be used"),
            "{error}"
        );
        let error = choose(root.path(), &request("missing")).unwrap_err();
        assert_eq!(error.advice(), Some("say it in SUPERMIN_KERNEL_VERSION"));
    }
}
