//! `freshet bench`: `tests/benchmarks` does the work.

use anyhow::Context as _;

use crate::cli::{BenchAction, BenchArguments, Globals, OutputForm};
use crate::exit::Exit;
use crate::settings;

pub fn run(globals: &Globals, arguments: BenchArguments) -> anyhow::Result<Exit> {
    // What the services say of trouble; their ordinary lines would stand in the way of the table.
    let quiet = [("log.level".to_owned(), "warn".to_owned())];
    settings::load(globals, &quiet)?.value.start_log()?;
    if let Some(BenchAction::Compare { before, after }) = &arguments.action {
        print!("{}", freshet_benchmarks::compare(before, after)?);
        return Ok(Exit::Done);
    }
    let BenchArguments { action: _, quick, json, only, kafka_streams, depth, long, curves } = arguments;
    let json = json || globals.output == OutputForm::Json;
    let program = Some(std::env::current_exe().context("finding the program itself")?);
    let options =
        freshet_benchmarks::Options { quick, json, only, kafka_streams, depth, long_minutes: long, curves, program };
    freshet_benchmarks::run(&options)?;
    Ok(Exit::Done)
}
