//! Making the plan: a skeleton and a host's packages become a list of paths.

use super::image::ext2;
use super::plan::{Entry, Origin, Plan, Xattr};
use super::readers::{Gate, Readers};
use super::system;
use super::tree::{Conflict, Identity, Parents, Tree, directory};
use crate::glob::{self, Directories, Pattern};
use crate::host::{ConfigState, Host, Manager, PackageId, Resolution};
use crate::node::{Content, HostFile, Node};
use crate::skeleton::{Skeleton, Visited};
use crate::{Error, Result, files};
use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// How a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How dependencies are followed.
    pub resolution: Resolution,
    /// Whether to complete what supermin leaves out: configuration files that
    /// nobody edited, and what the packages' scriptlets would have done.
    pub complete: bool,
    /// Whether the list of packages goes in, as `/packagelist`.
    pub package_list: bool,
    /// Who will read the appliance.
    pub readers: Readers,
}

impl Options {
    /// As supermin makes its appliances.
    pub const SUPERMIN: Self = Self {
        resolution: Resolution::Compatible,
        complete: false,
        package_list: false,
        readers: Readers::User,
    };
}

impl Default for Options {
    fn default() -> Self {
        Self {
            resolution: Resolution::Correct,
            complete: true,
            package_list: false,
            readers: Readers::User,
        }
    }
}

/// What a plan is made of and what was left out of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The packages, dependencies included, as the package manager shows them.
    pub packages: Vec<String>,
    /// Packages that the skeleton names and the host does not have.
    pub missing: Vec<String>,
    /// The files of the skeleton, in the order in which they were read.
    pub visited: Vec<Visited>,
    /// Paths that an exclude pattern dropped.
    pub excluded: Vec<PathBuf>,
    /// The host has no package database that can be read, so that nothing is
    /// known of any package.
    pub plain: bool,
    /// Files that the appliance's readers may not read: empty in it, or not there
    /// where not even their name can be seen.
    pub unreadable: Vec<Unreadable>,
    /// Configuration files left out because somebody edited them on this host.
    pub edited: Vec<PathBuf>,
    /// Configuration files left out because nobody can tell whether they are as
    /// their package had them.
    pub unverifiable: Vec<PathBuf>,
    /// Paths that could not be put in.
    pub conflicts: Vec<Conflict>,
    /// What else does not go in as it is: of the skeleton, see
    /// [`Skeleton::notices`], and extended attributes that are too large.
    pub notices: Vec<String>,
}

/// A file that the appliance's readers may not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its path, as the package, the list of host files or the kernel has it.
    pub path: PathBuf,
    /// Why it was to go in.
    pub origin: Origin,
}

/// The plan for `skeleton` on `host`, with `modules` (from [`host_tree`]) put in last.
pub(super) fn plan(
    skeleton: &Skeleton,
    host: &Host,
    modules: Vec<Entry>,
    options: Options,
) -> Result<(Plan, Report)> {
    let gate = Gate::new(options.readers);
    let mut planner = Planner {
        host,
        options,
        gate: &gate,
        tree: Tree::new(HostParents(host, &gate)),
        report: Report {
            visited: skeleton.visited.clone(),
            notices: skeleton.notices.clone(),
            ..Report::default()
        },
        closure: Vec::new(),
        excludes: Vec::new(),
    };
    planner.base_images(skeleton);
    planner.packages(skeleton)?;
    planner.host_files(skeleton)?;
    if options.complete {
        planner.complete()?;
    }
    if options.package_list {
        let list: String = planner
            .report
            .packages
            .iter()
            .map(|line| format!("{line}\n"))
            .collect();
        planner.tree.put(Entry {
            node: Node::File(Content::Bytes(list.as_bytes().into())),
            mode: 0o644,
            ..directory("/packagelist".into(), Origin::Generated)
        });
    }
    for mut entry in modules {
        if let Node::File(Content::Host(file)) = &entry.node
            && !gate.reads(&file.path)
        {
            planner.report.unreadable.push(Unreadable {
                path: entry.path.clone(),
                origin: entry.origin.clone(),
            });
            entry.node = empty();
        }
        planner.tree.put(entry);
    }
    let (plan, conflicts) = planner.tree.finish();
    let mut report = planner.report;
    report.conflicts = conflicts;
    Ok((plan, report))
}

struct Planner<'a> {
    host: &'a Host,
    options: Options,
    gate: &'a Gate,
    tree: Tree<HostParents<'a>>,
    report: Report,
    /// The packages, and the paths that are left out.
    closure: Vec<PackageId>,
    excludes: Vec<Pattern>,
}

impl Planner<'_> {
    /// Base images come first: what they say of a directory stays, and only a
    /// package's or the host's *file* replaces one of theirs, as in supermin.
    fn base_images(&mut self, skeleton: &Skeleton) {
        for image in &skeleton.images {
            for member in &image.members {
                self.tree.put_unpacked(Entry {
                    path: member.path.clone(),
                    node: member.node.clone(),
                    mode: member.mode,
                    uid: member.uid,
                    gid: member.gid,
                    mtime: member.mtime,
                    xattrs: Vec::new(),
                    origin: Origin::BaseImage(image.name.clone()),
                });
            }
        }
    }

    fn packages(&mut self, skeleton: &Skeleton) -> Result<()> {
        if skeleton.packages.is_empty() {
            // Then the host need not have a database that can be read.
            return Ok(());
        }
        let database = self.host.packages()?;
        self.report.plain = self.host.manager() == Manager::None;
        let mut roots = Vec::new();
        for name in &skeleton.packages {
            match database.find_as(name, self.options.resolution) {
                Some(id) => roots.push(id),
                None => self.report.missing.push(name.clone()),
            }
        }
        let closure = database.closure(&roots, self.options.resolution);
        self.report.packages = closure
            .iter()
            .map(|&id| database.packages()[id].to_string())
            .collect();
        self.report.packages.sort();

        self.excludes = skeleton
            .excludes
            .iter()
            .map(Pattern::new)
            .collect::<Result<Vec<_>>>()?;
        let pristine = self.pristine(&closure)?;
        let names: HashMap<PackageId, Arc<str>> = closure
            .iter()
            .map(|&id| (id, database.packages()[id].name.as_str().into()))
            .collect();
        for file in database.files(&closure)? {
            let mut excludes = self.excludes.iter();
            if excludes.any(|pattern| pattern.matches(&file.path)) {
                self.report.excluded.push(file.path);
            } else if file.config && !pristine.contains(&file.path) {
                // From the base image, or not at all: it may hold secrets.
            } else {
                let origin = Origin::Package(names[&file.package].clone());
                self.host_file(&file.path, &file.source, origin)?;
            }
        }
        self.closure = closure;
        Ok(())
    }

    fn complete(&mut self) -> Result<()> {
        let all = self.host.packages()?.packages();
        let context = system::Context {
            host: self.host,
            ids: &self.closure,
            packages: self.closure.iter().map(|&id| &all[id]).collect(),
            excludes: &self.excludes,
        };
        system::complete(&mut self.tree, &context);
        // What was made anew is not missing.
        let tree = &self.tree;
        let made = |path: &PathBuf| tree.look_at(path).is_some();
        self.report.edited.retain(|path| !made(path));
        Ok(())
    }

    /// The configuration files that are as their package has them.
    fn pristine(&mut self, closure: &[PackageId]) -> Result<HashSet<PathBuf>> {
        let mut pristine = HashSet::new();
        if !self.options.complete {
            return Ok(pristine);
        }
        for file in self.host.packages()?.config_files(closure)? {
            let real = glob::below(self.host.root(), &file.path);
            match file.state {
                // Root could read it; who will read the appliance could not.
                ConfigState::Pristine | ConfigState::Edited if !self.gate.reads(&real) => {}
                // A base image may bring its own.
                ConfigState::Pristine if self.tree.look_at(&file.path).is_none() => {
                    pristine.insert(file.path);
                }
                ConfigState::Edited if self.tree.look_at(&file.path).is_none() => {
                    self.report.edited.push(file.path);
                }
                ConfigState::Unverifiable if self.tree.look_at(&file.path).is_none() => {
                    self.report.unverifiable.push(file.path);
                }
                _ => {}
            }
        }
        Ok(pristine)
    }

    fn host_files(&mut self, skeleton: &Skeleton) -> Result<()> {
        let mut directories = Directories::new(self.host.root());
        for pattern in &skeleton.host_files {
            for path in directories.expand(pattern, skeleton.wildcards)? {
                self.host_file(&path, &path, Origin::HostFile)?;
            }
        }
        Ok(())
    }

    /// Puts in what the host has at `source`, as `path`; nothing if it has nothing.
    fn host_file(&mut self, path: &Path, source: &Path, origin: Origin) -> Result<()> {
        let real = glob::below(self.host.root(), source);
        let Ok(meta) = real.symlink_metadata() else {
            return Ok(());
        };
        let unreadable = || Unreadable {
            path: path.to_owned(),
            origin: origin.clone(),
        };
        if !self.gate.sees(&real) {
            // As for a user, who cannot even find out that it is there.
            if meta.is_file() {
                self.report.unreadable.push(unreadable());
            }
            return Ok(());
        }
        let mut node = node_of(&real, &meta)?;
        let (mut identity, mut xattrs) = (None, Vec::new());
        if meta.is_file() && !self.gate.reads(&real) {
            // supermin's way: the name, mode and owner stay, the bytes do not.
            self.report.unreadable.push(unreadable());
            node = empty();
        } else if meta.is_file() {
            let several = meta.nlink() > 1;
            identity = several.then(|| Identity::Host(meta.dev(), meta.ino()));
            xattrs = self.xattrs(path, &real);
        }
        let target = match &node {
            Node::Symlink(target) if !self.options.complete => Some(target.clone()),
            _ => None,
        };
        let entry = Entry {
            xattrs,
            ..entry_of(path, node, &meta, origin)
        };
        self.tree.put_name(entry, identity);
        match target {
            Some(target) => self.linked_directory(source, &target),
            None => Ok(()),
        }
    }

    /// The extended attributes of the file at `real` that an image has room for.
    fn xattrs(&mut self, path: &Path, real: &Path) -> Vec<Xattr> {
        let (fitting, too_large) = ext2::fitting(xattrs(real));
        for Xattr { name, value } in too_large {
            self.report.notices.push(format!(
                "`{}` loses its extended attribute `{name}` of {} bytes: it is too large for an image",
                path.display(),
                value.len()
            ));
        }
        fitting
    }

    /// supermin brings the directory that a symlink leads to, though not what
    /// lies in it.
    fn linked_directory(&mut self, link: &Path, target: &Path) -> Result<()> {
        let leads_to = link.parent().unwrap_or(link).join(target);
        if !glob::below(self.host.root(), &leads_to).is_dir() {
            return Ok(());
        }
        let directory = if target.is_absolute() {
            leads_to
        } else {
            normal(&leads_to)
        };
        if self.tree.get(&directory).is_some() {
            return Ok(());
        }
        self.host_file(&directory, &directory, Origin::Parent)
    }
}

/// `path` without `.` and `..`, as text.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

fn empty() -> Node {
    Node::File(Content::Bytes(Arc::from([])))
}

/// Parents as the host has them, where the appliance's readers can see them.
struct HostParents<'a>(&'a Host, &'a Gate);

impl Parents for HostParents<'_> {
    fn look(&self, path: &Path) -> Option<Entry> {
        if !self.1.sees(&glob::below(self.0.root(), path)) {
            return None;
        }
        host_entry(self.0.root(), path, Origin::Parent)
            .filter(|entry| matches!(entry.node, Node::Directory | Node::Symlink(_)))
    }
}

/// What the host below `root` has at `path`; `None` if that is nothing.
pub(super) fn host_entry(root: &Path, path: &Path, origin: Origin) -> Option<Entry> {
    let real = glob::below(root, path);
    let meta = real.symlink_metadata().ok()?;
    let node = node_of(&real, &meta).ok()?;
    Some(entry_of(path, node, &meta, origin))
}

fn entry_of(path: &Path, node: Node, meta: &Metadata, origin: Origin) -> Entry {
    Entry {
        path: path.to_owned(),
        node,
        mode: (meta.mode() & 0o7777) as u16,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: meta.mtime(),
        xattrs: Vec::new(),
        origin,
    }
}

/// The extended attributes of a file that mean the same in another system:
/// capabilities, and those of users.  SELinux labels are of the host's policy.
fn xattrs(path: &Path) -> Vec<Xattr> {
    // Nearly all files have none, or lie on a file system without.
    if rustix::fs::llistxattr_query(path).unwrap_or(0) == 0 {
        return Vec::new();
    }
    let mut names = vec![0; 64 << 10]; // the most that the kernel has
    let length = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|&byte| byte == 0);
    names
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|name| *name == "security.capability" || name.starts_with("user."))
        .filter_map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name, &mut value).ok()?;
            value.truncate(length);
            Some(Xattr {
                name: name.into(),
                value,
            })
        })
        .collect()
}

fn node_of(path: &Path, meta: &Metadata) -> Result<Node> {
    let kind = meta.file_type();
    let device = || {
        (
            rustix::fs::major(meta.rdev()),
            rustix::fs::minor(meta.rdev()),
        )
    };
    Ok(if kind.is_dir() {
        Node::Directory
    } else if kind.is_file() {
        Node::File(Content::Host(HostFile::new(path, meta)))
    } else if kind.is_symlink() {
        let target = path
            .read_link()
            .map_err(|e| Error::io("cannot read the link", path, e))?;
        Node::Symlink(target)
    } else if kind.is_char_device() {
        let (major, minor) = device();
        Node::CharDevice(major, minor)
    } else if kind.is_block_device() {
        let (major, minor) = device();
        Node::BlockDevice(major, minor)
    } else if kind.is_fifo() {
        Node::Fifo
    } else {
        Node::Socket
    })
}

/// The directory tree at `source` as entries below `path`, with symlinks as they are.
pub(super) fn host_tree(path: &Path, source: &Path, origin: &Origin) -> Result<Vec<Entry>> {
    let meta = std::fs::metadata(source).map_err(|e| Error::io("cannot examine", source, e))?;
    let mut entries = vec![entry_of(path, Node::Directory, &meta, origin.clone())];
    let cannot = |e| Error::io("cannot list", source, e);
    for entry in std::fs::read_dir(source).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        let (path, source) = (path.join(&name), source.join(&name));
        let meta = files::lstat(&source)?;
        if meta.is_dir() {
            entries.extend(host_tree(&path, &source, origin)?);
        } else {
            let node = node_of(&source, &meta)?;
            entries.push(entry_of(&path, node, &meta, origin.clone()));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, setxattr};
    use std::os::unix::fs::PermissionsExt;

    /// What an attribute says may be as secret as what the file says.
    #[test]
    fn a_file_that_is_left_empty_has_no_attributes() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root makes an appliance for everybody");
            return;
        }
        // Not below /tmp, where everybody may write.
        let dir = tempfile::tempdir_in("/var/lib").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        };
        mode(dir.path(), 0o755);
        for (name, bits) in [("open", 0o644), ("closed", 0o600)] {
            let path = dir.path().join(name);
            files::write(&path, "text").unwrap();
            mode(&path, bits);
            if setxattr(&path, "user.a", b"value", XattrFlags::empty()).is_err() {
                eprintln!("SKIPPED: /var/lib has no extended attributes");
                return;
            }
        }
        let host = Host::with(dir.path(), Some(Manager::None)).unwrap();
        let skeleton = Skeleton {
            host_files: vec!["/open".into(), "/closed".into()],
            ..Skeleton::default()
        };
        let options = Options {
            readers: Readers::Everybody,
            ..Options::SUPERMIN
        };
        let (plan, _) = plan(&skeleton, &host, Vec::new(), options).unwrap();
        let found: Vec<_> = plan.entries[1..]
            .iter()
            .map(|entry| {
                (
                    entry.path.to_str().unwrap(),
                    entry.size(),
                    entry.xattrs.len(),
                )
            })
            .collect();
        assert_eq!(found, [("/closed", 0, 0), ("/open", 4, 1)]);
    }
}
