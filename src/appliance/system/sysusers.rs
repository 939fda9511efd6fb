//! sysusers.d(5): the users and groups that packages want.

use super::accounts::{Accounts, User};
use super::words;
use crate::host::OsRelease;
use std::path::{Path, PathBuf};

/// The shell of a user for whom none is named.
const NO_LOGIN: &str = "/usr/sbin/nologin";
/// The highest number that is given without being asked for.
const HIGHEST: u32 = 999;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    User {
        name: String,
        id: Id,
        gecos: String,
        home: String,
        shell: String,
    },
    Group {
        name: String,
        id: Id,
    },
    Member {
        user: String,
        group: String,
    },
    Range(u32, u32),
}

/// The number that a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Id {
    Automatic,
    Fixed(u32),
    /// A user's number, or `None` for an automatic one, and its group, by name
    /// or number, which has to be there.
    InGroup(Option<u32>, String),
    /// That of the owner of this file.
    Owner(PathBuf),
}

/// The lines of a file; those that are wrong, or name what only the running
/// guest knows, are passed over.
pub(super) fn parse<'a>(text: &'a str, os: &'a OsRelease) -> impl Iterator<Item = Line> + 'a {
    words::lines(text).filter_map(|line| parse_line(line, os))
}

fn parse_line(line: &str, os: &OsRelease) -> Option<Line> {
    let (fields, rest) = words::split(line, 6)?;
    if !rest.is_empty() {
        return None;
    }
    let field = |at: usize| match fields.get(at).map(String::as_str) {
        None | Some("" | "-") => Some(String::new()),
        Some(text) => words::expand(text, os),
    };
    let (name, id) = (field(1)?, field(2)?);
    let named = is_name(&name);
    match fields.first()?.as_str() {
        // `u!` is a user who can never log in, which all of ours are.
        "u" | "u!" if named => Some(Line::User {
            name,
            id: parse_id(&id, true)?,
            gecos: field(3)?.replace([':', '\n'], " "),
            home: field(4)?,
            shell: field(5)?,
        }),
        "g" if named => Some(Line::Group {
            name,
            id: parse_id(&id, false)?,
        }),
        "m" if named && is_name(&id) => Some(Line::Member {
            user: name,
            group: id,
        }),
        "r" => {
            let (low, high) = id.split_once('-').unwrap_or((&id, &id));
            let range = (low.parse().ok()?, high.parse().ok()?);
            (range.0 <= range.1).then_some(Line::Range(range.0, range.1))
        }
        _ => None,
    }
}

fn parse_id(text: &str, of_user: bool) -> Option<Id> {
    if text.is_empty() {
        return Some(Id::Automatic);
    }
    if text.starts_with('/') {
        return Some(Id::Owner(text.into()));
    }
    let Some((uid, group)) = text.split_once(':') else {
        return text.parse().ok().map(Id::Fixed);
    };
    let uid = match uid {
        "-" => None,
        uid => Some(uid.parse().ok()?),
    };
    of_user.then(|| Id::InGroup(uid, group.to_owned()))
}

/// Whether a program may take `name` for an account.
fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Adds the accounts that `lines` want.
///
/// Where `host` has an account of the same name its number is taken, as the
/// files that come from there carry it; else the one that is asked for; else
/// the highest that is free both here and on the host, so that no file of the
/// host falls to somebody else.  `owner` tells the owner of a file.
pub(super) fn apply(
    lines: &[Line],
    accounts: &mut Accounts,
    host: &Accounts,
    owner: &dyn Fn(&Path) -> Option<(u32, u32)>,
) {
    let ranges: Vec<(u32, u32)> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Range(low, high) => Some((*low, *high)),
            _ => None,
        })
        .collect();
    // Who asks for a number comes before who takes any.
    let automatic = |line: &&Line| match line {
        Line::User { id, .. } | Line::Group { id, .. } => {
            matches!(id, Id::Automatic | Id::InGroup(None, _))
        }
        _ => false,
    };
    let (late, early): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(automatic);
    for line in early.into_iter().chain(late) {
        match line {
            Line::Group { name, id } => {
                let wanted = match id {
                    Id::Fixed(gid) => Some(*gid),
                    Id::Owner(path) => owner(path).map(|(_, gid)| gid),
                    _ => None,
                };
                add_group(name, wanted, accounts, host, &ranges);
            }
            Line::User {
                name,
                id,
                gecos,
                home,
                shell,
            } => {
                let Some((uid, gid)) = numbers(name, id, accounts, host, &ranges, owner) else {
                    continue;
                };
                let or = |text: &str, default: &str| match text {
                    "" => default.to_owned(),
                    text => text.to_owned(),
                };
                let default_shell = if uid == 0 { "/bin/bash" } else { NO_LOGIN };
                accounts.add_user(User {
                    name: name.clone(),
                    uid,
                    gid,
                    gecos: gecos.clone(),
                    home: or(home, if uid == 0 { "/root" } else { "/" }),
                    shell: or(shell, default_shell),
                });
            }
            Line::Member { .. } | Line::Range(..) => {}
        }
    }
    for line in lines {
        if let Line::Member { user, group } = line {
            add_group(group, None, accounts, host, &ranges);
            let lone = Line::User {
                name: user.clone(),
                id: Id::Automatic,
                gecos: String::new(),
                home: String::new(),
                shell: String::new(),
            };
            if accounts.user(user).is_none() {
                apply(&[lone], accounts, host, owner);
            }
            accounts.add_member(user, group);
        }
    }
}

fn add_group(
    name: &str,
    wanted: Option<u32>,
    accounts: &mut Accounts,
    host: &Accounts,
    ranges: &[(u32, u32)],
) {
    if accounts.group(name).is_some() {
        return;
    }
    let there = host.group(name).map(|group| group.gid);
    let gid = there
        .or_else(|| wanted.filter(|&gid| accounts.group_with(gid).is_none()))
        .or_else(|| free(accounts, host, ranges));
    if let Some(gid) = gid {
        accounts.add_group(name, gid);
    }
}

/// The numbers of a new user, whose group is added if it has to be.
fn numbers(
    name: &str,
    id: &Id,
    accounts: &mut Accounts,
    host: &Accounts,
    ranges: &[(u32, u32)],
    owner: &dyn Fn(&Path) -> Option<(u32, u32)>,
) -> Option<(u32, u32)> {
    if accounts.user(name).is_some() {
        return None;
    }
    let wanted = match id {
        Id::Fixed(uid) | Id::InGroup(Some(uid), _) => Some(*uid),
        Id::Owner(path) => owner(path).map(|(uid, _)| uid),
        Id::InGroup(None, _) | Id::Automatic => None,
    };
    let there = host.user(name);
    let mut gid = there.map(|user| user.gid);
    if let Some(name) = gid.and_then(|gid| host.group_with(gid)) {
        accounts.add_group(&name.name, name.gid);
    } else if let Id::InGroup(_, group) = id {
        gid = accounts.gid(group);
    } else {
        add_group(name, wanted, accounts, host, ranges);
        gid = accounts.group(name).map(|group| group.gid);
    }
    let unused = |uid: &u32| accounts.user_with(*uid).is_none();
    let uid = there
        .map(|user| user.uid)
        .or_else(|| wanted.filter(unused))
        // The number of its own group looks tidy.
        .or_else(|| {
            gid.filter(unused)
                .filter(|&gid| host.user_with(gid).is_none())
        })
        .or_else(|| free(accounts, host, ranges))?;
    Some((uid, gid?))
}

/// The highest number that nobody has.
fn free(accounts: &Accounts, host: &Accounts, ranges: &[(u32, u32)]) -> Option<u32> {
    let all = [(1, HIGHEST)];
    let ranges = if ranges.is_empty() { &all[..] } else { ranges };
    let taken = |id: &u32| {
        [accounts, host]
            .iter()
            .any(|all| all.user_with(*id).is_some() || all.group_with(*id).is_some())
    };
    let mut candidates = ranges
        .iter()
        .rev()
        .flat_map(|&(low, high)| (low..=high).rev());
    candidates.find(|id| !taken(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accounts(text: &str, host: &Accounts) -> (String, String) {
        let os = OsRelease::default();
        let lines: Vec<Line> = parse(text, &os).collect();
        let mut accounts = Accounts::default();
        apply(&lines, &mut accounts, host, &|_| Some((77, 78)));
        (accounts.passwd(), accounts.group_file())
    }

    #[test]
    fn fixed_numbers_come_first_and_automatic_ones_go_down() {
        let (passwd, group) = accounts(
            "u a - \"The A\" /var/a\ng tty 5\nu b 998\nu c 30:tty - /c /bin/sh\nm c wheel\nu d /f\n",
            &Accounts::default(),
        );
        assert_eq!(
            passwd,
            "b:x:998:998::/:/usr/sbin/nologin\nc:x:30:5::/c:/bin/sh\n\
             d:x:77:77::/:/usr/sbin/nologin\na:x:999:999:The A:/var/a:/usr/sbin/nologin\n"
        );
        assert_eq!(
            group,
            "tty:x:5:\nb:x:998:\nd:x:77:\na:x:999:\nwheel:x:997:c\n"
        );
    }

    #[test]
    fn the_numbers_of_the_host_win() {
        let host = Accounts::parse(
            "sshd:x:74:65534::/run/sshd:/bin/false\ntaken:x:999:999::/:/x\n",
            "nogroup:x:65534:\nshadow:x:42:\n",
        );
        let (passwd, group) = accounts("u sshd 101 SSH\ng shadow 15\nu new -\n", &host);
        assert_eq!(
            passwd,
            "sshd:x:74:65534:SSH:/:/usr/sbin/nologin\nnew:x:998:998::/:/usr/sbin/nologin\n"
        );
        assert_eq!(group, "nogroup:x:65534:\nshadow:x:42:\nnew:x:998:\n");
    }

    #[test]
    fn ranges_bind() {
        let (passwd, _) = accounts("r - 300-301\nu a\nu b\nu c\n", &Accounts::default());
        let uids: Vec<_> = passwd.lines().filter_map(|l| l.split(':').nth(2)).collect();
        assert_eq!(uids, ["301", "300"]);
    }

    #[test]
    fn wrong_lines_are_passed_over() {
        let text = "x a\nu\nu 9a -\ng a:b\nu a b c d e f g\nu %m\nr - 9-1\n# u a\n";
        assert_eq!(parse(text, &OsRelease::default()).count(), 0);
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_numbers_are_unique(text in "([ugmr] [a-e] (-|[0-9]{1,2}|[0-9]:[a-e])\n){0,20}\\PC*") {
            let os = OsRelease::default();
            let lines: Vec<Line> = parse(&text, &os).collect();
            let mut all = Accounts::default();
            apply(&lines, &mut all, &Accounts::default(), &|_| None);
            let mut uids: Vec<u32> = all.users.iter().map(|user| user.uid).collect();
            let before = uids.len();
            uids.sort_unstable();
            uids.dedup();
            prop_assert_eq!(uids.len(), before);
            prop_assert!(all.users.iter().all(|user| all.group_with(user.gid).is_some()));
        }
    }
}
