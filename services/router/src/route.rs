//! One canonical event to one view: filter, project, write. Live events and events that fill a view take the same way.

use std::io::Write as _;

use freshet_avro::{Plan, Walk, framing};
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_core::hashed::{Hashed, Seed};
use freshet_core::headers::{self, DATASET_OFFSET, REMOVAL};
use freshet_core::{Fault, Header, InRecord, OutRecord, Output};

use crate::keys::Keys;
use crate::metrics::Written;
use crate::views::ActiveView;

/// An event, read once for all views.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) record: &'a InRecord<'a>,
    key: &'a [u8],
    hash: Hashed,
    /// `None`: a delete.
    content: Option<Content<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Content<'a> {
    schema_id: u32,
    plan: &'a Plan,
    walk: &'a Walk,
    datum: &'a [u8],
}

impl<'a> Event<'a> {
    pub(crate) fn read(
        record: &'a InRecord<'a>,
        dataset: &'a CompiledDataset,
        seed: Seed,
        walk: &'a mut Walk,
    ) -> Result<Self, Fault> {
        let place = || format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let foreign = |reason: &str| {
            // The validator lets nothing of this kind through.
            Fault::fatal("route", format!("{}: {reason}; something else has written to this topic", place()))
        };
        let key = record.key.ok_or_else(|| foreign("no key"))?;
        let hash = seed.key(key);
        let Some(value) = record.value else { return Ok(Self { record, key, hash, content: None }) };
        let (schema_id, datum) = framing::split(value).map_err(|error| foreign(&error.to_string()))?;
        // The validator that accepted it may be ahead of us in the catalogue: we shall have the schema in a moment.
        let schema = dataset.schema(schema_id).ok_or_else(|| {
            Fault::retry("route", format!("{}: schema {schema_id} is not in our catalogue yet", place()))
        })?;
        if !schema.plan.check(datum, walk) {
            return Err(foreign("not a record of its schema"));
        }
        let content = Content { schema_id, plan: &schema.plan, walk, datum };
        Ok(Self { record, key, hash, content: Some(content) })
    }
}

/// Buffers that are used again.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    datum: Vec<u8>,
    value: Vec<u8>,
}

/// `keys` are the rows that are in, where the view is filtered. Returns what was written, if anything.
pub(crate) fn route(
    event: &Event<'_>,
    view: &ActiveView,
    keys: Option<&mut Keys>,
    buffers: &mut Buffers,
    out: &mut dyn Output,
) -> Result<Option<Written>, Fault> {
    let Some(content) = event.content else {
        // Without a filter every row is in.
        if keys.is_none_or(|keys| keys.remove(event.hash)) {
            send(event, view, None, Written::Deleted, out)?;
            return Ok(Some(Written::Deleted));
        }
        return Ok(None);
    };
    let projection = view.compiled.projection(content.schema_id).ok_or_else(|| {
        Fault::retry("route", format!("{} has no projection of schema {} yet", view.topic, content.schema_id))
    })?;
    if let (Some(keys), Some(predicate)) = (keys, view.compiled.predicate(content.schema_id)) {
        if !predicate.matches(content.plan, content.walk, content.datum) {
            if keys.remove(event.hash) {
                send(event, view, None, Written::LeftFilter, out)?;
                return Ok(Some(Written::LeftFilter));
            }
            return Ok(None);
        }
        keys.insert(event.hash);
    }
    buffers.datum.clear();
    buffers.value.clear();
    projection.project(content.plan, content.walk, content.datum, &mut buffers.datum);
    framing::write(view.compiled.view.schema_id, &buffers.datum, &mut buffers.value);
    send(event, view, Some(&buffers.value), Written::Upsert, out)?;
    Ok(Some(Written::Upsert))
}

fn send(
    event: &Event<'_>,
    view: &ActiveView,
    value: Option<&[u8]>,
    written: Written,
    out: &mut dyn Output,
) -> Result<(), Fault> {
    let InRecord { partition, offset, headers: all, .. } = *event.record;
    let filtered: Vec<Header<'_>>;
    // Mostly everything passes; then the list goes on as it is, which the loop need not copy.
    let headers = if all.iter().all(|header| passes(header, event, view, written)) {
        all
    } else {
        filtered = all.iter().filter(|header| passes(header, event, view, written)).copied().collect();
        &filtered
    };
    let mut digits = [0; 20];
    let offset = decimal(offset, &mut digits);
    let extra = [Header::new(DATASET_OFFSET, offset), Header::new(REMOVAL, written.as_str().as_bytes())];
    let extra = if written == Written::Upsert { &extra[..1] } else { &extra[..] };
    let (topic, key) = (&*view.topic, Some(event.key));
    out.send(OutRecord { topic, partition, key, value, headers, extra, timestamp_ms: None })
}

/// The attributes that subscribers get. Whatever else a publisher put into headers was granted to nobody (P6).
fn passes(header: &Header<'_>, event: &Event<'_>, view: &ActiveView, written: Written) -> bool {
    match header.name {
        headers::SPECVERSION
        | headers::ID
        | headers::SOURCE
        | headers::TYPE
        | headers::TIME
        | headers::RECORDED_TIME
        | headers::SEQUENCE
        | headers::TRACEPARENT
        | headers::PUBLISHED_AT => true,
        headers::CONTENT_TYPE => written == Written::Upsert,
        // Where a row left the filter, its new division may be what it left by: nothing of that row is granted.
        headers::DIVISION => view.passes_division && written != Written::LeftFilter,
        // The subject may say anything of the record; the key is the one part of it that every subscriber has.
        headers::SUBJECT => header.value == event.key,
        _ => false,
    }
}

/// The number's text; an `i64` has at most 20 characters.
fn decimal(number: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = &mut digits[..];
    // Cannot fail: there is room.
    let _ = write!(rest, "{number}");
    let left = rest.len();
    &digits[..20 - left]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_room() {
        for number in [0, 7, -1, 1_234_567, i64::MAX, i64::MIN] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
