//! The one binary. This file only wires: arguments, logs, the command, the exit code.

mod cli;
mod client;
mod commands;
mod exit;
mod roles;
mod settings;
mod up;

use clap::Parser;

use cli::{Cli, Command, Role, RunArguments};
use exit::Exit;
use freshet_runtime::allocator::{ARENAS, give_memory_back};

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    give_memory_back(arenas(&cli.command));
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

fn arenas(command: &Command) -> i32 {
    match command {
        // It has few clients; and threads that read its state back at the same time wait for each other with two.
        Command::Run(RunArguments { role: Role::Validator, .. }) => 4,
        _ => ARENAS,
    }
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
