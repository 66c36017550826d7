//! Topics, plain producers and plain readers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use freshet_kafka::admin::{self, TopicSpec};
use freshet_kafka::batches::BatchReader;
use freshet_kafka::offsets;
use freshet_kafka::{Connection, OwnedRecord};
use freshet_testkit::Broker;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

pub const PARTITIONS: i32 = 4;

pub fn connection() -> Connection {
    Connection::to(Broker::shared().bootstrap())
}

/// A name that no other test of this process uses.
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn topic(stem: &str, settings: &[(&str, &str)]) -> String {
    topic_on(&connection(), stem, settings)
}

pub fn topic_on(connection: &Connection, stem: &str, settings: &[(&str, &str)]) -> String {
    let name = unique(stem);
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec = TopicSpec { name: name.clone(), partitions: PARTITIONS, may_grow: false, settings };
    admin::ensure_topics(connection, &[spec]).unwrap();
    name
}

/// Where the loop leaves its notes.
pub fn topic_of_notes() -> &'static str {
    let name = freshet_core::topics::REJECT_UNASSIGNED;
    let spec = TopicSpec { name: name.to_owned(), partitions: PARTITIONS, may_grow: false, settings: BTreeMap::new() };
    admin::ensure_topics(&connection(), &[spec]).unwrap();
    name
}

/// What an operator does by `kafka-delete-records.sh`.
pub fn delete_before(topic: &str, partition: i32, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", connection().bootstrap_servers).create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let after = runtime.block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
    assert!(after.elements().iter().all(|partition| partition.error().is_ok()), "{after:?}");
}

pub fn plain_producer(connection: &Connection) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", &connection.bootstrap_servers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .create()
        .unwrap()
}

pub fn transactional_producer() -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", Broker::shared().bootstrap())
        .set("transactional.id", unique("test-producer"))
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(20)).unwrap();
    producer
}

/// Publishes `range` as keys `k<n mod 50>`, value `n`, to partition `n mod 50 mod PARTITIONS`: each key in one place.
pub fn publish(topic: &str, range: std::ops::Range<u32>) {
    publish_on(&connection(), topic, range);
}

pub fn publish_on(connection: &Connection, topic: &str, range: std::ops::Range<u32>) {
    let producer = plain_producer(connection);
    for number in range {
        let (key, value) = (key_of(number), number.to_string());
        let partition = (number % 50) as i32 % PARTITIONS;
        producer
            .send(BaseRecord::to(topic).partition(partition).key(&key).payload(&value))
            .map_err(|(e, _)| e)
            .unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}

pub fn key_of(number: u32) -> String {
    format!("k{}", number % 50)
}

/// All committed records of a topic, per partition in order.
pub fn read_all(topic: &str) -> BTreeMap<i32, Vec<OwnedRecord>> {
    read_all_on(&connection(), topic)
}

pub fn read_all_on(connection: &Connection, topic: &str) -> BTreeMap<i32, Vec<OwnedRecord>> {
    let mut reader = BatchReader::new(connection, "test").unwrap();
    let from: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    reader.assign(topic, &from).unwrap();
    let mut records: BTreeMap<i32, Vec<OwnedRecord>> = BTreeMap::new();
    let mut quiet = Instant::now();
    // The end of a read_committed partition may be a marker, which no position passes: quiet for a while is the end.
    while quiet.elapsed() < Duration::from_millis(1_500) {
        for record in reader.next_batch(1_000, Duration::from_millis(100)).unwrap() {
            records.entry(record.partition).or_default().push(record);
            quiet = Instant::now();
        }
    }
    records
}

/// The numbers in a topic, per key in order.
pub fn numbers_on(connection: &Connection, topic: &str) -> BTreeMap<String, Vec<u32>> {
    let mut by_key: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for record in read_all_on(connection, topic).into_values().flatten() {
        let key = String::from_utf8(record.key.unwrap()).unwrap();
        let number = String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
        by_key.entry(key).or_default().push(number);
    }
    by_key
}

/// Every number of the range once, per key in order.
pub fn assert_books(topic: &str, range: std::ops::Range<u32>) {
    assert_books_on(&connection(), topic, range);
}

pub fn assert_books_on(connection: &Connection, topic: &str, range: std::ops::Range<u32>) {
    let mut expected: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for number in range {
        expected.entry(key_of(number)).or_default().push(number);
    }
    let found = numbers_on(connection, topic);
    for (key, expected) in &expected {
        let found = found.get(key).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(found, expected, "key {key} of {topic}");
    }
    assert_eq!(found.len(), expected.len());
}

/// Waits for a condition, at most `seconds`.
pub fn eventually(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// True where the group has committed behind every record of the topic.
pub fn is_caught_up(connection: &Connection, group: &str, topic: &str) -> bool {
    let ends = offsets::ends(connection, topic);
    let committed = offsets::committed(connection, group, topic);
    let (Ok(ends), Ok(committed)) = (ends, committed) else { return false };
    ends.iter().zip(committed).all(|(ends, at)| at.unwrap_or(0) == ends.end)
}
