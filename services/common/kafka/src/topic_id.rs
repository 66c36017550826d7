//! The id that Kafka gives a topic when it is made, which the client's Rust wrapper does not hand out. A topic that was
//! made anew under the same name has another one, and an offset that was kept for the first means nothing in it.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
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

/// Asks the cluster. `None` where it has no such topic.
pub(crate) fn topic_id<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    timeout: Duration,
) -> Result<Option<TopicId>, KafkaError> {
    Ok(topic_ids(client, &[topic], timeout)?.remove(topic))
}

/// The same for several topics in one request; without those that the cluster does not have.
pub(crate) fn topic_ids<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, TopicId>, KafkaError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = topics.iter().map(|topic| CString::new(*topic)).collect::<Result<Vec<_>, _>>()?;
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let Some(event) = describe(client, &names, timeout_ms) else {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
    };
    match event.topic_ids() {
        // A cluster that gives no ids, such as the client's mock of one: then nothing tells two topics apart.
        Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion) => {
            Ok(topics.iter().map(|topic| ((*topic).to_owned(), TopicId(0))).collect())
        }
        ids => ids.map_err(KafkaError::AdminOp),
    }
}

/// The answer, which is ours until it is dropped.
struct Described(NonNull<c::rd_kafka_event_t>);

fn describe<C: ConsumerContext>(client: &BaseConsumer<C>, names: &[CString], timeout_ms: i32) -> Option<Described> {
    let mut names: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the client outlives the call, and with it the queue. Names are copied. Everything that is made here is
    // destroyed here, after the answer has come or was given up; an answer to a queue without owner is thrown away by
    // the client. Null is never returned by the makers: the client ends the process where memory is out.
    let event = unsafe {
        let native = client.client().native_ptr();
        let topics = c::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let options = c::rd_kafka_AdminOptions_new(native, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        // Fails only for a time that is out of range; then the client's own limit is in force.
        c::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        let queue = c::rd_kafka_queue_new(native);
        c::rd_kafka_DescribeTopics(native, topics, options, queue);
        let event = c::rd_kafka_queue_poll(queue, timeout_ms.saturating_add(1_000));
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_TopicCollection_destroy(topics);
        event
    };
    NonNull::new(event).map(Described)
}

impl Described {
    fn topic_ids(&self) -> Result<BTreeMap<String, TopicId>, RDKafkaErrorCode> {
        let mut count = 0;
        let mut ids = BTreeMap::new();
        // SAFETY: the event lives until self is dropped, and what it hands out lives as long. The list of answers is as
        // long as `count` says.
        unsafe {
            let error = c::rd_kafka_event_error(self.0.as_ptr());
            if error.is_error() {
                return Err(error.into());
            }
            let result = c::rd_kafka_event_DescribeTopics_result(self.0.as_ptr());
            if result.is_null() {
                return Err(RDKafkaErrorCode::BadMessage);
            }
            let topics = c::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            if topics.is_null() {
                return Ok(ids);
            }
            for &topic in std::slice::from_raw_parts(topics, count) {
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
                ids.insert(name, TopicId(u128::from(most) << 64 | u128::from(least)));
            }
        }
        Ok(ids)
    }
}

impl Drop for Described {
    fn drop(&mut self) {
        // SAFETY: the event is ours and is destroyed once.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) };
    }
}
