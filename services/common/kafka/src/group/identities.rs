//! Whether the topics of an assignment are still those that it began with. The client does not tell: where a topic is
//! deleted and made anew while it is read, it goes on in the new one at the old one's offset as soon as there is one
//! (librdkafka 2.12, `rd_kafka_topic_metadata_update`), and what lies before it is never read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use freshet_core::{Fault, TopicPartition};

use super::Member;
use crate::calls::TIMEOUT;
use crate::offsets::Offsets;
use crate::{Aside, TopicId};

/// How long a topic that was made anew may be read at the old one's offsets.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const ID_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Identities {
    /// By name, as they were when the group gave them.
    known: BTreeMap<String, TopicId>,
    /// Topics that are others now, until an offset of the new one is committed.
    made_anew: BTreeMap<String, TopicId>,
    looked: Option<Instant>,
    looking: Aside<BTreeMap<String, TopicId>>,
    /// Those of assignments that are over.
    before: BTreeMap<String, TopicId>,
}

impl Identities {
    /// The assignment is over. Of the next one the group's offsets say where it goes on; Kafka forgets those of a topic with
    /// the topic.
    pub(super) fn forget(&mut self) {
        self.before.append(&mut self.known);
        self.made_anew.clear();
        self.looked = None;
        self.looking.forget();
    }

    /// True where an earlier assignment gave another topic of this name.
    pub(super) fn was_another(&self, topic: &str) -> bool {
        matches!((self.before.get(topic), self.known.get(topic)), (Some(before), Some(now)) if before != now)
    }

    pub(super) fn is_made_anew(&self, topic: &str) -> bool {
        self.made_anew.contains_key(topic)
    }

    /// Looks at the topics of these partitions.
    pub(super) fn learn(&mut self, partitions: &[TopicPartition], offsets: &Offsets) -> Result<(), Fault> {
        let topics: BTreeSet<&str> = partitions.iter().map(|partition| partition.topic.as_str()).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let found = offsets.topic_ids(&topics, TIMEOUT)?;
        self.looked = Some(Instant::now());
        // What was asked before may be older.
        self.looking.forget();
        self.compare(found);
        Ok(())
    }

    /// Takes down the ids of topics that are seen for the first time, and which of the others are not what they were.
    fn compare(&mut self, found: BTreeMap<String, TopicId>) {
        for (topic, id) in found {
            let known = *self.known.entry(topic.clone()).or_insert(id);
            if known == id {
                self.made_anew.remove(&topic);
            } else {
                self.made_anew.insert(topic, id);
            }
        }
    }

    fn is_due(&self) -> bool {
        !self.known.is_empty() && self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
    }
}

impl Member {
    /// To be called again and again: the name of a topic that was made anew since it was given, once it is found out. A topic
    /// that is not there just now may come back, and a cluster that does not answer says nothing.
    pub(crate) fn made_anew(&mut self) -> Option<String> {
        let identities = &mut self.identities;
        if identities.is_due() {
            identities.looked = Some(Instant::now());
            let topics: Vec<String> = identities.known.keys().cloned().collect();
            self.offsets.ask_topic_ids(&mut identities.looking, topics, ID_TIMEOUT);
        }
        let found = identities.looking.answer()?;
        identities.compare(found);
        identities.made_anew.keys().next().cloned()
    }

    /// Offsets of the topics as they are now are committed.
    pub(crate) fn settled(&mut self) {
        let Identities { known, made_anew, .. } = &mut self.identities;
        known.append(made_anew);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_another_until_an_offset_of_it_is_committed() {
        let mut identities = Identities::default();
        let seen = |id| BTreeMap::from([("in".to_owned(), TopicId(id))]);
        identities.compare(seen(1));
        assert!(!identities.is_made_anew("in"));
        identities.compare(BTreeMap::new());
        assert!(!identities.is_made_anew("in"), "a topic that is away may come back");
        identities.compare(seen(2));
        identities.compare(seen(2));
        assert!(identities.is_made_anew("in"), "until it is said to be settled");
        identities.compare(seen(3));
        assert_eq!(identities.made_anew["in"], TopicId(3));
        assert!(!identities.was_another("in"), "in this assignment");
        identities.forget();
        identities.compare(seen(3));
        assert!(!identities.is_made_anew("in"), "the group's offsets say where the next begins");
        assert!(identities.was_another("in"));
        identities.forget();
        identities.compare(seen(3));
        assert!(!identities.was_another("in"));
    }
}
