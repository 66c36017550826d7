//! The cursor of the pull API: which view, the next offset of each of its partitions, and since when. Opaque to the subscriber
//! (base64url), versioned, and bound to the view and to its topic: after a change of the grant's fields, or where the topic
//! was made anew, an old cursor is refused rather than silently read against other offsets.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use freshet_kafka::TopicId;

const VERSION: u8 = 2;
/// A view id has at most 64 + 13 characters, so this is a thousand partitions and more.
const MAX_TEXT: usize = 16 * 1024;
/// The mark shares a number with the time. An instance of before the mark, which may still run beside us, takes such a
/// cursor as one from the future, that is, as up to date; and 0 in its place, as it writes it, is a mark that fits all.
const TIME_BITS: u32 = 34;
const MARK_BITS: u32 = 28;

/// Tells a topic from the one that had its name before: a few bits of its id. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicMark(u32);

impl TopicMark {
    pub fn of(id: TopicId) -> Self {
        let folded = (0..128).step_by(MARK_BITS as usize).fold(0, |mark, shift| mark ^ (id.0 >> shift) as u32);
        Self((folded & ((1 << MARK_BITS) - 1)).max(1))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub view: String,
    /// When its holder last had everything, or began: seconds since the epoch. A removal that came later is still kept
    /// for as long as the dataset keeps removals.
    pub since: i64,
    /// Which topic the offsets are of. None in cursors of before there were marks.
    pub topic: Option<TopicMark>,
    /// Partition → the offset to go on from.
    pub next: BTreeMap<i32, i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    #[error("the cursor is not one that this bus gave out; leave it away to begin at the start, or use `from`")]
    Malformed,
    #[error("the cursor is of another view")]
    OtherView,
}

impl Cursor {
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION, u8::try_from(self.view.len()).unwrap_or(u8::MAX)];
        bytes.extend_from_slice(self.view.as_bytes());
        let since = u64::try_from(self.since).unwrap_or(0) & ((1 << TIME_BITS) - 1);
        let mark = self.topic.map_or(0, |mark| u64::from(mark.0));
        write_number(&mut bytes, since | mark << TIME_BITS);
        for (partition, offset) in &self.next {
            write_number(&mut bytes, u64::try_from(*partition).unwrap_or(0));
            write_number(&mut bytes, u64::try_from(*offset).unwrap_or(0));
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor and checks that it is one of `view`.
    pub fn decode(text: &str, view: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_TEXT {
            return Err(CursorError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        let (&version, rest) = bytes.split_first().ok_or(CursorError::Malformed)?;
        let (&length, rest) = rest.split_first().ok_or(CursorError::Malformed)?;
        if version != VERSION || rest.len() < usize::from(length) {
            return Err(CursorError::Malformed);
        }
        let (name, mut rest) = rest.split_at(usize::from(length));
        if name != view.as_bytes() {
            return Err(CursorError::OtherView);
        }
        let number = read_number(&mut rest).ok_or(CursorError::Malformed)?;
        let since = i64::try_from(number & ((1 << TIME_BITS) - 1)).map_err(|_| CursorError::Malformed)?;
        let mark = u32::try_from(number >> TIME_BITS).ok().filter(|mark| *mark < 1 << MARK_BITS);
        let mark = mark.ok_or(CursorError::Malformed)?;
        let topic = (mark > 0).then_some(TopicMark(mark));
        let mut next = BTreeMap::new();
        while !rest.is_empty() {
            let partition = read_number(&mut rest).and_then(|number| i32::try_from(number).ok());
            let offset = read_number(&mut rest).and_then(|number| i64::try_from(number).ok());
            let (Some(partition), Some(offset)) = (partition, offset) else { return Err(CursorError::Malformed) };
            if next.insert(partition, offset).is_some() {
                return Err(CursorError::Malformed);
            }
        }
        Ok(Self { view: view.to_owned(), since, topic, next })
    }
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back_as_it_went(since in 0..1_i64 << TIME_BITS, next in proptest::collection::btree_map(0..i32::MAX, 0..i64::MAX, 0..64),
                                 view in "[a-z_]{1,64}\\.[0-9a-f]{12}", id in proptest::option::of(any::<u128>())) {
            let topic = id.map(|id| TopicMark::of(TopicId(id)));
            let cursor = Cursor { view: view.clone(), since, topic, next };
            prop_assert_eq!(Cursor::decode(&cursor.encode(), &view), Ok(cursor));
        }

        #[test]
        fn whatever_comes_in_is_an_answer(text in ".{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Cursor::decode(&text, "v");
            let mut framed = vec![VERSION, 1, b'v'];
            framed.extend(bytes);
            let _ = Cursor::decode(&URL_SAFE_NO_PAD.encode(framed), "v");
        }
    }

    /// Given out by a program of before there were marks, on 2026-11-28.
    #[test]
    fn a_cursor_without_a_mark_is_read() {
        let cursor = Cursor {
            view: "v".to_owned(),
            since: 1_795_860_000,
            topic: None,
            next: BTreeMap::from([(0, 5), (1, 300)]),
        };
        assert_eq!(Cursor::decode("AgF2oMyq2AYABQGsAg", "v"), Ok(cursor));
    }

    #[test]
    fn topics_have_marks_of_their_own() {
        let marks = |ids: &[u128]| ids.iter().map(|id| TopicMark::of(TopicId(*id)).0).collect::<Vec<_>>();
        let found = marks(&[0, 1, 1 << 127, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef]);
        assert!(found.iter().all(|mark| (1..1 << MARK_BITS).contains(mark)), "{found:x?}");
        assert_ne!(TopicMark::of(TopicId(2)), TopicMark::of(TopicId(3)));
        assert_ne!(TopicMark::of(TopicId(2)), TopicMark::of(TopicId(2 | 1 << 127)));
    }

    #[test]
    fn another_views_cursor_is_refused() {
        let cursor =
            Cursor { view: "permits.0123456789ab".to_owned(), since: 9, topic: None, next: BTreeMap::from([(0, 5)]) };
        assert_eq!(Cursor::decode(&cursor.encode(), "permits.ba9876543210"), Err(CursorError::OtherView));
        assert_eq!(Cursor::decode("", "v"), Err(CursorError::Malformed));
        assert_eq!(Cursor::decode("AAAA", "v"), Err(CursorError::Malformed));
    }
}
