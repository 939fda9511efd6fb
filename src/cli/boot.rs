//! `freezedry boot`: an appliance, fresh from the cache, in a virtual machine.

mod background;
mod devices;
mod extras;
mod key;
mod log;
mod ssh;

use super::{COULD_NOT_BOOT, Status, describe, notice, print_error, rehydrate};
use crate::appliance::cache::{self, Slot};
use crate::appliance::shared::{self, Shared};
use crate::appliance::{self, Appliance, Freshness, Readers, Request, kernel};
use crate::boot::accelerator::{Accelerator, Choice, Memory};
use crate::boot::{self, Ending, Machine, Network, News, Task};
use crate::description::{self, Description, Init};
use crate::host::Host;
use crate::{Error, Result, skeleton};
use background::Background;
use extras::Extras;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Boot an appliance, rehydrating it first if that is needed
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: that of the guest's command (126 not executable, 127 not found, \
    128+N ended by signal N); 125 if the appliance could not be rehydrated or booted, or ssh failed; \
    129, 130, 143 after a closed terminal, Ctrl-C, kill: where something that lasts can be written to, \
    the guest shuts down first, and another signal does not wait for that."
)]
pub(super) struct Arguments {
    /// A skeleton (a directory) or a description (a YAML file)
    #[arg(value_name = "APPLIANCE", required_unless_present_any = ["list", "stop"])]
    appliance: Option<PathBuf>,
    /// The command to run in the guest, instead of the description's own
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// The name in the cache
    #[arg(long, overrides_with = "name")]
    name: Option<String>,
    /// Memory, with unit: 512M, 2G
    #[arg(long, value_parser = size, value_name = "SIZE", overrides_with = "memory")]
    memory: Option<u64>,
    /// Processors
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=255), value_name = "N", overrides_with = "cpus")]
    cpus: Option<u32>,
    /// The network: none, or qemu's user network
    #[arg(long, value_parser = ["none", "user"], overrides_with = "network")]
    network: Option<String>,
    /// Lead a port of this host to one of the guest; may be repeated
    #[arg(long = "port", value_parser = port, value_name = "HOST:GUEST")]
    ports: Vec<(u16, u16)>,
    /// What the appliance does by itself: run its command, or offer a console
    #[arg(long, value_parser = ["command", "console"], overrides_with = "init", hide = true)]
    init: Option<String>,
    /// Load this kernel module too; may be repeated
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// Put in all modules of the kernel
    #[arg(long)]
    all_modules: bool,
    /// What executes the guest's instructions
    #[arg(long, value_parser = ["auto", "kvm", "tcg"], default_value = "auto", overrides_with = "accel")]
    accel: String,
    /// Use the appliance that was made when the package was installed
    #[arg(long, hide = true)]
    shared: bool,
    /// Rehydrate even if the appliance in the cache is still good
    #[arg(long)]
    rebuild: bool,
    /// Print how long each step took
    #[arg(long)]
    timing: bool,
    /// Explain decisions
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    devices: devices::DeviceOptions,
    #[command(flatten)]
    background: background::BackgroundOptions,
}

fn size(text: &str) -> Result<u64, String> {
    let size = description::parse_size(text).filter(|size| *size >= 64 << 20);
    size.ok_or_else(|| "write a number with unit, at least 64M: 512M, 2G".into())
}

fn port(text: &str) -> Result<(u16, u16), String> {
    description::parse_port(text).ok_or_else(|| "write HOST:GUEST, for example 2222:22".into())
}

impl Arguments {
    fn choice(&self) -> Choice {
        match self.accel.as_str() {
            "kvm" => Choice::Only(Accelerator::Kvm),
            "tcg" => Choice::Only(Accelerator::Tcg),
            _ => Choice::Auto,
        }
    }

    /// What is to happen in an appliance that by itself runs a command or not.
    fn task(&self, runs_command: bool) -> Task {
        // With --ssh the command is for ssh.
        let words = if self.background.ssh {
            &[][..]
        } else {
            &self.command
        };
        if words.is_empty() && !runs_command {
            Task::Console
        } else {
            Task::Command(words.to_vec())
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    if let Some(status) = extras::concerns_others(arguments)? {
        return Ok(status);
    }
    let Some(entry) = &arguments.background.entry else {
        return boot(arguments, None);
    };
    let mut guest = Background::enter(entry, &arguments.background)?;
    let result = boot(arguments, Some(&mut guest));
    if let Err(error) = &result {
        print_error(error); // into the log; who has started it is told as well
    }
    result
}

fn boot(arguments: &Arguments, background: Option<&mut Background>) -> Result<Status> {
    let start = Instant::now();
    if let Some(name) = &arguments.name {
        description::check_name(name)?;
    }
    let devices = arguments.devices.devices()?;
    let host = Host::detect(Path::new("/"))?;
    // A skeleton that is made for this run only lives as long as it.
    let scratch = tempfile::tempdir()
        .map_err(|e| Error::io("cannot create a directory in", std::env::temp_dir(), e))?;
    let mut skeleton = arguments.appliance.clone().unwrap_or_default();
    let mut described = None;
    if !skeleton.is_dir() {
        let Some(description) = describe::load(&skeleton) else {
            return Ok(Status::External(COULD_NOT_BOOT));
        };
        skeleton = scratch.path().join("supermin.d");
        let prepared = skeleton::prepare(&skeleton::Request {
            description: &description,
            family: host.family(),
            host: Some(&host),
            download: None,
        })?;
        describe::explain(&prepared);
        skeleton::write(&prepared, &skeleton)?;
        described = Some(description);
    }
    let mut settings = Settings::new(arguments, described.as_ref());
    let boot = described.as_ref().map(|description| &description.boot);
    let kept = arguments.devices.kept(boot);
    devices::apart(&devices.shares, &kept)?;
    if settings.network.is_none() && !arguments.ports.is_empty() {
        notice("no port is led to the guest, since it has no network: add `--network user`");
    }
    if let Some(status) = extras::instead(arguments, &settings.name)? {
        return Ok(status);
    }
    let mut extras = Extras::new(arguments, &mut settings, boot, devices, kept, background)?;
    let request = request(&settings, skeleton.clone());
    // Nobody may replace the appliance before qemu has opened it.
    let (mut appliance, freshness, mut held) = appliance(arguments, &settings, skeleton, &host)?;
    if arguments.verbose && held.1.is_some() {
        notice("the shared appliance is what the installed packages are");
    } else {
        explain(&freshness, arguments.verbose);
    }
    let devices = extras.complete(&mut appliance, &request, &host, scratch.path())?;
    let rehydrated = start.elapsed();

    let machine = Machine {
        appliance,
        memory: settings.memory,
        cpus: settings.cpus,
        network: settings.network,
        devices,
    };
    let task = arguments.task(settings.runs_command);
    let outcome = boot::run(
        &machine,
        &task,
        arguments.choice(),
        &Memory::new(&cache::directory()),
        &mut |news| match news {
            News::Decision(text) => notice(text),
            News::Console(line) if arguments.verbose && task != Task::Console => {
                notice(&format!("guest: {line}"));
            }
            News::Console(_) => {}
            News::Running => held = (None, None),
            News::Up => extras.up(),
        },
    )?;
    if arguments.timing {
        timing(&freshness, rehydrated, &outcome);
    }
    Ok(Status::External(match outcome.ending {
        Ending::Exited(code) => code,
        Ending::PoweredOff => 0,
        Ending::Signal(number) => 128 + u8::try_from(number).unwrap_or(0),
    }))
}

/// Keeps an appliance as it is: one in the cache, or a shared one.
type Held = (Option<Slot>, Option<Shared>);

/// The appliance to boot: the shared one if there is one that is fresh, else
/// one from this user's cache.
fn appliance(
    arguments: &Arguments,
    settings: &Settings,
    skeleton: PathBuf,
    host: &Host,
) -> Result<(Appliance, Freshness, Held)> {
    let name = &settings.name;
    let cache = cache::directory();
    if arguments.shared
        && !arguments.rebuild
        && let Some(shared) = find_shared(settings, &skeleton, host, &cache)
    {
        return Ok((shared.appliance(), Freshness::Fresh, (None, Some(shared))));
    }
    let waiting = &mut |lock: &Path| {
        notice(&format!(
            "another process makes this appliance; waiting for `{}`",
            lock.display()
        ));
    };
    let slot = Slot::open(&cache, name, waiting)?;
    if arguments.rebuild {
        slot.clear(waiting)?;
    }
    let request = request(settings, skeleton);
    let (appliance, freshness) = appliance::ensure(&slot, &request, host, waiting)?;
    Ok((appliance, freshness, (Some(slot), None)))
}

/// What an appliance of this user is made of.
fn request(settings: &Settings, skeleton: PathBuf) -> Request {
    Request {
        modules: settings.modules.clone(),
        all_modules: settings.all_modules,
        kernel: rehydrate::kernel_request(),
        ..Request::new(vec![skeleton])
    }
}

/// The shared appliance, if it is what the installed packages are now;
/// otherwise says why it is not used, and the cure.
fn find_shared(settings: &Settings, skeleton: &Path, host: &Host, cache: &Path) -> Option<Shared> {
    let name = &settings.name;
    if rehydrate::kernel_request() != kernel::Request::default() {
        notice("SUPERMIN_KERNEL and its like are set, so the shared appliance is not used");
        return None;
    }
    let wanted = shared::Settings {
        modules: settings.modules.clone(),
        all_modules: settings.all_modules,
    };
    let request = shared::request(skeleton.to_owned(), wanted);
    let found = Shared::open(name);
    let reason = match &found {
        Some(shared) if shared.is_current(&request, host, cache, name) => return found,
        Some(_) => "is not what the installed packages are now",
        None => "is not there",
    };
    notice(&format!(
        "the shared appliance `{}/{name}` {reason}, so one of your own is used; \
         `sudo freezedry refresh {name}` renews the shared one",
        shared::DIRECTORY
    ));
    None
}

/// What the command line, else the description, else the default says.
struct Settings {
    name: String,
    memory: u64,
    cpus: u32,
    network: Option<Network>,
    runs_command: bool,
    modules: Vec<String>,
    all_modules: bool,
}

impl Settings {
    fn new(arguments: &Arguments, description: Option<&Description>) -> Self {
        let boot = description.map(|description| &description.boot);
        let networked = match arguments.network.as_deref() {
            Some(network) => network == "user",
            None => boot.is_some_and(|boot| boot.network) || !arguments.ports.is_empty(),
        };
        let described_ports = boot.map(|boot| boot.ports.clone()).unwrap_or_default();
        let ports = described_ports
            .into_iter()
            .chain(arguments.ports.iter().copied());
        let described_modules = boot.map(|boot| boot.modules.clone()).unwrap_or_default();
        let name = arguments
            .name
            .clone()
            .or_else(|| Some(description?.name.clone()))
            .unwrap_or_else(|| unnamed(arguments.appliance.as_deref().unwrap_or(Path::new(""))));
        Self {
            name,
            memory: arguments
                .memory
                .or(boot.map(|boot| boot.memory))
                .unwrap_or(512 << 20),
            cpus: arguments.cpus.or(boot.map(|boot| boot.cpus)).unwrap_or(1),
            network: networked.then(|| Network {
                restricted: false,
                ports: ports.collect(),
            }),
            runs_command: match arguments.init.as_deref() {
                Some(init) => init == "command",
                None => boot.is_some_and(|boot| matches!(boot.init, Init::Command(_))),
            },
            modules: described_modules
                .into_iter()
                .chain(arguments.modules.clone())
                .collect(),
            all_modules: arguments.all_modules || boot.is_some_and(|boot| boot.all_modules),
        }
    }
}

/// The name in the cache of the appliance at `path`; `None` if that is a
/// description with faults, which have been told.
fn name_of(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(unnamed(path));
    }
    describe::load(path).map(|description| description.name)
}

/// A name for a skeleton that has none: its path, as the name of a file that is
/// not hidden.
fn unnamed(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    path.display()
        .to_string()
        .replace('/', "-")
        .trim_matches(['-', '.'])
        .to_owned()
}

fn explain(freshness: &Freshness, verbose: bool) {
    match freshness {
        Freshness::Fresh if verbose => notice("the appliance in the cache is fresh"),
        Freshness::Unaffected if verbose => {
            notice("packages of this host have changed, but none that is in the appliance");
        }
        Freshness::Made {
            reason,
            rehydration,
        } => {
            if verbose {
                notice(&format!("rehydrated, because {reason}"));
                rehydrate::explain(rehydration, Readers::User);
            } else if !rehydration.report.missing.is_empty() {
                notice(&format!(
                    "{}: {}",
                    describe::absent(rehydration.report.plain),
                    rehydration.report.missing.join(", ")
                ));
            }
        }
        _ => {}
    }
}

fn timing(freshness: &Freshness, rehydrated: Duration, outcome: &boot::Outcome) {
    let first = match freshness {
        Freshness::Made { .. } => "rehydrate",
        _ => "check the cache",
    };
    let times = outcome.timings;
    let up = times.up.unwrap_or_default();
    let accelerator = match outcome.accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG",
    };
    let rows = [
        (first.to_owned(), rehydrated),
        (format!("kernel up to /init ({accelerator})"), up),
        (
            "run, until qemu has ended".to_owned(),
            times.ended.saturating_sub(up),
        ),
        ("all".to_owned(), rehydrated + times.ended),
    ];
    for (step, time) in rows {
        eprintln!("{step:<28} {:>7.2} s", time.as_secs_f64());
    }
}
