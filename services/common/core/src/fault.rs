//! The two ways in which work can fail that are not the data's fault. The data's fault is an outcome
//! ([`crate::Outcome::Rejected`]), not an error.

/// Why a stage or a loop could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The world's fault: the same work may succeed later. The loop aborts, waits (bounded, jittered) and tries again.
    #[error("{doing}: {reason}")]
    Retry { doing: &'static str, reason: String },
    /// Our fault, or a state that no retry mends: the service stops, exits non-zero and says why.
    #[error("{doing}: {reason}")]
    Fatal { doing: &'static str, reason: String },
}

impl Fault {
    pub fn retry(doing: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Retry { doing, reason: reason.to_string() }
    }

    pub fn fatal(doing: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Fatal { doing, reason: reason.to_string() }
    }
}
