//! What must be true between the parts of a catalogue. Each check blames the place that has to be mended; what refers to
//! something that was refused itself is passed over.

mod dataset;
mod grant;
mod mapping;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use freshet_avro::predicate::PredicateError;
use freshet_avro::{FieldType, Plan};

use crate::diagnostic::{Diagnostic, Place};
use crate::entry::Department;
use crate::yaml::{Document, Files};
use freshet_core::nearest::suggestion;

pub(crate) fn check(files: &Files, found: &mut Vec<Diagnostic>) {
    let mut checker = Checker { found, departments: None, department_ids: files.department_ids() };
    if let Some((document, departments)) = &files.departments {
        checker.departments = Some(departments);
        checker.sources(document, departments);
    }
    let mut plans: BTreeMap<&str, Plan> = BTreeMap::new();
    for (id, dataset) in &files.datasets {
        let Some(plan) = checker.schemas(dataset) else { continue };
        if let (Some(document), Some(draft)) = (&dataset.document, &dataset.dataset) {
            checker.dataset(document, draft, &plan);
        }
        plans.insert(id, plan);
    }
    checker.grants(files, &plans);
}

struct Checker<'a> {
    found: &'a mut Vec<Diagnostic>,
    /// Absent where `departments.yaml` cannot be read: then nobody is blamed for naming a department.
    departments: Option<&'a BTreeMap<String, Option<Department>>>,
    department_ids: BTreeSet<&'a str>,
}

impl Checker<'_> {
    fn fail(&mut self, place: Place, message: impl Into<String>, mend: impl Into<String>) {
        self.found.push(Diagnostic::new(place, message, mend));
    }

    /// No two departments share a source.
    fn sources(&mut self, document: &Document, departments: &BTreeMap<String, Option<Department>>) {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (id, department) in departments {
            for (index, source) in department.iter().flat_map(|department| department.sources.iter().enumerate()) {
                if let Some(other) = owners.insert(source, id) {
                    let place = document.place(&[id, "sources", &index.to_string()]);
                    let message = format!("the source `{source}` is also {other}'s");
                    self.fail(place, message, "give each source to one department");
                }
            }
        }
    }

    fn department(&mut self, place: Place, id: &str) {
        if self.departments.is_some() && !self.department_ids.contains(id) {
            let mend = suggestion(id, self.department_ids.iter().copied());
            self.fail(place, format!("department `{id}` is not in departments.yaml"), mend);
        }
    }

    /// The type of a field that must be there.
    fn field<'p>(&mut self, place: Place, path: &str, plan: &'p Plan) -> Option<&'p FieldType> {
        match plan.slot(path) {
            Some(slot) => Some(plan.type_of(slot)),
            None => {
                let mend = suggestion(path, plan.fields().map(|(path, ..)| path));
                self.fail(place, format!("the schema has no field `{path}`"), mend);
                None
            }
        }
    }

    /// A mistake inside of an expression, at its own column where the file shows it.
    fn expression(&mut self, document: &Document, path: &[&str], error: PredicateError) {
        const MEND: &str = "mend the expression (docs/catalogue.md, Expressions)";
        let node = document.find(path);
        let mut place = document.place_of(node);
        let message = match node.column_of(error.at) {
            Some(column) => {
                place.column = column;
                error.message
            }
            None => error.to_string(),
        };
        // Some sentences bring their mend along.
        let (message, mend) = message.rsplit_once("; ").unwrap_or((&message, MEND));
        self.fail(place, message, mend);
    }
}

/// Whether the field has a value in every record: neither it nor a record around it is nullable.
fn is_always_there(path: &str, plan: &Plan) -> bool {
    let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
    ends.filter_map(|end| plan.slot(&path[..end])).all(|slot| !plan.type_of(slot).takes_null())
}
