//! `mapping` against the schema.

use std::collections::{BTreeMap, BTreeSet};

use freshet_avro::{FieldType, Plan, RecordType};

use super::{Checker, is_always_there};
use crate::diagnostic::Place;
use crate::mapping::{FieldMapping, Mapping, ReadAs};
use crate::yaml::{Document, Kind};
use freshet_core::nearest::suggestion;

impl Checker<'_> {
    pub(super) fn mapping(&mut self, document: &Document, mapping: &Mapping, plan: &Plan) {
        for (path, field) in &mapping.fields {
            let place = document.key_place(&["mapping", "fields", path]);
            if let Some(ty) = self.field(place, path, plan) {
                self.read_as(document, path, field, ty);
                self.nothing(document, path, field, plan);
                self.symbols(document, mapping, field, ty);
            }
            self.vocabulary(document, mapping, path, field);
            self.columns(document, path, field);
        }
        self.missing(document, mapping, plan.record());
        self.spellings(document, mapping);
        for (index, column) in mapping.ignore.iter().enumerate() {
            let taken = mapping.fields.iter().find(|(_, field)| field.from.contains(column));
            if let Some((path, _)) = taken {
                let place = document.place(&["mapping", "ignore", &index.to_string()]);
                let mend = format!("remove it here, or from the field `{path}`");
                self.fail(place, format!("`{column}` is ignored, and read as `{path}`"), mend);
            }
        }
        if let Some(envelope) = &mapping.envelope {
            let words = (&envelope.upsert_words[..], &envelope.delete_words[..]);
            self.operation(document, "envelope", envelope.operation.is_some(), words);
        }
        if let Some(csv) = &mapping.csv {
            let words = (&csv.upsert_words[..], &csv.delete_words[..]);
            self.operation(document, "csv", csv.operation.is_some(), words);
        }
    }

    fn read_as(&mut self, document: &Document, path: &str, field: &FieldMapping, ty: &FieldType) {
        use FieldType as T;
        let ty = ty.without_null();
        let (way, fits, due) = match &field.read {
            ReadAs::Plain => {
                ("plain", !matches!(ty, T::Record(_)), "a field of one value; name the fields inside of it")
            }
            ReadAs::Amount { .. } => {
                let is_number = matches!(ty, T::Decimal(_) | T::Int | T::Long | T::Float | T::Double);
                ("amount", is_number, "a decimal or another number")
            }
            ReadAs::Date { .. } => ("date", matches!(ty, T::Date), "a date field"),
            ReadAs::Time { .. } => ("time", is_time(ty), "a time stamp field"),
            ReadAs::Boolean { .. } => ("boolean", matches!(ty, T::Boolean), "a boolean field"),
            ReadAs::OneOf { .. } => ("one_of", matches!(ty, T::String | T::Enum(_)), "a string or enum field"),
            ReadAs::List { .. } => ("list", is_list(ty), "an array of strings"),
        };
        if !fits {
            let place = document.place(&["mapping", "fields", path, "read"]);
            let message = format!("`{path}` is {ty}, and `{way}` reads {due}");
            self.fail(place, message, "choose the way of reading that fits the type (docs/catalogue.md)");
        }
    }

    /// What stands for nothing needs a schema in which nothing may stand.
    fn nothing(&mut self, document: &Document, path: &str, field: &FieldMapping, plan: &Plan) {
        const MEND: &str = "make the field nullable in the schema (`[\"null\", …]`, default null), or remove it here";
        if is_always_there(path, plan) {
            let at = |key: &str| document.key_place(&["mapping", "fields", path, key]);
            if !field.null_when.is_empty() {
                self.fail(at("null_when"), format!("`{path}` cannot be null in the schema"), MEND);
            }
            let has_default = default_of(plan.record(), path);
            if field.optional && !has_default {
                self.fail(at("optional"), format!("`{path}` has neither null nor a default in the schema"), MEND);
            }
        }
    }

    /// A vocabulary of an enum gives nothing but its symbols.
    fn symbols(&mut self, document: &Document, mapping: &Mapping, field: &FieldMapping, ty: &FieldType) {
        let (ReadAs::OneOf { vocabulary }, FieldType::Enum(symbols)) = (&field.read, ty.without_null()) else { return };
        let Some(known) = mapping.vocabularies.get(vocabulary) else { return };
        for (index, (member, _)) in known.members.iter().enumerate() {
            if !symbols.symbols.contains(member) {
                let path = ["mapping", "vocabularies", vocabulary];
                let place = match document.find(&path).kind {
                    Kind::List(_) => document.place(&[&path[..], &[&index.to_string()]].concat()),
                    Kind::Map(_) | Kind::Scalar { .. } => document.key_place(&[&path[..], &[member]].concat()),
                };
                let mend = suggestion(member, symbols.symbols.iter().map(String::as_str));
                self.fail(place, format!("`{member}` is no symbol of the schema's enum"), mend);
            }
        }
    }

    /// A spelling means one thing.
    fn spellings(&mut self, document: &Document, mapping: &Mapping) {
        for (name, vocabulary) in &mapping.vocabularies {
            let mut owners: BTreeMap<&str, &str> =
                vocabulary.members.keys().map(|member| (member.as_str(), member.as_str())).collect();
            for (member, spellings) in &vocabulary.members {
                for (index, spelling) in spellings.iter().enumerate() {
                    if let Some(other) = owners.insert(spelling, member)
                        && other != member
                    {
                        let place = document.place(&["mapping", "vocabularies", name, member, &index.to_string()]);
                        let message = format!("`{spelling}` stands for both `{other}` and `{member}`");
                        self.fail(place, message, "keep it at one of them");
                    }
                }
            }
        }
    }

    fn vocabulary(&mut self, document: &Document, mapping: &Mapping, path: &str, field: &FieldMapping) {
        let (vocabulary, way) = match &field.read {
            ReadAs::OneOf { vocabulary } => (vocabulary, "one_of"),
            ReadAs::List { vocabulary: Some(vocabulary), .. } => (vocabulary, "list"),
            _ => return,
        };
        if !mapping.vocabularies.contains_key(vocabulary) {
            let place = document.place(&["mapping", "fields", path, "read", way, "vocabulary"]);
            let mend = suggestion(vocabulary, mapping.vocabularies.keys().map(String::as_str));
            self.fail(place, format!("there is no vocabulary `{vocabulary}`"), mend);
        }
    }

    fn columns(&mut self, document: &Document, path: &str, field: &FieldMapping) {
        let mut seen = BTreeSet::new();
        if let Some(column) = field.from.iter().find(|column| !seen.insert(*column)) {
            let place = document.place(&["mapping", "fields", path]);
            self.fail(place, format!("column `{column}` is named twice"), "name it once");
        }
    }

    /// A field that the schema requires must come from somewhere.
    fn missing(&mut self, document: &Document, mapping: &Mapping, record: &RecordType) {
        let missing = unmapped(mapping, record, "");
        if !missing.is_empty() {
            let place = document.key_place(&["mapping", "fields"]);
            let (fields, verb) = (missing.join("`, `"), if missing.len() == 1 { "comes" } else { "come" });
            let mend = "say from which column, or give the field a default in the schema";
            self.fail(place, format!("`{fields}` {verb} from no column"), mend);
        }
    }

    fn operation(&mut self, document: &Document, form: &str, is_named: bool, words: (&[String], &[String])) {
        let (upserts, deletes) = words;
        let place = |key: &str| document.place(&["mapping", form, key]);
        match (is_named, upserts.is_empty() && deletes.is_empty()) {
            (true, true) => {
                let mend = "add `upsert_words` and `delete_words`: a word that is in neither is refused";
                self.fail(place("operation"), "`operation` without its words", mend);
            }
            (false, false) => {
                let key: Place = document.place(&["mapping", form]);
                self.fail(key, "`upsert_words` or `delete_words` without `operation`", "say where the word stands");
            }
            _ => {}
        }
        if let Some((index, word)) = deletes.iter().enumerate().find(|(_, word)| upserts.contains(word)) {
            let place = document.place(&["mapping", form, "delete_words", &index.to_string()]);
            self.fail(place, format!("`{word}` means both a delete and an upsert"), "keep it in one list");
        }
    }
}

fn is_time(ty: &FieldType) -> bool {
    use FieldType as T;
    matches!(
        ty,
        T::TimestampMillis
            | T::TimestampMicros
            | T::TimestampNanos
            | T::LocalTimestampMillis
            | T::LocalTimestampMicros
            | T::LocalTimestampNanos
    )
}

fn is_list(ty: &FieldType) -> bool {
    matches!(ty, FieldType::Array(items) if matches!(**items, FieldType::String))
}

/// Whether the field, or a record around it, has a default.
fn default_of(record: &RecordType, path: &str) -> bool {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    record.field(name).is_some_and(|field| {
        field.default.is_some()
            || match (field.ty.without_null(), rest) {
                (FieldType::Record(record), Some(rest)) => default_of(record, rest),
                _ => false,
            }
    })
}

fn unmapped(mapping: &Mapping, record: &RecordType, prefix: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for field in &record.fields {
        let path = format!("{prefix}{}", field.name);
        let inside = format!("{path}.");
        let is_begun = mapping.fields.keys().any(|mapped| mapped.starts_with(&inside));
        match field.ty.without_null() {
            FieldType::Record(record) if is_begun => missing.extend(unmapped(mapping, record, &inside)),
            _ if mapping.fields.contains_key(&path) || field.default.is_some() => {}
            _ => missing.push(path),
        }
    }
    missing
}
