//! `supermin --prepare`.

use super::Voice;
use super::arguments::Arguments;
use crate::appliance::cache::{self, Scratch};
use crate::host::Host;
use crate::skeleton::from_packages::{self, Selection};
use crate::{Result, files};

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
        voice.say(1, &format!("changed on this system, so downloading {package} for:"));
        voice.list(1, paths.iter().map(|path| path.display()));
    }
    for note in configuration.download(host, arguments.packager_config.as_deref())? {
        voice.say(1, &note);
    }
    let members = &mut configuration.members;
    voice.say(1, &format!("there are {} config files", members.len()));
    voice.list(2, members.iter().map(|member| member.path.display()));

    let made = from_packages::skeleton(&selection, members, host)?;
    let out = &arguments.output;
    let scratch = Scratch::beside(out)?;
    for (name, content) in &made {
        voice.say(1, &format!("writing {}", out.join(name).display()));
        files::write(scratch.path().join(name), content)?;
    }
    cache::replace_directory(scratch.path(), out)?;
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
