//! The transactional loop: each input once in the output, whatever happens between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use freshet_core::{Fault, InRecord};
use freshet_kafka::admin;
use freshet_kafka::transactional::LoopSettings;

use crate::copy::{Copy, Running};
use crate::support::*;

fn settings(name: &str, instance: &str) -> LoopSettings {
    LoopSettings { batch_records: 100, ..LoopSettings::new(name, name, instance) }
}

#[test]
fn once_each_in_spite_of_aborts_and_a_restart() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    publish(&input, 0..3_000);
    let name = unique("aborts");
    let mut calls = 0;
    let stage = Copy::new(&input, &output).injecting(move |_| {
        calls += 1;
        if calls % 571 == 0 { Err(Fault::retry("injected", "the world is at fault")) } else { Ok(()) }
    });
    let first = Running::start(stage, connection(), settings(&name, "0"));
    eventually("half is copied", 60, || first.committed() >= 1_500 || first.has_ended());
    let aborts = first.metrics.aborts.with_label_values(&["stage"]).get();
    first.stop().unwrap();
    assert!(aborts > 0);

    publish(&input, 3_000..4_000);
    let second = Running::start(Copy::new(&input, &output), connection(), settings(&name, "0"));
    eventually("all is copied", 60, || is_caught_up(&connection(), &name, &input) || second.has_ended());
    second.stop().unwrap();
    assert_books(&output, 0..4_000);
}

#[test]
fn once_each_while_instances_come_and_go() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    let name = unique("rebalance");
    let slow = |input: &str, output: &str| {
        // A transaction is open most of the time.
        Copy::new(input, output).injecting(|record| {
            if record.offset % 40 == 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        })
    };
    let publisher = {
        let input = input.clone();
        std::thread::spawn(move || {
            for part in 0..20 {
                publish(&input, part * 200..(part + 1) * 200);
            }
        })
    };
    let first = Running::start(slow(&input, &output), connection(), settings(&name, "0"));
    eventually("the first works", 30, || first.committed() > 0 || first.has_ended());
    for _ in 0..3 {
        let other = Running::start(slow(&input, &output), connection(), settings(&name, "1"));
        eventually("the other has its share", 60, || {
            other.seen.assigned.load(std::sync::atomic::Ordering::Relaxed) > 0 || other.has_ended()
        });
        other.stop().unwrap();
    }
    publisher.join().unwrap();
    let last = Running::start(slow(&input, &output), connection(), settings(&name, "1"));
    eventually("nothing is left", 120, || {
        is_caught_up(&connection(), &name, &input) || first.has_ended() || last.has_ended()
    });
    assert!(first.metrics.rebalances.get() >= 4, "{}", first.metrics.rebalances.get());
    last.stop().unwrap();
    first.stop().unwrap();
    assert_books(&output, 0..4_000);
}

#[test]
fn a_zombie_is_fenced_and_stops() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    let name = unique("zombie");
    publish(&input, 0..500);
    let zombie = Running::start(Copy::new(&input, &output), connection(), settings(&name, "0"));
    eventually("the first works", 30, || zombie.committed() == 500 || zombie.has_ended());
    let successor = Running::start(Copy::new(&input, &output), connection(), settings(&name, "0"));
    eventually("the successor is in the group", 30, || {
        successor.seen.assigned.load(std::sync::atomic::Ordering::Relaxed) > 0 || successor.has_ended()
    });
    publish(&input, 500..1_000);
    let fault = zombie.end().unwrap_err().to_string();
    assert!(fault.contains("another instance works under the same name"), "{fault}");
    eventually("the successor has done the rest", 60, || {
        is_caught_up(&connection(), &name, &input) || successor.has_ended()
    });
    successor.stop().unwrap();
    assert_books(&output, 0..1_000);
}

/// A member that stands still for longer than the group waits has lost its partitions and does not know. Its transactional
/// id is nobody else's, so that only the group's generation can refuse what it still writes.
#[test]
fn a_member_that_was_thrown_out_cannot_commit() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    let name = unique("thrown-out");
    publish(&input, 0..500);
    let mut patience = connection();
    patience.extra.insert("max.poll.interval.ms".to_owned(), "7000".to_owned());
    let stood_still = Arc::new(AtomicBool::new(false));
    let stands_still = {
        let (stood_still, name, input) = (Arc::clone(&stood_still), name.clone(), input.clone());
        move |_: &InRecord<'_>| {
            // At its first record: the transaction has not begun for the broker, and does not expire meanwhile.
            if !stood_still.swap(true, Ordering::Relaxed) {
                eventually("another has done all of it", 60, || is_caught_up(&connection(), &name, &input));
            }
            Ok(())
        }
    };
    let stage = Copy::new(&input, &output).injecting(stands_still);
    let thrown_out = Running::start(stage, patience.clone(), settings(&name, "0"));
    eventually("it stands still", 30, || stood_still.load(Ordering::Relaxed) || thrown_out.has_ended());
    let successor = Running::start(Copy::new(&input, &output), patience, settings(&name, "1"));
    eventually("the successor has done all of it", 60, || successor.committed() == 500 || successor.has_ended());
    let aborts = thrown_out.metrics.aborts.with_label_values(&["kafka"]);
    eventually("it is refused", 60, || aborts.get() > 0 || thrown_out.committed() > 0 || thrown_out.has_ended());
    assert_eq!((aborts.get(), thrown_out.committed()), (1, 0));
    thrown_out.stop().unwrap();
    successor.stop().unwrap();
    assert_books(&output, 0..500);
}

/// A pause longer than the transaction's time-out looks to the client like a successor; it must not end the service.
#[test]
fn a_transaction_that_the_broker_gave_up_is_done_again() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    let name = unique("paused");
    publish(&input, 0..200);
    let mut paused = false;
    let stage = Copy::new(&input, &output).injecting(move |record| {
        if record.offset == 20 && !std::mem::replace(&mut paused, true) {
            std::thread::sleep(Duration::from_secs(22));
        }
        Ok(())
    });
    let running = Running::start(stage, connection(), settings(&name, "0"));
    eventually("all is copied", 90, || running.committed() == 200 || running.has_ended());
    assert_eq!(running.metrics.aborts.with_label_values(&["expired"]).get(), 1);
    running.stop().unwrap();
    assert_books(&output, 0..200);
}

/// The same where the client learns of it while the stage still writes: it refuses the next output.
#[test]
fn a_transaction_that_the_broker_gave_up_is_done_again_though_the_stage_still_writes() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    let name = unique("paused-writing");
    publish(&input, 0..200);
    let mut calls = 0;
    let stage = Copy::new(&input, &output).injecting(move |_| {
        calls += 1;
        match calls {
            // Behind some outputs: before the first there is nothing that the broker could give up.
            20 => std::thread::sleep(Duration::from_secs(14)),
            21..50 => std::thread::sleep(Duration::from_millis(100)),
            _ => {}
        }
        Ok(())
    });
    let running = Running::start(stage, connection(), settings(&name, "0"));
    eventually("all is copied", 120, || running.committed() == 200 || running.has_ended());
    let expired = running.metrics.aborts.with_label_values(&["expired"]).get();
    running.stop().unwrap();
    assert_eq!(expired, 1);
    assert_books(&output, 0..200);
}

#[test]
fn an_output_that_no_topic_takes_is_set_aside_with_a_note() {
    let input = topic("in", &[("max.message.bytes", "200000")]);
    let output = topic("out", &[("max.message.bytes", "20000")]);
    let unassigned = freshet_kafka::admin::TopicSpec {
        name: "reject.unassigned".to_owned(),
        partitions: PARTITIONS,
        may_grow: true,
        settings: Default::default(),
    };
    admin::ensure_topics(&connection(), &[unassigned]).unwrap();
    let name = unique("large");
    publish(&input, 0..100);
    // The number stays readable, in as many digits as the topic does not take.
    let large = "0".repeat(100_000) + "100";
    let producer = plain_producer(&connection());
    let record = rdkafka::producer::BaseRecord::to(&input).partition(0).key("k0").payload(&large);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(10)).unwrap();
    // Compressible: the limit is on what is written, so the producer must not compress.
    let mut plain = connection();
    plain.extra.insert("compression.type".to_owned(), "none".to_owned());
    let running = Running::start(Copy::new(&input, &output), plain, settings(&name, "0"));
    eventually("all is done", 60, || running.committed() == 101 || running.has_ended());
    let unwritable = running.metrics.records.with_label_values(&["unwritable"]).get();
    running.stop().unwrap();
    assert_eq!(unwritable, 1);
    assert_books(&output, 0..100);
    let notes = read_all("reject.unassigned");
    let note = notes
        .values()
        .flatten()
        .find(|note| note.header_str("freshet_rejected_from") == Some(&format!("{input}/0/26")));
    let note = note.unwrap_or_else(|| panic!("no note among {notes:?}"));
    assert!(note.header_str("freshet_violations").unwrap().contains("envelope.size"));
}

/// An input that transactions wrote ends with their markers, behind the last record.
#[test]
fn a_loop_that_has_read_all_says_that_nothing_is_left() {
    let (first, second, third) = (topic("in", &[]), topic("between", &[]), topic("out", &[]));
    publish(&first, 0..400);
    let name = unique("lag");
    let hop = Running::start(Copy::new(&first, &second), connection(), settings(&name, "0"));
    eventually("the input is written in transactions", 60, || hop.committed() == 400 || hop.has_ended());
    hop.stop().unwrap();
    let mut often = connection();
    often.extra.insert("statistics.interval.ms".to_owned(), "100".to_owned());
    let name = unique("lag");
    let reading = Running::start(Copy::new(&second, &third), often, settings(&name, "0"));
    eventually("all is copied", 60, || reading.committed() == 400 || reading.has_ended());
    // What was said before counts for nothing.
    reading.metrics.lag_records.set(-1);
    eventually("nothing is left", 60, || reading.metrics.lag_records.get() == 0 || reading.has_ended());
    reading.stop().unwrap();
}
