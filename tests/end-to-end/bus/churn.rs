//! The broker goes away and comes back, and validators join and die with transactions open, while events flow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use freshet_testkit::departments::{self, Consumer, Producer, Registry};
use serde_json::json;

use crate::support::{Bus, Options, eventually};
use crate::{alone, permits, token};

const KEYS: u64 = 40;
const ROUNDS: usize = 4;
/// Between two rounds of a publisher: some hundred events a second, which a validator without optimisation keeps up with.
const PACE: Duration = Duration::from_millis(100);

#[test]
fn nothing_is_lost_or_doubled_when_the_broker_or_validators_go() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    permits::catalogue(folder.path(), permits::ROADS);
    let tokens = [(permits::ROADS, token(permits::ROADS))];
    let tokens = [(tokens[0].0, tokens[0].1.as_str())];
    let mut bus =
        Bus::start(&Options { catalogue: folder.path(), tokens: &tokens, secrets: &[], extra_instances: &[] });
    let (stop, by_http, by_kafka) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (gateway, registry, bootstrap) = (bus.gateway.clone(), bus.registry.clone(), bus.bootstrap());
    let mut changes = 0;
    let mut away = Duration::ZERO;
    std::thread::scope(|scope| {
        scope.spawn(|| publish_by_http(&gateway, &stop, &by_http));
        scope.spawn(|| publish_by_kafka(&bootstrap, &registry, &stop, &by_kafka));
        // Ends the publishers also where an assertion fails, so that the scope ends.
        let _stop = Stop(&stop);
        let more = |what: &str| {
            for count in [&by_http, &by_kafka] {
                let due = count.load(Ordering::SeqCst) + 200;
                eventually(what, Duration::from_secs(90), || {
                    assert!(!stop.load(Ordering::SeqCst), "a publisher failed");
                    (count.load(Ordering::SeqCst) >= due).then_some(())
                });
            }
        };
        more("events before the broker goes");
        let gone = Instant::now();
        bus.broker.kill();
        bus.broker.restart().expect("the broker comes back");
        away = gone.elapsed();
        more("events after the broker came back");

        for round in 0..ROUNDS {
            for instance in ["1", "2"] {
                let id = format!("validator-{instance}");
                if round == 0 {
                    bus.add("validator", instance)
                } else {
                    bus.respawn(&id)
                }
                bus.wait_until_ready(&id, Duration::from_secs(60));
                more("events while a validator more is there");
                changes += 1;
            }
            for instance in ["1", "2"] {
                bus.end(&format!("validator-{instance}"));
                changes += 1;
                // The second goes while the first one's partitions are still on their way to others.
                if round % 2 == 0 {
                    more("events while a validator is gone");
                }
            }
        }
        more("events after the last change");
    });
    let sent = by_http.load(Ordering::SeqCst) + by_kafka.load(Ordering::SeqCst);
    check(&bus, sent);
    println!(
        "{sent} events exactly once and in order; broker away for {away:?}, {changes} joins and kills of validators"
    );
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends a batch until every event of it is known to be written, then the next.
fn publish_by_http(gateway: &str, stop: &AtomicBool, acknowledged: &AtomicUsize) {
    let _stop = Stop(stop);
    let client = reqwest::blocking::Client::new();
    for sequence in 1.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let events: Vec<_> = (0..KEYS)
            .map(|key| permits::event(&format!("h-{key}-{sequence}"), &format!("h-{key}"), sequence, Some("OPEN")))
            .collect();
        let written = || permits::publish(&client, gateway, &events);
        eventually("the gateway takes a batch", Duration::from_secs(90), written);
        acknowledged.fetch_add(events.len(), Ordering::SeqCst);
        std::thread::park_timeout(PACE);
    }
}

/// An ordinary producer, whose own retries are all it has.
fn publish_by_kafka(bootstrap: &str, registry: &str, stop: &AtomicBool, acknowledged: &AtomicUsize) {
    let _stop = Stop(stop);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let producer = Producer::new(bootstrap, &[]).expect("a producer");
    let registry = Registry::new(registry, None);
    let (id, schema) = runtime.block_on(registry.latest("publish.permit-value")).expect("a schema");
    for sequence in 1_u64.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        runtime.block_on(async {
            let mut sent = Vec::new();
            for key in 0..KEYS {
                let number = format!("k-{key}");
                let data = json!({"number": number, "status": "OPEN", "count": sequence});
                let data = departments::from_json(&schema, &data).expect("Avro");
                let value = departments::encode(id, &schema, data).expect("Avro");
                let (event, sequence) = (format!("k-{key}-{sequence}"), sequence.to_string());
                let headers = [
                    ("ce_specversion", "1.0"),
                    ("ce_id", event.as_str()),
                    ("ce_source", "urn:example:roads"),
                    ("ce_type", "example.permit.changed"),
                    ("ce_sequence", sequence.as_str()),
                    ("content-type", "application/avro"),
                ];
                let topic = "publish.permit";
                sent.push(producer.send(topic, number.as_bytes(), Some(&value), &headers).await.expect("sent"));
            }
            for delivery in sent {
                delivery.await.expect("not cancelled").expect("the broker has it");
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        });
        std::thread::park_timeout(PACE);
    }
}

fn check(bus: &Bus, sent: usize) {
    let topics = ["dataset.permit", "reject.roads", "reject.unassigned"];
    let consumer = Consumer::new(&bus.bootstrap(), "test.churn", &topics).expect("a consumer");
    let (mut ids, mut last) = (BTreeSet::new(), BTreeMap::new());
    eventually("every event in the canonical topic", Duration::from_secs(90), || {
        while let Ok(Some(record)) = consumer.next(Duration::from_millis(200)) {
            assert_eq!(record.topic, "dataset.permit", "rejected: {:?}", record.headers);
            let id = record.header("ce_id").expect("an id").to_owned();
            let sequence: u64 = record.header("ce_sequence").and_then(|text| text.parse().ok()).expect("a sequence");
            // Without a gap: every event of a key, in the order in which they were sent.
            let before = last.insert(record.key.clone(), sequence).unwrap_or(0);
            assert_eq!(before + 1, sequence, "{id} comes after {before}");
            assert!(ids.insert(id), "twice: {:?}", record.headers);
        }
        if ids.len() < sent {
            eprintln!("{} of {sent} events", ids.len());
        }
        (ids.len() >= sent).then_some(())
    });
    assert_eq!(ids.len(), sent, "more came out than was acknowledged");
}
