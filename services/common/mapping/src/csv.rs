//! CSV (RFC 4180, with the deviations that the `csv` crate knows): a header row, then records, which may span lines.

use std::borrow::Cow;
use std::io::{self, BufRead};

use encoding_rs::{Encoding, UTF_8};
use freshet_core::{Code, Violation};

use crate::beside::{finish, operation};
use crate::event::{FileError, Line, MappedEvent, Operation};
use crate::json;
use crate::json_lines::{too_long, web_page};
use crate::mapper::Mapper;
use crate::records::{MAX_COLUMNS, RawRecord, Records};
use crate::row::{Cell, Row};

/// Iterates over the records of a file, after its header.
#[derive(Debug)]
pub struct CsvRows<'m, R> {
    mapper: &'m Mapper,
    records: Records<R>,
    header: Vec<String>,
    encoding: &'static Encoding,
}

impl Mapper {
    /// Reads the header. The error is a file that is no CSV, or whose header does not fit.
    pub fn csv<R: BufRead>(&self, input: R) -> Result<CsvRows<'_, R>, FileError> {
        let delimiter = u8::try_from(self.csv.delimiter).map_err(|_| {
            FileError::Kind(format!("the delimiter \"{}\" is not an ASCII character", self.csv.delimiter))
        })?;
        let label = self.csv.encoding.as_deref().unwrap_or("utf-8");
        let encoding = Encoding::for_label(label.as_bytes())
            .filter(|encoding| encoding.is_ascii_compatible())
            .ok_or_else(|| FileError::Kind(format!("the encoding \"{label}\" is not known")))?;
        let mut records = Records::new(input, delimiter, self.limit_bytes);
        let header = if self.csv.header.is_empty() {
            let first = records.next_record()?.ok_or_else(|| FileError::Kind(self.no_header("the file is empty")))?;
            if first.raw.trim_ascii_start().starts_with(b"<") {
                return Err(FileError::Kind(web_page("comma-separated values")));
            }
            self.header(&first, encoding)?
        } else {
            self.csv.header.clone()
        };
        Ok(CsvRows { mapper: self, records, header, encoding })
    }

    fn header(&self, first: &RawRecord, encoding: &'static Encoding) -> Result<Vec<String>, FileError> {
        if first.fields.len() > MAX_COLUMNS || first.too_long {
            let limit = self.limit_bytes;
            let message = format!("the header has more than {MAX_COLUMNS} columns or {limit} bytes");
            return Err(FileError::Kind(message));
        }
        let mut header = Vec::new();
        for field in &first.fields {
            let text = decode(encoding, field).ok_or_else(|| {
                FileError::Kind(format!(
                    "the header row is not {} text; the mapping's `encoding` may be wrong",
                    encoding.name()
                ))
            })?;
            header.push(text.into_owned());
        }
        if !header.iter().any(|column| self.knows(column)) {
            let start: String = String::from_utf8_lossy(&first.raw).chars().take(60).collect();
            return Err(FileError::Kind(self.no_header(&format!("the first line is: {start}"))));
        }
        let violations = self.misfits(&header);
        if violations.is_empty() { Ok(header) } else { Err(FileError::Header(Violation::first(violations))) }
    }

    /// What is wrong with the names of a file's columns.
    pub(crate) fn misfits(&self, header: &[String]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for column in json::repeated(header.iter().map(String::as_str)) {
            let message = format!("the column \"{column}\" stands in the header more than once");
            violations.push(Violation::new(Code::MappingRow, column, message));
        }
        violations.extend(self.unknown_columns(header.iter().map(String::as_str)));
        violations.extend(self.missing_columns(header));
        for column in [&self.csv.operation, &self.csv.sequence, &self.csv.time].into_iter().flatten() {
            if !header.contains(column) {
                let message = format!("the column \"{column}\" is missing");
                violations.push(Violation::new(Code::MappingRow, column, message));
            }
        }
        violations
    }

    fn no_header(&self, found: &str) -> String {
        let expected = self.expected_columns().join(self.csv.delimiter.encode_utf8(&mut [0; 4]));
        format!("the file has no header row ({found}); these columns are expected: {expected}")
    }
}

impl<R: BufRead> CsvRows<'_, R> {
    fn outcome(&self, record: &RawRecord) -> Result<MappedEvent, Vec<Violation>> {
        if record.too_long {
            return Err(vec![too_long(self.mapper.limit_bytes)]);
        }
        if record.fields.len() != self.header.len() {
            return Err(vec![self.wrong_count(record)]);
        }
        let mut violations = Vec::new();
        let mut cells = Vec::with_capacity(record.fields.len());
        for (name, field) in self.header.iter().zip(&record.fields) {
            match decode(self.encoding, field) {
                Some(text) => cells.push((Cow::Borrowed(name.as_str()), Cell::Text(text))),
                None => {
                    let message = format!("the column \"{name}\" is not {} text", self.encoding.name());
                    violations.push(Violation::new(Code::MappingRow, name, message));
                }
            }
        }
        if !violations.is_empty() {
            return Err(violations);
        }
        let row = Row::of_record(cells);
        let csv = &self.mapper.csv;
        let beside = |column: &Option<String>| column.as_deref().and_then(|column| row.get(column));
        let operation = operation(beside(&csv.operation), &csv.upsert_words, &csv.delete_words)
            .map_err(|violation| vec![violation])?;
        let mapped = match operation {
            Operation::Upsert => self.mapper.upsert(&row),
            Operation::Delete => self.mapper.delete(&row),
        };
        finish(record.line, operation, (beside(&csv.sequence), beside(&csv.time)), mapped)
    }

    fn wrong_count(&self, record: &RawRecord) -> Violation {
        let (found, due) = (record.fields.len(), self.header.len());
        let lines = record.raw.iter().filter(|byte| **byte == b'\n').count();
        let hint = match lines {
            0 => String::new(),
            _ => format!("; it goes on to line {}: a quotation mark may be missing", record.line + lines as u64),
        };
        Violation::whole(Code::MappingRow, format!("the row has {found} columns, the header has {due}{hint}"))
    }
}

/// None where the bytes are not text of the encoding.
fn decode<'a>(encoding: &'static Encoding, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
    if encoding == UTF_8 {
        return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    }
    encoding.decode_without_bom_handling_and_without_replacement(bytes)
}

impl<R: BufRead> Iterator for CsvRows<'_, R> {
    type Item = Result<Line, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read: io::Result<Option<RawRecord>> = self.records.next_record();
        let record = match read {
            Ok(record) => record?,
            Err(error) => return Some(Err(error.into())),
        };
        let outcome = self.outcome(&record).map_err(Violation::first);
        Some(Ok(Line { number: record.line, raw: record.raw, outcome }))
    }
}
