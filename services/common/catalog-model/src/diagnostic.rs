//! A mistake in a catalogue folder: where it is, what is wrong, and the mend.

use serde::Serialize;

/// Where a node of a file begins. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Relative to the catalogue's folder, with `/`.
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The beginning of a file, for what concerns it as a whole.
    pub fn file(file: impl Into<String>) -> Self {
        Self { file: file.into(), line: 1, column: 1 }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    #[serde(flatten)]
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

impl Diagnostic {
    pub fn new(place: Place, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { place, message: message.into(), mend: mend.into() }
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.message, self.mend)
    }
}
