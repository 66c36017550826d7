//! Step 4: the content. Confluent framing, a schema of the dataset, every byte of the record (the compiled plan), and the
//! key that follows from the fields.

use freshet_avro::{Value, Walk, framing};
use freshet_catalog_model::compiled::{CompiledDataset, CompiledSchema, PseudonymKey};
use freshet_core::{Code, Violation};

/// A record that is of its schema in every byte. `Copy`: all it holds is borrowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) schema: &'a CompiledSchema,
    pub(crate) datum: &'a [u8],
    pub(crate) walk: &'a Walk,
}

impl<'a> Content<'a> {
    pub(crate) fn value(&self, slot: freshet_avro::Slot) -> Value<'a> {
        self.walk.value(&self.schema.plan, slot, self.datum)
    }

    /// By its number in the dataset's transitions.
    pub(crate) fn status(&self) -> Option<u16> {
        let transitions = self.schema.transitions.as_ref()?;
        transitions.state_of(&self.schema.plan, self.walk, self.datum)
    }

    /// The text of a string, UUID or enum field; `None` where it is null.
    pub(crate) fn text(&self, slot: freshet_avro::Slot) -> Option<&'a str> {
        match self.value(slot) {
            Value::String(text) | Value::Uuid(text) | Value::Enum { symbol: text, .. } => Some(text),
            _ => None,
        }
    }
}

/// `None` where the bytes are not a record of the dataset; why is noted.
pub(crate) fn check<'a>(
    value: &'a [u8],
    dataset: &'a CompiledDataset,
    walk: &'a mut Walk,
    violations: &mut Vec<Violation>,
) -> Option<Content<'a>> {
    let (id, datum) = match framing::split(value) {
        Ok(split) => split,
        Err(error) => {
            violations.push(Violation::whole(Code::SchemaFraming, error.to_string()));
            return None;
        }
    };
    let Some(schema) = dataset.schema(id) else {
        let known: Vec<String> = dataset.dataset.schema_ids.iter().map(u32::to_string).collect();
        let message = format!("schema id {id} is none of this dataset's ({})", known.join(", "));
        violations.push(Violation::whole(Code::SchemaUnknown, message));
        return None;
    };
    if !schema.plan.check(datum, walk) {
        violations.extend_from_slice(walk.violations());
        return None;
    }
    Some(Content { schema, datum, walk })
}

/// The record's key must be the one that its fields give: it is what orders, compacts and deletes the entity.
pub(crate) fn check_key(
    key: &[u8],
    content: &Content<'_>,
    dataset: &CompiledDataset,
    pseudonym: Option<&PseudonymKey>,
    violations: &mut Vec<Violation>,
) {
    match dataset.key_of(content.schema, content.walk, content.datum, pseudonym) {
        Ok(expected) if expected == key => {}
        // Neither key is shown: it may identify a person.
        Ok(_) => {
            let fields = dataset.dataset.key.fields.join("|");
            let message = format!("the record's key is not the one that its fields give ({fields})");
            violations.push(Violation::whole(Code::EnvelopeKey, message));
        }
        Err(violation) => violations.push(violation),
    }
}
