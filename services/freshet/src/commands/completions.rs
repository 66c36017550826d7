//! `freshet completions SHELL`.

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArguments};
use crate::exit::Exit;

pub fn run(arguments: &CompletionsArguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "freshet", &mut script);
    print!("{}", String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
