//! How a department's file becomes events: which column gives which field, read as what, and which texts mean null. The
//! engine is in `freshet-mapping`; here is only what the catalogue says. Nothing is cleaned by guess: a text that none of
//! these settings explains is a violation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mapping {
    /// Where the row, operation, sequence and time stand in a JSON line. Absent: the line is the row, an upsert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<EnvelopeMapping>,
    /// CSV only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvMapping>,
    /// Columns that are known and deliberately not taken. A column that is neither here nor in `fields` is a violation.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// By the schema's field path.
    pub fields: BTreeMap<String, FieldMapping>,
    /// Lists of known texts, by name, for `one_of` and `list`.
    #[serde(default)]
    pub vocabularies: BTreeMap<String, Vocabulary>,
}

/// JSON pointers (RFC 6901) into the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeMapping {
    /// The row of a create or update.
    pub row: String,
    /// The row of a delete, of which only the key fields are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_row: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The operation's words that mean delete. Every other word must be in `upsert_words`.
    #[serde(default)]
    pub delete_words: Vec<String>,
    #[serde(default)]
    pub upsert_words: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvMapping {
    #[serde(default = "comma")]
    pub delimiter: char,
    /// A WHATWG label of an encoding that agrees with ASCII (`windows-1252`, `gb18030`, …). Absent: UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The columns of a file that has no header row, in their order. Empty: the first row names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub header: Vec<String>,
    /// The column that says what the row does; absent, every row is an upsert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    #[serde(default)]
    pub delete_words: Vec<String>,
    #[serde(default)]
    pub upsert_words: Vec<String>,
    /// The column with the sequence; absent, the line number counts on from the upload's own base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

fn comma() -> char {
    ','
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldMapping {
    /// The column, or its successive names where it was renamed. Where a row has more than one of them, at most one may
    /// hold a value; the others hold texts of `null_when`. In JSON lines a name that begins with `/` is a JSON pointer.
    pub from: Vec<String>,
    /// A row without the column has null here. Otherwise a missing column is a violation.
    #[serde(default)]
    pub optional: bool,
    /// Texts that mean null, compared whole. Nothing else does.
    #[serde(default)]
    pub null_when: Vec<String>,
    /// White space at either end is no part of the value.
    #[serde(default)]
    pub trim: bool,
    #[serde(default)]
    pub read: ReadAs,
}

/// How a text is read. Absent: as the field's Avro type says in its plainest form (`true`/`false`, digits, ISO dates).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadAs {
    #[default]
    Plain,
    /// A decimal number, into an Avro decimal, exactly: more digits after the point than the scale is a violation.
    Amount {
        /// `,` between groups of three digits is allowed.
        #[serde(default)]
        thousands: Option<char>,
        /// A currency sign in front or behind is allowed.
        #[serde(default)]
        currency: Option<String>,
        /// What stands between the whole and the fraction. Absent: `.`.
        #[serde(default)]
        decimal: Option<char>,
    },
    /// A date in one of these strptime formats.
    Date { formats: Vec<String> },
    /// A time stamp in one of these strptime formats; without an offset in the text, in this IANA zone.
    Time {
        formats: Vec<String>,
        #[serde(default)]
        zone: Option<String>,
    },
    /// A boolean by these words.
    Boolean { true_words: Vec<String>, false_words: Vec<String> },
    /// One text of the vocabulary (or one of its known spellings), giving its canonical form; for string and enum fields.
    OneOf { vocabulary: String },
    /// Members of the vocabulary, separated, for an array of strings. Members may themselves contain the separator.
    List {
        separator: String,
        #[serde(default)]
        vocabulary: Option<String>,
    },
}

/// Canonical text → further spellings that are known to mean it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vocabulary {
    pub members: BTreeMap<String, Vec<String>>,
}
