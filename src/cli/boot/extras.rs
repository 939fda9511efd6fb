//! What one boot has beyond the appliance: devices, data that are kept, an entry
//! among the guests in the background.

use super::background::{self, Background};
use super::{Arguments, Settings, devices, key, ssh};
use crate::appliance::modules::Index;
use crate::appliance::plan::Plan;
use crate::appliance::{self, Appliance, Request, cache, initrd, kernel};
use crate::boot::registry::Registry;
use crate::boot::storage::{self, Storage};
use crate::boot::{Devices, Network, Screen};
use crate::cli::{COULD_NOT_BOOT, Status, notice};
use crate::description::Boot;
use crate::host::Host;
use crate::{Error, Result, files};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Deals with options that concern other guests, if there is one.
pub(super) fn concerns_others(arguments: &Arguments) -> Result<Option<Status>> {
    if arguments.background.list {
        let registry = Registry::of_user(&cache::directory())?;
        background::list(&registry, arguments.background.json)?;
        return Ok(Some(Status::Success));
    }
    let Some(text) = &arguments.background.stop else {
        return Ok(None);
    };
    let registry = Registry::of_user(&cache::directory())?;
    let given = Some(text).filter(|text| !text.is_empty());
    // boot-NAME says its name anyway.
    let named = given.or(arguments.name.as_ref());
    let name = match (named, &arguments.appliance) {
        (Some(name), _) if registry.find(name).is_some() || !Path::new(name).exists() => {
            Some(name.clone())
        }
        (Some(path), _) => super::name_of(Path::new(path)),
        (None, Some(path)) => super::name_of(path),
        (None, None) => {
            return Err(
                Error::input("`--stop` does not say which guest").hint("write `--stop NAME`")
            );
        }
    };
    let Some(name) = name else {
        return Ok(Some(Status::External(COULD_NOT_BOOT)));
    };
    background::stop(&registry, &name)?;
    Ok(Some(Status::Success))
}

/// Deals with options that have no guest run by this process, if there is one.
pub(super) fn instead(arguments: &Arguments, name: &str) -> Result<Option<Status>> {
    if arguments.devices.reset {
        devices::reset(name)?;
        return Ok(Some(Status::Success));
    }
    let background = &arguments.background;
    if background.entry.is_some() {
        return Ok(None);
    }
    if !background.detach && !background.ssh {
        return Ok(None);
    }
    let registry = Registry::of_user(&cache::directory())?;
    if background.detach {
        background::detach(&registry, name).map(Some)
    } else {
        ssh::run(&registry, name, &arguments.command).map(Some)
    }
}

/// What one boot has beyond the appliance.
pub(super) struct Extras<'a> {
    devices: Devices,
    /// Directories that are kept, and the right to them.
    kept: Vec<String>,
    storage: Option<Storage>,
    background: Option<&'a mut Background>,
    /// Modules that are of use if the kernel has them.
    wished: Vec<&'static str>,
    /// Modules that are in the appliance already.
    present: Vec<String>,
}

impl<'a> Extras<'a> {
    /// Collects them; `settings` gets the ports that they need.
    pub(super) fn new(
        arguments: &Arguments,
        settings: &mut Settings,
        described: Option<&Boot>,
        mut devices: Devices,
        kept: Vec<String>,
        mut background: Option<&'a mut Background>,
    ) -> Result<Self> {
        let mut wished = Vec::new();
        if let Some(guest) = &mut background {
            let mut login = None;
            if arguments.background.ssh {
                devices.authorized_key = Some(key::public_key()?);
                // For us alone, where the appliance has no network.
                let network = settings.network.get_or_insert(Network {
                    restricted: true,
                    ports: Vec::new(),
                });
                let ports = &mut network.ports;
                if !ports.iter().any(|(_, guest)| *guest == 22) {
                    ports.push((ssh::free_port()?, 22));
                }
                let port = ports.iter().find(|(_, guest)| *guest == 22);
                login = port.map(|(host, _)| *host);
            }
            let network = settings.network.as_ref();
            let ports = network.map(|network| &network.ports[..]);
            let ports = ports.unwrap_or_default();
            guest.connected(ports, login)?;
            devices.monitor = guest.monitor()?;
        }
        devices.orderly = arguments.background.detach
            || !kept.is_empty()
            || devices.disks.iter().any(|disk| !disk.read_only)
            || devices.shares.iter().any(|share| share.writable);
        if devices.orderly {
            wished.extend(background::BUTTON);
        }
        let graphical = described.is_some_and(|boot| boot.graphical);
        devices.screen = arguments.devices.screen(graphical)?;
        if devices.screen.is_some() {
            wished.extend(Screen::modules());
        }
        let storage = if kept.is_empty() {
            None
        } else {
            Some(Storage::open(&storage::directory()?, &settings.name)?)
        };
        Ok(Self {
            devices,
            kept,
            storage,
            background,
            wished,
            present: settings.modules.clone(),
        })
    }

    /// The devices, for `appliance` that was made as `request` says.  Modules that
    /// only this boot needs go into an initrd of its own in `scratch`, so that
    /// the appliance in the cache stays as it is.
    pub(super) fn complete(
        &mut self,
        appliance: &mut Appliance,
        request: &Request,
        host: &Host,
        scratch: &Path,
    ) -> Result<Devices> {
        if let Some(storage) = &self.storage {
            let plan = || Ok(appliance::explain(request, host)?.0);
            self.devices.kept = storage.keep(&self.kept, plan, &mut notice)?;
        }
        if self.devices.authorized_key.is_some() && !has_sshd(&appliance::explain(request, host)?.0)
        {
            return Err(Error::input("the appliance has no sshd")
                .hint("add openssh-server to its packages, and start it at boot"));
        }
        let modules = self.modules(host, request)?;
        if !modules.is_empty() {
            let mut bytes = files::read(&appliance.initrd)?;
            bytes.extend(initrd::more(&modules)?);
            appliance.initrd = scratch.join("initrd");
            files::write(&appliance.initrd, bytes)?;
        }
        Ok(std::mem::take(&mut self.devices))
    }

    /// Files of modules that the devices need and the appliance does not have, in
    /// the order of loading.  Fails if the kernel cannot have one.
    fn modules(&self, host: &Host, request: &Request) -> Result<Vec<PathBuf>> {
        let shares = !self.devices.shares.is_empty();
        if !shares && self.wished.is_empty() {
            return Ok(Vec::new());
        }
        let kernel = kernel::choose(host.root(), &request.kernel)?.kernel;
        let index = Index::load(&kernel.modules)?;
        let present = self.present.iter().map(String::as_str);
        let present: Vec<&str> = request.drivers.iter().copied().chain(present).collect();
        let present = index.closure(&present)?.files;
        let mut wanted = self.wished.clone();
        if shares {
            let transport = &self.devices.transport;
            let needed = transport.modules();
            if let Some(module) = index.closure(needed)?.missing.first() {
                return Err(transport.lacking(&kernel.version, module));
            }
            wanted.extend(needed);
        }
        let mut files = index.closure(&wanted)?.files;
        files.retain(|file| !present.contains(file));
        Ok(files)
    }

    /// The guest is up.
    pub(super) fn up(&mut self) {
        if let Some(guest) = &mut self.background {
            guest.up();
        }
    }
}

/// Whether `plan` has a server of ssh under one of its names.
fn has_sshd(plan: &Plan) -> bool {
    plan.entries.iter().any(|entry| {
        let name = entry.path.file_name().unwrap_or_default().as_bytes();
        [&b"sshd"[..], b"tinysshd", b"dropbear"].contains(&name)
    })
}
