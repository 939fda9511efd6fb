//! The appliance's tree while a plan is made: paths are put in one by one, and
//! come out in order, with every parent there and no symlink above anything.

use super::plan::{Content, Entry, Node, Origin, Plan};
use super::walk::Walk;
use crate::files;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path that could not be put in, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The path as it was given.
    pub path: PathBuf,
    /// Why it was left out.
    pub reason: String,
}

/// Tells what a host has at a path that the appliance needs as a parent.
pub(super) trait Parents {
    /// The directory or symlink at `path`; `None` where the host has neither.
    fn look(&self, path: &Path) -> Option<Entry>;
}

/// A tree in the making.
#[derive(Debug)]
pub(super) struct Tree<P> {
    parents: P,
    /// No hard links: each name of a file is that file, until [`Tree::finish`].
    entries: BTreeMap<PathBuf, Entry>,
    /// The files that have several names, by each of them.
    names: BTreeMap<PathBuf, Identity>,
    /// How many files got a second name from an archive.
    linked: u64,
    conflicts: Vec<Conflict>,
}

/// Tells apart the files that have several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// One of an archive.
    Member(u64),
    /// One of the host, by device and inode.
    Host(u64, u64),
}

impl<P: Parents> Tree<P> {
    /// An empty tree, whose missing parents are as `parents` says.
    pub(super) fn new(parents: P) -> Self {
        let root = directory(PathBuf::from("/"), Origin::Parent);
        Self {
            parents,
            entries: BTreeMap::from([(root.path.clone(), root)]),
            names: BTreeMap::new(),
            linked: 0,
            conflicts: Vec::new(),
        }
    }

    /// Puts `entry` in, at the place where its path leads inside the appliance.
    ///
    /// A directory that is there already keeps its metadata; what is no
    /// directory replaces what is no directory, and other names of what is
    /// replaced keep it; a directory and something else at one path are a
    /// conflict, and the first stays.
    pub(super) fn put(&mut self, entry: Entry) {
        self.put_name(entry, None);
    }

    /// The same, for one of the names of the file `identity`.
    pub(super) fn put_name(&mut self, mut entry: Entry, mut identity: Option<Identity>) {
        let given = entry.path.clone();
        match self.place(&entry.path) {
            Ok(path) => entry.path = path,
            Err(reason) => return self.conflict(given, reason),
        }
        if let Node::HardLink(target) = &entry.node {
            match self.linked(target) {
                Ok((file, _)) if file.path == entry.path => return,
                Ok((file, shared)) => {
                    let (path, origin) = (entry.path, entry.origin);
                    entry = Entry {
                        path,
                        origin,
                        ..file
                    };
                    identity = Some(shared);
                }
                Err(reason) => return self.conflict(given, reason),
            }
        }
        match (self.entries.get(&entry.path).map(|e| &e.node), &entry.node) {
            (Some(Node::Directory), Node::Directory) => return,
            (Some(Node::Directory), _) => {
                return self.conflict(given, "a directory is in the way".into());
            }
            // A directory in an archive or a package that is a symlink here, as
            // `/lib` is on a system with a merged /usr: what lies below goes
            // through the symlink.
            (Some(Node::Symlink(_)), Node::Directory) => return,
            (Some(_), Node::Directory) => {
                return self.conflict(given, "a file is in the way".into());
            }
            _ => {}
        }
        match identity {
            Some(identity) => self.names.insert(entry.path.clone(), identity),
            None => self.names.remove(&entry.path),
        };
        self.entries.insert(entry.path.clone(), entry);
    }

    /// The file at `target`, which is to get another name.
    fn linked(&mut self, target: &Path) -> Result<(Entry, Identity), String> {
        let target = self.place(target)?;
        let file = self.entries.get(&target);
        let file = file.filter(|entry| matches!(entry.node, Node::File(_)));
        let file = file.ok_or("the file it is a hard link to is not there")?;
        let linked = &mut self.linked;
        let identity = *self.names.entry(target).or_insert_with(|| {
            *linked += 1;
            Identity::Member(*linked)
        });
        Ok((file.clone(), identity))
    }

    /// Puts in an entry of an archive: as [`Tree::put`], but a directory that is
    /// there already takes the metadata that the archive gives it, as when tar
    /// unpacks it.
    pub(super) fn put_unpacked(&mut self, entry: Entry) {
        if entry.node == Node::Directory
            && let Ok(path) = self.place(&entry.path)
            && let Some(there) = self.entries.get_mut(&path)
            && there.node == Node::Directory
        {
            *there = Entry { path, ..entry };
        } else {
            self.put(entry);
        }
    }

    /// Whether the appliance has something at `path`, following symlinks
    /// of directories above it but not the last one.
    pub(super) fn get(&mut self, path: &Path) -> Option<&Entry> {
        let path = self.place(path).ok()?;
        self.entries.get(&path)
    }

    /// What `path` leads to inside the appliance, through every symlink, the
    /// last one too; nothing is put in.
    pub(super) fn look_up(&self, path: &Path) -> Option<&Entry> {
        let mut walk = Walk::along(path);
        while let Some(next) = walk.step() {
            match &self.entries.get(&next)?.node {
                Node::Symlink(target) => walk.follow(target).then_some(())?,
                _ => walk.done = next,
            }
        }
        self.entries.get(&walk.done)
    }

    /// The entry at `path` itself, a symlink as such; nothing is put in.
    pub(super) fn look_at(&self, path: &Path) -> Option<&Entry> {
        let directory = self.look_up(path.parent()?)?;
        self.entries.get(&directory.path.join(path.file_name()?))
    }

    /// The same, to change its mode or owner.
    pub(super) fn look_at_mut(&mut self, path: &Path) -> Option<&mut Entry> {
        let path = self.look_at(path)?.path.clone();
        self.entries.get_mut(&path)
    }

    /// The bytes of the regular file that `path` leads to; `None` if there is
    /// none, or if this user may not read it.
    pub(super) fn read(&self, path: &Path) -> Option<Vec<u8>> {
        match &self.look_up(path)?.node {
            Node::File(Content::Bytes(bytes)) => Some(bytes.to_vec()),
            Node::File(Content::Host(file)) => files::read(&file.path).ok(),
            _ => None,
        }
    }

    /// The entries in the directory that `path` leads to, in order.
    pub(super) fn children(&self, path: &Path) -> Vec<&Entry> {
        let Some(directory) = self.look_up(path) else {
            return Vec::new();
        };
        self.below(&directory.path)
            .filter(|entry| entry.path.parent() == Some(&directory.path))
            .collect()
    }

    /// Everything below the directory `path`, which has no symlink in it.
    pub(super) fn below(&self, path: &Path) -> impl Iterator<Item = &Entry> {
        let range = self.entries.range(path.to_owned()..);
        range
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.path.starts_with(path))
            .filter(move |entry| entry.path != path)
    }

    /// Every path so far, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The finished plan, and what could not be put in.
    pub(super) fn finish(mut self) -> (Plan, Vec<Conflict>) {
        let mut first: HashMap<Identity, PathBuf> = HashMap::new();
        for (path, identity) in std::mem::take(&mut self.names) {
            if let Some(first) = first.get(&identity) {
                if let Some(entry) = self.entries.get_mut(&path) {
                    entry.node = Node::HardLink(first.clone());
                }
            } else {
                first.insert(identity, path);
            }
        }
        let mut entries: Vec<Entry> = self.entries.into_values().collect();
        // Byte order puts parents before children, as `/a` is a prefix of
        // `/a/b`; hard links follow last, after everything they can name.
        entries.sort_by(|a, b| {
            let key = |e: &Entry| matches!(e.node, Node::HardLink(_));
            (key(a), a.path.as_os_str().as_bytes()).cmp(&(key(b), b.path.as_os_str().as_bytes()))
        });
        (Plan { entries }, self.conflicts)
    }

    fn conflict(&mut self, path: PathBuf, reason: String) {
        self.conflicts.push(Conflict { path, reason });
    }

    /// Where `path` leads inside the appliance: every directory above it is
    /// put in, and symlinks among them are followed.
    fn place(&mut self, path: &Path) -> Result<PathBuf, String> {
        let mut walk = Walk::along(path);
        while let Some(next) = walk.step() {
            if walk.is_last() {
                return Ok(next);
            }
            if !self.entries.contains_key(&next) {
                let entry = self
                    .parents
                    .look(&next)
                    .unwrap_or_else(|| directory(next.clone(), Origin::Parent));
                self.entries.insert(next.clone(), entry);
            }
            match &self.entries[&next].node {
                Node::Directory => walk.done = next,
                Node::Symlink(target) if walk.follow(target) => {}
                Node::Symlink(_) => {
                    return Err(format!(
                        "the symlinks above it run in a circle at `{}`",
                        next.display()
                    ));
                }
                _ => return Err(format!("`{}` is a file", next.display())),
            }
        }
        Ok(walk.done)
    }
}

/// A directory as an image needs it where nothing else says how it should be.
pub(super) fn directory(path: PathBuf, origin: Origin) -> Entry {
    Entry {
        path,
        node: Node::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        xattrs: Vec::new(),
        origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with a merged /usr.
    struct Merged;

    impl Parents for Merged {
        fn look(&self, path: &Path) -> Option<Entry> {
            let link = |target: &str| Entry {
                node: Node::Symlink(target.into()),
                ..directory(path.to_owned(), Origin::Parent)
            };
            match path.to_str()? {
                "/lib" => Some(link("usr/lib")),
                "/loop" => Some(link("/loop/x")),
                "/up" => Some(link("usr/../usr/lib")),
                _ => None,
            }
        }
    }

    fn file(path: &str, content: &str) -> Entry {
        Entry {
            node: Node::File(Content::Bytes(content.as_bytes().into())),
            ..directory(path.into(), Origin::Generated)
        }
    }

    fn link(path: &str, target: &str) -> Entry {
        Entry {
            node: Node::HardLink(target.into()),
            ..directory(path.into(), Origin::Generated)
        }
    }

    fn plan(entries: Vec<Entry>) -> (Vec<String>, Vec<Conflict>) {
        let mut tree = Tree::new(Merged);
        entries.into_iter().for_each(|entry| tree.put(entry));
        let (plan, conflicts) = tree.finish();
        let paths = plan.entries.iter();
        (
            paths.map(|e| e.path.display().to_string()).collect(),
            conflicts,
        )
    }

    #[test]
    fn paths_go_through_the_symlinks_above_them() {
        let (paths, conflicts) = plan(vec![file("/lib/a", "1"), file("/up/b", "2")]);
        let expected = [
            "/",
            "/lib",
            "/up",
            "/usr",
            "/usr/lib",
            "/usr/lib/a",
            "/usr/lib/b",
        ];
        assert_eq!(paths, expected);
        assert_eq!(conflicts, []);
    }

    #[test]
    fn a_directory_where_the_host_has_a_symlink_merges() {
        let (paths, conflicts) = plan(vec![
            file("/lib/a", "1"),
            directory("/lib".into(), Origin::Generated),
            directory("/lib/d".into(), Origin::Generated),
        ]);
        assert_eq!(
            paths,
            ["/", "/lib", "/usr", "/usr/lib", "/usr/lib/a", "/usr/lib/d"]
        );
        assert_eq!(conflicts, []);
    }

    #[test]
    fn a_directory_of_an_archive_keeps_its_own_mode() {
        let mut tree = Tree::new(Merged);
        tree.put(file("/a/b", "1"));
        for mode in [0o700, 0o750] {
            let own = directory("/a".into(), Origin::Generated);
            tree.put_unpacked(Entry { mode, ..own });
        }
        tree.put(directory("/a".into(), Origin::Generated));
        assert_eq!(tree.get(Path::new("/a")).unwrap().mode, 0o750);
    }

    #[test]
    fn looking_follows_links_and_puts_nothing_in() {
        let mut tree = Tree::new(Merged);
        let link = |path: &str, target: &str| Entry {
            node: Node::Symlink(target.into()),
            ..directory(path.into(), Origin::Generated)
        };
        tree.put(file("/lib/d/a", "1"));
        tree.put(file("/lib/d-b", "2"));
        tree.put(link("/x", "lib/d"));
        tree.put(link("/x2", "/x/../d/a"));
        let before = tree.paths().count();
        let found = |path: &str| tree.look_up(Path::new(path)).map(|e| e.path.clone());
        assert_eq!(found("/x/a"), Some("/usr/lib/d/a".into()));
        assert_eq!(found("/x2"), Some("/usr/lib/d/a".into()));
        assert_eq!(found("/lib/e"), None);
        assert_eq!(tree.read(Path::new("/x2")).as_deref(), Some(&b"1"[..]));
        let at = tree.look_at(Path::new("/x")).map(|e| e.path.clone());
        assert_eq!(at, Some("/x".into()));
        let names = |path: &str| -> Vec<PathBuf> {
            let children = tree.children(Path::new(path)).into_iter();
            children.map(|e| e.path.clone()).collect()
        };
        assert_eq!(
            names("/lib"),
            ["/usr/lib/d", "/usr/lib/d-b"].map(PathBuf::from)
        );
        assert_eq!(names("/x"), ["/usr/lib/d/a"].map(PathBuf::from));
        assert_eq!(tree.paths().count(), before);
    }

    #[test]
    fn conflicts_are_told_and_the_first_stays() {
        let (paths, conflicts) = plan(vec![
            file("/a/b", "1"),
            file("/a", "2"),
            file("/a/b/c", "3"),
            file("/loop/z", "4"),
        ]);
        assert_eq!(paths, ["/", "/a", "/a/b", "/loop"]);
        let reasons: Vec<_> = conflicts.iter().map(|c| c.reason.as_str()).collect();
        assert_eq!(reasons[0], "a directory is in the way");
        assert_eq!(reasons[1], "`/a/b` is a file");
        assert!(reasons[2].contains("circle"), "{}", reasons[2]);
    }

    #[test]
    fn names_of_one_file_become_hard_links_of_the_first() {
        let (paths, conflicts) = plan(vec![
            file("/lib/z", "1"),
            link("/lib/a", "/lib/z"),
            link("/z", "/lib/a"),
            link("/b", "/gone"),
            link("/c", "/lib"),
        ]);
        assert_eq!(
            paths,
            [
                "/",
                "/lib",
                "/usr",
                "/usr/lib",
                "/usr/lib/a",
                "/usr/lib/z",
                "/z"
            ]
        );
        let reasons: Vec<_> = conflicts.iter().map(|c| c.reason.as_str()).collect();
        assert_eq!(reasons, ["the file it is a hard link to is not there"; 2]);
    }

    /// As tar and cpio unpack: what is replaced is unlinked, not written to.
    #[test]
    fn names_of_a_replaced_file_keep_it() {
        let mut tree = Tree::new(Merged);
        let host = |path: &str, text: &str| (file(path, text), Some(Identity::Host(1, 2)));
        for (entry, identity) in [
            (file("/a", "old"), None),
            (link("/b", "/a"), None),
            (link("/c", "/a"), None),
            (file("/a", "new"), None),
            (link("/d", "/a"), None),
            host("/x", "host"),
            host("/y", "host"),
            (file("/x", "else"), None),
            host("/z", "host"),
        ] {
            tree.put_name(entry, identity);
        }
        let (plan, conflicts) = tree.finish();
        assert_eq!(conflicts, []);
        let shown: Vec<String> = plan.entries[1..]
            .iter()
            .map(|entry| match &entry.node {
                Node::File(Content::Bytes(bytes)) => {
                    format!(
                        "{} {}",
                        entry.path.display(),
                        String::from_utf8_lossy(bytes)
                    )
                }
                Node::HardLink(target) => {
                    format!("{} -> {}", entry.path.display(), target.display())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "/a new", "/b old", "/x else", "/y host", "/c -> /b", "/d -> /a", "/z -> /y"
            ]
        );
    }
}
