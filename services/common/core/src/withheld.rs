//! Fields whose values no message quotes: personal data stands in records, never in headers, answers or logs.

use std::collections::BTreeSet;

/// Dotted paths of such fields. The empty set withholds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Withheld {
    fields: BTreeSet<String>,
}

impl Withheld {
    /// What a message has in the place of the value.
    pub const INSTEAD: &str = "the value (not shown: personal data)";

    pub fn new(fields: impl IntoIterator<Item = String>) -> Self {
        Self { fields: fields.into_iter().collect() }
    }

    /// Whether the value at `path` may hold what is withheld: it is such a field, a part of one (`person.name`,
    /// `people[3]`), or holds one. The empty path is the whole record.
    pub fn covers(&self, path: &str) -> bool {
        if self.fields.is_empty() {
            return false;
        }
        let path = without_items(path);
        path.is_empty() || self.fields.iter().any(|field| is_within(&path, field) || is_within(field, &path))
    }
}

fn is_within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// `a[3].b` is `a.b`: which item it is does not matter.
fn without_items(path: &str) -> String {
    let mut parts = path.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once(']').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::Withheld;

    #[test]
    fn covers_the_field_its_parts_and_what_holds_it() {
        let withheld = Withheld::new(["person.name".to_owned(), "phones".to_owned()]);
        for path in ["person.name", "person.name.first", "person", "", "phones", "phones[3]", "phones[0].number"] {
            assert!(withheld.covers(path), "{path}");
        }
        for path in ["person.names", "persons", "phone", "street", "streets[0]", "person.age"] {
            assert!(!withheld.covers(path), "{path}");
        }
        assert!(!Withheld::default().covers("") && !Withheld::default().covers("person"));
    }
}
