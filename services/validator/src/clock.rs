//! The last step: time. `time ≤ recordedtime ≤ now + tolerance` (requirements §7.2, 13).

use freshet_core::{Code, Violation, headers};
use jiff::{SignedDuration, Timestamp};

use crate::envelope::Envelope;

pub(crate) fn check(envelope: &Envelope<'_>, now: Timestamp, tolerance: SignedDuration, found: &mut Vec<Violation>) {
    let latest = now.saturating_add(tolerance).unwrap_or(Timestamp::MAX);
    let times = [(headers::TIME, envelope.time), (headers::RECORDED_TIME, envelope.recorded_time)];
    for (attribute, time) in times {
        if let Some(time) = time.filter(|time| *time > latest) {
            let message = format!("{time} is in the future (it is {now:.0}, {} s are tolerated)", tolerance.as_secs());
            found.push(Violation::new(Code::ClockSkew, attribute, message));
        }
    }
    if let (Some(time), Some(recorded)) = (envelope.time, envelope.recorded_time)
        && time > recorded
    {
        let message = format!("recorded at {recorded}, before it occurred at {time}");
        found.push(Violation::new(Code::ClockSkew, headers::RECORDED_TIME, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(time: &str, recorded: Option<&str>) -> Vec<Violation> {
        let parse = |text: &str| text.parse::<Timestamp>().expect("a time");
        let envelope = Envelope { time: Some(parse(time)), recorded_time: recorded.map(parse), ..Envelope::default() };
        let mut found = Vec::new();
        super::check(&envelope, parse("2026-01-01T00:00:00Z"), SignedDuration::from_secs(300), &mut found);
        found
    }

    #[test]
    fn five_minutes_are_tolerated() {
        assert_eq!(check("2026-01-01T00:05:00Z", None), []);
        assert_eq!(check("2026-01-01T00:05:01Z", None).len(), 1);
        assert_eq!(check("2026-01-01T00:05:01Z", Some("2026-01-01T00:05:02Z")).len(), 2);
    }

    #[test]
    fn nothing_is_recorded_before_it_occurred() {
        assert_eq!(check("2025-12-31T23:59:59Z", Some("2026-01-01T00:00:00Z")), []);
        let found = check("2025-12-31T23:59:59Z", Some("2025-12-31T23:59:58Z"));
        assert_eq!((found.len(), found[0].code), (1, Code::ClockSkew));
    }
}
