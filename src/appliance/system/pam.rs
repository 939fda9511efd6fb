//! Debian's `/etc/pam.d/common-*`, which pam-auth-update(8) makes out of the
//! profiles in `/usr/share/pam-configs` when a package is installed.

use super::file;
use crate::appliance::tree::{Parents, Tree};
use std::collections::BTreeMap;
use std::path::Path;

/// The files, and which fields of a profile go into each.
const FILES: [(&str, &str); 5] = [
    ("common-account", "Account"),
    ("common-auth", "Auth"),
    ("common-password", "Password"),
    ("common-session", "Session"),
    ("common-session-noninteractive", "Session"),
];

/// A profile: its fields, by name.
type Profile = BTreeMap<String, String>;

/// Puts in those of the files that are not there, for the profiles in the plan
/// that are on by default.
pub(super) fn apply<P: Parents>(tree: &mut Tree<P>) {
    let mut profiles: Vec<Profile> = tree
        .children(Path::new("/usr/share/pam-configs"))
        .into_iter()
        .filter_map(|entry| tree.read(&entry.path))
        .map(|bytes| parse(&String::from_utf8_lossy(&bytes)))
        .filter(|profile| profile.get("Default").is_some_and(|value| value == "yes"))
        .collect();
    let priority = |profile: &Profile| profile.get("Priority")?.parse::<i64>().ok();
    profiles.sort_by_key(|profile| std::cmp::Reverse(priority(profile)));
    for (name, kind) in FILES {
        let template = Path::new("/usr/share/pam").join(name);
        if let Some(template) = tree.read(&template) {
            let text = fill(&String::from_utf8_lossy(&template), name, kind, &profiles);
            file(
                tree,
                &Path::new("/etc/pam.d").join(name),
                0o644,
                text.into_bytes(),
            );
        }
    }
}

/// The fields of a profile: `Name: value`, or lines that begin with a blank.
fn parse(text: &str) -> Profile {
    let mut fields = Profile::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(more) = line.strip_prefix([' ', '\t']) {
            let field = fields.entry(current.clone()).or_default();
            field.push_str(more.trim());
            field.push('\n');
        } else if let Some((name, value)) = line.split_once(':') {
            name.trim().clone_into(&mut current);
            fields.insert(current.clone(), value.trim().to_owned());
        }
    }
    fields
}

/// The template with the modules of the profiles, of which the primary ones
/// come first and skip the rest of their block when they succeed.
fn fill(template: &str, file: &str, kind: &str, profiles: &[Profile]) -> String {
    let keyword = kind.to_lowercase();
    let block = |wanted: &str| -> Vec<&Profile> {
        let fits = |profile: &&Profile| {
            let interactive_only = profile
                .get(&format!("{kind}-Interactive-Only"))
                .is_some_and(|value| value == "yes");
            profile
                .get(&format!("{kind}-Type"))
                .is_some_and(|value| value == wanted)
                && !(interactive_only && file.ends_with("-noninteractive"))
        };
        profiles.iter().filter(fits).collect()
    };
    let modules = |wanted: &str| -> String {
        let mut lines: Vec<&str> = Vec::new();
        for (at, profile) in block(wanted).into_iter().enumerate() {
            // Who comes first asks for the password, the others take it over.
            let initial = profile.get(&format!("{kind}-Initial")).filter(|_| at == 0);
            let field = initial.or_else(|| profile.get(kind));
            lines.extend(field.into_iter().flat_map(|field| field.lines()));
        }
        let count = lines.len();
        let line = |(at, line): (usize, &str)| {
            // Over the modules that follow, and over the one that denies.
            let end = format!("={}", count - at);
            let line = match line.split_once(']') {
                Some((control, rest)) => format!("{}]{rest}", control.replace("=end", &end)),
                None => line.to_owned(),
            };
            format!("{keyword}\t{line}\n")
        };
        lines.into_iter().enumerate().map(line).collect()
    };
    let mut text = String::new();
    for line in template.lines() {
        // `$auth_primary`, `$session_nonint_additional`, ...
        let placeholder = line
            .strip_prefix('$')
            .and_then(|name| name.rsplit_once('_'));
        match placeholder.map(|(_, block)| block) {
            Some("primary") if block("Primary").is_empty() => {
                // Else nothing could ever succeed.
                text.push_str(&format!("{keyword}\t[default=1]\t\t\tpam_permit.so\n"));
            }
            Some("primary") => text.push_str(&modules("Primary")),
            Some("additional") => text.push_str(&modules("Additional")),
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNIX: &str = "Name: Unix\nDefault: yes\nAuth-Type: Primary\nAuth:\n\
        \t[success=end default=ignore]\tpam_unix.so try_first_pass\nAuth-Initial:\n\
        \t[success=end default=ignore]\tpam_unix.so nullok\n";

    #[test]
    fn primary_modules_jump_over_the_one_that_denies() {
        let profiles = [parse(UNIX), parse(&UNIX.replace("pam_unix", "pam_ldap"))];
        let template = "# x\n$auth_primary\nauth\trequisite\tpam_deny.so\n$auth_additional\n";
        assert_eq!(
            fill(template, "common-auth", "Auth", &profiles),
            "# x\nauth\t[success=2 default=ignore]\tpam_unix.so nullok\n\
             auth\t[success=1 default=ignore]\tpam_ldap.so try_first_pass\n\
             auth\trequisite\tpam_deny.so\n"
        );
        assert_eq!(
            fill(template, "common-auth", "Auth", &[]),
            "# x\nauth\t[default=1]\t\t\tpam_permit.so\nauth\trequisite\tpam_deny.so\n"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC*(\n\t?\\PC*){0,6}") {
            fill(&text, "common-auth", "Auth", &[parse(&text), parse(UNIX)]);
        }
    }
}
