//! From an appliance to a running virtual machine.

pub mod accelerator;
mod console;
mod machine;
mod readiness;
mod relay;
mod run;
mod token;

pub use accelerator::{Accelerator, Choice};
pub use machine::{Machine, Network};
pub use readiness::{Examination, Health, examine};
pub use run::{Ending, News, Outcome, Task, Timings, run};
