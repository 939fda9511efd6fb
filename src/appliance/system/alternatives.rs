//! The alternatives system: links such as `/usr/bin/awk -> /etc/alternatives/awk
//! -> /usr/bin/mawk`, which no package owns.

use super::link;
use crate::appliance::tree::{Parents, Tree};
use crate::{files, glob};
use std::path::{Path, PathBuf};

/// Where the state lies: Debian's and SUSE's, then Fedora's.
const STATES: [&str; 2] = ["/var/lib/dpkg/alternatives", "/var/lib/alternatives"];

/// A group: a master link with its slaves, and what they can lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    /// Name in `/etc/alternatives` and link; the first is the master.
    links: Vec<(String, PathBuf)>,
    /// The target and the priority of each alternative, and its targets for the
    /// slaves, which may be empty.
    choices: Vec<Choice>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Choice {
    priority: i64,
    targets: Vec<PathBuf>,
}

/// Reads the state of the group `name`; its format is that of `alternatives(8)`
/// and `update-alternatives(1)`: the mode, the link, name and link of each
/// slave, an empty line, then for each choice the target, its priority and a
/// line for each slave, and again an empty line.
fn parse(name: &str, text: &str) -> Option<Group> {
    let mut lines = text.lines();
    let mode = lines.next()?;
    if mode != "auto" && mode != "manual" {
        return None;
    }
    let mut group = Group::default();
    group.links.push((name.to_owned(), lines.next()?.into()));
    loop {
        match lines.next()? {
            "" => break,
            slave => group.links.push((slave.to_owned(), lines.next()?.into())),
        }
    }
    while let Some(target) = lines.next().filter(|line| !line.is_empty()) {
        // Fedora's may name a family before the priority: `@family@50`.
        let priority = lines.next()?.rsplit('@').next()?;
        let mut choice = Choice {
            // And a service after it.
            priority: priority.split_whitespace().next()?.parse().ok()?,
            targets: vec![target.into()],
        };
        for _ in 1..group.links.len() {
            choice.targets.push(lines.next().unwrap_or("").into());
        }
        group.choices.push(choice);
    }
    Some(group)
}

/// Puts in the links of every group that has a choice in the plan: the one that
/// the host uses, else the one of the highest priority.
pub(super) fn apply<P: Parents>(tree: &mut Tree<P>, host: &Path) {
    for state in STATES {
        let directory = glob::below(host, Path::new(state));
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str());
            let group = name
                .zip(files::read_text(&path).ok())
                .and_then(|(name, text)| parse(name, &text));
            if let Some(group) = group {
                apply_group(&group, tree, host);
            }
        }
    }
}

fn apply_group<P: Parents>(group: &Group, tree: &mut Tree<P>, host: &Path) {
    let directory = Path::new("/etc/alternatives");
    let Some((master, _)) = group.links.first() else {
        return;
    };
    let current = glob::below(host, &directory.join(master)).read_link().ok();
    let there = |choice: &&Choice| tree.look_up(&choice.targets[0]).is_some();
    let chosen = group.choices.iter().filter(there).max_by_key(|choice| {
        let used = current.as_ref() == choice.targets.first();
        (used, choice.priority)
    });
    let Some(chosen) = chosen.cloned() else {
        return;
    };
    for ((name, path), target) in group.links.iter().zip(&chosen.targets) {
        // A link to what was left out would only dangle.
        if tree.look_up(target).is_some() {
            link(tree, path, &directory.join(name));
            link(tree, &directory.join(name), target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_formats_are_read() {
        let debian = "auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\n\n\
                      /usr/bin/mawk\n5\n/usr/share/man/man1/mawk.1.gz\n\
                      /usr/bin/gawk\n10\n\n\n";
        let group = parse("awk", debian).unwrap();
        assert_eq!(group.links[1].0, "awk.1.gz");
        let found: Vec<_> = group
            .choices
            .iter()
            .map(|c| (c.priority, c.targets.len()))
            .collect();
        assert_eq!(found, [(5, 2), (10, 2)]);
        let fedora =
            "manual\n/usr/bin/ld\n\n/usr/bin/ld.bfd\n@binutils@50\n/usr/bin/ld.gold\n30 x\n\n";
        let group = parse("ld", fedora).unwrap();
        let found: Vec<_> = group.choices.iter().map(|c| c.priority).collect();
        assert_eq!(found, [50, 30]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(auto\n)?(\\PC*\n){0,9}") {
            let _ = parse("x", &text);
        }
    }
}
