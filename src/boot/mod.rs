//! From an appliance to a running virtual machine.

pub mod accelerator;
mod console;
mod devices;
mod disk;
mod machine;
mod outcome;
pub mod qmp;
mod readiness;
pub mod registry;
pub(crate) mod relay;
mod run;
mod screen;
mod share;
pub mod storage;
mod token;

pub use accelerator::{Accelerator, Choice};
pub use devices::Devices;
pub use disk::{Disk, Format};
pub use machine::{Machine, Network};
pub use outcome::{Ending, News, Outcome, Task, Timings};
pub use readiness::{Examination, Health, examine};
pub use run::{SHUTDOWN, run};
pub use screen::Screen;
pub use share::{Share, Transport, Virtiofsd};
