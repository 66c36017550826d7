//! `cargo run --release -p faults -- --minutes 60 --seed 7`: exit 0 where every promise was kept, 1 where one was broken,
//! 2 where the bus could not be started.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use faults::bus::program;
use faults::nemesis::Kind;
use faults::run::{Options, Script, run};
use faults::upgrade::Programs;
use faults::{memory, overload};

/// Hurts the bus while real registers run through it, and says whether it kept its promises.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    faults: Faults,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replace every process by one of another program, one after the other under load, and back
    Upgrade(Upgrade),
    /// What each service holds in memory: large records, a thousand partitions, subscribers that are far behind
    Memory(Memory),
    /// Ten times what the gateway sustains, from 500 connections of one department, beside another
    Overload(Overload),
}

#[derive(Debug, Args)]
struct Faults {
    /// How long faults are injected
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Which faults come when; a fresh one where none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults of these kinds
    #[arg(long, value_delimiter = ',', value_name = "KINDS")]
    only: Vec<Kind>,
    #[command(flatten)]
    load: Load,
}

#[derive(Debug, Args)]
struct Load {
    /// Events per second of all publishers together
    #[arg(long, default_value_t = 120.0)]
    rate: f64,
    /// How long everything may take to arrive after the last fault, in seconds
    #[arg(long, default_value_t = 300)]
    drain: u64,
    /// Memory that each process may hold, MiB
    #[arg(long, default_value_t = 256)]
    memory: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Keep logs and data
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
struct Upgrade {
    /// The program of before: a release's, or one that was built of an earlier commit
    #[arg(long, value_name = "PROGRAM")]
    from: PathBuf,
    /// How long all of it takes at least
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    #[command(flatten)]
    load: Load,
}

#[derive(Debug, Args)]
struct Memory {
    /// Memory that each process may hold, MiB
    #[arg(long, default_value_t = 256)]
    memory: u64,
    /// Events of half a KiB that wait for the subscribers, beside the large ones
    #[arg(long, default_value_t = 60_000)]
    events: usize,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Overload {
    /// How long
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => play(arguments.faults),
        Some(Command::Upgrade(upgrade)) => roll(upgrade),
        Some(Command::Memory(arguments)) => measure(&arguments),
        Some(Command::Overload(arguments)) => crowd(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn play(arguments: Faults) -> anyhow::Result<bool> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    eprintln!("seed {seed}");
    let script = Script::Faults(arguments.only);
    report(&arguments.load, Options { script, ..Options::new(seed, minutes(arguments.minutes)) })
}

fn roll(arguments: Upgrade) -> anyhow::Result<bool> {
    let script = Script::Upgrade(Programs { old: arguments.from.canonicalize()?, new: program()? });
    report(&arguments.load, Options { script, ..Options::new(7, minutes(arguments.minutes)) })
}

fn minutes(minutes: f64) -> Duration {
    Duration::from_secs_f64(minutes.max(0.1) * 60.0)
}

fn report(load: &Load, options: Options) -> anyhow::Result<bool> {
    let drain_limit = Duration::from_secs(load.drain);
    let options = Options { rate: load.rate, keep: load.keep, limit_mib: load.memory, drain_limit, ..options };
    let report = to_its_end(run(&options))?;
    print(&report, load.json)?;
    Ok(report.is_good())
}

/// Does not wait for the threads: a reader of the departments may never close, since a client that lost a broker can lock
/// itself up (librdkafka issue 5476).
fn to_its_end<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

fn measure(arguments: &Memory) -> anyhow::Result<bool> {
    let report = memory::run(&memory::Options {
        limit_mib: arguments.memory,
        small_events: arguments.events,
        ..memory::Options::default()
    })?;
    print(&report, arguments.json)?;
    Ok(report.is_good())
}

fn crowd(arguments: &Overload) -> anyhow::Result<bool> {
    let options = overload::Options::new(minutes(arguments.minutes));
    let report = to_its_end(overload::run(&options))?;
    print(&report, arguments.json)?;
    Ok(report.broken().is_empty() && report.missed().is_empty())
}

fn print<R: std::fmt::Display + serde::Serialize>(report: &R, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}
