//! What a guest is to do, what is told on the way, and what came of it.

use super::Accelerator;
use std::ffi::OsString;
use std::time::Duration;

/// What is to happen in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// The user's terminal becomes the guest's console.
    Console,
    /// This command runs, or without words the description's own; its input and
    /// output are the user's.
    Command(Vec<OsString>),
}

/// When things happened, counted from the start of qemu.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// The guest's kernel said its first word.
    pub first_byte: Option<Duration>,
    /// The appliance's `/init` began.
    pub up: Option<Duration>,
    /// All was over.
    pub ended: Duration,
}

/// What the caller of [`run`] is told on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// A decision that the user should know of, in one line.
    Decision(&'a str),
    /// A line of the guest's console.
    Console(&'a str),
    /// The guest runs: qemu has opened all files of the appliance, which may be
    /// replaced from now on.
    Running,
    /// The appliance's `/init` has begun.
    Up,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The guest's command ended with this status.
    Exited(u8),
    /// The guest powered off.
    PoweredOff,
    /// This signal came, or the user pressed the escape key (as `SIGINT`), or reads
    /// no more (as `SIGPIPE`).
    Signal(i32),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What it ran on.
    pub accelerator: Accelerator,
    /// When things happened.
    pub timings: Timings,
}
