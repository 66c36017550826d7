//! Calls into the client that may never return. Where a broker leaves while one of its partitions' leader epochs is asked
//! for, librdkafka locks itself up for good (its issue 5476, open): the next call that needs its main thread waits for ever,
//! and a consumer gets nothing any more. No such call takes minutes otherwise, so one that does ends the process: a new
//! start has new clients. Whoever has a consumer for long asks its main thread something now and then ([`Asked`]). Calls of
//! a transaction, which have bounds of their own, are given less: one of them does not keep its bound (issues 5456, 5511).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use freshet_runtime::run::EXIT_HUNG;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

/// What a broker is given to answer a call about topics, groups and offsets.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked which calls are under way, and how many looks one may be seen at: two minutes, longer than the
/// watchdog of a loop takes to say what its loop was about.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS: u32 = 120;
/// The same of a transactional call: three times what a transaction may take.
const TRANSACTIONAL_LOOKS: u32 = 30;
const ASK_EVERY: Duration = Duration::from_secs(10);

static WATCH: LazyLock<Watch> = LazyLock::new(|| Watch::start(LOOK_EVERY, end));

fn end(doing: &'static str, looks: u32) {
    let seconds = LOOK_EVERY.as_secs() * u64::from(looks);
    tracing::error!(doing, seconds, "the Kafka client does not return: ending, so that a new start has a new one");
    std::process::exit(EXIT_HUNG);
}

/// Makes a call that ends the process where it does not return.
pub(crate) fn bounded<T>(doing: &'static str, call: impl FnOnce() -> T) -> T {
    let _underway = WATCH.begin(doing, LOOKS);
    call()
}

/// The same for a call that is told to return within seconds.
pub(crate) fn bounded_in_transaction<T>(doing: &'static str, call: impl FnOnce() -> T) -> T {
    let _underway = WATCH.begin(doing, TRANSACTIONAL_LOOKS);
    call()
}

/// When a consumer's main thread was last asked something.
#[derive(Debug)]
pub(crate) struct Asked(Instant);

impl Default for Asked {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Asked {
    /// Asks it where that is due. A consumer that has locked itself up looks like one that has nothing to read.
    pub(crate) fn again<C: ConsumerContext>(&mut self, consumer: &BaseConsumer<C>) {
        if self.0.elapsed() >= ASK_EVERY {
            // What the answer is tells nothing; that there is one does.
            let _ = bounded("ask the client", || consumer.assignment());
            self.0 = Instant::now();
        }
    }
}

/// What a client that answers by itself has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    NothingIsDue,
    /// Some are due; so many were ever given.
    Due(usize),
}

/// Ends the process where answers are due and none came for two minutes, longer than the client takes to give each up.
/// `answers` gives `None` when there is no client any more.
pub(crate) fn watch_answers(doing: &'static str, answers: impl Fn() -> Option<Answers> + Send + 'static) {
    start("answers", move || {
        if no_answer_comes(&answers, LOOK_EVERY, LOOKS) {
            end(doing, LOOKS);
        }
    });
}

/// Returns true where none comes, false when there is no client any more.
fn no_answer_comes(answers: &impl Fn() -> Option<Answers>, every: Duration, looks: u32) -> bool {
    let (mut last, mut seen) = (Answers::NothingIsDue, 0);
    while let Some(now) = answers() {
        seen = if now == last && now != Answers::NothingIsDue { seen + 1 } else { 0 };
        if seen > looks {
            return true;
        }
        last = now;
        std::thread::sleep(every);
    }
    false
}

fn start(name: &str, looking: impl FnOnce() + Send + 'static) {
    if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(looking) {
        tracing::error!(%error, "no thread looks for calls that do not return");
    }
}

/// By number.
type Underway = Mutex<BTreeMap<u64, Seen>>;

#[derive(Debug)]
struct Seen {
    doing: &'static str,
    times: u32,
    most: u32,
}

#[derive(Debug)]
struct Watch {
    underway: Arc<Underway>,
    next: AtomicU64,
}

impl Watch {
    /// `stuck` is told what is done, and at how many looks it may be seen.
    fn start(every: Duration, stuck: impl FnOnce(&'static str, u32) + Send + 'static) -> Self {
        let underway = Arc::<Underway>::default();
        let watched = Arc::downgrade(&underway);
        start("calls", move || {
            if let Some((doing, looks)) = look(&watched, every) {
                stuck(doing, looks);
            }
        });
        Self { underway, next: AtomicU64::new(0) }
    }

    fn begin(&self, doing: &'static str, most: u32) -> Call<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let seen = Seen { doing, times: 0, most };
        self.underway.lock().unwrap_or_else(PoisonError::into_inner).insert(number, seen);
        Call { watch: self, number }
    }
}

/// What was seen at too many looks; `None` when nobody can begin a call any more. Looks are counted, not seconds: a process
/// that was stopped for a while was not stuck.
fn look(watched: &Weak<Underway>, every: Duration) -> Option<(&'static str, u32)> {
    loop {
        std::thread::sleep(every);
        let underway = watched.upgrade()?;
        for seen in underway.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            seen.times += 1;
            if seen.times > seen.most {
                return Some((seen.doing, seen.most));
            }
        }
    }
}

struct Call<'w> {
    watch: &'w Watch,
    number: u64,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.watch.underway.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;

    const EVERY: Duration = Duration::from_millis(5);
    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_call_that_does_not_return_is_told_by_name() {
        let (told, stuck) = mpsc::channel();
        let watch = Watch::start(EVERY, move |doing, looks| told.send((doing, looks)).unwrap());
        let _longer = watch.begin("list", 1_000_000);
        let _call = watch.begin("assign", 10);
        drop(watch.begin("commit", 1));
        assert_eq!(stuck.recv_timeout(LIMIT), Ok(("assign", 10)));
    }

    #[test]
    fn many_that_return_are_left_alone() {
        let (told, stuck) = mpsc::channel();
        let watch = Watch::start(EVERY, move |doing, _| told.send(doing).unwrap());
        let begun = Instant::now();
        while begun.elapsed() < 200 * EVERY {
            drop(watch.begin("assign", 100));
            std::thread::yield_now();
        }
        drop(watch);
        // Its thread has ended without a word.
        assert_eq!(stuck.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn answers_that_are_due_and_do_not_come_are_told() {
        assert!(no_answer_comes(&|| Some(Answers::Due(7)), Duration::ZERO, 100));
    }

    #[test]
    fn who_answers_now_and_then_or_owes_nothing_is_left_alone() {
        let looked = AtomicU64::new(0);
        let answers = || match looked.fetch_add(1, Ordering::Relaxed) {
            look @ 0..500 => Some(Answers::Due(look as usize / 90)),
            500..1_000 => Some(Answers::NothingIsDue),
            _ => None,
        };
        assert!(!no_answer_comes(&answers, Duration::ZERO, 100));
    }
}
