//! Making the plan: a skeleton and a host's packages become a list of paths.

use super::host_entries::{entry_of, host_entry, node_of, xattrs};
use super::image::ext2;
use super::plan::{Entry, Origin, Plan, Xattr};
use super::readers::{Gate, Readers};
use super::system;
use super::tree::{Conflict, Identity, Parents, Tree, directory};
use crate::Result;
use crate::glob::{self, Directories, Pattern};
use crate::host::{ConfigState, Host, Manager, PackageId, Resolution};
use crate::node::{Content, Node};
use crate::skeleton::{Skeleton, Visited};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
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

/// The plan for `skeleton` on `host`, with `modules` (from [`super::host_entries::host_tree`]) put in last.
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
    /// Base images come first: what they say of a directory stays.  A package's
    /// or the host's *file* replaces one of theirs in supermin; when a system is
    /// completed, theirs replace a package's.
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
            } else if self.options.complete && self.is_of_image(&file.path) {
                // Whoever put it there knew better than the package, or than
                // this host: RPM owns its /etc/hostname.
            } else {
                let origin = Origin::Package(names[&file.package].clone());
                self.host_file(&file.path, &file.source, origin)?;
            }
        }
        self.closure = closure;
        Ok(())
    }

    /// Whether a base image has something other than a directory there.
    fn is_of_image(&self, path: &Path) -> bool {
        self.tree.look_at(path).is_some_and(|entry| {
            matches!(entry.origin, Origin::BaseImage(_)) && !matches!(entry.node, Node::Directory)
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
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
