//! From the publisher to the canonical topic.

use std::collections::{HashMap, HashSet};

use super::{Finder, Kind};
use crate::history::Dataset;

/// What the validator says of an event that is not newer than what it has.
const STALE: &str = "version.stale";

pub(super) fn check(finder: &mut Finder<'_>, dataset: &Dataset) {
    let accepted: HashSet<&str> = dataset.canonical.iter().map(|event| event.published_as.as_str()).collect();
    let refused: HashSet<&str> = dataset.refused.iter().map(|event| event.published_as.as_str()).collect();
    // Backwards: the entities of which a later event was accepted.
    let mut passed = HashSet::new();
    for event in dataset.acknowledged.iter().rev() {
        let id = event.id.as_str();
        if accepted.contains(id) {
            passed.insert(event.key.as_str());
        } else if !refused.contains(id) {
            let kind = if passed.contains(event.key.as_str()) { Kind::Skipped } else { Kind::Lost };
            finder.note(kind, format!("{id} was acknowledged at {}, and has no outcome", event.at));
        }
    }
    let newest = canonical(finder, dataset);
    for event in &dataset.refused {
        let id = event.published_as.as_str();
        if accepted.contains(id) {
            finder.note(Kind::WronglyRefused, format!("{id} was accepted, and refused with {}", event.code));
            continue;
        }
        let Some(sequence) = event.sequence.filter(|_| event.code == STALE) else { continue };
        if newest.get(event.key.as_str()).is_none_or(|newest| *newest < sequence) {
            let key = &event.key;
            finder.note(Kind::WronglyRefused, format!("{id} was refused as old, but {key} has nothing newer"));
        }
    }
}

/// Order and number of the canonical events. Gives the newest sequence of each key.
fn canonical<'a>(finder: &mut Finder<'_>, dataset: &'a Dataset) -> HashMap<&'a str, u64> {
    let mut seen = HashSet::new();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for event in &dataset.canonical {
        if !seen.insert(event.id.as_str()) {
            finder.note(Kind::Duplicated, format!("{} was accepted twice", event.id));
            continue;
        }
        let Some(sequence) = event.sequence else { continue };
        let before = newest.entry(&event.key).or_insert(sequence);
        if *before > sequence {
            let what = format!("{} has sequence {sequence}, {} had {before} already", event.id, event.key);
            finder.note(Kind::StaleOverNew, what);
        }
        *before = (*before).max(sequence);
    }
    newest
}
