//! Where the partitions of an assignment go on, and what is gone that nobody has read.

use std::time::{Duration, Instant};

use freshet_core::{Assigned, Fault, TopicPartition};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::Member;
use crate::calls::bounded;
use crate::client::Loner;
use crate::offsets::Watermarks;
use crate::window::Start;
use crate::{Error, settings};

/// How long an open transaction of a predecessor is waited for: longer than one may stay open.
const STABLE_TIMEOUT: Duration = Duration::from_secs(15);
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What [`Member::positions`] found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) positions: Vec<Assigned>,
    pub(crate) gone: Vec<Gone>,
    /// Those of the positions that are not what is committed: the group has nothing there, or something that is gone. Until
    /// they are committed nobody could tell later that records behind them were gone before they were read.
    pub(crate) uncommitted: Vec<Assigned>,
}

/// The place where a partition has nothing any more that the group was to read. Until an offset behind it is committed,
/// it is found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    /// The offset that was to be read next.
    pub(crate) position: i64,
    /// The first offset that there is: where reading goes on.
    pub(crate) earliest: i64,
    pub(crate) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Retention passed the reader, or somebody deleted records.
    Expired,
    /// The topic was deleted and made anew under the same name: the old one's offsets mean nothing in it.
    MadeAnew,
}

impl Gone {
    /// How many offsets are gone; some may have been markers of transactions. Of a topic that is gone nobody can say.
    pub(crate) fn offsets(&self) -> u64 {
        match self.why {
            Why::Expired => (self.earliest - self.position).unsigned_abs(),
            Why::MadeAnew => 1,
        }
    }

    /// The value of the metrics' label `kind`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.why {
            Why::Expired => "expired",
            Why::MadeAnew => "made_anew",
        }
    }

    pub(crate) fn report(&self) {
        let Self { topic, partition, position, earliest, .. } = self;
        match self.why {
            Why::Expired => {
                let count = self.offsets();
                tracing::error!(topic, partition, position, earliest, count, "records expired before they were read");
            }
            Why::MadeAnew => {
                tracing::error!(topic, partition, earliest, "topic was made anew and is read from its start");
            }
        }
    }
}

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic, partition, position, earliest, .. } = self;
        match self.why {
            Why::Expired => write!(
                f,
                "the offsets {position} to {} of {topic}, partition {partition}, were deleted before the bus had read them",
                earliest - 1
            ),
            Why::MadeAnew => write!(
                f,
                "{topic} was deleted and made anew; what the old one's partition {partition} had and the bus had not read \
                 is gone"
            ),
        }
    }
}

impl Member {
    /// Where these partitions go on: the committed offset, or where the group has committed none, `start`. An open
    /// transaction with offsets of a predecessor is waited for.
    pub(crate) fn positions(&mut self, partitions: &[TopicPartition], start: Start) -> Result<Found, Fault> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, partition.partition);
        }
        // Before the offsets: a topic that is made anew in between is seen at the next look.
        self.identities.learn(partitions, &self.offsets)?;
        let committed = self.committed(list)?;
        let mut found = Found::default();
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let Watermarks { earliest, end } = self.offsets.watermarks(topic, partition)?;
            let gone = |position, why| Gone { topic: topic.to_owned(), partition, position, earliest, why };
            let position = match element.offset() {
                // What is committed is of the old one.
                _ if self.identities.is_made_anew(topic) => {
                    found.gone.push(gone(earliest, Why::MadeAnew));
                    earliest
                }
                Offset::Offset(offset) if offset > end => {
                    let reason = format!(
                        "{topic}[{partition}] ends at {end}, before the committed offset {offset}: was the topic made \
                         anew? Then delete the group's offsets"
                    );
                    return Err(Fault::retry("find the committed offsets", reason));
                }
                Offset::Offset(offset) if offset < earliest => {
                    found.gone.push(gone(offset, Why::Expired));
                    earliest
                }
                Offset::Offset(offset) => offset,
                _ if start == Start::Latest => end,
                // The offsets of the old one are forgotten with it.
                _ if self.identities.was_another(topic) => {
                    found.gone.push(gone(earliest, Why::MadeAnew));
                    earliest
                }
                _ => earliest,
            };
            let assigned = Assigned { topic: topic.to_owned(), partition, position };
            if element.offset() != Offset::Offset(position) {
                found.uncommitted.push(assigned.clone());
            }
            found.positions.push(assigned);
        }
        Ok(found)
    }

    fn committed(&self, list: TopicPartitionList) -> Result<TopicPartitionList, Fault> {
        if list.count() == 0 {
            return Ok(list);
        }
        let deadline = Instant::now() + STABLE_TIMEOUT;
        loop {
            // The client itself asks again while the answer is UNSTABLE_OFFSET_COMMIT, and then tells a time-out.
            let asked = || self.consumer().committed_offsets(list.clone(), STABLE_TIMEOUT);
            let failed = match bounded("find the committed offsets", asked) {
                Ok(committed) => match committed.elements().iter().find_map(|element| element.error().err()) {
                    None => return Ok(committed),
                    Some(error) => error,
                },
                Err(error) => error,
            };
            if Instant::now() > deadline {
                return Err(self.why_uncommitted(list, failed));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Tells a cluster that does not answer from one that has lost the end of a transaction, which no waiting mends.
    fn why_uncommitted(&self, list: TopicPartitionList, failed: KafkaError) -> Fault {
        let doing = "find the committed offsets";
        let unstable =
            settings::consumer(&self.connection, "offsets", settings::Consumer::Unstable { group: &self.group })
                .and_then(|config| Loner::create(&config).map_err(Error::kafka("create a client")))
                .and_then(|client| client.committed_offsets(list, PROBE_TIMEOUT).map_err(Error::kafka(doing)));
        match unstable {
            Err(_) => Error::Kafka { doing, source: failed }.into(),
            Ok(_) => Fault::retry(
                doing,
                format!(
                    "group {}: the offsets of an earlier transaction are neither committed nor aborted after {} s: the \
                     brokers have lost its markers; docs/alerts/FreshetNoProgress.md says how to end it",
                    self.group,
                    STABLE_TIMEOUT.as_secs()
                ),
            ),
        }
    }
}
