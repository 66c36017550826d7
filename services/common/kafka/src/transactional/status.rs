//! What a loop says of itself while it runs, for whoever watches it: does it hold its partitions, when did it last get
//! on, and what keeps it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// So many times in a row reading the state back is progress. What is begun more often gets nowhere, although each time it
/// reads something, until it comes to what it waits for in vain.
const MOST_REBUILDS: u32 = 3;

/// Shared by the loop and its watcher.
#[derive(Debug, Clone)]
pub struct Status {
    holds: watch::Sender<bool>,
    course: Arc<Mutex<Course>>,
}

#[derive(Debug)]
struct Course {
    progressed: Instant,
    /// Of the state, since a turn last committed something or found nothing to do.
    rebuilds: u32,
    /// Why the last turn did not end well; empty after one that did.
    trouble: String,
    /// The step that was begun last.
    step: &'static str,
}

impl Default for Status {
    fn default() -> Self {
        let course = Course { progressed: Instant::now(), rebuilds: 0, trouble: String::new(), step: "start" };
        Self { holds: watch::Sender::new(false), course: Arc::new(Mutex::new(course)) }
    }
}

impl Status {
    /// True while the instance has what the group gave it (which may be nothing, where others have all) and the state of
    /// these partitions.
    pub fn holds(&self) -> watch::Receiver<bool> {
        self.holds.subscribe()
    }

    /// Since when nothing was committed, read back or found to be idle.
    pub fn stalled(&self) -> Duration {
        self.course().progressed.elapsed()
    }

    /// What kept the loop last; empty where nothing does.
    pub fn trouble(&self) -> String {
        self.course().trouble.clone()
    }

    /// The step that was begun last: the one that hangs, in a loop that does.
    pub fn step(&self) -> &'static str {
        self.course().step
    }

    /// A step begins that waits for somebody else.
    pub(crate) fn begins(&self, step: &'static str) {
        self.course().step = step;
    }

    pub(crate) fn set_holds(&self, holds: bool) {
        self.holds.send_if_modified(|known| std::mem::replace(known, holds) != holds);
    }

    pub(crate) fn progressed(&self) {
        let mut course = self.course();
        course.progressed = Instant::now();
        course.rebuilds = 0;
    }

    /// The state is read back, once more where that did not end well before.
    pub(crate) fn rebuilds(&self) {
        self.course().rebuilds += 1;
    }

    /// A piece of the state was read back. True where that is progress.
    pub(crate) fn read_back(&self) -> bool {
        let mut course = self.course();
        let gets_on = course.rebuilds <= MOST_REBUILDS;
        if gets_on {
            course.progressed = Instant::now();
        }
        gets_on
    }

    /// A turn ended well.
    pub(crate) fn turned(&self) {
        self.course().trouble.clear();
    }

    pub(crate) fn kept_by(&self, why: &str) {
        why.clone_into(&mut self.course().trouble);
    }

    fn course(&self) -> std::sync::MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuild_that_begins_again_and_again_gets_nowhere() {
        let status = Status::default();
        for round in 0..3 {
            for rebuild in 1..=MOST_REBUILDS + 2 {
                status.rebuilds();
                assert_eq!(status.read_back(), rebuild <= MOST_REBUILDS, "{rebuild} of round {round}");
            }
            let before = status.course().progressed;
            assert!(!status.read_back() && status.course().progressed == before);
            // A batch was committed.
            status.progressed();
        }
    }
}
