//! What stands beside the row: operation, sequence, time.

use freshet_core::{Code, Violation};

use crate::event::{MappedEvent, Operation};
use crate::row::Cell;
use crate::value::date;

/// What a row alone gives.
pub(crate) struct MappedRow {
    pub key: Vec<String>,
    /// None for a delete.
    pub datum: Option<Vec<u8>>,
}

/// Sequence and time as they stand beside the row.
pub(crate) fn finish(
    line: u64,
    operation: Operation,
    texts: (Option<Cell<'_>>, Option<Cell<'_>>),
    row: Result<MappedRow, Vec<Violation>>,
) -> Result<MappedEvent, Vec<Violation>> {
    let mut violations = Vec::new();
    let sequence = texts.0.and_then(|cell| sequence(&cell).map_err(|violation| violations.push(violation)).ok());
    let time = texts.1.and_then(|cell| time(&cell).map_err(|violation| violations.push(violation)).ok());
    match row {
        Ok(MappedRow { key, datum }) if violations.is_empty() => {
            Ok(MappedEvent { line, operation, key, datum, sequence, time })
        }
        Ok(_) => Err(violations),
        Err(mut of_row) => {
            of_row.append(&mut violations);
            Err(of_row)
        }
    }
}

fn sequence(cell: &Cell<'_>) -> Result<u64, Violation> {
    let text = cell.text();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    let message = || format!("\"{text}\" is not a sequence number: only digits, at most {}", u64::MAX);
    number.ok_or_else(|| Violation::new(Code::MappingValue, "sequence", message()))
}

fn time(cell: &Cell<'_>) -> Result<String, Violation> {
    let text = cell.text();
    match date::rfc3339(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(what) => Err(Violation::new(Code::MappingValue, "time", format!("\"{text}\" is not {what}"))),
    }
}

/// What a word of the operation's column means. Without such a column every row is an upsert.
pub(crate) fn operation(cell: Option<Cell<'_>>, upsert: &[String], delete: &[String]) -> Result<Operation, Violation> {
    let Some(cell) = cell else {
        return Ok(Operation::Upsert);
    };
    let word = cell.text();
    if delete.iter().any(|own| own == word) {
        return Ok(Operation::Delete);
    }
    if upsert.iter().any(|own| own == word) {
        return Ok(Operation::Upsert);
    }
    let known: Vec<&str> = upsert.iter().chain(delete).map(String::as_str).collect();
    let message = format!("\"{word}\" is not an operation; known are {}", known.join(", "));
    Err(Violation::new(Code::MappingRow, "operation", message))
}
