//! Alive means: no loop has had work for longer than its limit without getting on. An idle loop is alive; so is one that
//! waits for a broker, as long as it says that it is still trying. Kubernetes restarts a process that is not alive, so
//! only a loop that is stuck for good may fail this.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Shared by all services of a process.
#[derive(Clone)]
pub struct Liveness {
    /// Time since some fixed moment.
    clock: Clock,
    watched: Arc<Mutex<Vec<Arc<Watched>>>>,
}

struct Watched {
    name: String,
    limit: Duration,
    /// Milliseconds of the clock plus one at the last progress, or 0 while there is no work.
    busy_since: AtomicU64,
}

/// One loop's side of it. Dropping it ends the watch.
#[must_use = "the loop is watched only as long as its watchdog is held"]
pub struct Watchdog {
    clock: Clock,
    watched: Arc<Watched>,
    all: Arc<Mutex<Vec<Arc<Watched>>>>,
}

/// A loop that is stuck.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stuck {
    pub name: String,
    /// Whole seconds since it last got on.
    pub seconds: u64,
}

impl Default for Liveness {
    fn default() -> Self {
        let start = Instant::now();
        Self::with_clock(move || start.elapsed())
    }
}

impl Liveness {
    pub fn with_clock(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), watched: Arc::default() }
    }

    /// `limit`: how long the loop may go without progress while it has work.
    pub fn watch(&self, name: impl Into<String>, limit: Duration) -> Watchdog {
        let watched = Arc::new(Watched { name: name.into(), limit, busy_since: AtomicU64::new(0) });
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&watched));
        Watchdog { clock: Arc::clone(&self.clock), watched, all: Arc::clone(&self.watched) }
    }

    /// The loops that are over their limit; empty means alive.
    pub fn stuck(&self) -> Vec<Stuck> {
        let now = millis((self.clock)());
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched
            .iter()
            .filter_map(|loop_| {
                let since = loop_.busy_since.load(Ordering::Relaxed).checked_sub(1)?;
                let stalled = Duration::from_millis(now.saturating_sub(since));
                (stalled > loop_.limit).then(|| Stuck { name: loop_.name.clone(), seconds: stalled.as_secs() })
            })
            .collect()
    }
}

impl Watchdog {
    /// There is work, and a part of it was just begun or done.
    pub fn progressed(&self) {
        self.watched.busy_since.store(millis((self.clock)()) + 1, Ordering::Relaxed);
    }

    /// There is no work.
    pub fn idle(&self) {
        self.watched.busy_since.store(0, Ordering::Relaxed);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|watched| !Arc::ptr_eq(watched, &self.watched));
    }
}

impl std::fmt::Debug for Liveness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Liveness").field("stuck", &self.stuck()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchdog").field("name", &self.watched.name).finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_busy_loop_without_progress_is_stuck() {
        let now = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now);
        let liveness = Liveness::with_clock(move || Duration::from_secs(clock.load(Ordering::Relaxed)));
        let watchdog = liveness.watch("validator loop", Duration::from_secs(60));
        now.store(1_000, Ordering::Relaxed);
        assert_eq!(liveness.stuck(), [], "idle since the start");

        watchdog.progressed();
        now.store(1_060, Ordering::Relaxed);
        assert_eq!(liveness.stuck(), [], "at the limit, not over it");
        now.store(1_061, Ordering::Relaxed);
        assert_eq!(liveness.stuck(), [Stuck { name: "validator loop".to_owned(), seconds: 61 }]);

        watchdog.progressed();
        assert_eq!(liveness.stuck(), []);
        now.store(2_000, Ordering::Relaxed);
        watchdog.idle();
        assert_eq!(liveness.stuck(), []);
        watchdog.progressed();
        now.store(3_000, Ordering::Relaxed);
        drop(watchdog);
        assert_eq!(liveness.stuck(), [], "a loop that ended is not watched");
    }
}
