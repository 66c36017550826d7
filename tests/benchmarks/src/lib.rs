//! `freshet bench`: the services against librdkafka's own topic-to-topic pass-through with transactions, in one run, on
//! a real broker, with everything on. The workload is the licence dataset (`licence.rs`); what is printed is the table
//! of the README.

mod cluster;
mod delivery;
mod hops;
mod latency;
pub mod licence;
mod measure;
mod report;

use serde::Serialize;

pub use report::Report;

#[derive(Debug, Clone)]
pub struct Options {
    /// A fifth of the records: under two minutes.
    pub quick: bool,
    pub json: bool,
}

/// One measured thing beside its limit.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub what: String,
    pub events: u64,
    pub events_per_second: f64,
    pub cpu_us_per_event: f64,
    /// Events per second ÷ those of the limit in the same run.
    pub ratio: Option<f64>,
    /// CPU per event ÷ that of the limit in the same run.
    pub cpu_ratio: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct LatencyRow {
    pub what: String,
    pub rate_per_second: u32,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Runs everything and prints the table. Blocking; starts its own broker in a temporary folder.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let records: u64 = if options.quick { 100_000 } else { 500_000 };
    let cluster = cluster::Cluster::start()?;
    let mut report = Report::new(records);
    eprintln!("loading {records} licence records");
    cluster.load(records)?;
    eprintln!("validator");
    report.rows.extend(hops::validator(&cluster, records)?);
    eprintln!("router");
    report.rows.extend(hops::router(&cluster, records)?);
    eprintln!("{report}\nfanout");
    report.rows.extend(delivery::webhook(&cluster, if options.quick { 3_000 } else { 10_000 })?);
    eprintln!("latency at 1,000 events/s");
    report.latency.extend(latency::run(&cluster, if options.quick { 5 } else { 20 })?);
    report.peak_memory_mib = measure::peak_memory_mib();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}
