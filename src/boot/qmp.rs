//! Talking to a running qemu: its monitor protocol, one JSON object a line.
//!
//! Source: <https://www.qemu.org/docs/master/interop/qmp-spec.html>.

use crate::{Error, Result, error::Kind};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A qemu that does not answer for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

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
