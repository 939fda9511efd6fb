//! Giving up root, as `supermin-helper -u USER -g GROUP` does.
#![allow(unsafe_code)] // users and groups are only known to the C library

use crate::{Error, Result};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

/// Becomes `user` and `group`, each a name or a number, for good, without
/// supplementary groups; only root may.
pub(super) fn give_up(user: Option<&OsStr>, group: Option<&OsStr>) -> Result<()> {
    let user = user.map(|name| id(name, "user", user_id)).transpose()?;
    let group = group.map(|name| id(name, "group", group_id)).transpose()?;
    let done = |status: libc::c_int| match status {
        0 => Ok(()),
        _ => {
            let cause = std::io::Error::last_os_error();
            Err(Error::host("cannot change the user or the group").caused_by(cause))
        }
    };
    // SAFETY: no pointer but a null one, for a list of no groups.  The group
    // goes first: whoever is no longer root may not change it.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()))?;
        if let Some(group) = group {
            done(libc::setresgid(group, group, group))?;
        }
        if let Some(user) = user {
            done(libc::setresuid(user, user, user))?;
        }
    }
    Ok(())
}

fn id(name: &OsStr, what: &str, look_up: impl Fn(&CString) -> Option<u32>) -> Result<u32> {
    let number = name.to_str().and_then(|text| text.parse().ok());
    number
        .or_else(|| look_up(&CString::new(name.as_bytes()).ok()?))
        .ok_or_else(|| {
            Error::input(format!("there is no {what} `{}`", name.display()))
                .hint(format!("name a {what} of this system, or give a number"))
        })
}

fn user_id(name: &CString) -> Option<u32> {
    // SAFETY: the name ends with a NUL byte; no other thread calls this
    // function, so the static entry it points to stays as it is.
    unsafe { libc::getpwnam(name.as_ptr()).as_ref() }.map(|entry| entry.pw_uid)
}

fn group_id(name: &CString) -> Option<u32> {
    // SAFETY: as above.
    unsafe { libc::getgrnam(name.as_ptr()).as_ref() }.map(|entry| entry.gr_gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(id(OsStr::new("root"), "user", user_id).unwrap(), 0);
        assert_eq!(id(OsStr::new("root"), "group", group_id).unwrap(), 0);
        assert_eq!(id(OsStr::new("1234"), "user", user_id).unwrap(), 1234);
        let error = id(OsStr::new("no-such-user"), "user", user_id).unwrap_err();
        assert_eq!(error.to_string(), "there is no user `no-such-user`");
    }
}
