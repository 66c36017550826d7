//! A department's file to events: JSON lines and CSV, read as the dataset's mapping says, each line to one event or to the
//! complete list of what is wrong with it. Nothing is cleaned by guess, nothing is dropped. Memory is bounded by one line.
//! Independent of Kafka and HTTP.
//!
//! ```text
//! Mapper::compile(dataset) ── .json_lines(input) / .csv(input) / .rows(format, input) ──▶ Line { number, raw, outcome }
//! ```

mod beside;
mod csv;
mod event;
mod form;
mod format;
pub mod json;
mod json_lines;
mod kind;
mod lines;
mod mapper;
mod reader;
mod records;
mod row;
pub mod value;

pub use csv::CsvRows;
pub use event::{FileError, Line, MappedEvent, Operation};
pub use format::{Format, Rows};
pub use json_lines::JsonLines;
pub use mapper::{DEFAULT_LIMIT_BYTES, Mapper, MapperError};
