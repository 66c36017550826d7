//! Publishing with the broker's acknowledgement, for those who answer somebody (gateway, receipts): idempotent,
//! `acks=all`, bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use crate::calls::{Answers, watch_answers};
use crate::record::native_headers;
use crate::{Connection, Error, Position, Record, client, settings};

/// How long the broker may take to acknowledge before the publisher is told that it failed.
const DELIVERY_TIMEOUT_MS: u32 = 30_000;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Too much is in flight: tell the caller to come back later (503, `Retry-After`).
    #[error("too many events are in flight; try again later")]
    Full,
    #[error("the event has {bytes} bytes, more than the topic takes")]
    TooLarge { bytes: usize },
    #[error("topic {topic} does not exist")]
    UnknownTopic { topic: String },
    /// Not known to be written: the caller sends it again, with the same id.
    #[error("not acknowledged by the broker: {reason}")]
    Other { reason: String },
}

/// Cheap to clone. Records that are published one after the other are written in that order.
#[derive(Clone)]
pub struct Publisher {
    producer: ThreadedProducer<Acknowledge>,
    in_flight: Arc<InFlight>,
    max_in_flight: usize,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

impl Publisher {
    /// `role` names the client in the broker's logs. At most `max_in_flight` records wait for their acknowledgement.
    pub fn new(connection: &Connection, role: &str, max_in_flight: usize) -> Result<Self, Error> {
        let mut config = settings::producer(connection, role, None)?;
        config.set("message.timeout.ms", DELIVERY_TIMEOUT_MS.to_string());
        let producer = config.create_with_context(Acknowledge).map_err(Error::kafka("create a producer"))?;
        let in_flight = Arc::<InFlight>::default();
        let watched = Arc::downgrade(&in_flight);
        watch_answers("acknowledge what was published", move || watched.upgrade().map(|in_flight| in_flight.answers()));
        Ok(Self { producer, in_flight, max_in_flight })
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.now.load(Ordering::Relaxed)
    }

    /// Returns when the broker has acknowledged the record on all in-sync replicas.
    pub async fn publish(&self, record: Record) -> Result<Position, PublishError> {
        self.enqueue(&record)?.wait().await
    }

    /// Publishes in order and waits for all; one result a record. Once one does not fit, those behind it are not tried,
    /// so that no later event of a key overtakes an earlier one that was refused.
    pub async fn publish_all(&self, records: &[Record]) -> Vec<Result<Position, PublishError>> {
        let mut pending = Vec::with_capacity(records.len());
        let mut full = false;
        for record in records {
            let enqueued = if full { Err(PublishError::Full) } else { self.enqueue(record) };
            full |= enqueued.as_ref().is_err_and(|error| *error == PublishError::Full);
            pending.push(enqueued);
        }
        answers(pending).await
    }

    /// Hands the record to the client without waiting: for callers that overlap many.
    pub fn enqueue(&self, record: &Record) -> Result<Acknowledgement, PublishError> {
        let claim = Claim::take(&self.in_flight, self.max_in_flight).ok_or(PublishError::Full)?;
        let (sender, receiver) = oneshot::channel();
        let mut base = BaseRecord::with_opaque_to(&record.topic, Box::new(Pending { sender, claim }));
        base.partition = record.partition;
        base.timestamp = record.timestamp_ms;
        base.key = record.key.as_deref();
        base.payload = record.value.as_deref();
        base.headers = native_headers(record.headers.len(), record.headers.iter());
        let bytes = record.key.as_ref().map_or(0, Vec::len) + record.value.as_ref().map_or(0, Vec::len);
        match self.producer.send::<[u8], [u8]>(base) {
            Ok(()) => Ok(Acknowledgement(receiver)),
            Err((error, _)) => Err(PublishError::from_kafka(&error, &record.topic, bytes)),
        }
    }

    /// Waits until all that was enqueued is acknowledged or failed, at most `timeout`.
    pub async fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.in_flight() > 0 {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// The answer of the broker that is still to come.
#[derive(Debug)]
pub struct Acknowledgement(oneshot::Receiver<Result<Position, PublishError>>);

/// The answers to records that were handed over in this order.
pub async fn answers(handed_over: Vec<Result<Acknowledgement, PublishError>>) -> Vec<Result<Position, PublishError>> {
    let mut answers = Vec::with_capacity(handed_over.len());
    // The last comes last, or nearly so: whoever waits for it first is woken once, and not for each of them.
    for handed_over in handed_over.into_iter().rev() {
        answers.push(match handed_over {
            Ok(acknowledgement) => acknowledgement.wait().await,
            Err(error) => Err(error),
        });
    }
    answers.reverse();
    answers
}

/// For those who stand in for a publisher.
impl From<oneshot::Receiver<Result<Position, PublishError>>> for Acknowledgement {
    fn from(answer: oneshot::Receiver<Result<Position, PublishError>>) -> Self {
        Self(answer)
    }
}

impl Acknowledgement {
    pub async fn wait(self) -> Result<Position, PublishError> {
        self.0.await.unwrap_or_else(|_| Err(PublishError::Other { reason: "the client was stopped".to_owned() }))
    }
}

impl PublishError {
    fn from_kafka(error: &KafkaError, topic: &str, bytes: usize) -> Self {
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) => Self::Full,
            Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => Self::TooLarge { bytes },
            Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => {
                Self::UnknownTopic { topic: topic.to_owned() }
            }
            _ => Self::Other { reason: error.to_string() },
        }
    }
}

/// Records that wait for their acknowledgement, and how many ever had it, or were given up.
#[derive(Debug, Default)]
struct InFlight {
    now: AtomicUsize,
    over: AtomicUsize,
}

impl InFlight {
    fn answers(&self) -> Answers {
        match self.now.load(Ordering::Relaxed) {
            0 => Answers::NothingIsDue,
            _ => Answers::Due(self.over.load(Ordering::Relaxed)),
        }
    }
}

/// One place among those in flight; given back when the record is acknowledged, failed or never sent.
#[derive(Debug)]
struct Claim(Arc<InFlight>);

impl Claim {
    fn take(in_flight: &Arc<InFlight>, most: usize) -> Option<Self> {
        let room = |now| (now < most).then_some(now + 1);
        let taken = in_flight.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.is_ok().then(|| Self(Arc::clone(in_flight)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::Relaxed);
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Pending {
    sender: oneshot::Sender<Result<Position, PublishError>>,
    claim: Claim,
}

struct Acknowledge;

impl ClientContext for Acknowledge {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::reported(&error, reason);
    }
}

impl ProducerContext for Acknowledge {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let answer = match result {
            Ok(message) => match client::written_at(message) {
                Some(offset) => Ok(Position { partition: message.partition(), offset }),
                None => Err(PublishError::Other { reason: client::NO_OFFSET.to_owned() }),
            },
            Err((error, message)) => {
                let bytes = message.key_len() + message.payload_len();
                Err(PublishError::from_kafka(error, message.topic(), bytes))
            }
        };
        let Pending { sender, claim } = *pending;
        // First, so that whoever has the answer finds the place free.
        drop(claim);
        // The caller may have gone away; the record is written all the same.
        let _ = sender.send(answer);
    }
}

/// Waits until the queue is empty. `flush` alone waits in whole steps of 100 ms, also when the last acknowledgement comes
/// after one.
pub(crate) fn drain<C: ProducerContext>(producer: &BaseProducer<C>, timeout: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + timeout;
    while let Err(source) = producer.flush(Duration::ZERO) {
        if Instant::now() > deadline {
            return Err(Error::Kafka { doing: "wait for the broker's acknowledgements", source });
        }
        producer.poll(Duration::from_micros(500));
    }
    Ok(())
}
