//! The whole catalogue as one immutable snapshot. Services hold it behind an atomic pointer and swap it.

use std::collections::BTreeMap;

use crate::entry::{Dataset, Department, Entry, Grant, SchemaVersion, View};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    pub departments: BTreeMap<String, Department>,
    pub datasets: BTreeMap<String, Dataset>,
    /// By schema id, as in the Confluent wire format.
    pub schemas: BTreeMap<u32, SchemaVersion>,
    pub grants: BTreeMap<String, Grant>,
    pub views: BTreeMap<String, View>,
}

impl Catalog {
    /// Takes one record of `freshet.catalog`: its key, and its value or `None` for a removal.
    pub fn take(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), EntryError> {
        match value {
            Some(value) => {
                let entry: Entry = serde_json::from_slice(value)
                    .map_err(|error| EntryError { key: key.to_owned(), reason: error.to_string() })?;
                self.insert(entry);
            }
            None => self.remove(key)?,
        }
        Ok(())
    }

    pub fn insert(&mut self, entry: Entry) {
        match entry {
            Entry::Department(department) => drop(self.departments.insert(department.id.clone(), department)),
            Entry::Dataset(dataset) => drop(self.datasets.insert(dataset.id.clone(), *dataset)),
            Entry::Schema(schema) => drop(self.schemas.insert(schema.id, schema)),
            Entry::Grant(grant) => drop(self.grants.insert(grant.id.clone(), *grant)),
            Entry::View(view) => drop(self.views.insert(view.id.clone(), view)),
        }
    }

    fn remove(&mut self, key: &str) -> Result<(), EntryError> {
        let unknown = || EntryError { key: key.to_owned(), reason: "not a key of the catalogue".to_owned() };
        let (kind, id) = key.split_once('/').ok_or_else(unknown)?;
        match kind {
            "department" => drop(self.departments.remove(id)),
            "dataset" => drop(self.datasets.remove(id)),
            "schema" => drop(self.schemas.remove(&id.parse().map_err(|_| unknown())?)),
            "grant" => drop(self.grants.remove(id)),
            "view" => drop(self.views.remove(id)),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Every entry, in the order in which they are written: what others refer to comes first.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let departments = self.departments.values().cloned().map(Entry::Department);
        let schemas = self.schemas.values().cloned().map(Entry::Schema);
        let datasets = self.datasets.values().cloned().map(|dataset| Entry::Dataset(Box::new(dataset)));
        let views = self.views.values().cloned().map(Entry::View);
        let grants = self.grants.values().cloned().map(|grant| Entry::Grant(Box::new(grant)));
        departments.chain(schemas).chain(datasets).chain(views).chain(grants)
    }

    /// The department that owns this CloudEvents `source`: the one with the longest of `sources` that the source equals, or
    /// goes on after with a separator (`urn:city:tax` owns `urn:city:tax:register`, not `urn:city:taxi`).
    pub fn department_of_source(&self, source: &str) -> Option<&Department> {
        self.departments
            .values()
            .flat_map(|department| department.sources.iter().map(move |prefix| (prefix, department)))
            .filter(|(prefix, _)| owns_source(prefix, source))
            .max_by_key(|(prefix, _)| prefix.len())
            .map(|(_, department)| department)
    }

    /// The grants that may be served at `now` (RFC 3339 date arithmetic is the caller's: `today` is a civil date).
    pub fn active_grants(&self, today: jiff::civil::Date) -> impl Iterator<Item = &Grant> {
        self.grants.values().filter(move |grant| grant.is_active_on(today))
    }
}

const SOURCE_SEPARATORS: [char; 4] = ['/', ':', '#', '?'];

fn owns_source(prefix: &str, source: &str) -> bool {
    source.strip_prefix(prefix).is_some_and(|rest| {
        rest.is_empty() || prefix.ends_with(SOURCE_SEPARATORS) || rest.starts_with(SOURCE_SEPARATORS)
    })
}

/// A record of `freshet.catalog` that cannot be read. Fatal for a service: it would otherwise work on half a catalogue.
#[derive(Debug, thiserror::Error)]
#[error("catalogue record {key}: {reason}")]
pub struct EntryError {
    pub key: String,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_belongs_to_the_longest_prefix_up_to_a_separator() {
        let mut catalog = Catalog::default();
        for (id, sources) in [("city", &["urn:city"][..]), ("tax", &["urn:city:tax", "https://tax.example/"])] {
            let sources = sources.iter().map(|source| (*source).to_owned()).collect();
            let department = Department { id: id.to_owned(), title: Default::default(), uscc: None, sources };
            catalog.insert(Entry::Department(department));
        }
        for (source, expected) in [
            ("urn:city", Some("city")),
            ("urn:city:tax", Some("tax")),
            ("urn:city:tax/register", Some("tax")),
            ("urn:city:taxi", Some("city")),
            ("urn:cityhall", None),
            ("https://tax.example/vat", Some("tax")),
            ("https://tax.example.evil/", None),
            ("", None),
        ] {
            let owner = catalog.department_of_source(source).map(|department| department.id.as_str());
            assert_eq!(owner, expected, "{source}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error() {
        let mut catalog = Catalog::default();
        assert!(catalog.take("grant/x", Some(b"{")).is_err());
        assert!(catalog.take("planet/x", None).is_err());
        assert!(catalog.take("schema/x", None).is_err());
        assert!(catalog.take("grant/x", None).is_ok());
    }
}
