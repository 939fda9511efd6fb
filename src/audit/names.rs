//! Names of packages: those that this host does not know, and what may be meant;
//! and the appliance's own, if another package has it.

use super::{Finding, Kind, Place, Severity, Subject};
use crate::Result;
use crate::appliance::shared;
use crate::family::Family;
use std::path::Path;

/// A finding if the appliance is called as a package that is installed here and
/// is no appliance: each would be taken for an upgrade of the other.
pub(super) fn taken(subject: &Subject<'_>) -> Result<Option<Finding>> {
    let name = &subject.description.name;
    let database = subject.host.packages()?;
    let Some(id) = database.find(name) else {
        return Ok(None);
    };
    let own = Path::new(shared::SKELETONS).join(name);
    if database.files(&[id])?.iter().any(|file| file.path == own) {
        return Ok(None);
    }
    let family = subject.host.family();
    Ok(Some(Finding {
        severity: Severity::Warning,
        kind: Kind::Name,
        place: Place::Name,
        title: format!("`name`: this {family} host has another package called `{name}`"),
        help: format!(
            "choose another name, such as `{name}-appliance`: to package managers one would be an upgrade of the other"
        ),
        missing: String::new(),
        wanted_by: Vec::new(),
    }))
}

/// A finding for each package that is not installed here.
pub(super) fn unknown(subject: &Subject<'_>) -> Result<Vec<Finding>> {
    let database = subject.host.packages()?;
    let family = subject.host.family();
    let installed: Vec<&str> = database
        .packages()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let finding = |name: &String| {
        let mut provided: Vec<&str> = database
            .known_as(name)
            .into_iter()
            .map(|id| installed[id])
            .collect();
        provided.sort_unstable();
        provided.dedup();
        let quoted = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(" or ")
        };
        let help = if !provided.is_empty() {
            format!("it is another name here: write {}", quoted(&provided))
        } else if let Some(near) = nearest(name, &installed) {
            format!(
                "did you mean `{near}`?  Otherwise install it, to have it checked: {}",
                install(family, name)
            )
        } else {
            format!(
                "install it, to have it checked: {}; or correct the name, or put it under the family that has it",
                install(family, name)
            )
        };
        Finding {
            severity: Severity::Warning,
            kind: Kind::Package,
            place: Place::Package(name.clone()),
            title: format!("`packages`: `{name}` is not installed on this {family} host"),
            help,
            missing: name.clone(),
            wanted_by: Vec::new(),
        }
    };
    Ok(subject.report.missing.iter().map(finding).collect())
}

/// The command that installs `name`.
fn install(family: Family, name: &str) -> String {
    let command = match family {
        Family::Debian => "apt install",
        Family::Fedora => "dnf install",
        Family::Suse => "zypper install",
        Family::Arch => "pacman -S",
        Family::Alpine => "apk add",
        Family::Other => return format!("{name}, with this system's own means"),
    };
    format!("{command} {name}")
}

/// The installed package that `name` is probably another spelling of: a slip,
/// or the habit of another family (`NetworkManager`, `openssh-clients`).
fn nearest<'a>(name: &str, installed: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    let wanted = plain(name);
    let distance = |other: &str| strsim::damerau_levenshtein(&wanted, &plain(other));
    let near = installed
        .iter()
        .min_by_key(|other| (distance(other), other.len()))?;
    // Names are short and many: only a quarter of one may be wrong.
    (distance(near) <= wanted.len() / 4).then_some(*near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_spellings_are_found() {
        let installed = [
            "bash",
            "coreutils",
            "network-manager",
            "openssh-client",
            "python3",
            "sed",
        ];
        for (name, expected) in [
            ("corutils", Some("coreutils")),
            ("NetworkManager", Some("network-manager")),
            ("openssh-clients", Some("openssh-client")),
            ("zsh", None),
            ("nginx", None),
        ] {
            assert_eq!(nearest(name, &installed), expected, "{name}");
        }
    }
}
