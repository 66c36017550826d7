//! Validator and router, each against the pass-through that reads the same input and writes as much. They take turns
//! (limit, ours, limit, ours, …), each going on where it stopped, so that a noisy machine disturbs both.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use freshet_avro::{Walk, framing};
use freshet_catalog_model::compiled::{CompiledDataset, CompiledView};
use freshet_testkit::limit::{CopyTo, PassThrough};

use crate::Row;
use crate::cluster::{CANONICAL, Cluster, INPUT, Running};
use crate::licence::{Defect, Generator};
use crate::measure::{Cost, Stretch, median, watch};

/// How much of a topic each turn has.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    pub records: u64,
    pub rounds: u32,
}

impl Turns {
    /// Of each turn's records the first quarter warms up: connections, state, caches. The last tenth is left for the
    /// batches that are under way when the measuring ends.
    fn bounds(self) -> (u64, u64) {
        let turn = self.records / u64::from(self.rounds);
        (turn / 4, turn - turn / 10)
    }
}

pub fn validator(cluster: &Cluster, turns: Turns) -> anyhow::Result<Vec<Row>> {
    let outputs = [CopyTo { topic: "limit.validator".to_owned(), value_bytes: None, one_of: 1 }];
    let limit = || pass_through(cluster, INPUT, &outputs, turns);
    let own = || {
        let service = cluster.start_service(|connection, context| {
            freshet_validator::run(freshet_validator::Config::default(), connection, context)
        });
        measured(service, cluster, "freshet_validator_records_total", turns)
    };
    in_turns(("limit: pass-through, one topic to one", &limit), ("validator", &own), turns)
}

/// The input is what the validator wrote: 99 of 100 records, without the last that it left.
pub fn router(cluster: &Cluster, turns: Turns) -> anyhow::Result<Vec<Row>> {
    let turns = Turns { records: turns.records * 9 / 10, ..turns };
    let mut outputs = Vec::new();
    for (grant, one_of) in [("counter", 1), ("tax", 1), ("police", 20)] {
        let value_bytes = Some(mean_value_bytes(cluster, grant)?);
        outputs.push(CopyTo { topic: format!("limit.router.{grant}"), value_bytes, one_of });
    }
    let limit = || pass_through(cluster, CANONICAL, &outputs, turns);
    let own = || {
        let service = cluster.start_service(|connection, context| {
            freshet_router::run(freshet_router::Config::default(), connection, context)
        });
        measured(service, cluster, "freshet_router_records_total", turns)
    };
    in_turns(("limit: pass-through, one topic to three", &limit), ("router, three views", &own), turns)
}

type Turn<'a> = (&'a str, &'a dyn Fn() -> anyhow::Result<Stretch>);

fn in_turns(limit: Turn<'_>, own: Turn<'_>, turns: Turns) -> anyhow::Result<Vec<Row>> {
    let mut pairs = Vec::new();
    for round in 1..=turns.rounds {
        let pair = (limit.1()?, own.1()?);
        for (name, stretch) in [(limit.0, pair.0), (own.0, pair.1)] {
            let (rate, cpu) = (stretch.events_per_second(), stretch.cpu_us_per_event());
            eprintln!("  round {round}: {name}: {rate:.0} events/s, {cpu:.2} µs CPU an event");
        }
        pairs.push(pair);
    }
    let of = |pick: &dyn Fn(&(Stretch, Stretch)) -> f64| pairs.iter().map(pick).collect::<Vec<f64>>();
    let ratios = of(&|(limit, own)| own.events_per_second() / limit.events_per_second());
    let cpu_ratios = of(&|(limit, own)| own.cpu_us_per_event() / limit.cpu_us_per_event());
    let first = pairs.first().context("no rounds")?.1;
    let peak = |pick: &dyn Fn(&(Stretch, Stretch)) -> Stretch| {
        pairs.iter().map(|pair| pick(pair).peak_memory_mib).max().unwrap_or_default()
    };
    let limit_row = Row {
        what: limit.0.to_owned(),
        events: pairs.iter().map(|pair| pair.0.events).sum(),
        events_per_second: median(&of(&|pair| pair.0.events_per_second())),
        cpu_us_per_event: median(&of(&|pair| pair.0.cpu_us_per_event())),
        peak_memory_mib: Some(peak(&|pair| pair.0)),
        ..Row::default()
    };
    let own_row = Row {
        what: own.0.to_owned(),
        events: pairs.iter().map(|pair| pair.1.events).sum(),
        events_per_second: median(&of(&|pair| pair.1.events_per_second())),
        cpu_us_per_event: median(&of(&|pair| pair.1.cpu_us_per_event())),
        ratio: Some(median(&ratios)),
        cpu_ratio: Some(median(&cpu_ratios)),
        spread: Some(spread(&ratios)),
        cpu_spread: Some(spread(&cpu_ratios)),
        peak_memory_mib: Some(peak(&|pair| pair.1)),
        first_second: Some(first.first_second as f64 / first.events_per_second()),
    };
    Ok(vec![limit_row, own_row])
}

/// Least and greatest.
fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)))
}

fn measured(service: Running, cluster: &Cluster, counter: &str, turns: Turns) -> anyhow::Result<Stretch> {
    let (from, to) = turns.bounds();
    let stretch = watch(&|| service.count(counter), from, to);
    service.stop(&cluster.runtime)?;
    stretch
}

fn pass_through(cluster: &Cluster, input: &str, outputs: &[CopyTo], turns: Turns) -> anyhow::Result<Stretch> {
    let (from, to) = turns.bounds();
    let committed = AtomicU64::new(0);
    let copy = PassThrough {
        bootstrap: &cluster.connection.bootstrap_servers,
        input,
        outputs,
        group: &format!("limit.{input}"),
        records: to,
        batch: 10_000,
        committed: &committed,
        stop: &|| false,
    };
    std::thread::scope(|scope| {
        let limit = std::thread::Builder::new().name("limit".to_owned()).spawn_scoped(scope, || copy.run())?;
        let stretch = watch(
            &|| {
                anyhow::ensure!(
                    !limit.is_finished() || committed.load(Ordering::Relaxed) >= to,
                    "the limit ended early"
                );
                Ok(committed.load(Ordering::Relaxed))
            },
            from,
            to,
        );
        limit.join().map_err(|_| anyhow::anyhow!("the limit panicked"))??;
        stretch
    })
}

/// A row that was measured once.
pub fn row(what: &str, events: u64, cost: Cost, limit: Option<(u64, Cost)>) -> Row {
    let rate = |events: u64, cost: &Cost| events as f64 / cost.wall.as_secs_f64();
    let cpu = |events: u64, cost: &Cost| cost.cpu.as_secs_f64() * 1e6 / events as f64;
    Row {
        what: what.to_owned(),
        events,
        events_per_second: rate(events, &cost),
        cpu_us_per_event: cpu(events, &cost),
        ratio: limit.map(|(count, limit)| rate(events, &cost) / rate(count, &limit)),
        cpu_ratio: limit.map(|(count, limit)| cpu(events, &cost) / cpu(count, &limit)),
        ..Row::default()
    }
}

/// Of the view's records, by projecting some of the workload.
fn mean_value_bytes(cluster: &Cluster, grant: &str) -> anyhow::Result<usize> {
    const SAMPLES: usize = 1_000;
    let dataset = CompiledDataset::compile(&cluster.catalog, "licence")?;
    let view = CompiledView::compile(&cluster.catalog, &dataset, &cluster.view_of(grant)?)?;
    let projection = view.projection(cluster.schema_id).context("the view has no projection")?;
    let plan = &dataset.schema(cluster.schema_id).context("the dataset has no schema")?.plan;
    let mut generator = Generator::new(1, cluster.schema_id, u64::MAX);
    let (mut walk, mut out, mut count) = (Walk::new(), Vec::new(), 0);
    while count < SAMPLES {
        let licence = generator.next_licence();
        let (_, datum) = framing::split(&licence.value)?;
        if licence.defect == Defect::None && plan.check(datum, &mut walk) {
            projection.project(plan, &walk, datum, &mut out);
            count += 1;
        }
    }
    Ok(out.len() / count + framing::HEADER_BYTES)
}
