//! The `.avsc` files.

use freshet_avro::{Plan, SchemaError};

use super::Checker;
use crate::avsc::{self, field_place};
use crate::diagnostic::Place;
use crate::plan::incompatible;
use crate::source::SourceSchema;
use crate::yaml::DatasetFiles;

impl Checker<'_> {
    /// The plan of today's schema.
    pub(super) fn schemas(&mut self, dataset: &DatasetFiles) -> Option<Plan> {
        let mut today = None;
        let mut previous: Vec<&str> = Vec::new();
        for file in &dataset.schemas {
            today = self.schema(file);
            if today.is_some() {
                self.found.extend(incompatible(&previous, file));
                previous.push(&file.avsc);
            }
        }
        today
    }

    fn schema(&mut self, file: &SourceSchema) -> Option<Plan> {
        let before = self.found.len();
        self.found.extend(avsc::check(file));
        let is_clean = self.found.len() == before;
        match Plan::compile(&file.avsc) {
            // What stands there may be a schema, but not the one that was meant.
            Ok(plan) => is_clean.then_some(plan),
            Err(error) => {
                if is_clean {
                    self.refuse_schema(file, &error);
                }
                None
            }
        }
    }

    fn refuse_schema(&mut self, file: &SourceSchema, error: &SchemaError) {
        let (place, mend) = match error {
            SchemaError::Recursive { path, .. } => {
                (field_place(file, path), "name the other entity by its key, as a string")
            }
            SchemaError::TooDeep { path } => (field_place(file, path), "put what is inside into fields of its own"),
            SchemaError::Unsupported { path, .. } => (field_place(file, path), "use another type"),
            SchemaError::Default { path, .. } => (
                field_place(file, path),
                "write a value of the type: a number without quotes, a date as days since 1970-01-01, or null where the \
                 type is `[\"null\", …]`",
            ),
            SchemaError::NotARecord => (Place::file(&file.file), "wrap the type in a record"),
            SchemaError::TooLarge => (Place::file(&file.file), "make several datasets of it"),
            SchemaError::PathsTooLong => (Place::file(&file.file), "give records that lie in each other shorter names"),
            SchemaError::Syntax(_) => {
                (Place::file(&file.file), "mend the schema: the Avro specification shows the form")
            }
        };
        self.fail(place, error.to_string(), mend);
    }
}
