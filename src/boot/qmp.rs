//! Talking to a running qemu: its monitor protocol, one JSON object a line.
//!
//! Source: <https://www.qemu.org/docs/master/interop/qmp-spec.html>.

use crate::{Error, Result, error::Kind};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A qemu that does not answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The end of a monitor whose other end a qemu of ours has inherited: for the
/// little that is said without waiting for an answer.
#[derive(Debug)]
pub(super) struct Wire(UnixStream);

impl Wire {
    /// qemu's arguments for the descriptor that it inherits.  A disk of the host
    /// that fails, or is full, is an error for the guest; by default qemu would
    /// stop the guest without a word.
    pub(super) fn arguments(descriptor: RawFd) -> [String; 8] {
        [
            "-chardev",
            &format!("socket,id=wire,fd={descriptor}"),
            "-mon",
            "chardev=wire,mode=control",
            "-global",
            "virtio-blk-device.werror=report",
            "-global",
            "virtio-blk-device.rerror=report",
        ]
        .map(str::to_owned)
    }

    /// Begins to listen: `told` is called, in another thread, for each disk that
    /// fails, until it returns false.
    pub(super) fn attach(
        stream: UnixStream,
        mut told: impl FnMut(String) -> bool + Send + 'static,
    ) -> Result<Self> {
        let clone = stream
            .try_clone()
            .map_err(|e| Error::io("cannot use", "a socket", e))?;
        std::thread::spawn(move || {
            let mut known = BTreeSet::new();
            BufReader::new(clone)
                .lines()
                .map_while(std::io::Result::ok)
                .filter_map(|line| trouble(&line))
                .all(|trouble| !known.insert(trouble.clone()) || told(trouble))
        });
        let mut wire = Self(stream);
        wire.say("qmp_capabilities");
        Ok(wire)
    }

    pub(super) fn press_power_button(&mut self) {
        self.say("system_powerdown");
    }

    fn say(&mut self, command: &str) {
        // If qemu is gone, another thread sees it.
        let _ = writeln!(self.0, "{}", json!({"execute": command}));
    }
}

/// What a message of the monitor says of a disk that fails, if it does.
fn trouble(message: &str) -> Option<String> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["event"] != "BLOCK_IO_ERROR" {
        return None;
    }
    let data = &message["data"];
    let text = |key: &str| data[key].as_str().unwrap_or("?").to_owned();
    let doing = match data["operation"].as_str() {
        Some("write") => "write to",
        _ => "read",
    };
    Some(format!(
        "the guest cannot {doing} its disk `{}`, and may lose data: {}",
        text("device"),
        text("reason")
    ))
}

/// The monitor of one qemu.
#[derive(Debug)]
pub struct Monitor {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Monitor {
    /// Connects to the monitor at the socket `path`.
    pub fn connect(path: &Path) -> Result<Self> {
        let cannot = |e| Error::io("cannot talk to qemu at", path, e);
        let stream = UnixStream::connect(path).map_err(cannot)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(cannot)?;
        let mut monitor = Self {
            path: path.to_owned(),
            stream: BufReader::new(stream),
        };
        monitor.message()?; // the greeting
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Has `command` carried out, and returns its result.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
            .map_err(|e| Error::io("cannot talk to qemu at", &self.path, e))?;
        loop {
            let mut answer = self.message()?;
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = answer.get("error") {
                let text = error["desc"].as_str().unwrap_or("it does not say why");
                return Err(Error::new(
                    Kind::System,
                    format!("qemu refuses `{command}`: {text}"),
                ));
            }
            // Anything else is an event, and nobody waits for those.
        }
    }

    fn message(&mut self) -> Result<Value> {
        let cannot = |e: std::io::Error| Error::io("cannot talk to qemu at", &self.path, e);
        let mut line = String::new();
        if self.stream.read_line(&mut line).map_err(cannot)? == 0 {
            return Err(cannot(std::io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_str(&line).map_err(|e| cannot(e.into()))
    }
}
