//! Why an event was refused: a code for programs, a field and a sentence for the clerk who mends it.

use serde::{Deserialize, Serialize};

use crate::text;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A reason code. Each has a page of its text's name in `docs/errors/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Code { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// A required CloudEvents attribute is missing or has the wrong form.
    EnvelopeAttribute = "envelope.attribute",
    /// Key missing, or not the key that the record's fields give.
    EnvelopeKey = "envelope.key",
    /// Larger than the bus takes.
    EnvelopeSize = "envelope.size",
    /// `ce_source` belongs to no department.
    SourceUnknown = "source.unknown",
    /// The department is not the authority for this dataset and division (P5).
    SourceAuthority = "source.authority",
    /// The dataset is not in the catalogue.
    DatasetUnknown = "dataset.unknown",
    /// The dataset's publish topic has other partitions than the dataset: keys lie elsewhere now, and their order is lost.
    DatasetPartitions = "dataset.partitions",
    /// Not the Confluent wire format.
    SchemaFraming = "schema.framing",
    /// The schema id is not one of the dataset's.
    SchemaUnknown = "schema.unknown",
    /// The bytes are not a record of the schema: cut off, out of range, left over.
    SchemaMalformed = "schema.malformed",
    /// A field's value is not of its type.
    SchemaType = "schema.type",
    /// A field that the schema requires is missing.
    SchemaMissing = "schema.missing",
    /// A field that the schema does not know.
    SchemaUnknownField = "schema.unknown_field",
    /// A text that the mapping cannot read as the field's type.
    MappingValue = "mapping.value",
    /// A line that is not a row: wrong number of columns, not JSON, missing column.
    MappingRow = "mapping.row",
    /// An identifier with a wrong form or check digit.
    Identifier = "identifier.invalid",
    /// A status that cannot follow the one before.
    Transition = "transition.illegal",
    /// A rule of the dataset does not hold.
    Rule = "rule.violated",
    /// Older than, or as old as, what the bus has of this entity (P4).
    VersionStale = "version.stale",
    /// No version, or not a number.
    VersionMissing = "version.missing",
    /// The division is not in GB/T 2260 at the event's date.
    DivisionUnknown = "division.unknown",
    /// The event's division is not the one in the record.
    DivisionMismatch = "division.mismatch",
    /// The event's time is later than now plus the tolerance.
    ClockSkew = "clock.skew",
    /// Records were deleted before the bus had read them: by retention, by hand, or with their topic.
    RecordsExpired = "records.expired",
}

/// One thing that is wrong with an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    pub code: Code,
    /// Dotted path of the field, or the attribute's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// One sentence: what was wrong, with the value where it is no personal data.
    pub message: String,
}

/// Violations that are listed of one event. The list travels in a header, and a sender chooses how long it would be.
pub const MAX_VIOLATIONS: usize = 100;
/// Characters of a violation's field.
pub const MAX_FIELD_LENGTH: usize = 256;
/// Characters of a violation's message.
pub const MAX_MESSAGE_LENGTH: usize = 1_000;

impl Violation {
    /// Field and message quote what was sent: they are cut at their limits, and signs that act on a terminal or hide in a
    /// text ([`crate::text::is_hidden`]) are escaped.
    pub fn new(code: Code, field: impl Into<String>, message: impl Into<String>) -> Self {
        let field = text::shown(field.into(), MAX_FIELD_LENGTH);
        Self { code, field: Some(field), message: text::shown(message.into(), MAX_MESSAGE_LENGTH) }
    }

    /// Of the event as a whole; the message as in [`Violation::new`].
    pub fn whole(code: Code, message: impl Into<String>) -> Self {
        Self { code, field: None, message: text::shown(message.into(), MAX_MESSAGE_LENGTH) }
    }

    /// The first [`MAX_VIOLATIONS`], and how many more there are.
    pub fn first(mut violations: Vec<Self>) -> Vec<Self> {
        let more = violations.len().saturating_sub(MAX_VIOLATIONS);
        if let Some(code) = violations.get(MAX_VIOLATIONS).map(|violation| violation.code) {
            violations.truncate(MAX_VIOLATIONS);
            violations.push(Self::whole(code, format!("and {more} more faults, which are not listed")));
        }
        violations
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.field {
            Some(field) => write!(f, "field {field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The complete list of what is wrong with an event, as the header `freshet_violations` carries it (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rejection {
    pub violations: Vec<Violation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_quoted_short_and_without_signs_that_act() {
        let at_limit = Violation::new(Code::MappingRow, "f".repeat(MAX_FIELD_LENGTH), "m".repeat(MAX_MESSAGE_LENGTH));
        assert_eq!(at_limit.field.as_deref().map(str::len), Some(MAX_FIELD_LENGTH));
        assert_eq!(at_limit.message.len(), MAX_MESSAGE_LENGTH);
        let beyond =
            Violation::new(Code::MappingRow, "f".repeat(MAX_FIELD_LENGTH + 1), "名".repeat(MAX_MESSAGE_LENGTH + 1));
        assert!(beyond.field.as_deref().is_some_and(|field| field.ends_with("f…")), "{beyond:?}");
        assert_eq!(beyond.message.chars().count(), MAX_MESSAGE_LENGTH + 1);
        let acting = Violation::whole(Code::MappingRow, "a\u{1b}[2Jb\r\nERROR c\u{202e}d");
        assert_eq!(acting.message, "a\\u{1b}[2Jb\\r\\nERROR c\\u{202e}d");
    }

    #[test]
    fn the_list_is_bounded() {
        let list = |count| (0..count).map(|number| Violation::whole(Code::SchemaType, number.to_string())).collect();
        assert_eq!(Violation::first(list(MAX_VIOLATIONS)).len(), MAX_VIOLATIONS);
        let cut = Violation::first(list(MAX_VIOLATIONS + 7));
        assert_eq!(cut.len(), MAX_VIOLATIONS + 1);
        assert_eq!(cut[MAX_VIOLATIONS].message, "and 7 more faults, which are not listed");
    }
}
