//! What an appliance needs to be booted by us: its `/init` and a few packages.

use crate::description::{Description, Init};
use crate::family::Family;
use crate::{Result, templates};
use serde_json::json;

const INIT: &str = include_str!("../../templates/init.sh.hbs");

/// Packages that `/init` runs on: a shell, coreutils, and mount.
///
/// On Debian nothing depends on them because they are essential.
pub fn packages(family: Family) -> &'static [&'static str] {
    match family {
        Family::Debian => &["coreutils", "dash", "mount"],
        Family::Fedora | Family::Suse | Family::Arch | Family::Alpine => {
            &["bash", "coreutils", "util-linux"]
        }
        Family::Other => &[],
    }
}

/// The text of `/init`.
pub(super) fn init(description: &Description) -> Result<String> {
    let command = match &description.boot.init {
        Init::Command(line) => line.as_str(),
        Init::Shell | Init::Systemd => "",
    };
    let data = json!({
        "name": description.name,
        "command": command,
        "systemd": description.boot.init == Init::Systemd,
    });
    templates::render("init.sh.hbs", INIT, &data)
}
