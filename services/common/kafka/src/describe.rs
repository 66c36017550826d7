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

/// What the members of the group hold, by topic and partition. `None` while the group changes.
pub(crate) fn assignments<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    group: &str,
    timeout: Duration,
) -> Result<Option<BTreeSet<(String, i32)>>, KafkaError> {
    use c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let name = CString::new(group)?;
    let mut names = [name.as_ptr()];
    let request = Request::new(client.client(), RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout);
    let answer = request.ask(|client, options, queue| {
        // SAFETY: client, options and queue live until the answer has come; the client copies the name.
        unsafe { c::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options, queue) };
    });
    answer.map_err(|Refused { code, .. }| code).and_then(|answer| held(&answer)).map_err(KafkaError::AdminOp)
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

fn held(answer: &Answer) -> Result<Option<BTreeSet<(String, i32)>>, RDKafkaErrorCode> {
    use c::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE;
    let mut held = BTreeSet::new();
    // SAFETY: as in `described_topics`. A member's index is below the count of members; its list of partitions is as long as the
    // list says, and names end with a zero byte.
    unsafe {
        let result = c::rd_kafka_event_DescribeConsumerGroups_result(answer.event());
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let described = c::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        for &group in list(described, count) {
            let error = c::rd_kafka_error_code(c::rd_kafka_ConsumerGroupDescription_error(group));
            if error.is_error() {
                return Err(error.into());
            }
            if c::rd_kafka_ConsumerGroupDescription_state(group) != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE {
                return Ok(None);
            }
            for index in 0..c::rd_kafka_ConsumerGroupDescription_member_count(group) {
                let member = c::rd_kafka_ConsumerGroupDescription_member(group, index);
                let assignment = c::rd_kafka_MemberDescription_assignment(member);
                let Some(partitions) = c::rd_kafka_MemberAssignment_partitions(assignment).as_ref() else {
                    continue;
                };
                for element in list(partitions.elems, partitions.cnt as usize) {
                    held.insert((text(element.topic), element.partition));
                }
            }
        }
    }
    Ok(Some(held))
}
