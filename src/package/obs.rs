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
