//! What an answer means and how long to wait. Pure: clock and randomness are arguments.

use std::time::{Duration, SystemTime};

/// What came back from one attempt, as far as the policy is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// The same record again, later. `not_before` is what `Retry-After` asked for.
    Retry {
        kind: &'static str,
        not_before: Option<Duration>,
    },
    /// The subscriber says that it will never take it (Standard Webhooks 1.0.0: 410 disables the endpoint).
    Gone,
}

/// Judges a response. `retry_after` is the header as it came.
///
/// Only 2xx is success. A redirect is not followed: a subscriber that could send the bus elsewhere would send granted
/// data past its grant. Every other answer is tried again until the limit, because the bus skips nothing.
pub fn judge(status: u16, retry_after: Option<&str>, now: jiff::Timestamp) -> Verdict {
    match status {
        200..=299 => Verdict::Delivered,
        410 => Verdict::Gone,
        429 | 502 | 503 | 504 => Verdict::Retry {
            kind: "throttled",
            not_before: retry_after.and_then(|value| parse_retry_after(value, now)),
        },
        300..=399 => Verdict::Retry { kind: "redirect", not_before: None },
        400..=499 => Verdict::Retry { kind: "refused", not_before: None },
        _ => Verdict::Retry { kind: "server_error", not_before: None },
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in any of the three forms that a recipient must take (§5.6.7).
fn parse_retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::from(now)).unwrap_or(Duration::ZERO))
}

/// Exponential, jittered, bounded: the n-th wait is between half and the whole of `initial * 2^n`, at most `max`.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub initial: Duration,
    pub max: Duration,
}

impl Backoff {
    /// `attempt` counts from 0; `random` is in 0.0..1.0.
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let whole = self.initial.saturating_mul(1_u32.checked_shl(attempt.min(31)).unwrap_or(u32::MAX)).min(self.max);
        whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// The wait before the next attempt: what the subscriber asked for, bounded by `longest`, or the usual one if that
    /// is longer.
    pub fn wait_asked(&self, attempt: u32, random: f64, asked: Option<Duration>, longest: Duration) -> Duration {
        let usual = self.wait(attempt, random);
        asked.map_or(usual, |asked| asked.min(longest).max(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> jiff::Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn judges_each_kind_of_answer() {
        let retry = |kind| Verdict::Retry { kind, not_before: None };
        for (status, expected) in [
            (200, Verdict::Delivered),
            (204, Verdict::Delivered),
            (301, retry("redirect")),
            (307, retry("redirect")),
            (400, retry("refused")),
            (404, retry("refused")),
            (410, Verdict::Gone),
            (429, retry("throttled")),
            (500, retry("server_error")),
            (503, retry("throttled")),
            (199, retry("server_error")),
        ] {
            assert_eq!(judge(status, None, now()), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |value| match judge(503, Some(value), now()) {
            Verdict::Retry { not_before, .. } => not_before,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Sun, 01 Mar 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun, 01 Mar 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("Sunday, 01-Mar-26 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun Mar  1 12:00:30 2026"), Some(Duration::from_secs(30)));
        assert_eq!(asked("soon"), None);
        assert_eq!(judge(500, Some("7"), now()), Verdict::Retry { kind: "server_error", not_before: None });
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let backoff = Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(5) };
        assert_eq!(backoff.wait(0, 1.0), Duration::from_millis(100));
        assert_eq!(backoff.wait(0, 0.0), Duration::from_millis(50));
        assert_eq!(backoff.wait(3, 1.0), Duration::from_millis(800));
        assert_eq!(backoff.wait(4_000_000, 1.0), Duration::from_secs(5));
        let asked = |seconds| backoff.wait_asked(0, 1.0, Some(Duration::from_secs(seconds)), Duration::from_secs(60));
        assert_eq!(asked(30), Duration::from_secs(30));
        assert_eq!(asked(86_400), Duration::from_secs(60));
        assert_eq!(asked(0), Duration::from_millis(100));
    }
}
