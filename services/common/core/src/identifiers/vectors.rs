//! Every line of `data/identifier-vectors.tsv`: 286 real and invalid codes with the verdicts of their source, of an
//! independent check and of python-stdnum 2.2.

use jiff::civil::Date;

use super::{IdentifierError, canonical, resident_number, uscc};

const VECTORS: &str = include_str!("../../data/identifier-vectors.tsv");
const TODAY: Date = Date::constant(2026, 11, 22);

/// The verdict in the words of the column `our_check`.
fn verdict(kind: &str, value: &str) -> &'static str {
    // The vectors hold values as people write them; the validator takes only the canonical form (see below).
    let value = canonical(value);
    let result = match kind {
        "uscc" => uscc::check(&value),
        "ric" => match resident_number::from_15_digits(&value) {
            Some(full) => resident_number::check(&full, TODAY),
            None => resident_number::check(&value, TODAY),
        },
        other => panic!("unknown kind {other}"),
    };
    match result {
        Ok(()) => "ok",
        Err(IdentifierError::Length { .. }) => "length",
        // Full-width digits have 18 characters, but not 18 of the standard's.
        Err(IdentifierError::Character { allowed, .. }) if allowed.contains("half-width") => "length",
        Err(IdentifierError::Character { .. }) if kind == "uscc" => "alphabet",
        Err(IdentifierError::Character { .. }) => "format",
        Err(IdentifierError::Division { .. }) => "region not digits",
        Err(IdentifierError::CheckDigit { .. }) => "checksum",
        Err(IdentifierError::Date { .. } | IdentifierError::Future) => "date",
        Err(IdentifierError::Province) => "region unknown",
        Err(other) => panic!("{value}: {other}"),
    }
}

#[test]
fn all_vectors() {
    let mut counted = 0;
    for line in VECTORS.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [kind, value, by_source, reason, _, our_check, by_stdnum] = columns[..] else {
            panic!("seven columns: {line}");
        };
        counted += 1;
        // The independent check adds notes to "ok" and looks the division up. We do not refuse a number by its division
        // beyond the province: the number keeps the code of the first registration, the table lacks `xx01` (市辖区), and
        // abolished codes stay valid. Of the "region unknown" lines only one has no such province.
        let expected = match our_check {
            "region unknown" if value.starts_with("99") => "region unknown",
            "region unknown" => "ok",
            note if note.starts_with("ok") => "ok",
            other => other,
        };
        let ours = verdict(kind, value);
        assert_eq!(ours, expected, "{line}");

        let ours_is_valid = ours == "ok";
        let source_is_valid = by_source.starts_with("valid");
        if by_source != "disputed" && ours_is_valid != source_is_valid {
            let explained = match (kind, value) {
                // Full-width digits: valid only after NFKC normalisation, which the bus leaves to the publisher.
                ("uscc", _) => by_source == "valid-after-normalisation",
                // Not yet registered, or no more, at the year of birth: the table knows only whole years since 1981.
                ("ric", "110111198012010078" | "110201199312010077") => reason.contains("at birth year"),
                _ => false,
            };
            assert!(explained, "our verdict {ours} differs from the source's, unexplained: {line}");
        }
        if ours_is_valid != (by_stdnum == "valid") {
            let explained = match kind {
                // python-stdnum demands eight leading digits; the table of GB 32100 has A, N and Y.
                "uscc" => value.starts_with('Y') && by_stdnum == "InvalidFormat",
                // It knows no 15-digit numbers, no permits of Hong Kong, Macao and Taiwan, and refuses by birth place.
                _ => {
                    value.len() == 15
                        || value.starts_with('8')
                        || our_check.contains("after birth")
                        || our_check == "region unknown"
                }
            };
            assert!(explained, "our verdict {ours} differs from python-stdnum's, unexplained: {line}");
        }
    }
    assert_eq!(counted, 286);
}

/// A good identifier in another spelling is refused with the mend, so that one entity has one key on the bus.
#[test]
fn other_spellings_are_told_apart_from_wrong_ones() {
    let mut spelled = 0;
    for line in VECTORS.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(kind), Some(value)) = (columns.next(), columns.next()) else { panic!("two columns: {line}") };
        if canonical(value) == value || verdict(kind, value) != "ok" {
            continue;
        }
        let result = if kind == "uscc" { uscc::check(value) } else { resident_number::check(value, TODAY) };
        assert_eq!(result, Err(IdentifierError::NotCanonical), "{line}");
        spelled += 1;
    }
    assert_eq!(spelled, 3);
}
