use freshet_core::{Assigned, Fault, InRecord, OutRecord, Outcome, Output, Replay, Stage, TopicPartition};

use super::log::DropTombstones;
use super::{Bus, End, Member};

/// Copies its input.
#[derive(Debug)]
struct Copy;

impl Stage for Copy {
    fn inputs(&mut self) -> Result<Option<Vec<String>>, Fault> {
        Ok(Some(vec!["in".to_owned()]))
    }

    fn assigned(&mut self, _: &[Assigned], _: &mut dyn Replay) -> Result<(), Fault> {
        Ok(())
    }

    fn revoked(&mut self, _: &[TopicPartition]) {}

    fn process(&mut self, record: &InRecord<'_>, out: &mut dyn Output) -> Result<Outcome, Fault> {
        let InRecord { partition, key, value, headers, .. } = *record;
        out.send(OutRecord { topic: "out", partition, key, value, headers, extra: &[], timestamp_ms: None })?;
        Ok(Outcome::Emitted { records: 1 })
    }
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut bus = Bus::default();
    for key in ["a", "b", "a"] {
        bus.publish("in", 0, Some(key.as_bytes()), Some(b"v"), &[]);
    }
    let mut member = Member::new(Copy);
    member.rebalance(&bus, &[0]).expect("assigned");
    member.batch(&mut bus, 2, End::Abort).expect("aborted");
    member.batch(&mut bus, 2, End::Crash).expect("crashed");
    assert_eq!((bus.records("out", 0).len(), bus.committed("in", 0)), (0, 0));

    let mut member = Member::new(Copy);
    member.rebalance(&bus, &[0]).expect("assigned");
    assert!(member.drain(&mut bus, 2).expect("drained"));
    assert_eq!((bus.records("out", 0).len(), bus.committed("in", 0)), (3, 3));

    bus.compact("out", 0, i64::MAX, DropTombstones::No);
    assert_eq!(bus.records("out", 0).len(), 2);
    assert_eq!(bus.compacted("out", 0).len(), 2);
}
