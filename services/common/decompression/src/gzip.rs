//! gzip, in one pass. librdkafka inflates a batch twice, the first time to learn its size.

use std::io::Read as _;

use flate2::bufread::GzDecoder;

/// `None` where it is damaged or becomes more than `most` bytes.
pub fn inflated(compressed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut batch = Vec::new();
    let read = GzDecoder::new(compressed).take(most as u64 + 1).read_to_end(&mut batch).ok()?;
    (read <= most).then_some(batch)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn deflated(batch: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(batch).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn it_is_read_up_to_its_bound_and_not_beyond(batch in proptest::collection::vec(any::<u8>(), 0..5_000)) {
            let compressed = deflated(&batch);
            prop_assert_eq!(inflated(&compressed, batch.len()), Some(batch.clone()));
            if !batch.is_empty() {
                prop_assert_eq!(inflated(&compressed, batch.len() - 1), None);
            }
            prop_assert_eq!(inflated(&compressed[..compressed.len() - 9], batch.len()), None, "its end is missing");
        }
    }
}
