//! passwd(5), group(5), shadow(5) and gshadow(5) as data.

use std::collections::BTreeMap;

/// A line of `/etc/passwd`, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) gecos: String,
    pub(super) home: String,
    pub(super) shell: String,
}

/// A line of `/etc/group`, without the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) gid: u32,
    pub(super) members: Vec<String>,
}

/// The accounts of a system, in the order of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) users: Vec<User>,
    pub(super) groups: Vec<Group>,
}

impl Accounts {
    /// Reads `/etc/passwd` and `/etc/group`; lines that are no account are
    /// passed over, and so are passwords.
    pub(super) fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let [name, _, uid, gid, gecos, home, shell] = fields(line)?;
            Some(User {
                name: name.to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                gecos: gecos.to_owned(),
                home: home.to_owned(),
                shell: shell.to_owned(),
            })
        };
        let group_of = |line: &str| {
            let [name, _, gid, members] = fields(line)?;
            let members = members.split(',').filter(|member| !member.is_empty());
            Some(Group {
                name: name.to_owned(),
                gid: gid.parse().ok()?,
                members: members.map(str::to_owned).collect(),
            })
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(super) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub(super) fn user_with(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.uid == uid)
    }

    pub(super) fn group_with(&self, gid: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.gid == gid)
    }

    /// Adds a user, unless there is one of this name.
    pub(super) fn add_user(&mut self, user: User) {
        if self.user(&user.name).is_none() {
            self.users.push(user);
        }
    }

    /// Adds a group, unless there is one of this name.
    pub(super) fn add_group(&mut self, name: &str, gid: u32) {
        if self.group(name).is_none() {
            self.groups.push(Group {
                name: name.to_owned(),
                gid,
                members: Vec::new(),
            });
        }
    }

    /// Makes `user` a member of `group`, if that is there.
    pub(super) fn add_member(&mut self, user: &str, group: &str) {
        if let Some(group) = self.groups.iter_mut().find(|each| each.name == group)
            && !group.members.iter().any(|member| member == user)
        {
            group.members.push(user.to_owned());
        }
    }

    /// The number that `text` means as a user: a name, or the number itself.
    pub(super) fn uid(&self, text: &str) -> Option<u32> {
        text.parse().ok().or_else(|| Some(self.user(text)?.uid))
    }

    /// The number that `text` means as a group.
    pub(super) fn gid(&self, text: &str) -> Option<u32> {
        text.parse().ok().or_else(|| Some(self.group(text)?.gid))
    }

    /// The text of `/etc/passwd`.
    pub(super) fn passwd(&self) -> String {
        let line = |user: &User| {
            let User {
                name,
                uid,
                gid,
                gecos,
                home,
                shell,
            } = user;
            format!("{name}:x:{uid}:{gid}:{gecos}:{home}:{shell}\n")
        };
        self.users.iter().map(line).collect()
    }

    /// The text of `/etc/group`.
    pub(super) fn group_file(&self) -> String {
        let line = |group: &Group| {
            format!(
                "{}:x:{}:{}\n",
                group.name,
                group.gid,
                group.members.join(",")
            )
        };
        self.groups.iter().map(line).collect()
    }

    /// The text of `/etc/shadow`: who is in `old` keeps his line, everybody else
    /// has no password: `!*`, a locked account, as from systemd-sysusers, but `*`
    /// for root, as Debian and Fedora have it, since sshd without PAM lets nobody
    /// into a locked account, not even with a key.  No day of a last change is
    /// written, as it would differ from one rehydration to the next; it only
    /// matters where passwords age.
    pub(super) fn shadow(&self, old: &str) -> String {
        let old = by_name(old);
        let line = |user: &User| match old.get(user.name.as_str()) {
            Some(line) => format!("{line}\n"),
            None if user.uid == 0 => format!("{}:*:::::::\n", user.name),
            None => format!("{}:!*:::::::\n", user.name),
        };
        self.users.iter().map(line).collect()
    }

    /// The text of `/etc/gshadow`, likewise.
    pub(super) fn gshadow(&self, old: &str) -> String {
        let old = by_name(old);
        let line = |group: &Group| match old.get(group.name.as_str()) {
            Some(line) => format!("{line}\n"),
            None => format!("{}:!*::{}\n", group.name, group.members.join(",")),
        };
        self.groups.iter().map(line).collect()
    }
}

fn by_name(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| Some((line.split_once(':')?.0, line)))
        .collect()
}

/// Exactly `N` fields; names as other programs take them.
fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let fields: [&str; N] = line.split(':').collect::<Vec<_>>().try_into().ok()?;
    // `+` and `-` begin lines of NIS.
    (!fields[0].is_empty() && !fields[0].starts_with(['+', '-', '#'])).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn passwords_never_pass() {
        let accounts = Accounts::parse(
            "root:$6$hash:0:0:root:/root:/bin/bash\n+::::::\n#x:x:1:1:::\nbad:x:1\n",
            "root:secret:0:\nadm:x:4:a,b\n",
        );
        assert_eq!(accounts.passwd(), "root:x:0:0:root:/root:/bin/bash\n");
        assert_eq!(accounts.group_file(), "root:x:0:\nadm:x:4:a,b\n");
        assert_eq!(accounts.shadow(""), "root:*:::::::\n");
        assert_eq!(accounts.shadow("root::1::::::\nx:y:"), "root::1::::::\n");
        assert_eq!(accounts.gshadow(""), "root:!*::\nadm:!*::a,b\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(users in proptest::collection::btree_map(
            "[a-z_][a-z0-9-]{0,8}", (any::<u32>(), any::<u32>(), "[^:\n\r]{0,9}"), 0..6)) {
            let mut accounts = Accounts::default();
            for (name, (uid, gid, gecos)) in users {
                let (home, shell) = ("/".to_owned(), "/bin/sh".to_owned());
                accounts.add_group(&name, gid);
                accounts.add_member("root", &name);
                accounts.add_user(User { name, uid, gid, gecos, home, shell });
            }
            let read = Accounts::parse(&accounts.passwd(), &accounts.group_file());
            prop_assert_eq!(read, accounts);
        }

        #[test]
        fn any_text_is_survived(text in "\\PC*") {
            let accounts = Accounts::parse(&text, &text);
            let _ = (accounts.shadow(&text), accounts.gshadow(&text));
        }
    }
}
