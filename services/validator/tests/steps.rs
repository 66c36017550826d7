//! One good event, and one for each thing that can be wrong with it.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod support;

use freshet_catalog_model::VersionRule;
use freshet_core::{DropReason, Outcome};
use freshet_kafka::catalog::CatalogHandle;
use freshet_testkit::memory::{Bus, End, Member};
use freshet_validator::Setup;
use serde_json::json;
use support::*;

/// Runs the events through one validator; the outcome of the last, and the codes of its violations.
fn last_outcome(version: VersionRule, events: &[Event]) -> (Outcome, Vec<String>) {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let catalogue = CatalogHandle::fixed(catalog(version));
    let mut member = Member::new(validator(&catalogue, &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    let mut last = None;
    let mut rejected = 0;
    for event in events {
        bus.now_ms = clock.now_ms();
        event.publish(&mut bus);
        rejected = rejections(&bus).len();
        let outcomes = member.batch(&mut bus, 10, End::Commit).expect("a batch");
        assert_eq!(outcomes.len(), 1, "exactly one outcome");
        last = outcomes.first().copied();
    }
    let codes = match rejections(&bus).len() {
        all if all == rejected => Vec::new(),
        // One more than before; all of these tests' last events go to one department and partition.
        _ => {
            let mut codes: Vec<String> = rejections(&bus).into_iter().flatten().map(|(code, _)| code).collect();
            codes.sort();
            codes
        }
    };
    (last.expect("at least one event"), codes)
}

/// Checks that the last event is refused with exactly these codes.
#[track_caller]
fn refused(events: &[Event], codes: &[&str]) {
    let (outcome, found) = last_outcome(VersionRule::Sequence, events);
    assert_eq!((outcome, found), (Outcome::Rejected, codes.iter().map(|code| (*code).to_owned()).collect()));
}

#[track_caller]
fn accepted(events: &[Event]) {
    let (outcome, codes) = last_outcome(VersionRule::Sequence, events);
    assert_eq!((outcome, codes), (Outcome::Emitted { records: 1 }, Vec::new()));
}

fn good() -> Event {
    Event::upsert("1", &permit("P1", 1, "VALID"))
}

/// The good event with some fields of its record changed.
fn with_fields(fields: serde_json::Value) -> Event {
    let mut data = permit("P1", 1, "VALID");
    for (name, value) in fields.as_object().expect("an object") {
        data[name] = value.clone();
    }
    Event::upsert("1", &data)
}

#[test]
fn a_good_event_passes_unchanged() {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let catalogue = CatalogHandle::fixed(catalog(VersionRule::Sequence));
    let mut member = Member::new(validator(&catalogue, &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    let event = good().with("ce_traceparent", "00-1-2-03").with("x-other", "kept");
    event.publish(&mut bus);
    member.batch(&mut bus, 10, End::Commit).expect("a batch");
    let [record] = bus.records(OUTPUT, event.partition()) else { panic!("one record") };
    assert_eq!((&record.key, &record.value), (&Some(event.key.clone()), &event.value));
    let headers: Vec<(String, Vec<u8>)> =
        event.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    assert_eq!(record.headers, headers);
}

#[test]
fn the_envelope_and_its_size() {
    refused(&[good().with("ce_specversion", "0.3")], &["envelope.attribute"]);
    refused(&[good().with("x-large", &"x".repeat(65_536))], &["envelope.size"]);
    refused(&[good().with("content-type", "application/cloudevents+json")], &["envelope.attribute"]);
    let mut other_key = good();
    other_key.key = b"P2".to_vec();
    refused(&[other_key], &["envelope.key"]);
    let mut no_key = good();
    no_key.key = Vec::new();
    refused(&[no_key], &["envelope.key"]);
}

/// Whoever takes the note for an event cannot: it has no attribute of one, since the null value of an event is a delete.
#[test]
fn what_is_larger_than_the_bus_writes_comes_back_as_a_note() {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let catalogue = CatalogHandle::fixed(catalog(VersionRule::Sequence));
    let mut member = Member::new(validator(&catalogue, &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    let sized = |bytes: usize| good().with("x-large", &"x".repeat(bytes));
    sized(freshet_kafka::MAX_RECORD_BYTES - 8192).publish(&mut bus);
    sized(10 << 20).publish(&mut bus);
    member.batch(&mut bus, 10, End::Commit).expect("a batch");

    let [whole, note] = bus.records("reject.wuhan", good().partition()) else { panic!("two rejections") };
    assert_eq!((&whole.value, whole.header("ce_id")), (&good().value, Some("1")));
    assert_eq!((&note.key, &note.value), (&Some(good().key), &None));
    let names: Vec<&str> = note.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["freshet_violations", "freshet_rejected_from", "freshet_dataset"]);
    let from = format!("{INPUT}/{}/1", good().partition());
    assert_eq!(note.header("freshet_rejected_from"), Some(from.as_str()));
    let codes: Vec<String> = rejections(&bus).into_iter().flatten().map(|(code, _)| code).collect();
    assert_eq!(codes, ["envelope.size", "envelope.size"]);
}

#[test]
fn a_duplicate_of_an_accepted_event_is_dropped_and_of_a_refused_one_is_not() {
    let (outcome, _) = last_outcome(VersionRule::Sequence, &[good(), good()]);
    assert_eq!(outcome, Outcome::Dropped(DropReason::Duplicate));
    accepted(&[with_fields(json!({"holder": "91110000600037341N"})), good()]);
    accepted(&[good(), Event::upsert("1", &permit("P1", 2, "VALID")).with("ce_source", "urn:wuhan:other")]);
}

#[test]
fn source_and_authority() {
    refused(&[good().with("ce_source", "urn:nobody")], &["source.unknown"]);
    refused(&[good().with("ce_source", "urn:tax:a")], &["source.authority"]);
    refused(&[good().with("ce_source", "urn:shaoxing:a")], &["source.authority"]);
    refused(&[with_fields(json!({"division": "330602"}))], &["source.authority"]);
    accepted(&[with_fields(json!({"division": "330602"})).with("ce_source", "urn:shaoxing:a")]);
}

#[test]
fn framing_schema_and_bytes() {
    let with_value = |change: fn(&mut Vec<u8>)| {
        let mut event = good();
        change(event.value.as_mut().expect("an upsert"));
        event
    };
    refused(&[with_value(|value| value[0] = b'{')], &["schema.framing"]);
    refused(&[with_value(|value| value.truncate(3))], &["schema.framing"]);
    refused(&[with_value(|value| value[4] = 8)], &["schema.unknown"]);
    refused(&[with_value(|value| value.push(0))], &["schema.malformed"]);
    refused(&[with_value(|value| value.truncate(12))], &["schema.malformed"]);
}

#[test]
fn identifiers_and_rules() {
    refused(&[with_fields(json!({"holder": "91110000600037341N"}))], &["identifier.invalid"]);
    accepted(&[with_fields(json!({"holder": "91110000600037341L"}))]);
    refused(&[with_fields(json!({"issued": "2025-02-01", "expires": "2025-01-01"}))], &["rule.violated"]);
    let several = json!({"holder": "x", "person": "y", "issued": "2025-02-01", "expires": "2025-01-01"});
    refused(&[with_fields(several)], &["identifier.invalid", "identifier.invalid", "rule.violated"]);
}

#[test]
fn a_sensitive_value_is_in_no_rejection_header() {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let mut catalog = catalog(VersionRule::Sequence);
    let dataset = catalog.datasets.get_mut(DATASET).expect("the dataset");
    dataset.catalogue.sensitive_fields = ["holder", "status", "issued", "division"].map(str::to_owned).to_vec();
    let mut member = Member::new(validator(&CatalogHandle::fixed(catalog), &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    let mut data = permit("P1", 1, "REVOKED");
    (data["holder"], data["division"]) = (json!("91110000600037341N"), json!("420199"));
    let event = Event::upsert("a", &data);
    // A date of the year 24000, in the place of null.
    let mut undated = with_fields(json!({"issued": "2025-01-01"}));
    let value = undated.value.as_mut().expect("a value");
    let at = value.len() - 4;
    value.splice(at..at + 3, [0x80, 0x84, 0xf6, 0x07]);
    event.publish(&mut bus);
    undated.publish(&mut bus);
    member.batch(&mut bus, 10, End::Commit).expect("a batch");
    let codes: Vec<String> = rejections(&bus).into_iter().flatten().map(|(code, _)| code).collect();
    for code in ["identifier.invalid", "transition.illegal", "division.unknown", "schema.type"] {
        assert!(codes.iter().any(|found| found == code), "{code}: {codes:?}");
    }
    for record in (0..PARTITIONS).flat_map(|partition| bus.records("reject.wuhan", partition)) {
        let list = record.header("freshet_violations").expect("a list");
        assert!(list.contains("not shown: personal data"), "{list}");
        for value in ["91110000600037341N", "REVOKED", "420199", "8298752", "8298496"] {
            assert!(!list.contains(value), "{list}");
        }
        assert!(!list.contains(" days from"), "{list}");
    }
}

#[test]
fn a_resident_number_is_in_no_rejection_header() {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let catalogue = CatalogHandle::fixed(catalog(VersionRule::Sequence));
    let mut member = Member::new(validator(&catalogue, &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    let event = with_fields(json!({"person": "360426199101010072"}));
    event.publish(&mut bus);
    member.batch(&mut bus, 10, End::Commit).expect("a batch");
    let [record] = bus.records("reject.wuhan", event.partition()) else { panic!("one rejection") };
    assert!(record.headers.iter().all(|(_, value)| !String::from_utf8_lossy(value).contains("360426")));
    assert_eq!(record.value, event.value, "unchanged");
    assert_eq!(record.header("freshet_rejected_from"), Some(&*format!("publish.permit/{}/0", event.partition())));
    assert_eq!(record.header("freshet_dataset"), Some("permit"));
}

#[test]
fn transitions() {
    let next = |revision, status| Event::upsert(&format!("r{revision}"), &permit("P1", revision, status));
    refused(&[next(1, "REVOKED")], &["transition.illegal"]);
    accepted(&[next(1, "APPLIED"), next(2, "VALID"), next(3, "REVOKED")]);
    refused(&[next(1, "VALID"), next(2, "REVOKED"), next(3, "VALID")], &["transition.illegal"]);
    // After a delete the entity is new.
    accepted(&[next(1, "VALID"), next(2, "REVOKED"), Event::delete("d", "P1", 3), next(4, "APPLIED")]);
}

#[test]
fn versions_never_go_back() {
    let event = |id: &str, revision| Event::upsert(id, &permit("P1", revision, "VALID"));
    refused(&[event("a", 2), event("b", 2)], &["version.stale"]);
    refused(&[event("a", 2), event("b", 1)], &["version.stale"]);
    refused(&[event("a", 2), Event::delete("d", "P1", 2)], &["version.stale"]);
    refused(&[event("a", 1), Event::delete("d", "P1", 5), event("b", 4)], &["version.stale"]);
    accepted(&[event("a", 1), Event::delete("d", "P1", 5), event("b", 6)]);
    refused(&[good().without("ce_sequence")], &["version.missing"]);
    refused(&[good().with("ce_sequence", "one")], &["version.missing"]);
}

#[test]
fn a_field_can_be_the_version() {
    let rule = || VersionRule::Field("revision".to_owned());
    let event = |id: &str, revision| Event::upsert(id, &permit("P1", revision, "VALID")).without("ce_sequence");
    assert_eq!(last_outcome(rule(), &[event("a", 1), event("b", 2)]).0, Outcome::Emitted { records: 1 });
    assert_eq!(last_outcome(rule(), &[event("a", 2), event("b", 2)]).1, ["version.stale"]);
    let delete = |revision| Event::delete("d", "P1", revision);
    assert_eq!(last_outcome(rule(), &[event("a", 2), delete(2)]).1, ["version.stale"]);
    assert_eq!(last_outcome(rule(), &[event("a", 2), delete(3)]).0, Outcome::Emitted { records: 1 });
}

#[test]
fn divisions() {
    refused(&[good().with("ce_divcode", "420102")], &["division.mismatch"]);
    // Huangpi county became a district in 1998.
    refused(&[with_fields(json!({"division": "420123"}))], &["division.unknown"]);
    accepted(&[with_fields(json!({"division": "420123"})).with("ce_time", "1990-05-01T08:00:00+08:00")]);
    refused(&[good(), Event::delete("d", "P1", 2).without("ce_divcode")], &["source.authority"]);
    // What stands in a division that was abolished since can still be deleted.
    let old = with_fields(json!({"division": "420123"})).with("ce_time", "1990-05-01T08:00:00+08:00");
    accepted(&[old, Event::delete("d", "P1", 2).with("ce_divcode", "420123")]);
}

/// P5 for deletes: a department must not remove another's entity by naming a division of its own.
#[test]
fn a_delete_must_name_the_entitys_division() {
    let foreign = Event::delete("d", "P1", 2).with("ce_source", "urn:shaoxing:a").with("ce_divcode", "330602");
    refused(&[good(), foreign], &["division.mismatch"]);
    accepted(&[good(), Event::delete("d", "P1", 2)]);
}

#[test]
fn time() {
    refused(&[good().with("ce_time", "2026-01-01T00:05:01Z")], &["clock.skew"]);
    accepted(&[good().with("ce_time", "2026-01-01T00:05:00Z")]);
    refused(&[good().with("ce_recordedtime", "2025-12-31T00:00:00Z")], &["clock.skew"]);
}

/// Whoever may not publish is not told what the bus has.
#[test]
fn a_stranger_learns_nothing_of_the_entity() {
    let stale = Event::upsert("2", &permit("P1", 1, "REVOKED")).with("ce_source", "urn:tax:a");
    refused(&[good(), stale], &["source.authority"]);
}

#[test]
fn everything_at_once() {
    let event =
        with_fields(json!({"holder": "x", "division": "999999", "issued": "2025-02-01", "expires": "2025-01-01"}))
            .with("ce_type", "")
            .with("ce_sequence", "x")
            .with("ce_time", "2027-01-01T00:00:00Z");
    refused(
        &[event],
        &[
            "clock.skew",
            "division.unknown",
            "envelope.attribute",
            "identifier.invalid",
            "rule.violated",
            "source.authority",
            "version.missing",
        ],
    );
}

#[test]
fn headers_that_only_the_bus_writes_are_not_taken_from_publishers() {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let catalogue = CatalogHandle::fixed(catalog(VersionRule::Sequence));
    let mut member = Member::new(validator(&catalogue, &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    let resent = good().with("freshet_violations", "[]").with("freshet_removal", "deleted");
    resent.publish(&mut bus);
    member.batch(&mut bus, 10, End::Commit).expect("a batch");
    let [record] = bus.records(OUTPUT, resent.partition()) else { panic!("one record") };
    assert!(record.headers.iter().all(|(name, _)| !name.starts_with("freshet_")));
}

/// A change of the rules of versions takes effect live, on a state that is rebuilt under it.
#[test]
fn the_catalogue_is_followed_live() {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let catalogue = CatalogHandle::fixed(catalog(VersionRule::Sequence));
    let mut member = Member::new(validator(&catalogue, &clock));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    // By sequence it is version 9, by field version 1.
    good().with("ce_sequence", "9").publish(&mut bus);
    assert!(member.drain(&mut bus, 10).expect("drained"));

    catalogue.replace(catalog(VersionRule::Field("revision".to_owned())));
    Event::upsert("2", &permit("P1", 2, "VALID")).publish(&mut bus);
    assert!(member.drain(&mut bus, 10).expect("drained"));
    assert_eq!((bus.records(OUTPUT, good().partition()).len(), rejections(&bus)), (2, Vec::new()));

    let mut without = catalog(VersionRule::Sequence);
    without.datasets.clear();
    catalogue.replace(without);
    Event::upsert("3", &permit("P1", 3, "VALID")).publish(&mut bus);
    assert!(member.drain(&mut bus, 10).expect("drained"));
    assert_eq!(bus.records(OUTPUT, good().partition()).len(), 2, "nothing is read of a dataset that left");
}

/// Where somebody made the topic wider, keys lie elsewhere: nothing is taken, also not from the partitions of before.
#[test]
fn a_topic_that_is_not_as_wide_as_its_dataset_is_refused_as_a_whole() {
    let (mut bus, clock) = (Bus::default(), Clock::default());
    let catalogue = CatalogHandle::fixed(catalog(VersionRule::Sequence));
    let width = |_: &str| Ok(Some(PARTITIONS + 2));
    let setup = Setup { width: Box::new(width), ..setup(&catalogue, &clock) };
    let mut member = Member::new(freshet_validator::Validator::new(setup));
    member.rebalance(&bus, &[0, 1, 2]).expect("assigned");
    good().publish(&mut bus);
    assert_eq!(member.batch(&mut bus, 10, End::Commit).expect("a batch"), [Outcome::Rejected]);
    // Wherever the key belongs: the topic of rejections may have fewer partitions.
    let [refused] = bus.records("reject.wuhan", -1) else { panic!("one rejection") };
    let list = refused.header("freshet_violations").expect("a list");
    assert!(list.contains("dataset.partitions"), "{list}");
}
