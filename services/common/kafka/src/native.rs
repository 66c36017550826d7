//! The few calls into librdkafka that its Rust wrapper lacks, or makes with allocations for each record: headers that go
//! from a fetched message to a produced one as they are, topics by handle, and a wait that lets the client send what
//! lingers. Beside it, `unsafe` is in `reason.rs`, `request.rs`, and `acl.rs` and `describe.rs`, which ask by it.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};

use rdkafka::IntoOpaque;
use rdkafka::bindings as c;
use rdkafka::error::{IsError as _, KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

/// A list of headers that the client allocated and that is ours.
pub(crate) struct Headers(NonNull<c::rd_kafka_headers_t>);

impl Headers {
    pub(crate) fn with_capacity(count: usize) -> Self {
        // SAFETY: takes no pointer. The client ends the process where memory is out, so null is never returned.
        let list = unsafe { c::rd_kafka_headers_new(count) };
        match NonNull::new(list) {
            Some(list) => Self(list),
            None => unreachable!("rd_kafka_headers_new returns a list"),
        }
    }

    /// Takes the headers out of a fetched message, which has none afterwards. `None` where it had none.
    pub(crate) fn take(message: &mut BorrowedMessage<'_>) -> Option<Self> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive, and borrowed by nobody else, so that no reference into its headers exists. Where
        // there are headers, the list is ours from here on, and the message forgets it.
        let error = unsafe { c::rd_kafka_message_detach_headers(message.ptr(), &raw mut list) };
        if error.is_error() { None } else { NonNull::new(list).map(Self) }
    }

    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        let (Ok(name_bytes), Ok(value_bytes)) = (isize::try_from(name.len()), isize::try_from(value.len())) else {
            unreachable!("no slice is longer than isize::MAX")
        };
        // SAFETY: both pointers are valid for the lengths beside them, and the client copies what they point to. The list
        // is one of a message that was taken, or made here, and so may be written.
        let error = unsafe {
            c::rd_kafka_header_add(
                self.0.as_ptr(),
                name.as_ptr().cast(),
                name_bytes,
                value.as_ptr().cast(),
                value_bytes,
            )
        };
        debug_assert!(!error.is_error(), "only a list inside of a message is read-only");
    }

    /// Names and values in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        // SAFETY: the list lives as long as the borrow of self, and is not written meanwhile.
        (0..).map_while(|index| unsafe { header(self.0.as_ptr(), index) })
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: the list is ours; a list that was given to a producer is forgotten, not dropped.
        unsafe { c::rd_kafka_headers_destroy(self.0.as_ptr()) };
    }
}

/// The headers of a message, names as bytes: a publisher may send names that are not UTF-8.
pub(crate) fn headers<'m>(message: &'m BorrowedMessage<'_>) -> impl Iterator<Item = (&'m [u8], Option<&'m [u8]>)> {
    let mut list = ptr::null_mut();
    // SAFETY: the message is alive. The list stays its own.
    let error = unsafe { c::rd_kafka_message_headers(message.ptr(), &raw mut list) };
    let list = if error.is_error() { None } else { NonNull::new(list) };
    // SAFETY: the list lives as long as the message has it; `Headers::take` needs the message for itself alone.
    list.into_iter().flat_map(|list| (0..).map_while(move |index| unsafe { header(list.as_ptr(), index) }))
}

/// # Safety
/// The list must live, unchanged, for `'l`.
unsafe fn header<'l>(list: *const c::rd_kafka_headers_t, index: usize) -> Option<(&'l [u8], Option<&'l [u8]>)> {
    let (mut name, mut value, mut value_bytes) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the list is alive. The client answers an index behind the end with an error.
    let error = unsafe { c::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut value_bytes) };
    if error.is_error() || name.is_null() {
        return None;
    }
    // SAFETY: the client ends names with a zero byte, and values have so many bytes or are null.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes();
        let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), value_bytes));
        Some((name, value))
    }
}

/// A record for [`Topics::produce`]; key and value are copied by the client.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    /// Below 0: chosen by the key.
    pub(crate) partition: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp_ms: Option<i64>,
    /// Given back with the delivery.
    pub(crate) index: usize,
}

/// Produces by topic handle. By name, the client would look for the topic among all it knows, under a lock, for each
/// record.
pub(crate) struct Topics<'p, C: ProducerContext<DeliveryOpaque = usize>> {
    producer: &'p BaseProducer<C>,
    known: Vec<(String, NonNull<c::rd_kafka_topic_t>)>,
    /// Index of the handle that was used last.
    last: usize,
}

impl<'p, C: ProducerContext<DeliveryOpaque = usize>> Topics<'p, C> {
    pub(crate) fn new(producer: &'p BaseProducer<C>) -> Self {
        Self { producer, known: Vec::new(), last: 0 }
    }

    pub(crate) fn producer(&self) -> &'p BaseProducer<C> {
        self.producer
    }

    /// Puts a record into the client's queue. Where the queue does not take it, the headers come back.
    pub(crate) fn produce(
        &mut self,
        record: &Outgoing<'_>,
        headers: Option<Headers>,
    ) -> Result<(), (KafkaError, Option<Headers>)> {
        let topic = match self.handle(record.topic) {
            Ok(topic) => topic,
            Err(error) => return Err((error, headers)),
        };
        let parts = |bytes: Option<&[u8]>| bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
        let ((key, key_bytes), (value, value_bytes)) = (parts(record.key), parts(record.value));
        let list = headers.as_ref().map_or(ptr::null_mut(), |headers| headers.0.as_ptr());
        // SAFETY: the arguments are pairs of a type's number and what rdkafka.h says that the type takes, closed by END.
        // Client and topic are alive. Key and value are valid for their lengths, and copied. The list is the client's if,
        // and only if, the call succeeds.
        let error = unsafe {
            use c::rd_kafka_vtype_t as vtype;
            c::rd_kafka_producev(
                self.producer.client().native_ptr(),
                vtype::RD_KAFKA_VTYPE_RKT,
                topic.as_ptr(),
                vtype::RD_KAFKA_VTYPE_PARTITION,
                record.partition.max(-1),
                vtype::RD_KAFKA_VTYPE_MSGFLAGS,
                c::RD_KAFKA_MSG_F_COPY,
                vtype::RD_KAFKA_VTYPE_VALUE,
                value,
                value_bytes,
                vtype::RD_KAFKA_VTYPE_KEY,
                key,
                key_bytes,
                vtype::RD_KAFKA_VTYPE_OPAQUE,
                record.index.into_ptr(),
                vtype::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp_ms.unwrap_or(0),
                vtype::RD_KAFKA_VTYPE_HEADERS,
                list,
                vtype::RD_KAFKA_VTYPE_END,
            )
        };
        if error.is_error() {
            return Err((KafkaError::MessageProduction(error.into()), headers));
        }
        std::mem::forget(headers);
        Ok(())
    }

    /// Records of one topic follow each other, or the topics follow each other in the same order again and again.
    fn handle(&mut self, topic: &str) -> Result<NonNull<c::rd_kafka_topic_t>, KafkaError> {
        let is_it = |(name, _): &(String, _)| name == topic;
        for index in [self.last, self.last + 1, 0] {
            if let Some(found) = self.known.get(index).filter(|known| is_it(known)) {
                self.last = index;
                return Ok(found.1);
            }
        }
        self.last = match self.known.iter().position(is_it) {
            Some(index) => index,
            None => {
                let name = CString::new(topic)?;
                // SAFETY: the client is alive, the name ends with a zero byte and is copied; null takes the client's settings.
                let made = unsafe {
                    c::rd_kafka_topic_new(self.producer.client().native_ptr(), name.as_ptr(), ptr::null_mut())
                };
                let Some(made) = NonNull::new(made) else {
                    return Err(KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTopic));
                };
                self.known.push((topic.to_owned(), made));
                self.known.len() - 1
            }
        };
        Ok(self.known[self.last].1)
    }
}

impl<C: ProducerContext<DeliveryOpaque = usize>> Drop for Topics<'_, C> {
    fn drop(&mut self) {
        for (_, topic) in &self.known {
            // SAFETY: each handle was made by `handle`, counts as one reference, and is given back once, while the
            // producer that it belongs to is still borrowed.
            unsafe { c::rd_kafka_topic_destroy(topic.as_ptr()) };
        }
    }
}

/// Has the client send what lingers, and waits for a millisecond, or less where nothing is on the way. The wrapper's own
/// `flush` and `poll` ask again and again without a pause for times this short.
pub(crate) fn send_lingering<C: ProducerContext>(producer: &BaseProducer<C>) {
    // SAFETY: the client is alive. The answer, whether something is still on the way, is asked for by other means.
    let _ = unsafe { c::rd_kafka_flush(producer.client().native_ptr(), 1) };
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::ClientContext;
    use rdkafka::message::{DeliveryResult, Message as _};

    use super::*;

    #[test]
    fn headers_are_read_as_they_were_added() {
        let mut headers = Headers::with_capacity(1);
        headers.add("ce_id", b"1");
        headers.add("", b"");
        headers.add("ce_id", &[0xff, 0]);
        let read: Vec<(&[u8], Option<&[u8]>)> = headers.iter().collect();
        assert_eq!(read, [(&b"ce_id"[..], Some(&b"1"[..])), (b"", Some(b"")), (b"ce_id", Some(&[0xff, 0]))]);
        assert_eq!(Headers::with_capacity(0).iter().count(), 0);
    }

    /// Topic, index, key, count of headers.
    type Report = (String, usize, Vec<u8>, usize);

    #[derive(Default)]
    struct Seen(std::sync::Mutex<Vec<Report>>);

    impl ClientContext for Seen {}

    impl ProducerContext for Seen {
        type DeliveryOpaque = usize;

        fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
            let message = match result {
                Ok(message) | Err((_, message)) => message,
            };
            let of = (message.topic().to_owned(), index, message.key().unwrap_or_default().to_vec());
            self.0.lock().expect("not poisoned").push((of.0, of.1, of.2, headers(message).count()));
        }
    }

    /// No broker is needed: what is purged is reported with all that was given.
    #[test]
    fn what_is_produced_is_reported_with_its_parts() {
        let producer: BaseProducer<Seen> = ClientConfig::new()
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("queue.buffering.max.messages", "3")
            .set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg)
            .create_with_context(Seen::default())
            .expect("a producer");
        let mut topics = Topics::new(&producer);
        let record =
            |topic, index| Outgoing { topic, partition: 0, key: Some(b"key"), value: None, timestamp_ms: None, index };
        let list = || {
            let mut list = Headers::with_capacity(1);
            list.add("name", b"value");
            list
        };
        for (index, topic) in ["a", "b", "a"].into_iter().enumerate() {
            assert!(topics.produce(&record(topic, index), Some(list())).is_ok());
        }
        assert_eq!(topics.known.len(), 2, "a topic is looked up once");
        let (error, back) = topics.produce(&record("b", 9), Some(list())).expect_err("the queue is full");
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
        assert_eq!(back.map(|list| list.iter().count()), Some(1));
        assert!(topics.produce(&record("\0", 0), None).is_err());
        send_lingering(&producer);
        drop(topics);
        producer.purge(rdkafka::producer::PurgeConfig::default().queue().inflight());
        while producer.in_flight_count() > 0 {
            producer.poll(std::time::Duration::from_millis(10));
        }
        let mut seen = std::mem::take(&mut *producer.context().0.lock().expect("not poisoned"));
        seen.sort();
        let expected = |topic: &str, index| (topic.to_owned(), index, b"key".to_vec(), 1);
        assert_eq!(seen, [expected("a", 0), expected("a", 2), expected("b", 1)]);
    }
}
