//! What a file becomes: one outcome a line.

use freshet_core::Violation;

/// One line (JSON lines) or record (CSV, where it may span lines) of a file, with its outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The physical line on which it begins, from 1.
    pub number: u64,
    /// As it stands in the file, without its line end. Cut at the limit where it is too long.
    pub raw: Vec<u8>,
    /// The event, or everything that is wrong with the line: never empty.
    pub outcome: Result<MappedEvent, Vec<Violation>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MappedEvent {
    pub line: u64,
    pub operation: Operation,
    /// The texts of the dataset's key fields, in the key rule's order, before they are joined or pseudonymised.
    pub key: Vec<String>,
    /// Avro datum of the dataset's latest schema, without framing. None for a delete.
    pub datum: Option<Vec<u8>>,
    /// Where the mapping says in which column it stands.
    pub sequence: Option<u64>,
    /// RFC 3339, where the mapping says in which column it stands.
    pub time: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Upsert,
    Delete,
}

/// Why a file cannot be read line by line at all. Nothing of it was taken.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot be read on: {0}")]
    Read(#[from] std::io::Error),
    /// Not the kind of file that was announced, e.g. a web page.
    #[error("{0}")]
    Kind(String),
    /// The header row does not fit the mapping: the complete list.
    #[error("the header row does not fit: {}", list(.0))]
    Header(Vec<Violation>),
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.message.as_str()).collect::<Vec<_>>().join("; ")
}

impl FileError {
    /// The violations to answer with. A read error is not the file's fault and gives none.
    pub fn violations(&self) -> Vec<Violation> {
        match self {
            Self::Read(_) => Vec::new(),
            Self::Kind(message) => vec![Violation::whole(freshet_core::Code::MappingRow, message.clone())],
            Self::Header(violations) => violations.clone(),
        }
    }
}
