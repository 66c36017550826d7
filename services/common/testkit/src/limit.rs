//! The limit that the benchmarks compare with: what librdkafka itself moves from topic to topic with transactions and
//! nothing else. A plain loop of one fetched message, one produced message (or as many as asked, of given sizes), with
//! the three traps avoided that cost most: `flush` in steps of 100 ms, the default `retry.backoff.ms`, and the default
//! `fetch.queue.backoff.ms`, a second in which nothing is fetched whenever the client's queue was full.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::RDKafkaErrorCode;

/// One output of the pass-through: how much of the input's value is written there.
#[derive(Debug, Clone)]
pub struct CopyTo {
    pub topic: String,
    /// Bytes of the value, or all of it.
    pub value_bytes: Option<usize>,
    /// Writes one of this many records.
    pub one_of: u64,
}

/// Copies until `records` were read, `batch` records a transaction, or less where the input is idle.
pub struct PassThrough<'a> {
    pub bootstrap: &'a str,
    pub input: &'a str,
    pub outputs: &'a [CopyTo],
    pub group: &'a str,
    pub records: u64,
    pub batch: usize,
    /// How many records are committed, for whoever measures.
    pub committed: &'a AtomicU64,
    /// Ends earlier when this turns true.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for PassThrough<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PassThrough")
            .field("input", &self.input)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl PassThrough<'_> {
    /// Goes on at the group's offsets, or at the beginning.
    pub fn run(&self) -> KafkaResult<()> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap)
            .set("group.id", self.group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "5")
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.max.messages.kbytes", "16384")
            .create()?;
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap)
            .set("transactional.id", self.group)
            .set("transaction.timeout.ms", "10000")
            .set("retry.backoff.ms", "5")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.messages", "1000000")
            .create()?;
        consumer.subscribe(&[self.input])?;
        producer.init_transactions(Duration::from_secs(30))?;
        let mut read = 0_u64;
        while read < self.records && !(self.stop)() {
            let mut batch = Vec::with_capacity(self.batch);
            let mut wait = Duration::from_millis(100);
            while batch.len() < self.batch {
                let Some(message) = consumer.poll(wait) else { break };
                batch.push(message?);
                wait = Duration::ZERO;
            }
            if batch.is_empty() {
                continue;
            }
            producer.begin_transaction()?;
            for message in &batch {
                read += 1;
                self.copy(message, read, &producer)?;
            }
            commit(&consumer, &producer, &batch)?;
            self.committed.store(read, Ordering::Relaxed);
        }
        Ok(())
    }

    fn copy(
        &self,
        message: &BorrowedMessage<'_>,
        count: u64,
        producer: &BaseProducer<DefaultProducerContext>,
    ) -> KafkaResult<()> {
        for output in self.outputs.iter().filter(|output| count.is_multiple_of(output.one_of)) {
            let mut record = BaseRecord::<[u8], [u8]>::to(&output.topic).partition(message.partition());
            if let Some(key) = message.key() {
                record = record.key(key);
            }
            if let Some(value) = message.payload() {
                record = record.payload(&value[..output.value_bytes.unwrap_or(value.len()).min(value.len())]);
            }
            if let Some(headers) = message.headers() {
                record = record.headers(headers.detach());
            }
            while let Err((error, back)) = producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error);
                }
                producer.poll(Duration::from_millis(1));
                record = back;
            }
        }
        Ok(())
    }
}

fn commit(
    consumer: &BaseConsumer<DefaultConsumerContext>,
    producer: &BaseProducer<DefaultProducerContext>,
    batch: &[BorrowedMessage<'_>],
) -> KafkaResult<()> {
    let mut offsets = rdkafka::TopicPartitionList::new();
    let mut last = std::collections::BTreeMap::new();
    for message in batch {
        last.insert((message.topic(), message.partition()), message.offset() + 1);
    }
    for ((topic, partition), offset) in last {
        offsets.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset))?;
    }
    let group = consumer.group_metadata().ok_or(KafkaError::ClientCreation("no group metadata".to_owned()))?;
    producer.send_offsets_to_transaction(&offsets, &group, Duration::from_secs(30))?;
    // `poll` with a time below a millisecond would ask again and again without a pause.
    while producer.flush(Duration::ZERO).is_err() {
        let left = producer.in_flight_count();
        producer.poll(Duration::ZERO);
        if producer.in_flight_count() == left {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    producer.commit_transaction(Duration::from_secs(30))
}
