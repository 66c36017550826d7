//! One transaction: begin, process, background work, offsets, commit.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use freshet_core::{Assigned, Fault, InRecord, Progress, Stage};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::output::{BACKGROUND, Deliveries, TransactionOutput, serve};
use super::positions::{Positions, next_offsets};
use super::{CALL_TIMEOUT, Trouble, notes};
use crate::calls::bounded_in_transaction;
use crate::error::{Exit, classify, is_fenced, is_out_of_step};
use crate::group::{Gone, offset_list};
use crate::metrics::Outcomes;
use crate::native::Headers;
use crate::reader::Reader;
use crate::record::{HeaderCopy, emptied};
use crate::{Error, LoopMetrics, settings};

const TRANSACTION_TIMEOUT: Duration = Duration::from_millis(settings::TRANSACTION_TIMEOUT_MS as u64);
/// Outputs that wait for longer than a busy broker takes.
const ASK_AFTER: Duration = Duration::from_millis(500);
const ABORT_STEP: Duration = Duration::from_millis(20);
/// An abort only lets readers go on sooner: the producer that is made after it ends what is still open.
const ABORT_LIMIT: Duration = Duration::from_secs(2);
/// A commit without an answer for so long is found out about by taking over its transaction.
const COMMIT_LIMIT: Duration = TRANSACTION_TIMEOUT.saturating_mul(2);
/// What background work may wait for while the transaction is open.
const BACKGROUND_READ_TIMEOUT: Duration = Duration::from_secs(4);

pub(super) struct Transaction<'a> {
    pub(super) producer: &'a BaseProducer<Deliveries>,
    pub(super) generation: &'a ConsumerGroupMetadata,
    pub(super) positions: &'a Positions,
    pub(super) gone: &'a [Gone],
    pub(super) uncommitted: &'a [Assigned],
    pub(super) set_aside: &'a HashSet<(String, i32, i64)>,
    /// Waits for the acknowledgement of each record's outputs before the next record's.
    pub(super) one_by_one: OneByOne,
    pub(super) metrics: &'a LoopMetrics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OneByOne {
    No,
    Yes,
}

/// Nothing of the batch is visible.
pub(super) struct Failed {
    pub(super) trouble: Trouble,
    pub(super) unwritable: Option<Unwritable>,
}

/// An output is larger than its topic takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unwritable {
    /// That of the record with this index in the batch.
    Record(usize),
    /// One of several. The broker refuses whole requests, so the records beside the large one are refused with it.
    Unknown,
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, unwritable: None }
    }
}

impl Transaction<'_> {
    pub(super) fn run(
        &self,
        stage: &mut dyn Stage,
        batch: &mut [BorrowedMessage<'_>],
        reader: &mut Reader,
    ) -> Result<(), Failed> {
        let begun = Instant::now();
        self.producer.context().take();
        self.metrics.status.begins("begin a transaction");
        let began = bounded_in_transaction("begin a transaction", || self.producer.begin_transaction());
        began.map_err(|error| self.trouble("begin a transaction", &error, begun))?;
        let outcomes = self.fill(stage, batch, reader, begun).map_err(|failed| self.prefer_cause(failed, begun))?;
        let ended = self
            .send_offsets(batch, begun)
            .and_then(|()| self.write_out(begun))
            .and_then(|()| stage.before_commit().map_err(aborted))
            .and_then(|()| self.commit(begun));
        ended.map_err(|trouble| self.prefer_cause(trouble.into(), begun))?;
        outcomes.add_to(&self.metrics.records);
        for gone in self.gone {
            gone.report();
            self.metrics.errors.with_label_values(&[gone.kind()]).inc_by(gone.offsets());
        }
        self.metrics.batch_records.observe(batch.len() as f64);
        self.metrics.transaction_seconds.observe(begun.elapsed().as_secs_f64());
        Ok(())
    }

    fn fill(
        &self,
        stage: &mut dyn Stage,
        batch: &mut [BorrowedMessage<'_>],
        reader: &mut Reader,
        begun: Instant,
    ) -> Result<Outcomes, Failed> {
        let mut outcomes = Outcomes::default();
        let mut output = TransactionOutput::new(self.producer);
        let (mut copy, mut list) = (HeaderCopy::default(), Vec::new());
        let (mut topic, mut topic_handle) = (String::new(), std::ptr::null_mut());
        self.metrics.status.begins("process a batch");
        for (index, message) in batch.iter_mut().enumerate() {
            if topic_handle != message.topic_ptr() {
                topic_handle = message.topic_ptr();
                message.topic().clone_into(&mut topic);
            }
            let native = Headers::take(message);
            copy.fill(native.as_ref());
            let headers = copy.list(list);
            let record = InRecord {
                topic: &topic,
                partition: message.partition(),
                offset: message.offset(),
                timestamp_ms: message.timestamp().to_millis(),
                key: message.key(),
                value: message.payload(),
                headers: &headers,
            };
            output.begin_record(index, native, &headers);
            let done = if !self.set_aside.is_empty() && self.is_set_aside(&record) {
                outcomes.unwritable += 1;
                self.metrics.errors.with_label_values(&["unwritable"]).inc();
                notes::set_aside(&record, &mut output)
            } else {
                stage.process(&record, &mut output).map(|outcome| outcomes.count(outcome))
            };
            list = emptied(headers);
            done.map_err(|fault| self.in_transaction(fault, &output, begun))?;
            if self.one_by_one == OneByOne::Yes {
                self.drain(begun)?;
                if self.producer.context().has_failed() {
                    return Err(Trouble::Abort { reason: "output", why: String::new() }.into());
                }
            }
        }
        output.begin_background();
        for gone in self.gone {
            notes::gone(gone, &mut output).map_err(|fault| self.in_transaction(fault, &output, begun))?;
        }
        if stage.has_background_work() {
            self.metrics.status.begins("work in the background");
            let kept = reader.set_progress_timeout(BACKGROUND_READ_TIMEOUT);
            let progress = stage.background(reader, &mut output);
            reader.set_progress_timeout(kept);
            // Whether there is more, the loop asks `has_background_work`.
            let (Progress::Idle | Progress::More) =
                progress.map_err(|fault| self.in_transaction(fault, &output, begun))?;
        }
        Ok(outcomes)
    }

    fn is_set_aside(&self, record: &InRecord<'_>) -> bool {
        self.set_aside.contains(&(record.topic.to_owned(), record.partition, record.offset))
    }

    /// Sends the offsets behind the batch. An answer that may be had later is asked for again, as long as the broker
    /// keeps the transaction open.
    fn send_offsets(&self, batch: &[BorrowedMessage<'_>], begun: Instant) -> Result<(), Trouble> {
        self.metrics.status.begins("send offsets");
        let mut next: BTreeMap<(&str, i32), i64> =
            self.uncommitted.iter().map(|at| ((at.topic.as_str(), at.partition), at.position)).collect();
        next.extend(next_offsets(batch));
        if next.is_empty() {
            // Background work alone. An offset that does not move goes with it all the same: it is what the broker
            // checks the group's generation by, so that an instance that lost its partitions cannot write for them.
            let held = self.positions.iter().next();
            next.extend(held.map(|((topic, partition), offset)| ((topic.as_str(), *partition), *offset)));
        }
        let list = offset_list(next.into_iter().map(|((topic, partition), offset)| (topic, partition, offset)))?;
        loop {
            let send = || self.producer.send_offsets_to_transaction(&list, self.generation, CALL_TIMEOUT);
            match bounded_in_transaction("send offsets", send) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && begun.elapsed() < TRANSACTION_TIMEOUT => {
                    tracing::debug!(%error, "offsets are sent again");
                }
                Err(error) => return Err(self.trouble("send offsets", &error, begun)),
            }
        }
    }

    fn write_out(&self, begun: Instant) -> Result<(), Trouble> {
        self.metrics.status.begins("write the outputs");
        self.drain(begun)
    }

    /// A commit whose answer did not come in time is resumed, not aborted: the broker may have decided already. Where none
    /// comes at all, another producer of the same name waits for the decision, or makes it; offsets and outputs share it.
    fn commit(&self, begun: Instant) -> Result<(), Trouble> {
        self.metrics.status.begins("commit");
        let asked = Instant::now();
        loop {
            match bounded_in_transaction("commit", || self.producer.commit_transaction(CALL_TIMEOUT)) {
                Ok(()) => return Ok(()),
                Err(error) if is_retriable(&error) && asked.elapsed() < COMMIT_LIMIT => {
                    tracing::warn!(%error, "commit is resumed");
                }
                Err(error) if is_retriable(&error) => return Err(Trouble::Renew { why: format!("commit: {error}") }),
                Err(error) => return Err(self.trouble("commit", &error, begun)),
            }
        }
    }

    /// Empties the queue in small steps; `flush`, which a commit begins with, would wait in steps of 100 ms.
    fn drain(&self, begun: Instant) -> Result<(), Trouble> {
        let mut asked = Instant::now();
        while self.producer.in_flight_count() > 0 {
            if asked.elapsed() > ASK_AFTER {
                self.ask(begun)?;
                asked = Instant::now();
            }
            if begun.elapsed() > 2 * TRANSACTION_TIMEOUT {
                let error = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.trouble("write the outputs", &error, begun));
            }
            serve(self.producer);
        }
        Ok(())
    }

    /// Where the broker refuses a partition to the transaction, the outputs to it wait for ever, and only the next
    /// transactional call tells. This one is never allowed here, so it has no effect but its answer.
    fn ask(&self, begun: Instant) -> Result<(), Trouble> {
        match bounded_in_transaction("write the outputs", || self.producer.begin_transaction()) {
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() || error.is_fatal() => {
                Err(self.trouble("write the outputs", &KafkaError::Transaction(error), begun))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What it means that the stage could not go on.
    fn in_transaction(&self, fault: Fault, output: &TransactionOutput<'_>, begun: Instant) -> Failed {
        if let Some(error) = &output.fatal {
            return self.trouble("write an output", error, begun).into();
        }
        match (fault, output.unwritable) {
            (fault @ Fault::Retry { .. }, Some(index)) => unwritable(index, fault.to_string()),
            (fault, _) => aborted(fault).into(),
        }
    }

    /// What the broker's refusal of a transactional call means.
    fn trouble(&self, doing: &'static str, error: &KafkaError, begun: Instant) -> Trouble {
        let why = format!("{doing}: {error}");
        if is_fenced(error) {
            // From here a transaction that the broker gave up looks like one that a successor took over. A successor
            // does not wait for our time to be over.
            return if begun.elapsed() >= TRANSACTION_TIMEOUT {
                Trouble::Renew { why }
            } else {
                let reason = format!("{error}; another instance works under the same name, this one stops");
                Trouble::Fatal(Fault::fatal(doing, reason))
            };
        }
        match classify(error) {
            Exit::Retry | Exit::Abort => Trouble::Abort { reason: "kafka", why },
            Exit::Fatal if is_out_of_step(error) => Trouble::Renew { why },
            Exit::Fatal => Trouble::Fatal(Fault::fatal(doing, error)),
        }
    }

    /// An output that was not taken makes every later call of the transaction fail: tell the cause, not the effect.
    fn prefer_cause(&self, failed: Failed, begun: Instant) -> Failed {
        self.producer.poll(Duration::ZERO);
        let Some(undelivered) = self.producer.context().take() else { return failed };
        let Trouble::Abort { .. } = failed.trouble else { return failed };
        let why = format!("output to {}: {}", undelivered.topic, undelivered.error);
        if undelivered.is_too_large() {
            return match self.one_by_one {
                OneByOne::Yes => unwritable(undelivered.index, why),
                OneByOne::No => Failed {
                    trouble: Trouble::Abort { reason: "unwritable", why },
                    unwritable: Some(Unwritable::Unknown),
                },
            };
        }
        match self.trouble("write the outputs", &undelivered.error, begun) {
            Trouble::Abort { .. } => Trouble::Abort { reason: "output", why }.into(),
            other => other.into(),
        }
    }
}

/// What it means that the stage does not want the batch.
fn aborted(fault: Fault) -> Trouble {
    match fault {
        Fault::Fatal { .. } => Trouble::Fatal(fault),
        Fault::Retry { .. } => Trouble::Abort { reason: "stage", why: fault.to_string() },
    }
}

fn unwritable(index: usize, why: String) -> Failed {
    if index == BACKGROUND {
        let reason = format!("{why}; raise the topic's max.message.bytes");
        return Trouble::Fatal(Fault::fatal("write in the background", reason)).into();
    }
    Failed { trouble: Trouble::Abort { reason: "unwritable", why }, unwritable: Some(Unwritable::Record(index)) }
}

fn is_retriable(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(transaction)
        if transaction.is_retriable() && !transaction.txn_requires_abort() && !transaction.is_fatal())
}

/// Aborts the open transaction, where that is soon done. Without one there is nothing to do. An abort first waits until
/// every output has been reported as failed or written, and these reports are served by `poll` alone: so it is called in
/// short steps.
pub(super) fn abort(producer: &BaseProducer<Deliveries>) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        match bounded_in_transaction("abort", || producer.abort_transaction(ABORT_STEP)) {
            Ok(()) => return Ok(()),
            Err(error) if is_retriable(&error) && begun.elapsed() < ABORT_LIMIT => {}
            Err(source) => return Err(Error::Kafka { doing: "abort a transaction", source }),
        }
        producer.poll(ABORT_STEP);
    }
}
