//! `cargo run --release -p faults -- --minutes 60 --seed 7`: exit 0 where every promise was kept, 1 where one was broken,
//! 2 where the bus could not be started.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use faults::run::{Options, run};

/// Hurts the bus while real registers run through it, and says whether it kept its promises.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long faults are injected
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Which faults come when; a fresh one where none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Events per second of all publishers together
    #[arg(long, default_value_t = 120.0)]
    rate: f64,
    /// How long everything may take to arrive after the last fault, in seconds
    #[arg(long, default_value_t = 300)]
    drain: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Keep logs and data
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
    let length = Duration::from_secs_f64(arguments.minutes.max(0.1) * 60.0);
    let drain_limit = Duration::from_secs(arguments.drain);
    let options = Options { rate: arguments.rate, keep: arguments.keep, drain_limit, ..Options::new(seed, length) };
    eprintln!("seed {seed}");
    let report = match run(&options).await {
        Ok(report) => report,
        Err(error) => {
            eprintln!("seed {seed}: {error:#}");
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("the report as JSON: {error}"),
        }
    } else {
        println!("{report}");
    }
    if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
