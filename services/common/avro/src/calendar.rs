//! Dates and times as texts: ISO 8601 dates, RFC 3339 time stamps, nothing looser. A sender's other habits are the
//! mapping's to explain.

use jiff::civil::Date;

use crate::limits::{FIRST_DAY, LAST_DAY};

pub(crate) const NANOS_A_SECOND: i128 = 1_000_000_000;
const NANOS_A_DAY: i128 = 86_400 * NANOS_A_SECOND;

/// `YYYY-MM-DD`, years 1 to 9999, to days since 1970-01-01.
pub(crate) fn date_from_text(text: &str) -> Option<i32> {
    let bytes: &[u8; 10] = text.as_bytes().try_into().ok()?;
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i16::try_from(digits(&bytes[..4])?).ok()?;
    let date = Date::new(year, digits(&bytes[5..7])? as i8, digits(&bytes[8..])? as i8).ok()?;
    let days = i32::try_from(date.duration_since(EPOCH).as_hours() / 24).ok()?;
    (FIRST_DAY..=LAST_DAY).contains(&days).then_some(days)
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// None outside the years 1 to 9999.
pub(crate) fn date_to_text(days: i32) -> Option<String> {
    let date = EPOCH.checked_add(jiff::SignedDuration::from_hours(i64::from(days) * 24)).ok()?;
    (FIRST_DAY..=LAST_DAY).contains(&days).then(|| date.to_string())
}

/// `HH:MM:SS` with up to nine digits behind a point, to nanoseconds since midnight.
pub(crate) fn time_from_text(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    let (clock, fraction) = bytes.split_at_checked(8)?;
    if clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    let (hours, minutes, seconds) = (digits(&clock[..2])?, digits(&clock[3..5])?, digits(&clock[6..])?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let nanos = match fraction {
        [] => 0,
        [b'.', places @ ..] if (1..=9).contains(&places.len()) => {
            i128::from(digits(places)?) * 10i128.pow(9 - places.len() as u32)
        }
        _ => return None,
    };
    Some(i128::from(hours * 3600 + minutes * 60 + seconds) * NANOS_A_SECOND + nanos)
}

pub(crate) fn time_to_text(nanos: i128) -> String {
    let seconds = nanos / NANOS_A_SECOND;
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = nanos % NANOS_A_SECOND;
    if fraction != 0 {
        text.push('.');
        text.push_str(format!("{fraction:09}").trim_end_matches('0'));
    }
    text
}

/// `YYYY-MM-DDTHH:MM:SS[.f]` without an offset, to nanoseconds since 1970-01-01T00:00:00 on the same clock.
pub(crate) fn local_from_text(text: &str) -> Option<i128> {
    let (date, time) = text.split_once('T')?;
    Some(i128::from(date_from_text(date)?) * NANOS_A_DAY + time_from_text(time)?)
}

pub(crate) fn local_to_text(nanos: i128) -> Option<String> {
    let date = date_to_text(i32::try_from(nanos.div_euclid(NANOS_A_DAY)).ok()?)?;
    Some(format!("{date}T{}", time_to_text(nanos.rem_euclid(NANOS_A_DAY))))
}

/// RFC 3339 with `Z` or an offset, to nanoseconds since 1970-01-01T00:00:00Z.
pub(crate) fn timestamp_from_text(text: &str) -> Option<i128> {
    if let Some(local) = text.strip_suffix('Z') {
        return local_from_text(local);
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let offset = offset.as_bytes();
    let (hours, minutes) = (digits(&offset[1..3])?, digits(&offset[4..])?);
    if offset[3] != b':' || hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i128::from(hours * 3600 + minutes * 60);
    match offset[0] {
        b'+' => Some(local_from_text(local)? - seconds * NANOS_A_SECOND),
        b'-' => Some(local_from_text(local)? + seconds * NANOS_A_SECOND),
        _ => None,
    }
}

/// In UTC.
pub(crate) fn timestamp_to_text(nanos: i128) -> Option<String> {
    local_to_text(nanos).map(|text| text + "Z")
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date_from_text("1970-01-01"), Some(0));
        assert_eq!(date_from_text("2024-02-29"), Some(19_782));
        assert_eq!(date_from_text("0001-01-01"), Some(FIRST_DAY));
        assert_eq!(date_from_text("9999-12-31"), Some(LAST_DAY));
        for wrong in ["", "2023-02-29", "0000-01-01", "2024-1-1", "2024/01/01", "20240101", "2024-01-01 ", "２024-01-0"]
        {
            assert_eq!(date_from_text(wrong), None, "{wrong}");
        }
        for days in [FIRST_DAY, -1, 0, 19_782, LAST_DAY] {
            assert_eq!(date_to_text(days).and_then(|text| date_from_text(&text)), Some(days));
        }
        assert_eq!(date_to_text(LAST_DAY + 1), None);
    }

    #[test]
    fn times() {
        assert_eq!(time_from_text("23:59:59.999999999"), Some(NANOS_A_DAY - 1));
        assert_eq!(time_to_text(NANOS_A_DAY - 1), "23:59:59.999999999");
        assert_eq!(time_to_text(500_000_000), "00:00:00.5");
        for wrong in ["24:00:00", "12:60:00", "12:00:60", "12:00", "12:00:00.", "12:00:00.0000000001"] {
            assert_eq!(time_from_text(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn timestamps() {
        assert_eq!(timestamp_from_text("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(timestamp_from_text("1970-01-01T08:00:00+08:00"), Some(0));
        assert_eq!(timestamp_from_text("1969-12-31T19:00:00.25-05:00"), Some(250_000_000));
        assert_eq!(timestamp_to_text(-1).as_deref(), Some("1969-12-31T23:59:59.999999999Z"));
        for wrong in ["1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-01-01T00:00:00+0800", "Z", ""]
        {
            assert_eq!(timestamp_from_text(wrong), None, "{wrong}");
        }
    }
}
