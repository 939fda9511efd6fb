//! The user's terminal, and what the guest's console has said.

use rustix::termios::{self, OptionalActions, Termios};
use std::os::fd::{AsFd, OwnedFd};

/// The key that ends an interactive session: Ctrl-].
pub(super) const ESCAPE: u8 = 0x1d;

/// A terminal in raw mode, given back as it was at the end of its life.
#[derive(Debug)]
pub(super) struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// Makes `input` raw, if it is a terminal.
    pub(super) fn enter(input: impl AsFd) -> Option<Self> {
        let terminal = input.as_fd().try_clone_to_owned().ok()?;
        let before = termios::tcgetattr(&terminal).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
        Some(Self { terminal, before })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        let size = termios::tcgetwinsize(&self.terminal).ok()?;
        (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that has gone away needs nothing.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// The end of what the guest's console has said.
#[derive(Debug, Default)]
pub(super) struct Log(Vec<u8>);

impl Log {
    const KEPT: usize = 32 << 10;

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        if self.0.len() > 2 * Self::KEPT {
            self.0.drain(..self.0.len() - Self::KEPT);
        }
    }

    /// The lines that `bytes`, which are not pushed yet, complete.
    pub(super) fn whole_lines(&self, bytes: &[u8]) -> Vec<String> {
        let start = self
            .0
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let text = [&self.0[start..], bytes].concat();
        let end = text.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..end]).into_owned();
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where `text` ends, the first time that it was said.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        let at = self
            .0
            .windows(text.len())
            .position(|window| window == text.as_bytes())?;
        Some(at + text.len())
    }

    /// What was said after a place that [`Log::find`] gave.
    pub(super) fn after(&self, at: usize) -> &[u8] {
        &self.0[at..]
    }

    /// Why the guest failed, as far as it said so: its own error messages, else
    /// its last lines.
    pub(super) fn reason(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let telling = |line: &&&str| {
            [
                "supermin: error",
                "supermin: hint",
                "Kernel panic",
                "freezedry: ",
                "Out of memory",
            ]
            .iter()
            .any(|mark| line.contains(mark))
                && !line.contains(super::run::UP)
        };
        let told: Vec<&str> = lines.iter().filter(telling).copied().collect();
        let shown = if told.is_empty() {
            &lines[lines.len().saturating_sub(5)..]
        } else {
            &told[..]
        };
        shown.join("; ")
    }
}
