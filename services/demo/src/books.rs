//! The books, counted at the receiving ends: what departments sent, what readers of the canonical and reject topics
//! found, what each subscriber holds. Pure, so that the tests can plant every kind of mistake.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::filter::Filter;

/// What names one event.
pub type EventId = String;

/// An event that was accepted, as a reader of `dataset.<dataset>` found it, in the order of its partition.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// What subscribers know it by: its CloudEvents `id`.
    pub id: EventId,
    /// What its publisher knows it by: the same, or the place in its file.
    pub published_as: EventId,
    pub key: String,
    /// The row, decoded. None: deleted.
    pub row: Option<serde_json::Value>,
    /// `ce_sequence`, where it has one.
    pub sequence: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Rejected {
    /// What its publisher knows it by.
    pub published_as: EventId,
    /// (code, the clerk's sentence) of the first violation.
    pub reason: (String, String),
}

/// What was sent for one dataset and what became of it.
#[derive(Debug, Clone, Default)]
pub struct DatasetPages {
    pub published: HashSet<EventId>,
    pub accepted: Vec<Accepted>,
    pub rejected: Vec<Rejected>,
}

/// One thing that a subscriber received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub id: EventId,
    pub key: String,
    /// The row left the subscriber's filter, or was deleted.
    pub is_removal: bool,
}

/// What a subscriber holds.
#[derive(Debug, Clone)]
pub enum Received {
    /// Every event, in the order of arrival. `may_repeat`: delivered at least once (webhook), so that the same event
    /// again is no mistake.
    Events { arrivals: Vec<Arrival>, may_repeat: bool },
    /// A table: for each key the event that wrote its row.
    Table(HashMap<String, EventId>),
}

/// One grant, with what its subscriber received.
#[derive(Debug)]
pub struct GrantPages {
    pub grant: String,
    pub subscriber: String,
    pub way: String,
    pub dataset: String,
    pub filter: Filter,
    /// The first parts of the granted paths.
    pub granted_fields: BTreeSet<String>,
    /// Names of fields that arrived.
    pub seen_fields: BTreeSet<String>,
    pub received: Received,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatasetLine {
    pub published: usize,
    pub accepted: usize,
    pub rejected: usize,
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantLine {
    pub grant: String,
    pub subscriber: String,
    pub way: String,
    pub dataset: String,
    pub due: usize,
    pub delivered: usize,
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Books {
    pub datasets: BTreeMap<String, DatasetLine>,
    pub grants: Vec<GrantLine>,
    /// (dataset, code) → how many, and the first sentence.
    pub reasons: BTreeMap<(String, String), (usize, String)>,
}

impl Books {
    pub fn balance(&self) -> bool {
        self.datasets.values().all(|line| line.problems.is_empty())
            && self.grants.iter().all(|line| line.problems.is_empty())
    }
}

/// Does the sums.
pub fn close(datasets: &BTreeMap<String, DatasetPages>, grants: &[GrantPages]) -> Books {
    let mut books = Books::default();
    for (name, pages) in datasets {
        books.datasets.insert(name.clone(), close_dataset(pages));
        // What is sent twice is refused twice, and counted once.
        let mut counted = HashSet::new();
        for rejected in pages.rejected.iter().filter(|event| counted.insert(event.published_as.as_str())) {
            let (code, sentence) = &rejected.reason;
            let entry = books.reasons.entry((name.clone(), code.clone())).or_insert_with(|| (0, sentence.clone()));
            entry.0 += 1;
        }
    }
    let none = DatasetPages::default();
    for pages in grants {
        books.grants.push(close_grant(pages, datasets.get(&pages.dataset).unwrap_or(&none)));
    }
    books
}

fn close_dataset(pages: &DatasetPages) -> DatasetLine {
    let accepted: HashSet<&str> = pages.accepted.iter().map(|event| event.published_as.as_str()).collect();
    let rejected: HashSet<&str> = pages.rejected.iter().map(|event| event.published_as.as_str()).collect();
    let mut problems = Problems::default();
    for id in &pages.published {
        match (accepted.contains(id.as_str()), rejected.contains(id.as_str())) {
            (false, false) => problems.note("lost (neither accepted nor rejected)", id),
            (true, true) => problems.note("both accepted and rejected", id),
            _ => {}
        }
    }
    for id in accepted.union(&rejected) {
        if !pages.published.contains(*id) {
            problems.note("never published", id);
        }
    }
    let mut seen = HashSet::new();
    let mut last: HashMap<&str, u64> = HashMap::new();
    for event in &pages.accepted {
        if !seen.insert(event.id.as_str()) {
            problems.note("accepted twice", &event.id);
        }
        if let Some(sequence) = event.sequence {
            if last.get(event.key.as_str()).is_some_and(|before| *before >= sequence) {
                problems.note("stepped back behind an event of its key", &event.id);
            }
            last.insert(&event.key, sequence);
        }
    }
    DatasetLine {
        published: pages.published.len(),
        accepted: accepted.len(),
        rejected: rejected.len(),
        problems: problems.lines(),
    }
}

/// What a grant must receive, per key in order: every row that its filter takes, and a removal for one that left. A
/// grant of every row is due every change, also the deletion of a row that was never seen to be created (a register is
/// older than its joining the bus).
pub fn due<'a>(filter: &Filter, accepted: impl IntoIterator<Item = &'a Accepted>) -> Vec<Arrival> {
    let mut inside = HashSet::new();
    let mut due = Vec::new();
    for event in accepted {
        if let Some(is_removal) = is_due(filter, &mut inside, event) {
            due.push(Arrival { id: event.id.clone(), key: event.key.clone(), is_removal });
        }
    }
    due
}

/// Whether one event is due, and as what. `inside`: keys of the rows that the subscriber has.
pub fn is_due(filter: &Filter, inside: &mut HashSet<String>, event: &Accepted) -> Option<bool> {
    let takes = event.row.as_ref().is_some_and(|row| filter.takes(row));
    if takes {
        inside.insert(event.key.clone());
        return Some(false);
    }
    let was_inside = inside.remove(&event.key);
    (was_inside || *filter == Filter::All).then_some(true)
}

fn close_grant(pages: &GrantPages, dataset: &DatasetPages) -> GrantLine {
    let due = due(&pages.filter, &dataset.accepted);
    let mut problems = Problems::default();
    let (due_count, delivered) = match &pages.received {
        Received::Events { arrivals, may_repeat } => {
            compare_events(&due, arrivals, *may_repeat, &mut problems);
            let distinct: HashSet<&str> = arrivals.iter().map(|arrival| arrival.id.as_str()).collect();
            (due.len(), distinct.len())
        }
        Received::Table(rows) => {
            let mut expected: HashMap<&str, &str> = HashMap::new();
            for event in &due {
                if event.is_removal {
                    expected.remove(event.key.as_str());
                } else {
                    expected.insert(&event.key, &event.id);
                }
            }
            compare_table(&expected, rows, &mut problems);
            (expected.len(), rows.len())
        }
    };
    for name in pages.seen_fields.difference(&pages.granted_fields) {
        problems.note("more than granted", &format!("field {name}"));
    }
    GrantLine {
        grant: pages.grant.clone(),
        subscriber: pages.subscriber.clone(),
        way: pages.way.clone(),
        dataset: pages.dataset.clone(),
        due: due_count,
        delivered,
        problems: problems.lines(),
    }
}

fn compare_events(due: &[Arrival], arrivals: &[Arrival], may_repeat: bool, problems: &mut Problems) {
    let expected: HashMap<&str, &Arrival> = due.iter().map(|event| (event.id.as_str(), event)).collect();
    let mut arrived: HashSet<&str> = HashSet::new();
    let mut order: HashMap<&str, Vec<&str>> = HashMap::new();
    for arrival in arrivals {
        if !arrived.insert(&arrival.id) {
            if !may_repeat {
                problems.note("delivered twice", &arrival.id);
            }
            continue;
        }
        match expected.get(arrival.id.as_str()) {
            None => problems.note("delivered, but not due", &arrival.id),
            Some(event) => {
                if event.key != arrival.key || event.is_removal != arrival.is_removal {
                    problems.note("delivered as something else", &arrival.id);
                }
                order.entry(&event.key).or_default().push(&arrival.id);
            }
        }
    }
    let mut due_order: HashMap<&str, Vec<&str>> = HashMap::new();
    for event in due {
        if arrived.contains(event.id.as_str()) {
            due_order.entry(&event.key).or_default().push(&event.id);
        } else {
            problems.note("due, but not delivered", &event.id);
        }
    }
    for (key, ids) in &order {
        if due_order.get(key).is_some_and(|expected| expected != ids) {
            problems.note("out of order for its key", ids[0]);
        }
    }
}

fn compare_table(expected: &HashMap<&str, &str>, rows: &HashMap<String, EventId>, problems: &mut Problems) {
    for (key, id) in expected {
        match rows.get(*key) {
            None => problems.note("no row in the table", id),
            Some(found) if found != id => problems.note("the row is not of the newest event", id),
            Some(_) => {}
        }
    }
    for (key, id) in rows {
        if !expected.contains_key(key.as_str()) {
            problems.note("a row that should not be there", id);
        }
    }
}

/// Kinds of problem with a count and one example each.
#[derive(Debug, Default)]
struct Problems {
    found: BTreeMap<&'static str, (usize, String)>,
}

impl Problems {
    fn note(&mut self, kind: &'static str, example: &str) {
        self.found.entry(kind).or_insert_with(|| (0, example.to_owned())).0 += 1;
    }

    fn lines(self) -> Vec<String> {
        self.found.into_iter().map(|(kind, (count, example))| format!("{count} {kind}, e.g. {example}")).collect()
    }
}

#[cfg(test)]
mod tests;
