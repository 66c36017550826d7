//! Reading back: where the end is when the tail is markers and aborted records, limits, bounds.

use std::time::Duration;

use freshet_core::{Replay as _, ReplayRange};
use freshet_kafka::reader::Reader;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::support::*;

fn send(producer: &BaseProducer, topic: &str, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let value = number.to_string();
        let record = BaseRecord::to(topic).partition(0).key("k").payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn read(reader: &mut Reader, topic: &str, range: ReplayRange) -> (Vec<u32>, i64) {
    let mut found = Vec::new();
    let next = reader.replay(topic, 0, range, &mut |record| {
        found.push(std::str::from_utf8(record.value.unwrap()).unwrap().parse().unwrap());
        Ok(())
    });
    (found, next.unwrap())
}

#[test]
fn the_end_is_found_behind_aborted_records_and_markers() {
    let topic = topic("tail", &[]);
    let producer = transactional_producer();
    let mut reader = Reader::new(&connection()).unwrap();
    assert_eq!(read(&mut reader, &topic, ReplayRange::default()), (vec![], 0));

    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..10);
    producer.commit_transaction(Duration::from_secs(10)).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 10..15);
    producer.abort_transaction(Duration::from_secs(10)).unwrap();

    // The markers follow the commit: offsets 0-9, marker 10, aborted 11-15, marker 16.
    eventually("the marker of the abort is written", 10, || reader.watermarks(&topic, 0).unwrap().end == 17);
    let all: Vec<u32> = (0..10).collect();
    assert_eq!(read(&mut reader, &topic, ReplayRange::default()), (all, 17));
    assert_eq!(read(&mut reader, &topic, ReplayRange { from: 10, ..Default::default() }), (vec![], 17));
    assert_eq!(read(&mut reader, &topic, ReplayRange { from: 17, ..Default::default() }), (vec![], 17));
}

#[test]
fn bounds_and_limits_go_on_where_they_stopped() {
    let topic = topic("limits", &[]);
    let producer = transactional_producer();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..100);
    producer.commit_transaction(Duration::from_secs(10)).unwrap();
    let mut reader = Reader::new(&connection()).unwrap();
    eventually("the marker is written", 10, || reader.watermarks(&topic, 0).unwrap().end == 101);

    let bounded = ReplayRange { from: 5, until: Some(8), limit: None };
    assert_eq!(read(&mut reader, &topic, bounded), (vec![5, 6, 7], 8));
    let mut found = Vec::new();
    let mut next = 0;
    while next < 101 {
        let (part, end) = read(&mut reader, &topic, ReplayRange { from: next, until: None, limit: Some(30) });
        assert!(part.len() <= 30 && end > next, "{part:?} to {end}");
        found.extend(part);
        next = end;
        if next == 60 {
            // New records while a reader stands in the middle: its end is the end as of the call.
            producer.begin_transaction().unwrap();
            send(&producer, &topic, 100..110);
            producer.commit_transaction(Duration::from_secs(10)).unwrap();
        }
    }
    eventually("the second marker is written", 10, || reader.watermarks(&topic, 0).unwrap().end == 112);
    found.extend(read(&mut reader, &topic, ReplayRange { from: next, ..Default::default() }).0);
    assert_eq!(found, (0..110).collect::<Vec<u32>>());
}

/// The end as of the call includes records whose transaction is still open: they are waited for.
#[test]
fn an_open_transaction_is_waited_for() {
    let topic = topic("open", &[]);
    let producer = transactional_producer();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..5);
    let waiting = std::thread::spawn({
        let topic = topic.clone();
        move || read(&mut Reader::new(&connection()).unwrap(), &topic, ReplayRange::default())
    });
    producer.commit_transaction(Duration::from_secs(10)).unwrap();
    let (found, _) = waiting.join().unwrap();
    assert_eq!(found, vec![0, 1, 2, 3, 4]);
}

#[test]
fn a_transaction_that_stays_open_is_a_retry() {
    let topic = topic("stuck", &[]);
    let producer = transactional_producer();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0..5);
    let mut reader = Reader::new(&connection()).unwrap();
    reader.set_progress_timeout(Duration::from_millis(300));
    let fault = reader.replay(&topic, 0, ReplayRange::default(), &mut |_| Ok(())).unwrap_err();
    assert!(matches!(&fault, freshet_core::Fault::Retry { reason, .. } if reason.contains("open")), "{fault}");
    producer.abort_transaction(Duration::from_secs(10)).unwrap();
}
