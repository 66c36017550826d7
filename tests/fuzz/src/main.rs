//! `cargo run --release -p fuzz -- --inputs 10000000`: exit 0 where every input did what it should, 1 where one did not,
//! 3 where one did not come to an end.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;
use fuzz::run::{Job, Report, replay, run};
use fuzz::target::Kind;
use fuzz::targets;

/// Sends hostile input into every reader, in this process, and compares with oracles.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many inputs in all, over the targets by their shares
    #[arg(long, default_value_t = 10_000_000)]
    inputs: u64,
    /// This target only; may be given several times
    #[arg(long)]
    target: Vec<String>,
    /// Which inputs; the same seed and corpus make the same ones
    #[arg(long)]
    seed: Option<u64>,
    /// Threads; as many as there are processors if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Play this file alone; needs one --target
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Add inputs that show something new to the corpus, up to this many bytes each
    #[arg(long, default_value_t = 0)]
    grow: usize,
    /// List the targets
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen: Vec<Kind> = targets::ALL
        .into_iter()
        .filter(|kind| arguments.target.is_empty() || arguments.target.iter().any(|name| name == kind.name))
        .collect();
    if let Some(unknown) = arguments.target.iter().find(|name| targets::ALL.iter().all(|kind| kind.name != **name)) {
        eprintln!("there is no target {unknown}; --list names them");
        return ExitCode::from(2);
    }
    if arguments.list {
        for kind in chosen {
            println!("{:<12} {}", kind.name, kind.what);
        }
        return ExitCode::SUCCESS;
    }
    match (&arguments.replay, &chosen[..]) {
        (Some(file), [kind]) => play(kind, file),
        (Some(_), _) => {
            eprintln!("--replay needs one --target");
            ExitCode::from(2)
        }
        (None, _) => fuzz(&arguments, &chosen),
    }
}

fn play(kind: &Kind, file: &std::path::Path) -> ExitCode {
    let input = match std::fs::read(file) {
        Ok(input) => input,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            return ExitCode::from(2);
        }
    };
    match replay(kind, &input) {
        Ok(seen) => {
            println!("{}: as it should be ({:016x})", kind.name, seen.number());
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("{}: {reason}", kind.name);
            ExitCode::FAILURE
        }
    }
}

fn fuzz(arguments: &Arguments, chosen: &[Kind]) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let threads = arguments.jobs.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let shares: u64 = chosen.iter().map(|kind| kind.share).sum();
    println!("seed {seed}, {} inputs over {} targets", arguments.inputs, chosen.len());
    let jobs: Vec<Job> = chosen
        .iter()
        .enumerate()
        .map(|(number, kind)| {
            let inputs = (arguments.inputs * kind.share).div_ceil(shares);
            Job { kind: *kind, inputs, seed, number, grow_bytes: arguments.grow }
        })
        .collect();
    let (next, total) = (AtomicUsize::new(0), Mutex::new(Report::default()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A thread of its own for each target: it is watched as one.
                    let Ok(report) = std::thread::scope(|inner| inner.spawn(|| run(job)).join()) else {
                        eprintln!("{}: the target itself panicked", job.kind.name);
                        std::process::exit(1);
                    };
                    tell(job, &report);
                    let mut total = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    total.inputs += report.inputs;
                    total.failures.extend(report.failures);
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!(
        "{:<12} {:>10} inputs in {:.0} s, {} failures",
        "all",
        total.inputs,
        begun.elapsed().as_secs_f64(),
        total.failures.len()
    );
    if total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(job: &Job, report: &Report) {
    let (seconds, seen) = (report.took.as_secs_f64(), report.seen.len());
    let each = seconds * 1e6 / report.inputs.max(1) as f64;
    println!(
        "{:<12} {:>10} inputs in {seconds:>6.1} s, {each:>7.1} µs each, {seen:>6} different outcomes",
        job.kind.name, report.inputs
    );
    for failure in &report.failures {
        println!("{failure}");
    }
}
