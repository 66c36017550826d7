//! Says what is wrong with a history. Pure: no clock, no chance, no I/O.

mod dataset;
mod grant;

use std::collections::BTreeMap;

use crate::history::History;

/// How long after its end a grant may still be delivered for (README, P9).
pub const END_LIMIT_MS: i64 = 5_000;

/// What the bus promises never to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Acknowledged, but neither accepted nor refused; or due to a subscriber, but not delivered.
    Lost,
    /// The same, though a later event of its entity went on: it is not on its way any more.
    Skipped,
    /// Accepted twice, or delivered twice where once is promised.
    Duplicated,
    /// Delivered in another order than that of its key.
    Reordered,
    /// An older state of an entity over a newer one.
    StaleOverNew,
    /// A field that the grant does not name.
    FieldOutsideGrant,
    /// A row that the grant's filter does not take.
    RowOutsideGrant,
    /// Delivered more than 5 s after the grant's end.
    AfterEnd,
    /// One event of a webhook under two message ids.
    SecondId,
    /// Two events of a webhook under one message id: a subscriber that knows the id drops the second.
    ReusedId,
    /// Delivered with other contents, or an event that nobody published.
    Altered,
    /// Both accepted and refused, or refused as old though nothing newer was accepted.
    WronglyRefused,
}

impl Kind {
    pub const ALL: [Self; 12] = [
        Self::Lost,
        Self::Skipped,
        Self::Duplicated,
        Self::Reordered,
        Self::StaleOverNew,
        Self::FieldOutsideGrant,
        Self::RowOutsideGrant,
        Self::AfterEnd,
        Self::SecondId,
        Self::ReusedId,
        Self::Altered,
        Self::WronglyRefused,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Skipped => "skipped",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::StaleOverNew => "stale over new",
            Self::FieldOutsideGrant => "field outside the grant",
            Self::RowOutsideGrant => "row outside the grant",
            Self::AfterEnd => "after the grant's end",
            Self::SecondId => "second message id",
            Self::ReusedId => "reused message id",
            Self::Altered => "altered",
            Self::WronglyRefused => "wrongly refused",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    /// A dataset or a grant.
    pub place: String,
    /// The event, and what is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.kind.name(), self.place, self.what)
    }
}

/// Every violation. While the bus still works, what is on its way counts as lost.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for (name, dataset) in &history.datasets {
        dataset::check(&mut Finder { place: name, found: &mut found }, dataset);
    }
    for grant in &history.grants {
        let Some(dataset) = history.datasets.get(&grant.dataset) else { continue };
        grant::check(&mut Finder { place: &grant.grant, found: &mut found }, grant, dataset);
    }
    found
}

/// How often each kind was found.
pub fn count(violations: &[Violation]) -> BTreeMap<Kind, usize> {
    let mut counts: BTreeMap<Kind, usize> = Kind::ALL.iter().map(|kind| (*kind, 0)).collect();
    for violation in violations {
        *counts.entry(violation.kind).or_default() += 1;
    }
    counts
}

struct Finder<'a> {
    place: &'a str,
    found: &'a mut Vec<Violation>,
}

impl Finder<'_> {
    fn note(&mut self, kind: Kind, what: impl Into<String>) {
        self.found.push(Violation { kind, place: self.place.to_owned(), what: what.into() });
    }
}
