//! Records of a decompressed batch: each begins with its length in bytes, as a zigzag varint (Kafka's record format,
//! version 2).

/// How many there are, or one more than `most` where there are more. What is no record any more counts as one.
pub fn count(batch: &[u8], most: usize) -> usize {
    let (mut rest, mut count) = (batch, 0);
    while !rest.is_empty() && count <= most {
        count += 1;
        rest = behind_one(rest).unwrap_or_default();
    }
    count
}

fn behind_one(batch: &[u8]) -> Option<&[u8]> {
    let (mut zigzag, mut at) = (0_u64, 0);
    loop {
        let byte = *batch.get(at)?;
        zigzag |= u64::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte < 0x80 {
            break;
        }
        if at == 5 {
            return None;
        }
    }
    // Odd numbers are negative.
    if zigzag % 2 == 1 {
        return None;
    }
    batch.get(at..)?.get(usize::try_from(zigzag / 2).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_counts_whatever_its_length_takes() {
        let mut batch = vec![0];
        batch.extend([14, 0, 0, 0, 0, 0, 0, 0]);
        // 100 bytes: 200 as zigzag, two bytes of varint.
        batch.extend([0xc8, 0x01]);
        batch.extend([0; 100]);
        assert_eq!(count(&batch, 10), 3);
        assert_eq!(count(&batch, 1), 2, "it stops at one more");
        assert_eq!(count(&[], 10), 0);
    }

    #[test]
    fn what_is_no_record_ends_the_count() {
        for odd in [&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..], &[0x80][..], &[1, 0, 0][..], &[200][..]] {
            assert_eq!(count(odd, 10), 1, "{odd:?}");
        }
    }
}
