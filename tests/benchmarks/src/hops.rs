//! Validator and router, each against the pass-through that reads the same input and writes as much. They take turns
//! (limit, ours, limit, ours, …), each going on where it stopped, so that a noisy machine disturbs both.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use freshet_avro::{Walk, framing};
use freshet_catalog_model::compiled::{CompiledDataset, CompiledView};
use freshet_testkit::limit::{CopyTo, PassThrough};

use crate::Row;
use crate::cluster::{CANONICAL, Cluster, INPUT, Running};
use crate::licence::{Defect, Generator};
use crate::measure::{Stretch, watch};
use crate::process::Process;
use crate::turns::in_turns;

/// How much of a topic each turn has.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    pub records: u64,
    pub rounds: u32,
    /// All of it is worked off: one turn, behind which nothing is left for another.
    pub whole: bool,
}

impl Turns {
    pub fn new(records: u64, rounds: u32) -> Self {
        Self { records, rounds, whole: false }
    }

    pub fn whole(records: u64) -> Self {
        Self { records, rounds: 1, whole: true }
    }

    /// Of each turn's records the first quarter warms up: connections, state, caches. The last tenth is left for the
    /// batches that are under way when the measuring ends.
    pub fn bounds(self) -> (u64, u64) {
        if self.whole {
            return (self.records / 4, self.records);
        }
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
    in_turns(("limit: pass-through, one topic to one", &limit), ("validator", &own), turns.rounds)
}

/// The input is what the validator wrote: 99 of 100 records, without the last that it left.
pub fn router(cluster: &Cluster, turns: Turns) -> anyhow::Result<Vec<Row>> {
    let turns = Turns { records: turns.records * 9 / 10, ..turns };
    let outputs = as_three_views(cluster)?;
    let limit = || pass_through(cluster, CANONICAL, &outputs, turns);
    let own = || {
        let service = cluster.start_service(|connection, context| {
            freshet_router::run(freshet_router::Config::default(), connection, context)
        });
        measured(service, cluster, "freshet_router_records_total", turns)
    };
    in_turns(("limit: pass-through, one topic to three", &limit), ("router, three views", &own), turns.rounds)
}

const READY_LIMIT: Duration = Duration::from_secs(60);

/// One of each on new records, as a process of its own: its CPU and its memory are nobody else's.
pub fn as_processes(program: &Path, cluster: &Cluster, records: u64) -> anyhow::Result<Vec<Row>> {
    cluster.load_from(INPUT, cluster.new_entities(1)?, records)?;
    let validated = ("validator, a process of its own", "validator", "freshet_validator_records_total", records);
    let routed = ("router, a process of its own", "router", "freshet_router_records_total", records / 100 * 99);
    let worked_off = |(what, role, counter, records): (&str, _, _, u64)| {
        let mut process = Process::start(program, role, cluster, &[])?;
        process.wait_until_ready(READY_LIMIT)?;
        let row = process.work_off(what, counter, (records / 4, records - records / 10))?;
        // What it leaves would be the next one's.
        process.wait_for(counter, records)?;
        process.stop();
        anyhow::Ok(row)
    };
    Ok(vec![worked_off(validated)?, worked_off(routed)?])
}

/// Two instances of each on new records, as Kafka Streams has two threads.
pub fn two_of_each(cluster: &Cluster, records: u64) -> anyhow::Result<Vec<Row>> {
    cluster.load_from(INPUT, cluster.new_entities(0)?, records)?;
    let validators = [0, 1].map(|instance| {
        let config = freshet_validator::Config { instance: instance.to_string(), ..Default::default() };
        cluster.start_service(|connection, context| freshet_validator::run(config, connection, context))
    });
    let validated = both("two validators", validators, cluster, "freshet_validator_records_total", records)?;
    let routers = [0, 1].map(|instance| {
        let config = freshet_router::Config { instance: instance.to_string(), ..Default::default() };
        cluster.start_service(|connection, context| freshet_router::run(config, connection, context))
    });
    let routed = both("two routers, three views", routers, cluster, "freshet_router_records_total", records * 9 / 10)?;
    Ok(vec![validated, routed])
}

fn both(what: &str, services: [Running; 2], cluster: &Cluster, counter: &str, records: u64) -> anyhow::Result<Row> {
    let count = || services.iter().map(|service| service.count(counter)).sum();
    let stretch = watch(&count, records / 4, records - records / 10)?;
    for service in services {
        service.stop(&cluster.runtime)?;
    }
    Ok(Row {
        what: what.to_owned(),
        events: stretch.events,
        events_per_second: stretch.events_per_second(),
        cpu_us_per_event: stretch.cpu_us_per_event(),
        peak_memory_mib: Some(stretch.peak_memory_mib),
        ..Row::default()
    })
}

/// As many records of the same sizes as the router writes.
pub fn as_three_views(cluster: &Cluster) -> anyhow::Result<Vec<CopyTo>> {
    let views = [("counter", 1), ("tax", 1), ("police", 20)];
    let output = |(grant, one_of)| {
        let value_bytes = Some(mean_value_bytes(cluster, grant)?);
        Ok(CopyTo { topic: format!("limit.router.{grant}"), value_bytes, one_of })
    };
    views.into_iter().map(output).collect()
}

/// Lets a service work off its turn of what stands in its topics, and ends it.
pub fn measured(service: Running, cluster: &Cluster, counter: &str, turns: Turns) -> anyhow::Result<Stretch> {
    let (from, to) = turns.bounds();
    let stretch = watch(&|| service.count(counter), from, to);
    service.stop(&cluster.runtime)?;
    stretch
}

pub fn pass_through(cluster: &Cluster, input: &str, outputs: &[CopyTo], turns: Turns) -> anyhow::Result<Stretch> {
    let (from, to) = turns.bounds();
    let committed = AtomicU64::new(0);
    let copy = PassThrough {
        bootstrap: &cluster.connection.bootstrap_servers,
        input,
        outputs,
        group: &format!("limit.{input}.{}", outputs.len()),
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

/// Of the view's records, by projecting some of the workload.
pub fn mean_value_bytes(cluster: &Cluster, grant: &str) -> anyhow::Result<usize> {
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
