//! tmpfiles.d(5): the files and directories that packages want to be made.
//!
//! Only what persists is made here; what lies in `/run` and `/tmp` is made at
//! boot, by systemd-tmpfiles or by `/init`.

use super::accounts::Accounts;
use super::words;
use crate::appliance::plan::{Content, Entry, Node, Origin};
use crate::appliance::tree::{Parents, Tree, directory};
use crate::glob::Pattern;
use crate::host::OsRelease;
use std::path::{Component, Path, PathBuf};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    action: Action,
    path: PathBuf,
    mode: Option<Mode>,
    /// Names or numbers; with `:` before them they are for what is new.
    user: Option<Owner>,
    group: Option<Owner>,
    argument: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Directory,
    File {
        replace: bool,
    },
    Symlink {
        replace: bool,
        only_to_existing: bool,
    },
    Copy,
    Fifo,
    /// Mode and owner of what is there; with what is below it.
    Adjust {
        deep: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode {
    bits: u16,
    /// `~`: no more than what the file has.
    masked: bool,
    /// `:`: only for what is new.
    only_new: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    name: String,
    only_new: bool,
}

impl Line {
    /// The user and the group that it names.
    pub(super) fn names(&self) -> (Option<&str>, Option<&str>) {
        let user = self.user.as_ref().map(|owner| owner.name.as_str());
        let group = self.group.as_ref().map(|owner| owner.name.as_str());
        (user, group)
    }
}

/// The lines of a file that make something which persists.
pub(super) fn parse<'a>(text: &'a str, os: &'a OsRelease) -> impl Iterator<Item = Line> + 'a {
    words::lines(text).filter_map(|line| parse_line(line, os))
}

fn parse_line(line: &str, os: &OsRelease) -> Option<Line> {
    let (fields, argument) = words::split(line, 6)?;
    let kind = fields.first()?;
    let mut letters = kind.chars();
    let letter = letters.next()?;
    let modifiers = letters.as_str();
    // `!` is for the boot alone; `^` takes a credential of the running system.
    if modifiers.contains(['!', '^']) {
        return None;
    }
    let plus = modifiers.contains('+');
    let action = match letter {
        'd' | 'D' | 'v' | 'q' | 'Q' => Action::Directory,
        'f' => Action::File { replace: plus },
        'F' => Action::File { replace: true },
        'L' => Action::Symlink {
            replace: plus,
            only_to_existing: modifiers.contains('?'),
        },
        'C' => Action::Copy,
        'p' => Action::Fifo,
        'z' | 'm' | 'e' => Action::Adjust { deep: false },
        'Z' => Action::Adjust { deep: true },
        _ => return None,
    };
    let path = PathBuf::from(words::expand(fields.get(1)?, os)?);
    if !persists(&path) {
        return None;
    }
    let field = |at: usize| {
        fields
            .get(at)
            .map(String::as_str)
            .filter(|f| !matches!(*f, "" | "-"))
    };
    let mode = match field(2) {
        None => None,
        Some(text) => {
            let bits = text.trim_start_matches([':', '~']);
            Some(Mode {
                bits: u16::from_str_radix(bits, 8)
                    .ok()
                    .filter(|bits| *bits <= 0o7777)?,
                masked: text.contains('~'),
                only_new: text.contains(':'),
            })
        }
    };
    let owner = |at: usize| {
        field(at).map(|text| Owner {
            name: text.trim_start_matches(':').to_owned(),
            only_new: text.starts_with(':'),
        })
    };
    let argument = match argument.trim_end() {
        "-" => String::new(),
        text => words::expand(text, os)?,
    };
    Some(Line {
        action,
        path,
        mode,
        user: owner(3),
        group: owner(4),
        argument,
    })
}

/// Whether what lies at `path` outlives the guest; only normal paths do.
fn persists(path: &Path) -> bool {
    const MADE_AT_BOOT: [&str; 6] = ["/run", "/var/run", "/tmp", "/dev", "/proc", "/sys"];
    let normal = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute()
        && path.components().all(normal)
        // `/var/run` itself is a link that persists.
        && (path == Path::new("/var/run")
            || !MADE_AT_BOOT.iter().any(|prefix| path.starts_with(prefix)))
}

/// Puts in what `lines` want; the paths of lines whose owners are not known.
pub(super) fn apply<P: Parents>(
    lines: &[Line],
    accounts: &Accounts,
    tree: &mut Tree<P>,
) -> Vec<PathBuf> {
    let mut lines: Vec<&Line> = lines.iter().collect();
    // As systemd-tmpfiles: what lies above comes first, and one path may have
    // several lines, of which the first makes it.
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    let mut refused = Vec::new();
    for line in lines {
        let number = |owner: &Option<Owner>, number: &dyn Fn(&str) -> Option<u32>| match owner {
            None => Some(None),
            Some(owner) => Some(Some((number(&owner.name)?, owner.only_new))),
        };
        let uid = number(&line.user, &|name| accounts.uid(name));
        let gid = number(&line.group, &|name| accounts.gid(name));
        match (uid, gid) {
            (Some(uid), Some(gid)) => apply_one(line, &Wish { line, uid, gid }, tree),
            _ => refused.push(line.path.clone()),
        }
    }
    refused
}

/// The mode and the owners that a line wants, with whether only for the new.
struct Wish<'a> {
    line: &'a Line,
    uid: Option<(u32, bool)>,
    gid: Option<(u32, bool)>,
}

impl Wish<'_> {
    fn entry(&self, node: Node, default_mode: u16) -> Entry {
        Entry {
            node,
            mode: self.line.mode.map_or(default_mode, |mode| mode.bits),
            uid: self.uid.map_or(0, |(uid, _)| uid),
            gid: self.gid.map_or(0, |(gid, _)| gid),
            ..directory(self.line.path.clone(), Origin::Generated)
        }
    }

    fn adjust(&self, entry: &mut Entry) {
        if matches!(entry.node, Node::Symlink(_)) {
            return;
        }
        if let Some(mode) = self.line.mode.filter(|mode| !mode.only_new) {
            entry.mode = match (mode.masked, &entry.node) {
                (false, _) => mode.bits,
                (true, node) => masked(mode.bits, entry.mode, *node == Node::Directory),
            };
        }
        if let Some((uid, false)) = self.uid {
            entry.uid = uid;
        }
        if let Some((gid, false)) = self.gid {
            entry.gid = gid;
        }
    }
}

/// `wanted`, without what nobody may in `current`.
fn masked(wanted: u16, current: u16, directory: bool) -> u16 {
    let mut mode = wanted;
    for bits in [0o111, 0o222, 0o444] {
        if current & bits == 0 {
            mode &= !bits;
        }
    }
    if directory { mode } else { mode & 0o777 }
}

fn apply_one<P: Parents>(line: &Line, wish: &Wish<'_>, tree: &mut Tree<P>) {
    let path = &line.path;
    let there = tree.look_at(path).map(|entry| entry.node.clone());
    let argument = |default: &str| match line.argument.as_str() {
        "" => Path::new(default).join(path.strip_prefix("/").unwrap_or(path)),
        text => PathBuf::from(text),
    };
    match line.action {
        Action::Directory => match there {
            Some(Node::Directory) => adjust(path, wish, tree),
            Some(_) => {}
            None => tree.put(wish.entry(Node::Directory, 0o755)),
        },
        Action::File { replace } => {
            let bytes = words::unescape(&line.argument).into_bytes();
            let node = Node::File(Content::Bytes(bytes.into()));
            match there {
                Some(Node::File(_)) if !replace => adjust(path, wish, tree),
                None | Some(Node::File(_)) => tree.put(wish.entry(node, 0o644)),
                Some(_) => {}
            }
        }
        Action::Symlink {
            replace,
            only_to_existing,
        } => {
            let target = argument("/usr/share/factory");
            let absolute = path.parent().unwrap_or(path).join(&target);
            if only_to_existing && tree.look_up(&absolute).is_none() {
                return;
            }
            if there.is_none() || replace && !matches!(there, Some(Node::Directory)) {
                let mut entry = wish.entry(Node::Symlink(target), 0o777);
                entry.mode = 0o777;
                tree.put(entry);
            }
        }
        Action::Copy => copy(&argument("/usr/share/factory"), path, wish, tree),
        Action::Fifo => {
            if there.is_none() {
                tree.put(wish.entry(Node::Fifo, 0o644));
            }
        }
        Action::Adjust { deep } => {
            for path in matching(path, tree) {
                let below: Vec<PathBuf> = if deep {
                    tree.below(&path).map(|entry| entry.path.clone()).collect()
                } else {
                    Vec::new()
                };
                for path in std::iter::once(path).chain(below) {
                    adjust(&path, wish, tree);
                }
            }
        }
    }
}

fn adjust<P: Parents>(path: &Path, wish: &Wish<'_>, tree: &mut Tree<P>) {
    if let Some(entry) = tree.look_at_mut(path) {
        wish.adjust(entry);
    }
}

/// The paths in the plan that `pattern`, with wildcards as glob(3) has them, names.
fn matching<P: Parents>(pattern: &Path, tree: &Tree<P>) -> Vec<PathBuf> {
    let text = pattern.to_string_lossy();
    if !text.contains(['*', '?', '[']) {
        let there = tree.look_at(pattern).map(|entry| entry.path.clone());
        return there.into_iter().collect();
    }
    let Ok(glob) = Pattern::new(&*text) else {
        return Vec::new();
    };
    let deep = pattern.components().count();
    let fits = |path: &Path| path.components().count() == deep && glob.matches(path);
    let entries = tree.paths().map(|entry| &entry.path);
    entries.filter(|path| fits(path)).cloned().collect()
}

/// Copies what the plan has at `from`, if there is nothing at `to` yet.
fn copy<P: Parents>(from: &Path, to: &Path, wish: &Wish<'_>, tree: &mut Tree<P>) {
    let Some(source) = tree.look_up(from).cloned() else {
        return;
    };
    let empty =
        |entry: &Entry| entry.node == Node::Directory && tree.below(&entry.path).next().is_none();
    if tree.look_at(to).is_some_and(|entry| !empty(entry)) {
        return;
    }
    let below: Vec<Entry> = tree.below(&source.path).cloned().collect();
    let mut first = wish.entry(source.node.clone(), source.mode);
    to.clone_into(&mut first.path);
    tree.put(first);
    for mut entry in below {
        if let Ok(inside) = entry.path.strip_prefix(&source.path) {
            entry.path = to.join(inside);
            entry.origin = Origin::Generated;
            tree.put(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Nothing;

    impl Parents for Nothing {
        fn look(&self, _: &Path) -> Option<Entry> {
            None
        }
    }

    /// The tree after `text`, a line for each path, without what was only above.
    fn made(text: &str) -> Vec<String> {
        let mut tree = Tree::new(Nothing);
        let file = |path: &str, mode| Entry {
            node: Node::File(Content::Bytes(b"x".as_slice().into())),
            mode,
            ..directory(path.into(), Origin::HostFile)
        };
        tree.put(file("/usr/share/factory/etc/a", 0o600));
        tree.put(file("/usr/share/d/b", 0o640));
        tree.put(file("/var/there", 0o750));
        let accounts = Accounts::parse("www:x:33:34::/:/x\n", "www:x:34:\n");
        let lines: Vec<Line> = parse(text, &OsRelease::default()).collect();
        let refused = apply(&lines, &accounts, &mut tree);
        let (plan, _) = tree.finish();
        let show = |entry: &Entry| {
            let node = match &entry.node {
                Node::Directory => "d".to_owned(),
                Node::Symlink(target) => format!("-> {}", target.display()),
                Node::File(Content::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
                node => format!("{node:?}"),
            };
            let Entry {
                path,
                mode,
                uid,
                gid,
                ..
            } = entry;
            format!("{} {node} {mode:o} {uid}:{gid}", path.display())
        };
        let shown = plan
            .entries
            .iter()
            .filter(|entry| !entry.path.starts_with("/usr"));
        let shown = shown
            .filter(|entry| entry.origin != Origin::Parent)
            .map(show);
        shown
            .chain(
                refused
                    .iter()
                    .map(|path| format!("refused {}", path.display())),
            )
            .collect()
    }

    #[test]
    fn what_persists_is_made() {
        assert_eq!(
            made(
                "d /var/lib/x 0750 www www -\nf /var/log/wtmp 0664 - www - a\\nb\n\
                 L /var/run - - - - ../run\nC /etc/a - - - -\nC /var/d - - - - /usr/share/d\n\
                 p /var/p\nL? /var/no - - - - /nowhere\nd /var/lib/y - nobody - -\n"
            ),
            [
                "/etc/a x 600 0:0",
                "/var/d d 755 0:0",
                "/var/d/b x 640 0:0",
                "/var/lib/x d 750 33:34",
                "/var/log/wtmp a\nb 664 0:34",
                "/var/p Fifo 644 0:0",
                "/var/run -> ../run 777 0:0",
                "/var/there x 750 0:0",
                "refused /var/lib/y",
            ]
        );
    }

    #[test]
    fn what_is_there_is_adjusted() {
        let there = |text| made(text).pop().unwrap();
        assert_eq!(there("z /var/th* 0644 www -"), "/var/there x 644 33:0");
        assert_eq!(
            there("z /var/there :0644 :www www"),
            "/var/there x 750 0:34"
        );
        assert_eq!(there("z /var/there ~7777 - -"), "/var/there x 777 0:0");
        assert_eq!(there("Z /var 0700 www www"), "/var/there x 700 33:34");
        assert_eq!(there("f /var/there 0600 - - - new"), "/var/there x 600 0:0");
        assert_eq!(there("f+ /var/there - - - - new"), "/var/there new 644 0:0");
    }

    #[test]
    fn the_rest_is_left_to_the_boot() {
        let nothing = made("");
        let text = "d /run/x\nD! /var/x\nr /var/there\nx /var/y\nf^ /etc/h - - - - cred\n\
                    d /var/run/z\nz /var/log/%m 0755\nd ../up\nd /a/../b\nf /var/x 99999\nd \"/open\n";
        assert_eq!(made(text), nothing);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "([dDfFLCpzZe][+!]? /[a-z/.*\\[]{0,8} [0-7:~-]{1,5} [a-z:-]{1,4}\n){0,6}\\PC*") {
            made(&text);
        }
    }
}
