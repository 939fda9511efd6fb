//! Who is on the system: accounts from sysusers.d, from the host, and from what
//! the skeleton brings; and what tmpfiles.d makes for them.

use super::accounts::{Accounts, User};
use super::enable::Units;
use super::{Context, scriptlets, snippets, sysusers, tmpfiles};
use crate::appliance::plan::Entry;
use crate::appliance::tree::{Parents, Tree};
use crate::{files, glob};
use std::collections::BTreeSet;
use std::path::Path;

/// Numbers below it are given out by a distribution once and for all.
const STATIC: u32 = 100;
/// People begin here: `UID_MIN` of login.defs(5) on every family.
const FIRST_PERSON: u32 = 1000;
/// `nobody`, which is no person.
const NOBODY: u32 = 65534;
/// Packages that bring the static accounts, with scriptlets or files that the
/// administrator has edited since.
const BRINGERS: [&str; 4] = ["base-passwd", "setup", "system-user-root", "aaa_base"];

/// Puts in the accounts, and what tmpfiles.d wants.
pub(super) fn apply<P: Parents>(tree: &mut Tree<P>, context: &Context<'_>, units: Option<&Units>) {
    let root = context.host.root();
    let text = |path: &str| {
        let bytes = files::read(glob::below(root, Path::new(path))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let host = system_accounts(Accounts::parse(&text("/etc/passwd"), &text("/etc/group")));
    let own = |path: &str| {
        let bytes = tree.read(Path::new(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut accounts = Accounts::parse(&own("/etc/passwd"), &own("/etc/group"));
    let (shadow, gshadow) = (own("/etc/shadow"), own("/etc/gshadow"));

    add_root(&mut accounts, tree);
    if BRINGERS.iter().any(|name| context.has_package(name)) {
        for user in host
            .users
            .iter()
            .filter(|user| user.uid < STATIC || user.uid == NOBODY)
        {
            add_from_host(&mut accounts, &host, &user.name);
        }
        for group in host
            .groups
            .iter()
            .filter(|g| g.gid < STATIC || g.gid == NOBODY)
        {
            accounts.add_group(&group.name, group.gid);
        }
    }
    let os = context.host.os();
    let wanted: Vec<sysusers::Line> = snippets(tree, "sysusers.d", "conf")
        .iter()
        .flat_map(|(_, text)| sysusers::parse(text, os).collect::<Vec<_>>())
        .collect();
    let owner = |path: &Path| tree.look_up(path).map(|entry| (entry.uid, entry.gid));
    sysusers::apply(&wanted, &mut accounts, &host, &owner);

    let lines: Vec<tmpfiles::Line> = snippets(tree, "tmpfiles.d", "conf")
        .iter()
        .flat_map(|(_, text)| tmpfiles::parse(text, os).collect::<Vec<_>>())
        .collect();
    let (rules_users, rules_groups) = named_by_rules(tree);
    let (mut users, mut groups) = units.map(Units::accounts).unwrap_or_default();
    // Where packages have no sysusers.d their scripts add accounts, which on the
    // host they did.
    let scripted = match units {
        Some(_) => scriptlets::words_of_who_adds_accounts(context),
        None => BTreeSet::new(),
    };
    users.extend(scripted.iter().map(String::as_str));
    groups.extend(scripted.iter().map(String::as_str));
    users.extend(rules_users.iter().map(String::as_str));
    groups.extend(rules_groups.iter().map(String::as_str));
    users.extend(lines.iter().filter_map(|line| line.names().0));
    groups.extend(lines.iter().filter_map(|line| line.names().1));
    for user in users {
        add_from_host(&mut accounts, &host, user);
    }
    for group in groups {
        if let Some(group) = host.group(group) {
            accounts.add_group(&group.name, group.gid);
        }
    }
    tmpfiles::apply(&lines, &accounts, tree);
    add_owners(&mut accounts, &host, tree);
    add_members(&mut accounts, &host);
    write(tree, &accounts, &shadow, &gshadow);
}

/// The users and groups that device nodes get, by udev's rules, and that D-Bus
/// lets do more than others.
fn named_by_rules<P: Parents>(tree: &Tree<P>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut users, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for (directory, user, group) in [
        ("/usr/lib/udev/rules.d", "OWNER=\"", "GROUP=\""),
        ("/lib/udev/rules.d", "OWNER=\"", "GROUP=\""),
        (
            "/usr/share/dbus-1/system.d",
            "policy user=\"",
            "policy group=\"",
        ),
        ("/etc/dbus-1/system.d", "policy user=\"", "policy group=\""),
    ] {
        for entry in tree.children(Path::new(directory)) {
            let bytes = tree.read(&entry.path).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            users.extend(quoted_after(&text, user));
            groups.extend(quoted_after(&text, group));
        }
    }
    (users, groups)
}

/// What stands between each `key`, which ends in a quote, and the next quote.
fn quoted_after<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = String> + 'a {
    text.split(key)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
}

/// The accounts of a host that are no people.
fn system_accounts(mut all: Accounts) -> Accounts {
    let system = |id: u32| id < FIRST_PERSON || (NOBODY - 1..=NOBODY).contains(&id);
    all.users.retain(|user| system(user.uid));
    all.groups.retain(|group| system(group.gid));
    all
}

fn add_root<P: Parents>(accounts: &mut Accounts, tree: &Tree<P>) {
    let shells = ["/bin/bash", "/bin/sh"];
    let there = shells
        .into_iter()
        .find(|shell| tree.look_up(Path::new(shell)).is_some());
    accounts.add_user(User {
        name: "root".into(),
        uid: 0,
        gid: 0,
        gecos: "root".into(),
        home: "/root".into(),
        shell: there.unwrap_or("/bin/sh").into(),
    });
    accounts.add_group("root", 0);
    // The group of terminals, by which devpts is mounted.
    accounts.add_group("tty", 5);
}

/// Adds the user `name` of the host, with its group.
fn add_from_host(accounts: &mut Accounts, host: &Accounts, name: &str) {
    if let Some(user) = host.user(name) {
        if let Some(group) = host.group_with(user.gid) {
            accounts.add_group(&group.name, group.gid);
        }
        accounts.add_user(user.clone());
    }
}

/// Adds the accounts of the host that own something in the plan.
fn add_owners<P: Parents>(accounts: &mut Accounts, host: &Accounts, tree: &Tree<P>) {
    let uids: BTreeSet<u32> = tree.paths().map(|entry| entry.uid).collect();
    let gids: BTreeSet<u32> = tree.paths().map(|entry| entry.gid).collect();
    for uid in uids {
        if accounts.user_with(uid).is_none()
            && let Some(user) = host.user_with(uid)
        {
            add_from_host(accounts, host, &user.name);
        }
    }
    for gid in gids {
        if accounts.group_with(gid).is_none()
            && let Some(group) = host.group_with(gid)
        {
            accounts.add_group(&group.name, gid);
        }
    }
}

/// System users are in the groups that the host has them in.
fn add_members(accounts: &mut Accounts, host: &Accounts) {
    for group in &host.groups {
        for member in &group.members {
            if accounts.user(member).is_some() {
                accounts.add_member(member, &group.name);
            }
        }
    }
}

fn write<P: Parents>(tree: &mut Tree<P>, accounts: &Accounts, shadow: &str, gshadow: &str) {
    // Debian's programs read them as this group, Fedora's as root.
    let (mode, gid) = match accounts.group("shadow") {
        Some(group) => (0o640, group.gid),
        None => (0, 0),
    };
    for (path, text, mode, gid) in [
        ("/etc/passwd", accounts.passwd(), 0o644, 0),
        ("/etc/group", accounts.group_file(), 0o644, 0),
        ("/etc/shadow", accounts.shadow(shadow), mode, gid),
        ("/etc/gshadow", accounts.gshadow(gshadow), mode, gid),
    ] {
        tree.put(Entry {
            gid,
            ..super::file_entry(Path::new(path), mode, text.into_bytes())
        });
    }
}
