//! A view that comes back after it was stopped for longer than removals are kept has rows of entities that were deleted
//! meanwhile, and the dataset's topic says nothing of them any more. They are found by comparing both topics.

use std::collections::HashSet;

use freshet_core::hashed::{Seed, Table};
use freshet_core::{Fault, Header, OutRecord, Output, Replay, ReplayRange, headers};
use xxhash_rust::xxh3::xxh3_64;

use crate::keys::Keys;
use crate::metrics::Written;
use crate::views::ActiveView;

/// Removes every row of the view whose entity the dataset does not mention below `place.2`. Run once the view has been
/// given everything below it, so what the dataset does mention is already right.
///
/// The removal's `freshet_dataset_offset` is that of the last offset below `place.2`: not smaller than that of any event
/// the view was given, and smaller than that of any it will be given.
pub(crate) fn sweep(
    place: (&str, i32, i64),
    view: &ActiveView,
    mut keys: Option<&mut Keys>,
    seed: Seed,
    replay: &mut dyn Replay,
    out: &mut dyn Output,
) -> Result<(), Fault> {
    let (topic, partition, until) = place;
    let mut mentioned = Table::default();
    let range = ReplayRange { until: Some(until), ..ReplayRange::default() };
    replay.replay(topic, partition, range, &mut |record| {
        mentioned.insert(seed.key(record.key.unwrap_or_default()), ());
        Ok(())
    })?;
    // Only what was committed before this transaction is read; what this transaction wrote is of mentioned entities.
    let mut rows: HashSet<Vec<u8>> = HashSet::new();
    replay.replay(&view.topic, partition, ReplayRange::default(), &mut |record| {
        let key = record.key.unwrap_or_default();
        match record.value {
            Some(_) => drop(rows.insert(key.to_vec())),
            None => drop(rows.remove(key)),
        }
        Ok(())
    })?;
    let offset = (until - 1).to_string();
    for key in rows.iter().filter(|key| !mentioned.contains(seed.key(key))) {
        if let Some(keys) = keys.as_deref_mut() {
            keys.remove(seed.key(key));
        }
        // No event of a publisher removes this row, so the removal is the bus's own event.
        let id = format!("{}/{partition}/{offset}/{:x}", view.topic, xxh3_64(key));
        out.send(OutRecord {
            topic: &view.topic,
            partition,
            key: Some(key),
            value: None,
            headers: &[
                Header::new(headers::SPECVERSION, b"1.0"),
                Header::new(headers::ID, id.as_bytes()),
                Header::new(headers::SOURCE, b"urn:freshet:router"),
                Header::new(headers::TYPE, b"freshet.row.removed"),
            ],
            extra: &[
                Header::new(headers::DATASET_OFFSET, offset.as_bytes()),
                Header::new(headers::REMOVAL, Written::Deleted.as_str().as_bytes()),
            ],
            timestamp_ms: None,
        })?;
    }
    Ok(())
}
