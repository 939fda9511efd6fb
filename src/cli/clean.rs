//! `freezedry clean`: removes cached appliances.

use super::{Status, notice};
use crate::Result;
use crate::appliance::cache::{self, Slot};
use std::path::Path;

/// Remove cached appliances; they are rehydrated anew at the next boot
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Appliances to remove; all of them if none is named
    names: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let directory = cache::directory();
    let there = cache::names(&directory);
    let names = match &arguments.names[..] {
        [] => there,
        names => {
            if let Some(name) = names.iter().find(|name| !there.contains(name)) {
                return Err(crate::Error::input(format!(
                    "there is no cached appliance `{name}` in `{}`",
                    directory.display()
                )));
            }
            names.to_vec()
        }
    };
    for name in names {
        let waiting = &mut |lock: &Path| {
            notice(&format!("waiting for the lock `{}`", lock.display()));
        };
        Slot::open(&directory, &name, waiting)?.clear(waiting)?;
    }
    Ok(Status::Success)
}
