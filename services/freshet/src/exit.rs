//! Exit codes, documented in `docs/cli.md`. 2 is clap's, for arguments that cannot be read.

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Done = 0,
    /// Something could not be done; standard error says what.
    Failed = 1,
    /// Arguments or settings are wrong.
    Usage = 2,
    /// Done, but there is something to mend: refused events, mistakes in a catalogue, differences, unbalanced books.
    Findings = 3,
    /// Services did not finish inside the limit.
    Hung = 4,
    /// What the machine must have is missing.
    Missing = 5,
}

impl Exit {
    /// Of an error that reached `main`.
    pub fn of(error: &anyhow::Error) -> Self {
        if error.is::<freshet_runtime::ConfigError>() {
            return Self::Usage;
        }
        match error.downcast_ref::<freshet_testkit::BrokerError>() {
            Some(freshet_testkit::BrokerError::Missing(_)) => Self::Missing,
            _ => Self::Failed,
        }
    }

    pub fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Done,
            4 => Self::Hung,
            _ => Self::Failed,
        }
    }
}
