//! Topics, offsets and groups, seen from outside. All calls block for at most [`TIMEOUT`] each; async callers use
//! `spawn_blocking`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use freshet_catalog_model::topic::TopicSpec;
use futures::executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::calls::bounded;
use crate::client::{Loner, Plain};
use crate::error::{Exit, classify};
use crate::reason::explain;
use crate::{Aside, Connection, Error, TopicId, describe, settings};

pub const TIMEOUT: Duration = Duration::from_secs(30);
/// One request for the ends of partitions.
const ENDS_TIMEOUT: Duration = Duration::from_secs(2);
/// What a broker takes to open a partition at most: three times as long as one on two busy cores took.
const OPEN_ONE: Duration = Duration::from_millis(20);
const PIECE_PARTITIONS: i32 = 1_000;

/// What [`ensure_topics`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ensured {
    pub created: Vec<String>,
    pub altered: Vec<String>,
    /// Topics that were given more partitions, as only those get whose partition carries no order.
    pub grown: Vec<String>,
}

/// The records that a partition keeps: offsets from `earliest` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    pub earliest: i64,
    /// The high watermark: behind the last record, whether its transaction is committed or not.
    pub end: i64,
}

/// Creates the topics that are missing and sets the settings of the others where they differ. Returns when every topic
/// can be seen with its partitions, and those that were created can be used. Running it again changes nothing.
pub fn ensure_topics(connection: &Connection, topics: &[TopicSpec]) -> Result<Ensured, Error> {
    let client = admin_client(connection)?;
    let before = Cluster::read(&client)?;
    for topic in topics {
        if let Some(&actual) = before.partitions.get(&topic.name)
            && !is_enough(topic, actual)
            && !topic.may_grow
        {
            return Err(Error::Partitions { topic: topic.name.clone(), expected: topic.partitions, actual });
        }
    }
    let (known, missing): (Vec<&TopicSpec>, Vec<_>) =
        topics.iter().partition(|topic| before.partitions.contains_key(&topic.name));
    let offsets = Offsets::new(connection)?;
    for some in pieces(&missing) {
        create(&client, some)?;
        wait_until_visible(&client, some)?;
        offsets.wait_until_open(some)?;
    }
    let altered = alter(&client, &known)?;
    let narrow = |topic: &&&TopicSpec| !is_enough(topic, before.partitions[&topic.name]);
    let narrow: Vec<&TopicSpec> = known.iter().filter(narrow).copied().collect();
    grow(&client, &narrow)?;
    wait_until_visible(&client, &topics.iter().collect::<Vec<_>>())?;
    Ok(Ensured {
        created: missing.iter().map(|topic| topic.name.clone()).collect(),
        altered,
        grown: narrow.iter().map(|topic| topic.name.clone()).collect(),
    })
}

fn is_enough(topic: &TopicSpec, actual: i32) -> bool {
    actual == topic.partitions || (topic.may_grow && actual > topic.partitions)
}

fn grow(client: &AdminClient<Plain>, narrow: &[&TopicSpec]) -> Result<(), Error> {
    if narrow.is_empty() {
        return Ok(());
    }
    let wider: Vec<NewPartitions<'_>> =
        narrow.iter().map(|topic| NewPartitions::new(&topic.name, topic.partitions as usize)).collect();
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    let results = block_on(client.create_partitions(&wider, &options)).map_err(Error::kafka("add partitions"))?;
    for result in results {
        result.map_err(|(topic, code)| Error::Topic {
            topic,
            reason: format!("cannot be given more partitions: {code}"),
        })?;
    }
    Ok(())
}

/// Topics that are created with one request: together about as many partitions as the broker opens in some seconds. It
/// opens those of a request one after the other, and serves nothing new before it has opened the last.
fn pieces<'t, 's>(topics: &'t [&'s TopicSpec]) -> Vec<&'t [&'s TopicSpec]> {
    let mut partitions = 0;
    let together = |last: &&TopicSpec, next: &&TopicSpec| {
        let with_next = partitions.max(last.partitions) + next.partitions;
        partitions = if with_next > PIECE_PARTITIONS { 0 } else { with_next };
        partitions > 0
    };
    topics.chunk_by(together).collect()
}

fn create(client: &AdminClient<Plain>, missing: &[&TopicSpec]) -> Result<(), Error> {
    if missing.is_empty() {
        return Ok(());
    }
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|topic| {
            // -1: the broker's default replication factor.
            let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(-1));
            topic.settings.iter().fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    let results = block_on(client.create_topics(&topics, &options)).map_err(Error::kafka("create topics"))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Error::Topic { topic, reason: format!("cannot be created: {code}") }),
        }
    }
    Ok(())
}

/// Kafka's AlterConfigs replaces all of a topic's own settings at once, so settings that somebody gave a topic by hand
/// are kept by sending them again.
fn alter(client: &AdminClient<Plain>, known: &[&TopicSpec]) -> Result<Vec<String>, Error> {
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let resources: Vec<_> = known.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
    let described = block_on(client.describe_configs(&resources, &options)).map_err(Error::kafka("describe topics"))?;
    let mut wanted: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    for (topic, described) in known.iter().zip(described) {
        let described = described.map_err(|code| Error::Topic {
            topic: topic.name.clone(),
            reason: format!("its settings cannot be read: {code}"),
        })?;
        let differs = topic
            .settings
            .iter()
            .any(|(key, value)| described.get(key).and_then(|entry| entry.value.as_deref()) != Some(value.as_str()));
        if !differs {
            continue;
        }
        let own = described
            .entries
            .iter()
            .filter(|entry| entry.source == rdkafka::admin::ConfigSource::DynamicTopic && !entry.is_read_only);
        let mut all: BTreeMap<String, String> =
            own.filter_map(|entry| Some((entry.name.clone(), entry.value.clone()?))).collect();
        all.extend(topic.settings.clone());
        wanted.push((topic.name.clone(), all));
    }
    let alterations: Vec<AlterConfig<'_>> = wanted
        .iter()
        .map(|(topic, all)| {
            let alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
            all.iter().fold(alter, |alter, (key, value)| alter.set(key, value))
        })
        .collect();
    if !alterations.is_empty() {
        let results = block_on(client.alter_configs(&alterations, &options)).map_err(Error::kafka("alter topics"))?;
        for (result, (topic, _)) in results.into_iter().zip(&wanted) {
            result.map_err(|(_, code)| Error::Topic {
                topic: topic.clone(),
                reason: format!("its settings cannot be changed: {code}"),
            })?;
        }
    }
    Ok(wanted.into_iter().map(|(topic, _)| topic).collect())
}

/// A topic that was just created is not known to every broker at once.
fn wait_until_visible(client: &AdminClient<Plain>, topics: &[&TopicSpec]) -> Result<(), Error> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let cluster = Cluster::read(client)?;
        let missing = topics.iter().find(|topic| {
            !cluster.partitions.get(&topic.name).is_some_and(|&actual| is_enough(topic, actual))
                || cluster.leaderless.contains(&topic.name)
        });
        let Some(missing) = missing else { return Ok(()) };
        if Instant::now() > deadline {
            let reason = format!("not visible with a leader for each partition after {} s", TIMEOUT.as_secs());
            return Err(Error::Topic { topic: missing.name.clone(), reason });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Cluster {
    partitions: BTreeMap<String, i32>,
    leaderless: BTreeSet<String>,
}

impl Cluster {
    fn read(client: &AdminClient<Plain>) -> Result<Self, Error> {
        let metadata = client.inner().fetch_metadata(None, TIMEOUT);
        let metadata =
            metadata.map_err(Error::kafka("read the list of topics")).map_err(|error| explain(client, error))?;
        let mut cluster = Self { partitions: BTreeMap::new(), leaderless: BTreeSet::new() };
        for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
            cluster.partitions.insert(topic.name().to_owned(), topic.partitions().len() as i32);
            if topic.partitions().iter().any(|partition| partition.leader() < 0) {
                cluster.leaderless.insert(topic.name().to_owned());
            }
        }
        Ok(cluster)
    }
}

/// The topics of the cluster and their numbers of partitions.
pub fn topics(connection: &Connection) -> Result<BTreeMap<String, i32>, Error> {
    Ok(Cluster::read(&admin_client(connection)?)?.partitions)
}

/// True where the cluster answers within `timeout`.
pub fn is_reachable(connection: &Connection, timeout: Duration) -> Result<(), Error> {
    let client = admin_client(connection)?;
    let reached = client.inner().fetch_metadata(None, timeout).map(drop).map_err(Error::kafka("reach the cluster"));
    reached.map_err(|error| explain(&client, error))
}

pub fn delete_topics(connection: &Connection, topics: &[&str]) -> Result<(), Error> {
    let client = admin_client(connection)?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let results = block_on(client.delete_topics(topics, &options)).map_err(Error::kafka("delete topics"))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => return Err(Error::Topic { topic, reason: format!("cannot be deleted: {code}") }),
        }
    }
    Ok(())
}

/// Forgets a group with all its offsets. The group must have no members.
pub fn delete_group(connection: &Connection, group: &str) -> Result<(), Error> {
    let client = admin_client(connection)?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let results = block_on(client.delete_groups(&[group], &options)).map_err(Error::kafka("delete a group"))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::GroupIdNotFound)) => {}
            Err((_, code)) => {
                return Err(Error::Kafka { doing: "delete a group", source: KafkaError::AdminOp(code) });
            }
        }
    }
    Ok(())
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

    /// A broker says that it leads a partition before it has opened its log, which takes it milliseconds each, one after the
    /// other: for some thousands of partitions, longer than anything waits that is written next.
    fn wait_until_open(&self, topics: &[&TopicSpec]) -> Result<(), Error> {
        let mut waiting = TopicPartitionList::new();
        for topic in topics {
            waiting.add_partition_range(&topic.name, 0, topic.partitions - 1);
        }
        let limit = TIMEOUT + OPEN_ONE * waiting.count() as u32;
        let deadline = Instant::now() + limit;
        while let Some(first) = waiting.elements().first() {
            if Instant::now() > deadline {
                let reason = format!(
                    "the broker does not serve partition {} after {} s; apply again when it does",
                    first.partition(),
                    limit.as_secs()
                );
                return Err(Error::Topic { topic: first.topic().to_owned(), reason });
            }
            waiting = self.closed(&waiting)?;
            if waiting.count() > 0 {
                // An answer that says so may come at once.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Those of the partitions whose end the broker does not tell.
    fn closed(&self, partitions: &TopicPartitionList) -> Result<TopicPartitionList, Error> {
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
pub fn end_offsets(connection: &Connection, topic: &str) -> Result<Vec<Watermarks>, Error> {
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

pub(crate) fn admin_client(connection: &Connection) -> Result<AdminClient<Plain>, Error> {
    let config = settings::admin(connection, "admin")?;
    config.create_with_context(Plain).map_err(Error::kafka("create a client"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_created_in_pieces_that_a_broker_opens_within_seconds() {
        let spec =
            |partitions| TopicSpec { name: String::new(), partitions, may_grow: false, settings: BTreeMap::new() };
        let specs = [6, 1_000, 400, 600, 1, 5_000, 1].map(spec);
        let specs: Vec<&TopicSpec> = specs.iter().collect();
        let sizes: Vec<Vec<i32>> =
            pieces(&specs).iter().map(|piece| piece.iter().map(|spec| spec.partitions).collect()).collect();
        assert_eq!(sizes, [vec![6], vec![1_000], vec![400, 600], vec![1], vec![5_000], vec![1]]);
        assert!(pieces(&[]).is_empty());
    }
}
