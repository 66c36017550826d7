//! A publisher who writes batches that become large. The broker bounds a batch as it was sent, compressed; what it becomes
//! is for the client to bear (`docs/hostile-input.md`).

use std::time::Duration;

use freshet_kafka::offsets;
use freshet_kafka::transactional::LoopSettings;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::copy::{Copy, Running};
use crate::support::*;

/// More than an answer may become, in a batch of some kilobytes.
const BOMB_BYTES: usize = 64 << 20;

fn producer(codec: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", connection().bootstrap_servers)
        .set("message.max.bytes", "1000000000")
        .set("batch.size", "1000000000")
        .set("batch.num.messages", "1000000")
        .set("queue.buffering.max.kbytes", "1000000")
        .set("queue.buffering.max.messages", "1000000")
        .set("linger.ms", "5000")
        .set("compression.type", codec)
        .create()
        .unwrap()
}

fn flush(producer: &BaseProducer) {
    producer.flush(Duration::from_secs(60)).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

/// Batches of one record of zeros each, to partition 0.
fn bombs(topic: &str, codec: &str, bytes: usize, count: usize) {
    let (producer, value) = (producer(codec), vec![b'0'; bytes]);
    for _ in 0..count {
        producer
            .send(BaseRecord::to(topic).partition(0).key("k0").payload(&value))
            .map_err(|(error, _)| error)
            .unwrap();
        flush(&producer);
    }
}

fn end_of_partition_0(topic: &str) -> i64 {
    offsets::ends(&connection(), topic).unwrap()[0].end
}

/// A batch beyond what an answer may become is no reason to end, and takes no memory: all departments would be without the
/// service.
#[test]
fn a_batch_that_becomes_too_large_holds_up_its_own_partition_and_no_other() {
    for codec in ["zstd", "lz4", "gzip"] {
        holds_up_its_own_partition_and_no_other(|input| bombs(input, codec, BOMB_BYTES, 1));
    }
}

/// What a record costs beside its bytes counts too: a million without any would take 300 MB.
#[test]
fn a_batch_of_too_many_records_holds_up_its_own_partition_and_no_other() {
    holds_up_its_own_partition_and_no_other(|input| {
        let producer = producer("zstd");
        for _ in 0..200_000 {
            producer.send(BaseRecord::<(), ()>::to(input).partition(0)).map_err(|(error, _)| error).unwrap();
        }
        flush(&producer);
    });
}

fn holds_up_its_own_partition_and_no_other(send: impl Fn(&str)) {
    let (input, output, notes) = (topic("in", &[]), topic("out", &[]), topic_of_notes());
    let name = unique("bomb");
    publish(&input, 0..200);
    let begin = end_of_partition_0(&input);
    send(&input);
    let behind = end_of_partition_0(&input);
    publish(&input, 200..400);

    let running = Running::start(Copy::new(&input, &output), connection(), LoopSettings::new(&name, &name, "0"));
    let of_partition_0 = (200..400).filter(|number| number % 50 % PARTITIONS as u32 == 0).count() as u64;
    eventually("all others go on", 60, || running.committed() == 400 - of_partition_0 || running.has_ended());
    eventually("it is counted", 60, || {
        running.metrics.errors.with_label_values(&["poll"]).get() > 1 || running.has_ended()
    });
    assert!(!running.has_ended(), "{:?}", running.end());

    delete_before(&input, 0, behind);
    eventually("what stood behind it goes on", 60, || running.committed() == 400 || running.has_ended());
    assert_eq!(running.metrics.errors.with_label_values(&["expired"]).get(), (behind - begin) as u64);
    running.stop().unwrap();
    assert_books(&output, 0..400);
    let notes: Vec<_> = read_all(notes).into_values().flatten().collect();
    let from = format!("{input}/0/{begin}");
    let note = notes.iter().find(|note| note.header_str("freshet_rejected_from") == Some(&from));
    assert!(note.unwrap().header_str("freshet_violations").unwrap().contains("records.expired"));
}

/// As many are read of an answer as it has room for, and the rest from the next ones.
#[test]
fn what_an_answer_has_no_room_for_is_read_from_the_next() {
    for codec in ["zstd", "lz4", "gzip"] {
        let topic = topic("in", &[]);
        // One answer, of which three fit.
        bombs(&topic, codec, 10 << 20, 8);
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", connection().bootstrap_servers)
            .set("group.id", unique("reads"))
            .create()
            .unwrap();
        let mut first = TopicPartitionList::new();
        first.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&first).unwrap();
        let (mut offsets, mut refused) = (Vec::new(), 0);
        eventually("all are read", 60, || {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => offsets.push(message.offset()),
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::BadCompression))) => refused += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
            offsets.len() == 8
        });
        assert_eq!(offsets, (0..8).collect::<Vec<_>>(), "{codec}");
        assert!(refused > 0, "{codec}: all of them came at once");
    }
}
