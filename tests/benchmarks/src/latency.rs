//! Publish → `read_committed` subscriber through validator and router, beside a pass-through of two hops with the same
//! transactions in the same run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use freshet_core::headers;
use freshet_kafka::publisher::Publisher;
use freshet_testkit::departments::Consumer;
use freshet_testkit::limit::{CopyTo, PassThrough};

use crate::LatencyRow;
use crate::cluster::{Cluster, INPUT, event};
use crate::licence::Generator;
use crate::measure::{quantile, watch};

/// From the first event that arrives: what stood in the topics before is worked off, and the clients are warm.
const WARM_UP: Duration = Duration::from_secs(2);
/// Longer than any backlog of the rows before takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One rate, the limit first. `rate` in events a second; `turn` is another one each time, from 1 on.
pub fn run(cluster: &Cluster, turn: u64, rate: u32, seconds: u32) -> anyhow::Result<Vec<LatencyRow>> {
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
                    committed: &AtomicU64::new(0),
                    stop: &stop,
                };
                copy.run()
            })
        };
        let hops = [hop("limit.input", "limit.hop1"), hop("limit.hop1", "limit.hop2")];
        let paced = Paced { cluster, input: "limit.input", output: "limit.hop2", turn, rate, seconds };
        let result = paced.run("limit: pass-through, two hops");
        over.store(true, Ordering::Relaxed);
        for hop in hops {
            hop.join().map_err(|_| anyhow::anyhow!("a hop of the limit panicked"))??;
        }
        result
    })?;

    let validator = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let router = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let view = format!("view.{}", cluster.view_of("counter")?);
    let own = Paced { cluster, input: INPUT, output: &view, turn, rate, seconds }.run("validator and router")?;
    validator.stop(&cluster.runtime)?;
    router.stop(&cluster.runtime)?;
    Ok(vec![limit, own])
}

/// Validator and router at once on a backlog of so many events, until the router has worked off three quarters of what came
/// behind the first quarter. Events a second: what the two sustain, with a publisher and a subscriber away.
pub fn both_at_once(cluster: &Cluster, records: u64) -> anyhow::Result<f64> {
    let generator = new_entities(cluster, 0)?;
    cluster.load_from(INPUT, generator, records)?;
    let validator = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let router = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let routed = watch(&|| router.count("freshet_router_records_total"), records / 4, records / 4 * 3)?;
    validator.stop(&cluster.runtime)?;
    router.stop(&cluster.runtime)?;
    Ok(routed.events_per_second())
}

struct Paced<'a> {
    cluster: &'a Cluster,
    input: &'a str,
    output: &'a str,
    turn: u64,
    rate: u32,
    seconds: u32,
}

impl Paced<'_> {
    /// Publishes at the rate until the warm-up and so many seconds behind it are over, and measures when the subscriber
    /// has each event that was published behind the warm-up.
    fn run(&self, what: &str) -> anyhow::Result<LatencyRow> {
        let (arrived, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (samples, measured_from) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.read(&arrived, &over));
            let published = self.publish(&arrived);
            over.store(true, Ordering::Relaxed);
            let samples = reader.join().map_err(|_| anyhow::anyhow!("the subscriber panicked"))??;
            anyhow::Ok((samples, published?))
        })?;
        let warm = samples.into_iter().filter(|(published_us, _)| *published_us >= measured_from);
        let mut latencies: Vec<u64> = warm.map(|(_, latency_us)| latency_us).collect();
        let expected = u64::from(self.rate) * u64::from(self.seconds);
        // 1 of 100 is bad on purpose; the rest must all be there.
        anyhow::ensure!(
            latencies.len() as u64 + expected / 100 + 1 >= expected,
            "{} of {expected} events arrived at {}",
            latencies.len(),
            self.output
        );
        Ok(LatencyRow {
            what: what.to_owned(),
            rate_per_second: self.rate,
            p50_ms: quantile(&mut latencies, 0.5) as f64 / 1_000.0,
            p99_ms: quantile(&mut latencies, 0.99) as f64 / 1_000.0,
        })
    }

    /// Returns the time from which on events are measured, microseconds since the epoch.
    fn publish(&self, arrived: &AtomicBool) -> anyhow::Result<u64> {
        let publisher = Publisher::new(&self.cluster.connection, "bench-latency", 100_000)?;
        let mut generator = new_entities(self.cluster, self.turn)?;
        let started = Instant::now();
        let (mut acknowledgements, mut warm_up, mut measured_from) = (Vec::new(), None, None);
        let mut number = 0_u64;
        let mut ends_at = u64::MAX;
        while number < ends_at {
            let due = Duration::from_micros(number * 1_000_000 / u64::from(self.rate));
            if let Some(wait) = due.checked_sub(started.elapsed()) {
                std::thread::park_timeout(wait);
            }
            if warm_up.is_none() && arrived.load(Ordering::Relaxed) {
                warm_up = Some(Instant::now());
            }
            anyhow::ensure!(warm_up.is_some() || started.elapsed() < PATIENCE, "nothing arrives at {}", self.output);
            if measured_from.is_none() && warm_up.is_some_and(|since| since.elapsed() > WARM_UP) {
                measured_from = Some(now_us()?);
                ends_at = number + u64::from(self.rate) * u64::from(self.seconds);
            }
            acknowledgements.push(publisher.enqueue(&event(self.input, &mut generator, Some(now_us()?)).0)?);
            number += 1;
        }
        self.cluster.runtime.block_on(async {
            for acknowledgement in acknowledgements {
                acknowledgement.wait().await?;
            }
            anyhow::Ok(())
        })?;
        measured_from.context("nothing was measured")
    }

    /// When each event was published, and how long it took, both in microseconds. Ends when nothing more comes behind the
    /// last that was published.
    fn read(&self, arrived: &AtomicBool, over: &AtomicBool) -> anyhow::Result<Vec<(u64, u64)>> {
        let Self { cluster, output, rate, .. } = self;
        let group = format!("bench.latency.{output}.{rate}");
        let consumer = Consumer::new(&cluster.connection.bootstrap_servers, &group, &[output])?;
        let begun = now_us()?;
        let mut samples = Vec::new();
        loop {
            let was_over = over.load(Ordering::Relaxed);
            let Some(record) = consumer.next(Duration::from_secs(1))? else {
                if was_over {
                    return Ok(samples);
                }
                continue;
            };
            // What was loaded before carries no time of publication; that of an earlier rate carries an earlier one.
            let Some(at) = record.header(headers::PUBLISHED_AT) else { continue };
            let published: u64 = at.parse().context("not a time of publication")?;
            if published >= begun {
                samples.push((published, now_us()?.saturating_sub(published)));
                arrived.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Newer than what was loaded, and than those of the turns before, of which each has fewer than ten millions.
fn new_entities(cluster: &Cluster, turn: u64) -> anyhow::Result<Generator> {
    Ok(Generator::from(cluster.schema_id, now_us()? / 1_000 + turn * 10_000_000))
}

fn now_us() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}
