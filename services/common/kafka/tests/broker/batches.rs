//! Batches with offsets that the reader keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use freshet_kafka::OwnedRecord;
use freshet_kafka::batches::{BATCH_BYTES, BatchReader};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::*;

#[test]
fn batches_go_on_from_kept_offsets_and_back() {
    let topic = topic("batches", &[]);
    publish(&topic, 0..400);
    let mut reader = BatchReader::new(&connection(), "test").unwrap();
    assert_eq!(reader.partition_count(&topic).unwrap(), Some(PARTITIONS));
    reader.assign(&topic, &[(0, 10), (2, 0)].into()).unwrap();
    let ends = reader.end_offsets().unwrap();
    assert_eq!(ends, [(0, 104), (2, 96)].into());
    let mut found: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    while *reader.positions() != ends {
        let batch = reader.next_batch(7, Duration::from_secs(10)).unwrap();
        assert!(!batch.is_empty() && batch.len() <= 7);
        for record in batch {
            found.entry(record.partition).or_default().push(record.offset);
        }
    }
    assert_eq!(found, [(0, (10..104).collect()), (2, (0..96).collect())].into());
    assert!(reader.next_batch(7, Duration::from_millis(50)).unwrap().is_empty());

    reader.rewind(&[(2, 90)].into()).unwrap();
    let mut again = Vec::new();
    while again.len() < 6 {
        again.extend(reader.next_batch(100, Duration::from_secs(10)).unwrap());
    }
    assert_eq!(
        again.iter().map(|record| (record.partition, record.offset)).collect::<Vec<_>>(),
        (90..96).map(|o| (2, o)).collect::<Vec<_>>()
    );

    let time = again[2].timestamp_ms.unwrap();
    let at = reader.offsets_at_time(&topic, &[2], time).unwrap();
    assert!(at[&2] <= 92, "{at:?}");
    assert_eq!(reader.offsets_at_time(&topic, &[2], time + 3_600_000).unwrap(), [(2, 96)].into());
    let error = reader.assign(&topic, &[(0, 1_000)].into()).unwrap_err().to_string();
    assert!(error.contains("ends at 104"), "{error}");
}

/// The client ends the process where a partition is taken away a second time while its fetcher still stops
/// (librdkafka issue 5573): a puller who comes again and again from the start brought it about.
#[test]
fn a_reader_may_be_assigned_anew_at_once_and_again() {
    let topic = topic("anew", &[]);
    publish(&topic, 0..400);
    let mut reader = BatchReader::new(&connection(), "test").unwrap();
    let all: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    for _ in 0..50 {
        reader.assign(&topic, &all).unwrap();
        for _ in 0..20 {
            reader.rewind(&all).unwrap();
        }
    }
    let mut count = 0;
    while count < 400 {
        count += reader.next_batch(100, Duration::from_secs(10)).unwrap().len();
    }
    assert_eq!(count, 400);
}

/// A batch of 500 records of nearly a megabyte would be half a gigabyte.
#[test]
fn a_batch_is_closed_by_its_bytes_too() {
    const RECORD_BYTES: usize = 300_000;
    let topic = topic("heavy", &[]);
    let producer = plain_producer(&connection());
    let value = vec![7; RECORD_BYTES];
    for _ in 0..20 {
        let record: BaseRecord<'_, (), Vec<u8>> = BaseRecord::to(&topic).partition(0).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    let mut reader = BatchReader::new(&connection(), "test").unwrap();
    reader.assign(&topic, &[(0, 0)].into()).unwrap();
    let mut offsets = Vec::new();
    while offsets.len() < 20 {
        let batch = reader.next_batch(500, Duration::from_secs(10)).unwrap();
        let bytes: usize = batch.iter().map(OwnedRecord::size_bytes).sum();
        assert!(!batch.is_empty() && bytes < BATCH_BYTES + RECORD_BYTES, "{bytes}");
        offsets.extend(batch.iter().map(|record| record.offset));
    }
    assert_eq!(offsets, (0..20).collect::<Vec<_>>());
}

/// A puller goes on from its cursor with whatever reader is free, and asks again with an old one where the answer was lost; in
/// the view lie transactions of two routers, some of which were aborted.
#[test]
fn readers_in_turn_miss_nothing_and_repeat_nothing_between_aborted_transactions() {
    let topic = topic("torn", &[]);
    let mut random = fastrand::Rng::with_seed(8_564_787);
    let producers: Vec<BaseProducer> = (0..2).map(|_| transactional_producer()).collect();
    let mut readers: Vec<(BatchReader, bool)> =
        (0..3).map(|_| (BatchReader::new(&connection(), "test").unwrap(), false)).collect();
    let mut cursor: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let (mut committed, mut found) = (BTreeSet::new(), Vec::new());
    let mut read = |cursor: &mut BTreeMap<i32, i64>, found: &mut Vec<u32>, random: &mut fastrand::Rng| {
        let (reader, is_assigned) = &mut readers[random.usize(0..3)];
        if !*is_assigned || reader.positions() != cursor {
            reader.assign(&topic, cursor).unwrap();
            *is_assigned = true;
        }
        let batch = reader.next_batch(random.usize(1..8), Duration::from_millis(random.u64(1..60))).unwrap();
        if random.u8(0..4) > 0 {
            reader.positions().clone_into(cursor);
            let number =
                |record: OwnedRecord| String::from_utf8(record.value.unwrap()).unwrap().parse::<u32>().unwrap();
            found.extend(batch.into_iter().map(number));
        }
    };
    let mut next = 0;
    for _ in 0..60 {
        producers.iter().for_each(|producer| producer.begin_transaction().unwrap());
        let mut written = [Vec::new(), Vec::new()];
        for _ in 0..random.usize(1..30) {
            let whose = random.usize(0..2);
            let value = next.to_string();
            let partition = random.i32(0..PARTITIONS);
            let record: BaseRecord<'_, (), String> = BaseRecord::to(&topic).partition(partition).payload(&value);
            producers[whose].send(record).map_err(|(error, _)| error).unwrap();
            // Batches of their own, in between each other.
            if random.u8(0..4) == 0 {
                producers[whose].flush(Duration::from_secs(20)).unwrap();
            }
            written[whose].push(next);
            next += 1;
        }
        read(&mut cursor, &mut found, &mut random);
        for (producer, written) in producers.iter().zip(written) {
            producer.flush(Duration::from_secs(20)).unwrap();
            match random.u8(0..5) {
                0 | 1 => producer.abort_transaction(Duration::from_secs(20)).unwrap(),
                _ => {
                    producer.commit_transaction(Duration::from_secs(20)).unwrap();
                    committed.extend(written);
                }
            }
            read(&mut cursor, &mut found, &mut random);
        }
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while found.len() < committed.len() && Instant::now() < deadline {
        read(&mut cursor, &mut found, &mut random);
    }
    let once: BTreeSet<u32> = found.iter().copied().collect();
    assert_eq!((once.len(), &once), (found.len(), &committed));
}
