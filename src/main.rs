//! Which program am I?  Then hand over to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    freezedry::cli::main(std::env::args_os())
}
