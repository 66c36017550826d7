//! Partitions that the group gave to nobody. Its leader gives out the topics that one answer of a broker lists; a broker that
//! has just come back may not list one, and nobody joins again for it, since what the client compares is a list of its own
//! (librdkafka 2.12, `rd_kafka_cgrp_assignor_run` and `rd_kafka_cgrp_metadata_update_check`). No member would read them, and
//! nobody's lag would grow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;

use super::Member;
use super::stalls::Place;
use crate::calls::bounded;
use crate::offsets::Offsets;
use crate::{Aside, Error, describe};

/// Between two looks. A partition that is new must have been given to somebody by the second: clients look for new ones every
/// few seconds (`topic.metadata.refresh.interval.ms`).
const EVERY: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Unassigned {
    topics: Vec<String>,
    /// What nobody had at the last look.
    seen: BTreeSet<Place>,
    looked: Instant,
    looking: Aside<BTreeSet<Place>>,
}

impl Default for Unassigned {
    fn default() -> Self {
        Self { topics: Vec::new(), seen: BTreeSet::new(), looked: Instant::now(), looking: Aside::default() }
    }
}

impl Unassigned {
    pub(super) fn subscribed(&mut self, topics: &[String]) {
        *self = Self { topics: topics.to_vec(), ..Self::default() };
    }

    fn is_due(&self) -> bool {
        !self.topics.is_empty() && self.looked.elapsed() >= EVERY
    }

    #[cfg(test)]
    pub(super) fn is_due_at_once(&mut self) {
        self.looked -= EVERY;
    }

    #[cfg(test)]
    pub(super) fn is_looking(&self) -> bool {
        self.looking.is_asked()
    }

    /// What this member holds changes.
    pub(super) fn forget(&mut self) {
        self.looking.forget();
    }

    /// Of what nobody has now, the first that nobody had at the last look either.
    fn look(&mut self, missing: BTreeSet<Place>) -> Option<Place> {
        let found = missing.intersection(&self.seen).next().cloned();
        self.seen = missing;
        found
    }
}

/// What nobody holds, as far as that is known. `partitions` is how many there are by topic; `own` is what this member holds,
/// and `of_group` gives what all of them do, or nothing where that is not known.
fn missing(
    partitions: &BTreeMap<String, i32>,
    own: &BTreeSet<Place>,
    of_group: impl FnOnce() -> Option<BTreeSet<Place>>,
) -> BTreeSet<Place> {
    let all = partitions.iter().flat_map(|(topic, &count)| (0..count).map(move |number| (topic.clone(), number)));
    let mut missing: BTreeSet<Place> = all.filter(|place| !own.contains(place)).collect();
    if !missing.is_empty() {
        match of_group() {
            Some(held) => missing.retain(|place| !held.contains(place)),
            None => missing.clear(),
        }
    }
    missing
}

/// The same, asked of the cluster.
fn ask(offsets: &Offsets, group: &str, topics: &[String], own: &BTreeSet<Place>) -> BTreeSet<Place> {
    let client = offsets.client();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let partitions = match bounded("count the partitions", || describe::topics(client, &topics, TIMEOUT)) {
        Ok(found) => found.into_iter().map(|(name, topic)| (name, topic.partitions)).collect(),
        Err(error) => {
            tracing::debug!(%error, "the partitions are counted again");
            BTreeMap::new()
        }
    };
    missing(&partitions, own, || match bounded("list the members", || describe::assignments(client, group, TIMEOUT)) {
        Ok(held) => held,
        Err(error) => {
            tracing::debug!(%error, "the members are listed again");
            None
        }
    })
}

impl Member {
    /// To be called again and again: a partition that no member of the group has, once it is found out.
    /// [`Member::join_again`] is what helps. Asks the brokers once a minute.
    pub(crate) fn unassigned(&mut self) -> Option<String> {
        if self.unassigned.is_due() {
            self.unassigned.looked = Instant::now();
            let assigned = bounded("list the assigned partitions", || self.consumer().assignment()).ok()?;
            let own = assigned.elements().iter().map(|at| (at.topic().to_owned(), at.partition())).collect();
            let (offsets, group) = (Arc::clone(&self.offsets), self.group.clone());
            let topics = self.unassigned.topics.clone();
            self.unassigned.looking.ask(move || ask(&offsets, &group, &topics, &own));
        }
        let missing = self.unassigned.looking.answer()?;
        let (topic, partition) = self.unassigned.look(missing)?;
        Some(format!("no member of the group has {topic}[{partition}]: it is joined again"))
    }

    /// Leaves the group and joins it, so that all partitions are given out anew. What this member has is taken from it by
    /// [`Event::Revoked`](super::Event::Revoked).
    pub(crate) fn join_again(&mut self) -> Result<(), Error> {
        let topics = std::mem::take(&mut self.unassigned.topics);
        self.subscribe(&[])?;
        self.subscribe(&topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(topic: &str, partition: i32) -> Place {
        (topic.to_owned(), partition)
    }

    fn held(places: &[(&str, i32)]) -> BTreeSet<Place> {
        places.iter().map(|(topic, partition)| place(topic, *partition)).collect()
    }

    #[test]
    fn what_nobody_has_twice_is_found() {
        let mut unassigned = Unassigned::default();
        assert_eq!(unassigned.look(held(&[("b", 0)])), None, "it may be new");
        assert_eq!(unassigned.look(held(&[("a", 1), ("b", 0)])), Some(place("b", 0)));
        assert_eq!(unassigned.look(BTreeSet::new()), None);
        assert_eq!(unassigned.look(held(&[("b", 0)])), None, "it was given out in between");
    }

    #[test]
    fn what_nobody_has_is_missing_and_what_is_not_told_is_not() {
        let (partitions, own) = (BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]), held(&[("a", 0)]));
        let of_group = || Some(held(&[("a", 0), ("a", 1)]));
        assert_eq!(missing(&partitions, &own, of_group), held(&[("b", 0)]));
        // The group changes, or the topics are not told.
        assert_eq!(missing(&partitions, &own, || None), BTreeSet::new());
        assert_eq!(missing(&BTreeMap::new(), &own, of_group), BTreeSet::new());
    }

    #[test]
    fn who_has_all_does_not_ask_the_group() {
        let (partitions, own) = (BTreeMap::from([("a".to_owned(), 2)]), held(&[("a", 0), ("a", 1)]));
        assert_eq!(missing(&partitions, &own, || unreachable!("nothing is missing")), BTreeSet::new());
    }
}
