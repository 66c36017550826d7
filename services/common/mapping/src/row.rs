//! One row, before its cells are read: names and cells in the order of the file. From a JSON object with every value as it
//! was written (numbers are not turned into floating point), or from a CSV record under its header.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{self, Members, Text};

#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// A CSV field or a JSON string.
    Text(Cow<'a, str>),
    /// A JSON number, as it was written.
    Number(&'a str),
    Boolean(bool),
    /// JSON null.
    Null,
    /// A JSON object or array, as it was written.
    Nested(&'a str),
}

impl Cell<'_> {
    /// As it was written, strings without their quotation marks.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Number(text) | Self::Nested(text) => text,
            Self::Boolean(true) => "true",
            Self::Boolean(false) => "false",
            Self::Null => "",
        }
    }
}

/// Names and cells in the order of the file.
pub struct Row<'a> {
    cells: Vec<(Cow<'a, str>, Cell<'a>)>,
    /// Where the row came from JSON: for columns that are pointers.
    json: Option<&'a str>,
}

impl<'a> Row<'a> {
    pub fn of_json(json: &'a str) -> Result<Self, serde_json::Error> {
        let members = Members::parse(json)?;
        let cells = members.0.into_iter().map(|(name, value)| (name, cell(value.get()))).collect();
        Ok(Self { cells, json: Some(json) })
    }

    pub fn of_record(cells: Vec<(Cow<'a, str>, Cell<'a>)>) -> Self {
        Self { cells, json: None }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(|(name, _)| name.as_ref())
    }

    pub fn get(&self, column: &str) -> Option<Cell<'a>> {
        let own = self.cells.iter().find(|(name, _)| name == column).map(|(_, cell)| cell.clone());
        own.or_else(|| match self.json {
            Some(json) if column.starts_with('/') => at_pointer(json, column).map(cell),
            _ => None,
        })
    }

    /// Names that the row has more than once.
    pub fn repeated(&self) -> Vec<&str> {
        json::repeated(self.names())
    }
}

/// The value at a JSON pointer (RFC 6901), as it was written. None where the pointer leads nowhere, or to a name that
/// stands twice.
pub fn at_pointer<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
    let mut at = json;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        at = match at.trim_start().as_bytes().first()? {
            b'{' => Members::parse(at).ok()?.once(&token)?.get(),
            b'[' => {
                let items: Vec<&'a RawValue> = serde_json::from_str(at).ok()?;
                items.get(token.parse::<usize>().ok()?)?.get()
            }
            _ => return None,
        };
    }
    Some(at)
}

/// One JSON value as a cell. The text is valid JSON.
pub fn cell(json: &str) -> Cell<'_> {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<Text<'_>>(json) {
            Ok(text) => Cell::Text(text.0),
            Err(_) => Cell::Nested(json),
        },
        Some(b'n') => Cell::Null,
        Some(b't') => Cell::Boolean(true),
        Some(b'f') => Cell::Boolean(false),
        Some(b'{' | b'[') => Cell::Nested(json),
        _ => Cell::Number(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_cells() {
        let row = Row::of_json(r#"{"a": 1, "b": {"c": "x"}, "a": 2, "a": 3}"#).expect("an object");
        assert_eq!(row.repeated(), ["a"]);
        assert_eq!(row.get("/b/c"), Some(Cell::Text("x".into())));
        assert_eq!(row.get("c"), None);
    }

    #[test]
    fn pointers() {
        let json = r#"{"after": {"list": [{"a/b": 7}]}, "seq": 3}"#;
        assert_eq!(at_pointer(json, "/seq"), Some("3"));
        assert_eq!(at_pointer(json, "/after/list/0/a~1b"), Some("7"));
        assert_eq!(at_pointer(json, "/before"), None);
        assert_eq!(at_pointer(json, "/seq/x"), None);
        assert_eq!(at_pointer(json, ""), Some(json));
        assert_eq!(at_pointer(r#"{"after": 1, "after": 2}"#, "/after"), None, "which of them?");
    }

    #[test]
    fn cells() {
        assert_eq!(cell(" \"a\\u0041\" "), Cell::Text("aA".into()));
        assert_eq!(cell("12345678901234567.89"), Cell::Number("12345678901234567.89"));
        assert_eq!(cell("null"), Cell::Null);
        assert_eq!(cell("[1]"), Cell::Nested("[1]"));
    }
}
