//! Avro's variable-length zig-zag integers (specification, "Primitive types").

/// Why no integer could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VarintError {
    /// The bytes end inside it.
    Cut,
    /// More than 10 bytes, or more than 64 bits.
    TooLong,
}

/// Reads at `position` and moves it behind the integer.
#[inline]
pub(crate) fn read(bytes: &[u8], position: &mut usize) -> Result<i64, VarintError> {
    let Some(&first) = bytes.get(*position) else { return Err(VarintError::Cut) };
    if first < 0x80 {
        *position += 1;
        return Ok(i64::from(first >> 1) ^ -i64::from(first & 1));
    }
    read_long(bytes, position)
}

fn read_long(bytes: &[u8], position: &mut usize) -> Result<i64, VarintError> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().skip(*position).take(10).enumerate() {
        // The tenth byte holds the 64th bit only.
        if index == 9 && byte > 1 {
            return Err(VarintError::TooLong);
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *position += index + 1;
            return Ok(zag(value));
        }
    }
    if bytes.len() - *position >= 10 { Err(VarintError::TooLong) } else { Err(VarintError::Cut) }
}

fn zag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Appends `value` in its shortest form.
#[inline]
pub(crate) fn write(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a length and the bytes: Avro's `bytes` and `string`.
pub(crate) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for value in [0, 1, -1, 63, -64, 64, 8191, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write(value, &mut bytes);
            let mut position = 0;
            assert_eq!(read(&bytes, &mut position), Ok(value));
            assert_eq!(position, bytes.len());
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut], &mut 0), Err(VarintError::Cut), "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn more_than_64_bits_are_refused() {
        assert_eq!(read(&[0xff; 10], &mut 0), Err(VarintError::TooLong));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], &mut 0), Err(VarintError::TooLong));
        assert_eq!(read(&[0x80; 9], &mut 0), Err(VarintError::Cut));
    }
}
