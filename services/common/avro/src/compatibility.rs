//! Whether a new version of a schema may follow the earlier ones: fully, with each of them, in both directions.
//!
//! `apache-avro` answers for Avro's own resolution rules, and only its `Full` counts: it also says `Ok` (`Partial`) where
//! some records could not be read. Beside it stand stricter rules of ours, because the bus projects bytes and does not
//! resolve: a field that both versions have keeps its type, its logical type, its branches and its place among the
//! others; an enum grows only at its end, and only if it has a default symbol for those who do not know the new one.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

use crate::schema::{self, FieldType, RecordType};

/// One reason why a new version of a schema is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatibility {
    /// Dotted path of the field; empty: the whole schema.
    pub path: String,
    /// One sentence: what is wrong, against which earlier version.
    pub message: String,
}

impl std::fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "field {path}: {}", self.message),
        }
    }
}

/// Whether `next` may follow all of `previous`, oldest first. `Err` holds every reason, for each field that of the newest
/// version that it disagrees with.
pub fn check(previous: &[&str], next: &str) -> Result<(), Vec<Incompatibility>> {
    let mut found = Vec::new();
    let whole = |message: String| vec![Incompatibility { path: String::new(), message }];
    let next_record = schema::parse(next).map_err(|error| whole(error.to_string()))?;
    let next_schema = Schema::parse_str(next).map_err(|error| whole(error.to_string()))?;
    for (index, text) in previous.iter().enumerate().rev() {
        let version = index + 1;
        let parsed = schema::parse(text).and_then(|record| match Schema::parse_str(text) {
            Ok(schema) => Ok((record, schema)),
            Err(error) => Err(schema::SchemaError::Syntax(error.to_string())),
        });
        let (record, schema) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                found.push(Incompatibility { path: String::new(), message: format!("version {version}: {error}") });
                continue;
            }
        };
        let mut comparison = Comparison { version, found: Vec::new() };
        comparison.record(&record, &next_record, "");
        if comparison.found.is_empty() {
            comparison.judge(&schema, &next_schema);
        }
        for reason in comparison.found {
            if !found.iter().any(|known: &Incompatibility| known.path == reason.path) {
                found.push(reason);
            }
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

struct Comparison {
    /// Of the earlier schema.
    version: usize,
    found: Vec<Incompatibility>,
}

impl Comparison {
    fn record(&mut self, old: &RecordType, new: &RecordType, path: &str) {
        if old.name != new.name {
            self.refuse(path, format!("the record was named {}, now {}; a name stays", old.name, new.name));
        }
        for field in &old.fields {
            if new.field(&field.name).is_none() && field.default.is_none() {
                let path = join(path, &field.name);
                self.refuse(&path, "is removed, but had no default: readers of the older version need one".to_owned());
            }
        }
        // Where each shared field stood among the shared ones; a smaller place behind a larger one is a move.
        let mut furthest = 0;
        for field in &new.fields {
            let path = join(path, &field.name);
            match old.fields.iter().position(|known| known.name == field.name) {
                None if field.default.is_none() => {
                    self.refuse(&path, "is new and has no default: records of the older version need one".to_owned());
                }
                None => {}
                Some(place) => {
                    if place < furthest {
                        self.refuse(&path, "stands at another place among the fields; the order stays".to_owned());
                    }
                    furthest = furthest.max(place);
                    self.ty(&old.fields[place].ty, &field.ty, &path);
                }
            }
        }
    }

    fn ty(&mut self, old: &FieldType, new: &FieldType, path: &str) {
        match (old, new) {
            (FieldType::Record(old), FieldType::Record(new)) => self.record(old, new, path),
            (FieldType::Array(old), FieldType::Array(new)) | (FieldType::Map(old), FieldType::Map(new)) => {
                self.ty(old, new, path);
            }
            (FieldType::Union(olds), FieldType::Union(news)) if olds.len() == news.len() => {
                for (old, new) in olds.iter().zip(news.iter()) {
                    self.ty(old, new, path);
                }
            }
            (FieldType::Enum(old), FieldType::Enum(new)) => {
                if old.name != new.name {
                    self.refuse(path, format!("the enum was named {}, now {}; a name stays", old.name, new.name));
                }
                match new.symbols.strip_prefix(old.symbols.as_slice()) {
                    None => self.refuse(
                        path,
                        "the symbols of an enum stay, in their order; new ones are added at the end".to_owned(),
                    ),
                    Some([]) => {}
                    Some([first, ..]) if old.default.is_none() => self.refuse(
                        path,
                        format!("the symbol {first} is new, but the enum has no default for readers that lack it"),
                    ),
                    Some(_) => {}
                }
            }
            _ if old == new => {}
            _ => self.refuse(path, format!("was a {old}, now a {new}; the type of a field stays")),
        }
    }

    fn judge(&mut self, old: &Schema, new: &Schema) {
        for (writer, reader, who) in [
            (old, new, "readers of the new schema cannot read every record of it"),
            (new, old, "its readers cannot read every record of the new schema"),
        ] {
            match SchemaCompatibility::can_read(writer, reader) {
                Ok(Compatibility::Full) => {}
                Ok(Compatibility::Partial) => self.refuse("", format!("{who}: some values would have no reading")),
                Err(error) => self.refuse("", format!("{who}: {error}")),
            }
        }
    }

    fn refuse(&mut self, path: &str, message: String) {
        let message = format!("against version {}: {message}", self.version);
        self.found.push(Incompatibility { path: path.to_owned(), message });
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"r","fields":[{fields}]}}"#)
    }

    fn found(previous: &[&str], next: &str) -> Vec<(String, String)> {
        let previous: Vec<String> = previous.iter().map(|fields| schema(fields)).collect();
        let previous: Vec<&str> = previous.iter().map(String::as_str).collect();
        match check(&previous, &schema(next)) {
            Ok(()) => Vec::new(),
            Err(found) => found.into_iter().map(|reason| (reason.path, reason.message)).collect(),
        }
    }

    const A: &str = r#"{"name":"a","type":"string"}"#;

    #[test]
    fn what_may_follow() {
        let with_default = format!(r#"{A},{{"name":"b","type":"int","default":1}}"#);
        let inserted = format!(r#"{{"name":"b","type":["null","int"],"default":null}},{A}"#);
        let symbols = |list: &str| {
            format!(r#"{{"name":"e","type":{{"type":"enum","name":"E","symbols":[{list}],"default":"X"}}}}"#)
        };
        assert_eq!(found(&[A], A), []);
        assert_eq!(found(&[], A), []);
        assert_eq!(found(&[A], &with_default), []);
        assert_eq!(found(&[A], &inserted), []);
        assert_eq!(found(&[&with_default], A), []);
        assert_eq!(found(&[&symbols(r#""X","Y""#)], &symbols(r#""X","Y","Z""#)), []);
    }

    #[test]
    fn what_may_not_follow() {
        let refused = |previous: &str, next: &str, path: &str, part: &str| {
            let reasons = found(&[previous], next);
            assert!(
                reasons.iter().any(|(at, message)| at == path && message.contains(part)),
                "{previous} -> {next}: {reasons:?}"
            );
        };
        let field = |ty: &str| format!(r#"{{"name":"b","type":{ty}}}"#);
        let both = |ty: &str| format!("{A},{}", field(ty));
        let nested = |inner: &str| field(&format!(r#"{{"type":"record","name":"N","fields":[{inner}]}}"#));
        let symbols = |list: &str| field(&format!(r#"{{"type":"enum","name":"E","symbols":[{list}]}}"#));
        refused(A, &both(r#""int""#), "b", "no default");
        refused(&both(r#""int""#), A, "b", "no default");
        refused(&field(r#""int""#), &field(r#""long""#), "b", "was a int, now a long");
        refused(
            &field(r#"{"type":"long","logicalType":"timestamp-millis"}"#),
            &field(r#"{"type":"long","logicalType":"timestamp-micros"}"#),
            "b",
            "timestamp-millis",
        );
        refused(
            &field(r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#),
            &field(r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":3}"#),
            "b",
            "decimal(9, 2)",
        );
        refused(&field(r#"["null","string"]"#), &field(r#""string""#), "b", "nullable string");
        refused(&field(r#"["null","string"]"#), &field(r#"["string","null"]"#), "b", "was a null");
        refused(&symbols(r#""X","Y""#), &symbols(r#""Y","X""#), "b", "in their order");
        refused(&symbols(r#""X","Y""#), &symbols(r#""X""#), "b", "the symbols of an enum stay");
        refused(&symbols(r#""X""#), &symbols(r#""X","Y""#), "b", "has no default");
        refused(&nested(A), &nested(&both(r#""int""#)), "b.b", "no default");
        let (forward, backward) = (format!("{A},{}", field(r#""int""#)), format!("{},{A}", field(r#""int""#)));
        refused(&forward, &backward, "a", "the order stays");
    }

    #[test]
    fn every_earlier_version_counts() {
        let old = r#"{"name":"a","type":"string"},{"name":"b","type":"int","default":0}"#;
        let next = r#"{"name":"a","type":"string"},{"name":"b","type":"string","default":""}"#;
        let reasons = found(&[old, A], next);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert_eq!(reasons[0].0, "b");
        assert!(reasons[0].1.starts_with("against version 1: was a int, now a string"), "{reasons:?}");
    }
}
