//! `freshet completions SHELL`.

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArguments};
use crate::exit::Exit;

pub fn run(arguments: &CompletionsArguments) -> anyhow::Result<Exit> {
    clap_complete::generate(arguments.shell, &mut Cli::command(), "freshet", &mut std::io::stdout());
    Ok(Exit::Done)
}
