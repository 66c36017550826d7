//! 证照标识, the identifier of an electronic licence: GB/T 36904-2018.
//!
//! `1.2.156.3005.2` `.` type (credit code of the defining department and three digits) `.` issuer (credit code; a six-digit
//! division code occurs in the field and is taken) `.` serial (digits and capitals) `.` version (three digits from 001)
//! `.` check character, ISO 7064 MOD 37,36 over the parts without root and dots.

use super::{IdentifierError, uscc};

pub const ROOT: &str = "1.2.156.3005.2";
const LONGEST_SERIAL: usize = 64;

/// Checks an identifier in its canonical form. Parts are counted from 1 behind the root.
pub fn check(identifier: &str) -> Result<(), IdentifierError> {
    let part = |part, reason| Err(IdentifierError::Part { part, reason });
    let Some(rest) = identifier.strip_prefix(ROOT).and_then(|rest| rest.strip_prefix('.')) else {
        return part(0, "must be the root 1.2.156.3005.2");
    };
    let mut parts = rest.split('.');
    let mut next = |number, name| parts.next().ok_or(IdentifierError::Part { part: number, reason: name });
    let kind = next(1, "is missing (type, 21 characters)")?;
    let issuer = next(2, "is missing (issuer, a credit code)")?;
    let serial = next(3, "is missing (serial)")?;
    let version = next(4, "is missing (version, three digits)")?;
    let check = next(5, "is missing (check character)")?;
    if parts.next().is_some() {
        return part(6, "is one too many");
    }
    match kind.split_at_checked(18) {
        Some((department, number)) if number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            if uscc::check(department).is_err() {
                return part(1, "must begin with a valid unified social credit code");
            }
        }
        _ => return part(1, "must be a unified social credit code and three digits"),
    }
    if !is_division(issuer) && uscc::check(issuer).is_err() {
        return part(2, "must be a valid unified social credit code (or a division code of six digits)");
    }
    if serial.is_empty() || serial.len() > LONGEST_SERIAL || !serial.bytes().all(is_digit_or_capital) {
        return part(3, "must be 1 to 64 digits and capitals");
    }
    if version.len() != 3 || !version.bytes().all(|byte| byte.is_ascii_digit()) || version == "000" {
        return part(4, "must be three digits, 001 or higher");
    }
    let expected = check_character(kind.bytes().chain(issuer.bytes()).chain(serial.bytes()).chain(version.bytes()));
    if check.as_bytes() != [expected] {
        return Err(IdentifierError::CheckDigit { position: identifier.len(), expected: char::from(expected) });
    }
    Ok(())
}

/// True where the issuer is a division code instead of a credit code: taken, but worth a word to the publisher.
pub fn has_division_as_issuer(identifier: &str) -> bool {
    identifier.strip_prefix(ROOT).and_then(|rest| rest.split('.').nth(2)).is_some_and(is_division)
}

/// ISO 7064 MOD 37,36 over digits and capitals.
pub fn check_character(characters: impl Iterator<Item = u8>) -> u8 {
    let mut product = 36;
    for character in characters {
        let value = match character {
            b'0'..=b'9' => u32::from(character - b'0'),
            _ => u32::from(character.wrapping_sub(b'A')) + 10,
        };
        let sum = match (product + value) % 36 {
            0 => 36,
            sum => sum,
        };
        product = sum * 2 % 37;
    }
    let value = (37 - product) % 36;
    if value < 10 { b'0' + value as u8 } else { b'A' + (value - 10) as u8 }
}

fn is_division(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_digit_or_capital(byte: u8) -> bool {
    byte.is_ascii_digit() || byte.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_identifiers() {
        for identifier in [
            "1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U",
            "1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9",
            "1.2.156.3005.2.11100000000013338W032.11220000013544541J.2430599.001.F",
            "1.2.156.3005.2.11100000000013338W009.11330105002500287C.2025052201.002.0",
        ] {
            assert_eq!(check(identifier), Ok(()), "{identifier}");
        }
        assert!(has_division_as_issuer("1.2.156.3005.2.11100000MB03271699022.340100.000000016.001.9"));
    }

    /// The sample of ISO 7064 as python-stdnum gives it.
    #[test]
    fn iso_sample() {
        assert_eq!(check_character("A12425GABC1234002".bytes()), b'M');
    }

    #[test]
    fn bad_identifiers_say_what_was_expected() {
        let sample = "1.2.156.3005.2.11100000000013661B006.113700000045046442.209FA4E88F9E4C878F3E9BED2CE7EA49.001.M";
        assert_eq!(check(sample), Err(IdentifierError::CheckDigit { position: sample.len(), expected: 'D' }));
        for (identifier, part) in [
            ("1.2.156.3005.3.11100000000013338W011.11430000006122244L.20230000403.001.U", 0),
            ("1.2.156.3005.2.11100000000013338W01.11430000006122244L.20230000403.001.U", 1),
            ("1.2.156.3005.2.11100000000013339W011.11430000006122244L.20230000403.001.U", 1),
            ("1.2.156.3005.2.11100000000013338W011.11430000006122244.20230000403.001.U", 2),
            ("1.2.156.3005.2.11100000000013338W011.11430000006122244L.2023-403.001.U", 3),
            ("1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.000.U", 4),
            ("1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001", 5),
            ("1.2.156.3005.2.11100000000013338W011.11430000006122244L.20230000403.001.U.1", 6),
        ] {
            let found = check(identifier);
            assert!(
                matches!(found, Err(IdentifierError::Part { part: p, .. }) if p == part),
                "{identifier}: {found:?}"
            );
        }
    }
}
