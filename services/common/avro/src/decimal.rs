//! Avro decimals: a two's-complement big-endian integer and a scale. Exact: nothing here touches a floating-point number.

use std::cmp::Ordering;

/// The unscaled number. None where the bytes are empty or hold more than 128 significant bits.
#[inline]
pub(crate) fn from_bytes(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    let fill = if negative { 0xff } else { 0 };
    let significant = if bytes.len() > 16 {
        let (padding, rest) = bytes.split_at(bytes.len() - 16);
        if padding.iter().any(|byte| *byte != fill) || (rest[0] & 0x80 != 0) != negative {
            return None;
        }
        rest
    } else {
        bytes
    };
    let mut buffer = [fill; 16];
    buffer[16 - significant.len()..].copy_from_slice(significant);
    Some(i128::from_be_bytes(buffer))
}

/// The shortest two's-complement form, at least one byte.
pub(crate) fn to_bytes(unscaled: i128, out: &mut Vec<u8>) {
    let bytes = unscaled.to_be_bytes();
    let fill = if unscaled < 0 { 0xff } else { 0 };
    let mut begin = 0;
    while begin < 15 && bytes[begin] == fill && (bytes[begin + 1] & 0x80 != 0) == (unscaled < 0) {
        begin += 1;
    }
    out.extend_from_slice(&bytes[begin..]);
}

/// The form of `size` bytes. False, and nothing is written, where the number does not fit.
pub(crate) fn to_fixed(unscaled: i128, size: usize, out: &mut Vec<u8>) -> bool {
    let mut bytes = Vec::with_capacity(16);
    to_bytes(unscaled, &mut bytes);
    if bytes.len() > size {
        return false;
    }
    out.resize(out.len() + size - bytes.len(), if unscaled < 0 { 0xff } else { 0 });
    out.extend_from_slice(&bytes);
    true
}

/// Whether the number has at most `precision` digits.
#[inline]
pub(crate) fn fits(unscaled: i128, precision: u32) -> bool {
    unscaled.unsigned_abs() < 10u128.pow(precision.min(38))
}

/// Why a text is no decimal of the wanted scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    NotADecimal,
    /// Digits other than 0 behind the last place.
    TooManyFractionDigits,
    TooManyDigits,
}

/// Reads `-12.50`: a sign, digits, a point, digits. No exponent, no grouping, no blanks: what a sender means by those is
/// the mapping's to say. Zeros behind the last place are no digits too many.
pub(crate) fn parse(text: &str, precision: u32, scale: u32) -> Result<i128, DecimalError> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !all_digits || whole.is_empty() || (point.is_some() && fraction.is_empty()) {
        return Err(DecimalError::NotADecimal);
    }
    let (kept, beyond) = fraction.split_at(fraction.len().min(scale as usize));
    if beyond.iter().any(|byte| *byte != b'0') {
        return Err(DecimalError::TooManyFractionDigits);
    }
    let mut unscaled = 0i128;
    let zeros = scale as usize - kept.len();
    for byte in whole.iter().chain(kept).copied().chain(std::iter::repeat_n(b'0', zeros)) {
        unscaled = unscaled
            .checked_mul(10)
            .and_then(|value| value.checked_add(i128::from(byte - b'0')))
            .ok_or(DecimalError::TooManyDigits)?;
    }
    if !fits(unscaled, precision) {
        return Err(DecimalError::TooManyDigits);
    }
    Ok(if negative { -unscaled } else { unscaled })
}

/// The inverse of [`parse`]: as many fraction digits as the scale says.
pub(crate) fn format(unscaled: i128, scale: u32) -> String {
    let scale = scale as usize;
    let mut digits = unscaled.unsigned_abs().to_string();
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    if scale > 0 {
        digits.insert(digits.len() - scale, '.');
    }
    if unscaled < 0 {
        digits.insert(0, '-');
    }
    digits
}

/// Compares two decimals of any scales, exactly.
pub(crate) fn compare((left, left_scale): (i128, u32), (right, right_scale): (i128, u32)) -> Ordering {
    let scaled = |value: i128, by: u32| 10i128.checked_pow(by).and_then(|power| value.checked_mul(power));
    match left_scale.cmp(&right_scale) {
        Ordering::Equal => left.cmp(&right),
        // A product that leaves 128 bits is larger in amount than anything on the other side.
        Ordering::Less => match scaled(left, right_scale - left_scale) {
            Some(left) => left.cmp(&right),
            None => left.cmp(&0),
        },
        Ordering::Greater => match scaled(right, left_scale - right_scale) {
            Some(right) => left.cmp(&right),
            None => 0.cmp(&right),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        for value in [0, 1, -1, 127, 128, -128, -129, 255, 256, i128::MAX, i128::MIN, 10i128.pow(38) - 1] {
            let mut bytes = Vec::new();
            to_bytes(value, &mut bytes);
            assert_eq!(from_bytes(&bytes), Some(value), "{bytes:?}");
            let mut wide = Vec::new();
            assert!(to_fixed(value, 20, &mut wide));
            assert_eq!(wide.len(), 20);
            assert_eq!(from_bytes(&wide), Some(value), "{wide:?}");
        }
        assert_eq!(from_bytes(&[]), None);
        assert_eq!(from_bytes(&[1; 17]), None);
        assert_eq!(from_bytes(&[0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None, "2^127 has 129 bits");
        assert!(!to_fixed(128, 1, &mut Vec::new()));
    }

    #[test]
    fn texts_are_exact() {
        assert_eq!(parse("350187.63", 10, 2), Ok(35_018_763));
        assert_eq!(parse("-0.5", 10, 2), Ok(-50));
        assert_eq!(parse("+7", 10, 2), Ok(700));
        assert_eq!(parse("1.2300", 10, 2), Ok(123));
        assert_eq!(parse("1.234", 10, 2), Err(DecimalError::TooManyFractionDigits));
        assert_eq!(parse("100000000", 10, 2), Err(DecimalError::TooManyDigits));
        assert_eq!(parse(&"9".repeat(60), 38, 0), Err(DecimalError::TooManyDigits));
        for wrong in ["", "-", ".5", "5.", "1e3", "1,000", " 1", "3501.872.63", "٣"] {
            assert_eq!(parse(wrong, 10, 2), Err(DecimalError::NotADecimal), "{wrong:?}");
        }
        assert_eq!(format(-5, 2), "-0.05");
        assert_eq!(format(35_018_763, 2), "350187.63");
        assert_eq!(format(0, 0), "0");
    }

    #[test]
    fn scales_do_not_matter_to_comparison() {
        assert_eq!(compare((100, 2), (1, 0)), Ordering::Equal);
        assert_eq!(compare((101, 2), (1, 0)), Ordering::Greater);
        assert_eq!(compare((i128::MAX, 0), (1, 38)), Ordering::Greater);
        assert_eq!(compare((1, 38), (i128::MIN, 0)), Ordering::Greater);
    }
}
