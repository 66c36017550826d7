//! How fast one department may publish.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// A token bucket a department. Departments are few (the catalogue's), so the table needs no cleaning.
#[derive(Debug)]
pub struct Rate {
    limiter: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
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
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self { limiter: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }

    /// Takes `events` from the department's bucket, all or none.
    pub fn take(&self, department: &str, events: usize) -> Result<(), TooFast> {
        let Some(events) = u32::try_from(events).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match self.limiter.check_key_n(&department.to_owned(), events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(TooFast(not_until.wait_time_from(self.clock.now()))),
            // More than the bucket holds; the settings' relations make a batch fit.
            Err(_) => Err(TooFast(Duration::from_secs(60))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_department_has_its_own_bucket() {
        let rate = Rate::new(1, 10);
        assert_eq!(rate.take("a", 10), Ok(()));
        let TooFast(wait) = rate.take("a", 3).unwrap_err();
        assert!(wait > Duration::from_secs(2) && wait <= Duration::from_secs(3), "{wait:?}");
        assert_eq!(TooFast(wait).seconds(), 3);
        assert_eq!(rate.take("b", 10), Ok(()));
        assert_eq!(rate.take("a", 0), Ok(()));
        assert!(rate.take("c", 11).is_err());
    }
}
