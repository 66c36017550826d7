//! Departments that read their view's topic themselves, `read_committed`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use freshet_catalog_model::{Delivery as DeliveryOf, Grant};
use freshet_core::{headers, topics};
use freshet_testkit::departments::Received;
use tokio::runtime::Handle;

use super::authority::Places;
use super::reader::Reader;
use super::{Desk, Rows};
use crate::history::{Delivery, content};
use crate::ledger::now;

/// A department's client is three threads; the small departments share a few.
const CONSUMERS: usize = 5;

/// The grants of each reader by topic. Two grants of one view are two readers of one topic.
pub fn shares(grants: &[Grant]) -> Vec<BTreeMap<String, String>> {
    let mut shares: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); CONSUMERS];
    for (index, grant) in grants.iter().filter(|grant| grant.delivery == DeliveryOf::Kafka).enumerate() {
        let topic = topics::view(&grant.view);
        let free = (0..CONSUMERS).map(|more| (index + more) % CONSUMERS).find(|at| !shares[*at].contains_key(&topic));
        match free {
            Some(at) => drop(shares[at].insert(topic, grant.id.clone())),
            None => shares.push(BTreeMap::from([(topic, grant.id.clone())])),
        }
    }
    shares.retain(|share| !share.is_empty());
    shares
}

/// Reads until it is stopped. Blocking.
pub fn read(desk: &Desk, group: &str, share: &BTreeMap<String, String>, handle: &Handle) -> anyhow::Result<()> {
    let names: Vec<&str> = share.keys().map(String::as_str).collect();
    let mut reader = Reader::new(desk, group, names)?;
    let mut rows = Rows::new(&desk.registry);
    let mut places = Places::default();
    let plain: HashMap<&str, BTreeSet<String>> =
        share.values().map(|grant| (grant.as_str(), desk.ledger.plain_fields(grant))).collect();
    let mut fields = FieldSets::default();
    while !desk.stop.is_cancelled() {
        let Some(record) = reader.next_record()? else { continue };
        let Some(grant) = share.get(&record.topic) else { continue };
        if !places.is_new(&record) {
            continue;
        }
        let row = match &record.value {
            None => None,
            Some(value) => Some(handle.block_on(rows.row(value)).map_err(anyhow::Error::msg)?),
        };
        let names = row.as_ref().and_then(|row| row.as_object()).map(|row| row.keys().cloned().collect());
        let delivery = Delivery {
            event: record.header(headers::ID).unwrap_or_default().to_owned(),
            key: String::from_utf8_lossy(&record.key).into_owned(),
            is_removal: row.is_none(),
            fields: fields.one(names.unwrap_or_default()),
            content: row.as_ref().map(|row| content(row, &plain[grant.as_str()])),
            message: None,
            // When the bus wrote it: when it is read is the reader's matter.
            at: written_at(&record),
        };
        desk.ledger.delivered(grant, delivery);
    }
    Ok(())
}

fn written_at(record: &Received) -> i64 {
    record.timestamp_ms.unwrap_or_else(now)
}

/// The few sets of names that there are, each held once.
#[derive(Debug, Default)]
pub struct FieldSets(BTreeSet<Arc<BTreeSet<String>>>);

impl FieldSets {
    pub fn one(&mut self, names: BTreeSet<String>) -> Arc<BTreeSet<String>> {
        if let Some(known) = self.0.get(&names) {
            return known.clone();
        }
        let names = Arc::new(names);
        self.0.insert(names.clone());
        names
    }
}
