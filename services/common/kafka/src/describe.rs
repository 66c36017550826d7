//! What the cluster says of topics and groups, and the client's Rust wrapper does not hand out: the id that Kafka gives a
//! topic when it is made, and the partitions that the members of a group hold. A topic that was made anew under the same
//! name has another id, and an offset that was kept for the first means nothing in it.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, KafkaError, RDKafkaErrorCode};

use crate::request::{Answer, Refused, Request, list, text};

/// Never the same for two topics, over all clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId(pub u128);

impl std::fmt::Display for TopicId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic {
    pub(crate) id: TopicId,
    /// How many it has; 0 where the cluster does not tell.
    pub(crate) partitions: i32,
}

/// Asks the cluster for these topics in one request. The answer is without those that it does not have.
pub(crate) fn topics<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    names: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, Topic>, KafkaError> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let owned = names.iter().map(|name| CString::new(*name)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = owned.iter().map(|name| name.as_ptr()).collect();
    let request = Request::new(client.client(), RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
    let answer = request.ask(|client, options, queue| {
        // SAFETY: client, options and queue live until the answer has come; the client copies the names. Null is never
        // returned by the maker: the client ends the process where memory is out.
        unsafe {
            let topics = c::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            c::rd_kafka_DescribeTopics(client, topics, options, queue);
            c::rd_kafka_TopicCollection_destroy(topics);
        }
    });
    match answer.map_err(|Refused { code, .. }| code).and_then(|answer| described_topics(&answer)) {
        // A cluster that gives no ids, such as the client's mock of one: then nothing tells two topics apart.
        Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion) => {
            Ok(names.iter().map(|name| ((*name).to_owned(), Topic { id: TopicId(0), partitions: 0 })).collect())
        }
        topics => topics.map_err(KafkaError::AdminOp),
    }
}

/// What the members of the group hold, by topic and partition. `None` while the group changes. Not by the newer
/// `DescribeConsumerGroups`: its way to the coordinator ends the process where that changes meanwhile (librdkafka 2.12.1,
/// `rd_kafka_admin_coord_request`; an hour of faults met it).
pub(crate) fn assignments<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    group: &str,
    timeout: Duration,
) -> Result<Option<BTreeSet<(String, i32)>>, KafkaError> {
    let groups = client.fetch_group_list(Some(group), timeout)?;
    let mut held = BTreeSet::new();
    for group in groups.groups() {
        if group.state() != "Stable" {
            return Ok(None);
        }
        for member in group.members() {
            let Some(assigned) = member.assignment().map_or(Some(Vec::new()), partitions) else {
                return Err(KafkaError::AdminOp(RDKafkaErrorCode::BadMessage));
            };
            held.extend(assigned);
        }
    }
    Ok(if groups.groups().is_empty() { None } else { Some(held) })
}

/// A member's assignment as Kafka's consumer protocol has it (`ConsumerProtocolAssignment.json`): version, topics with their
/// partitions, and what the assignor adds. `None` where it is not that.
fn partitions(mut bytes: &[u8]) -> Option<Vec<(String, i32)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let bytes = &mut bytes;
    let _version = i16::from_be_bytes(take(bytes)?);
    let mut all = Vec::new();
    for _ in 0..i32::from_be_bytes(take(bytes)?) {
        let length = usize::try_from(i16::from_be_bytes(take(bytes)?)).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..i32::from_be_bytes(take(bytes)?) {
            all.push((name.to_owned(), i32::from_be_bytes(take(bytes)?)));
        }
    }
    Some(all)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn described_topics(answer: &Answer) -> Result<BTreeMap<String, Topic>, RDKafkaErrorCode> {
    let mut topics = BTreeMap::new();
    // SAFETY: the event lives until the answer is dropped, and what it hands out lives as long. The list of answers is as
    // long as `count` says.
    unsafe {
        let result = c::rd_kafka_event_DescribeTopics_result(answer.event());
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let described = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for &topic in list(described, count) {
            let error = c::rd_kafka_error_code(c::rd_kafka_TopicDescription_error(topic));
            if error == c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART {
                continue;
            }
            if error.is_error() {
                return Err(error.into());
            }
            let name = text(c::rd_kafka_TopicDescription_name(topic));
            let id = c::rd_kafka_TopicDescription_topic_id(topic);
            let most = c::rd_kafka_Uuid_most_significant_bits(id) as u64;
            let least = c::rd_kafka_Uuid_least_significant_bits(id) as u64;
            let id = TopicId(u128::from(most) << 64 | u128::from(least));
            let mut partitions = 0;
            c::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
            topics.insert(name, Topic { id, partitions: partitions as i32 });
        }
    }
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_or_refused_and_never_guessed() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x02bc\0\0\0\x01\0\0\0\x07\xff\xff\xff\xff";
        let expected = [("a", 0), ("a", 3), ("bc", 7)].map(|(topic, partition)| (topic.to_owned(), partition));
        assert_eq!(partitions(bytes).unwrap(), expected);
        assert_eq!(partitions(b""), Some(Vec::new()));
        // Without what stands behind the partitions it can be read, with less it cannot.
        for length in 1..bytes.len() {
            assert_eq!(partitions(&bytes[..length]).is_some(), length >= bytes.len() - 4, "{length}");
        }
        assert_eq!(partitions(b"\0\x01\0\0\0\x01\xff\xff\0\0\0\0"), None);
    }
}
