//! Publishing with acknowledgement.

use std::time::Duration;

use freshet_kafka::Record;
use freshet_kafka::publisher::{PublishError, Publisher};

use crate::support::*;

fn record(topic: &str, number: u32) -> Record {
    Record {
        topic: topic.to_owned(),
        key: Some(key_of(number).into_bytes()),
        value: Some(number.to_string().into_bytes()),
        headers: [("ce_id", number.to_string())].into_iter().collect(),
        ..Record::default()
    }
}

async fn made(stem: &str, settings: &'static [(&'static str, &'static str)]) -> String {
    let stem = stem.to_owned();
    tokio::task::spawn_blocking(move || topic(&stem, settings)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_acknowledged_in_order_and_to_javas_partitions() {
    let topic = made("published", &[]).await;
    let publisher = Publisher::new(&connection(), "test", 10_000).unwrap();
    let records: Vec<Record> = (0..1_000).map(|number| record(&topic, number)).collect();
    let results = publisher.publish_all(&records).await;
    for (record, result) in records.iter().zip(&results) {
        let position = result.as_ref().unwrap();
        assert_eq!(position.partition, freshet_core::partition(record.key.as_ref().unwrap(), PARTITIONS));
    }
    assert_eq!(publisher.in_flight(), 0);
    let delete = Record { value: None, ..record(&topic, 0) };
    let position = publisher.publish(delete).await.unwrap();
    let found = tokio::task::spawn_blocking(move || read_all(&topic)).await.unwrap();
    let last = found[&position.partition].last().unwrap();
    assert_eq!((last.offset, &last.value, last.header_str("ce_id")), (position.offset, &None, Some("0")));
    for records in found.values() {
        let mut last_of_key = std::collections::HashMap::new();
        for record in records.iter().filter(|record| record.value.is_some()) {
            let number: u32 = String::from_utf8(record.value.clone().unwrap()).unwrap().parse().unwrap();
            let last = last_of_key.insert(record.key.clone(), number);
            assert!(last.is_none_or(|last| last < number));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_they_are() {
    let small = made("small", &[("max.message.bytes", "1000")]).await;
    let publisher = Publisher::new(&connection(), "test", 2).unwrap();
    let records: Vec<Record> = (0..4).map(|number| record(&small, number)).collect();
    let results = publisher.publish_all(&records).await;
    assert!(results[0].is_ok() && results[1].is_ok(), "{results:?}");
    assert_eq!(results[2..], [Err(PublishError::Full), Err(PublishError::Full)]);
    // What was acknowledged makes room again.
    assert!(publisher.publish(record(&small, 4)).await.is_ok());

    let noise: Vec<u8> = (0..5_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let medium = Record { value: Some(noise[..5_000].to_vec()), ..record(&small, 5) };
    assert!(matches!(publisher.publish(medium).await, Err(PublishError::TooLarge { .. })));
    let large = Record { value: Some(noise), ..record(&small, 5) };
    assert!(matches!(publisher.publish(large).await, Err(PublishError::TooLarge { .. })));
    assert!(publisher.flush(Duration::from_secs(5)).await);
}
