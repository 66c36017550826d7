//! Work beside the input, as a view is filled: its reads and writes share the batch's transaction, and go on without
//! input.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use freshet_core::{
    Assigned, Fault, InRecord, OutRecord, Outcome, Output, Progress, Replay, ReplayRange, Stage, TopicPartition,
};
use freshet_kafka::LoopMetrics;
use freshet_kafka::transactional::{self, LoopSettings};
use tokio_util::sync::CancellationToken;

use crate::copy::{Copy, Running};
use crate::support::*;

/// Copies another topic from its beginning, a few records at a time; what it has copied is counted from its output.
struct Filler {
    input: String,
    source: String,
    output: String,
    subscribed: bool,
    /// Per partition held, how many records of the source are copied.
    filled: Vec<(i32, i64)>,
    source_records: i64,
    calls: u32,
    done: Arc<AtomicU32>,
    assigned: Arc<Mutex<u32>>,
}

impl Stage for Filler {
    fn inputs(&mut self) -> Result<Option<Vec<String>>, Fault> {
        let first = !std::mem::replace(&mut self.subscribed, true);
        Ok(first.then(|| vec![self.input.clone()]))
    }

    fn assigned(&mut self, partitions: &[Assigned], replay: &mut dyn Replay) -> Result<(), Fault> {
        *self.assigned.lock().unwrap() += 1;
        for at in partitions {
            let mut count = 0;
            replay.replay(&self.output, at.partition, ReplayRange::default(), &mut |_| {
                count += 1;
                Ok(())
            })?;
            self.filled.push((at.partition, count));
        }
        Ok(())
    }

    fn revoked(&mut self, _partitions: &[TopicPartition]) {
        self.filled.clear();
    }

    fn process(&mut self, _record: &InRecord<'_>, _out: &mut dyn Output) -> Result<Outcome, Fault> {
        Ok(Outcome::Emitted { records: 0 })
    }

    fn has_background_work(&self) -> bool {
        self.filled.iter().any(|(_, count)| *count < self.source_records)
    }

    fn background(&mut self, replay: &mut dyn Replay, out: &mut dyn Output) -> Result<Progress, Fault> {
        self.calls += 1;
        for (partition, count) in &mut self.filled {
            let range = ReplayRange { from: *count, until: None, limit: Some(7) };
            *count = replay.replay(&self.source, *partition, range, &mut |record| {
                out.send(OutRecord {
                    topic: &self.output,
                    partition: record.partition,
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                    extra: &[],
                    timestamp_ms: None,
                })
            })?;
        }
        if self.calls.is_multiple_of(6) {
            return Err(Fault::retry("injected", "the world is at fault"));
        }
        Ok(if self.has_background_work() { Progress::More } else { Progress::Idle })
    }

    /// What was written may not be seen all the same.
    fn before_commit(&mut self) -> Result<(), Fault> {
        if self.calls % 4 == 3 {
            return Err(Fault::retry("injected", "the world has changed meanwhile"));
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn background_work_goes_on_without_input_and_once_each() {
    let (input, source, output) = (topic("idle", &[]), topic("source", &[]), topic("filled", &[]));
    publish(&source, 0..400);
    let name = unique("background");
    let (stop, metrics) = (CancellationToken::new(), LoopMetrics::unregistered());
    let (done, assigned) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(0)));
    let mut stage = Filler {
        input,
        source,
        output: output.clone(),
        subscribed: false,
        filled: vec![],
        source_records: 96,
        calls: 0,
        done: Arc::clone(&done),
        assigned: Arc::clone(&assigned),
    };
    let thread = {
        let (stop, metrics) = (stop.clone(), metrics.clone());
        let settings = LoopSettings::new("background", &name, &name);
        std::thread::spawn(move || transactional::run(&mut stage, &connection(), &settings, &metrics, &stop))
    };
    eventually("the source is copied", 60, || {
        let ends = freshet_kafka::offsets::ends(&connection(), &output).unwrap();
        thread.is_finished() || (ends.iter().all(|ends| ends.end >= 96) && done.load(Ordering::Relaxed) >= 14)
    });
    stop.cancel();
    thread.join().unwrap().unwrap();
    assert!(metrics.aborts.with_label_values(&["stage"]).get() > 0);
    assert!(*assigned.lock().unwrap() > 1, "an abort gives the partitions anew");
    for (key, numbers) in numbers_on(&connection(), &output) {
        let mut distinct = numbers.clone();
        distinct.dedup();
        assert_eq!(numbers, distinct, "key {key}");
        assert!(numbers.len() >= 7, "key {key}: {numbers:?}");
    }
}

/// Has work that fails each time.
struct Failing {
    input: String,
    subscribed: bool,
    held: usize,
}

impl Stage for Failing {
    fn inputs(&mut self) -> Result<Option<Vec<String>>, Fault> {
        let first = !std::mem::replace(&mut self.subscribed, true);
        Ok(first.then(|| vec![self.input.clone()]))
    }

    fn assigned(&mut self, partitions: &[Assigned], _replay: &mut dyn Replay) -> Result<(), Fault> {
        self.held = partitions.len();
        Ok(())
    }

    fn revoked(&mut self, _partitions: &[TopicPartition]) {
        self.held = 0;
    }

    fn process(&mut self, _record: &InRecord<'_>, _out: &mut dyn Output) -> Result<Outcome, Fault> {
        Ok(Outcome::Emitted { records: 0 })
    }

    fn has_background_work(&self) -> bool {
        self.held > 0
    }

    fn background(&mut self, _replay: &mut dyn Replay, _out: &mut dyn Output) -> Result<Progress, Fault> {
        Err(Fault::retry("injected", "every transaction is aborted"))
    }
}

/// What a group decides waits in one queue with the client's statistics and logs, which come faster than an instance polls
/// that aborts one transaction after the other. It must come to the decision all the same, or it keeps its partitions, and
/// its place in a group that threw it out, for ever.
#[test]
fn a_decision_of_the_group_is_seen_between_aborts() {
    let (input, output) = (topic("in", &[]), topic("out", &[]));
    let name = unique("decision");
    let (stop, metrics) = (CancellationToken::new(), LoopMetrics::unregistered());
    let mut noisy = connection();
    noisy.extra.insert("statistics.interval.ms".to_owned(), "100".to_owned());
    let mut stage = Failing { input: input.clone(), subscribed: false, held: 0 };
    let thread = {
        let (stop, metrics, settings) = (stop.clone(), metrics.clone(), LoopSettings::new(&name, &name, "0"));
        std::thread::spawn(move || transactional::run(&mut stage, &noisy, &settings, &metrics, &stop))
    };
    let aborts = metrics.aborts.with_label_values(&["stage"]);
    eventually("the first has tried for a while", 120, || aborts.get() >= 8 || thread.is_finished());
    let second = Running::start(Copy::new(&input, &output), connection(), LoopSettings::new(&name, &name, "1"));
    publish(&input, 0..400);
    eventually("the second has its share", 60, || second.committed() > 0 || second.has_ended());
    stop.cancel();
    thread.join().unwrap().unwrap();
    eventually("all is copied", 90, || is_caught_up(&connection(), &name, &input) || second.has_ended());
    second.stop().unwrap();
}
