//! How soon the loop goes on after the broker was away. Each time a transaction is open when the broker goes: a moment
//! that the test chooses, since a single broker that is killed while it *ends* a transaction loses its markers
//! (`docs/decisions/0009-recovery.md`), which is Kafka's own defect and not the loop's.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use freshet_kafka::transactional::LoopSettings;
use freshet_kafka::{Connection, offsets};
use freshet_testkit::{Broker, BrokerSettings};

use crate::copy::{Copy, Running};
use crate::support::*;

/// From the broker's first answer to the first record that is committed: the sum in `docs/decisions/0009-recovery.md` is
/// 15 s; three times that for a machine that is busy with something else.
const RECOVERY: Duration = Duration::from_secs(45);

#[test]
fn once_each_though_the_broker_dies() {
    goes_away(Broker::kill);
}

#[test]
fn once_each_though_the_broker_restarts_in_good_order() {
    goes_away(Broker::stop);
}

fn goes_away(end: fn(&mut Broker)) {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(BrokerSettings::new(folder.path())).unwrap();
    let here = Connection::to(broker.bootstrap());
    let (input, output) = (topic_on(&here, "in", &[]), topic_on(&here, "out", &[]));
    let name = unique("outage");
    publish_on(&here, &input, 0..2_000);
    let (opened, is_open) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let mut stops = vec![350, 150];
    let stage = Copy::new(&input, &output).injecting(move |record| {
        if record.partition == 0 && stops.last() == Some(&record.offset) {
            stops.pop();
            opened.send(()).unwrap();
            may_go_on.recv().unwrap();
        }
        Ok(())
    });
    let settings = LoopSettings { batch_records: 100, ..LoopSettings::new(&name, &name, "0") };
    let running = Running::start(stage, here.clone(), settings);
    for _ in 0..2 {
        is_open.recv_timeout(Duration::from_secs(60)).unwrap();
        let before = running.committed();
        eventually("the markers of the transaction before", 60, || {
            let committed = offsets::committed(&here, &name, &input).unwrap_or_default();
            committed.into_iter().flatten().sum::<i64>().unsigned_abs() == before
        });
        end(&mut broker);
        go_on.send(()).unwrap();
        broker.restart().unwrap();
        let back = Instant::now();
        while running.committed() == before && !running.has_ended() {
            let trouble = running.metrics.status.trouble();
            let skipped = lost_markers(folder.path());
            assert!(
                back.elapsed() < RECOVERY,
                "nothing within {RECOVERY:?}; what keeps the loop: {trouble}; {skipped:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("first record {:.1} s after the broker was back", back.elapsed().as_secs_f64());
    }
    publish_on(&here, &input, 2_000..2_200);
    eventually("all is copied", 60, || is_caught_up(&here, &name, &input) || running.has_ended());
    running.stop().unwrap();
    assert_books_on(&here, &output, 0..2_200);
}

/// The lines of the broker's log in which it gives up the markers of a transaction.
fn lost_markers(folder: &Path) -> Vec<String> {
    let log = std::fs::read_to_string(folder.join("node-1/log/server.log")).unwrap_or_default();
    log.lines().filter(|line| line.contains("while trying to send transaction markers")).map(str::to_owned).collect()
}
