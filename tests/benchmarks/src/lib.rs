//! `freshet bench`: the services against librdkafka's own topic-to-topic pass-through with transactions, in one run, on
//! a real broker, with everything on. The workload is the licence dataset (`licence.rs`); what is printed is the table
//! of the README.

mod cluster;
mod delivery;
mod hops;
mod latency;
pub mod licence;
mod measure;
mod peer;
mod report;

use std::path::PathBuf;

use serde::Serialize;

use crate::hops::Turns;
pub use report::Report;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A third of the records and fewer rounds: under two minutes.
    pub quick: bool,
    pub json: bool,
    /// The names of the parts to run ([`PARTS`]); empty: all.
    pub only: Vec<String>,
    /// A folder with a Kafka Streams program for the same work (`peer.rs` says what it is asked).
    pub kafka_streams: Option<PathBuf>,
}

/// What can be measured alone. The router reads what the validator wrote, so it brings the validator with it.
pub const PARTS: &[&str] = &["validator", "router", "fanout", "latency"];

/// The ways out alone: the shortest run that says something about them.
pub fn ways_out() -> anyhow::Result<()> {
    let cluster = cluster::Cluster::start()?;
    cluster.load(50_000)?;
    delivery::fill(&cluster, 40_000)?;
    let mut report = Report::new(50_000);
    report.rows.extend(delivery::webhook(&cluster, 10_000)?);
    println!("{report}");
    Ok(())
}

/// One measured thing beside its limit.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    pub what: String,
    pub events: u64,
    /// The middle round's, as all that follows where there were several.
    pub events_per_second: f64,
    pub cpu_us_per_event: f64,
    /// Events per second ÷ those of the limit in the same round.
    pub ratio: Option<f64>,
    /// CPU per event ÷ that of the limit in the same round.
    pub cpu_ratio: Option<f64>,
    /// Least and greatest `ratio` of the rounds.
    pub spread: Option<(f64, f64)>,
    pub cpu_spread: Option<(f64, f64)>,
    /// Of the process while this ran, the measuring's own among it.
    pub peak_memory_mib: Option<u64>,
    /// Events in the first second after a cold start ÷ events in a second later on.
    pub first_second: Option<f64>,
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
    if let Some(unknown) = options.only.iter().find(|name| !PARTS.contains(&name.as_str())) {
        anyhow::bail!("nothing is called {unknown}; there are {}", PARTS.join(", "));
    }
    let wanted = |part: &str| options.only.is_empty() || options.only.iter().any(|name| name == part);
    let turns = match options.quick {
        true => Turns { records: 450_000, rounds: 3 },
        false => Turns { records: 1_200_000, rounds: 3 },
    };
    let cluster = cluster::Cluster::start()?;
    let mut report = Report::new(turns.records);
    eprintln!("loading {} licence records", turns.records);
    cluster.load(turns.records)?;
    if wanted("validator") || wanted("router") {
        eprintln!("validator");
        report.rows.extend(hops::validator(&cluster, turns)?);
    }
    if wanted("router") {
        eprintln!("router");
        report.rows.extend(hops::router(&cluster, turns)?);
    }
    if wanted("fanout") {
        eprintln!("fanout");
        if !(wanted("validator") || wanted("router")) {
            delivery::fill(&cluster, 50_000)?;
        }
        report.rows.extend(delivery::webhook(&cluster, if options.quick { 3_000 } else { 10_000 })?);
    }
    if wanted("latency") {
        let seconds = if options.quick { 5 } else { 15 };
        for rate in [1_000, 10_000] {
            eprintln!("latency at {rate} events/s");
            report.latency.extend(latency::run(&cluster, rate, seconds)?);
        }
    }
    if let Some(directory) = &options.kafka_streams {
        eprintln!("Kafka Streams");
        let peers = peer::kafka_streams(&cluster, directory, turns.records)?;
        for (what, peer) in ["validator", "router, three views"].into_iter().zip(&peers) {
            let own = report.rows.iter().find(|row| row.what == what);
            report.comparisons.extend(own.and_then(|own| peer::compare(own, peer)));
        }
        report.rows.extend(peers);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}
