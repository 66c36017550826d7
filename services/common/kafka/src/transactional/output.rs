//! What a stage writes into the open transaction.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use freshet_core::{Fault, Header, OutRecord, Output};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use crate::error::{Exit, classify};
use crate::native::{Headers, Outgoing, Topics, send_lingering};
use crate::{Error, client};

/// How long a full queue may stay full before the transaction is given up.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(8);
/// The index of outputs that belong to no record of the batch.
pub(super) const BACKGROUND: usize = usize::MAX;

/// Notes the first output of a transaction that the broker did not take.
#[derive(Default)]
pub(crate) struct Deliveries {
    failed: Mutex<Option<Undelivered>>,
}

#[derive(Debug, Clone)]
pub(super) struct Undelivered {
    /// Index in the batch of the record that it came from.
    pub(super) index: usize,
    pub(super) topic: String,
    pub(super) error: KafkaError,
}

impl Undelivered {
    pub(super) fn is_too_large(&self) -> bool {
        is_too_large(&self.error)
    }
}

impl Deliveries {
    pub(super) fn has_failed(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn take(&self) -> Option<Undelivered> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// For whoever has no other use for a record that was not written than to give the transaction up.
    pub(crate) fn all_written(&self, doing: &'static str) -> Result<(), Error> {
        self.take().map_or(Ok(()), |undelivered| Err(Error::Kafka { doing, source: undelivered.error }))
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::reported(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let (error, message) = match result {
            Ok(message) if client::written_at(message).is_some() => return,
            Ok(message) => (&KafkaError::MessageProduction(Code::NoOffset), message),
            Err((error, message)) => (error, message),
        };
        let purged = matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight));
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() && !purged {
            *failed = Some(Undelivered { index, topic: message.topic().to_owned(), error: error.clone() });
        }
    }
}

pub(super) struct TransactionOutput<'p> {
    topics: Topics<'p, Deliveries>,
    /// Of the record that is being processed.
    index: usize,
    /// Its headers as the client has them, until they were passed on, and where the stage's copy of them stands.
    headers: Option<Headers>,
    shown: (usize, usize),
    /// The record whose output is larger than any topic takes.
    pub(super) unwritable: Option<usize>,
    /// Why the producer takes nothing any more.
    pub(super) fatal: Option<KafkaError>,
}

impl<'p> TransactionOutput<'p> {
    pub(super) fn new(producer: &'p BaseProducer<Deliveries>) -> Self {
        Self {
            topics: Topics::new(producer),
            index: BACKGROUND,
            headers: None,
            shown: (0, 0),
            unwritable: None,
            fatal: None,
        }
    }

    /// What is sent from here on comes from the record with this index in the batch, whose headers are `headers`, and
    /// which the stage sees as `shown`.
    pub(super) fn begin_record(&mut self, index: usize, headers: Option<Headers>, shown: &[Header<'_>]) {
        self.index = index;
        self.headers = headers;
        self.shown = place(shown);
    }

    /// What is sent from here on comes from no record of the batch.
    pub(super) fn begin_background(&mut self) {
        self.begin_record(BACKGROUND, None, &[]);
    }

    /// The headers for the client. The first output that has those of the input, as they are, takes the client's own list
    /// along: nothing is copied.
    fn native(&mut self, record: &OutRecord<'_>) -> Option<Headers> {
        let count = record.headers.len() + record.extra.len();
        let passed = if place(record.headers) == self.shown { self.headers.take() } else { None };
        let is_passed = passed.is_some();
        let mut native = match passed {
            Some(passed) => passed,
            None if count == 0 => return None,
            None => Headers::with_capacity(count),
        };
        for header in record.headers.iter().filter(|_| !is_passed).chain(record.extra) {
            native.add(header.name, header.value);
        }
        Some(native)
    }

    fn refused(&mut self, error: KafkaError, topic: &str) -> Fault {
        if is_too_large(&error) {
            self.unwritable = Some(self.index);
            return Fault::retry("write an output", format!("{topic}: {error}"));
        }
        match classify(&error) {
            Exit::Retry | Exit::Abort => Fault::retry("write an output", format!("{topic}: {error}")),
            Exit::Fatal => {
                // The refusal itself says only that there is a cause.
                let cause =
                    self.topics.producer().client().fatal_error().map(|(code, _)| KafkaError::MessageProduction(code));
                let cause = cause.unwrap_or(error);
                let fault = Fault::fatal("write an output", format!("{topic}: {cause}"));
                self.fatal = Some(cause);
                fault
            }
        }
    }
}

/// Two lists at one place, at one time, are one list.
fn place(list: &[Header<'_>]) -> (usize, usize) {
    (list.as_ptr().addr(), list.len())
}

fn is_too_large(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge))
}

impl Output for TransactionOutput<'_> {
    fn send(&mut self, record: OutRecord<'_>) -> Result<(), Fault> {
        let mut headers = self.native(&record);
        let OutRecord { topic, partition, key, value, timestamp_ms, .. } = record;
        let outgoing = Outgoing { topic, partition, key, value, timestamp_ms, index: self.index };
        let mut deadline = None;
        loop {
            match self.topics.produce(&outgoing, headers) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + QUEUE_TIMEOUT);
                    if Instant::now() > deadline {
                        return Err(Fault::retry("write an output", "the queue stays full; is the broker slow?"));
                    }
                    serve(self.topics.producer());
                    headers = back;
                }
                Err((error, _)) => return Err(self.refused(error, topic)),
            }
        }
    }
}

/// Takes what the client reports. Where something is still on the way, lets it send, and waits about a millisecond.
pub(super) fn serve(producer: &BaseProducer<Deliveries>) {
    loop {
        let left = producer.in_flight_count();
        // One call takes one report, which is of many records.
        producer.poll(Duration::ZERO);
        match producer.in_flight_count() {
            0 => return,
            still if still == left => break,
            _ => {}
        }
    }
    send_lingering(producer);
}
