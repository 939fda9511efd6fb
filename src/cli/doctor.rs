//! `freezedry doctor`: can this machine boot appliances?

use super::{Status, rehydrate};
use crate::appliance::cache;
use crate::boot::{Examination, Health, examine};
use crate::{Error, Result};
use serde_json::json;

/// Examine whether this machine can rehydrate and boot appliances, and say what
/// repairs it
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 if appliances can be booted, 1 if not.")]
pub(super) struct Arguments {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    let all = examine(&rehydrate::kernel_request(), &cache::directory());
    if arguments.json {
        let list: Vec<_> = all
            .iter()
            .map(|one| {
                json!({
                    "what": one.what,
                    "health": word(one).trim_end(),
                    "seen": one.seen,
                    "repair": one.repair,
                })
            })
            .collect();
        let text = serde_json::to_string_pretty(&list)
            .map_err(|e| Error::input("the findings cannot be written as JSON").caused_by(e))?;
        println!("{text}");
    } else {
        for one in &all {
            println!("{} {}: {}", word(one), one.what, one.seen);
            if let Some(repair) = &one.repair {
                println!("     repair: {repair}");
            }
        }
    }
    Ok(if all.iter().any(|one| one.health == Health::Bad) {
        Status::Problems
    } else {
        Status::Success
    })
}

fn word(examination: &Examination) -> &'static str {
    match examination.health {
        Health::Good => "ok  ",
        Health::Poor => "warn",
        Health::Bad => "FAIL",
    }
}
