//! Dates and times in the forms that the mapping names. The result is the ISO form; nothing is guessed.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// `2021-12-31`, and no other form.
pub fn iso_date(text: &str) -> Result<Date, String> {
    let bytes = text.as_bytes();
    let form = bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !form {
        return Err("a date of the form 2021-12-31".to_owned());
    }
    text.parse().map_err(|_| "a day of the calendar".to_owned())
}

/// A date in one of the strptime `formats`. The error is what the text is not, as the end of a sentence.
pub fn date(text: &str, formats: &[String]) -> Result<Date, String> {
    for format in formats {
        if let Ok(date) = strtime::parse(format, text).and_then(|broken_down| broken_down.to_date()) {
            return Ok(date);
        }
    }
    Err(format!("a date of the form {}", examples(formats)))
}

/// A time stamp in one of the strptime `formats`; where the text has no offset, in `zone`.
pub fn time(text: &str, formats: &[String], zone: Option<&TimeZone>) -> Result<Timestamp, String> {
    for format in formats {
        let Ok(broken_down) = strtime::parse(format, text) else {
            continue;
        };
        if let Ok(timestamp) = broken_down.to_timestamp() {
            return Ok(timestamp);
        }
        let Some(zone) = zone else {
            return Err("a time with an offset, and the mapping names no zone".to_owned());
        };
        let Ok(civil) = broken_down.to_datetime().or_else(|_| broken_down.to_date().map(DateTime::from)) else {
            continue;
        };
        return unambiguous(civil, zone);
    }
    Err(format!("a time of the form {}", examples(formats)))
}

/// A clock reading that the zone skips or repeats is not taken for one of its meanings.
fn unambiguous(civil: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    if ambiguous.is_ambiguous() {
        return Err("one moment: the clock was put back or forward at that hour".to_owned());
    }
    ambiguous.compatible().map_err(|_| "a time that can be represented".to_owned())
}

/// RFC 3339 with an offset.
pub fn rfc3339(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "a time of the form 2021-12-31T23:59:59Z".to_owned())
}

/// The last day of 2021 in each format, which a clerk understands better than `%b %d, %Y`.
fn examples(formats: &[String]) -> String {
    let sample = DateTime::constant(2021, 12, 31, 23, 59, 59, 0).to_zoned(TimeZone::UTC);
    let shown = formats.iter().map(|format| match &sample {
        Ok(sample) => strtime::format(format, sample).unwrap_or_else(|_| format.clone()),
        Err(_) => format.clone(),
    });
    shown.collect::<Vec<_>>().join(" or ")
}

/// True where jiff understands the format.
pub fn is_format(format: &str) -> bool {
    let sample = DateTime::constant(2021, 12, 31, 23, 59, 59, 0).to_zoned(TimeZone::UTC);
    sample.is_ok_and(|sample| strtime::format(format, &sample).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_date(text: &str, formats: &[&str], expected: Result<&str, &str>) {
        let formats: Vec<String> = formats.iter().map(|format| (*format).to_owned()).collect();
        let read = if formats.is_empty() { iso_date(text) } else { date(text, &formats) };
        assert_eq!(read.map(|date| date.to_string()), expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn dates() {
        check_date("2021-12-31", &[], Ok("2021-12-31"));
        check_date("OCT 18, 2021", &[], Err("a date of the form 2021-12-31"));
        check_date("2021-1-5", &[], Err("a date of the form 2021-12-31"));
        check_date("2021-02-30", &[], Err("a day of the calendar"));
        check_date("2021-12-31 ", &[], Err("a date of the form 2021-12-31"));
        check_date("OCT 18, 2021", &["%b %d, %Y"], Ok("2021-10-18"));
        check_date("JAN 1, 2024", &["%b %d, %Y"], Ok("2024-01-01"));
        check_date("18/10/2021", &["%b %d, %Y"], Err("a date of the form Dec 31, 2021"));
        check_date("18/10/2021", &["%Y-%m-%d", "%d/%m/%Y"], Ok("2021-10-18"));
        check_date("31/02/2021", &["%d/%m/%Y"], Err("a date of the form 31/12/2021"));
        check_date("20211018", &["%Y%m%d"], Ok("2021-10-18"));
        check_date("2021年10月18日", &["%Y年%m月%d日"], Ok("2021-10-18"));
    }

    #[track_caller]
    fn check_time(text: &str, format: &str, zone: Option<&str>, expected: Result<&str, &str>) {
        let zone = zone.map(|name| TimeZone::get(name).expect("zone of the test"));
        let read = time(text, &[format.to_owned()], zone.as_ref());
        assert_eq!(read.map(|time| time.to_string()), expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn times() {
        let toronto = Some("America/Toronto");
        check_time("2021-07-01 12:00:00", "%Y-%m-%d %H:%M:%S", toronto, Ok("2021-07-01T16:00:00Z"));
        check_time("2021-07-01 12:00:00+02:00", "%Y-%m-%d %H:%M:%S%:z", None, Ok("2021-07-01T10:00:00Z"));
        check_time("2021-07-01", "%Y-%m-%d", Some("UTC"), Ok("2021-07-01T00:00:00Z"));
        check_time(
            "2021-07-01 12:00:00",
            "%Y-%m-%d %H:%M:%S",
            None,
            Err("a time with an offset, and the mapping names no zone"),
        );
        check_time(
            "2021-11-07 01:30:00",
            "%Y-%m-%d %H:%M:%S",
            toronto,
            Err("one moment: the clock was put back or forward at that hour"),
        );
        check_time("noon", "%H:%M", toronto, Err("a time of the form 23:59"));
        assert!(rfc3339("2024-02-22T00:01:38Z").is_ok());
        assert!(rfc3339("2024-02-22").is_err());
    }
}
