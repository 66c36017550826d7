//! Waiting before trying again: jittered, bounded, and ended by the stop signal.

use std::cell::Cell;
use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Doubles from `first` to `most`; each wait is a random part of that, from one half up, so that instances that failed
/// together do not come back together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, attempt: 0 }
    }

    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let full = self.first.saturating_mul(2_u32.saturating_pow(self.attempt)).min(self.most);
        self.attempt = self.attempt.saturating_add(1);
        full.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    pub(crate) fn wait(&mut self, stop: &CancellationToken) {
        pause(self.next(), stop);
    }
}

/// True at most once in an interval: for lines that an outage would repeat by the thousand.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Cell<Option<Instant>>,
}

impl Seldom {
    const INTERVAL: Duration = Duration::from_secs(5);

    pub(crate) fn now(&self) -> bool {
        let due = self.last.get().is_none_or(|last| last.elapsed() >= Self::INTERVAL);
        if due {
            self.last.set(Some(Instant::now()));
        }
        due
    }
}

/// Blocks the thread for `duration`, or until `stop`.
pub(crate) fn pause(duration: Duration, stop: &CancellationToken) {
    let deadline = Instant::now() + duration;
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut stopped = pin!(stop.cancelled());
    while stopped.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}

/// Ends a thread's `park_timeout`.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_within_its_bounds() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        for attempt in 0..40 {
            let wait = backoff.next();
            assert!(wait >= Duration::from_millis(25) && wait <= Duration::from_secs(5), "{attempt}: {wait:?}");
        }
        assert!(backoff.next() >= Duration::from_millis(2_500));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }

    #[test]
    fn a_stop_ends_a_pause_and_time_does() {
        let stop = CancellationToken::new();
        pause(Duration::from_millis(1), &stop);
        let (begins, begun) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn({
            let stop = stop.clone();
            move || {
                begins.send(()).unwrap();
                pause(Duration::from_secs(3_600), &stop);
            }
        });
        begun.recv().unwrap();
        stop.cancel();
        waiting.join().unwrap();
        pause(Duration::from_secs(3_600), &stop);
    }

    /// The stop above may have come before the wait.
    #[test]
    fn a_wake_ends_the_wait_that_comes_after_it_too() {
        Waker::from(Arc::new(Unpark(std::thread::current()))).wake();
        std::thread::park_timeout(Duration::from_secs(3_600));
    }
}
