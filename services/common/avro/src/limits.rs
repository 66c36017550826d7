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
    text.len() == 36
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
