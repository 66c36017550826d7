//! P4: an older version of an entity never overwrites a newer one. An event is accepted only if its version is higher
//! than that of the last accepted event with its key.

use freshet_catalog_model::VersionRule;
use freshet_core::{Code, InRecord, Violation, headers};

use crate::content::Content;

/// The version of an event, comparable within a dataset. `content` is `None` for a delete, which always carries the
/// attribute. `Err` says why there is none.
pub(crate) fn of(record: &InRecord<'_>, content: Option<&Content<'_>>, rule: &VersionRule) -> Result<u64, Violation> {
    match (rule, content) {
        (VersionRule::Sequence, _) => sequence(record),
        // Where a field is the version it may be negative (a day before 1970), so both forms are moved up.
        (VersionRule::Field(_), None) => match i64::try_from(sequence(record)?) {
            Ok(number) => Ok(in_order(number)),
            Err(_) => Err(missing("is larger than any version of this dataset")),
        },
        (VersionRule::Field(path), Some(content)) => content
            .schema
            .version_of(content.walk, content.datum)
            .map(in_order)
            .ok_or_else(|| Violation::new(Code::VersionMissing, path.clone(), "is not a number")),
    }
}

/// Keeps the order of signed numbers.
fn in_order(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

/// What to tell of a version: the number that the publisher sent.
pub(crate) fn shown(version: u64, rule: &VersionRule) -> String {
    match rule {
        VersionRule::Sequence => version.to_string(),
        VersionRule::Field(_) => (version ^ (1 << 63)).cast_signed().to_string(),
    }
}

fn sequence(record: &InRecord<'_>) -> Result<u64, Violation> {
    match record.header(headers::SEQUENCE) {
        None => Err(missing("is missing")),
        Some(digits) if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) => {
            Err(missing("must be 1 to 20 decimal digits"))
        }
        Some(digits) => std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| missing("is larger than 18446744073709551615")),
    }
}

fn missing(message: &str) -> Violation {
    Violation::new(Code::VersionMissing, headers::SEQUENCE, message)
}

/// `last` is the version of the last accepted event of the entity. Returns true where the event is newer.
pub(crate) fn check(version: u64, last: Option<u64>, rule: &VersionRule, violations: &mut Vec<Violation>) -> bool {
    let Some(last) = last.filter(|last| version <= *last) else { return true };
    let field = match rule {
        VersionRule::Sequence => headers::SEQUENCE,
        VersionRule::Field(path) => path,
    };
    let message =
        format!("version {} is not newer than {}, which the bus has", shown(version, rule), shown(last, rule));
    violations.push(Violation::new(Code::VersionStale, field, message));
    false
}

#[cfg(test)]
mod tests {
    use freshet_core::Header;

    use super::*;

    fn sequence_of(value: Option<&[u8]>, rule: &VersionRule) -> Result<u64, String> {
        let headers: Vec<Header<'_>> = value.iter().map(|value| Header::new(headers::SEQUENCE, value)).collect();
        let record = InRecord {
            topic: "publish.a",
            partition: 0,
            offset: 0,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: &headers,
        };
        of(&record, None, rule).map_err(|violation| violation.message)
    }

    #[test]
    fn a_sequence_is_up_to_twenty_digits() {
        let rule = VersionRule::Sequence;
        assert_eq!(sequence_of(Some(b"00000000000000000007"), &rule), Ok(7));
        assert_eq!(sequence_of(Some(b"18446744073709551615"), &rule), Ok(u64::MAX));
        for bad in [&b""[..], b"-1", b"1.0", b"000000000000000000007", b"18446744073709551616", b"\xff"] {
            assert!(sequence_of(Some(bad), &rule).is_err(), "{bad:?}");
        }
        assert_eq!(sequence_of(None, &rule), Err("is missing".to_owned()));
    }

    #[test]
    fn a_delete_is_compared_with_the_field() {
        let rule = VersionRule::Field("version".to_owned());
        let seven = sequence_of(Some(b"7"), &rule).expect("a version");
        assert!(in_order(6) < seven && seven < in_order(8) && in_order(-1) < in_order(0));
        assert_eq!((seven, shown(seven, &rule)), (in_order(7), "7".to_owned()));
        assert!(sequence_of(Some(b"18446744073709551615"), &rule).is_err());
    }

    #[test]
    fn only_newer_is_accepted() {
        let stale = |version, last| !check(version, last, &VersionRule::Sequence, &mut Vec::new());
        assert!(!stale(0, None) && !stale(2, Some(1)));
        assert!(stale(1, Some(1)) && stale(0, Some(1)));
    }
}
