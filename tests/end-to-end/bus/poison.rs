//! What a broken or hostile client writes straight to a publish topic. Each of it is refused with a reason, none of it
//! delays what stands behind it in the same partition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use freshet_testkit::departments::{self, Consumer, Producer, Registry};
use serde_json::json;

use crate::examples::violations;
use crate::support::{Bus, eventually};

/// A copy of `OF` with one partition.
pub const DATASET: &str = "poisoned";
pub const OF: &str = "apartment_registration";

type Headers = Vec<(&'static str, Vec<u8>)>;

struct Poison {
    name: String,
    key: Option<&'static [u8]>,
    value: Option<Vec<u8>>,
    headers: Headers,
    /// One of the reasons; empty: any.
    code: &'static str,
}

pub fn check(bus: &Bus, runtime: &tokio::runtime::Runtime, registry: &Registry, publishers: &[&String]) {
    let (id, schema) = runtime.block_on(registry.latest(&format!("publish.{DATASET}-value"))).expect("a schema");
    let file = crate::support::root().join("schemas").join(OF).join("examples/good/tower.json");
    let example: serde_json::Value = serde_json::from_slice(&std::fs::read(file).expect("a file")).expect("JSON");
    let data = departments::from_json(&schema, &example["data"]).expect("a good example");
    let good = departments::encode(id, &schema, data).expect("Avro");
    let key = example["data"]["rsn"].to_string().trim_matches('"').to_owned();

    let producer = Producer::new(&bus.bootstrap(), &[]).expect("a producer");
    let topic = format!("publish.{DATASET}");
    let poisons = poisons(&good);
    let (places, behind) = runtime.block_on(async {
        let mut places = BTreeMap::new();
        for poison in &poisons {
            let headers: Vec<(&str, &[u8])> = poison.headers.iter().map(|(name, value)| (*name, &value[..])).collect();
            let sent = producer.send_bytes(&topic, poison.key, poison.value.as_deref(), &headers).await.expect("sent");
            let at = sent.await.expect("not cancelled").expect("the broker has it");
            places.insert(format!("{topic}/{}/{}", at.partition, at.offset), poison);
        }
        let headers = envelope("behind-the-poison");
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, &value[..])).collect();
        let sent = producer.send_bytes(&topic, Some(key.as_bytes()), Some(&good), &headers).await.expect("sent");
        sent.await.expect("not cancelled").expect("the broker has it");
        (places, Instant::now())
    });

    let canonical = format!("dataset.{DATASET}");
    let mut topics: Vec<String> = publishers.iter().map(|id| format!("reject.{id}")).collect();
    topics.extend([canonical.clone(), "reject.unassigned".to_owned()]);
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let consumer = Consumer::new(&bus.bootstrap(), "test.poison", &topics).expect("a consumer");
    let (mut accepted, mut rejected) = (Vec::new(), BTreeMap::new());
    let mut arrived = None;
    eventually("an outcome for every poison", Duration::from_secs(20), || {
        while let Some(record) = consumer.next(Duration::from_millis(100)).expect("a record") {
            if record.topic == canonical {
                arrived.get_or_insert_with(|| behind.elapsed());
                accepted.push(record);
            } else if let Some(from) = record.header("freshet_rejected_from").filter(|from| places.contains_key(*from))
            {
                rejected.insert(from.to_owned(), record);
            }
        }
        (rejected.len() >= places.len() && !accepted.is_empty()).then_some(())
    });
    let ids: Vec<_> = accepted.iter().map(|record| record.header("ce_id")).collect();
    assert_eq!(ids, [Some("behind-the-poison")], "only the good event is accepted");
    for (place, poison) in &places {
        let record = &rejected[place];
        let found = violations(record);
        assert!(
            found.iter().any(|one| one.starts_with(poison.code)) && !found.is_empty(),
            "{}: {found:?}",
            poison.name
        );
        assert_eq!(record.value, poison.value, "{} is given back unchanged", poison.name);
        assert_eq!(record.key, poison.key.unwrap_or_default(), "{} is given back unchanged", poison.name);
    }
    // The consumer's own start counts in.
    let arrived = arrived.expect("it arrived");
    assert!(arrived < Duration::from_secs(10), "the good event took {arrived:?}");
    println!("{} poisons refused, each with a reason; the event behind them took {arrived:?}", places.len());
}

fn envelope(id: &str) -> Headers {
    [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_source", "urn:toronto:rentsafe"),
        ("ce_type", "apartment_registration.changed"),
        ("ce_time", "2025-03-01T09:00:00Z"),
        ("ce_sequence", "1"),
        ("content-type", "application/avro"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .to_vec()
}

fn poisons(good: &[u8]) -> Vec<Poison> {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let mut poisons: Vec<Poison> = Vec::new();
    let mut add = |name: String, key, value: Option<Vec<u8>>, code| {
        let headers = envelope(&format!("poison-{name}"));
        poisons.push(Poison { name, key, value, headers, code });
    };
    for number in 0..20 {
        // Never a right first byte, so that no luck makes a record of it.
        let mut bytes: Vec<u8> = (0..random.usize(1..300)).map(|_| random.u8(..)).collect();
        bytes[0] |= 1;
        add(format!("random bytes {number}"), Some(b"4156365"), Some(bytes), "schema.framing");
    }
    let framed = |rest: &[u8]| [&good[..5], rest].concat();
    for number in 0..20 {
        let bytes: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(128..)).collect();
        add(format!("random datum {number}"), Some(b"4156365"), Some(framed(&bytes)), "schema.malformed");
    }
    for end in (5..good.len()).step_by(7) {
        add(format!("cut off at {end}"), Some(b"4156365"), Some(good[..end].to_vec()), "schema.malformed");
    }
    for end in 0..5 {
        add(format!("only {end} bytes"), Some(b"4156365"), Some(good[..end].to_vec()), "schema.framing");
    }
    add("left over".to_owned(), Some(b"4156365"), Some([good, b"x"].concat()), "schema.malformed");
    add("wrong magic".to_owned(), Some(b"4156365"), Some([&[7], &good[1..]].concat()), "schema.framing");
    let unknown = [&[0], &u32::MAX.to_be_bytes()[..], &good[5..]].concat();
    add("unknown schema".to_owned(), Some(b"4156365"), Some(unknown), "schema.unknown");
    add("no key".to_owned(), None, Some(good.to_vec()), "envelope.key");
    add("an empty key".to_owned(), Some(b""), Some(good.to_vec()), "envelope.key");
    add("a key that is no text".to_owned(), Some(b"\xff\xfe\x00"), Some(good.to_vec()), "envelope.key");
    add("a delete without a key".to_owned(), None, None, "envelope.key");
    let mut large = good.to_vec();
    large.resize(65_537, 0);
    add("65,537 bytes".to_owned(), Some(b"4156365"), Some(large), "envelope.size");
    for (name, headers, code) in garbage() {
        let value = Some(good.to_vec());
        poisons.push(Poison { name: name.to_owned(), key: Some(b"4156365"), value, headers, code });
    }
    poisons
}

/// Envelopes that are none.
fn garbage() -> Vec<(&'static str, Headers, &'static str)> {
    let with = |name: &'static str, value: &[u8]| {
        let mut headers = envelope("garbage");
        headers.retain(|(own, _)| *own != name);
        headers.push((name, value.to_vec()));
        headers
    };
    let invented = json!([]).to_string();
    vec![
        ("no headers", Vec::new(), ""),
        ("a source that is no text", with("ce_source", &[0xff, 0xfe, 0x00]), ""),
        ("an id that is no text", with("ce_id", &[0xc3, 0x28]), "envelope.attribute"),
        ("a sequence in words", with("ce_sequence", b"one"), "version.missing"),
        ("a sequence of 30 digits", with("ce_sequence", &[b'9'; 30]), ""),
        ("a time that is none", with("ce_time", b"yesterday"), "envelope.attribute"),
        ("an empty type", with("ce_type", b""), "envelope.attribute"),
        ("another specversion", with("ce_specversion", b"9.9"), "envelope.attribute"),
        (
            "a source of nobody and an invented verdict",
            [with("ce_source", b"urn:nobody"), vec![("freshet_violations", invented.into_bytes())]].concat(),
            "source.unknown",
        ),
    ]
}
