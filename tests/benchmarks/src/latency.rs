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
use crate::hops;
use crate::measure::{quantile, watch};

/// At the whole rate, until the clients are warm.
const WARM_UP: Duration = Duration::from_secs(2);
/// Between two events before the first has arrived.
const BEFORE: Duration = Duration::from_millis(20);
/// Longer than any backlog of the rows before takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// One rate, the limit first. `rate` in events a second; `turn` is another one each time, from 1 on. `as_much`: also a
/// limit that writes as much as the router does, which says how much of the difference is the broker's work.
pub fn run(cluster: &Cluster, turn: u64, rate: u32, seconds: u32, as_much: bool) -> anyhow::Result<Vec<LatencyRow>> {
    let pace = Pace { turn, rate, seconds };
    let first = [CopyTo { topic: "limit.hop1".to_owned(), value_bytes: None, one_of: 1 }];
    let one = [CopyTo { topic: "limit.hop2".to_owned(), value_bytes: None, one_of: 1 }];
    let limit = |second: &[CopyTo], what: &str| {
        let hops = [Hop { input: "limit.input", outputs: &first }, Hop { input: "limit.hop1", outputs: second }];
        beside(cluster, hops, || Paced { cluster, input: "limit.input", output: &second[0].topic, pace }.run(what))
    };
    let mut rows = vec![limit(&one, "limit: pass-through, two hops")?];
    if as_much {
        rows.push(limit(&hops::as_three_views(cluster)?, "pass-through, two hops, the second to three topics")?);
    }
    let validator = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let router = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let view = format!("view.{}", cluster.view_of("counter")?);
    rows.push(Paced { cluster, input: INPUT, output: &view, pace }.run("validator and router")?);
    validator.stop(&cluster.runtime)?;
    router.stop(&cluster.runtime)?;
    Ok(rows)
}

struct Hop<'a> {
    input: &'a str,
    outputs: &'a [CopyTo],
}

/// Measures while pass-throughs run.
fn beside(
    cluster: &Cluster,
    hops: [Hop<'_>; 2],
    measure: impl FnOnce() -> anyhow::Result<LatencyRow>,
) -> anyhow::Result<LatencyRow> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = hops.map(|Hop { input, outputs }| {
            let (over, bootstrap) = (&over, &cluster.connection.bootstrap_servers);
            scope.spawn(move || {
                let copy = PassThrough {
                    bootstrap,
                    input,
                    outputs,
                    group: &format!("limit.latency.{}", outputs[0].topic),
                    records: u64::MAX,
                    batch: 10_000,
                    committed: &AtomicU64::new(0),
                    stop: &|| over.load(Ordering::Relaxed),
                };
                copy.run()
            })
        });
        let result = measure();
        over.store(true, Ordering::Relaxed);
        for hop in running {
            hop.join().map_err(|_| anyhow::anyhow!("a hop of the limit panicked"))??;
        }
        result
    })
}

/// Validator and router at once on a backlog of so many events, until the router has worked off three quarters of what came
/// behind the first quarter. All of them share the machine, so beside them a publisher writes as much as the router works off,
/// and a subscriber reads it. Events a second: what all of it sustains.
pub fn both_at_once(cluster: &Cluster, records: u64) -> anyhow::Result<f64> {
    cluster.load_from(INPUT, cluster.new_entities(0)?, records)?;
    let view = format!("view.{}", cluster.view_of("counter")?);
    let validator = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let router = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let routed = || router.count("freshet_router_records_total");
    let over = AtomicBool::new(false);
    let measured = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_as_much(cluster, &routed, &over));
        let subscriber = scope.spawn(|| {
            let consumer = Consumer::new(&cluster.connection.bootstrap_servers, "bench.latency.beside", &[&view])?;
            while !over.load(Ordering::Relaxed) {
                consumer.next(Duration::from_millis(100))?;
            }
            anyhow::Ok(())
        });
        let measured = watch(&routed, records / 4, records / 4 * 3);
        over.store(true, Ordering::Relaxed);
        let published = publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
        subscriber.join().map_err(|_| anyhow::anyhow!("the subscriber panicked"))??;
        // What is left would stand before what is measured next. 1 of 100 is refused, and some is in the last batches.
        watch(&routed, 1, (records + published) / 100 * 97)?;
        measured
    })?;
    validator.stop(&cluster.runtime)?;
    router.stop(&cluster.runtime)?;
    Ok(measured.events_per_second())
}

/// Returns how many.
fn publish_as_much(
    cluster: &Cluster,
    routed: &(dyn Fn() -> anyhow::Result<u64> + Sync),
    over: &AtomicBool,
) -> anyhow::Result<u64> {
    const BATCH: u64 = 1_000;
    let publisher = Publisher::new(&cluster.connection, "bench-latency", 100_000)?;
    let mut generator = cluster.new_entities(1)?;
    let mut published = 0;
    while !over.load(Ordering::Relaxed) {
        if published >= routed()? {
            std::thread::park_timeout(Duration::from_millis(5));
            continue;
        }
        let batch: Vec<_> = (0..BATCH).map(|_| event(INPUT, &mut generator, None).0).collect();
        for result in cluster.runtime.block_on(publisher.publish_all(&batch)) {
            result?;
        }
        published += BATCH;
    }
    Ok(published)
}

#[derive(Debug, Clone, Copy)]
struct Pace {
    turn: u64,
    rate: u32,
    seconds: u32,
}

struct Paced<'a> {
    cluster: &'a Cluster,
    input: &'a str,
    output: &'a str,
    pace: Pace,
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
        let expected = u64::from(self.pace.rate) * u64::from(self.pace.seconds);
        // 1 of 100 is bad on purpose; the rest must all be there.
        anyhow::ensure!(
            latencies.len() as u64 + expected / 100 + 1 >= expected,
            "{} of {expected} events arrived at {}",
            latencies.len(),
            self.output
        );
        Ok(LatencyRow {
            what: what.to_owned(),
            rate_per_second: self.pace.rate,
            p50_ms: quantile(&mut latencies, 0.5) as f64 / 1_000.0,
            p99_ms: quantile(&mut latencies, 0.99) as f64 / 1_000.0,
        })
    }

    /// Returns the time from which on events are measured, microseconds since the epoch.
    fn publish(&self, arrived: &AtomicBool) -> anyhow::Result<u64> {
        let Pace { turn, rate, seconds } = self.pace;
        let publisher = Publisher::new(&self.cluster.connection, "bench-latency", 100_000)?;
        let mut generator = self.cluster.new_entities(turn)?;
        let mut acknowledgements = Vec::new();
        let mut publish = || {
            let event = event(self.input, &mut generator, Some(now_us()?)).0;
            acknowledgements.push(publisher.enqueue(&event)?);
            anyhow::Ok(())
        };
        // Few, until one has arrived: what came at the whole rate while the hops join their groups would have to be worked off
        // before there is anything to measure, which at half of what they sustain takes as long again.
        let began = Instant::now();
        while !arrived.load(Ordering::Relaxed) {
            anyhow::ensure!(began.elapsed() < PATIENCE, "nothing arrives at {}", self.output);
            publish()?;
            std::thread::park_timeout(BEFORE);
        }
        let started = Instant::now();
        let warm_up = u64::from(rate) * WARM_UP.as_secs();
        let mut measured_from = None;
        for number in 0..warm_up + u64::from(rate) * u64::from(seconds) {
            let due = Duration::from_micros(number * 1_000_000 / u64::from(rate));
            if let Some(wait) = due.checked_sub(started.elapsed()) {
                std::thread::park_timeout(wait);
            }
            if number == warm_up {
                measured_from = Some(now_us()?);
            }
            publish()?;
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
        let Self { cluster, output, pace: Pace { rate, .. }, .. } = self;
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

fn now_us() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}
