//! What has to change so that the bus's catalogue becomes what the files say.

mod display;
mod schemas;
mod views;

use std::collections::BTreeMap;

pub(crate) use schemas::incompatible;
pub use views::view_id;

use crate::catalog::Catalog;
use crate::diagnostic::Diagnostic;
use crate::entry::{Dataset, Entry};
use crate::source::{SourceCatalog, SourceDataset};
use crate::topic::{TopicSpec, topics_of};
use schemas::Registry;

/// One entry that is added, replaced or removed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    Add(Entry),
    Replace { before: Entry, after: Entry },
    Remove(Entry),
}

/// Everything that an apply does. Empty where files and bus agree.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangeSet {
    /// Additions and replacements in an order in which nothing refers to what comes after it, then removals.
    pub changes: Vec<Change>,
    /// Topics that this change creates, gives other settings, or no longer needs.
    pub topic_changes: Vec<TopicChange>,
    after: Catalog,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicChange {
    Create(TopicSpec),
    Alter {
        before: TopicSpec,
        after: TopicSpec,
    },
    /// No longer needed; kept, for nothing that was published is deleted by an apply.
    Keep(TopicSpec),
}

impl ChangeSet {
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The catalogue once the changes are made.
    pub fn after(&self) -> &Catalog {
        &self.after
    }

    pub fn into_after(self) -> Catalog {
        self.after
    }

    /// Every topic that the bus needs once the changes are made.
    pub fn topics(&self) -> Vec<TopicSpec> {
        topics_of(&self.after)
    }

    /// What to write, in order.
    pub fn puts(&self) -> Vec<Entry> {
        let put = |change: &Change| match change {
            Change::Add(entry) | Change::Replace { after: entry, .. } => Some(entry.clone()),
            Change::Remove(_) => None,
        };
        self.changes.iter().filter_map(put).collect()
    }

    /// Keys to remove.
    pub fn removals(&self) -> Vec<String> {
        let removal = |change: &Change| match change {
            Change::Remove(entry) => Some(entry.key()),
            Change::Add(_) | Change::Replace { .. } => None,
        };
        self.changes.iter().filter_map(removal).collect()
    }
}

/// Compares the files with the bus. Schema ids and views follow from both, so a second call with the result is empty.
///
/// # Errors
/// What may not be done: an incompatible schema; other partitions, key or version of a dataset that exists (each would need
/// its topics to be written anew).
pub fn diff(source: &SourceCatalog, current: &Catalog) -> Result<ChangeSet, Vec<Diagnostic>> {
    let mut refused = Vec::new();
    // Schemas stay for good: records that were written with them may still be read.
    let mut registry = Registry::new(&current.schemas);
    let mut after = Catalog { departments: source.departments.clone(), ..Catalog::default() };
    for (id, files) in &source.datasets {
        if let Some(before) = current.datasets.get(id) {
            refuse_migrations(before, files, &mut refused);
        }
        let schema_ids = registry.register_dataset(id, &files.schemas, &mut refused);
        after.datasets.insert(id.clone(), Dataset { schema_ids, ..files.dataset.clone() });
    }
    views::derive(source, &mut registry, &mut after, &mut refused);
    after.schemas = registry.into_schemas();
    if !refused.is_empty() {
        refused.sort();
        return Err(refused);
    }
    Ok(replace(current, after))
}

/// The change from one catalogue to another that is whole already, as a backup has it.
pub fn replace(current: &Catalog, after: Catalog) -> ChangeSet {
    let changes = changes(current, &after);
    let topic_changes = topic_changes(current, &after);
    ChangeSet { changes, topic_changes, after }
}

fn refuse_migrations(before: &Dataset, files: &SourceDataset, refused: &mut Vec<Diagnostic>) {
    let after = &files.dataset;
    if before.partitions != after.partitions {
        let message = format!(
            "the topics of {} have {} partitions, not {}: another number would put its keys elsewhere and lose their order",
            after.id, before.partitions, after.partitions
        );
        let mend =
            format!("keep `partitions: {}`, or make a new dataset and publish everything again", before.partitions);
        refused.push(Diagnostic::new(files.partitions_at.clone(), message, mend));
    }
    if before.key != after.key {
        let message = format!(
            "the key of {} is {} on the bus: another key would make every entity a new one",
            after.id,
            before.key.fields.join(", ")
        );
        let mend = "keep the key (fields and form), or make a new dataset and publish everything again";
        refused.push(Diagnostic::new(files.key_at.clone(), message, mend));
    }
    if before.version != after.version {
        let message = format!("the version of {} cannot change: old and new versions would not compare", after.id);
        let mend = "keep the version, or make a new dataset and publish everything again";
        refused.push(Diagnostic::new(files.version_at.clone(), message, mend));
    }
}

fn changes(current: &Catalog, after: &Catalog) -> Vec<Change> {
    let mut before: BTreeMap<String, Entry> = current.entries().map(|entry| (entry.key(), entry)).collect();
    let mut changes = Vec::new();
    for entry in after.entries() {
        match before.remove(&entry.key()) {
            None => changes.push(Change::Add(entry)),
            Some(old) if old != entry => changes.push(Change::Replace { before: old, after: entry }),
            Some(_) => {}
        }
    }
    let removed: Vec<Entry> = current.entries().filter(|entry| before.contains_key(&entry.key())).collect();
    changes.extend(removed.into_iter().rev().map(Change::Remove));
    changes
}

fn topic_changes(current: &Catalog, after: &Catalog) -> Vec<TopicChange> {
    // A bus without a catalogue has no topics yet.
    let before = if *current == Catalog::default() { Vec::new() } else { topics_of(current) };
    let mut before: BTreeMap<String, TopicSpec> = before.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
    let mut changes = Vec::new();
    for topic in topics_of(after) {
        match before.remove(&topic.name) {
            None => changes.push(TopicChange::Create(topic)),
            // A topic that may grow is never made smaller.
            Some(old) if topic.may_grow && old.settings == topic.settings && old.partitions >= topic.partitions => {}
            Some(old) if old != topic => changes.push(TopicChange::Alter { before: old, after: topic }),
            Some(_) => {}
        }
    }
    changes.extend(before.into_values().map(TopicChange::Keep));
    changes
}

#[cfg(test)]
mod tests;
