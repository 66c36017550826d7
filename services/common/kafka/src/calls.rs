//! Calls into the client that may never return. Where a broker leaves while one of its partitions' leader epochs is asked
//! for, librdkafka locks itself up for good (its issue 5476, open): the next call that needs its main thread waits for ever,
//! and a consumer gets nothing any more. No such call takes minutes otherwise, so one that does ends the process: a new
//! start has new clients. Whoever has a consumer for long asks its main thread something now and then ([`Asked`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use freshet_runtime::run::EXIT_HUNG;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};

/// How often it is looked which calls are under way, and how many looks one may be seen at: two minutes, longer than the
/// watchdog of a loop takes to say what its loop was about.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS: u32 = 120;
const ASK_EVERY: Duration = Duration::from_secs(10);

static WATCH: LazyLock<Watch> = LazyLock::new(|| {
    Watch::start(LOOK_EVERY, LOOKS, |doing| {
        let seconds = LOOK_EVERY.as_secs() * u64::from(LOOKS);
        tracing::error!(doing, seconds, "the Kafka client does not return: ending, so that a new start has a new one");
        std::process::exit(EXIT_HUNG);
    })
});

/// Makes a call that ends the process where it does not return.
pub(crate) fn bounded<T>(doing: &'static str, call: impl FnOnce() -> T) -> T {
    let _underway = WATCH.begin(doing);
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

/// By number: what is done, and how often it was seen.
type Underway = Mutex<BTreeMap<u64, (&'static str, u32)>>;

#[derive(Debug)]
struct Watch {
    underway: Arc<Underway>,
    next: AtomicU64,
}

impl Watch {
    fn start(every: Duration, looks: u32, stuck: impl FnOnce(&'static str) + Send + 'static) -> Self {
        let underway = Arc::<Underway>::default();
        let watched = Arc::downgrade(&underway);
        let looking = std::thread::Builder::new().name("calls".to_owned()).spawn(move || {
            if let Some(doing) = look(&watched, every, looks) {
                stuck(doing);
            }
        });
        if let Err(error) = looking {
            tracing::error!(%error, "no thread looks for calls that do not return");
        }
        Self { underway, next: AtomicU64::new(0) }
    }

    fn begin(&self, doing: &'static str) -> Call<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.underway.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (doing, 0));
        Call { watch: self, number }
    }
}

/// What was seen at too many looks; `None` when nobody can begin a call any more. Looks are counted, not seconds: a process
/// that was stopped for a while was not stuck.
fn look(watched: &Weak<Underway>, every: Duration, looks: u32) -> Option<&'static str> {
    loop {
        std::thread::sleep(every);
        let underway = watched.upgrade()?;
        for (doing, seen) in underway.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
            *seen += 1;
            if *seen > looks {
                return Some(doing);
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
        let watch = Watch::start(EVERY, 10, move |doing| told.send(doing).unwrap());
        let _call = watch.begin("assign");
        drop(watch.begin("commit"));
        assert_eq!(stuck.recv_timeout(LIMIT), Ok("assign"));
    }

    #[test]
    fn many_that_return_are_left_alone() {
        let (told, stuck) = mpsc::channel();
        let watch = Watch::start(EVERY, 100, move |doing| told.send(doing).unwrap());
        let begun = Instant::now();
        while begun.elapsed() < 200 * EVERY {
            drop(watch.begin("assign"));
            std::thread::yield_now();
        }
        drop(watch);
        // Its thread has ended without a word.
        assert_eq!(stuck.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    }
}
