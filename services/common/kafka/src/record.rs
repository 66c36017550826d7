//! Records that own their bytes, for work that outlives the client's buffer.

use freshet_core::Header;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, OwnedHeaders};

use crate::{Headers, native};

/// What an event of ours has about, so that its headers are two allocations.
const USUAL_HEADERS: usize = 12;
const USUAL_HEADER_BYTES: usize = 192;

/// A record that was read. `value` is `None` for a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

impl OwnedRecord {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name)
    }

    /// The first header of that name, where it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// About what it takes in memory.
    pub fn size_bytes(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + self.headers.size_bytes()
    }

    pub(crate) fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let mut headers = Headers::with_capacity(USUAL_HEADERS, USUAL_HEADER_BYTES);
        for (name, value) in native::headers(message) {
            headers.push(readable(name), value.unwrap_or_default());
        }
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
        }
    }
}

/// A record to write outside of the transactional loop. Without `partition`, Kafka's murmur2 of the key chooses it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
    pub timestamp_ms: Option<i64>,
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

/// Fills `into` with the message's headers, borrowed from it.
pub(crate) fn borrow_headers<'m>(message: &'m BorrowedMessage<'_>, into: &mut Vec<Header<'m>>) {
    into.clear();
    into.extend(native::headers(message).map(|(name, value)| Header::new(readable(name), value.unwrap_or_default())));
}

/// A name that is not UTF-8 is none that anybody asks for.
fn readable(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or("\u{fffd}")
}

/// A copy of one record's headers, so that the client's own list may be passed on while a stage still looks at them. Its
/// buffers are used again, and names, which are the same from record to record, are neither copied nor checked again.
#[derive(Debug, Default)]
pub(crate) struct HeaderCopy {
    names: Vec<String>,
    values: Vec<u8>,
    /// Behind the last byte of each value.
    ends: Vec<usize>,
}

impl HeaderCopy {
    pub(crate) fn fill(&mut self, headers: Option<&native::Headers>) {
        self.values.clear();
        self.ends.clear();
        for (index, (name, value)) in headers.into_iter().flat_map(native::Headers::iter).enumerate() {
            match self.names.get_mut(index) {
                Some(known) if known.as_bytes() == name => {}
                Some(known) => readable(name).clone_into(known),
                None => self.names.push(readable(name).to_owned()),
            }
            self.values.extend_from_slice(value.unwrap_or_default());
            self.ends.push(self.values.len());
        }
    }

    /// The headers, in the empty vector `list`.
    pub(crate) fn list<'c>(&'c self, mut list: Vec<Header<'c>>) -> Vec<Header<'c>> {
        let mut begin = 0;
        for (name, end) in self.names.iter().zip(&self.ends) {
            list.push(Header::new(name, &self.values[begin..*end]));
            begin = *end;
        }
        list
    }
}

/// The vector's memory for the headers of another record.
pub(crate) fn emptied(mut list: Vec<Header<'_>>) -> Vec<Header<'static>> {
    list.clear();
    list.into_iter().map(|_| unreachable!("it was emptied")).collect()
}

/// The client's own copy of the headers; `None` where there are none.
pub(crate) fn native_headers<'h>(
    count: usize,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
) -> Option<OwnedHeaders> {
    if count == 0 {
        return None;
    }
    let mut native = OwnedHeaders::new_with_capacity(count);
    for (name, value) in headers {
        native = native.insert(rdkafka::message::Header { key: name, value: Some(value) });
    }
    Some(native)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_used_again() {
        let mut copy = HeaderCopy::default();
        let mut list = Vec::new();
        for names in [&["a", "b"][..], &["a", "longer", "c"], &[], &["a"]] {
            let mut native = native::Headers::with_capacity(names.len());
            for name in names {
                native.add(name, name.to_uppercase().as_bytes());
            }
            copy.fill(Some(&native));
            drop(native);
            let headers = copy.list(list);
            let found: Vec<&str> = headers.iter().map(|header| header.name).collect();
            assert_eq!(found, names);
            assert!(headers.iter().all(|header| header.value == header.name.to_uppercase().as_bytes()));
            list = emptied(headers);
        }
        copy.fill(None);
        assert_eq!(copy.list(Vec::new()), []);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_nobodys() {
        assert_eq!((readable(b"ce_id"), readable(b"ce_id\xff")), ("ce_id", "\u{fffd}"));
    }
}
