//! The Confluent wire format: one zero byte, the schema's id as a big-endian `u32`, the Avro datum.
//! Source: Confluent Schema Registry documentation, "Wire format".

/// Why a value is not in the wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("the value has {length} bytes; the Confluent wire format begins with 5: a zero byte and the schema's id")]
    TooShort { length: usize },
    #[error(
        "the value begins with the byte {first}; the Confluent wire format begins with a zero byte, then the schema's id in 4"
    )]
    NotMagic { first: u8 },
}

/// Bytes before the datum.
pub const HEADER_BYTES: usize = 5;

/// The schema's id and the datum.
pub fn split(value: &[u8]) -> Result<(u32, &[u8]), FramingError> {
    match value {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [first, _, _, _, _, ..] => Err(FramingError::NotMagic { first: *first }),
        _ => Err(FramingError::TooShort { length: value.len() }),
    }
}

/// Appends header and datum to `out`.
pub fn write(id: u32, datum: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEADER_BYTES + datum.len());
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(datum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_split() {
        let mut value = Vec::new();
        write(0x0102_0304, b"datum", &mut value);
        assert_eq!(value[..5], [0, 1, 2, 3, 4]);
        assert_eq!(split(&value), Ok((0x0102_0304, &b"datum"[..])));
        assert_eq!(split(&value[..5]), Ok((0x0102_0304, &b""[..])));
    }

    #[test]
    fn what_is_not_framed_is_refused() {
        assert_eq!(split(b""), Err(FramingError::TooShort { length: 0 }));
        assert_eq!(split(&[0, 0, 0, 1]), Err(FramingError::TooShort { length: 4 }));
        assert_eq!(split(b"{\"a\":1}"), Err(FramingError::NotMagic { first: b'{' }));
    }
}
