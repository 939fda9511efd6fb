//! Which units are enabled: what `systemctl preset-all` does when packages are
//! installed, as the links it would make.

use super::unit::{self, Name, Rule, Unit, Verdict};
use super::{link, snippets};
use crate::appliance::plan::Node;
use crate::appliance::tree::{Parents, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The units of one manager.
#[derive(Debug)]
pub(super) struct Units {
    /// `system` or `user`.
    manager: &'static str,
    /// By name: where the file lies, and what it says; `None` of a name that a
    /// link takes, be it another name of a unit or a mask.
    units: BTreeMap<String, Option<(PathBuf, Unit)>>,
}

impl Units {
    /// The units in the plan, each from the first directory that has it.
    pub(super) fn load<P: Parents>(tree: &Tree<P>, manager: &'static str) -> Self {
        let directories = [
            format!("/etc/systemd/{manager}"),
            format!("/usr/local/lib/systemd/{manager}"),
            format!("/usr/lib/systemd/{manager}"),
            // Where /usr is not merged.
            format!("/lib/systemd/{manager}"),
        ];
        let mut units = BTreeMap::new();
        for directory in &directories {
            for entry in tree.children(Path::new(directory)) {
                let name = entry.path.file_name().and_then(|name| name.to_str());
                let Some(name) = name.filter(|name| Name::parse(name).is_some()) else {
                    continue;
                };
                if units.contains_key(name) {
                    continue;
                }
                let unit = match entry.node {
                    Node::File(_) => tree.read(&entry.path).map(|bytes| {
                        let mut text = String::from_utf8_lossy(&bytes).into_owned();
                        for dropped_in in drop_ins(tree, &directories, name) {
                            text.push('\n');
                            text.push_str(&dropped_in);
                        }
                        (entry.path.clone(), unit::parse(&text))
                    }),
                    _ => None,
                };
                units.insert(name.to_owned(), unit);
            }
        }
        Self { manager, units }
    }

    /// The accounts that the units run as: users, then groups.
    pub(super) fn accounts(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let known = |name: &&String| !name.contains('%');
        let units = || self.units.values().flatten().map(|(_, unit)| unit);
        let users = units().flat_map(|unit| &unit.users).filter(known);
        let groups = units().flat_map(|unit| &unit.groups).filter(known);
        (
            users.map(String::as_str).collect(),
            groups.map(String::as_str).collect(),
        )
    }

    /// Puts in the links of all units that are to be enabled.
    ///
    /// The presets in the plan decide.  What they do not mention is enabled, as
    /// systemd has it, or if there is a `record` of what the maintainer scripts
    /// of the host enabled, when it is in there: Debian has no presets of its
    /// own, and leaves the choice to each package's scripts.
    pub(super) fn enable<P: Parents>(&self, tree: &mut Tree<P>, record: Option<&BTreeSet<String>>) {
        let presets = snippets(tree, &format!("systemd/{}-preset", self.manager), "preset");
        let rules: Vec<Rule> = presets
            .iter()
            .flat_map(|(_, text)| unit::rules(text))
            .collect();
        for (name, unit) in &self.units {
            let Some((_, unit)) = unit else { continue };
            if unit.install.is_empty() {
                continue;
            }
            let verdict = unit::verdict(&rules, name).unwrap_or_else(|| {
                if record.is_none_or(|record| record.contains(name)) {
                    Verdict::Enable(Vec::new())
                } else {
                    Verdict::Disable
                }
            });
            if let Verdict::Enable(instances) = verdict {
                self.enable_one(name, &instances, tree, &mut BTreeSet::new());
            }
        }
    }

    fn enable_one<P: Parents>(
        &self,
        name: &str,
        instances: &[String],
        tree: &mut Tree<P>,
        done: &mut BTreeSet<String>,
    ) {
        let (Some(Some((path, unit))), Some(parts)) = (self.units.get(name), Name::parse(name))
        else {
            return;
        };
        if !done.insert(name.to_owned()) {
            return;
        }
        let install = &unit.install;
        let base = Path::new("/etc/systemd").join(self.manager);
        for alias in &install.aliases {
            if let Some(alias) = parts.expand(alias).filter(|alias| *alias != *name) {
                link(tree, &base.join(alias), path);
            }
        }
        let default = install.default_instance.as_slice();
        let enabled: Vec<String> = match parts.is_template() {
            false => vec![name.to_owned()],
            true if instances.is_empty() => {
                default.iter().map(|one| parts.instantiate(one)).collect()
            }
            true => instances.iter().map(|one| parts.instantiate(one)).collect(),
        };
        for name in &enabled {
            let Some(parts) = Name::parse(name) else {
                continue;
            };
            for directory in &install.directories {
                if let Some(directory) = parts.expand(directory) {
                    link(tree, &base.join(directory).join(name), path);
                }
            }
        }
        for other in install.also.iter().filter_map(|other| parts.expand(other)) {
            self.enable_one(&other, &[], tree, done);
        }
    }
}

fn drop_ins<P: Parents>(tree: &Tree<P>, directories: &[String], name: &str) -> Vec<String> {
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    for directory in directories {
        for entry in tree.children(&Path::new(directory).join(format!("{name}.d"))) {
            let Some(file) = entry.path.file_name().map(PathBuf::from) else {
                continue;
            };
            if file
                .extension()
                .is_some_and(|extension| extension == "conf")
                && !found.contains_key(&file)
                && let Some(bytes) = tree.read(&entry.path)
            {
                found.insert(file, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
    found.into_values().collect()
}
