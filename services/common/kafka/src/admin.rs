//! Topics and groups, seen from outside. All calls block for at most 30 s each; async callers use
//! `spawn_blocking`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

pub use freshet_catalog_model::topic::TopicSpec;
use futures::executor::block_on;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::calls::TIMEOUT;
use crate::client::Plain;
use crate::offsets::Offsets;
use crate::reason::explain;
use crate::{Connection, Error, settings};

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
        wait_until_open(&offsets, some)?;
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

/// A broker says that it leads a partition before it has opened its log, which takes it milliseconds each, one after the
/// other: for some thousands of partitions, longer than anything waits that is written next.
fn wait_until_open(offsets: &Offsets, topics: &[&TopicSpec]) -> Result<(), Error> {
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
        waiting = offsets.not_open(&waiting)?;
        if waiting.count() > 0 {
            // An answer that says so may come at once.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
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
