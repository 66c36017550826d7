//! A record as a stage sees it: borrowed from the client's buffer on the way in, borrowed again on the way out.

/// One header. A header without a value is passed on as empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub name: &'a str,
    pub value: &'a [u8],
}

impl<'a> Header<'a> {
    pub fn new(name: &'a str, value: &'a [u8]) -> Self {
        Self { name, value }
    }
}

/// A record that was read. `value` is `None` for a tombstone (a delete).
#[derive(Debug, Clone, Copy)]
pub struct InRecord<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// The broker's or producer's time stamp, milliseconds since the epoch.
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
}

impl<'a> InRecord<'a> {
    /// The first header of that name, as bytes.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|header| header.name == name).map(|header| header.value)
    }

    /// The first header of that name, where it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// A record to write. `headers` are passed through as they came, `extra` are appended.
#[derive(Debug, Clone, Copy)]
pub struct OutRecord<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header<'a>],
    pub extra: &'a [Header<'a>],
    pub timestamp_ms: Option<i64>,
}
