//! The context attributes of an event.

use std::borrow::Cow;

/// By name and in the order of their names, each once. What stands in the request as it is meant is borrowed from it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    /// Of one name the last value counts.
    pub fn new(mut all: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Self {
        // Stable: those of one name stay in the order in which they came.
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all.dedup_by(|later, earlier| {
            let is_again = later.0 == earlier.0;
            if is_again {
                std::mem::swap(later, earlier);
            }
            is_again
        });
        Self(all)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        // There are some ten: most differ by their lengths already.
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_ref())
    }

    pub fn put(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        let attribute = (Cow::Borrowed(name), value.into());
        match self.place(name) {
            Ok(place) => self.0[place] = attribute,
            Err(place) => self.0.insert(place, attribute),
        }
    }

    pub fn remove(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.place(name).ok().map(|place| self.0.remove(place).1)
    }

    /// Keeps those whose names `is_kept` says yes to.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| is_kept(name));
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// Names and values.
    pub fn size_bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own.as_ref().cmp(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_order_and_once() {
        let all = [("id", "1"), ("source", "a"), ("id", "2"), ("source", "b"), ("id", "3"), ("", "")];
        let mut attributes = Attributes::new(all.map(|(name, value)| (name.into(), value.into())).to_vec());
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("", ""), ("id", "3"), ("source", "b")]);
        attributes.put("time", "t");
        attributes.put("id", "4".to_owned());
        assert_eq!((attributes.get("id"), attributes.get("tim"), attributes.size_bytes()), (Some("4"), None, 15));
        assert_eq!((attributes.remove("source").as_deref(), attributes.remove("source")), (Some("b"), None));
        attributes.retain(|name| !name.is_empty());
        assert_eq!(attributes.iter().collect::<Vec<_>>(), [("id", "4"), ("time", "t")]);
    }
}
