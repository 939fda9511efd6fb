//! Running qemu, and carrying bytes between the guest and the user.

use super::accelerator::{Accelerator, Choice, Memory};
use super::console::{ESCAPE, Log, RawTerminal};
use super::disk::locked;
use super::machine::{Descriptors, Machine, find_qemu};
use super::outcome::{Ending, News, Outcome, Task, Timings};
use super::qmp::Wire;
use super::relay::{owned, pass_on, relay, show, speak, token};
use super::share::Carriers;
use super::token::Filter;
use crate::{Error, Result, command, error::Kind};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// The line on the console with which the appliance's `/init` begins.
pub(super) const UP: &str = "freezedry: the appliance is up";

/// A guest that says nothing for so long under KVM hangs: where KVM works the
/// first message comes within a quarter of a second.
const FIRST_BYTE: Duration = Duration::from_millis(2500);
/// A guest whose `/init` has not begun after this time never will.
const COMING_UP: Duration = Duration::from_secs(180);
/// When qemu has ended, what it wrote before is still in its sockets; the
/// threads that read them need no longer than this to notice.
const AFTERLIFE: Duration = Duration::from_secs(2);
/// Time for a guest to shut down after its power button was pressed.
pub const SHUTDOWN: Duration = Duration::from_secs(30);
/// Between two presses: a guest that has just come up may miss the first.  A
/// signal so soon after another is the same one: at the end of a session
/// systemd sends two.
const PRESS: Duration = Duration::from_secs(1);

/// Boots `machine`, does `task` in it, and returns when it has ended.
///
/// Standard input, output and error of this process are those of the guest's
/// command, or the first two its console.  `told` gets the news.  qemu ends with
/// this process, however that ends.  A signal ends both; where the devices are
/// to be orderly the first one has the guest shut down, and another does not wait
/// for it.  A thread that waits for the user's input may be left behind.
pub fn run(
    machine: &Machine,
    task: &Task,
    choice: Choice,
    memory: &Memory,
    told: &mut dyn FnMut(News<'_>),
) -> Result<Outcome> {
    let accelerator = match choice {
        Choice::Only(accelerator) => accelerator,
        Choice::Auto => match memory.verdict() {
            Ok(()) => Accelerator::Kvm,
            Err(reason) => {
                told(News::Decision(&format!("not using KVM: {reason}")));
                Accelerator::Tcg
            }
        },
    };
    let mut session = Session::start(machine, task, accelerator)?;
    let reason = match session.attend(told)? {
        End::Over(ending) => return Ok(session.outcome(ending)),
        End::NoKvm(reason) => reason,
    };
    // Nothing of the user's input has been read yet.
    drop(session);
    if choice != Choice::Auto {
        return Err(Error::host(format!("KVM does not work here: {reason}"))
            .hint("use `--accel auto` or `--accel tcg`"));
    }
    memory.learn(&reason);
    told(News::Decision(&format!(
        "not using KVM: {reason}; starting again without"
    )));
    let mut session = Session::start(machine, task, Accelerator::Tcg)?;
    match session.attend(told)? {
        End::Over(ending) => Ok(session.outcome(ending)),
        End::NoKvm(reason) => Err(Error::new(Kind::System, reason)),
    }
}

/// What a session comes to.
enum End {
    /// It is over.
    Over(Ending),
    /// The guest never came to life under KVM, for this reason.
    NoKvm(String),
}

/// What the threads tell.
pub(super) enum Event {
    Console(Vec<u8>),
    /// The whole output of this stream has been passed on.
    Drained,
    /// A stream ended before its end mark came.
    Lost,
    Exit(u8),
    /// qemu ended; what it said on its standard error.
    Ended(String),
    Signal(i32),
    /// The user does not read any more.
    Broken,
    /// A disk of the guest fails on the host; what and why.
    Failing(String),
}

struct Session {
    qemu: Child,
    accelerator: Accelerator,
    started: Instant,
    timings: Timings,
    events: Receiver<Event>,
    console: UnixStream,
    /// The threads' end of `events`, and the port for the user's input, until
    /// they are needed.
    sender: Sender<Event>,
    input: Option<UnixStream>,
    interactive: bool,
    terminal: Option<RawTerminal>,
    log: Log,
    signals: signal_hook::iterator::Handle,
    carriers: Carriers,
    monitor: Wire,
    orderly: bool,
    /// Streams of the guest's command of which more may come.
    open: usize,
}

impl Session {
    fn start(machine: &Machine, task: &Task, accelerator: Accelerator) -> Result<Self> {
        let cannot = |e| Error::io("cannot make", "a socket", e);
        let (console, console_qemu) = UnixStream::pair().map_err(cannot)?;
        let mut ours = Vec::new();
        let (monitor, monitor_qemu) = UnixStream::pair().map_err(cannot)?;
        let mut theirs = vec![console_qemu];
        let mut parameters = Vec::new();
        let token = token()?;
        let interactive = *task == Task::Console;
        let terminal = interactive
            .then(|| RawTerminal::enter(std::io::stdin()))
            .flatten();
        if let Some((columns, rows)) = terminal.as_ref().and_then(RawTerminal::size) {
            parameters.push(format!("freezedry.size={columns}x{rows}"));
        }
        if !interactive {
            for _ in 0..4 {
                let (our, their) = UnixStream::pair().map_err(cannot)?;
                ours.push(our);
                theirs.push(their);
            }
            parameters.push(format!("freezedry.session={token}"));
        }
        let mut numbers: Vec<i32> = theirs.iter().map(AsRawFd::as_raw_fd).collect();
        let descriptors = Descriptors {
            console: numbers[0],
            ports: numbers[1..].try_into().ok(),
        };
        let devices = &machine.devices;
        let carriers = Carriers::start(&devices.transport, &devices.shares)?;
        parameters.extend(devices.parameters());
        let mut arguments = machine.arguments(accelerator, descriptors, &parameters)?;
        arguments.extend(devices.arguments(&carriers, machine.memory));
        arguments.extend(Wire::arguments(monitor_qemu.as_raw_fd()).map(OsString::from));
        numbers.push(monitor_qemu.as_raw_fd());
        let (sender, events) = channel();
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])
            .map_err(|e| Error::io("cannot wait for", "signals", e))?;
        let handle = signals.handle();
        let mut qemu = spawn(&arguments, numbers, devices.orderly)?;
        drop((theirs, monitor_qemu));
        let send = sender.clone();
        let monitor = Wire::attach(monitor, move |trouble| {
            send.send(Event::Failing(trouble)).is_ok()
        })?;

        let send = sender.clone();
        std::thread::spawn(move || {
            signals
                .forever()
                .try_for_each(|n| send.send(Event::Signal(n)))
        });
        if let Some(mut stderr) = qemu.stderr.take() {
            let send = sender.clone();
            std::thread::spawn(move || {
                let mut said = Vec::new();
                let _ = stderr.read_to_end(&mut said); // what came is what there is
                send.send(Event::Ended(
                    String::from_utf8_lossy(&said).trim().to_owned(),
                ))
            });
        }
        let from = console.try_clone().map_err(cannot)?;
        let send = sender.clone();
        std::thread::spawn(move || {
            relay(from, |bytes| {
                send.send(Event::Console(bytes.to_vec())).is_ok()
            });
        });

        let mut ours = ours.into_iter();
        let mut input = None;
        if let (Task::Command(words), Some(control)) = (task, ours.next()) {
            speak(control, words, &token, sender.clone())?;
            input = ours.next();
            let stdout = owned(std::io::stdout())?;
            let stderr = owned(std::io::stderr())?;
            for (from, to) in ours.zip([stdout, stderr]) {
                pass_on(from, to, Filter::new(&token), sender.clone());
            }
        }
        Ok(Self {
            qemu,
            accelerator,
            started: Instant::now(),
            timings: Timings::default(),
            events,
            console,
            sender,
            input,
            interactive,
            terminal,
            log: Log::default(),
            signals: handle,
            carriers,
            monitor,
            orderly: devices.orderly,
            open: if interactive { 0 } else { 2 },
        })
    }

    /// Waits until it is over.
    fn attend(&mut self, told: &mut dyn FnMut(News<'_>)) -> Result<End> {
        let (mut drained, mut exit, mut ended) = (0, None, None);
        loop {
            if let Some(code) = exit
                && drained == 2
            {
                return Ok(End::Over(Ending::Exited(code)));
            }
            let deadline = match (&ended, exit) {
                // The user may read as slowly as he likes.
                (_, Some(_)) => None,
                (Some((_, at)), None) => Some(*at + AFTERLIFE),
                (None, None) => self.next_deadline(),
            };
            let event = match deadline {
                None => self.events.recv().ok(),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    self.events.recv_timeout(left).ok()
                }
            };
            match event {
                Some(Event::Console(bytes)) => {
                    if let Err(error) = self.console(&bytes, told) {
                        return self.wind_up(Err(error), told);
                    }
                }
                Some(Event::Drained) => {
                    drained += 1;
                    self.open -= 1;
                }
                Some(Event::Exit(code)) => exit = Some(code),
                Some(Event::Signal(number)) => {
                    return self.wind_up(Ok(Ending::Signal(number)), told);
                }
                Some(Event::Broken) => {
                    return self.wind_up(Ok(Ending::Signal(libc::SIGPIPE)), told);
                }
                Some(Event::Failing(trouble)) => told(News::Decision(&trouble)),
                Some(Event::Ended(said)) if self.interactive || self.timings.up.is_none() => {
                    return self.ended(&said);
                }
                Some(Event::Ended(said)) => ended = Some((said, Instant::now())),
                Some(Event::Lost) if exit.is_some() => {
                    return Err(Error::new(
                        Kind::System,
                        "the end of the guest's output did not arrive",
                    ));
                }
                Some(Event::Lost) => self.open -= 1, // the command's end was not told either
                None => return self.too_late(ended.as_ref().map(|(said, _)| said.as_str())),
            }
        }
    }

    /// Comes to an end with this result, for a reason that is not the guest's.
    fn wind_up(&mut self, result: Result<Ending>, told: &mut dyn FnMut(News<'_>)) -> Result<End> {
        // Before it is up, it has written nothing and hears nothing.
        if self.orderly && self.timings.up.is_some() {
            self.shut_down(told);
        }
        result.map(End::Over)
    }

    /// Presses the power button, and waits for the end of qemu or another signal.
    fn shut_down(&mut self, told: &mut dyn FnMut(News<'_>)) {
        told(News::Decision(
            "shutting the guest down; once more ends it at once\r",
        ));
        let start = Instant::now();
        let mut deadline = start + SHUTDOWN;
        let (mut pressed, mut ended) = (None, false);
        while !ended || self.open > 0 {
            let now = Instant::now();
            if now >= deadline {
                if !ended {
                    told(News::Decision("it did not shut down within 30 seconds\r"));
                }
                return;
            }
            if pressed.is_none_or(|at| at + PRESS <= now) {
                pressed = Some(now);
                self.monitor.press_power_button();
            }
            match self.events.recv_timeout(PRESS.min(deadline - now)) {
                // The user may be gone.
                Ok(Event::Console(bytes)) => drop(self.console(&bytes, told)),
                Ok(Event::Drained | Event::Lost) => self.open -= 1,
                Ok(Event::Ended(_)) => {
                    ended = true;
                    deadline = Instant::now() + AFTERLIFE;
                }
                Ok(Event::Signal(_)) if start.elapsed() >= PRESS => return,
                Ok(Event::Failing(trouble)) => told(News::Decision(&trouble)),
                _ => {}
            }
        }
    }

    /// Nothing came in time; `ended` is what qemu said if it has ended.
    fn too_late(&mut self, ended: Option<&str>) -> Result<End> {
        if let Some(said) = ended {
            return self.ended(said);
        }
        if self.unborn_under_kvm() {
            let reason = "the guest's kernel said nothing for 2.5 seconds under it";
            return Ok(End::NoKvm(reason.into()));
        }
        Err(Error::new(
            Kind::System,
            format!(
                "the guest did not come up within {} seconds: {}",
                COMING_UP.as_secs(),
                self.log.reason()
            ),
        ))
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.timings.up.is_some() {
            None // from here on it takes as long as it takes
        } else if self.unborn_under_kvm() {
            Some(self.started + FIRST_BYTE)
        } else {
            Some(self.started + COMING_UP)
        }
    }

    fn unborn_under_kvm(&self) -> bool {
        self.log.is_empty() && self.accelerator == Accelerator::Kvm
    }

    /// Takes what the guest's console says.
    fn console(&mut self, bytes: &[u8], told: &mut dyn FnMut(News<'_>)) -> Result<()> {
        if self.timings.first_byte.is_none() {
            self.timings.first_byte = Some(self.started.elapsed());
            told(News::Running);
        }
        for line in self.log.whole_lines(bytes) {
            told(News::Console(&line));
        }
        self.log.push(bytes);
        if self.timings.up.is_some() {
            if self.interactive {
                show(bytes)?;
            }
            return Ok(());
        }
        if let Some(at) = self.log.find(UP) {
            self.timings.up = Some(self.started.elapsed());
            told(News::Up);
            if self.interactive {
                if self.terminal.is_some() {
                    told(News::Decision("the console of the guest; Ctrl-] ends it\r"));
                }
                show(self.log.after(at))?;
            }
            self.take_input()?;
        }
        Ok(())
    }

    /// Only now is the user's input read, so that none is lost if the guest has
    /// to be started twice.
    fn take_input(&mut self) -> Result<()> {
        let stdin = File::from(owned(std::io::stdin())?);
        let send = self.sender.clone();
        let clone = |port: &UnixStream| {
            port.try_clone()
                .map_err(|e| Error::io("cannot use", "a socket", e))
        };
        if let Some(port) = &self.input {
            let mut port = clone(port)?;
            std::thread::spawn(move || {
                relay(stdin, |bytes| port.write_all(bytes).is_ok());
                // The end of the guest's input.  The socket itself stays open:
                // qemu would throw away what it has not read yet.
                let _ = port.shutdown(Shutdown::Write);
            });
        } else if self.interactive {
            let mut port = clone(&self.console)?;
            let escape = self.terminal.is_some();
            std::thread::spawn(move || {
                relay(stdin, |bytes| {
                    if escape && bytes.contains(&ESCAPE) {
                        return send.send(Event::Signal(SIGINT)).is_ok();
                    }
                    port.write_all(bytes).is_ok()
                });
            });
        }
        Ok(())
    }

    /// qemu has ended by itself.
    fn ended(&mut self, said: &str) -> Result<End> {
        if self.interactive && self.timings.up.is_some() && self.log.find("Kernel panic").is_none()
        {
            return Ok(End::Over(Ending::PoweredOff));
        }
        // No fault of KVM's, and the same without it.
        if let Some(error) = locked(said) {
            return Err(error);
        }
        if self.log.is_empty()
            && let Some(complaint) = self.carriers.complaint()
        {
            return Err(Error::host(format!(
                "cannot share a directory: {complaint}"
            )));
        }
        // Another complaint would come without KVM too, and must not be held
        // against it.
        if self.unborn_under_kvm() && (said.is_empty() || said.to_lowercase().contains("kvm")) {
            let said = said.lines().next().unwrap_or("it says nothing");
            return Ok(End::NoKvm(format!("qemu ends under it ({said})")));
        }
        if self.log.is_empty() && !said.is_empty() {
            return Err(refused(said));
        }
        let what = match self.timings.up {
            None => "the guest did not come up",
            Some(_) => "the guest ended before its command did",
        };
        let reason = match self.log.reason() {
            reason if reason.is_empty() => "it said nothing".to_owned(),
            reason => reason,
        };
        Err(Error::new(Kind::System, format!("{what}: {reason}")))
    }

    fn outcome(mut self, ending: Ending) -> Outcome {
        self.timings.ended = self.started.elapsed();
        Outcome {
            ending,
            accelerator: self.accelerator,
            timings: self.timings,
        }
    }
}

impl Drop for Session {
    /// No qemu is left behind, whatever happened.
    fn drop(&mut self) {
        self.signals.close();
        let _ = self.qemu.kill(); // it may have ended already
        let _ = self.qemu.wait();
    }
}

/// What qemu says when it does not even begin, with what is known to help.
fn refused(said: &str) -> Error {
    let error = Error::host(format!("qemu failed: {}", said.replace('\n', "; ")));
    let cures = [
        (
            "host forwarding rule",
            "another program uses this port, or it is led to twice; choose another with `--port`",
        ),
        ("cannot set up guest memory", "give it less: `--memory`"),
        ("annot allocate memory", "give it less: `--memory`"),
        (
            "no slot/function available",
            "it has too many disks and directories; give fewer",
        ),
        ("vnc", "choose another address: `--display vnc=127.0.0.1:2`"),
    ];
    let said = said.to_lowercase();
    match cures.iter().find(|(mark, _)| said.contains(mark)) {
        Some((_, cure)) => error.hint(*cure),
        None => error,
    }
}

fn spawn(arguments: &[OsString], inherited: Vec<i32>, deaf: bool) -> Result<Child> {
    let mut qemu = Command::new(find_qemu()?);
    qemu.args(arguments);
    qemu.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // Ctrl-C in the terminal is for us alone; we end qemu.
    qemu.process_group(0);
    command::inherit(command::die_with_parent(&mut qemu), inherited);
    if deaf {
        // When the host shuts down everybody gets a signal, but it is for us too.
        command::block_signals(&mut qemu, &[SIGHUP, SIGINT, SIGTERM]);
    }
    qemu.spawn().map_err(|e| command::not_started(&qemu, e))
}
