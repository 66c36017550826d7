//! Which id and version a schema has.

use std::collections::BTreeMap;

use freshet_avro::compatibility;
use freshet_core::topics;

use crate::avsc::field_place;
use crate::diagnostic::{Diagnostic, Place};
use crate::entry::SchemaVersion;
use crate::schema::canonical;
use crate::source::SourceSchema;

/// The registered schemas and those that an apply adds.
#[derive(Debug)]
pub struct Registry {
    schemas: BTreeMap<u32, SchemaVersion>,
}

/// As Confluent clients name it.
fn subject(topic: &str) -> String {
    format!("{topic}-value")
}

impl Registry {
    pub fn new(current: &BTreeMap<u32, SchemaVersion>) -> Self {
        Self { schemas: current.clone() }
    }

    pub fn into_schemas(self) -> BTreeMap<u32, SchemaVersion> {
        self.schemas
    }

    /// The ids of all versions of a dataset's schema, today's last.
    pub fn register_dataset(
        &mut self,
        dataset: &str,
        files: &[SourceSchema],
        refused: &mut Vec<Diagnostic>,
    ) -> Vec<u32> {
        let subject = subject(&topics::publish(dataset));
        let mut today = None;
        for file in files {
            today = self.find(&subject, &file.avsc);
            if today.is_none() {
                self.check(&subject, file, refused);
                today = Some(self.add(&subject, &file.avsc));
            }
        }
        let mut ids: Vec<u32> = self.versions(&subject).iter().map(|schema| schema.id).collect();
        // Somebody may have gone back to an earlier version: each is compatible with each.
        if let Some(today) = today {
            ids.retain(|id| *id != today);
            ids.push(today);
        }
        ids
    }

    /// The id of a view's schema.
    pub fn register_view(&mut self, view: &str, avsc: &str) -> u32 {
        let subject = subject(&topics::view(view));
        self.find(&subject, avsc).unwrap_or_else(|| self.add(&subject, avsc))
    }

    fn versions(&self, subject: &str) -> Vec<&SchemaVersion> {
        let mut versions: Vec<&SchemaVersion> =
            self.schemas.values().filter(|schema| schema.subject == subject).collect();
        versions.sort_by_key(|schema| schema.version);
        versions
    }

    fn find(&self, subject: &str, avsc: &str) -> Option<u32> {
        let wanted = canonical(avsc);
        let versions = self.versions(subject);
        versions.iter().rev().find(|schema| canonical(&schema.avsc) == wanted).map(|schema| schema.id)
    }

    fn add(&mut self, subject: &str, avsc: &str) -> u32 {
        let id = self.schemas.keys().next_back().map_or(1, |last| last + 1);
        let version = self.versions(subject).last().map_or(1, |last| last.version + 1);
        let schema = SchemaVersion { id, subject: subject.to_owned(), version, avsc: avsc.to_owned() };
        self.schemas.insert(id, schema);
        id
    }

    fn check(&self, subject: &str, file: &SourceSchema, refused: &mut Vec<Diagnostic>) {
        let versions = self.versions(subject);
        let previous: Vec<&str> = versions.iter().map(|schema| schema.avsc.as_str()).collect();
        refused.extend(incompatible(&previous, file));
    }
}

/// What keeps the schema from following the earlier ones.
pub fn incompatible(previous: &[&str], file: &SourceSchema) -> Vec<Diagnostic> {
    let reasons = compatibility::check(previous, &file.avsc).err().unwrap_or_default();
    let refuse = |reason: compatibility::Incompatibility| {
        let (place, message) = match reason.path.as_str() {
            "" => (Place::file(&file.file), reason.message),
            path => (field_place(file, path), format!("field {path}: {}", reason.message)),
        };
        let mend = "records of every version must be readable with every other: add fields with a default, change \
                    nothing else, or make a new dataset";
        Diagnostic::new(place, message, mend)
    };
    reasons.into_iter().map(refuse).collect()
}
