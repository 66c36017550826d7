//! The language of row filters and rules: a condition over one record.
//!
//! ```text
//! condition  = conjunction { "or" conjunction }
//! conjunction = negation { "and" negation }
//! negation   = "not" negation | "(" condition ")" | comparison
//! comparison = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) ( literal | field )
//!            | field [ "not" ] "in" "(" literal { "," literal } ")"
//!            | field [ "not" ] "contains" text          an array has the item; a text has the part
//!            | field [ "not" ] "starts_with" text
//!            | field "is" [ "not" ] "null"
//! field      = name { "." name }                        one that is a keyword stands in double quotes
//! literal    = 'text' (a quote in it is doubled) | number | true | false
//! ```
//!
//! Dates, times and time stamps are written as texts in the form of `crate::json`; a date against a time stamp means its
//! first moment in UTC. Numbers of all types compare exactly, but against `float` and `double` as those. Texts compare by
//! code points. Enums have no order. Keywords may be in either case.
//!
//! Null is SQL's: a comparison with null is unknown, `not` unknown is unknown, and a record for which the whole is
//! unknown does not match. So neither `status = 'A'` nor `not status = 'A'` nor `status != 'A'` matches a record whose
//! status is null; `status is null` does. A field inside a record that is null is null.

mod evaluate;
mod operand;
mod parser;
mod token;

use crate::{Plan, Walk};
use evaluate::Node;

/// The longest condition, in bytes.
pub const MAX_LENGTH: usize = 1024;
/// How deep parentheses and `not` may nest.
pub const MAX_NESTING: usize = 32;

/// A compiled condition over the records of one plan.
#[derive(Debug, Clone)]
pub struct Predicate {
    node: Node,
}

/// Why a text is no condition over the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {}: {message}", at + 1)]
pub struct PredicateError {
    /// Characters before the place.
    pub at: usize,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Predicate {
    pub fn compile(text: &str, plan: &Plan) -> Result<Self, PredicateError> {
        Self::compile_with_defaults(text, plan, plan)
    }

    /// For records of an older schema: a field that only `reader`, the newest schema, has takes the reader's default.
    pub fn compile_with_defaults(text: &str, writer: &Plan, reader: &Plan) -> Result<Self, PredicateError> {
        Ok(Self { node: parser::parse(text, writer, reader)? })
    }

    /// Whether the record meets the condition. `plan` is the one that this was compiled for, `walk` and `bytes` are those
    /// of a check that passed. Allocates nothing.
    pub fn matches(&self, plan: &Plan, walk: &Walk, bytes: &[u8]) -> bool {
        let _ = plan;
        self.node.evaluate(walk, bytes) == Some(true)
    }
}
