//! Which kind of file it is.

use std::io::BufRead;

use crate::csv::CsvRows;
use crate::event::{FileError, Line};
use crate::json_lines::JsonLines;
use crate::mapper::Mapper;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    JsonLines,
    Csv,
}

impl Format {
    /// By the name's ending. None: the caller has to ask.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let ending = name.rsplit_once('.')?.1.to_ascii_lowercase();
        match ending.as_str() {
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "csv" | "tsv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// By the media type, parameters aside.
    pub fn of_content_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Some(Self::JsonLines)
            }
            "text/csv" | "application/csv" => Some(Self::Csv),
            _ => None,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }
}

/// The lines of a file of either kind.
#[derive(Debug)]
pub enum Rows<'m, R> {
    JsonLines(JsonLines<'m, R>),
    Csv(Box<CsvRows<'m, R>>),
}

impl Mapper {
    pub fn rows<R: BufRead>(&self, format: Format, input: R) -> Result<Rows<'_, R>, FileError> {
        match format {
            Format::JsonLines => self.json_lines(input).map(Rows::JsonLines),
            Format::Csv => self.csv(input).map(|rows| Rows::Csv(Box::new(rows))),
        }
    }
}

impl<R: BufRead> Iterator for Rows<'_, R> {
    type Item = Result<Line, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::JsonLines(lines) => lines.next(),
            Self::Csv(rows) => rows.next(),
        }
    }
}
