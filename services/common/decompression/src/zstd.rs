//! zstd, up to a bound. librdkafka gives it three times the room until it has enough, and so never reads some that would fit.

/// `None` where it is damaged or becomes more than `most` bytes.
pub fn decompressed(compressed: &[u8], most: usize) -> Option<Vec<u8>> {
    // Not every producer says how long it becomes, and who says so need not be right.
    let said = zstd_safe::get_frame_content_size(compressed).ok()?;
    let guess = said.map_or(compressed.len().saturating_mul(4), |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let mut room = guess.min(most);
    loop {
        let mut batch = Vec::with_capacity(room);
        match zstd_safe::decompress(&mut batch, compressed) {
            Ok(_) => return (batch.len() <= most).then_some(batch),
            Err(code) if is_too_small(code) && room < most => {
                room = room.saturating_mul(4).max(4_096).min(most);
            }
            Err(_) => return None,
        }
    }
}

fn is_too_small(code: zstd_safe::ErrorCode) -> bool {
    // The crate gives no names to codes.
    zstd_safe::get_error_name(code) == "Destination buffer is too small"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

    use super::*;

    /// As librdkafka's producer does, which does not say how long it becomes; or as others, who do.
    fn compressed(batch: &[u8], says: bool) -> Vec<u8> {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::ContentSizeFlag(says)).unwrap();
        context.set_pledged_src_size(says.then_some(batch.len() as u64)).unwrap();
        let mut compressed = vec![0; zstd_safe::compress_bound(batch.len())];
        let mut out = OutBuffer::around(&mut compressed[..]);
        let mut batch = InBuffer::around(batch);
        context.compress_stream2(&mut out, &mut batch, zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_end).unwrap();
        let length = out.pos();
        compressed.truncate(length);
        compressed
    }

    proptest! {
        #[test]
        fn it_is_read_up_to_its_bound_and_not_beyond(
            word in proptest::collection::vec(any::<u8>(), 1..40),
            count in 0..5_000_usize,
            says in any::<bool>(),
        ) {
            let batch = word.repeat(count);
            let compressed = compressed(&batch, says);
            prop_assert_eq!(decompressed(&compressed, batch.len()), Some(batch.clone()));
            if !batch.is_empty() {
                prop_assert_eq!(decompressed(&compressed, batch.len() - 1), None);
            }
            prop_assert_eq!(decompressed(&compressed[..compressed.len() - 1], batch.len()), None);
        }
    }
}
