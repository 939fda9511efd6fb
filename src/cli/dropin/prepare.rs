//! `supermin --prepare`.

use super::arguments::Arguments;
use super::{Voice, warn};
use crate::appliance::cache::{self, Scratch};
use crate::family::Family;
use crate::host::{Host, Manager};
use crate::skeleton::from_packages::{self, Selection};
use crate::{Error, Result, files};
use std::os::unix::fs::PermissionsExt;

pub(super) fn run(arguments: &Arguments, host: &Host, voice: Voice) -> Result<()> {
    let names: Vec<String> = arguments
        .words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    voice.say(1, &format!("prepare: {}", names.join(" ")));
    let selection = from_packages::select(&names, host)?;
    explain(&selection, host, voice)?;

    let mut configuration =
        from_packages::configuration(&selection.closure, host, arguments.use_installed)?;
    for (&package, paths) in &configuration.changed {
        let package = &host.packages()?.packages()[package];
        voice.say(
            1,
            &format!("changed on this system, so downloading {package} for:"),
        );
        voice.list(1, paths.iter().map(|path| path.display()));
    }
    // As in supermin: apt and zypper have no use for it.
    let takes_config = match host.manager() {
        Manager::Rpm => host.family() != Family::Suse,
        manager => manager == Manager::Pacman,
    };
    let config = arguments
        .packager_config
        .as_deref()
        .filter(|_| takes_config);
    for note in configuration.download(host, config)? {
        voice.say(1, &note);
    }
    let members = &mut configuration.members;
    voice.say(1, &format!("there are {} config files", members.len()));
    voice.list(2, members.iter().map(|member| member.path.display()));

    let made = from_packages::skeleton(&selection, members, host)?;
    let out = &arguments.output;
    let scratch = Scratch::beside(out)?;
    let directory = scratch.directory()?;
    for (name, content) in &made {
        voice.say(1, &format!("writing {}", out.join(name).display()));
        files::write(directory.join(name), content)?;
    }
    if members.iter().any(|member| member.mode & 0o004 == 0) {
        // It holds what not everybody may read, and stays so.
        let path = directory.join("base.tar.gz");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
            .map_err(|e| Error::io("cannot set the mode of", &path, e))?;
        let secret = members.iter().filter(|member| member.mode & 0o004 == 0);
        let names: Vec<String> = secret
            .map(|member| member.path.display().to_string())
            .collect();
        warn(&format!(
            "only you may read base.tar.gz, because of what is in it: {}",
            names.join(", ")
        ));
    }
    cache::replace_directory(&directory, out)?;
    voice.say(
        1,
        &format!("renaming the finished directory to {}", out.display()),
    );
    Ok(())
}

fn explain(selection: &Selection, host: &Host, voice: Voice) -> Result<()> {
    let packages = host.packages()?.packages();
    voice.say(1, "packages specified on the command line:");
    voice.list(1, selection.named.iter().map(|&id| &packages[id]));
    if !selection.unknown.is_empty() {
        let unknown = selection.unknown.join(" ");
        voice.say(1, &format!("not installed here, so ignored: {unknown}"));
    }
    let count = selection.closure.len();
    voice.say(
        1,
        &format!("after resolving dependencies there are {count} packages:"),
    );
    voice.list(1, selection.closure.iter().map(|&id| &packages[id]));
    Ok(())
}
