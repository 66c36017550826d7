//! Kafka Streams on the same work, by a program that the operator of the benchmark brings: `DIR/run JOB BOOTSTRAP N`.
//!
//! JOB is `V` (`publish.licence` → `dataset.licence`, `reject.dept`) or `R` (`dataset.licence` → `view.counter`, `view.tax`,
//! `view.revoked`), all of four partitions. It works N records off, exactly once, and prints one line with
//! `peak_rss=<n> MiB` and, behind `second_half:`, `rate=<n>/s cpu/record=<n> us`: what the second half of the records
//! took, when its code has been compiled.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use freshet_catalog_model::TopicSpec;
use freshet_kafka::admin;
use serde::{Deserialize, Serialize};

use crate::Row;
use crate::cluster::Cluster;

/// Topics that only the peer writes.
const TOPICS: &[&str] = &["reject.dept", "view.counter", "view.tax", "view.revoked"];

/// How we stand to the peer at the same work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    pub what: String,
    /// Ours ÷ the peer's.
    pub events_per_second: f64,
    pub cpu_per_event: f64,
    pub peak_memory: f64,
}

/// Runs both jobs. What it writes to `dataset.licence` stands there twice then: to be the last that is measured.
pub fn kafka_streams(cluster: &Cluster, directory: &Path, records: u64) -> anyhow::Result<Vec<Row>> {
    let topics: Vec<TopicSpec> = TOPICS.iter().map(|name| cluster.topic_like_the_input(name)).collect();
    admin::ensure_topics(&cluster.connection, &topics)?;
    let jobs = [
        ("V", "Kafka Streams, validate, second half", records),
        ("R", "Kafka Streams, three views, second half", records - records / 50),
    ];
    jobs.into_iter().map(|(job, what, records)| run(cluster, directory, (job, what), records)).collect()
}

fn run(cluster: &Cluster, directory: &Path, (job, what): (&str, &str), records: u64) -> anyhow::Result<Row> {
    let program = directory.join("run");
    let output = Command::new(&program)
        .args([job, &cluster.connection.bootstrap_servers, &records.to_string()])
        .env("PARTITION", "same")
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{} {job} ended with {}: {complaint}", program.display(), output.status);
    parse(what, &said, records / 2).with_context(|| format!("{} {job} said: {said}", program.display()))
}

fn parse(what: &str, said: &str, events: u64) -> anyhow::Result<Row> {
    let (whole, half) = said.split_once("second_half:").context("no `second_half:`")?;
    Ok(Row {
        what: what.to_owned(),
        events,
        events_per_second: number(half, "rate=")?,
        cpu_us_per_event: number(half, "cpu/record=")?,
        peak_memory_mib: Some(number(whole, "peak_rss=")? as u64),
        ..Row::default()
    })
}

/// The number behind a name.
fn number(text: &str, name: &str) -> anyhow::Result<f64> {
    let (_, rest) = text.split_once(name).with_context(|| format!("no `{name}`"))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().with_context(|| format!("no number behind `{name}`"))
}

pub fn compare(own: &Row, peer: &Row) -> Option<Comparison> {
    let memory = own.peak_memory_mib.zip(peer.peak_memory_mib)?;
    Some(Comparison {
        what: format!("{} ÷ {}", own.what, peer.what),
        events_per_second: own.events_per_second / peer.events_per_second,
        cpu_per_event: own.cpu_us_per_event / peer.cpu_us_per_event,
        peak_memory: memory.0 as f64 / memory.1 as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_line_is_read() {
        let said = "streams-V records=1000 seconds=8.00 rate=125/s cpu=13.00 s cpu/record=13.10 us peak_rss=830 MiB \
                    second_half: rate=190000/s cpu/record=6.50 us commits=3 aborts=0 undecodable=0\n";
        let row = parse("V", said, 500).expect("a row");
        assert_eq!((row.events_per_second, row.cpu_us_per_event, row.peak_memory_mib), (190_000.0, 6.5, Some(830)));
        let error = parse("V", "nothing", 500).expect_err("no figures").to_string();
        assert!(error.contains("second_half"), "{error}");
    }
}
