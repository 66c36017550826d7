//! Validator and router, each against the pass-through that reads the same input and writes as much.

use std::time::Duration;

use freshet_testkit::departments::Consumer;
use freshet_testkit::limit::{CopyTo, PassThrough};

use crate::Row;
use crate::cluster::{CANONICAL, Cluster, INPUT, Running};
use crate::measure::{Cost, Stopwatch};

pub fn validator(cluster: &Cluster, records: u64) -> anyhow::Result<Vec<Row>> {
    let outputs = [CopyTo { topic: "limit.validator".to_owned(), value_bytes: None, one_of: 1 }];
    let limit = pass_through(cluster, INPUT, &outputs, records)?;
    let service = cluster.start_service(|connection, context| {
        freshet_validator::run(freshet_validator::Config::default(), connection, context)
    });
    let own = measured(&service, "freshet_validator_records_total", records)?;
    service.stop(&cluster.runtime)?;
    Ok(vec![
        row("limit: pass-through, one topic to one", records, limit, None),
        row("validator", own.0, own.1, Some((records, limit))),
    ])
}

pub fn router(cluster: &Cluster, records: u64) -> anyhow::Result<Vec<Row>> {
    let good = records - records / 100;
    let service = cluster.start_service(|connection, context| {
        freshet_router::run(freshet_router::Config::default(), connection, context)
    });
    let own = measured(&service, "freshet_router_records_total", good)?;
    service.stop(&cluster.runtime)?;
    let mut outputs = Vec::new();
    for (grant, one_of) in [("counter", 1), ("tax", 1), ("police", 20)] {
        let topic = format!("view.{}", cluster.view_of(grant)?);
        let value_bytes = Some(mean_value_bytes(cluster, &topic)?);
        outputs.push(CopyTo { topic: format!("limit.router.{grant}"), value_bytes, one_of });
    }
    let limit = pass_through(cluster, CANONICAL, &outputs, good)?;
    Ok(vec![
        row("limit: pass-through, one topic to three", good, limit, None),
        row("router, three views", own.0, own.1, Some((good, limit))),
    ])
}

/// From the first batch that was counted to the last record: how many, and what they cost.
fn measured(service: &Running, counter: &str, records: u64) -> anyhow::Result<(u64, Cost)> {
    let first = service.wait_for(counter, 1)?;
    let watch = Stopwatch::start()?;
    let last = service.wait_for(counter, records)?;
    Ok((last - first, watch.stop()?))
}

fn pass_through(cluster: &Cluster, input: &str, outputs: &[CopyTo], records: u64) -> anyhow::Result<Cost> {
    let watch = Stopwatch::start()?;
    let bootstrap = cluster.connection.bootstrap_servers.clone();
    let group = format!("limit.{input}");
    let copy =
        PassThrough { bootstrap: &bootstrap, input, outputs, group: &group, records, batch: 10_000, stop: &|| false };
    let wall = copy.run()?;
    Ok(Cost { wall, cpu: watch.stop()?.cpu })
}

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
    }
}

fn mean_value_bytes(cluster: &Cluster, topic: &str) -> anyhow::Result<usize> {
    let consumer = Consumer::new(&cluster.connection.bootstrap_servers, &format!("bench.sizes.{topic}"), &[topic])?;
    let (mut bytes, mut count) = (0, 0);
    while count < 1_000 {
        let Some(record) = consumer.next(Duration::from_secs(10))? else { break };
        bytes += record.value.map_or(0, |value| value.len());
        count += 1;
    }
    Ok(bytes / count.max(1))
}
