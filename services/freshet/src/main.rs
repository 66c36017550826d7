//! The one binary. This file only wires: arguments, logs, the command, the exit code.

mod cli;
mod client;
mod commands;
mod exit;
mod roles;
mod settings;
mod up;

use clap::Parser;

use cli::{Cli, Command};
use exit::Exit;

fn main() -> std::process::ExitCode {
    freshet_runtime::allocator::give_memory_back();
    let cli = Cli::parse();
    // These have brokers and services to stop before they end.
    if !matches!(cli.command, Command::Up(_) | Command::Run(_) | Command::Bench(_)) {
        end_without_a_reader();
    }
    let exit = match run(cli) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("freshet: {error:#}");
            Exit::of(&error)
        }
    };
    std::process::ExitCode::from(exit as u8)
}

/// Whoever reads the output may leave early (`freshet rejects list | head`). `println!` then panics; that ends the command,
/// as it ends others, and is no failure to tell of.
fn end_without_a_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(Exit::Done as i32);
        }
        usual(panic);
    }));
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let globals = cli.globals;
    match cli.command {
        Command::Up(arguments) => commands::up::run(&globals, arguments),
        Command::Run(arguments) => commands::run::run(&globals, &arguments),
        Command::Publish(arguments) => commands::publish::run(&globals, arguments),
        Command::Catalog(arguments) => commands::catalog::run(&globals, &arguments),
        Command::Rejects(arguments) => commands::rejects::run(&globals, &arguments),
        Command::Trace(arguments) => commands::trace::run(&globals, &arguments),
        Command::CheckConfig(arguments) => commands::check_config::run(&globals, &arguments),
        Command::Token(arguments) => commands::token::run(&globals, &arguments),
        Command::Completions(arguments) => commands::completions::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&globals, arguments),
    }
}
