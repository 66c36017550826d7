//! Against apache-avro: whatever bytes pass the validator, apache-avro reads them whole and to the same values. (Random
//! schemas, and the other direction, are the business of `freshet-avro`'s own tests.)

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use freshet_avro::{Plan, json};
use freshet_catalog_model::VersionRule;
use freshet_core::Outcome;
use freshet_kafka::catalog::CatalogHandle;
use freshet_testkit::memory::{Bus, End, Member};
use proptest::prelude::*;
use support::*;

/// A good value with one byte changed, cut or added.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let value = encode(&permit("P1", 1, "VALID"));
    let length = value.len();
    (0..length + 1, any::<u8>(), 0..3_u8).prop_map(move |(at, byte, how)| {
        let mut value = value.clone();
        match how {
            0 if at < length => value[at] = byte,
            1 => value.truncate(at),
            _ => value.insert(at, byte),
        }
        value
    })
}

/// Runs the bytes through a validator whose dataset has no key in the record, so that only the bytes decide.
fn accepts(value: &[u8]) -> bool {
    let (mut bus, clock) = (Bus::at(START_MS), Clock::default());
    let mut catalog = catalog(VersionRule::Sequence);
    let dataset = catalog.datasets.get_mut(DATASET).expect("the dataset");
    (dataset.transitions, dataset.identifiers, dataset.rules) = (None, Vec::new(), Vec::new());
    (dataset.division, dataset.authorities[0].divisions) = (Default::default(), Vec::new());
    dataset.authorities.truncate(1);
    let catalogue = CatalogHandle::fixed(catalog);
    let mut member = Member::new(validator(&catalogue, &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    let mut event = Event::upsert("1", &permit("P1", 1, "VALID"));
    // The key that the bytes give, where they give one.
    let number = decode(value).and_then(|fields| match fields.into_iter().next() {
        Some((_, Value::String(number))) if !number.is_empty() => Some(number),
        _ => None,
    });
    event.key = number.unwrap_or_else(|| "P1".to_owned()).into_bytes();
    event.value = Some(value.to_vec());
    event.publish(&mut bus);
    let outcomes = member.batch(&mut bus, 1, End::Commit).expect("a batch");
    outcomes == [Outcome::Emitted { records: 1 }]
}

/// The record's fields, where apache-avro reads the bytes to their end.
fn decode(value: &[u8]) -> Option<Vec<(String, Value)>> {
    let schema = Schema::parse_str(AVSC).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let mut datum = value.get(5..)?;
    match reader.read_value(&mut datum) {
        Ok(Value::Record(fields)) if datum.is_empty() => Some(fields),
        _ => None,
    }
}

proptest! {
    #[test]
    fn what_passes_is_read_by_apache_avro(value in mutated()) {
        if accepts(&value) {
            let fields = decode(&value);
            prop_assert!(fields.is_some(), "accepted, but apache-avro does not read {value:?}");
            let ours = json::decode(&Plan::compile(AVSC).expect("a schema"), &value[5..]).expect("accepted");
            for (name, theirs) in fields.into_iter().flatten() {
                let theirs = match theirs {
                    Value::String(text) => serde_json::json!(text),
                    Value::Long(number) => serde_json::json!(number),
                    Value::Enum(_, symbol) => serde_json::json!(symbol),
                    Value::Union(_, inner) if *inner == Value::Null => serde_json::Value::Null,
                    // The texts and dates inside of unions: that they are there is what is compared.
                    _ => ours[&name].clone(),
                };
                prop_assert_eq!(&ours[&name], &theirs, "{}", name);
            }
        }
    }
}

#[test]
fn the_unchanged_value_passes() {
    assert!(accepts(&encode(&permit("P1", 1, "VALID"))));
}
