//! What a partition's state was when its last transaction was committed, read back from the canonical topic: every
//! accepted event stands there, and was written in the transaction that moved the offset.

use freshet_avro::Walk;
use freshet_core::hashed::Seed;
use freshet_core::{Fault, InRecord, Replay, ReplayRange, headers};
use jiff::Timestamp;

use crate::content::{self, Content};
use crate::dataset::Prepared;
use crate::state::{Entity, PartitionState, Standing};
use crate::version;

const DOING: &str = "rebuild the state";

pub(crate) fn rebuild(
    dataset: &Prepared,
    partition: i32,
    seed: Seed,
    now: Timestamp,
    replay: &mut dyn Replay,
) -> Result<PartitionState, Fault> {
    let mut state = PartitionState::new(seed);
    let mut walk = Walk::new();
    let window_begins = now.saturating_sub(dataset.window).unwrap_or(Timestamp::MIN).as_millisecond();
    replay.replay(&dataset.topic, partition, ReplayRange::default(), &mut |record| {
        take(record, dataset, window_begins, &mut walk, &mut state)
    })?;
    Ok(state)
}

fn take(
    record: &InRecord<'_>,
    dataset: &Prepared,
    window_begins: i64,
    walk: &mut Walk,
    state: &mut PartitionState,
) -> Result<(), Fault> {
    let Some(key) = record.key else { return Err(unexpected(record, "has no key")) };
    let content = read(record, dataset, walk)?;
    // An event that was accepted under another version rule may have no version under this one: then whatever comes next
    // is newer.
    let version = version::of(record, content.as_ref(), &dataset.compiled.dataset.version).unwrap_or(0);
    let attribute = record.header_str(headers::DIVISION);
    let division = match &content {
        Some(content) if content.schema.division.is_some() => {
            content.schema.division_of(content.walk, content.datum).unwrap_or("")
        }
        _ => attribute.unwrap_or(""),
    };
    let division = state.divisions.number(division);
    let status = content.as_ref().and_then(Content::status);
    state.accept(key, Entity { version, division, standing: Standing::new(content.is_none(), status) });

    let accepted_at = record.timestamp_ms.unwrap_or(i64::MAX);
    if accepted_at >= window_begins
        && let (Some(source), Some(id)) = (record.header_str(headers::SOURCE), record.header_str(headers::ID))
    {
        state.remember(source, id, accepted_at);
    }
    Ok(())
}

fn read<'a>(record: &InRecord<'a>, dataset: &'a Prepared, walk: &'a mut Walk) -> Result<Option<Content<'a>>, Fault> {
    let Some(value) = record.value else { return Ok(None) };
    let mut violations = Vec::new();
    match content::check(value, &dataset.compiled, walk, &mut violations) {
        Some(content) => Ok(Some(content)),
        // Another instance with a newer snapshot may have accepted it: the schema will be known in a moment.
        None => {
            let reasons: Vec<String> = violations.iter().map(ToString::to_string).collect();
            Err(unexpected(record, &reasons.join("; ")))
        }
    }
}

fn unexpected(record: &InRecord<'_>, reason: &str) -> Fault {
    Fault::retry(DOING, format!("{}/{}/{}: {reason}", record.topic, record.partition, record.offset))
}
