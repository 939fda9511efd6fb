//! What keeps a shared appliance (`rehydrate: at-install`) up to date: scripts
//! that the package manager runs, and the paths that they make.
//!
//! Sources: deb-postinst(5), deb-postrm(5), deb-triggers(5), and RPM's manual,
//! <https://rpm-software-management.github.io/rpm/manual/file_triggers.html>.

use crate::appliance::shared;
use crate::family::Family;
use crate::{Result, templates};
use serde_json::json;

const POSTINST: &str = include_str!("../../templates/scriptlets/postinst.hbs");
const POSTRM: &str = include_str!("../../templates/scriptlets/postrm.hbs");
const TRIGGERS: &str = include_str!("../../templates/scriptlets/triggers.hbs");
const POSTTRANS: &str = include_str!("../../templates/scriptlets/posttrans.hbs");
const FILE_TRIGGER: &str = include_str!("../../templates/scriptlets/filetrigger.hbs");
const PREUN: &str = include_str!("../../templates/scriptlets/preun.hbs");

/// The path below which every file of every package lies.
pub const EVERYWHERE: &str = "/";

/// A script that the package manager runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scriptlet {
    /// When it is run.
    pub moment: Moment,
    /// Its text; a shell script, with a `#!` line for Debian and without for
    /// RPM.  [`Moment::Triggers`] is a list of triggers instead.
    pub text: String,
    /// Packages that have to be there when it is run.
    pub needs: &'static [&'static str],
}

/// When a [`Scriptlet`] is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// dpkg has unpacked the package, or another one has changed.
    Postinst,
    /// dpkg has removed the package's files.
    Postrm,
    /// No script: what dpkg runs `postinst triggered` for.
    Triggers,
    /// The end of the RPM transaction that installs the package.
    PostTrans,
    /// Before RPM removes the package, or an older version of it.
    PreUn,
    /// The end of an RPM transaction that installs a file below [`EVERYWHERE`].
    FileTriggerIn,
    /// The end of an RPM transaction that removes one.
    FileTriggerPostUn,
}

impl Moment {
    /// Its name: that of the file in `DEBIAN/` (and after `debian/PACKAGE.`),
    /// or the line that begins it in a spec file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postinst => "postinst",
            Self::Postrm => "postrm",
            Self::Triggers => "triggers",
            Self::PostTrans => "%posttrans",
            Self::PreUn => "%preun",
            Self::FileTriggerIn => "%transfiletriggerin -- /",
            Self::FileTriggerPostUn => "%transfiletriggerpostun -- /",
        }
    }
}

/// A path that the scripts make and RPM owns: as `%dir` or, if it may be missing,
/// as `%ghost %missingok`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePath {
    /// Absolute.
    pub path: String,
    /// Its permission bits.
    pub mode: u16,
    /// Whether it is a directory.
    pub directory: bool,
    /// Whether the scripts make it, and not RPM itself.
    pub ghost: bool,
}

/// The scripts that keep the shared appliance `name`, for `family`.
pub(super) fn scriptlets(name: &str, family: Family) -> Result<Vec<Scriptlet>> {
    let data = json!({ "name": name, "state": format!("{}/{name}", shared::DIRECTORY) });
    let script = |moment, file: &str, template, needs| {
        Ok(Scriptlet {
            moment,
            text: templates::render(file, template, &data)?,
            needs,
        })
    };
    if family == Family::Debian {
        return Ok(vec![
            script(Moment::Postinst, "postinst.hbs", POSTINST, &[])?,
            script(Moment::Postrm, "postrm.hbs", POSTRM, &[])?,
            script(Moment::Triggers, "triggers.hbs", TRIGGERS, &[])?,
        ]);
    }
    let trigger = |moment| script(moment, "filetrigger.hbs", FILE_TRIGGER, &[]);
    Ok(vec![
        script(Moment::PreUn, "preun.hbs", PREUN, &["findutils"])?,
        script(Moment::PostTrans, "posttrans.hbs", POSTTRANS, &[])?,
        trigger(Moment::FileTriggerIn)?,
        trigger(Moment::FileTriggerPostUn)?,
    ])
}

/// The paths of the shared appliance `name`, outermost first.
///
/// Not its lock: that only root may open it is an error to rpmlint.
pub(super) fn state(name: &str) -> Vec<StatePath> {
    let own = format!("{}/{name}", shared::DIRECTORY);
    let path = |path: String, mode, directory, ghost| StatePath {
        path,
        mode,
        directory,
        ghost,
    };
    let mut paths = vec![
        path(shared::DIRECTORY.into(), 0o755, true, false),
        path(own.clone(), 0o755, true, false),
        path(format!("{own}/appliance"), 0o755, true, true),
    ];
    for file in ["initrd", "kernel", "root", "stamp.json"] {
        paths.push(path(format!("{own}/appliance/{file}"), 0o644, false, true));
    }
    paths
}
