//! A catalogue folder after reading: what people wrote, without what the bus adds (schema ids, views).

use std::collections::BTreeMap;

use crate::diagnostic::Place;
use crate::entry::{Dataset, Department, Grant};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceCatalog {
    pub departments: BTreeMap<String, Department>,
    pub datasets: BTreeMap<String, SourceDataset>,
    /// Their `view` is still empty.
    pub grants: BTreeMap<String, Grant>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SourceDataset {
    /// Its `schema_ids` are still empty.
    pub dataset: Dataset,
    /// Oldest first; the last is today's. Never empty.
    pub schemas: Vec<SourceSchema>,
    /// Where these stand, for a refusal to change them.
    pub partitions_at: Place,
    pub key_at: Place,
    pub version_at: Place,
    /// Where `mapping` stands, for what only the engine of mappings can refuse.
    pub mapping_at: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSchema {
    /// Relative to the catalogue's folder.
    pub file: String,
    /// The file's text.
    pub avsc: String,
}
