//! What the mapping needs to know of a schema's fields: path, kind, whether null or nothing is allowed.

use std::collections::BTreeMap;

use serde_json::Value;

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Dotted.
    pub path: String,
    pub kind: Kind,
    pub nullable: bool,
    /// The field, or a record around it, has a default.
    pub has_default: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Text,
    Uuid,
    Boolean,
    Int,
    Long,
    Floating,
    Decimal {
        precision: u32,
        scale: u32,
    },
    Date,
    Timestamp,
    Enum(Vec<String>),
    Texts,
    /// Read from JSON in its natural form only.
    Other,
}

#[derive(Debug, Default)]
pub struct Fields {
    /// Every field that is not itself a record, in the schema's order.
    pub fields: Vec<Field>,
    /// Paths of the records that may be null as a whole, inner ones first.
    pub nullable_records: Vec<String>,
}

pub fn fields(avsc: &str) -> Result<Fields, String> {
    let schema: Value = serde_json::from_str(avsc).map_err(|error| error.to_string())?;
    let mut walk = Walk { named: BTreeMap::new(), found: Fields::default(), open: Vec::new() };
    walk.record("", &schema, Around::default())?;
    Ok(walk.found)
}

struct Walk<'a> {
    named: BTreeMap<String, &'a Value>,
    found: Fields,
    /// Names of the records that are being walked: a record inside itself ends the walk.
    open: Vec<String>,
}

#[derive(Clone, Copy, Default)]
struct Around {
    nullable: bool,
    has_default: bool,
}

impl<'a> Walk<'a> {
    fn record(&mut self, prefix: &str, schema: &'a Value, around: Around) -> Result<(), String> {
        self.name(schema);
        let fields = schema["fields"].as_array().ok_or_else(|| "the schema is not a record".to_owned())?;
        for field in fields {
            let name = field["name"].as_str().ok_or_else(|| "a field has no name".to_owned())?;
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            let around = Around { has_default: around.has_default || field.get("default").is_some(), ..around };
            self.field(path, &field["type"], around)?;
        }
        Ok(())
    }

    fn field(&mut self, path: String, schema: &'a Value, around: Around) -> Result<(), String> {
        if let Some(branches) = schema.as_array() {
            let others: Vec<&Value> = branches.iter().filter(|branch| branch.as_str() != Some("null")).collect();
            let around = Around { nullable: around.nullable || others.len() < branches.len(), ..around };
            return match others.as_slice() {
                [one] => {
                    let is_record = self.resolve(one)["type"].as_str() == Some("record");
                    let of_record = (is_record && others.len() < branches.len()).then(|| path.clone());
                    self.field(path, one, around)?;
                    self.found.nullable_records.extend(of_record);
                    Ok(())
                }
                _ => {
                    others.iter().for_each(|branch| self.name(branch));
                    self.push(path, Kind::Other, around);
                    Ok(())
                }
            };
        }
        self.name(schema);
        let resolved = self.resolve(schema);
        if resolved["type"].as_str() == Some("record") {
            let name = full_name(resolved);
            if self.open.contains(&name) {
                self.push(path, Kind::Other, around);
                return Ok(());
            }
            self.open.push(name);
            self.record(&path, resolved, around)?;
            self.open.pop();
            return Ok(());
        }
        self.push(path, kind(resolved), around);
        Ok(())
    }

    fn push(&mut self, path: String, kind: Kind, around: Around) {
        self.found.fields.push(Field { path, kind, nullable: around.nullable, has_default: around.has_default });
    }

    fn name(&mut self, schema: &'a Value) {
        if let Some(name) = schema.get("name").and_then(Value::as_str) {
            self.named.insert(name.to_owned(), schema);
            self.named.insert(full_name(schema), schema);
        }
    }

    /// A name with a namespace that its definition inherited is found by its last part.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let found = |name: &str| self.named.get(name).copied();
        let last = |name: &str| name.rsplit('.').next().and_then(found);
        schema.as_str().and_then(|name| found(name).or_else(|| last(name))).unwrap_or(schema)
    }
}

fn full_name(schema: &Value) -> String {
    let name = schema["name"].as_str().unwrap_or_default();
    match schema["namespace"].as_str() {
        Some(namespace) if !name.contains('.') => format!("{namespace}.{name}"),
        _ => name.to_owned(),
    }
}

fn kind(schema: &Value) -> Kind {
    let number = |name: &str| schema[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let base = schema.as_str().or_else(|| schema["type"].as_str()).unwrap_or_default();
    match (base, schema["logicalType"].as_str()) {
        ("bytes" | "fixed", Some("decimal")) => {
            let scale = number("scale").unwrap_or(0);
            Kind::Decimal { precision: number("precision").unwrap_or(38).max(scale), scale }
        }
        ("int", Some("date")) => Kind::Date,
        ("long", Some("timestamp-millis" | "timestamp-micros" | "timestamp-nanos")) => Kind::Timestamp,
        ("string", Some("uuid")) => Kind::Uuid,
        ("string", _) => Kind::Text,
        ("boolean", _) => Kind::Boolean,
        ("int", None) => Kind::Int,
        ("long", None) => Kind::Long,
        ("float" | "double", _) => Kind::Floating,
        ("enum", _) => {
            let symbols = schema["symbols"].as_array().into_iter().flatten();
            Kind::Enum(symbols.filter_map(Value::as_str).map(str::to_owned).collect())
        }
        ("array", _) if schema["items"].as_str().or_else(|| schema["items"]["type"].as_str()) == Some("string") => {
            Kind::Texts
        }
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_records_in_records() {
        let avsc = r#"{"type":"record","name":"L","namespace":"n","fields":[
            {"name":"no","type":"string"},
            {"name":"fee","type":["null",{"type":"bytes","logicalType":"decimal","precision":15,"scale":2}],"default":null},
            {"name":"status","type":{"type":"enum","name":"S","symbols":["A","B"]}},
            {"name":"before","type":["null","S"],"default":null},
            {"name":"at","type":{"type":"record","name":"Address","fields":[{"name":"city","type":"string"}]}},
            {"name":"other","type":["null","n.Address"],"default":null},
            {"name":"on","type":{"type":"int","logicalType":"date"}},
            {"name":"codes","type":{"type":"array","items":"string"}}]}"#;
        let symbols = Kind::Enum(vec!["A".to_owned(), "B".to_owned()]);
        let found = fields(avsc).expect("a good schema");
        let found: Vec<_> =
            found.fields.iter().map(|f| (f.path.as_str(), f.kind.clone(), f.nullable, f.has_default)).collect();
        let expected = vec![
            ("no", Kind::Text, false, false),
            ("fee", Kind::Decimal { precision: 15, scale: 2 }, true, true),
            ("status", symbols.clone(), false, false),
            ("before", symbols, true, true),
            ("at.city", Kind::Text, false, false),
            ("other.city", Kind::Text, true, true),
            ("on", Kind::Date, false, false),
            ("codes", Kind::Texts, false, false),
        ];
        assert_eq!(found, expected);
    }
}
