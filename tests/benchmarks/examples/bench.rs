//! `freshet bench` without the rest of the program, for profiling: parts of the benchmark by name, `--quick`, `--json`.

use freshet_benchmarks::{Options, run};

fn main() -> anyhow::Result<()> {
    let mut options = Options::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--json" => options.json = true,
            part => options.only.push(part.to_owned()),
        }
    }
    run(&options)
}
