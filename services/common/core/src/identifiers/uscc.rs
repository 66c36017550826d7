//! 统一社会信用代码, the unified social credit code: GB 32100-2015 with its amendment 1 of 2016.
//!
//! 18 characters: 1 registering authority, 2 kind of body, 3–8 division (GB/T 2260), 9–17 organisation code with a check
//! digit of its own (GB 11714-1997), 18 check digit.

use super::{IdentifierError, ascii_of_length};

/// GB 32100-2015, 4.2: digits and capitals without I, O, S, V, Z. A character's place is its value.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
const ALPHABET_TEXT: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";
/// 3^(i-1) mod 31.
const WEIGHTS: [u32; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
/// GB 11714-1997, 3.3.
const ORGANISATION_WEIGHTS: [u32; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

/// Who registers, and which kinds of body it registers. Only the second characters of 1, 5 and 9 are known from the
/// standard's own table; for the others any digit is taken.
const REGISTRARS: &[(u8, &[u8])] = &[
    (b'1', b"1239"), // 机构编制: organ, institution, mass organisation, other
    (b'2', DIGITS),  // 外交
    (b'3', DIGITS),  // 司法行政
    (b'4', DIGITS),  // 文化
    (b'5', b"1239"), // 民政: social organisation, private non-enterprise unit, foundation, other
    (b'6', DIGITS),  // 旅游
    (b'7', DIGITS),  // 宗教
    (b'8', DIGITS),  // 工会
    (b'9', b"1239"), // 工商: enterprise, individual, farmers' cooperative, other
    (b'A', DIGITS),  // 中央军委改革和编制办公室
    (b'N', DIGITS),  // 农业
    (b'Y', DIGITS),  // 其他
];
const DIGITS: &[u8] = b"123456789";

/// Checks a code in its canonical form. Errors say what is wrong and, of a check digit, which was expected.
pub fn check(code: &str) -> Result<(), IdentifierError> {
    ascii_of_length(code, 18, "18")?;
    let bytes = code.as_bytes();
    let mut values = [0_u32; 18];
    for (index, byte) in bytes.iter().enumerate() {
        match value(*byte) {
            Some(found) => values[index] = found,
            None => return Err(IdentifierError::character(index + 1, *byte, ALPHABET_TEXT)),
        }
    }
    if !bytes[2..8].iter().all(u8::is_ascii_digit) {
        return Err(IdentifierError::Division { from: 3, to: 8 });
    }
    let Some((_, kinds)) = REGISTRARS.iter().find(|(registrar, _)| *registrar == bytes[0]) else {
        return Err(IdentifierError::Table { position: 1, table: "registering authorities" });
    };
    if !kinds.contains(&bytes[1]) {
        return Err(IdentifierError::Table { position: 2, table: "kinds of body of this registering authority" });
    }
    check_organisation(&bytes[8..17], 9)?;
    let sum: u32 = values.iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    expect(bytes[17], ALPHABET[((31 - sum % 31) % 31) as usize], 18)
}

/// 组织机构代码, the organisation code: eight characters and a check digit, without the hyphen.
pub fn check_organisation_code(code: &str) -> Result<(), IdentifierError> {
    ascii_of_length(code, 9, "9")?;
    check_organisation(code.as_bytes(), 1)
}

/// `first` is the position of the first of the nine characters in what the person wrote.
fn check_organisation(code: &[u8], first: usize) -> Result<(), IdentifierError> {
    let mut sum = 0;
    for (index, (byte, weight)) in code.iter().zip(ORGANISATION_WEIGHTS).enumerate() {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'Z' => u32::from(byte - b'A') + 10,
            other => return Err(IdentifierError::character(first + index, *other, "0-9 and A-Z")),
        };
        sum += value * weight;
    }
    let expected = match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b'0' + digit as u8,
    };
    expect(code[8], expected, first + 8)
}

fn expect(found: u8, expected: u8, position: usize) -> Result<(), IdentifierError> {
    if found == expected {
        return Ok(());
    }
    Err(IdentifierError::CheckDigit { position, expected: char::from(expected) })
}

fn value(byte: u8) -> Option<u32> {
    const VALUES: [u8; 128] = {
        let mut table = [u8::MAX; 128];
        let mut index = 0;
        while index < ALPHABET.len() {
            table[ALPHABET[index] as usize] = index as u8;
            index += 1;
        }
        table
    };
    VALUES.get(usize::from(byte)).copied().filter(|value| *value != u8::MAX).map(u32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_codes() {
        for code in [
            "91110000600037341L",
            "11100000000013338W",
            "11430000006122244L",
            "11220000013544541J",
            "113700000045046442",
            "113700000045030270",
            "11330105002500287C",
            "11110000000021135M",
            "11100000MB03271699",
            "11100000000013661B",
            "91370406L24894136J",
        ] {
            assert_eq!(check(code), Ok(()), "{code}");
        }
        for code in ["594672399", "000013338", "MB0327169", "L24894136"] {
            assert_eq!(check_organisation_code(code), Ok(()), "{code}");
        }
    }

    /// Both check digits together find every single wrong character.
    #[test]
    fn any_one_character_changed_is_found() {
        let good = "91370406L24894136J";
        for index in 0..18 {
            for byte in ALPHABET {
                let mut bad = good.as_bytes().to_vec();
                if bad[index] == *byte {
                    continue;
                }
                bad[index] = *byte;
                let bad = String::from_utf8(bad).expect("ASCII");
                assert!(check(&bad).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn says_what_was_expected() {
        assert_eq!(check("91110000600037341N"), Err(IdentifierError::CheckDigit { position: 18, expected: 'L' }));
        assert_eq!(check("91110000600037342L"), Err(IdentifierError::CheckDigit { position: 17, expected: '1' }));
        assert_eq!(check("91110000600037341l"), Err(IdentifierError::NotCanonical));
        assert_eq!(check("91 110000 600037341L"), Err(IdentifierError::NotCanonical));
        assert_eq!(
            check("91110000600037341I"),
            Err(IdentifierError::Character { position: 18, allowed: ALPHABET_TEXT })
        );
        assert!(matches!(check("Z1110000600037341L"), Err(IdentifierError::Character { position: 1, .. })));
        assert!(matches!(check("B1110000600037341L"), Err(IdentifierError::Table { position: 1, .. })));
        assert!(matches!(check("98110000600037341L"), Err(IdentifierError::Table { position: 2, .. })));
    }
}
