//! What a well-formed value of a logical type may be. Avro itself bounds none of these; a date in the year 5,881,580 is a
//! mistake of the sender, and most systems that read it cannot hold it.

/// 0001-01-01.
pub(crate) const FIRST_DAY: i32 = -719_162;
/// 9999-12-31.
pub(crate) const LAST_DAY: i32 = 2_932_896;
const SECONDS_A_DAY: i64 = 86_400;

#[inline]
pub(crate) fn is_date(days: i32) -> bool {
    (FIRST_DAY..=LAST_DAY).contains(&days)
}

/// Whether a time stamp lies in the years 1 to 9999.
#[inline]
pub(crate) fn is_timestamp(value: i64, units_a_second: i64) -> bool {
    let seconds = value.div_euclid(units_a_second);
    (i64::from(FIRST_DAY) * SECONDS_A_DAY..(i64::from(LAST_DAY) + 1) * SECONDS_A_DAY).contains(&seconds)
}

#[inline]
pub(crate) fn is_time(value: i64, units_a_second: i64) -> bool {
    (0..SECONDS_A_DAY * units_a_second).contains(&value)
}

/// RFC 9562 §4: 8-4-4-4-12 hexadecimal digits. Other spellings (braces, `urn:uuid:`, no hyphens) are refused, because a
/// text comparison at a subscriber would take two spellings for two identities.
#[inline]
pub(crate) fn is_uuid(text: &[u8]) -> bool {
    const HYPHENS: [bool; 36] = {
        let mut hyphens = [false; 36];
        (hyphens[8], hyphens[13], hyphens[18], hyphens[23]) = (true, true, true, true);
        hyphens
    };
    let Ok(text) = <&[u8; 36]>::try_from(text) else { return false };
    // All of them are looked at: no branch for each.
    let is_right = |(byte, hyphen): (&u8, &bool)| (*byte == b'-') & hyphen | byte.is_ascii_hexdigit() & !hyphen;
    text.iter().zip(&HYPHENS).fold(true, |all, at| all & is_right(at))
}

/// Most texts are short and of ASCII, for which this is sooner than to begin the check of all of UTF-8.
#[inline]
pub(crate) fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || simdutf8::basic::from_utf8(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn time_stamps_end_with_the_years_1_and_9999() {
        // 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
        let (first, last) = (-62_135_596_800, 253_402_300_799);
        for units in [1_000, 1_000_000] {
            let (first, end) = (first * units, (last + 1) * units);
            assert!(is_timestamp(first, units) && is_timestamp(end - 1, units), "{units}");
            assert!(!is_timestamp(first - 1, units) && !is_timestamp(end, units), "{units}");
            assert!(!is_timestamp(i64::MIN, units) && !is_timestamp(i64::MAX, units), "{units}");
        }
        // Nanoseconds do not reach so far.
        assert!(is_timestamp(i64::MIN, 1_000_000_000) && is_timestamp(i64::MAX, 1_000_000_000));
    }

    proptest! {
        /// Of 36 bytes the crate takes the one form that is taken here.
        #[test]
        fn a_text_of_36_bytes_is_a_uuid_where_the_uuid_crate_says_so(
            bits: u128,
            upper: bool,
            changes in proptest::collection::vec((0..36_usize, prop_oneof![Just(b'-'), any::<u8>()]), 0..3),
        ) {
            let text = apache_avro::Uuid::from_u128(bits).to_string();
            let mut text = if upper { text.to_uppercase() } else { text }.into_bytes();
            for (place, byte) in changes {
                text[place] = byte;
            }
            prop_assert_eq!(is_uuid(&text), apache_avro::Uuid::try_parse_ascii(&text).is_ok());
            prop_assert!(!is_uuid(&text[1..]) && !is_uuid(&[&text[..], b"0"].concat()));
        }

        #[test]
        fn a_text_is_utf8_where_the_standard_library_says_so(
            ascii in "[ -~]{0,40}", text in "\\PC{0,12}", bytes: [u8; 2], is_broken: bool,
        ) {
            let mut all = [ascii.as_bytes(), text.as_bytes()].concat();
            if is_broken {
                all.extend(bytes);
            }
            prop_assert_eq!(is_utf8(&all), std::str::from_utf8(&all).is_ok());
        }
    }
}
