//! Publish → `read_committed` subscriber through validator and router, beside a pass-through of two hops with the same
//! transactions in the same run.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use freshet_core::headers;
use freshet_kafka::publisher::Publisher;
use freshet_testkit::departments::Consumer;
use freshet_testkit::limit::{CopyTo, PassThrough};

use crate::cluster::{Cluster, INPUT, Running, event};
use crate::hops;
use crate::licence::Generator;
use crate::measure::{median, quantile, watch};
use crate::{LatencyRow, Ratio};

/// At the whole rate, until the clients are warm.
const WARM_UP: Duration = Duration::from_millis(1_500);
/// Between two events before one of each partition has arrived.
const BEFORE: Duration = Duration::from_millis(20);
/// Longer than any backlog of the rows before takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long each row is measured, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    pub seconds: u32,
    pub rounds: u32,
}

/// Validator and router at once, in this process. They stay while all of it is measured: a start reads state back.
pub struct Both<'a> {
    cluster: &'a Cluster,
    validator: Running,
    router: Running,
    /// The topic of the view that the subscriber reads.
    view: String,
    generator: Generator,
}

impl<'a> Both<'a> {
    pub fn start(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let validator = cluster.start_service(|connection, context| {
            freshet_validator::run(freshet_validator::Config::default(), connection, context)
        });
        let router = cluster.start_service(|connection, context| {
            freshet_router::run(freshet_router::Config::default(), connection, context)
        });
        let view = format!("view.{}", cluster.view_of("counter")?);
        Ok(Self { cluster, validator, router, view, generator: cluster.new_entities(2)? })
    }

    pub fn stop(self) -> anyhow::Result<()> {
        self.validator.stop(&self.cluster.runtime)?;
        self.router.stop(&self.cluster.runtime)
    }

    /// On a backlog of so many events that was there when they started, until the router has worked off three quarters of what
    /// came behind the first quarter. All of them share the machine, so beside them a publisher writes as much as the router
    /// works off, and a subscriber reads it. Events a second: what all of it sustains.
    pub fn sustained(&self, backlog: u64) -> anyhow::Result<f64> {
        let Self { cluster, router, view, .. } = self;
        let routed = || router.count("freshet_router_records_total");
        let over = AtomicBool::new(false);
        let measured = std::thread::scope(|scope| {
            let publisher = scope.spawn(|| publish_as_much(cluster, &routed, &over));
            let subscriber = scope.spawn(|| {
                let consumer = Consumer::new(&cluster.connection.bootstrap_servers, "bench.latency.beside", &[view])?;
                while !over.load(Ordering::Relaxed) {
                    consumer.next(Duration::from_millis(100))?;
                }
                anyhow::Ok(())
            });
            let measured = watch(&routed, backlog / 4, backlog / 4 * 3);
            over.store(true, Ordering::Relaxed);
            let published = publisher.join().map_err(|_| anyhow::anyhow!("the publisher panicked"))??;
            subscriber.join().map_err(|_| anyhow::anyhow!("the subscriber panicked"))??;
            // What is left would stand before what is measured next. 1 of 100 is refused, and some is in the last batches.
            watch(&routed, 1, (backlog + published) / 100 * 97)?;
            measured
        })?;
        Ok(measured.events_per_second())
    }

    /// At a rate, in events a second, in rounds: ours, the limit, and with `as_much` also a limit that writes as much as the
    /// router does, which says how much of the difference is the broker's work.
    pub fn latency(&mut self, rate: u32, rounds: Rounds, as_much: bool) -> anyhow::Result<Vec<LatencyRow>> {
        eprintln!("latency at {rate} events/s");
        let Self { cluster, view, generator, .. } = self;
        let one = [CopyTo { topic: "limit.hop2".to_owned(), value_bytes: None, one_of: 1 }];
        let three = hops::as_three_views(cluster)?;
        let pace = Pace { rate, seconds: rounds.seconds };
        let (mut limit, mut writes_as_much, mut own) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds.rounds {
            let mut own_turn = |generator: &mut Generator| {
                own.push(Paced { cluster, input: INPUT, output: view, pace }.run(generator)?);
                anyhow::Ok(())
            };
            // Ours goes first and last in turn: whoever goes first meets what the round before left behind.
            if round % 2 == 0 {
                own_turn(generator)?;
            }
            limit.push(pass_through(cluster, &one, pace, generator)?);
            if as_much {
                writes_as_much.push(pass_through(cluster, &three, pace, generator)?);
            }
            if round % 2 == 1 {
                own_turn(generator)?;
            }
            eprintln!("{}", told(round, [("limit", &limit), ("as much", &writes_as_much), ("ours", &own)]));
        }
        let mut rows = vec![row("limit: pass-through, two hops", rate, &limit, None)];
        if as_much {
            let what = "pass-through, two hops, the second to three topics";
            rows.push(row(what, rate, &writes_as_much, Some(&limit)));
        }
        rows.push(row("validator and router", rate, &own, Some(&limit)));
        Ok(rows)
    }
}

/// Of one turn.
#[derive(Debug, Clone, Copy)]
struct Latency {
    p50_ms: f64,
    p99_ms: f64,
}

/// A turn of the row that writes as much as the router, for its broker's sake.
pub fn not_counted(cluster: &Cluster) -> anyhow::Result<()> {
    let second = hops::as_three_views(cluster)?;
    let pace = Pace { rate: 5_000, seconds: 4 };
    pass_through(cluster, &second, pace, &mut cluster.new_entities(3)?).map(drop)
}

/// A turn of two pass-throughs, of which the second writes `second`.
fn pass_through(
    cluster: &Cluster,
    second: &[CopyTo],
    pace: Pace,
    generator: &mut Generator,
) -> anyhow::Result<Latency> {
    let first = [CopyTo { topic: "limit.hop1".to_owned(), value_bytes: None, one_of: 1 }];
    let hops = [Hop { input: "limit.input", outputs: &first }, Hop { input: "limit.hop1", outputs: second }];
    let paced = Paced { cluster, input: "limit.input", output: &second[0].topic, pace };
    beside(cluster, hops, || paced.run(generator))
}

/// The last turn of each row.
fn told(round: u32, rows: [(&str, &Vec<Latency>); 3]) -> String {
    let last = rows.iter().filter_map(|(name, turns)| Some((name, turns.last()?)));
    let turns: Vec<_> = last.map(|(name, turn)| format!("{name} {:.0}, {:.0} ms", turn.p50_ms, turn.p99_ms)).collect();
    format!("  round {}: {}", round + 1, turns.join("; "))
}

/// The middle of the rounds, and how they stand to the limit of the same round.
fn row(what: &str, rate_per_second: u32, turns: &[Latency], limit: Option<&[Latency]>) -> LatencyRow {
    let middle = |pick: fn(&Latency) -> f64| median(&turns.iter().map(pick).collect::<Vec<_>>());
    let ratio = |pick: fn(&Latency) -> f64| {
        let ratios: Vec<f64> = turns.iter().zip(limit?).map(|(turn, limit)| pick(turn) / pick(limit)).collect();
        Some(Ratio::of(&ratios))
    };
    LatencyRow {
        what: what.to_owned(),
        rate_per_second,
        p50_ms: middle(|turn| turn.p50_ms),
        p99_ms: middle(|turn| turn.p99_ms),
        p50_ratio: ratio(|turn| turn.p50_ms),
        p99_ratio: ratio(|turn| turn.p99_ms),
    }
}

struct Hop<'a> {
    input: &'a str,
    outputs: &'a [CopyTo],
}

/// Measures while pass-throughs run.
fn beside(
    cluster: &Cluster,
    hops: [Hop<'_>; 2],
    measure: impl FnOnce() -> anyhow::Result<Latency>,
) -> anyhow::Result<Latency> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = hops.map(|Hop { input, outputs }| {
            let (over, bootstrap) = (&over, &cluster.connection.bootstrap_servers);
            scope.spawn(move || {
                let copy = PassThrough {
                    bootstrap,
                    input,
                    outputs,
                    group: &format!("limit.latency.{input}"),
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
    fn run(&self, generator: &mut Generator) -> anyhow::Result<Latency> {
        let (arrived, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let (samples, measured_from) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.read(&arrived, &over));
            let published = self.publish(generator, &arrived);
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
        Ok(Latency {
            p50_ms: quantile(&mut latencies, 0.5) as f64 / 1_000.0,
            p99_ms: quantile(&mut latencies, 0.99) as f64 / 1_000.0,
        })
    }

    /// Returns the time from which on events are measured, microseconds since the epoch.
    fn publish(&self, generator: &mut Generator, arrived: &AtomicBool) -> anyhow::Result<u64> {
        let Pace { rate, seconds } = self.pace;
        let publisher = Publisher::new(&self.cluster.connection, "bench-latency", 100_000)?;
        let mut acknowledgements = Vec::new();
        let mut publish = || {
            let event = event(self.input, generator, Some(now_us()?)).0;
            acknowledgements.push(publisher.enqueue(&event)?);
            anyhow::Ok(())
        };
        // Few, until one has arrived from each partition: what came at the whole rate while the hops join their groups would have
        // to be worked off before there is anything to measure, which at half of what they sustain takes as long again. And behind
        // the first of a partition the hops have nothing left there of what the rows before published.
        let began = Instant::now();
        while !arrived.load(Ordering::Relaxed) {
            anyhow::ensure!(began.elapsed() < PATIENCE, "nothing arrives at {}", self.output);
            publish()?;
            std::thread::park_timeout(BEFORE);
        }
        let started = Instant::now();
        let warm_up = u64::from(rate) * WARM_UP.as_millis() as u64 / 1_000;
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
    /// last that was published. `arrived` is set when each partition has given one.
    fn read(&self, arrived: &AtomicBool, over: &AtomicBool) -> anyhow::Result<Vec<(u64, u64)>> {
        let Self { cluster, output, pace: Pace { rate, .. }, .. } = self;
        let group = format!("bench.latency.{output}.{rate}");
        // Not what was loaded before: it would have to be read first.
        let at_the_end = &[("auto.offset.reset", "latest")];
        let consumer = Consumer::with(&cluster.connection.bootstrap_servers, &group, &[output], at_the_end)?;
        let begun = now_us()?;
        let (mut samples, mut begun_partitions) = (Vec::new(), HashSet::new());
        loop {
            let was_over = over.load(Ordering::Relaxed);
            let Some(record) = consumer.next(Duration::from_secs(1))? else {
                if was_over {
                    return Ok(samples);
                }
                continue;
            };
            // What the hops had left of what was loaded carries no time of publication; that of an earlier rate an earlier one.
            let Some(at) = record.header(headers::PUBLISHED_AT) else { continue };
            let published: u64 = at.parse().context("not a time of publication")?;
            if published >= begun {
                samples.push((published, now_us()?.saturating_sub(published)));
                begun_partitions.insert(record.partition);
                arrived.store(begun_partitions.len() == cluster.partitions(), Ordering::Relaxed);
            }
        }
    }
}

fn now_us() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_to_the_limit_of_the_same_round() {
        let turns = |values: [(f64, f64); 3]| values.map(|(p50_ms, p99_ms)| Latency { p50_ms, p99_ms });
        let limit = turns([(10.0, 20.0), (20.0, 80.0), (40.0, 40.0)]);
        let own = row("ours", 1_000, &turns([(20.0, 10.0), (20.0, 80.0), (50.0, 80.0)]), Some(&limit));
        assert_eq!((own.p50_ms, own.p99_ms), (20.0, 80.0));
        assert_eq!(own.p50_ratio, Some(Ratio { middle: 1.25, least: 1.0, greatest: 2.0 }));
        assert_eq!(own.p99_ratio, Some(Ratio { middle: 1.0, least: 0.5, greatest: 2.0 }));
        assert_eq!(row("limit", 1_000, &limit, None).p50_ratio, None);
    }
}
