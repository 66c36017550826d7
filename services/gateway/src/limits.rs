//! What one department may take of what all share: a rate of events, and a part of each of requests, files, bytes and
//! events in work. A department that takes too much is told so (429); what is full for everybody is 503.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A token bucket a department. Departments are few (those of the credentials file), so the table needs no cleaning.
///
/// What is taken may go below zero by one taking: whoever sends batches then waits for its debt, instead of being refused
/// for ever by others of its own department who send single events. So [`Rate::ready`] is a good guess of what
/// [`Rate::take`] will say, and a request that will be refused is refused before its body is read.
#[derive(Debug)]
pub struct Rate {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Too fast: try again after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFast(pub Duration);

impl TooFast {
    /// Whole seconds, rounded up, as `Retry-After` wants them.
    pub fn seconds(self) -> u64 {
        self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0)
    }
}

impl Rate {
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: f64::from(per_second), burst: f64::from(burst), buckets: Mutex::default() }
    }

    /// Whether the department may send anything now.
    pub fn ready(&self, department: &str, now: Instant) -> Result<(), TooFast> {
        self.take(department, 0, now)
    }

    /// Takes `events` from the department's bucket, if there is anything in it.
    pub fn take(&self, department: &str, events: usize, now: Instant) -> Result<(), TooFast> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if !buckets.contains_key(department) {
            buckets.insert(department.to_owned(), Bucket { tokens: self.burst, at: now });
        }
        let Some(bucket) = buckets.get_mut(department) else { return Ok(()) };
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * self.per_second).min(self.burst);
        bucket.at = bucket.at.max(now);
        if bucket.tokens < 1.0 {
            let seconds = (1.0 - bucket.tokens) / self.per_second;
            return Err(TooFast(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(60))));
        }
        bucket.tokens -= events as f64;
        Ok(())
    }
}

/// So much of something for all, and so much of it for each department.
#[derive(Debug)]
pub struct Shares {
    whole: Arc<Semaphore>,
    each: usize,
    departments: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Why nothing was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// By the department itself.
    ByItself,
    ByAll,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    own: OwnedSemaphorePermit,
    whole: OwnedSemaphorePermit,
}

impl Shares {
    pub fn new(whole: usize, each: usize) -> Self {
        Self { whole: Arc::new(Semaphore::new(whole)), each, departments: Mutex::default() }
    }

    fn of(&self, department: &str) -> Arc<Semaphore> {
        let mut departments = self.departments.lock().unwrap_or_else(PoisonError::into_inner);
        match departments.get(department) {
            Some(own) => Arc::clone(own),
            None => {
                let own = Arc::new(Semaphore::new(self.each));
                departments.insert(department.to_owned(), Arc::clone(&own));
                own
            }
        }
    }

    /// At once, or not at all.
    pub fn take(&self, department: &str, count: usize) -> Result<Held, Taken> {
        let count = u32::try_from(count).map_err(|_| Taken::ByItself)?;
        let own = self.of(department).try_acquire_many_owned(count).map_err(|_| Taken::ByItself)?;
        let whole = Arc::clone(&self.whole).try_acquire_many_owned(count).map_err(|_| Taken::ByAll)?;
        Ok(Held { own, whole })
    }
}

impl Held {
    /// Both are given back together.
    pub fn join(&mut self, more: Self) {
        self.own.merge(more.own);
        self.whole.merge(more.whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_department_has_its_own_bucket() {
        let rate = Rate::new(1, 10);
        let now = Instant::now();
        assert_eq!(rate.take("a", 10, now), Ok(()));
        let TooFast(wait) = rate.take("a", 1, now).unwrap_err();
        assert_eq!((wait, TooFast(wait).seconds()), (Duration::from_secs(1), 1));
        assert_eq!(rate.ready("a", now), Err(TooFast(wait)));
        assert_eq!(rate.take("b", 10, now), Ok(()));
        let later = now + Duration::from_millis(1_500);
        assert_eq!(rate.take("a", 1, later), Ok(()), "at the limit");
        assert_eq!(rate.take("a", 1, later), Err(TooFast(Duration::from_millis(500))), "and one more");
    }

    #[test]
    fn a_debt_is_waited_for_and_the_rate_holds() {
        let rate = Rate::new(100, 100);
        let begun = Instant::now();
        let (mut sent, mut now) = (0, begun);
        while now < begun + Duration::from_secs(60) {
            if rate.take("a", 30, now).is_ok() {
                sent += 30;
            }
            now += Duration::from_millis(7);
        }
        assert!((6_000..=6_130).contains(&sent), "{sent} in 60 s at 100/s and a burst of 100");
    }

    #[test]
    fn a_department_takes_its_part_and_leaves_the_rest() {
        let shares = Shares::new(5, 3);
        let held = shares.take("a", 3).unwrap();
        assert_eq!(shares.take("a", 1).map(drop), Err(Taken::ByItself));
        let mut others = shares.take("b", 1).unwrap();
        others.join(shares.take("b", 1).unwrap());
        assert_eq!(shares.take("c", 1).map(drop), Err(Taken::ByAll));
        drop(others);
        assert!(shares.take("c", 2).is_ok());
        drop(held);
        assert!(shares.take("a", 3).is_ok());
    }
}
