//! An event's data against the dataset's schema: to a datum and its key, or to everything that is wrong.

use freshet_avro::json::Transcoder;
use freshet_avro::{Walk, framing};
use freshet_catalog_model::VersionRule;
use freshet_catalog_model::compiled::CompiledSchema;
use freshet_core::{Code, Violation};
use freshet_mapping::json;
use serde_json::Value;

use super::{Admission, Payload};
use crate::envelope::{Data, Event};

/// An event's data, as far as it must be read to be judged.
#[derive(Debug)]
pub(super) enum Read<'a> {
    Absent,
    /// A record of the latest schema, in the wire format.
    Record(Vec<u8>),
    /// JSON of which the encoder has to say what it is, or of a delete.
    Tree(Value),
    /// What came in the wire format.
    Avro(&'a [u8]),
    /// That has been said.
    Unreadable,
}

/// Good JSON becomes its record here; all other JSON a tree, in which the encoder finds everything that is wrong. `Err`:
/// it is not JSON, or a name stands in it twice.
pub(super) fn read<'a>(
    admission: &Admission<'_>,
    event: &'a Event<'_>,
    transcoder: &mut Transcoder,
) -> Result<Read<'a>, Violation> {
    match event.data {
        Data::Absent => return Ok(Read::Absent),
        Data::Unreadable => return Ok(Read::Unreadable),
        Data::Avro => return Ok(Read::Avro(&event.raw)),
        Data::Json => {}
    }
    if !event.is_delete() {
        let schema = admission.dataset.compiled.latest();
        // Most records are less than half as long as their JSON.
        let mut value = Vec::with_capacity(framing::HEADER_BYTES + event.raw.len() / 2);
        framing::write(schema.id, &[], &mut value);
        if transcoder.append(&schema.plan, &event.raw, &mut value) {
            return Ok(Read::Record(value));
        }
    }
    let unreadable = |error| Violation::whole(Code::SchemaMalformed, format!("the data cannot be read: {error}"));
    json::value(&event.raw).map(Read::Tree).map_err(unreadable)
}

pub(super) fn of_event(
    admission: &Admission<'_>,
    event: &Event<'_>,
    data: Read<'_>,
    walk: &mut Walk,
) -> Result<Payload, Vec<Violation>> {
    let mut violations = Vec::new();
    let delete = event.is_delete();
    if event.attribute("sequence").is_none() && (delete || needs_sequence(admission)) {
        violations.push(missing_sequence(delete));
    }
    let payload = match data {
        Read::Unreadable => Err(Vec::new()),
        Read::Absent => of_delete(admission, event, None),
        Read::Tree(data) if delete => of_delete(admission, event, Some(&data)),
        Read::Tree(data) => of_tree(admission, &data, walk),
        Read::Record(value) => checked(admission, admission.dataset.compiled.latest(), value, walk),
        Read::Avro(value) => of_avro(admission, value, walk)
            .map(|payload| Payload { value: if delete { None } else { payload.value }, ..payload }),
    };
    match payload {
        Ok(payload) => {
            violations.extend(check_partition_key(admission, event, &payload));
            if violations.is_empty() { Ok(payload) } else { Err(violations) }
        }
        Err(further) => {
            violations.extend(further);
            Err(violations)
        }
    }
}

pub(crate) fn needs_sequence(admission: &Admission<'_>) -> bool {
    admission.dataset.compiled.dataset.version == VersionRule::Sequence
}

pub(crate) fn missing_sequence(delete: bool) -> Violation {
    let what = if delete { "a delete" } else { "an event of this dataset" };
    Violation::new(
        Code::VersionMissing,
        "sequence",
        format!("{what} needs the attribute sequence: a whole number that grows with every change of the entity"),
    )
}

/// A datum of the latest schema.
pub(crate) fn of_datum(admission: &Admission<'_>, datum: &[u8], walk: &mut Walk) -> Result<Payload, Vec<Violation>> {
    let schema = admission.dataset.compiled.latest();
    let mut value = Vec::new();
    framing::write(schema.id, datum, &mut value);
    checked(admission, schema, value, walk)
}

fn of_tree(admission: &Admission<'_>, data: &Value, walk: &mut Walk) -> Result<Payload, Vec<Violation>> {
    let datum = freshet_avro::json::encode(&admission.dataset.compiled.latest().plan, data)?;
    of_datum(admission, &datum, walk)
}

fn of_avro(admission: &Admission<'_>, value: &[u8], walk: &mut Walk) -> Result<Payload, Vec<Violation>> {
    let (id, _) =
        framing::split(value).map_err(|error| vec![Violation::whole(Code::SchemaFraming, error.to_string())])?;
    let compiled = &admission.dataset.compiled;
    let schema = compiled.schema(id).ok_or_else(|| {
        let known = compiled.dataset.schema_ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("schema {id} is not one of {}'s; those are {known}", admission.dataset.id());
        vec![Violation::whole(Code::SchemaUnknown, message)]
    })?;
    checked(admission, schema, value.to_vec(), walk)
}

/// The payload of a value in the wire format.
fn checked(
    admission: &Admission<'_>,
    schema: &CompiledSchema,
    value: Vec<u8>,
    walk: &mut Walk,
) -> Result<Payload, Vec<Violation>> {
    let datum = &value[framing::HEADER_BYTES..];
    if !schema.plan.check(datum, walk) {
        return Err(walk.violations().to_vec());
    }
    let key = admission
        .dataset
        .compiled
        .key_of(schema, walk, datum, admission.pseudonym)
        .map_err(|violation| vec![violation])?;
    let division = schema.division_of(walk, datum).map(str::to_owned);
    Ok(Payload { key, value: Some(value), division })
}

/// The key of a delete: the key fields of its data (others are not looked at), or the attribute `partitionkey`.
fn of_delete(admission: &Admission<'_>, event: &Event<'_>, data: Option<&Value>) -> Result<Payload, Vec<Violation>> {
    let dataset = &admission.dataset.compiled.dataset;
    let compiled = &admission.dataset.compiled;
    let key = match (data, event.attribute("partitionkey")) {
        (Some(data), _) => {
            let texts = key_texts(&dataset.key.fields, data)?;
            compiled.key_of_texts(texts.iter().map(String::as_str), admission.pseudonym)
        }
        (None, Some(key)) if !key.is_empty() => compiled.key_of_plain(key, admission.pseudonym),
        (None, _) => {
            let fields = dataset.key.fields.join(", ");
            return Err(vec![Violation::new(
                Code::EnvelopeKey,
                "partitionkey",
                format!(
                    "a delete says what it deletes: data with the key fields ({fields}), or the attribute partitionkey \
                     with their texts joined by |"
                ),
            )]);
        }
    };
    let key = key.map_err(|violation| vec![violation])?;
    Ok(Payload { key, value: None, division: None })
}

/// The texts of the key fields, as the record's own key has them.
fn key_texts(fields: &[String], data: &Value) -> Result<Vec<String>, Vec<Violation>> {
    let mut violations = Vec::new();
    let mut texts = Vec::new();
    for field in fields {
        let value = field.split('.').try_fold(data, |value, part| value.get(part));
        match value {
            Some(Value::String(text)) if !text.is_empty() => texts.push(text.clone()),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => texts.push(number.to_string()),
            None | Some(Value::Null) => violations.push(Violation::new(
                Code::SchemaMissing,
                field,
                "is missing; a delete carries every key field",
            )),
            Some(_) => violations.push(Violation::new(
                Code::SchemaType,
                field,
                "is neither a text nor a whole number, which a key field is",
            )),
        }
    }
    if violations.is_empty() { Ok(texts) } else { Err(violations) }
}

/// `partitionkey` is optional where the data gives the key; if it is there, it must be that key.
fn check_partition_key(admission: &Admission<'_>, event: &Event<'_>, payload: &Payload) -> Option<Violation> {
    let plain = event.attribute("partitionkey")?;
    match admission.dataset.compiled.key_of_plain(plain, admission.pseudonym) {
        Ok(key) if key == payload.key => None,
        Ok(_) => Some(Violation::new(
            Code::EnvelopeKey,
            "partitionkey",
            "attribute partitionkey is not the key that the data gives",
        )),
        Err(violation) => Some(violation),
    }
}
