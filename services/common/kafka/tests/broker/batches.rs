//! Batches with offsets that the reader keeps.

use std::collections::BTreeMap;
use std::time::Duration;

use freshet_kafka::batches::BatchReader;

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
