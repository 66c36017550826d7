//! Ready is the absence of something to wait for: each part that is not ready yet holds a [`Latch`], and dropping it is
//! the whole protocol. A service that later loses what it needs (P10) takes a latch again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared by all services of a process.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    waiting: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// Held while the process is not ready for this reason. Dropping it releases it.
#[derive(Debug)]
#[must_use = "the process is ready again as soon as the latch is dropped"]
pub struct Latch {
    what: String,
    waiting: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Readiness {
    /// `what` is read by an operator on `/ready`: name the thing that is missing, e.g. `catalogue`.
    pub fn wait_for(&self, what: impl Into<String>) -> Latch {
        let what = what.into();
        *lock(&self.waiting).entry(what.clone()).or_default() += 1;
        Latch { what, waiting: Arc::clone(&self.waiting) }
    }

    pub fn is_ready(&self) -> bool {
        lock(&self.waiting).is_empty()
    }

    /// What is waited for, sorted, each name once.
    pub fn waiting_for(&self) -> Vec<String> {
        lock(&self.waiting).keys().cloned().collect()
    }
}

impl Latch {
    /// The same as dropping it, where a name reads better.
    pub fn release(self) {}
}

impl Drop for Latch {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        if let Some(count) = waiting.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.what);
            }
        }
    }
}

/// A panic elsewhere cannot leave the map half changed, so a poisoned lock is still good.
fn lock(waiting: &Mutex<BTreeMap<String, usize>>) -> std::sync::MutexGuard<'_, BTreeMap<String, usize>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_latch_is_dropped() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let catalogue = readiness.wait_for("catalogue");
        let first = readiness.wait_for("partitions");
        let second = readiness.wait_for("partitions");
        assert_eq!(readiness.waiting_for(), ["catalogue", "partitions"]);
        catalogue.release();
        drop(first);
        assert_eq!(readiness.waiting_for(), ["partitions"]);
        assert!(!readiness.is_ready());
        drop(second);
        assert!(readiness.is_ready());
        let _again = readiness.wait_for("catalogue");
        assert!(!readiness.is_ready());
    }
}
