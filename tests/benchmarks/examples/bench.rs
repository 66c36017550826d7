//! `freshet bench` without the rest of the program, for profiling: parts of the benchmark by name, `--quick`, `--json`,
//! `--kafka-streams DIR`, `--curves DIR`, `--program FRESHET` for the parts whose services are processes.

use freshet_benchmarks::{Options, run};

fn main() -> anyhow::Result<()> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--json" => options.json = true,
            "--kafka-streams" => options.kafka_streams = arguments.next().map(Into::into),
            "--curves" => options.curves = arguments.next().map(Into::into),
            "--program" => options.program = arguments.next().map(Into::into),
            part => options.only.push(part.to_owned()),
        }
    }
    run(&options)
}
