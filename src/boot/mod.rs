//! From an appliance to a running virtual machine.

pub mod accelerator;
mod console;
mod machine;
mod relay;
mod run;
mod token;

pub use accelerator::{Accelerator, Choice};
pub use machine::{Machine, Network};
pub use run::{Ending, News, Outcome, Task, Timings, run};
