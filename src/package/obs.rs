//! Checkout directories of the Open Build Service: for its RPM distributions a
//! spec file with its changes, for its Debian ones a Debian source package.
//!
//! No `_service` is written: it would fetch or pack sources, and all that is
//! needed is there.  Sources: the OBS user guide, and obs-build.

use super::Named;
use super::rpm;
use super::source::Source;
use super::source_deb;
use super::spec::{self, Changelog};
use crate::family::Family;
use crate::{Result, timestamp};
use std::collections::BTreeSet;

/// The files of one checkout directory.
///
/// The first source is the package itself.  Each other becomes a flavour of it,
/// which OBS builds from the spec file of that name.
pub fn build(sources: &[Source<'_>]) -> Result<Vec<Named>> {
    let mut found = Vec::new();
    for source in sources {
        let name = &source.description.name;
        let spec = spec::render(source, Changelog::Apart)?;
        found.push((format!("{name}.spec"), spec.into_bytes()));
        found.push((format!("{name}.changes"), changes(source)?.into_bytes()));
        found.push((source.tarball_name(), source.tarball.clone()));
        found.extend(source_deb::build(source)?);
    }
    if let [_, flavours @ ..] = sources
        && !flavours.is_empty()
    {
        let lines = flavours
            .iter()
            .map(|source| format!("  <flavor>{}</flavor>\n", source.description.name));
        let text = format!("<multibuild>\n{}</multibuild>\n", lines.collect::<String>());
        found.push(("_multibuild".to_owned(), text.into_bytes()));
    }
    Ok(found)
}

/// Which of the files `there`, in a checkout directory that now holds `made`, are
/// of an earlier run and would be built beside it, or instead: the sources of
/// other versions, and all of appliances that `multibuild`, the earlier
/// `_multibuild`, has as flavours and that are no longer packaged.
///
/// `NAME.spec` says that there was an earlier run, and a `.dsc` of that name, which
/// tarballs are ours.
pub fn superseded(there: &[String], made: &[Named], multibuild: Option<&str>) -> Vec<String> {
    let made: BTreeSet<&str> = made.iter().map(|(name, _)| name.as_str()).collect();
    let packaged = made.iter().filter_map(|name| name.strip_suffix(".spec"));
    let mut names: BTreeSet<&str> = packaged.collect();
    names.retain(|name| there.contains(&format!("{name}.spec")));
    let mut old = BTreeSet::new();
    let flavours = multibuild
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| {
            let line = line.trim().strip_prefix("<flavor>")?;
            line.strip_suffix("</flavor>")
        });
    for flavour in flavours {
        let spec = format!("{flavour}.spec");
        if there.contains(&spec) && names.insert(flavour) {
            old.extend([spec, format!("{flavour}.changes")]);
        }
    }
    if multibuild.is_some() && !names.is_empty() {
        old.insert("_multibuild".to_owned());
    }
    for file in there {
        let stem = file.strip_suffix(".dsc").and_then(|stem| {
            let (name, full) = stem.split_once('_')?;
            names.contains(name).then_some((stem, name, full))
        });
        let Some((stem, name, full)) = stem else {
            continue;
        };
        let version = full.split_once('-').map_or(full, |(version, _)| version);
        old.extend([
            file.clone(),
            format!("{stem}.debian.tar.xz"),
            format!("{name}_{version}.orig.tar.xz"),
            format!("{name}-{version}.tar.xz"),
        ]);
    }
    old.retain(|file| there.contains(file) && !made.contains(file.as_str()));
    old.into_iter().collect()
}

/// The changelog in openSUSE's form, as `osc vc` writes it.
fn changes(source: &Source<'_>) -> Result<String> {
    let contents = source.contents(Family::Suse)?;
    let line = "-".repeat(67);
    let entries = rpm::changelog(&contents).into_iter();
    let entries = entries.map(|(title, text, time)| {
        let (year, month, day) = timestamp::date(time);
        let (weekday, month) = (timestamp::weekday(time), timestamp::MONTHS[month]);
        let clock = timestamp::clock(time);
        format!("{line}\n{weekday} {month} {day:>2} {clock} UTC {year} - {title}\n\n{text}\n\n")
    });
    Ok(entries.collect())
}
