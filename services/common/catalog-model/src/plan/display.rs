//! A change set for people, in the manner of terraform: `+` is added, `~` is changed, `-` is removed.

use serde_json::Value;

use super::{Change, ChangeSet, TopicChange};
use crate::entry::Entry;
use crate::topic::TopicSpec;

/// A longer value is cut: a schema is not read in a diff of one line.
const SHOWN: usize = 100;

impl ChangeSet {
    /// What an apply does, one line a change, with further lines (indented) for what differs.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for change in &self.changes {
            match change {
                Change::Add(entry) => lines.push(format!("+ {}", name(entry))),
                Change::Remove(entry) => lines.push(format!("- {}", name(entry))),
                Change::Replace { before, after } => {
                    lines.push(format!("~ {}", name(after)));
                    differences(&json(before), &json(after), "", &mut lines);
                }
            }
        }
        lines.extend(self.topic_changes.iter().map(topic_line));
        lines
    }

    fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for change in &self.changes {
            counts[match change {
                Change::Add(_) => 0,
                Change::Replace { .. } => 1,
                Change::Remove(_) => 2,
            }] += 1;
        }
        counts
    }
}

impl std::fmt::Display for ChangeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() && self.topic_changes.is_empty() {
            return writeln!(f, "No changes: the bus has what the files say.");
        }
        for line in self.lines() {
            writeln!(f, "{line}")?;
        }
        let [add, change, remove] = self.counts();
        writeln!(f, "{add} to add, {change} to change, {remove} to remove.")
    }
}

fn name(entry: &Entry) -> String {
    match entry {
        Entry::Department(department) => format!("department {}", department.id),
        Entry::Dataset(dataset) => format!("dataset {}", dataset.id),
        Entry::Schema(schema) => format!("schema {} (id {}, version {})", schema.subject, schema.id, schema.version),
        Entry::Grant(grant) => format!("grant {}: {} reads {}", grant.id, grant.subscriber, grant.view),
        Entry::View(view) => format!("view {}: {}", view.id, view.fields.join(", ")),
    }
}

fn json(entry: &Entry) -> Value {
    serde_json::to_value(entry).unwrap_or_default()
}

fn differences(before: &Value, after: &Value, path: &str, lines: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        lines.push(format!("    {path}: {} -> {}", shown(before), shown(after)));
        return;
    };
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (old.get(key), new.get(key)) {
            (Some(old), Some(new)) => differences(old, new, &path, lines),
            (old, new) => lines.push(format!("    {path}: {} -> {}", shown_or_none(old), shown_or_none(new))),
        }
    }
}

fn shown_or_none(value: Option<&Value>) -> String {
    value.map_or_else(|| "(none)".to_owned(), shown)
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn topic_line(change: &TopicChange) -> String {
    match change {
        TopicChange::Create(topic) => {
            format!("+ topic {} ({} partitions, {})", topic.name, topic.partitions, settings(topic))
        }
        TopicChange::Alter { before, after } if before.partitions < after.partitions => {
            format!("~ topic {} ({} -> {} partitions)", after.name, before.partitions, after.partitions)
        }
        TopicChange::Alter { before, after } => {
            format!("~ topic {} ({} -> {})", after.name, settings(before), settings(after))
        }
        TopicChange::Keep(topic) => {
            format!("  topic {} is no longer used; it is kept with all that is in it", topic.name)
        }
    }
}

fn settings(topic: &TopicSpec) -> String {
    let settings: Vec<String> = topic.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    settings.join(", ")
}
