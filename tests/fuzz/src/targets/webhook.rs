//! A subscriber's answer: what it means and how long it puts off the next attempt. Parts: status, `Retry-After`.

use std::time::Duration;

use fastrand::Rng;
use freshet_fanout::Config;
use freshet_fanout::retry::{Verdict, judge};

use crate::guard::Guard;
use crate::mutate::{join, parts};
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "webhook",
    what: "answers of webhooks: status and Retry-After",
    share: 120,
    parts: 2,
    dictionary: &[
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "GMT",
        "+0000",
        "-2359",
        "120",
        "18446744073709551615",
        "99999999999999999999",
        "-1",
        " ",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "1e9",
        "0x10",
        "503",
        "429",
    ],
    make: || Box::new(Answers { settings: Config::default().webhook }),
};

struct Answers {
    settings: freshet_fanout::WebhookConfig,
}

impl Target for Answers {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let status =
            [200, 204, 301, 400, 410, 429, 500, 502, 503, 504, rng.u16(100..1000)][rng.usize(..11)].to_string();
        let asked = match rng.bool() {
            true => (rng.u64(..) >> rng.u8(..64)).to_string(),
            false => httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(rng.u64(..250_000_000_000))),
        };
        Some(join(&[status.as_bytes(), asked.as_bytes()]))
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let [status, asked] = parts(input);
        let status = std::str::from_utf8(status).ok().and_then(|text| text.parse::<u16>().ok()).unwrap_or(503);
        let now = jiff::Timestamp::from_second(1_770_000_000).map_err(|error| error.to_string())?;
        // As the header arrives: what is no text is not looked at.
        let header = http::HeaderValue::from_bytes(asked).ok();
        let asked = header.as_ref().and_then(|value| value.to_str().ok());
        let verdict = guard.ours("an answer", 4096, || judge(status, asked, now))?;
        let is_as_due = match (&verdict, status) {
            (Verdict::Delivered, 200..=299) | (Verdict::Gone, 410) => true,
            (Verdict::Retry { not_before: None, .. }, 0..=199 | 300..) => status != 410,
            (Verdict::Retry { not_before: Some(_), .. }, 429 | 502..=504) => true,
            _ => false,
        };
        if !is_as_due {
            return Err(format!("{status} is judged as {verdict:?}"));
        }
        let Verdict::Retry { not_before, kind } = verdict else { return Ok(Seen::of(status / 100)) };
        if let (429 | 502..=504, Some(asked)) = (status, asked) {
            let due = asked_for(asked.trim(), now);
            if due.is_some() && due != not_before {
                return Err(format!("{asked:?} asks for {due:?}, and is read as {not_before:?}"));
            }
        }
        let longest = Duration::from_millis(self.settings.retry_after_max_ms);
        for attempt in [0, 1, 20, u32::MAX] {
            let wait =
                guard.ours("a wait", 0, || self.settings.backoff().wait_asked(attempt, 1.0, not_before, longest))?;
            if wait.is_zero() || wait > longest.max(Duration::from_millis(self.settings.retry_max_ms)) {
                return Err(format!("attempt {attempt} waits for {wait:?} where {not_before:?} was asked for"));
            }
        }
        Ok(Seen::of((kind, status / 100, not_before.map(|wait| size_class(wait.as_secs() as usize)))))
    }
}

/// RFC 9110 §10.2.3: seconds, or a date in any of the three forms, which hyper's `httpdate` reads.
fn asked_for(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now = std::time::SystemTime::from(now);
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}
