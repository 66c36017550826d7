//! What was to be read is gone: records that are deleted while the loop runs, and topics that are deleted and made anew
//! under it. Nothing brings them back; the loop says what is gone and goes on with what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use freshet_kafka::Connection;
use freshet_kafka::admin::{self, TopicSpec};
use freshet_kafka::offsets;
use freshet_kafka::transactional::LoopSettings;

use crate::copy::{Copy, Order, Running};
use crate::support::*;

fn settings(name: &str) -> LoopSettings {
    LoopSettings { batch_records: 10, ..LoopSettings::new(name, name, "0") }
}

fn errors(running: &Running, kind: &str) -> u64 {
    running.metrics.errors.with_label_values(&[kind]).get()
}

fn made_anew(topic: &str) {
    admin::delete_topics(&connection(), &[topic]).unwrap();
    make(topic);
}

/// The broker says that a topic is gone a moment before it is.
fn make(topic: &str) {
    let spec = TopicSpec { name: topic.to_owned(), partitions: PARTITIONS, may_grow: false, settings: BTreeMap::new() };
    eventually("the topic is there again", 30, || {
        let made = admin::ensure_topics(&connection(), std::slice::from_ref(&spec));
        made.is_ok_and(|made| made.created == [topic])
            || offsets::ends(&connection(), topic).is_ok_and(|ends| ends.iter().all(|at| at.end == 0))
    });
}

fn numbers(topic: &str) -> BTreeSet<u32> {
    numbers_on(&connection(), topic).into_values().flatten().collect()
}

#[test]
fn what_is_deleted_behind_the_position_of_an_idle_loop_is_no_loss() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    let name = unique("idle");
    publish(&input, 0..200);
    let running = Running::start(Copy::new(&input, &output), connection(), settings(&name));
    eventually("all is copied", 60, || running.committed() == 200 || running.has_ended());
    for (partition, at) in offsets::ends(&connection(), &input).unwrap().iter().enumerate() {
        delete_before(&input, partition as i32, at.end);
    }
    publish(&input, 200..400);
    eventually("it goes on", 60, || running.committed() == 400 || running.has_ended());
    assert_eq!(errors(&running, "expired"), 0);
    running.stop().unwrap();
    assert_books(&output, 0..400);
}

/// Retention passes a reader that is behind: what it has not fetched yet is gone.
#[test]
fn each_record_of_a_backlog_that_is_deleted_is_either_copied_or_counted() {
    let (input, output, notes) = (topic("in", &[]), topic("out", &[]), topic_of_notes());
    let name = unique("backlog");
    // Each a batch of its own, of which the client fetches one at a time.
    for part in 0..20 {
        publish(&input, part * 50..(part + 1) * 50);
    }
    let mut sparing: Connection = connection();
    sparing.extra.insert("queued.min.messages".to_owned(), "1".to_owned());
    sparing.extra.insert("fetch.message.max.bytes".to_owned(), "1".to_owned());
    let (reached, open) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (at, gate) = (Arc::clone(&reached), Arc::clone(&open));
    let stage = Copy::new(&input, &output).expecting(Order::Gaps).injecting(move |_| {
        at.store(true, Ordering::Relaxed);
        while !gate.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let running = Running::start(stage, sparing, settings(&name));
    eventually("the loop is in a batch", 60, || reached.load(Ordering::Relaxed) || running.has_ended());
    // Of two partitions, so that the second is lost while the loop goes back because of the first.
    for partition in [0, 1] {
        delete_before(&input, partition, 13 * 19);
    }
    open.store(true, Ordering::Relaxed);
    eventually("it goes on to the end", 60, || is_caught_up(&connection(), &name, &input) || running.has_ended());
    let (copied, expired) = (running.committed(), errors(&running, "expired"));
    running.stop().unwrap();
    assert!(expired > 0, "the test must delete what was not fetched");
    assert_eq!(copied + expired, 1_000, "{copied} copied, {expired} expired");
    assert_eq!(numbers(&output).len() as u64, copied, "none twice");
    let of_this = |from: &str| from.starts_with(&format!("{input}/"));
    let notes = read_all(notes).into_values().flatten();
    let notes = notes.filter(|note| note.header_str("freshet_rejected_from").is_some_and(of_this));
    assert_eq!(notes.count(), 2, "one a partition, whatever was done again");

    // What was said once is not said again by the next instance.
    let again = Running::start(Copy::new(&input, &output).expecting(Order::Gaps), connection(), settings(&name));
    publish(&input, 1_000..1_050);
    eventually("the next goes on", 60, || again.committed() == 50 || again.has_ended());
    assert_eq!(errors(&again, "expired"), 0);
    again.stop().unwrap();
}

/// The client finds its offset beyond the new topic's end.
#[test]
fn a_topic_that_is_made_anew_and_shorter_is_read_from_its_start() {
    let (input, output, _) = (topic("in", &[]), topic("out", &[]), topic_of_notes());
    let name = unique("shorter");
    publish(&input, 0..400);
    let running = Running::start(Copy::new(&input, &output), connection(), settings(&name));
    eventually("all is copied", 60, || running.committed() == 400 || running.has_ended());
    made_anew(&input);
    publish(&input, 400..500);
    eventually("the new one is copied", 60, || running.committed() == 500 || running.has_ended());
    running.stop().unwrap();
    assert_books(&output, 0..500);
}

/// The client finds its offset in the new topic, and goes on there: what lies before it must not be missed.
#[test]
fn a_topic_that_is_made_anew_and_longer_is_read_from_its_start() {
    let (input, output, notes) = (topic("in", &[]), topic("out", &[]), topic_of_notes());
    let name = unique("longer");
    publish(&input, 0..100);
    let running = Running::start(Copy::new(&input, &output).expecting(Order::Any), connection(), settings(&name));
    eventually("all is copied", 60, || running.committed() == 100 || running.has_ended());
    made_anew(&input);
    publish(&input, 100..500);
    eventually("it is noticed", 60, || errors(&running, "made_anew") == PARTITIONS as u64 || running.has_ended());
    eventually("the new one is read", 60, || is_caught_up(&connection(), &name, &input) || running.has_ended());
    running.stop().unwrap();
    assert_eq!(numbers(&output), (0..500).collect(), "none is missed");
    let notes = read_all(notes).into_values().flatten();
    let notes = notes.filter(|note| {
        note.header_str("freshet_rejected_from").is_some_and(|from| from.starts_with(&format!("{input}/")))
    });
    assert_eq!(notes.count(), PARTITIONS as usize);
}

/// Long enough for the group to see that it is gone.
#[test]
fn a_topic_that_is_away_for_a_while_is_waited_for() {
    let (input, output, _) = (topic("in", &[]), topic("out", &[]), topic_of_notes());
    let name = unique("away");
    publish(&input, 0..200);
    let running = Running::start(Copy::new(&input, &output), connection(), settings(&name));
    eventually("all is copied", 60, || running.committed() == 200 || running.has_ended());
    admin::delete_topics(&connection(), &[&input]).unwrap();
    eventually("the group takes it", 60, || running.metrics.assigned.get() == 0 || running.has_ended());
    make(&input);
    publish(&input, 200..400);
    eventually("the new one is copied", 60, || running.committed() == 400 || running.has_ended());
    assert_eq!(errors(&running, "made_anew"), PARTITIONS as u64);
    running.stop().unwrap();
    assert_books(&output, 0..400);
}

/// An output that is away: nothing is committed until it is back, and nothing is lost or written twice.
#[test]
fn an_output_that_is_made_anew_gets_what_was_not_committed() {
    let (input, output, _) = (topic("in", &[]), topic("out", &[]), topic_of_notes());
    let name = unique("output");
    publish(&input, 0..100);
    let running = Running::start(Copy::new(&input, &output).expecting(Order::Gaps), connection(), settings(&name));
    eventually("all is copied", 60, || running.committed() == 100 || running.has_ended());
    admin::delete_topics(&connection(), &[&output]).unwrap();
    publish(&input, 100..200);
    eventually("it aborts", 60, || {
        ["stage", "output", "kafka"].iter().any(|reason| running.metrics.aborts.with_label_values(&[reason]).get() > 0)
            || errors(&running, "retry") > 0
            || running.has_ended()
    });
    make(&output);
    eventually("it goes on", 90, || running.committed() == 200 || running.has_ended());
    running.stop().unwrap();
    assert_eq!(numbers(&output), (100..200).collect(), "what it had before is for its readers' owner to fill again");
}
