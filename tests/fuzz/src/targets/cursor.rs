//! The pull API's cursor: what is read as one comes back as it went. Parts: `raw` where the bytes are still to be written as
//! base64, then the cursor.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use freshet_fanout::{Cursor, CursorError, TopicMark};
use freshet_kafka::TopicId;

use crate::guard::Guard;
use crate::mutate::{join, parts};
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "cursor",
    what: "cursors of the pull API",
    share: 150,
    parts: 2,
    dictionary: &["AhZwZXJtaXRzLjAxMjM0NTY3ODlhYg", "A", "-_", "==", "%00", "王"],
    make: || Box::new(Cursors),
};

const VIEW: &str = "permits.0123456789ab";

#[derive(Debug)]
struct Cursors;

impl Target for Cursors {
    fn fresh(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let next: BTreeMap<i32, i64> =
            (0..rng.usize(..6)).map(|_| (rng.i32(0..) >> rng.u8(..31), rng.i64(0..) >> rng.u8(..63))).collect();
        let since = rng.i64(0..) >> rng.u8(..63);
        let topic = rng.bool().then(|| TopicMark::of(TopicId(rng.u128(..))));
        let text = Cursor { view: VIEW.to_owned(), since, topic, next }.encode();
        match URL_SAFE_NO_PAD.decode(&text) {
            Ok(bytes) if rng.bool() => Some(join(&[b"raw", &bytes])),
            _ => Some(join(&[b"text", text.as_bytes()])),
        }
    }

    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        let [how, bytes] = parts(input);
        let text = match how {
            b"raw" => URL_SAFE_NO_PAD.encode(bytes),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        let cursor = match guard.ours("a cursor", 4096 + 64 * input.len(), || Cursor::decode(&text, VIEW))? {
            Ok(cursor) => cursor,
            Err(error) => return Ok(Seen::of((error == CursorError::OtherView, size_class(text.len())))),
        };
        if cursor.since < 0 || cursor.next.iter().any(|(partition, offset)| *partition < 0 || *offset < 0) {
            return Err(format!("a number below zero: {cursor:?}"));
        }
        let again = Cursor::decode(&cursor.encode(), VIEW);
        if again.as_ref() != Ok(&cursor) {
            return Err(format!("{cursor:?} comes back as {again:?}"));
        }
        let longest = cursor.next.values().copied().max().unwrap_or(0);
        Ok(Seen::of((cursor.next.len(), size_class(longest as usize), size_class(cursor.since as usize))))
    }
}
