//! Walking a path through symlinks, whoever knows what lies at each place.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// Symlinks followed for one path, as in the kernel.
const MAX_LINKS: usize = 40;

/// A path that is walked from the root, component by component.
#[derive(Debug)]
pub(super) struct Walk {
    /// Where it has led so far.
    pub(super) done: PathBuf,
    /// The components still to walk, last first.
    ahead: Vec<OsString>,
    /// Symlinks that it led through.
    links: usize,
}

impl Walk {
    pub(super) fn along(path: &Path) -> Self {
        Self {
            done: "/".into(),
            ahead: components(path).rev().map(OsStr::to_owned).collect(),
            links: 0,
        }
    }

    /// The next place; whoever walks looks what is there, and then either makes
    /// it `done` or follows it.
    pub(super) fn step(&mut self) -> Option<PathBuf> {
        loop {
            let name = self.ahead.pop()?;
            if name != ".." {
                return Some(self.done.join(name));
            }
            self.done.pop();
        }
    }

    /// Whether the last step came to the end of the path, unless that is a
    /// symlink and is followed.
    pub(super) fn is_last(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Goes on where the symlink leads that the last step came to; `false` if
    /// that were too many.
    pub(super) fn follow(&mut self, target: &Path) -> bool {
        self.links += 1;
        if target.is_absolute() {
            self.done = "/".into();
        }
        let ahead = components(target).rev().map(OsStr::to_owned);
        self.ahead.extend(ahead);
        self.links <= MAX_LINKS
    }
}

fn components(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    })
}
