//! The headers of a record that is to be written.

use std::fmt;

/// Names and values in their order, all in one text and one buffer: a record has some ten, and each would be two
/// allocations.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    names: String,
    values: Vec<u8>,
    /// Behind each name and each value.
    ends: Vec<(usize, usize)>,
}

impl Headers {
    /// Room for so many, with so many bytes of names and so many of values.
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        let (names, values) = (String::with_capacity(bytes), Vec::with_capacity(bytes));
        Self { names, values, ends: Vec::with_capacity(count) }
    }

    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.push_prefixed("", name, value);
    }

    /// The name in two parts.
    pub fn push_prefixed(&mut self, prefix: &str, name: &str, value: &[u8]) {
        self.names.push_str(prefix);
        self.names.push_str(name);
        self.values.extend_from_slice(value);
        self.ends.push((self.names.len(), self.values.len()));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Of all names and values.
    pub fn size_bytes(&self) -> usize {
        self.names.len() + self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut begin = (0, 0);
        self.ends.iter().map(move |end| {
            let (name, value) = (&self.names[begin.0..end.0], &self.values[begin.1..end.1]);
            begin = *end;
            (name, value)
        })
    }

    /// The first of that name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut begin = (0, 0);
        for end in &self.ends {
            // Lengths first: of a dozen names one is looked at.
            if end.0 - begin.0 == name.len() && self.names.as_bytes()[begin.0..end.0] == *name.as_bytes() {
                return Some(&self.values[begin.1..end.1]);
            }
            begin = *end;
        }
        None
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut all = Self::default();
        for (name, value) in headers {
            all.push(name.as_ref(), value.as_ref());
        }
        all
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_read_in_its_order() {
        let mut headers: Headers = [("a", "1"), ("", ""), ("a", "2")].into_iter().collect();
        headers.push_prefixed("ce_", "id", &[0xff]);
        let all: Vec<(&str, &[u8])> = headers.iter().collect();
        assert_eq!(all, [("a", &b"1"[..]), ("", b""), ("a", b"2"), ("ce_id", &[0xff])]);
        assert_eq!((headers.len(), headers.is_empty(), Headers::default().is_empty()), (4, false, true));
        assert_eq!(
            (headers.get("a"), headers.get("ce_id"), headers.get("id")),
            (Some(&b"1"[..]), Some(&[0xff][..]), None)
        );
    }
}
