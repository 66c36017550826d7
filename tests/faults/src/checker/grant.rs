//! From the canonical topic to one subscriber.

use std::collections::{HashMap, HashSet};

use freshet_demo::books::{self, Accepted};

use super::{END_LIMIT_MS, Finder, Kind};
use crate::history::{self, Canonical, Dataset, Delivery, GrantHistory, Way};

/// What a subscriber must receive, in order.
struct Due<'a> {
    event: &'a Canonical,
    is_removal: bool,
}

pub(super) fn check(finder: &mut Finder<'_>, grant: &GrantHistory, dataset: &Dataset) {
    let due = due(grant, dataset);
    for delivery in &grant.deliveries {
        for field in delivery.fields.difference(&grant.fields) {
            finder.note(Kind::FieldOutsideGrant, format!("{} came with {field}", delivery.event));
        }
        if let Some(ended) = grant.ended.filter(|ended| delivery.at > ended + END_LIMIT_MS) {
            let late = delivery.at - ended;
            finder.note(Kind::AfterEnd, format!("{} came {late} ms after the end", delivery.event));
        }
    }
    match grant.way {
        Way::Table => table(finder, grant, &due),
        Way::Once | Way::AtLeastOnce => events(finder, grant, &due, dataset),
    }
    let mut bearers: HashMap<&str, &str> = HashMap::new();
    for delivery in &grant.deliveries {
        let Some(message) = &delivery.message else { continue };
        let (event, bearer) = (delivery.event.as_str(), *bearers.entry(message).or_insert(&delivery.event));
        if bearer != event {
            finder.note(Kind::ReusedId, format!("{event} came as {message}, which was {bearer}"));
        }
    }
}

fn due<'a>(grant: &GrantHistory, dataset: &'a Dataset) -> Vec<Due<'a>> {
    let mut inside = HashSet::new();
    let mut due = Vec::new();
    let mut seen = HashSet::new();
    for event in &dataset.canonical {
        // An event that was accepted twice is told there.
        if !seen.insert(event.id.as_str()) {
            continue;
        }
        let accepted = Accepted {
            id: event.id.clone(),
            published_as: String::new(),
            key: event.key.clone(),
            row: event.row.clone(),
            sequence: event.sequence,
        };
        if let Some(is_removal) = books::is_due(&grant.filter, &mut inside, &accepted) {
            due.push(Due { event, is_removal });
        }
    }
    due
}

fn events(finder: &mut Finder<'_>, grant: &GrantHistory, due: &[Due<'_>], dataset: &Dataset) {
    let expected: HashMap<&str, (usize, &Due<'_>)> =
        due.iter().enumerate().map(|(place, due)| (due.event.id.as_str(), (place, due))).collect();
    let known: HashSet<&str> = dataset.canonical.iter().map(|event| event.id.as_str()).collect();
    let mut first: HashMap<&str, &Delivery> = HashMap::new();
    // By key: the place of the furthest that came, and of the last that came.
    let mut reached: HashMap<&str, (usize, usize)> = HashMap::new();
    for delivery in &grant.deliveries {
        let id = delivery.event.as_str();
        let Some((place, due)) = expected.get(id) else {
            let (kind, why) = match known.contains(id) {
                true => (Kind::RowOutsideGrant, "is not due"),
                false => (Kind::Altered, "is an event that was never accepted"),
            };
            finder.note(kind, format!("{id} {why}"));
            continue;
        };
        if let Some(before) = first.insert(id, delivery) {
            if grant.way == Way::Once {
                finder.note(Kind::Duplicated, format!("{id} came at {} and at {}", before.at, delivery.at));
            } else if before.message != delivery.message {
                let (one, other) = (&before.message, &delivery.message);
                finder.note(Kind::SecondId, format!("{id} came as {one:?} and as {other:?}"));
            }
            if let Some((_, last)) = reached.get_mut(due.event.key.as_str()) {
                *last = *place;
            }
            continue;
        }
        if delivery.key != due.event.key || delivery.is_removal != due.is_removal {
            finder.note(Kind::Altered, format!("{id} came as {} of {}", verb(delivery), delivery.key));
        } else if let (Some(found), Some(row)) = (delivery.content, &due.event.row)
            && !delivery.is_removal
            && found != history::content(row, &grant.plain_fields)
        {
            finder.note(Kind::Altered, format!("{id} came with other contents"));
        }
        let (furthest, last) = reached.entry(&due.event.key).or_insert((*place, *place));
        if *place < *furthest {
            let before = &due_at(grant, *furthest, &expected);
            finder.note(Kind::Reordered, format!("{id} of {} came behind {before}", due.event.key));
        }
        (*furthest, *last) = ((*furthest).max(*place), *place);
    }
    for (key, (furthest, last)) in reached {
        // Repeats that the end of the grant broke off end anywhere. Their receiver knows them by their ids.
        if last < furthest && grant.ended.is_none() {
            finder.note(Kind::StaleOverNew, format!("the last that came of {key} is not its newest"));
        }
    }
    // What a grant was due at its end is not decided: the last seconds may or may not have been delivered.
    if grant.ended.is_none() {
        let mut passed = HashSet::new();
        for due in due.iter().rev() {
            let (id, key) = (due.event.id.as_str(), due.event.key.as_str());
            if first.contains_key(id) {
                passed.insert(key);
            } else {
                let kind = if passed.contains(key) { Kind::Skipped } else { Kind::Lost };
                finder.note(kind, format!("{id} of {key} was due"));
            }
        }
    }
}

fn due_at<'a>(grant: &'a GrantHistory, place: usize, expected: &HashMap<&str, (usize, &Due<'_>)>) -> &'a str {
    let found = grant
        .deliveries
        .iter()
        .find(|delivery| expected.get(delivery.event.as_str()).is_some_and(|(found, _)| *found == place));
    found.map_or("a later one", |delivery| delivery.event.as_str())
}

fn verb(delivery: &Delivery) -> &'static str {
    if delivery.is_removal { "a removal" } else { "a row" }
}

/// Each key's writes must be those that are due: each once, in order, and none missing. A removal shows only where there
/// was a row.
fn table(finder: &mut Finder<'_>, grant: &GrantHistory, due: &[Due<'_>]) {
    let mut expected: HashMap<&str, Vec<&str>> = HashMap::new();
    for due in due {
        let writes = expected.entry(&due.event.key).or_default();
        match due.is_removal {
            true if writes.last().is_none_or(|last| last.is_empty()) => {}
            true => writes.push(""),
            false => writes.push(&due.event.id),
        }
    }
    let mut found: HashMap<&str, Vec<&str>> = HashMap::new();
    for delivery in &grant.deliveries {
        found.entry(&delivery.key).or_default().push(if delivery.is_removal { "" } else { &delivery.event });
    }
    for (key, writes) in &found {
        let Some(expected) = expected.get(key) else {
            finder.note(Kind::RowOutsideGrant, format!("{key} is a row that is not due"));
            continue;
        };
        one_row(finder, key, expected, writes);
    }
    if grant.ended.is_none() {
        for (key, expected) in &expected {
            for id in expected.iter().skip(found.get(key).map_or(0, Vec::len)) {
                finder.note(Kind::Lost, format!("{id:?} of {key} was due"));
            }
        }
    }
}

fn one_row(finder: &mut Finder<'_>, key: &str, expected: &[&str], writes: &[&str]) {
    let place: HashMap<&str, usize> =
        expected.iter().enumerate().filter(|(_, id)| !id.is_empty()).map(|(place, id)| (*id, place)).collect();
    let mut seen = HashSet::new();
    let mut furthest = None;
    for id in writes.iter().filter(|id| !id.is_empty()) {
        match place.get(id) {
            None => finder.note(Kind::RowOutsideGrant, format!("{id} of {key} is not due")),
            Some(_) if !seen.insert(*id) => finder.note(Kind::Duplicated, format!("{id} of {key} was written twice")),
            Some(place) if furthest.is_some_and(|furthest| *place < furthest) => {
                finder.note(Kind::Reordered, format!("{id} of {key} was written behind a later one"));
            }
            Some(place) => furthest = Some(*place),
        }
    }
    let is_whole = writes.len() == expected.len();
    if is_whole && writes.last() != expected.last() {
        finder.note(Kind::StaleOverNew, format!("the row {key} is not of its newest event"));
    }
}
