//! The view's record type from the dataset's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::{MaskKind, ProjectionError};
use crate::Plan;
use crate::schema::{Field, FieldDefault, FieldType, RecordType};

pub(super) fn select(
    writer: &Plan,
    fields: &[String],
    masks: &BTreeMap<String, MaskKind>,
) -> Result<RecordType, ProjectionError> {
    if fields.is_empty() {
        return Err(ProjectionError::NoFields);
    }
    for path in fields {
        if writer.slot(path).is_none() {
            let message = match enclosing(writer, path) {
                Some(outer) => format!("inside {outer}, of which only the whole can be shown"),
                None => "the schema has no such field".to_owned(),
            };
            return Err(ProjectionError::Field { path: path.clone(), message });
        }
    }
    let wanted: BTreeSet<&str> = fields.iter().map(String::as_str).collect();
    for (path, mask) in masks {
        check_mask(writer, path, *mask, &wanted)
            .map_err(|message| ProjectionError::Field { path: path.clone(), message })?;
    }
    Ok(record(writer.record(), "", Whole::No, &wanted, masks))
}

/// The longest prefix of the path that is a field.
fn enclosing<'a>(writer: &Plan, path: &'a str) -> Option<&'a str> {
    path.rmatch_indices('.').map(|(end, _)| &path[..end]).find(|prefix| writer.slot(prefix).is_some())
}

fn check_mask(writer: &Plan, path: &str, mask: MaskKind, wanted: &BTreeSet<&str>) -> Result<(), String> {
    let Some(slot) = writer.slot(path) else {
        return Err("a mask is set on it, but the schema has no such field".to_owned());
    };
    let prefixes = path.match_indices('.').map(|(end, _)| &path[..end]);
    if !prefixes.chain([path]).any(|prefix| wanted.contains(prefix)) {
        return Err("a mask is set on it, but it is not among the fields of the view".to_owned());
    }
    let ty = writer.type_of(slot);
    match mask {
        MaskKind::Null if ty.takes_null() => Ok(()),
        MaskKind::Null => Err(format!("the mask null needs a nullable field, this is a {ty}")),
        _ => match ty.without_null() {
            FieldType::String | FieldType::Uuid => Ok(()),
            _ => Err(format!("a mask of characters needs a text, this is a {ty}")),
        },
    }
}

/// Whether all fields are taken, or only those that are named.
#[derive(Clone, Copy, PartialEq)]
enum Whole {
    Yes,
    No,
}

fn record(
    source: &RecordType,
    prefix: &str,
    whole: Whole,
    wanted: &BTreeSet<&str>,
    masks: &BTreeMap<String, MaskKind>,
) -> RecordType {
    let mut fields = Vec::new();
    for field in &source.fields {
        let path = format!("{prefix}{}", field.name);
        let below = format!("{path}.");
        let taken = if whole == Whole::Yes || wanted.contains(path.as_str()) {
            Whole::Yes
        } else if wanted.iter().any(|wanted| wanted.starts_with(&below)) {
            Whole::No
        } else {
            continue;
        };
        let ty = match field.ty.without_null() {
            FieldType::Record(inner) => {
                let inner = record(inner, &below, taken, wanted, masks);
                rewrap(&field.ty, FieldType::Record(Arc::new(inner)))
            }
            FieldType::Uuid if masks.get(&path).is_some_and(|mask| *mask != MaskKind::Null) => {
                rewrap(&field.ty, FieldType::String)
            }
            _ => field.ty.clone(),
        };
        // The bytes are made anew when the view's schema is parsed.
        let default =
            field.default.as_ref().map(|default| FieldDefault { json: prune(&ty, &default.json), bytes: Vec::new() });
        fields.push(Field { name: field.name.clone(), doc: field.doc.clone(), ty, default });
    }
    RecordType { name: source.name.clone(), doc: source.doc.clone(), fields }
}

/// `inner` in the place of what `ty` is when it is not null.
fn rewrap(ty: &FieldType, inner: FieldType) -> FieldType {
    match ty.nullable() {
        Some((0, _)) => FieldType::Union([FieldType::Null, inner].into()),
        Some(_) => FieldType::Union([inner, FieldType::Null].into()),
        None => inner,
    }
}

/// A record's default without the fields that the view leaves out.
fn prune(ty: &FieldType, default: &Json) -> Json {
    match (ty.without_null(), default) {
        (FieldType::Record(record), Json::Object(values)) => Json::Object(
            values
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), prune(&record.field(name)?.ty, value))))
                .collect(),
        ),
        _ => default.clone(),
    }
}
