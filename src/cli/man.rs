//! `freezedry man` and `freezedry completions`: what packages of Freezedry
//! install beside the program, out of the definitions that parse the command line.

use super::{Cli, Status};
use crate::{Error, Result, description, files};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;

/// Write the manual pages: freezedry(1), one for each command, appliance.yaml(5)
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The directory to write to
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Status> {
    files::create_dir_all(&arguments.directory)?;
    let write = |name: &str, page: &[u8]| files::write(arguments.directory.join(name), page);
    // Without help about help.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    write("freezedry.1", &page(&program)?)?;
    for command in program
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let name = format!("freezedry-{}.1", command.get_name());
        write(&name, &page(command)?)?;
    }
    write("appliance.yaml.5", description::manual().as_bytes())?;
    Ok(Status::Success)
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .manual("User Commands")
        .source(format!("freezedry {}", env!("CARGO_PKG_VERSION")))
        .render(&mut page)
        .map_err(|e| Error::io("cannot render the manual page of", command.get_name(), e))?;
    Ok(page)
}

/// Print the completions of a shell
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Where they go: bash: /usr/share/bash-completion/completions/freezedry; \
    zsh: /usr/share/zsh/site-functions/_freezedry; \
    fish: /usr/share/fish/vendor_completions.d/freezedry.fish."
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

pub(super) fn completions(arguments: &Completions) -> Result<Status> {
    let shell = match arguments.shell.as_str() {
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => Shell::Bash,
    };
    clap_complete::generate(
        shell,
        &mut Cli::command(),
        "freezedry",
        &mut std::io::stdout(),
    );
    Ok(Status::Success)
}
