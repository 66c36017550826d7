//! Records that own their bytes, for work that outlives the client's buffer.

use freshet_core::Header;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers, OwnedHeaders};

/// A record that was read. `value` is `None` for a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl OwnedRecord {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// The first header of that name, where it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// About what it takes in memory.
    pub fn size_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len) + headers
    }

    pub(crate) fn from_message(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect()
        });
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
    pub headers: Vec<(String, Vec<u8>)>,
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
    let Some(headers) = message.headers() else { return };
    into.extend(headers.iter().map(|header| Header { name: header.key, value: header.value.unwrap_or_default() }));
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
