//! JSON lines: one JSON object a line.

use std::io::BufRead;

use freshet_core::{Code, Violation};

use crate::beside::{finish, operation};
use crate::event::{FileError, Line, MappedEvent, Operation};
use crate::lines::{BoundedLines, RawLine};
use crate::mapper::Mapper;
use crate::row::{Row, at_pointer, cell};

/// Iterates over the lines of a file. Blank lines are counted and passed over.
#[derive(Debug)]
pub struct JsonLines<'m, R> {
    mapper: &'m Mapper,
    lines: BoundedLines<R>,
    /// The first line with anything in it, read to see what kind of file it is.
    first: Option<RawLine>,
}

impl Mapper {
    /// The error is a file that is no JSON lines at all.
    pub fn json_lines<R: BufRead>(&self, input: R) -> Result<JsonLines<'_, R>, FileError> {
        let mut lines = BoundedLines::new(input, self.limit_bytes);
        let mut first = lines.next_line()?;
        if let Some(line) = &mut first
            && line.bytes.starts_with(b"\xef\xbb\xbf")
        {
            line.bytes.drain(..3);
        }
        while first.as_ref().is_some_and(|line| is_blank(&line.bytes)) {
            first = lines.next_line()?;
        }
        if let Some(line) = &first {
            refuse_other_kinds(&line.bytes)?;
        }
        Ok(JsonLines { mapper: self, lines, first })
    }

    /// One line of JSON.
    pub fn map_json(&self, number: u64, line: &[u8]) -> Result<MappedEvent, Vec<Violation>> {
        let text = std::str::from_utf8(line).map_err(|error| {
            let at = error.valid_up_to() + 1;
            vec![Violation::whole(Code::MappingRow, format!("the line is not UTF-8 text: byte {at} is wrong"))]
        })?;
        let parsed = Row::of_json(text).map_err(|error| {
            vec![Violation::whole(Code::MappingRow, format!("the line is not a JSON object: {error}"))]
        })?;
        let Some(envelope) = &self.envelope else {
            return finish(number, Operation::Upsert, (None, None), self.upsert(&parsed));
        };
        let mut violations: Vec<Violation> = parsed.repeated().into_iter().map(stands_twice).collect();
        let mut beside = |pointer: &Option<String>| {
            let pointer = pointer.as_deref()?;
            let found = at_pointer(text, pointer).map(cell);
            if found.is_none() {
                violations.push(Violation::whole(Code::MappingRow, format!("the line has nothing at {pointer}")));
            }
            found
        };
        let (operation_cell, sequence, time) =
            (beside(&envelope.operation), beside(&envelope.sequence), beside(&envelope.time));
        if !violations.is_empty() {
            return Err(violations);
        }
        let operation = operation(operation_cell, &envelope.upsert_words, &envelope.delete_words)
            .map_err(|violation| vec![violation])?;
        let pointer = match operation {
            Operation::Upsert => &envelope.row,
            Operation::Delete => envelope.deleted_row.as_ref().unwrap_or(&envelope.row),
        };
        let row = at_pointer(text, pointer).and_then(|json| Row::of_json(json).ok()).ok_or_else(|| {
            vec![Violation::whole(Code::MappingRow, format!("the line has no JSON object at {pointer}"))]
        })?;
        let mapped = match operation {
            Operation::Upsert => self.upsert(&row),
            Operation::Delete => self.delete(&row),
        };
        finish(number, operation, (sequence, time), mapped)
    }
}

fn stands_twice(name: &str) -> Violation {
    Violation::new(Code::MappingRow, name, format!("the member \"{name}\" stands in the line more than once"))
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

fn refuse_other_kinds(line: &[u8]) -> Result<(), FileError> {
    match line.trim_ascii_start().first() {
        Some(b'<') => Err(FileError::Kind(web_page("JSON lines"))),
        Some(b'[') => {
            let message =
                "the file is one JSON array; JSON lines are due: one JSON object a line (`jq -c '.[]'` makes them)";
            Err(FileError::Kind(message.to_owned()))
        }
        _ => Ok(()),
    }
}

pub(crate) fn web_page(due: &str) -> String {
    format!("the file is a web page or XML, probably an error page of the system that it came from; {due} are due")
}

impl<R: BufRead> Iterator for JsonLines<'_, R> {
    type Item = Result<Line, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.first.take() {
                Some(first) => first,
                None => match self.lines.next_line() {
                    Ok(line) => line?,
                    Err(error) => return Some(Err(error.into())),
                },
            };
            if is_blank(&line.bytes) && !line.too_long {
                continue;
            }
            let outcome = match line.too_long {
                true => Err(vec![too_long(self.mapper.limit_bytes)]),
                false => self.mapper.map_json(line.number, &line.bytes).map_err(Violation::first),
            };
            return Some(Ok(Line { number: line.number, raw: line.bytes, outcome }));
        }
    }
}

pub(crate) fn too_long(limit_bytes: usize) -> Violation {
    Violation::whole(Code::EnvelopeSize, format!("the line is longer than {limit_bytes} bytes"))
}
