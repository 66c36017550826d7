//! Schemas as texts: which are the same.

use freshet_avro::{Plan, SchemaError};
use serde_json::Value;

/// The schema without what means nothing: white space and the order of keys. Docs, aliases and defaults stay. A text that
/// is not JSON is its own canonical form.
pub fn canonical(avsc: &str) -> String {
    match serde_json::from_str::<Value>(avsc) {
        Ok(value) => sorted(&value).to_string(),
        Err(_) => avsc.to_owned(),
    }
}

/// serde_json keeps the order of insertion where any crate of the build asks for it, so keys are sorted here.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            keys.into_iter().map(|key| (key.clone(), sorted(&map[key]))).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Whether a client's text is this schema, also where its library wrote namespaces in another way.
pub fn is_same(registered: &str, submitted: &str) -> bool {
    if canonical(registered) == canonical(submitted) {
        return true;
    }
    match (Plan::compile(registered), Plan::compile(submitted)) {
        (Ok(registered), Ok(submitted)) => registered.record() == submitted.record(),
        _ => false,
    }
}

/// Whether the bus takes the schema.
pub fn check(avsc: &str) -> Result<(), SchemaError> {
    Plan::compile(avsc).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_and_namespaces_do_not_matter() {
        let a = r#"{"type":"record","name":"R","namespace":"n","fields":[{"name":"f","type":"string"}]}"#;
        let b = r#"{ "name": "n.R", "type": "record", "fields": [{"type": "string", "name": "f"}] }"#;
        let c = r#"{ "name": "n.R", "type": "record", "fields": [{"type": "bytes", "name": "f"}] }"#;
        assert_ne!(canonical(a), canonical(b));
        assert!(is_same(a, b));
        assert!(!is_same(a, c));
    }
}
