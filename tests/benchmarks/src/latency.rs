//! Publish → `read_committed` subscriber through validator and router at 1,000 events/s, beside a pass-through of two
//! hops with the same transactions in the same run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use freshet_core::headers;
use freshet_kafka::publisher::Publisher;
use freshet_testkit::departments::Consumer;
use freshet_testkit::limit::{CopyTo, PassThrough};

use crate::LatencyRow;
use crate::cluster::{Cluster, INPUT, event};
use crate::licence::Generator;
use crate::measure::quantile;

const RATE: u32 = 1_000;

pub fn run(cluster: &Cluster, seconds: u32) -> anyhow::Result<Vec<LatencyRow>> {
    let validator = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let router = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let view = format!("view.{}", cluster.view_of("counter")?);
    let own = paced(cluster, "validator and router", INPUT, &view, seconds)?;
    validator.stop(&cluster.runtime)?;
    router.stop(&cluster.runtime)?;

    let over = AtomicBool::new(false);
    let limit = std::thread::scope(|scope| {
        let hop = |input: &'static str, output: &'static str| {
            let (over, bootstrap) = (&over, &cluster.connection.bootstrap_servers);
            scope.spawn(move || {
                let outputs = [CopyTo { topic: output.to_owned(), value_bytes: None, one_of: 1 }];
                let stop = || over.load(Ordering::Relaxed);
                let group = format!("limit.latency.{output}");
                let copy = PassThrough {
                    bootstrap,
                    input,
                    outputs: &outputs,
                    group: &group,
                    records: u64::MAX,
                    batch: 10_000,
                    stop: &stop,
                };
                copy.run()
            })
        };
        let hops = [hop("limit.input", "limit.hop1"), hop("limit.hop1", "limit.hop2")];
        let result = paced(cluster, "limit: pass-through, two hops", "limit.input", "limit.hop2", seconds);
        over.store(true, Ordering::Relaxed);
        for hop in hops {
            hop.join().map_err(|_| anyhow::anyhow!("a hop of the limit panicked"))??;
        }
        result
    })?;
    Ok(vec![limit, own])
}

/// Publishes at the rate for so long, and measures when the subscriber has each event. A tenth of the time warms up.
fn paced(cluster: &Cluster, what: &str, input: &str, output: &str, seconds: u32) -> anyhow::Result<LatencyRow> {
    let total = u64::from(RATE * (seconds + seconds / 10 + 1));
    let published = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(cluster, output, total));
        publish(cluster, input, total)?;
        reader.join().map_err(|_| anyhow::anyhow!("the subscriber panicked"))?
    })?;
    let mut samples = published;
    let warm = samples.len() / 10;
    samples.drain(..warm);
    Ok(LatencyRow {
        what: what.to_owned(),
        rate_per_second: RATE,
        p50_ms: quantile(&mut samples, 0.5) as f64 / 1_000.0,
        p99_ms: quantile(&mut samples, 0.99) as f64 / 1_000.0,
    })
}

fn publish(cluster: &Cluster, input: &str, total: u64) -> anyhow::Result<()> {
    let publisher = Publisher::new(&cluster.connection, "bench-latency", 100_000)?;
    // New entities, so that nothing here is older than what was loaded.
    let mut generator = Generator::from(cluster.schema_id, 10_000_000);
    let started = Instant::now();
    let mut acknowledgements = Vec::with_capacity(total as usize);
    for number in 0..total {
        let due = Duration::from_micros(number * 1_000_000 / u64::from(RATE));
        if let Some(wait) = due.checked_sub(started.elapsed()) {
            std::thread::park_timeout(wait);
        }
        acknowledgements.push(publisher.enqueue(&event(input, &mut generator, Some(now_us()?)))?);
    }
    cluster.runtime.block_on(async {
        for acknowledgement in acknowledgements {
            acknowledgement.wait().await?;
        }
        anyhow::Ok(())
    })
}

/// Microseconds from publish to arrival, in the order of arrival. Ends when every good event arrived.
fn read(cluster: &Cluster, output: &str, total: u64) -> anyhow::Result<Vec<u64>> {
    let group = format!("bench.latency.{output}");
    let consumer = Consumer::new(&cluster.connection.bootstrap_servers, &group, &[output])?;
    let (mut samples, good) = (Vec::new(), total - total / 100);
    let mut last = Instant::now();
    while (samples.len() as u64) < good {
        let Some(record) = consumer.next(Duration::from_millis(100))? else {
            anyhow::ensure!(last.elapsed().as_secs() < 60, "{} of {good} events arrived at {output}", samples.len());
            continue;
        };
        last = Instant::now();
        // What was loaded before carries no time of publication.
        let Some(at) = record.header(headers::PUBLISHED_AT) else { continue };
        samples.push(now_us()?.saturating_sub(at.parse().context("not a time of publication")?));
    }
    Ok(samples)
}

fn now_us() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}
