//! What a stage writes into the open transaction.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use freshet_core::{Fault, OutRecord, Output};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, ProducerContext};

use crate::client;
use crate::error::{Exit, classify};
use crate::record::native_headers;

/// How long a full queue may stay full before the transaction is given up.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(8);
/// The index of outputs that belong to no record of the batch.
pub(super) const BACKGROUND: usize = usize::MAX;

/// Notes the first output of a transaction that the broker did not take.
#[derive(Default)]
pub(super) struct Deliveries {
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
        let Err((error, message)) = result else { return };
        let purged = matches!(error.rdkafka_error_code(), Some(Code::PurgeQueue | Code::PurgeInflight));
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() && !purged {
            *failed = Some(Undelivered { index, topic: message.topic().to_owned(), error: error.clone() });
        }
    }
}

pub(super) struct TransactionOutput<'p> {
    producer: &'p BaseProducer<Deliveries>,
    /// Of the record that is being processed.
    pub(super) index: usize,
    /// The record whose output is larger than any topic takes.
    pub(super) unwritable: Option<usize>,
}

impl<'p> TransactionOutput<'p> {
    pub(super) fn new(producer: &'p BaseProducer<Deliveries>) -> Self {
        Self { producer, index: BACKGROUND, unwritable: None }
    }

    fn refused(&mut self, error: KafkaError, topic: &str) -> Fault {
        if is_too_large(&error) {
            self.unwritable = Some(self.index);
            return Fault::retry("write an output", format!("{topic}: {error}"));
        }
        match classify(&error) {
            Exit::Retry | Exit::Abort => Fault::retry("write an output", format!("{topic}: {error}")),
            Exit::Fatal => Fault::fatal("write an output", format!("{topic}: {error}")),
        }
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge))
}

impl Output for TransactionOutput<'_> {
    fn send(&mut self, record: OutRecord<'_>) -> Result<(), Fault> {
        let headers = record.headers.iter().chain(record.extra).map(|header| (header.name, header.value));
        let mut native = BaseRecord::<[u8], [u8], usize>::with_opaque_to(record.topic, self.index);
        native.partition = Some(record.partition).filter(|partition| *partition >= 0);
        native.key = record.key;
        native.payload = record.value;
        native.timestamp = record.timestamp_ms;
        native.headers = native_headers(record.headers.len() + record.extra.len(), headers);
        let mut deadline = None;
        loop {
            match self.producer.send(native) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    let deadline = *deadline.get_or_insert_with(|| Instant::now() + QUEUE_TIMEOUT);
                    if Instant::now() > deadline {
                        return Err(Fault::retry("write an output", "the queue stays full; is the broker slow?"));
                    }
                    self.producer.poll(Duration::from_millis(1));
                    native = back;
                }
                Err((error, _)) => return Err(self.refused(error, record.topic)),
            }
        }
    }
}
