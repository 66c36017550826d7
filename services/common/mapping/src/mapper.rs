//! The mapping of one dataset, compiled: a row to an event or to everything that is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use freshet_avro::Plan;
use freshet_catalog_model::Dataset;
use freshet_catalog_model::compiled::CompiledDataset;
use freshet_catalog_model::mapping::{CsvMapping, EnvelopeMapping, FieldMapping, Mapping, ReadAs};
use freshet_core::{Code, Violation};
use serde_json::{Map, Value};

use crate::beside::MappedRow;
use crate::form::Vocabularies;
use crate::kind::{self, Field, Fields, Kind};
use crate::reader::FieldReader;
use crate::row::{Cell, Row};
use crate::value::vocabulary::Spellings;
use freshet_core::nearest::nearest;

/// One line or record may have this many bytes.
pub const DEFAULT_LIMIT_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub struct Mapper {
    plan: Arc<Plan>,
    readers: Vec<FieldReader>,
    /// Records that are null where nothing in them has a value, inner ones first.
    nullable_records: Vec<String>,
    /// Indexes into `readers`, in the key rule's order.
    key: Vec<usize>,
    /// Every column that a row may have.
    known: BTreeSet<String>,
    pub(crate) envelope: Option<EnvelopeMapping>,
    pub(crate) csv: CsvMapping,
    pub(crate) limit_bytes: usize,
}

/// A mapping that does not fit its schema: the complete list, a sentence each.
#[derive(Debug, thiserror::Error)]
#[error("the mapping does not fit the schema: {}", .0.join("; "))]
pub struct MapperError(pub Vec<String>);

impl Mapper {
    pub fn compile(dataset: &CompiledDataset) -> Result<Self, MapperError> {
        Self::new(&dataset.dataset, dataset.latest().plan.clone())
    }

    /// For the dataset's latest schema. A dataset without a mapping takes rows whose columns are the schema's own fields.
    pub fn new(dataset: &Dataset, plan: Arc<Plan>) -> Result<Self, MapperError> {
        let Fields { fields, nullable_records } =
            kind::fields(plan.avsc()).map_err(|problem| MapperError(vec![problem]))?;
        let own;
        let mapping = match &dataset.mapping {
            Some(mapping) => mapping,
            None => {
                own = names_as_they_are(&fields);
                &own
            }
        };
        let mut problems = Vec::new();
        let vocabularies = vocabularies(mapping, &mut problems);
        let withheld = dataset.withheld();
        let mut readers = Vec::new();
        for (path, field_mapping) in &mapping.fields {
            let Some(field) = fields.iter().find(|field| field.path == *path) else {
                problems.push(format!("field {path} is not in the schema"));
                continue;
            };
            let sensitive = withheld.covers(path);
            match FieldReader::compile(field, field_mapping, &vocabularies, sensitive) {
                Ok(reader) => readers.push(reader),
                Err(problem) => problems.push(format!("field {path} {problem}")),
            }
        }
        // Violations come in the schema's order.
        readers.sort_by_key(|reader| fields.iter().position(|field| field.path == reader.field.path));
        for field in fields.iter().filter(|field| !field.has_default && !mapping.fields.contains_key(&field.path)) {
            problems.push(format!("field {} has neither a column nor a default", field.path));
        }
        let mut key = Vec::new();
        for path in &dataset.key.fields {
            match readers.iter().position(|reader| reader.field.path == *path) {
                Some(index) => key.push(index),
                None => problems.push(format!("key field {path} has no column")),
            }
        }
        if !problems.is_empty() {
            return Err(MapperError(problems));
        }
        let csv = mapping.csv.clone().unwrap_or_else(plain_csv);
        let known = known_columns(mapping, &csv, &readers);
        let limit_bytes = DEFAULT_LIMIT_BYTES;
        let envelope = mapping.envelope.clone();
        let mapper = Self { plan, readers, nullable_records, key, known, envelope, csv, limit_bytes };
        let header = &mapper.csv.header;
        let misfits = if header.is_empty() { Vec::new() } else { mapper.misfits(header) };
        match misfits.is_empty() {
            true => Ok(mapper),
            false => Err(MapperError(misfits.iter().map(|misfit| format!("csv.header: {}", misfit.message)).collect())),
        }
    }

    /// The same with another limit for one line or record.
    pub fn with_limit_bytes(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// A create or update: the whole row.
    pub(crate) fn upsert(&self, row: &Row<'_>) -> Result<MappedRow, Vec<Violation>> {
        let mut violations = self.unknown_columns(row.names());
        violations.extend(row.repeated().into_iter().map(|name| {
            Violation::new(Code::MappingRow, name, format!("the column \"{name}\" stands in the row more than once"))
        }));
        let mut record = Map::new();
        for reader in &self.readers {
            match self.value(reader, row) {
                Ok(Some(value)) => put(&mut record, &reader.field.path, value),
                Ok(None) => {}
                Err(violation) => violations.push(violation),
            }
        }
        let mut record = Value::Object(record);
        for path in &self.nullable_records {
            let pointer = format!("/{}", path.replace('.', "/"));
            if let Some(inner) = record.pointer_mut(&pointer)
                && inner.as_object().is_some_and(|members| members.values().all(Value::is_null))
            {
                *inner = Value::Null;
            }
        }
        let key = self.key_texts(&record, &mut violations);
        match freshet_avro::json::encode(&self.plan, &record) {
            Ok(datum) if violations.is_empty() => Ok(MappedRow { key, datum: Some(datum) }),
            Ok(_) => Err(violations),
            Err(further) => {
                // What was said of a field, or of a part of it, is not said again.
                let said: Vec<String> = violations.iter().filter_map(|violation| violation.field.clone()).collect();
                let is_new = |field: &str| {
                    !said.iter().any(|said| {
                        said.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                    })
                };
                violations
                    .extend(further.into_iter().filter(|violation| violation.field.as_deref().is_none_or(is_new)));
                Err(violations)
            }
        }
    }

    /// A delete: the key fields only.
    pub(crate) fn delete(&self, row: &Row<'_>) -> Result<MappedRow, Vec<Violation>> {
        let mut violations = Vec::new();
        let mut record = Map::new();
        for reader in self.key.iter().map(|index| &self.readers[*index]) {
            match self.value(reader, row) {
                Ok(Some(value)) => put(&mut record, &reader.field.path, value),
                Ok(None) => {}
                Err(violation) => violations.push(violation),
            }
        }
        let key = self.key_texts(&Value::Object(record), &mut violations);
        if violations.is_empty() { Ok(MappedRow { key, datum: None }) } else { Err(violations) }
    }

    /// None: the column is missing, which the mapping allows, and the schema's default applies.
    fn value(&self, reader: &FieldReader, row: &Row<'_>) -> Result<Option<Value>, Violation> {
        let path = &reader.field.path;
        let found: Vec<(&str, Cell<'_>)> =
            reader.columns.iter().filter_map(|column| Some((column.as_str(), row.get(column)?))).collect();
        let holding: Vec<_> = found.iter().filter(|(_, cell)| !reader.is_null(cell)).collect();
        let cell = match (found.as_slice(), holding.as_slice()) {
            ([], _) if reader.optional => {
                return Ok((reader.field.nullable && !reader.field.has_default).then_some(Value::Null));
            }
            ([], _) => return Err(Violation::new(Code::MappingRow, path, missing(&reader.columns))),
            ([(_, only)], _) => only,
            (_, [(_, only)]) => only,
            ([(_, first), ..], []) => first,
            (_, several) => {
                let names: Vec<String> = several.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                let message = format!("the columns {} all hold a value; one of them may", names.join(" and "));
                return Err(Violation::new(Code::MappingRow, path, message));
            }
        };
        reader.read(cell).map(Some).map_err(|message| Violation::new(Code::MappingValue, path, message))
    }

    /// The texts that make the key. A violation for a key field without a value, unless something was said of the field
    /// already, and for a key of nothing but empty texts.
    fn key_texts(&self, record: &Value, violations: &mut Vec<Violation>) -> Vec<String> {
        let mut texts = Vec::new();
        let mut complete = true;
        for field in self.key.iter().map(|index| &self.readers[*index].field) {
            let value = field.path.split('.').try_fold(record, |at, name| at.get(name));
            texts.push(match value {
                Some(Value::String(text)) if field.kind == Kind::Uuid => text.to_ascii_lowercase(),
                Some(Value::String(text)) => text.clone(),
                Some(Value::Number(number)) => number.to_string(),
                _ => {
                    complete = false;
                    if !violations.iter().any(|violation| violation.field.as_ref() == Some(&field.path)) {
                        let message = "is part of the key and must have a value";
                        violations.push(Violation::new(Code::MappingValue, &field.path, message));
                    }
                    String::new()
                }
            });
        }
        if complete && texts.iter().all(String::is_empty) {
            let fields: Vec<&str> = self.key.iter().map(|index| self.readers[*index].field.path.as_str()).collect();
            let message = "the key is empty: nothing says which entity this is";
            violations.push(Violation::new(Code::EnvelopeKey, fields.join(", "), message));
        }
        texts
    }

    pub(crate) fn unknown_columns<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Violation> {
        let unknown = names.filter(|name| !self.known.contains(*name));
        let violation = |name: &str| {
            let known = self.known.iter().map(String::as_str);
            let hint = nearest(name, known).map(|near| format!("; is \"{near}\" meant?")).unwrap_or_default();
            Violation::new(Code::MappingRow, name, format!("unknown column \"{name}\"{hint}"))
        };
        unknown.map(violation).collect()
    }

    /// Of a header: the fields none of whose columns is there.
    pub(crate) fn missing_columns(&self, header: &[String]) -> Vec<Violation> {
        let is_there = |column: &String| header.contains(column);
        let absent = self.readers.iter().filter(|reader| !reader.optional && !reader.columns.iter().any(is_there));
        let violation =
            |reader: &FieldReader| Violation::new(Code::MappingRow, &reader.field.path, missing(&reader.columns));
        absent.map(violation).collect()
    }

    /// The columns that a header must have, for a message.
    pub(crate) fn expected_columns(&self) -> Vec<&str> {
        self.readers.iter().filter(|reader| !reader.optional).map(|reader| reader.columns[0].as_str()).collect()
    }

    pub(crate) fn knows(&self, column: &str) -> bool {
        self.known.contains(column)
    }
}

pub(crate) fn missing(columns: &[String]) -> String {
    match columns {
        [only] => format!("the column \"{only}\" is missing"),
        _ => format!("none of the columns \"{}\" is there", columns.join("\", \"")),
    }
}

fn put(record: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(record.insert(path.to_owned(), value)),
        Some((outer, inner)) => {
            let nested = record.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(nested) = nested {
                put(nested, inner, value);
            }
        }
    }
}

fn vocabularies(mapping: &Mapping, problems: &mut Vec<String>) -> Vocabularies {
    let mut compiled = BTreeMap::new();
    for (name, vocabulary) in &mapping.vocabularies {
        match Spellings::compile(vocabulary) {
            Ok(spellings) => drop(compiled.insert(name.clone(), Arc::new(spellings))),
            Err(problem) => problems.push(format!("vocabulary {name}: {problem}")),
        }
    }
    compiled
}

fn known_columns(mapping: &Mapping, csv: &CsvMapping, readers: &[FieldReader]) -> BTreeSet<String> {
    let of_fields = readers.iter().flat_map(|reader| &reader.columns);
    let beside = [&csv.operation, &csv.sequence, &csv.time].into_iter().flatten();
    // Of a JSON pointer, the member of the row that it goes through.
    let top = |column: &String| match column.strip_prefix('/') {
        Some(pointer) => pointer.split('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~"),
        None => column.clone(),
    };
    of_fields.map(top).chain(mapping.ignore.iter().cloned()).chain(beside.cloned()).collect()
}

fn plain_csv() -> CsvMapping {
    CsvMapping {
        delimiter: ',',
        encoding: None,
        header: Vec::new(),
        operation: None,
        delete_words: Vec::new(),
        upsert_words: Vec::new(),
        sequence: None,
        time: None,
    }
}

fn names_as_they_are(fields: &[Field]) -> Mapping {
    let pointer = |path: &str| match path.contains('.') {
        true => format!("/{}", path.replace('.', "/")),
        false => path.to_owned(),
    };
    let mapping = |field: &Field| FieldMapping {
        from: vec![pointer(&field.path)],
        optional: field.nullable || field.has_default,
        null_when: Vec::new(),
        trim: false,
        read: ReadAs::Plain,
    };
    Mapping { fields: fields.iter().map(|field| (field.path.clone(), mapping(field))).collect(), ..Mapping::default() }
}
