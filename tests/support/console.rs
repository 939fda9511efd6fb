//! A person at the guest's console, who waits for a prompt and types.
//!
//! The guest's side is a terminal whatever ours is, so pipes do.

use super::appliance::wait_for;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Far longer than a whole system takes to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);

pub(crate) struct Console {
    child: Child,
    stdin: ChildStdin,
    output: Receiver<Vec<u8>>,
    seen: String,
    /// Up to here it has been dealt with.
    at: usize,
}

impl Console {
    /// Starts `command`, whose standard input and output are a guest's console.
    pub(crate) fn open(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (send, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                if send.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            stdin: child.stdin.take().unwrap(),
            child,
            output,
            seen: String::new(),
            at: 0,
        }
    }

    /// Waits until the console shows `mark`; what it showed before.
    pub(crate) fn expect(&mut self, mark: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.seen[self.at..].find(mark) {
                let before = self.seen[self.at..self.at + found].to_owned();
                self.at += found + mark.len();
                return before;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => {
                    self.fail(&format!("waited in vain for {mark:?}"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.fail(&format!("it ended before {mark:?} came"))
                }
            }
        }
    }

    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        panic!("{what}; the console showed: {}", self.seen)
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        self.stdin.write_all(line.as_bytes()).unwrap();
        self.stdin.write_all(b"\n").unwrap();
    }

    /// Runs `command` in the shell that is at the console: its status and output.
    pub(crate) fn run(&mut self, command: &str) -> (String, String) {
        // The terminal echoes what is typed, in which the marks do not occur.
        self.type_line(&format!(
            "printf '@@%s\\n' begin; {command}; printf '\\n@@end %s\\n' $?"
        ));
        self.expect("@@begin\r\n");
        let output = self.expect("\n@@end ");
        let status = self.expect("\r\n");
        (status, output.replace('\r', "").trim_end().to_owned())
    }

    /// The output of a `command` that must succeed.
    pub(crate) fn succeed(&mut self, command: &str) -> String {
        let (status, output) = self.run(command);
        if status != "0" {
            self.fail(&format!(
                "`{command}` ended with {status} and said: {output}"
            ));
        }
        output
    }

    /// Powers the guest off; the exit status of what showed its console.
    pub(crate) fn power_off(mut self) -> Option<i32> {
        self.type_line("poweroff");
        self.expect("Power down");
        let mut code = None;
        wait_for("qemu to end", || match self.child.try_wait().unwrap() {
            Some(status) => {
                code = status.code();
                true
            }
            None => false,
        });
        code
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended, unless the test failed
        let _ = self.child.wait();
    }
}
