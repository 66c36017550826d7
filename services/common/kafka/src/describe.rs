//! What the cluster says of topics and groups, and the client's Rust wrapper does not hand out: the id that Kafka gives a
//! topic when it is made, and the partitions that the members of a group hold. A topic that was made anew under the same
//! name has another id, and an offset that was kept for the first means nothing in it.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as c;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{IsError as _, KafkaError, RDKafkaErrorCode};

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
    let answer = ask(client, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, names, timeout, |request| {
        // SAFETY: the parts of the request live until this call ends; the client copies the names. Null is never returned
        // by the maker: the client ends the process where memory is out.
        unsafe {
            let topics = c::rd_kafka_TopicCollection_of_topic_names(request.names.as_mut_ptr(), request.names.len());
            c::rd_kafka_DescribeTopics(request.client, topics, request.options, request.queue);
            c::rd_kafka_TopicCollection_destroy(topics);
        }
    });
    match answer.and_then(|answer| answer.topics()) {
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
    let answer = ask(client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, &[group], timeout, |request| {
        // SAFETY: the parts of the request live until this call ends; the client copies the name.
        unsafe {
            let (names, count) = (request.names.as_mut_ptr(), request.names.len());
            c::rd_kafka_DescribeConsumerGroups(request.client, names, count, request.options, request.queue);
        }
    });
    answer.and_then(|answer| answer.assignments()).map_err(KafkaError::AdminOp)
}

/// The parts of a request that [`ask`] makes and destroys.
struct Request<'a> {
    client: *mut c::rd_kafka_t,
    names: &'a mut [*const c_char],
    options: *const c::rd_kafka_AdminOptions_t,
    queue: *mut c::rd_kafka_queue_t,
}

/// Sends a request about these names, and waits for its answer.
fn ask<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    operation: c::rd_kafka_admin_op_t,
    names: &[&str],
    timeout: Duration,
    send: impl FnOnce(Request<'_>),
) -> Result<Answer, RDKafkaErrorCode> {
    let names: Result<Vec<CString>, _> = names.iter().map(|name| CString::new(*name)).collect();
    let names = names.map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
    let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let client = client.client().native_ptr();
    // SAFETY: the client outlives the call, and with it the queue. Everything that is made here is destroyed here, after the
    // answer has come or was given up; an answer to a queue without owner is thrown away by the client. Null is never
    // returned by the makers: the client ends the process where memory is out.
    let event = unsafe {
        let options = c::rd_kafka_AdminOptions_new(client, operation);
        // Fails only for a time that is out of range; then the client's own limit is in force.
        c::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let queue = c::rd_kafka_queue_new(client);
        send(Request { client, names: &mut names, options, queue });
        let event = c::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1_000));
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_AdminOptions_destroy(options);
        event
    };
    let answer = NonNull::new(event).map(Answer).ok_or(RDKafkaErrorCode::OperationTimedOut)?;
    // SAFETY: the event lives.
    let error = unsafe { c::rd_kafka_event_error(answer.0.as_ptr()) };
    if error.is_error() { Err(error.into()) } else { Ok(answer) }
}

/// The answer, which is ours until it is dropped.
struct Answer(NonNull<c::rd_kafka_event_t>);

impl Answer {
    fn topics(&self) -> Result<BTreeMap<String, Topic>, RDKafkaErrorCode> {
        let mut topics = BTreeMap::new();
        // SAFETY: the event lives until self is dropped, and what it hands out lives as long. The list of answers is as
        // long as `count` says.
        unsafe {
            let result = c::rd_kafka_event_DescribeTopics_result(self.0.as_ptr());
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
                let name = CStr::from_ptr(c::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
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

    fn assignments(&self) -> Result<Option<BTreeSet<(String, i32)>>, RDKafkaErrorCode> {
        use c::rd_kafka_consumer_group_state_t::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE;
        let mut held = BTreeSet::new();
        // SAFETY: as in `topics`. A member's index is below the count of members; its list of partitions is as long as the
        // list says, and names end with a zero byte.
        unsafe {
            let result = c::rd_kafka_event_DescribeConsumerGroups_result(self.0.as_ptr());
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
                        let topic = CStr::from_ptr(element.topic).to_string_lossy().into_owned();
                        held.insert((topic, element.partition));
                    }
                }
            }
        }
        Ok(Some(held))
    }
}

/// # Safety
/// The pointer is null, or one to so many elements that live, unchanged, for `'l`.
unsafe fn list<'l, T>(first: *const T, count: usize) -> &'l [T] {
    // SAFETY: by this function's own contract.
    if first.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is ours and is destroyed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}
