//! How long an lz4 frame becomes, without decompressing it (LZ4 frame format 1.6.4 and block format). librdkafka takes one
//! frame for a batch.

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Bits of the frame's flags.
const CONTENT_CHECKSUM: u8 = 1 << 2;
const CONTENT_SIZE: u8 = 1 << 3;
const BLOCK_CHECKSUM: u8 = 1 << 4;
const DICTIONARY_ID: u8 = 1;
/// Of a block's size: its bytes are as they are.
const NOT_COMPRESSED: u32 = 1 << 31;
/// The shortest match.
const MATCH: usize = 4;

/// Bytes. `None` where it is no frame, is damaged so that its length cannot be told, or has something behind it.
pub fn decompressed_bytes(frame: &[u8]) -> Option<usize> {
    let mut rest = frame.strip_prefix(&MAGIC)?;
    let flags = *rest.first()?;
    // Flags, the largest block, a checksum.
    let header = 3 + if flags & CONTENT_SIZE == 0 { 0 } else { 8 } + if flags & DICTIONARY_ID == 0 { 0 } else { 4 };
    rest = rest.get(header..)?;
    let mut bytes = 0_usize;
    loop {
        let (size, behind) = rest.split_first_chunk()?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            let checksum = if flags & CONTENT_CHECKSUM == 0 { 0 } else { 4 };
            return (behind.len() == checksum).then_some(bytes);
        }
        let (block, behind) = behind.split_at_checked(usize::try_from(size & !NOT_COMPRESSED).ok()?)?;
        let becomes = if size & NOT_COMPRESSED == 0 { block_bytes(block)? } else { block.len() };
        bytes = bytes.checked_add(becomes)?;
        rest = behind.get(if flags & BLOCK_CHECKSUM == 0 { 0 } else { 4 }..)?;
    }
}

/// A block is sequences of a token, literals, and a match: two bytes of distance. The last has literals only.
fn block_bytes(block: &[u8]) -> Option<usize> {
    let (mut rest, mut bytes) = (block, 0_usize);
    loop {
        let (token, behind) = rest.split_first()?;
        let (literals, behind) = length(usize::from(token >> 4), behind)?;
        bytes = bytes.checked_add(literals)?;
        rest = behind.get(literals..)?;
        if rest.is_empty() {
            return Some(bytes);
        }
        let (repeated, behind) = length(usize::from(token & 15), rest.get(2..)?)?;
        bytes = bytes.checked_add(repeated)?.checked_add(MATCH)?;
        rest = behind;
    }
}

/// A length of 15 goes on in the bytes that follow, up to the first that is not 255.
fn length(nibble: usize, mut rest: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = nibble;
    if nibble == 15 {
        loop {
            let (more, behind) = rest.split_first()?;
            length = length.checked_add(usize::from(*more))?;
            rest = behind;
            if *more != 255 {
                break;
            }
        }
    }
    Some((length, rest))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::*;

    /// By a library that is not ours, in every form that a frame may have.
    fn compressed(parts: &[Vec<u8>], form: u8) -> Vec<u8> {
        let has = |bit: u8| form & (1 << bit) != 0;
        let all: usize = parts.iter().map(Vec::len).sum();
        let info = FrameInfo::new()
            .block_mode(if has(0) { BlockMode::Linked } else { BlockMode::Independent })
            .block_size(if has(1) { BlockSize::Max64KB } else { BlockSize::Max4MB })
            .block_checksums(has(2))
            .content_checksum(has(3))
            .content_size(has(4).then_some(all as u64));
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        for part in parts {
            encoder.write_all(part).unwrap();
            if has(5) {
                encoder.flush().unwrap();
            }
        }
        encoder.finish().unwrap()
    }

    /// What does not compress, what does, and what is in between.
    fn part() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..3_000),
            (any::<u8>(), 0..200_000_usize).prop_map(|(byte, count)| vec![byte; count]),
            (proptest::collection::vec(any::<u8>(), 1..40), 0..3_000_usize)
                .prop_map(|(word, count)| word.repeat(count)),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_is_as_long_as_it_becomes(parts in proptest::collection::vec(part(), 0..6), form in 0..64_u8) {
            let all: usize = parts.iter().map(Vec::len).sum();
            let frame = compressed(&parts, form);
            prop_assert_eq!(decompressed_bytes(&frame), Some(all));
            prop_assert_eq!(decompressed_bytes(&frame[..frame.len() - 1]), None);
            let twice = [&frame[..], &frame[..]].concat();
            prop_assert_eq!(decompressed_bytes(&twice), None);
        }

        #[test]
        fn nothing_makes_it_fail(parts in proptest::collection::vec(part(), 1..3), form in 0..64_u8, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut frame = compressed(&parts, form);
            let at = at.index(frame.len());
            frame[at] = byte;
            // Where a library takes it as it now is, it is as long as it says.
            let mut out = Vec::new();
            let read = std::io::copy(&mut lz4_flex::frame::FrameDecoder::new(&frame[..]), &mut out);
            if read.is_ok() && let Some(bytes) = decompressed_bytes(&frame) {
                prop_assert_eq!(bytes, out.len());
            }
        }
    }
}
