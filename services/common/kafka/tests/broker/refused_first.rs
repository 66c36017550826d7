//! A batch that the broker refused for now, with another of the same partition behind it that it took.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use freshet_catalog_model::{Department, Entry, Title};
use freshet_core::topics::CATALOG;
use freshet_kafka::admin::{self, TopicSpec};
use freshet_kafka::catalog;
use freshet_kafka::publisher::{PublishError, Publisher};
use freshet_kafka::{Connection, Record};

use crate::support::*;
use crate::wire::{self, Link, PRODUCE};

/// Kafka's protocol, "Error codes".
const NOT_ENOUGH_REPLICAS: i16 = 19;

/// A broker that knows nothing of a producer takes any batch of it for the first one. The librdkafka of today sends the
/// second without waiting for the first, and takes the first as written when the second is (`docs/decisions/0017`).
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_refused_is_not_acknowledged_with_the_one_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let network = Arc::<Network>::default();
    let (at, link) = (folder.path().to_owned(), Arc::clone(&network));
    let (broker, proxied, topic) = tokio::task::spawn_blocking(move || {
        let (broker, proxied) = wire::broker_behind(&link, &at);
        let topic = topic_on(&Connection::to(broker.bootstrap()), "events", &[]);
        (broker, proxied, topic)
    })
    .await
    .unwrap();
    let publisher = Publisher::new(&Connection::to(proxied), "test", 10).unwrap();
    let record = |value: &str| Record {
        topic: topic.clone(),
        partition: Some(0),
        key: Some(b"k".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        ..Record::default()
    };

    let (first, second) = (record("first"), record("second"));
    let first_written = publisher.enqueue(&first).unwrap();
    let waiting = Arc::clone(&network);
    tokio::task::spawn_blocking(move || waiting.wait_for_the_first()).await.unwrap();
    let second_written = publisher.enqueue(&second).unwrap();
    let (first_written, second_written) = (first_written.wait().await, second_written.wait().await);
    assert!(second_written.is_ok(), "{second_written:?}");
    match first_written {
        Err(PublishError::Other { .. }) => drop(publisher.publish(first).await.unwrap()),
        other => drop(other.unwrap()),
    }
    let direct = Connection::to(broker.bootstrap());
    let found = tokio::task::spawn_blocking(move || read_all_on(&direct, &topic)).await.unwrap();
    let mut counts: BTreeMap<Option<Vec<u8>>, usize> = BTreeMap::new();
    for record in found.values().flatten() {
        *counts.entry(record.value.clone()).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([b"first".to_vec(), b"second".to_vec()].map(|value| (Some(value), 1))));
}

/// The same of a catalogue that is more than a batch: an end of a grant that was said to be written is.
#[test]
fn a_catalogue_of_which_a_batch_was_refused_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, proxied) = wire::broker_behind(&Arc::<Network>::default(), folder.path());
    let direct = Connection::to(broker.bootstrap());
    let spec = TopicSpec { name: CATALOG.to_owned(), partitions: 1, may_grow: false, settings: BTreeMap::new() };
    admin::ensure_topics(&direct, &[spec]).unwrap();
    // Each is a batch of its own.
    let mut random = fastrand::Rng::with_seed(1);
    let puts: Vec<Entry> = (0..2)
        .map(|number| {
            let title = Title { en: Some((0..700_000).map(|_| random.alphanumeric()).collect()), ..Title::default() };
            Entry::Department(Department { id: format!("d-{number}"), title, uscc: None, sources: vec![] })
        })
        .collect();

    let written = catalog::write(&Connection::to(proxied), &puts, &[]);
    let found = catalog::read_once(&direct).unwrap().departments.len();
    assert_eq!(found, if written.is_ok() { puts.len() } else { 0 }, "{written:?}");
    catalog::write(&direct, &puts, &[]).unwrap();
    assert_eq!(catalog::read_once(&direct).unwrap().departments.len(), puts.len(), "and again");
}

/// Answers the first Produce request in the broker's place, when the second has come: a replica too few, which it has not
/// any more when the second is looked at.
#[derive(Default)]
struct Network {
    /// The answer to the first.
    refusal: Mutex<Option<Vec<u8>>>,
    changed: Condvar,
}

impl Network {
    fn wait_for_the_first(&self) {
        drop(self.changed.wait_while(self.refusal.lock().unwrap(), |refusal| refusal.is_none()).unwrap());
    }
}

impl Link for Network {
    fn connect(self: &Arc<Self>, mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
        let (mut to_server, mut to_client, mut back) = (server.try_clone()?, client.try_clone()?, client.try_clone()?);
        let network = Arc::clone(self);
        std::thread::spawn(move || {
            while let Ok(request) = wire::frame(&mut client) {
                if wire::api_key(&request) == PRODUCE {
                    let mut first = network.refusal.lock().unwrap();
                    match &*first {
                        None => {
                            *first = Some(refusal(&request));
                            network.changed.notify_all();
                            continue;
                        }
                        Some(refusal) if !refusal.is_empty() => {
                            back.write_all(refusal).unwrap();
                            *first = Some(Vec::new());
                        }
                        Some(_) => {}
                    }
                }
                if to_server.write_all(&request).is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown(Shutdown::Both);
        });
        std::thread::spawn(move || {
            while let Ok(answer) = wire::frame(&mut server) {
                if to_client.write_all(&answer).is_err() {
                    break;
                }
            }
            let _ = to_client.shutdown(Shutdown::Both);
        });
        Ok(())
    }
}

/// A Produce response of version 10, for the one topic and partition of the request.
fn refusal(request: &[u8]) -> Vec<u8> {
    assert_eq!(request[6..8], 10_i16.to_be_bytes(), "another version of the client: this answer is of version 10");
    let mut body = request[8..12].to_vec();
    body.extend([0, 2]);
    body.extend(topic_of(request));
    body.push(2);
    body.extend(0_i32.to_be_bytes());
    body.extend(NOT_ENOUGH_REPLICAS.to_be_bytes());
    // Offset, time of append, start of the log.
    body.extend([0xff; 24]);
    // No errors of single records, no text, no tags of partition and topic, not throttled, no tags.
    body.extend([1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut answer = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    answer.extend(body);
    answer
}

/// The topic's name as the request has it, with its length before it.
fn topic_of(request: &[u8]) -> &[u8] {
    let names: [&[u8]; 2] = [b"events-", CATALOG.as_bytes()];
    let at = |name: &[u8]| request.windows(name.len()).position(|window| window == name);
    let at = names.into_iter().find_map(at).unwrap();
    &request[at - 1..at - 1 + usize::from(request[at - 1])]
}
