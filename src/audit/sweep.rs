//! The rest of the appliance: what nothing that is run leads to, but somebody
//! may start.

use super::cure::Cures;
use super::inside::{Inside, Lookup, PATH, is_file};
use super::walk::{Cause, Walk};
use super::{Finding, Kind, Place, Severity, Subject, Wanted};
use crate::Result;
use crate::appliance::plan::{Node, Origin, Plan};
use crate::description::Init;
use std::path::Path;

/// Looks at every library and every command; at scripts only if somebody may
/// call any of them (where a command runs, it has been followed already), and
/// only at those of packages that the description names: others come along
/// with scripts for occasions that no appliance has.
pub(super) fn everything<'a>(walk: &mut Walk<'a>, subject: &Subject<'a>) {
    let description = subject.description;
    let named = description.packages.for_family(subject.host.family());
    let interactive = !matches!(description.boot.init, Init::Command(_));
    let cause = Cause::of_the_sweep();
    for entry in subject.plan.entries.iter().filter(|entry| is_file(entry)) {
        let name = entry.path.file_name().unwrap_or_default();
        let library = name
            .as_encoded_bytes()
            .windows(3)
            .any(|part| part == b".so");
        let command = entry.mode & 0o111 != 0 && entry.path.parent().is_some_and(is_for_commands);
        if !library && !command {
            continue;
        }
        let wanted = match &entry.origin {
            Origin::Package(name) => interactive && named.contains(&&**name),
            _ => true,
        };
        if wanted || !walk.is_script(entry) {
            walk.program(entry, &cause);
            walk.forget_scripts();
        }
    }
}

fn is_for_commands(directory: &Path) -> bool {
    PATH.iter().any(|path| directory == Path::new(path))
}

/// Symlinks that lead nowhere: those of the description, and those that are
/// commands.  Others lie in every distribution by the dozen.
pub(super) fn links(inside: &Inside<'_>, plan: &Plan, cures: &Cures<'_>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for entry in &plan.entries {
        let Node::Symlink(target) = &entry.node else {
            continue;
        };
        let own = matches!(entry.origin, Origin::BaseImage(_));
        if !own && !entry.path.parent().is_some_and(is_for_commands) {
            continue;
        }
        if let Lookup::Missing(missing) = inside.look(&entry.path) {
            let wanted = Wanted::new(entry);
            findings.push(Finding {
                severity: Severity::Warning,
                kind: Kind::Link,
                place: if own {
                    Place::File(entry.path.clone())
                } else {
                    Place::Packages
                },
                title: format!(
                    "the symlink `{}` of `{}` leads nowhere: to `{}`",
                    entry.path.display(),
                    wanted.owner,
                    target.display()
                ),
                help: cures.path_or(&missing, || "correct it, or add what it leads to".into())?,
                missing: missing.display().to_string(),
                wanted_by: vec![wanted],
            });
        }
    }
    Ok(findings)
}
