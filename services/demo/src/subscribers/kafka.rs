//! Departments that read their view's topic themselves, `read_committed`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use apache_avro::Schema;
use freshet_catalog_model::{Delivery, Grant};
use freshet_core::{headers, topics};
use freshet_testkit::departments::{Consumer, Received, Registry};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Desk;
use crate::books::Arrival;

/// Consumers at most. A department's client is three threads; forty small departments share a few.
const MOST: usize = 6;

pub(super) fn start(desk: &Desk, grants: &[Grant], tasks: &mut JoinSet<()>) {
    // Two grants of one view are two readers of one topic, so they never share a consumer.
    let mut consumers: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); MOST];
    let own = grants.iter().filter(|grant| grant.delivery == Delivery::Kafka);
    for (index, grant) in own.enumerate() {
        let topic = topics::view(&grant.view);
        let free = (0..MOST).map(|offset| (index + offset) % MOST).find(|at| !consumers[*at].contains_key(&topic));
        match free {
            Some(at) => drop(consumers[at].insert(topic, grant.id.clone())),
            None => consumers.push(BTreeMap::from([(topic, grant.id.clone())])),
        }
    }
    for (index, grant_by_topic) in consumers.into_iter().enumerate().filter(|(_, topics)| !topics.is_empty()) {
        let desk = desk.clone();
        let handle = Handle::current();
        tasks.spawn_blocking(move || {
            let group = format!("demo-{}-{index}", desk.reach.run);
            if let Err(error) = read(&desk, &group, &grant_by_topic, &handle) {
                desk.ledger.trouble(format!("kafka reader {group}: {error}"));
            }
        });
    }
}

fn read(desk: &Desk, group: &str, grant_by_topic: &BTreeMap<String, String>, handle: &Handle) -> anyhow::Result<()> {
    let topics: Vec<&str> = grant_by_topic.keys().map(String::as_str).collect();
    let consumer = Consumer::new(&desk.reach.kafka, group, &topics)?;
    let mut fields = Fields::new(desk);
    while !desk.stop.is_cancelled() {
        let record = match consumer.next(Duration::from_millis(200)) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            // A broker that restarts is no end.
            Err(error) => {
                desk.ledger.trouble(format!("kafka reader {group}: {error}"));
                continue;
            }
        };
        let Some(grant) = grant_by_topic.get(&record.topic) else { continue };
        let names = match &record.value {
            Some(value) => handle.block_on(fields.of(value))?,
            None => Vec::new(),
        };
        let arrival = Arrival {
            id: record.header(headers::ID).unwrap_or_default().to_owned(),
            key: String::from_utf8_lossy(&record.key).into_owned(),
            is_removal: record.value.is_none(),
        };
        desk.ledger.arrived(grant, arrival, names.into_iter(), latency_ms(&record));
    }
    Ok(())
}

pub(super) fn latency_ms(record: &Received) -> Option<i64> {
    let published_us: i64 = record.header(headers::PUBLISHED_AT)?.parse().ok()?;
    Some((jiff::Timestamp::now().as_microsecond() - published_us) / 1_000)
}

/// Names of the fields that a framed record has, by its schema. Told once a schema.
struct Fields {
    registry: Registry,
    told: HashMap<u32, ()>,
}

impl Fields {
    fn new(desk: &Desk) -> Self {
        Self { registry: Registry::new(&desk.reach.registry, None), told: HashMap::new() }
    }

    async fn of(&mut self, value: &[u8]) -> anyhow::Result<Vec<String>> {
        let id = schema_id(value).ok_or_else(|| anyhow::anyhow!("a record that is not in the wire format"))?;
        if self.told.insert(id, ()).is_some() {
            return Ok(Vec::new());
        }
        match &*self.registry.schema(id).await? {
            Schema::Record(record) => Ok(record.fields.iter().map(|field| field.name.clone()).collect()),
            other => anyhow::bail!("schema {id} is no record but {other:?}"),
        }
    }
}

pub(super) fn schema_id(framed: &[u8]) -> Option<u32> {
    let bytes = framed.get(1..5)?.try_into().ok()?;
    (framed[0] == 0).then_some(u32::from_be_bytes(bytes))
}
