//! A publisher who writes batches that become large. The broker bounds a batch as it was sent, compressed; what it becomes
//! is for the client to bear (`docs/hostile-input.md`).

use std::time::Duration;

use freshet_kafka::admin;
use freshet_kafka::transactional::LoopSettings;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

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

/// What an operator does by `kafka-delete-records.sh`.
fn delete_before(topic: &str, offset: i64) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", connection().bootstrap_servers).create().unwrap();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let after = runtime.block_on(admin.delete_records(&before, &AdminOptions::new())).unwrap();
    assert!(after.elements().iter().all(|partition| partition.error().is_ok()), "{after:?}");
}

/// A batch beyond what the client decompresses is no reason to end: all departments would be without the service.
#[test]
fn a_batch_that_becomes_too_large_holds_up_its_own_partition_and_no_other() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
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

    running.stop().unwrap();

    delete_before(&input, behind);
    let again = Running::start(Copy::new(&input, &output), connection(), LoopSettings::new(&name, &name, "0"));
    eventually("what stood behind it goes on", 60, || again.committed() == of_partition_0 || again.has_ended());
    again.stop().unwrap();
    assert_books(&output, 0..400);
}
