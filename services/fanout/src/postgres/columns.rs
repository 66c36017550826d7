//! The columns of a subscriber's table, from the schema of the view (Avro 1.12, "Logical Types").

use std::collections::HashMap;

use serde_json::Value;

/// One column of the view's data. The table also has the bus's own columns, all of which begin with `freshet_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub sql_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    #[error("the view's schema is not a record: {0}")]
    NotARecord(String),
    #[error("field {0} has a type that is not Avro")]
    Type(String),
    #[error("field {0}: names that begin with `freshet_` are the bus's own columns")]
    Reserved(String),
}

/// The columns, in schema order. Every one is nullable: a field that a later schema adds is unknown for older rows.
pub fn columns(avsc: &str) -> Result<Vec<Column>, ColumnsError> {
    let schema: Value = serde_json::from_str(avsc).map_err(|error| ColumnsError::NotARecord(error.to_string()))?;
    let fields = schema
        .get("fields")
        .and_then(Value::as_array)
        .ok_or_else(|| ColumnsError::NotARecord("it has no fields".to_owned()))?;
    let mut named = HashMap::new();
    let mut columns = Vec::with_capacity(fields.len());
    for field in fields {
        let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.starts_with("freshet_") {
            return Err(ColumnsError::Reserved(name.to_owned()));
        }
        let sql_type = field
            .get("type")
            .and_then(|kind| sql_type(kind, &mut named))
            .ok_or_else(|| ColumnsError::Type(name.to_owned()))?;
        columns.push(Column { name: name.to_owned(), sql_type });
    }
    Ok(columns)
}

/// `named` holds what each named type defined so far is stored as: a type is written out at its first use only.
fn sql_type(kind: &Value, named: &mut HashMap<String, &'static str>) -> Option<&'static str> {
    match kind {
        Value::String(name) => primitive(name).or_else(|| named.get(simple(name)).copied()),
        Value::Array(branches) => {
            let mut types: Vec<&'static str> = Vec::new();
            for branch in branches.iter().filter(|branch| branch.as_str() != Some("null")) {
                types.push(sql_type(branch, named)?);
            }
            match types.as_slice() {
                [] => Some("text"),
                [first, rest @ ..] if rest.iter().all(|other| other == first) => Some(first),
                _ => Some("jsonb"),
            }
        }
        Value::Object(object) => {
            let logical = object.get("logicalType").and_then(Value::as_str).unwrap_or_default();
            let inner = object.get("type")?;
            let found = match (inner.as_str(), logical) {
                (Some("bytes" | "fixed"), "decimal") => "numeric",
                (Some("int"), "date") => "date",
                (Some("long"), "timestamp-millis" | "timestamp-micros") => "timestamptz",
                (Some("long"), "local-timestamp-millis" | "local-timestamp-micros") => "timestamp",
                (Some("int"), "time-millis") | (Some("long"), "time-micros") => "time",
                // PostgreSQL counts microseconds.
                (Some("long"), "timestamp-nanos" | "local-timestamp-nanos") => "text",
                (Some("enum"), _) => "text",
                (Some("fixed"), _) => "text",
                (Some("record"), _) => {
                    // What is named inside may be referred to by a later field.
                    for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
                        field.get("type").and_then(|kind| sql_type(kind, named));
                    }
                    "jsonb"
                }
                (Some("array" | "map"), _) => {
                    object.get("items").or_else(|| object.get("values")).and_then(|kind| sql_type(kind, named));
                    "jsonb"
                }
                _ => sql_type(inner, named)?,
            };
            if let Some(name) = object.get("name").and_then(Value::as_str) {
                named.insert(simple(name).to_owned(), found);
            }
            Some(found)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// The last part of a full name. Two types of one view that differ in namespace alone are stored alike or as `jsonb`.
fn simple(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Bytes arrive as base64 text in the JSON form, and stay so: a column that a clerk can read beats one that is smaller.
fn primitive(name: &str) -> Option<&'static str> {
    Some(match name {
        "null" | "string" | "bytes" => "text",
        "int" | "long" => "bigint",
        "float" | "double" => "double precision",
        "boolean" => "boolean",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(avsc: &str) -> Vec<(String, &'static str)> {
        let found = columns(avsc).expect("columns");
        found.into_iter().map(|column| (column.name, column.sql_type)).collect()
    }

    #[test]
    fn each_type_has_its_column() {
        let avsc = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":"string"},
            {"name":"b","type":["null","long"]},
            {"name":"c","type":{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}},
            {"name":"d","type":["null",{"type":"int","logicalType":"date"}]},
            {"name":"e","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"f","type":"boolean"},
            {"name":"g","type":{"type":"enum","name":"n.Status","symbols":["A"]}},
            {"name":"h","type":["null","n.Status"]},
            {"name":"i","type":{"type":"array","items":{"type":"record","name":"Inner","fields":[
                {"name":"x","type":{"type":"enum","name":"Kind","symbols":["K"]}}]}}},
            {"name":"j","type":"Inner"},
            {"name":"k","type":"Kind"},
            {"name":"l","type":["string","long"]},
            {"name":"m","type":{"type":"string","logicalType":"uuid"}},
            {"name":"n","type":"double"},
            {"name":"o","type":["null","int","long"]},
            {"name":"p","type":{"type":"map","values":"string"}},
            {"name":"q","type":{"type":"int","logicalType":"time-millis"}},
            {"name":"r","type":{"type":"long","logicalType":"local-timestamp-micros"}},
            {"name":"s","type":{"type":"long","logicalType":"timestamp-nanos"}}]}"#;
        let expected = [
            ("a", "text"),
            ("b", "bigint"),
            ("c", "numeric"),
            ("d", "date"),
            ("e", "timestamptz"),
            ("f", "boolean"),
            ("g", "text"),
            ("h", "text"),
            ("i", "jsonb"),
            ("j", "jsonb"),
            ("k", "text"),
            ("l", "jsonb"),
            ("m", "text"),
            ("n", "double precision"),
            ("o", "bigint"),
            ("p", "jsonb"),
            ("q", "time"),
            ("r", "timestamp"),
            ("s", "text"),
        ];
        assert_eq!(types(avsc), expected.map(|(name, sql)| (name.to_owned(), sql)));
    }

    #[test]
    fn a_reserved_name_is_refused() {
        let avsc = r#"{"type":"record","name":"R","fields":[{"name":"freshet_key","type":"string"}]}"#;
        assert_eq!(columns(avsc), Err(ColumnsError::Reserved("freshet_key".to_owned())));
    }
}
