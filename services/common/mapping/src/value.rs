//! One text to one value: pure functions, one file a kind. Every error is what the text is not, for a clerk.

pub mod amount;
pub mod date;
pub mod vocabulary;
