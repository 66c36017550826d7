//! The catalogue as a Confluent Schema Registry: subjects, versions, ids.

use freshet_catalog_model::{Catalog, SchemaVersion};

/// The names of all subjects, sorted.
pub fn subjects(catalog: &Catalog) -> Vec<&str> {
    let mut subjects: Vec<&str> = catalog.schemas.values().map(|schema| schema.subject.as_str()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    subjects
}

/// The versions of a subject, ascending; empty where there is no such subject.
pub fn versions<'a>(catalog: &'a Catalog, subject: &str) -> Vec<&'a SchemaVersion> {
    let mut versions: Vec<&SchemaVersion> =
        catalog.schemas.values().filter(|schema| schema.subject == subject).collect();
    versions.sort_by_key(|schema| schema.version);
    versions
}

/// `latest`, `-1`, or a number.
pub fn version<'a>(catalog: &'a Catalog, subject: &str, which: &str) -> Result<&'a SchemaVersion, Missing> {
    let versions = versions(catalog, subject);
    let Some(latest) = versions.last() else { return Err(Missing::Subject) };
    if which == "latest" || which == "-1" {
        return Ok(latest);
    }
    let number: u32 = which.parse().ok().filter(|number| *number > 0).ok_or(Missing::BadVersion)?;
    versions.iter().find(|schema| schema.version == number).copied().ok_or(Missing::Version)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Subject,
    Version,
    BadVersion,
}
