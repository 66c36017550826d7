//! Several partitions read back at the same time.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Fault, InRecord, Replay, ReplayRange};

/// How long one thread reads alone: to start another reader costs more than most states take.
pub const ALONE: Duration = Duration::from_millis(500);
/// Each holds a client and what it reads ahead, some 20 MiB, beside a state that may be most of what there is.
/// One, until a run of faults that did not drain with two is explained (decision 0021).
const MOST_READERS: usize = 1;

/// Makes one more reader, on the thread that will use it.
pub type OneMore = Box<dyn Fn() -> Result<Box<dyn Replay>, Fault> + Send + Sync>;

/// Calls `one` for each of `wanted`, and gives back what it made of them in their order. What is not over after `alone` is
/// shared with another thread that has a reader of its own, where there is a processor for it. After the first fault the
/// other ends with its next record.
pub fn replay_each<W: Sync, T: Send>(
    wanted: &[W],
    replay: &mut dyn Replay,
    alone: Duration,
    one: impl Fn(&W, &mut dyn Replay) -> Result<T, Fault> + Sync,
) -> Result<Vec<T>, Fault> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    replay_each_with(processors.min(MOST_READERS) - 1, wanted, replay, alone, one)
}

fn replay_each_with<W: Sync, T: Send>(
    helpers: usize,
    wanted: &[W],
    replay: &mut dyn Replay,
    alone: Duration,
    one: impl Fn(&W, &mut dyn Replay) -> Result<T, Fault> + Sync,
) -> Result<Vec<T>, Fault> {
    let work = Work { wanted, one, next: AtomicUsize::new(0), done: Mutex::default(), fault: OnceLock::new() };
    let helpers = helpers.min(wanted.len().saturating_sub(1));
    match replay.others().filter(|_| helpers > 0) {
        None => work.run(replay),
        Some(others) => thread::scope(|scope| {
            // A thread that cannot be had is no fault: the others do its part.
            let help = |_| {
                let name = "reading back".to_owned();
                thread::Builder::new().name(name).spawn_scoped(scope, || work.help(&others, alone)).ok()
            };
            let helpers: Vec<_> = (0..helpers).filter_map(help).collect();
            work.run(replay);
            helpers.iter().for_each(|helper| helper.thread().unpark());
        }),
    }
    work.result()
}

struct Work<'w, W, T, F> {
    wanted: &'w [W],
    one: F,
    /// Index of the first that nobody has begun with.
    next: AtomicUsize,
    done: Mutex<Vec<(usize, T)>>,
    /// The first one.
    fault: OnceLock<Fault>,
}

impl<W, T, F: Fn(&W, &mut dyn Replay) -> Result<T, Fault>> Work<'_, W, T, F> {
    fn help(&self, others: &OneMore, alone: Duration) {
        let begun = Instant::now();
        while let Some(left) = alone.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
            if self.is_all_begun() {
                return;
            }
        }
        match others() {
            Ok(mut replay) => self.run(&mut *replay),
            Err(fault) => self.fail(fault),
        }
    }

    fn run(&self, replay: &mut dyn Replay) {
        let mut replay = UntilFault { replay, fault: &self.fault };
        while self.fault.get().is_none() {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(wanted) = self.wanted.get(index) else { return };
            match (self.one)(wanted, &mut replay) {
                Ok(made) => self.done.lock().unwrap_or_else(PoisonError::into_inner).push((index, made)),
                Err(fault) => self.fail(fault),
            }
        }
    }

    fn is_all_begun(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.wanted.len()
    }

    fn fail(&self, fault: Fault) {
        // Those behind the first are mostly those that it ended.
        let _ = self.fault.set(fault);
    }

    fn result(self) -> Result<Vec<T>, Fault> {
        if let Some(fault) = self.fault.into_inner() {
            return Err(fault);
        }
        let mut done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(index, _)| *index);
        Ok(done.into_iter().map(|(_, made)| made).collect())
    }
}

/// Ends where another thread has met a fault.
struct UntilFault<'r> {
    replay: &'r mut dyn Replay,
    fault: &'r OnceLock<Fault>,
}

impl Replay for UntilFault<'_> {
    fn replay(
        &mut self,
        topic: &str,
        partition: i32,
        range: ReplayRange,
        each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
    ) -> Result<i64, Fault> {
        self.replay.replay(topic, partition, range, &mut |record| match self.fault.get() {
            None => each(record),
            Some(_) => Err(Fault::retry("read back", "another partition could not be")),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Arc, Barrier};
    use std::thread::ThreadId;

    use super::*;

    /// Partition `n` has `n` records.
    #[derive(Clone, Default)]
    struct Topic {
        threads: Arc<Mutex<HashSet<ThreadId>>>,
    }

    impl Topic {
        fn readers(&self) -> usize {
            self.threads.lock().unwrap().len()
        }
    }

    impl Replay for Topic {
        fn replay(
            &mut self,
            topic: &str,
            partition: i32,
            _: ReplayRange,
            each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
        ) -> Result<i64, Fault> {
            self.threads.lock().unwrap().insert(thread::current().id());
            for offset in 0..i64::from(partition) {
                each(&InRecord { topic, partition, offset, timestamp_ms: None, key: None, value: None, headers: &[] })?;
            }
            Ok(i64::from(partition))
        }

        fn others(&self) -> Option<OneMore> {
            let other = self.clone();
            Some(Box::new(move || Ok(Box::new(other.clone()))))
        }
    }

    fn count(partition: &i32, replay: &mut dyn Replay) -> Result<i64, Fault> {
        let mut count = 0;
        replay.replay("t", *partition, ReplayRange::default(), &mut |_| {
            count += 1;
            Ok(())
        })?;
        Ok(count)
    }

    const PARTITIONS: [i32; 7] = [3, 0, 5, 1, 1000, 2, 4];
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn what_is_made_is_in_the_order_of_what_was_wanted() {
        for helpers in [0, 1, 3, 20] {
            for alone in [Duration::ZERO, LONG] {
                let counts = replay_each_with(helpers, &PARTITIONS, &mut Topic::default(), alone, count).unwrap();
                assert_eq!(counts, PARTITIONS.map(i64::from));
            }
        }
    }

    #[test]
    fn one_reads_alone_at_first() {
        let mut topic = Topic::default();
        replay_each_with(3, &PARTITIONS, &mut topic, LONG, count).unwrap();
        assert_eq!(topic.readers(), 1, "and nobody waits for those who would have helped");
    }

    #[test]
    fn others_help() {
        let mut topic = Topic::default();
        let all_at_work = Barrier::new(3);
        replay_each_with(2, &[1, 1, 1], &mut topic, Duration::ZERO, |partition, replay| {
            all_at_work.wait();
            count(partition, replay)
        })
        .unwrap();
        assert_eq!(topic.readers(), 3);
    }

    #[test]
    fn the_first_fault_ends_all() {
        let (endless, failing) = (i32::MAX, 1);
        let both_at_work = Barrier::new(2);
        let result =
            replay_each_with(1, &[endless, failing], &mut Topic::default(), Duration::ZERO, |partition, replay| {
                both_at_work.wait();
                if *partition == failing {
                    return Err(Fault::fatal("read", "the first"));
                }
                count(partition, replay)
            });
        assert!(result.unwrap_err().to_string().contains("the first"));
    }

    #[test]
    fn a_reader_that_cannot_be_had_is_a_fault() {
        struct Alone(Topic);
        impl Replay for Alone {
            fn replay(
                &mut self,
                topic: &str,
                partition: i32,
                range: ReplayRange,
                each: &mut dyn FnMut(&InRecord<'_>) -> Result<(), Fault>,
            ) -> Result<i64, Fault> {
                self.0.replay(topic, partition, range, each)
            }

            fn others(&self) -> Option<OneMore> {
                Some(Box::new(|| Err(Fault::retry("create a reader", "none"))))
            }
        }
        let mut alone = Alone(Topic::default());
        let result = replay_each_with(1, &[i32::MAX, i32::MAX], &mut alone, Duration::ZERO, count);
        assert!(result.unwrap_err().to_string().contains("create a reader"));
    }

    #[test]
    fn nothing_is_wanted() {
        assert_eq!(replay_each_with(3, &[], &mut Topic::default(), LONG, count).unwrap(), Vec::<i64>::new());
    }
}
