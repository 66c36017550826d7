//! The `.avsc` files.

use freshet_avro::{Plan, SchemaError};

use super::Checker;
use crate::diagnostic::Place;
use crate::plan::field_place;
use crate::source::SourceSchema;
use crate::yaml::DatasetFiles;

impl Checker<'_> {
    /// The plan of today's schema.
    pub(super) fn schemas(&mut self, dataset: &DatasetFiles) -> Option<Plan> {
        let mut today = None;
        for file in &dataset.schemas {
            today = match Plan::compile(&file.avsc) {
                Ok(plan) => Some(plan),
                Err(error) => {
                    self.schema_error(file, &error);
                    None
                }
            };
        }
        today
    }

    fn schema_error(&mut self, file: &SourceSchema, error: &SchemaError) {
        if let Err(error) = serde_json::from_str::<serde_json::Value>(&file.avsc) {
            // serde_json counts columns from 1, but 0 where a line just began.
            let place = Place { file: file.file.clone(), line: error.line().max(1), column: error.column().max(1) };
            let text = error.to_string();
            let reason = text.split(" at line ").next().unwrap_or(&text);
            self.fail(place, format!("not JSON: {reason}"), "mend the JSON: look at commas, quotes and brackets");
            return;
        }
        let place = match error {
            SchemaError::Recursive { path, .. }
            | SchemaError::TooDeep { path }
            | SchemaError::Unsupported { path, .. }
            | SchemaError::Default { path, .. } => field_place(file, path),
            SchemaError::Syntax(_) | SchemaError::NotARecord | SchemaError::TooLarge => Place::file(&file.file),
        };
        self.fail(place, error.to_string(), "mend the schema: it is an Avro record (https://avro.apache.org/docs/)");
    }
}
