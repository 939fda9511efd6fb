//! Appliances for the tests that boot: always under TCG, since KVM cannot be
//! counted on.

use super::{both, freezedry, require, run, skip};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than any boot takes, and short enough that a hang is noticed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Which programs make and boot the appliance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Freezedry does all.
    Freezedry,
    /// boot-NAME with stock supermin and qemu, without Freezedry.
    Stock,
}

/// A packaged appliance, unpacked in a directory of its own.
pub(crate) struct Appliance {
    pub(crate) dir: tempfile::TempDir,
    name: String,
    engine: Engine,
}

/// `description` with the lines that every description needs.
pub(crate) fn yaml(name: &str, rest: &str) -> String {
    format!(
        "name: {name}\nversion: \"1.0\"\nsummary: An appliance for a test\nlicense: MIT\n\
         maintainer: Jane Doe <jane@example.org>\n{rest}"
    )
}

impl Appliance {
    /// Packages the description made of `name` and `rest`, and unpacks the
    /// package; `None` where that cannot be tested.
    pub(crate) fn new(name: &str, rest: &str, engine: Engine) -> Option<Self> {
        Self::of(name, &yaml(name, rest), engine)
    }

    /// The same for a whole description, of version 1.0-1.
    pub(crate) fn of(name: &str, text: &str, engine: Engine) -> Option<Self> {
        Self::made(name, engine, |description| {
            std::fs::write(description, text).unwrap();
        })
    }

    /// The same for an example, copied as its user does it, with what `edit`
    /// makes of its description.
    pub(crate) fn example(name: &str, edit: impl Fn(&str) -> String) -> Option<Self> {
        Self::made(name, Engine::Freezedry, |description| {
            let new = ["new", name, "--from", name, "-o"];
            run(freezedry().args(new).arg(description.parent().unwrap()));
            let text = std::fs::read_to_string(description).unwrap();
            std::fs::write(description, edit(&text)).unwrap();
        })
    }

    /// The same for the description that `write` makes.
    fn made(name: &str, engine: Engine, write: impl FnOnce(&Path)) -> Option<Self> {
        let needed: &[&str] = match engine {
            Engine::Freezedry => &["qemu-system-x86_64", "dpkg-deb"],
            Engine::Stock => &["qemu-system-x86_64", "dpkg-deb", "supermin"],
        };
        if !require(needed) {
            return None;
        }
        if !Path::new("/var/lib/dpkg/status").exists() {
            skip("this is no Debian system");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let description = dir.path().join("appliance.yaml");
        write(&description);
        let package = ["package", "--format", "deb", "-o"];
        run(freezedry().args(package).arg(dir.path()).arg(&description));
        let deb = dir.path().join(format!("{name}_1.0-1_all.deb"));
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(deb)
            .arg(dir.path().join("root")));
        Some(Self {
            dir,
            name: name.into(),
            engine,
        })
    }

    /// `boot-NAME`, under TCG, with a cache of its own.
    pub(crate) fn boot(&self) -> Command {
        let root = self.dir.path().join("root");
        let mut boot = Command::new(root.join("usr/bin").join(format!("boot-{}", self.name)));
        boot.env(
            "FREEZEDRY_SKELETON",
            root.join(format!("usr/share/freezedry/{}/supermin.d", self.name)),
        )
        .env("FREEZEDRY_CACHE_DIR", self.cache())
        .arg("--accel=tcg");
        if self.engine == Engine::Freezedry {
            let program = Path::new(env!("CARGO_BIN_EXE_freezedry"));
            let path = std::env::var("PATH").unwrap();
            boot.env(
                "PATH",
                format!("{}:{path}", program.parent().unwrap().display()),
            );
        } else {
            let directories = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .filter(|directory| !directory.join("freezedry").exists())
                .collect::<Vec<_>>();
            boot.env("PATH", std::env::join_paths(directories).unwrap());
        }
        boot
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    /// Runs `words` in the guest, with `input`; for shells, `sh(…)`.
    pub(crate) fn run(&self, words: &[&str], input: &[u8]) -> Output {
        let mut boot = self.boot();
        if !words.is_empty() {
            boot.arg("--").args(words);
        }
        finish(&mut boot, input)
    }
}

/// Runs `command` with `input`, and fails if it does not end.
pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input); // a command need not read it
    });
    let id = rustix::process::Pid::from_child(&child);
    let (ended, ends) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if ends.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    watchdog.join().unwrap();
    writer.join().unwrap();
    assert!(
        output.status.code() != Some(143) && output.status.signal().is_none(),
        "it hung: {}",
        both(&output)
    );
    output
}

/// A boot that goes on while the test does something; it is ended when dropped.
pub(crate) struct Running {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Running {
    pub(crate) fn start(boot: &mut Command) -> Self {
        let mut child = boot
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        collect(child.stdout.take().unwrap(), output.clone());
        collect(child.stderr.take().unwrap(), output.clone());
        Self { child, output }
    }

    /// What came out of it up to now, standard error included.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// Waits until its output has `mark`.
    pub(crate) fn until(&mut self, mark: &str) {
        let start = Instant::now();
        while !self.output().contains(mark) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "waited in vain for {mark:?} ({ended:?}): {}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Gives it input.
    pub(crate) fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended; its exit status.
    pub(crate) fn end(mut self) -> Option<i32> {
        let mut status = None;
        wait_for("the end of a boot", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not known to have ended, so the process id is still its own.
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// Adds what comes out of `stream` to `output`, from now on.
fn collect(mut stream: impl Read + Send + 'static, output: Arc<Mutex<Vec<u8>>>) {
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece) {
            output.lock().unwrap().extend_from_slice(&piece[..read]);
        }
    });
}

/// The process ids of qemu that belong to `mark`, a path on its command line.
pub(crate) fn qemus(mark: &Path) -> Vec<String> {
    let mark = mark.display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("qemu-system") && line.contains(&mark)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Waits until `condition` holds.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
