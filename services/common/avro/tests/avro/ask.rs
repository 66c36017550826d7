//! The question to `apache-avro`, the oracle. Used by the fuzz targets too (`tests/fuzz`).

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use freshet_avro::Walk;

use crate::differences::{Case, why_laxer, why_stricter};

pub enum Answer {
    Taken { value: Value, left: usize },
    Refused(String),
}

/// What `apache-avro` says: decoded, and then found valid. Its allocations are limited first, because it reserves what the
/// bytes announce.
pub fn ask(schema: &Schema, bytes: &[u8]) -> Answer {
    assert_eq!(apache_avro::util::max_allocation_bytes(1 << 20), 1 << 20, "the limit was set to another value before");
    let reader = GenericDatumReader::builder(schema).build().expect("a reader");
    let mut rest = bytes;
    match reader.read_value(&mut rest) {
        Ok(value) if value.validate(schema) => Answer::Taken { value, left: rest.len() },
        Ok(value) => Answer::Refused(format!("decoded as {value:?}, which is not valid")),
        Err(error) => Answer::Refused(error.to_string()),
    }
}

/// Whether the check's answer is the oracle's, or their difference has a name; then the record, where both take it. `walk` is
/// the one of the check.
pub fn agree(schema: &Schema, bytes: &[u8], ours: bool, walk: &Walk) -> Result<Option<Value>, String> {
    match (ours, ask(schema, bytes)) {
        (true, Answer::Taken { value, left: 0 }) => Ok(Some(value)),
        (true, Answer::Taken { left, .. }) => Err(format!("the plan takes {left} bytes that apache-avro leaves")),
        (false, Answer::Refused(_)) => Ok(None),
        (false, Answer::Taken { left, .. }) => {
            // The last line of a full list says only that it is full.
            let mut faults = walk.violations().iter().take(freshet_core::MAX_VIOLATIONS);
            match faults.find(|violation| why_stricter(&Case { violation, left }).is_none()) {
                Some(violation) => Err(format!("only the plan refuses: {violation:?}")),
                None => Ok(None),
            }
        }
        (true, Answer::Refused(error)) => match why_laxer(&error) {
            Some(_) => Ok(None),
            None => Err(format!("only apache-avro refuses: {error}")),
        },
    }
}
