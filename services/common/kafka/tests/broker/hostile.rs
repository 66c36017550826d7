//! A publisher who writes batches that become large. The broker bounds a batch as it was sent, compressed; what it becomes
//! is for the client to bear (`docs/hostile-input.md`).

use std::time::Duration;

use freshet_kafka::admin;
use freshet_kafka::transactional::LoopSettings;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::copy::{Copy, Running};
use crate::support::*;

/// Of which librdkafka makes a batch of some kilobytes.
const BOMB_BYTES: usize = 64 << 20;

/// One record of zeros, to partition 0.
fn bomb(topic: &str, codec: &str, bytes: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", connection().bootstrap_servers)
        .set("message.max.bytes", "1000000000")
        .set("queue.buffering.max.kbytes", "1000000")
        .set("compression.type", codec)
        .create()
        .unwrap();
    let value = vec![b'0'; bytes];
    producer.send(BaseRecord::to(topic).partition(0).key("k0").payload(&value)).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

fn end_of_partition_0(topic: &str) -> i64 {
    admin::end_offsets(&connection(), topic).unwrap()[0].end
}

/// A batch beyond what the client decompresses is no reason to end: all departments would be without the service.
#[test]
fn a_batch_that_becomes_too_large_holds_up_its_own_partition_and_no_other() {
    let (input, output, notes) = (topic("in", &[]), topic("out", &[]), topic_of_notes());
    let name = unique("bomb");
    publish(&input, 0..200);
    bomb(&input, "zstd", BOMB_BYTES);
    let behind = end_of_partition_0(&input);
    publish(&input, 200..400);

    let running = Running::start(Copy::new(&input, &output), connection(), LoopSettings::new(&name, &name, "0"));
    let of_partition_0 = (200..400).filter(|number| number % 50 % PARTITIONS as u32 == 0).count() as u64;
    eventually("all others go on", 60, || running.committed() == 400 - of_partition_0 || running.has_ended());
    eventually("it is counted", 60, || {
        running.metrics.errors.with_label_values(&["poll"]).get() > 1 || running.has_ended()
    });
    assert!(!running.has_ended(), "{:?}", running.end());

    let bombs = behind - 1..behind;
    delete_before(&input, 0, bombs.end);
    eventually("what stood behind it goes on", 60, || running.committed() == 400 || running.has_ended());
    assert_eq!(running.metrics.errors.with_label_values(&["expired"]).get(), 1, "the batch was one record");
    running.stop().unwrap();
    assert_books(&output, 0..400);
    let notes: Vec<_> = read_all(notes).into_values().flatten().collect();
    let from = format!("{input}/0/{}", bombs.start);
    let note = notes.iter().find(|note| note.header_str("freshet_rejected_from") == Some(&from));
    assert!(note.unwrap().header_str("freshet_violations").unwrap().contains("records.expired"));
}
