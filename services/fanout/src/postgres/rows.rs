//! A batch of view records as the rows that the upsert takes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use freshet_avro::{FieldType, Plan, Slot, Walk, json};
use freshet_core::headers;
use freshet_kafka::OwnedRecord;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::SinkError;
use super::cells::{Array, Kind, Misfit, without_nul};
use super::columns::Column;
use super::sql::OWN_COLUMNS;
use crate::event::{self, Schemas};

/// The records of a batch as rounds: the n-th event of a key is in the n-th round. One statement may touch a row once
/// only, and a subscriber's own triggers are to see every event, so a batch is not folded into its last states.
#[derive(Debug, Default)]
pub struct Rounds {
    pub rounds: Vec<Round>,
    /// Per partition the offset after its last record.
    pub next: BTreeMap<i32, i64>,
}

#[derive(Debug, Default)]
pub struct Round {
    /// Rows by column: the bus's own columns, then the view's. Empty, or as many as the table has.
    pub upserts: Vec<Array>,
    /// Rows whose schema does not fit the columns type by type: PostgreSQL reads their texts.
    pub texts: Vec<Value>,
    pub deletes: Vec<String>,
}

/// Makes rows for one table.
#[derive(Debug)]
pub struct RowMaker {
    columns: Vec<Column>,
    kinds: Vec<Kind>,
    schemas: Arc<Schemas>,
    fits: HashMap<u32, Fit>,
    walk: Walk,
}

/// How records of one schema become rows of the table.
#[derive(Debug)]
enum Fit {
    /// Per column the field, where the schema has it.
    Binary(Arc<Plan>, Vec<Option<Slot>>),
    /// A field is of a type that its column takes only as a text, if at all: the column is of another schema of the view.
    Text,
}

impl RowMaker {
    pub fn new(columns: Vec<Column>, schemas: Arc<Schemas>) -> Self {
        let own = OWN_COLUMNS.iter().map(|(_, sql_type)| *sql_type);
        let kinds = own.chain(columns.iter().map(|column| column.sql_type)).map(Kind::of).collect();
        Self { columns, kinds, schemas, fits: HashMap::new(), walk: Walk::new() }
    }

    pub fn rounds(&mut self, records: &[OwnedRecord]) -> Result<Rounds, SinkError> {
        let mut seen: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(records.len());
        let mut all = Rounds::default();
        for record in records {
            let key = event::key_text(record).ok_or_else(|| event::malformed(record, "no key".to_owned()))?;
            let key = if key.contains('\0') { Cow::Owned(without_nul(&key).into_owned()) } else { key };
            let count = seen.entry(key.clone()).or_default();
            if all.rounds.len() == *count {
                all.rounds.push(Round::default());
            }
            let round = &mut all.rounds[*count];
            *count += 1;
            self.put(record, key, round)?;
            all.next.insert(record.partition, record.offset + 1);
        }
        Ok(all)
    }

    fn put(&mut self, record: &OwnedRecord, key: Cow<'_, str>, round: &mut Round) -> Result<(), SinkError> {
        let Some((id, datum)) = event::framed(record)? else {
            round.deletes.push(key.into_owned());
            return Ok(());
        };
        if !self.fits.contains_key(&id) {
            let fit = self.fit(&self.schemas.plan(id)?);
            self.fits.insert(id, fit);
        }
        let Some(Fit::Binary(plan, slots)) = self.fits.get(&id) else {
            let data = self.schemas.data(record)?.unwrap_or_default();
            round.texts.push(text_row(record, key.into_owned(), data)?);
            return Ok(());
        };
        if !plan.check(datum, &mut self.walk) {
            return Err(event::refused(record, self.walk.violations()).into());
        }
        if round.upserts.is_empty() {
            round.upserts = self.kinds.iter().copied().map(Array::new).collect();
        }
        let (own, data) = round.upserts.split_at_mut(OWN_COLUMNS.len());
        put_own(record, &key, own)?;
        for ((array, slot), column) in data.iter_mut().zip(slots).zip(&self.columns) {
            let Some(slot) = *slot else {
                array.push_null();
                continue;
            };
            let natural = json::field(plan, &self.walk, slot, datum);
            let pushed = array.push(self.walk.value(plan, slot, datum), natural);
            pushed.map_err(|Misfit| misfit(record, &column.name))?;
        }
        Ok(())
    }

    fn fit(&self, plan: &Arc<Plan>) -> Fit {
        let slots: Vec<Option<Slot>> = self.columns.iter().map(|column| plan.slot(&column.name)).collect();
        let takes = |(slot, kind): (&Option<Slot>, &Kind)| {
            let ty = slot.map_or(&FieldType::Null, |slot| plan.type_of(slot));
            kind.takes(ty)
        };
        if slots.iter().zip(&self.kinds[OWN_COLUMNS.len()..]).all(takes) {
            Fit::Binary(Arc::clone(plan), slots)
        } else {
            Fit::Text
        }
    }
}

/// In the order of [`OWN_COLUMNS`].
fn put_own(record: &OwnedRecord, key: &str, columns: &mut [Array]) -> Result<(), SinkError> {
    let [key_column, id, source, time, published] = columns else {
        return Err(SinkError::Layout("the bus's own columns are not as many as it writes: report this".to_owned()));
    };
    let misfit = |Misfit| misfit(record, "of the bus");
    key_column.push_text(key).map_err(misfit)?;
    id.push_text(&event::event_id(record)).map_err(misfit)?;
    match record.header_str(headers::SOURCE) {
        Some(text) => source.push_text(text).map_err(misfit)?,
        None => source.push_null(),
    }
    for (column, at) in [(time, event_time(record)), (published, event::published_at(record))] {
        match at {
            Some(at) => column.push_moment(microseconds(record, at)?).map_err(misfit)?,
            None => column.push_null(),
        }
    }
    Ok(())
}

fn misfit(record: &OwnedRecord, column: &str) -> SinkError {
    let (partition, offset) = (record.partition, record.offset);
    SinkError::Data(format!("partition {partition} offset {offset}: the value is none that column {column} takes"))
}

fn event_time(record: &OwnedRecord) -> Option<Timestamp> {
    record.header_str(headers::TIME).and_then(|text| text.parse().ok())
}

/// Rounded as PostgreSQL rounds the text of a time stamp. It takes no text of a year before 1.
fn microseconds(record: &OwnedRecord, at: Timestamp) -> Result<i64, SinkError> {
    const FIRST_SECOND: i64 = -62_135_596_800;
    let nanoseconds = at.as_nanosecond();
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(i64::MIN);
    if seconds < FIRST_SECOND {
        let (partition, offset) = (record.partition, record.offset);
        return Err(SinkError::Data(format!("partition {partition} offset {offset}: its time is before the year 1")));
    }
    let fraction = nanoseconds.rem_euclid(1_000_000_000) as f64 / 1e9;
    Ok(seconds * 1_000_000 + (fraction * 1e6).round_ties_even() as i64)
}

fn text_row(record: &OwnedRecord, key: String, data: Value) -> Result<Value, SinkError> {
    let mut row = match clean(data) {
        Value::Object(fields) => fields,
        // The schema of a view is a record, and a record is an object.
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    row.insert("freshet_key".to_owned(), key.into());
    row.insert("freshet_event_id".to_owned(), without_nul(&event::event_id(record)).into());
    if let Some(source) = record.header_str(headers::SOURCE) {
        row.insert("freshet_source".to_owned(), without_nul(source).into());
    }
    for (name, at) in
        [("freshet_event_time", event_time(record)), ("freshet_published_at", event::published_at(record))]
    {
        if let Some(at) = at {
            microseconds(record, at)?;
            row.insert(name.to_owned(), at.to_string().into());
        }
    }
    Ok(Value::Object(row))
}

fn clean(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(clean).collect()),
        Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (without_nul(&name).into_owned(), clean(value))).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// Every record as a text, whatever its schema.
#[cfg(test)]
pub fn text_rounds(records: &[OwnedRecord], schemas: &Schemas) -> Rounds {
    let row = |record: &OwnedRecord| {
        let key = event::key_text(record).expect("a key").into_owned();
        text_row(record, key, schemas.data(record).expect("an event").expect("an upsert")).expect("a row")
    };
    let round = Round { texts: records.iter().map(row).collect(), ..Round::default() };
    let next = records.iter().map(|record| (record.partition, record.offset + 1)).collect();
    Rounds { rounds: vec![round], next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::{AVSC, record, schemas};
    use crate::postgres::columns::columns;

    #[test]
    fn the_events_of_one_key_go_to_different_rounds_in_order() {
        let mut other = record(2, false);
        other.key = Some(b"p-2".to_vec());
        let batch = [record(1, false), other, record(3, true), record(7, false)];
        let mut rows = RowMaker::new(columns(AVSC).expect("columns"), Arc::new(schemas()));
        let rounds = rows.rounds(&batch).expect("rounds");
        assert_eq!(rounds.next, BTreeMap::from([(0, 8)]));
        let upserts = |round: &Round| round.upserts.first().map_or(0, Array::len);
        let shape: Vec<_> = rounds.rounds.iter().map(|round| (upserts(round), round.deletes.len())).collect();
        assert_eq!(shape, [(2, 0), (0, 1), (1, 0)]);
        assert!(rounds.rounds.iter().all(|round| round.texts.is_empty()));
    }

    #[test]
    fn a_schema_that_does_not_fit_the_columns_goes_as_text() {
        let narrower = AVSC.replace(r#"["null","string"]"#, r#"["null","boolean"]"#);
        let mut rows = RowMaker::new(columns(&narrower).expect("columns"), Arc::new(schemas()));
        let rounds = rows.rounds(&[record(1, false)]).expect("rounds");
        assert!(rounds.rounds[0].upserts.is_empty());
        assert_eq!(
            rounds.rounds[0].texts,
            [serde_json::json!({"number": "p-1", "status": "open", "freshet_key": "p-1", "freshet_event_id": "e-1",
                "freshet_source": "urn:permits", "freshet_published_at": "2026-02-02T02:40:00Z"})]
        );
    }

    #[test]
    fn what_postgresql_cannot_hold_is_shown_as_such() {
        let dirty = serde_json::json!({"a": "x\0y", "b": [{"c\0": "\0"}], "d": 1});
        assert_eq!(clean(dirty), serde_json::json!({"a": "x\u{fffd}y", "b": [{"c\u{fffd}": "\u{fffd}"}], "d": 1}));
    }
}
