//! Where partitions begin and end, what groups have committed of them, and which topic a name stands for. All calls block
//! for at most 30 s each; async callers use `spawn_blocking`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::calls::{TIMEOUT, bounded};
use crate::client::Loner;
use crate::error::{Exit, classify};
use crate::{Aside, Connection, Error, TopicId, describe, settings};

/// One request for the ends of partitions.
const ENDS_TIMEOUT: Duration = Duration::from_secs(2);

/// The records that a partition keeps: offsets from `earliest` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    pub earliest: i64,
    /// The high watermark: behind the last record, whether its transaction is committed or not.
    pub end: i64,
}

/// Offsets and watermarks of many partitions over one client.
pub struct Offsets {
    client: Loner,
}

impl std::fmt::Debug for Offsets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offsets").finish_non_exhaustive()
    }
}

impl Offsets {
    pub fn new(connection: &Connection) -> Result<Self, Error> {
        let config = settings::consumer(connection, "offsets", settings::Consumer::Watermarks)?;
        Loner::create(&config).map(Self::of).map_err(Error::kafka("create a client"))
    }

    /// Over a client that is there for more than that. Where it reads committed records only, a partition ends at its last
    /// stable offset.
    pub(crate) fn of(client: Loner) -> Self {
        Self { client }
    }

    pub(crate) fn client(&self) -> &Loner {
        &self.client
    }

    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, Error> {
        let asked = || self.client.fetch_watermarks(topic, partition, TIMEOUT);
        let (earliest, end) = bounded("read the watermarks", asked).map_err(Error::kafka("read the watermarks"))?;
        Ok(Watermarks { earliest, end })
    }

    /// Those of the partitions whose end the broker does not tell.
    pub(crate) fn not_open(&self, partitions: &TopicPartitionList) -> Result<TopicPartitionList, Error> {
        let mut asked = partitions.clone();
        asked.set_all_offsets(Offset::End).map_err(Error::kafka("look for new partitions"))?;
        let answer = match self.client.offsets_for_times(asked, ENDS_TIMEOUT) {
            Ok(answer) => answer,
            Err(error) if classify(&error) == Exit::Retry => return Ok(partitions.clone()),
            Err(source) => return Err(Error::Kafka { doing: "look for new partitions", source }),
        };
        let mut closed = TopicPartitionList::new();
        for element in answer.elements().iter().filter(|element| element.error().is_err()) {
            closed.add_partition(element.topic(), element.partition());
        }
        Ok(closed)
    }

    /// Per partition the first offset whose time stamp is `timestamp_ms` or later; the end where there is none.
    pub fn at_time(&self, topic: &str, partitions: &[i32], timestamp_ms: i64) -> Result<BTreeMap<i32, i64>, Error> {
        let mut times = TopicPartitionList::new();
        for &partition in partitions {
            times
                .add_partition_offset(topic, partition, Offset::Offset(timestamp_ms))
                .map_err(Error::kafka("offsets for a time"))?;
        }
        let asked = || self.client.offsets_for_times(times, TIMEOUT);
        let found = bounded("offsets for a time", asked).map_err(Error::kafka("offsets for a time"))?;
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(Error::kafka("offsets for a time"))?;
            let offset = match element.offset() {
                Offset::Offset(offset) => offset,
                _ => self.watermarks(topic, element.partition())?.end,
            };
            offsets.insert(element.partition(), offset);
        }
        Ok(offsets)
    }

    fn of_all(&self, topic: &str) -> Result<Vec<Watermarks>, Error> {
        let count = self.partition_count(topic)?.ok_or_else(|| missing(topic))?;
        (0..count).map(|partition| self.watermarks(topic, partition)).collect()
    }

    /// Of the group that the client was made for.
    fn committed(&self, topic: &str) -> Result<Vec<Option<i64>>, Error> {
        let count = self.partition_count(topic)?.ok_or_else(|| missing(topic))?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(topic, 0, count - 1);
        let asked = || self.client.committed_offsets(partitions, TIMEOUT);
        let committed = bounded("read committed offsets", asked).map_err(Error::kafka("read committed offsets"))?;
        let mut offsets = vec![None; count as usize];
        for element in committed.elements() {
            element.error().map_err(Error::kafka("read committed offsets"))?;
            if let Offset::Offset(offset) = element.offset() {
                offsets[element.partition() as usize] = Some(offset);
            }
        }
        Ok(offsets)
    }

    /// What tells the topic from one of the same name that was there before; `None` where it does not exist.
    pub fn topic_id(&self, topic: &str, timeout: Duration) -> Result<Option<TopicId>, Error> {
        Ok(self.topic_ids(&[topic], timeout)?.remove(topic))
    }

    /// The same for several topics in one request; without those that do not exist.
    pub fn topic_ids(&self, topics: &[&str], timeout: Duration) -> Result<BTreeMap<String, TopicId>, Error> {
        let asked = || describe::topics(&self.client, topics, timeout);
        let found = bounded("read the topics' ids", asked).map_err(Error::kafka("read the topics' ids"))?;
        Ok(found.into_iter().map(|(name, topic)| (name, topic.id)).collect())
    }

    /// The same without waiting for the answer. It is empty where the cluster gives none. False where one is still out.
    pub fn ask_topic_ids(
        self: &Arc<Self>,
        aside: &mut Aside<BTreeMap<String, TopicId>>,
        topics: Vec<String>,
        timeout: Duration,
    ) -> bool {
        let offsets = Arc::clone(self);
        aside.ask(move || {
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            offsets.topic_ids(&topics, timeout).unwrap_or_else(|error| {
                tracing::debug!(%error, "the topics' ids are looked for again");
                BTreeMap::new()
            })
        })
    }

    /// The number of partitions, or `None` where the topic does not exist. Kafka tells who may not look at it nothing
    /// about it, not even whether it is there: that is an error, not a topic that may still come.
    pub fn partition_count(&self, topic: &str) -> Result<Option<i32>, Error> {
        let asked = || self.client.fetch_metadata(Some(topic), TIMEOUT);
        let metadata =
            bounded("read a topic's partitions", asked).map_err(Error::kafka("read a topic's partitions"))?;
        let Some(found) = metadata.topics().iter().find(|known| known.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(found.partitions().len() as i32).filter(|count| *count > 0)),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => Err(Error::Topic {
                topic: topic.to_owned(),
                reason: "the user of this process may not see it; docs/security.md says what each role needs"
                    .to_owned(),
            }),
            Some(_) => Ok(None),
        }
    }
}

/// The watermarks of every partition of a topic, in order of partition.
pub fn ends(connection: &Connection, topic: &str) -> Result<Vec<Watermarks>, Error> {
    Offsets::new(connection)?.of_all(topic)
}

/// The offsets that a group has committed for every partition of a topic, in order of partition; `None` where it has
/// committed none.
pub fn committed(connection: &Connection, group: &str, topic: &str) -> Result<Vec<Option<i64>>, Error> {
    let config = settings::consumer(connection, "offsets", settings::Consumer::Group { group })?;
    let asked = Loner::create(&config).map(Offsets::of).map_err(Error::kafka("create a client"))?;
    asked.committed(topic)
}

/// Both, over one client.
pub fn committed_and_ends(
    connection: &Connection,
    group: &str,
    topic: &str,
) -> Result<Vec<(Option<i64>, Watermarks)>, Error> {
    let config = settings::consumer(connection, "offsets", settings::Consumer::Unstable { group })?;
    let asked = Loner::create(&config).map(Offsets::of).map_err(Error::kafka("create a client"))?;
    Ok(asked.committed(topic)?.into_iter().zip(asked.of_all(topic)?).collect())
}

/// The last stable offset of each topic and partition in one request, as far as the brokers tell them in time. For a client
/// that reads committed records.
pub(crate) fn stable_ends<'p, C: ConsumerContext>(
    client: &BaseConsumer<C>,
    places: impl Iterator<Item = &'p (String, i32)>,
) -> Option<BTreeMap<(String, i32), i64>> {
    let mut asked = TopicPartitionList::new();
    for (topic, partition) in places {
        asked.add_partition_offset(topic, *partition, Offset::End).ok()?;
    }
    let answer = bounded("ask for stable ends", || client.offsets_for_times(asked, ENDS_TIMEOUT)).ok()?;
    let told = answer.elements().into_iter().filter(|element| element.error().is_ok());
    let ends = told.filter_map(|element| {
        let Offset::Offset(end) = element.offset() else { return None };
        Some(((element.topic().to_owned(), element.partition()), end))
    });
    Some(ends.collect())
}

fn missing(topic: &str) -> Error {
    Error::Topic { topic: topic.to_owned(), reason: "does not exist; has the catalogue been applied?".to_owned() }
}
