//! 公民身份号码, the resident number: GB 11643-1999. 18 characters: 1–6 division of first registration, 7–14 date of
//! birth, 15–17 sequence (odd: male), 18 check digit.
//!
//! The division is checked only as far as its province: a number keeps the code of its first registration for life, also
//! after that division was abolished, and the published tables of old codes are incomplete. The 15-digit numbers of the
//! first generation are void since 2013; [`from_15_digits`] says which number replaced one.

use jiff::civil::Date;

use super::{IdentifierError, ascii_of_length};

const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const CHECK: &[u8; 11] = b"10X98765432";

/// GB/T 2260 provinces; 81, 82 and 83 stand in residence permits of people from Hong Kong, Macao and Taiwan.
const PROVINCES: &[u8] = &[
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52, 53, 54, 61, 62, 63,
    64, 65, 71, 81, 82, 83,
];

/// Checks a number in its canonical form (`X` is a capital). `today` is what "not in the future" refers to.
pub fn check(number: &str, today: Date) -> Result<(), IdentifierError> {
    ascii_of_length(number, 18, "18")?;
    let bytes = number.as_bytes();
    let mut sum = 0;
    for (index, (byte, weight)) in bytes.iter().zip(WEIGHTS).enumerate() {
        if !byte.is_ascii_digit() {
            return Err(IdentifierError::character(index + 1, *byte, "0-9"));
        }
        sum += u32::from(byte - b'0') * weight;
    }
    if !bytes[17].is_ascii_digit() && bytes[17] != b'X' {
        return Err(IdentifierError::character(18, bytes[17], "0-9 and X"));
    }
    let birth = date(&bytes[6..14]).ok_or(IdentifierError::Date { from: 7, to: 14 })?;
    if birth > today {
        return Err(IdentifierError::Future);
    }
    let expected = CHECK[(sum % 11) as usize];
    if bytes[17] != expected {
        return Err(IdentifierError::CheckDigit { position: 18, expected: char::from(expected) });
    }
    let province = (bytes[0] - b'0') * 10 + bytes[1] - b'0';
    if !PROVINCES.contains(&province) {
        return Err(IdentifierError::Province);
    }
    Ok(())
}

fn date(digits: &[u8]) -> Option<Date> {
    let number = |range: std::ops::Range<usize>| {
        digits[range].iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0'))
    };
    Date::new(number(0..4), number(4..6) as i8, number(6..8) as i8).ok()
}

/// The 18-digit number that replaced a 15-digit one (GB 11643-1999: year with century 19, check digit added). `None`
/// where the text is not 15 digits. The result is still to be checked.
pub fn from_15_digits(number: &str) -> Option<String> {
    if number.len() != 15 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut full = format!("{}19{}", &number[..6], &number[6..]);
    let sum: u32 = full.bytes().zip(WEIGHTS).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
    full.push(char::from(CHECK[(sum % 11) as usize]));
    Some(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = Date::constant(2026, 11, 22);

    #[test]
    fn good_numbers() {
        for number in ["11010519491231002X", "440524188001010014", "360426199101010071", "830000199201300022"] {
            assert_eq!(check(number, TODAY), Ok(()));
        }
    }

    #[test]
    fn the_date_is_real_and_not_in_the_future() {
        assert_eq!(check("440308199902301512", TODAY), Err(IdentifierError::Date { from: 7, to: 14 }));
        let born = Date::constant(1991, 1, 1);
        assert_eq!(check("360426199101010071", born), Ok(()));
        assert_eq!(check("360426199101010071", born.yesterday().expect("in range")), Err(IdentifierError::Future));
    }

    #[test]
    fn says_what_was_expected_and_never_the_number() {
        let error = check("360426199101010072", TODAY).expect_err("wrong check digit");
        assert_eq!(error, IdentifierError::CheckDigit { position: 18, expected: '1' });
        assert!(!error.to_string().contains("360426"));
        assert_eq!(check("44011320141005001x", TODAY), Err(IdentifierError::NotCanonical));
        assert_eq!(check("990426199112010074", TODAY), Err(IdentifierError::Province));
    }

    #[test]
    fn any_one_digit_changed_is_found() {
        let good = "11010519491231002X";
        for index in 0..18 {
            for byte in b'0'..=b'9' {
                let mut bad = good.as_bytes().to_vec();
                if bad[index] == byte {
                    continue;
                }
                bad[index] = byte;
                assert!(check(&String::from_utf8(bad).expect("ASCII"), TODAY).is_err());
            }
        }
    }

    #[test]
    fn fifteen_digits_were_replaced() {
        assert_eq!(from_15_digits("422201720809227").as_deref(), Some("422201197208092274"));
    }
}
