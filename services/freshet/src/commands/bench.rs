//! `freshet bench`: `tests/benchmarks` does the work.

use crate::cli::{BenchArguments, Globals, OutputForm};
use crate::exit::Exit;
use crate::settings;

pub fn run(globals: &Globals, arguments: BenchArguments) -> anyhow::Result<Exit> {
    // What the services say of trouble; their ordinary lines would stand in the way of the table.
    let quiet = [("log.level".to_owned(), "warn".to_owned())];
    settings::load(globals, &quiet)?.value.start_log()?;
    let json = globals.output == OutputForm::Json;
    let BenchArguments { quick, only, kafka_streams } = arguments;
    freshet_benchmarks::run(&freshet_benchmarks::Options { quick, json, only, kafka_streams })?;
    Ok(Exit::Done)
}
