//! Reads every package of the RPM system below the directory that it is given:
//! what `benches/rpm-database` times.
#![allow(clippy::print_stdout)]

use freezedry::host::PackageDatabase;
use freezedry::host::rpm::Rpm;

fn main() -> freezedry::Result<()> {
    let root = std::env::args_os().nth(1).unwrap_or_else(|| "/".into());
    let database = Rpm::open(root.as_ref())?;
    println!("{} packages", database.packages().len());
    Ok(())
}
