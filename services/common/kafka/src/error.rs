//! What can go wrong with Kafka, and which of the three exits each error takes.

use std::path::PathBuf;

use freshet_core::Fault;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}: {source}")]
    Kafka { doing: &'static str, source: KafkaError },
    #[error("setting {key}: {reason}")]
    Setting { key: String, reason: String },
    #[error("secret file {}: {source}", path.display())]
    Secret { path: PathBuf, source: std::io::Error },
    #[error("topic {topic} has {actual} partitions, not {expected}; changing the count is a migration, not an alter")]
    Partitions { topic: String, expected: i32, actual: i32 },
    #[error("topic {topic}: {reason}")]
    Topic { topic: String, reason: String },
    #[error(transparent)]
    Catalog(#[from] freshet_catalog_model::catalog::EntryError),
    #[error("{doing}: no answer within {seconds} s; is the broker reachable?")]
    Timeout { doing: &'static str, seconds: u64 },
    #[error("the cluster cannot be reached: {reason}")]
    Unreachable { error: Box<Error>, reason: String },
    #[error("access control lists {reason}")]
    Acl { reason: String },
    #[error("{doing}: {reason}")]
    Thread { doing: &'static str, reason: String },
}

impl Error {
    pub(crate) fn kafka(doing: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { doing, source }
    }

    /// Which exit a loop takes.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Kafka { source, .. } => classify(source),
            Self::Timeout { .. } => Exit::Retry,
            Self::Unreachable { error, .. } => error.exit(),
            Self::Setting { .. }
            | Self::Secret { .. }
            | Self::Partitions { .. }
            | Self::Topic { .. }
            | Self::Catalog(_)
            | Self::Acl { .. }
            | Self::Thread { .. } => Exit::Fatal,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error.exit() {
            Exit::Retry | Exit::Abort => Fault::retry("kafka", error),
            Exit::Fatal => Fault::fatal("kafka", error),
        }
    }
}

/// The way out of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The same call may succeed later; nothing that was done is lost.
    Retry,
    /// The open transaction cannot be committed: abort it, go back to the committed offsets, do the batch again.
    Abort,
    /// No retry mends it: stop and say why.
    Fatal,
}

/// The exit of an error. A transactional error says itself what it wants, but for a right that is missing: the client would
/// abort, and so would every transaction after it. For all others the code decides.
pub fn classify(error: &KafkaError) -> Exit {
    match error {
        KafkaError::Transaction(transaction) if transaction.is_fatal() => Exit::Fatal,
        KafkaError::Transaction(transaction) if is_refused(transaction.code()) => Exit::Fatal,
        KafkaError::Transaction(transaction) if transaction.txn_requires_abort() => Exit::Abort,
        KafkaError::Transaction(transaction) if transaction.is_retriable() => Exit::Retry,
        KafkaError::MessageConsumptionFatal(_) => Exit::Fatal,
        KafkaError::ClientConfig(..) | KafkaError::Nul(_) | KafkaError::ClientCreation(_) => Exit::Fatal,
        // The texts of these come from the client without their code; all are states of the group that pass.
        KafkaError::Subscription(_) | KafkaError::Seek(_) | KafkaError::PauseResume(_) => Exit::Abort,
        KafkaError::PartitionEOF(_) | KafkaError::NoMessageReceived | KafkaError::Canceled => Exit::Retry,
        KafkaError::AdminOp(code) => classify_code(*code),
        KafkaError::AdminOpCreation(_) => Exit::Retry,
        other => other.rdkafka_error_code().map_or(Exit::Fatal, classify_code),
    }
}

/// No retry gives a right that nobody has given.
fn is_refused(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// The exit of an error code. Every code that the loops can meet has its line; what is not listed is a bug of ours or of
/// the cluster's setting-up (a malformed request, an unsupported version), and stops the service. `docs/kafka-errors.md`
/// is the same as a table.
pub fn classify_code(code: Code) -> Exit {
    listed(code).unwrap_or(Exit::Fatal)
}

fn listed(code: Code) -> Option<Exit> {
    let exit = match code {
        // The cluster is away, busy, moving a leader or a coordinator, or slows us down.
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::NetworkException
        | Code::BrokerNotAvailable
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::ReplicaNotAvailable
        | Code::PreferredLeaderNotAvailable
        | Code::EligibleLeadersNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::OffsetNotAvailable
        | Code::UnstableOffsetCommit
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::WaitingForCoordinator
        | Code::NotController
        | Code::NotEnoughReplicas
        | Code::KafkaStorageError
        | Code::ThrottlingQuotaExceeded
        | Code::ConcurrentTransactions
        | Code::RebalanceInProgress
        | Code::ReassignmentInProgress
        | Code::RebootstrapRequired
        | Code::UnknownBroker
        | Code::DestroyBroker
        | Code::NodeUpdate
        | Code::BrokerDestroy
        | Code::WaitCache
        | Code::InProgress
        | Code::PreviousInProgress
        | Code::Interrupted
        | Code::Retry
        | Code::Partial
        | Code::MemberIdRequired
        | Code::FetchSessionIdNotFound
        | Code::InvalidFetchSessionEpoch
        | Code::InvalidMessage
        | Code::BadMessage
        | Code::PartitionEOF
        | Code::NoError => Exit::Retry,
        // A topic that is being created, or was deleted: it may come (back), and the others go on meanwhile.
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId => {
            Exit::Retry
        }
        // A batch that the client does not decompress: too large, or of a codec that it does not know. One publisher's batch
        // must not end the service for all others; its partition waits for a person (`docs/kafka-errors.md`).
        Code::BadCompression | Code::NotImplemented => Exit::Retry,
        // The poll came too late: the client rejoins by itself, and the partitions come back by a rebalance.
        Code::PollExceeded => Exit::Retry,
        // What was done so far does not count any more: the group moved on, or the write failed.
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::FencedMemberEpoch
        | Code::StaleMemberEpoch
        | Code::AssignmentLost
        | Code::MessageTimedOut
        | Code::NotEnoughReplicasAfterAppend
        | Code::ISRInsufficient
        | Code::QueueFull
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerIdMapping
        | Code::InvalidTransactionalState
        | Code::State
        | Code::Conflict
        | Code::Outdated
        | Code::NoOffset
        | Code::AutoOffsetReset
        | Code::OffsetOutOfRange
        | Code::LogTruncation
        | Code::Inconsistent
        | Code::GaplessGuarantee => Exit::Abort,
        // The broker met something that it did not expect itself. A broker that was out of breath answered a commit so; whoever
        // gets it again and again is ended by the watchdog.
        Code::Unknown => Exit::Abort,
        // The loop knows which record it was and sets it aside; anywhere else it is the caller's to report.
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidRecord => Exit::Abort,
        // Another process works under our name: going on would undo its work.
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => Exit::Fatal,
        Code::TransactionCoordinatorFenced | Code::Fatal => Exit::Fatal,
        // A person must grant, mend or set something.
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::SSL
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::PolicyViolation
        | Code::InvalidTopic
        | Code::InvalidTransactionTimeout
        | Code::InvalidSessionTimeout
        | Code::InconsistentGroupProtocol
        | Code::GroupMaxSizeReached
        | Code::InvalidConfig => Exit::Fatal,
        // The client's own enumeration may grow, so the compiler cannot hold this; the test with the table does.
        _ => return None,
    };
    Some(exit)
}

/// True where another producer of the same transactional id has taken over, or the broker gave up our transaction. Both
/// look the same from here; the loop tells them apart by how long its transaction was open.
pub(crate) fn is_fenced(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId)
    )
}

/// True where the producer and a broker that came back do not agree on which record was the last. The client calls that
/// fatal; nothing of the transaction is visible, and a new producer of the same id has nothing to agree on.
pub(crate) fn is_out_of_step(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(Code::OutOfOrderSequenceNumber)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    #[test]
    fn each_code_has_its_exit() {
        for (code, expected) in [
            (Code::BrokerTransportFailure, Exit::Retry),
            (Code::AllBrokersDown, Exit::Retry),
            (Code::RequestTimedOut, Exit::Retry),
            (Code::OperationTimedOut, Exit::Retry),
            (Code::CoordinatorLoadInProgress, Exit::Retry),
            (Code::CoordinatorNotAvailable, Exit::Retry),
            (Code::NotCoordinator, Exit::Retry),
            (Code::ConcurrentTransactions, Exit::Retry),
            (Code::NotEnoughReplicas, Exit::Retry),
            (Code::NotEnoughReplicasAfterAppend, Exit::Abort),
            (Code::ThrottlingQuotaExceeded, Exit::Retry),
            (Code::UnknownTopicOrPartition, Exit::Retry),
            (Code::UnstableOffsetCommit, Exit::Retry),
            (Code::PollExceeded, Exit::Retry),
            (Code::UnknownProducerId, Exit::Abort),
            (Code::IllegalGeneration, Exit::Abort),
            (Code::UnknownMemberId, Exit::Abort),
            (Code::MessageTimedOut, Exit::Abort),
            (Code::MessageSizeTooLarge, Exit::Abort),
            (Code::QueueFull, Exit::Abort),
            (Code::OffsetOutOfRange, Exit::Abort),
            (Code::ProducerFenced, Exit::Fatal),
            (Code::Fenced, Exit::Fatal),
            (Code::InvalidProducerEpoch, Exit::Fatal),
            (Code::FencedInstanceId, Exit::Fatal),
            (Code::TopicAuthorizationFailed, Exit::Fatal),
            (Code::GroupAuthorizationFailed, Exit::Fatal),
            (Code::TransactionalIdAuthorizationFailed, Exit::Fatal),
            (Code::SaslAuthenticationFailed, Exit::Fatal),
            (Code::UnsupportedVersion, Exit::Fatal),
        ] {
            assert_eq!(classify_code(code), expected, "{code:?}");
            assert_eq!(classify(&KafkaError::Global(code)), expected, "{code:?}");
        }
    }

    /// Every code that the client knows stands in the table, with the exit that it has here.
    #[test]
    fn the_table_is_what_the_loops_do() {
        let known = (-300..200).filter_map(|number| RDKafkaRespErr::try_from(number).ok()).map(Code::from);
        let mut rows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for code in known {
            let exit = match listed(code) {
                Some(Exit::Retry) => "Retry",
                Some(Exit::Abort) => "Abort",
                Some(Exit::Fatal) => "Fatal",
                None => "Fatal, not listed",
            };
            rows.entry(exit).or_default().insert(format!("`{code:?}`"));
        }
        let page = include_str!("../../../../docs/kafka-errors.md");
        let rows = rows
            .into_iter()
            .map(|(exit, codes)| format!("| {exit} | {} |", codes.into_iter().collect::<Vec<_>>().join(" ")));
        let missing: Vec<String> = rows.filter(|row| !page.lines().any(|line| line == row)).collect();
        assert!(missing.is_empty(), "docs/kafka-errors.md lacks:\n{}", missing.join("\n"));
    }

    #[test]
    fn a_fatal_poll_error_is_fatal_whatever_its_code() {
        assert_eq!(classify(&KafkaError::MessageConsumptionFatal(Code::RequestTimedOut)), Exit::Fatal);
    }
}
