//! `dataset.yaml` against the schema and the departments.

use std::collections::BTreeSet;

use freshet_avro::predicate::Predicate;
use freshet_avro::{FieldType, Plan};
use freshet_core::authority::Authorities;

use super::{Checker, is_always_there};
use crate::compiled::{can_be_key, can_be_version};
use crate::entry::{Dataset, ShareType, Transitions, VersionRule};
use crate::yaml::{DatasetDraft, Document, Kind};
use freshet_core::nearest::suggestion;

impl Checker<'_> {
    pub(super) fn dataset(&mut self, document: &Document, draft: &DatasetDraft, plan: &Plan) {
        let dataset = &draft.dataset;
        // Of these the blank itself would be a mistake.
        if !draft.refused.contains("authorities") {
            self.authorities(document, dataset);
        }
        if !draft.refused.contains("key") {
            self.key(document, dataset, plan);
        }
        self.version_and_division(document, dataset, plan);
        self.catalogue(document, dataset, plan);
        self.identifiers(document, dataset, plan);
        self.rules(document, dataset, plan);
        if let Some(transitions) = &dataset.transitions {
            self.transitions(document, transitions, plan);
        }
        if let Some(mapping) = &dataset.mapping {
            self.mapping(document, mapping, plan);
        }
    }

    fn authorities(&mut self, document: &Document, dataset: &Dataset) {
        if dataset.authorities.is_empty() {
            let mend = "name the department that publishes the dataset";
            self.fail(document.place(&["authorities"]), "`authorities` is empty: nobody may publish", mend);
        }
        let mut list: Vec<(&str, &[String])> = Vec::new();
        for (index, authority) in dataset.authorities.iter().enumerate() {
            let index = index.to_string();
            let place = document.place(&["authorities", &index, "department"]);
            self.department(place.clone(), &authority.department);
            let department = self.departments.and_then(|known| known.get(&authority.department)?.as_ref());
            if department.is_some_and(|department| department.sources.is_empty()) {
                let message = format!("{} has no `sources`, so no event can come from it", authority.department);
                self.fail(place, message, "add `sources` to the department in departments.yaml");
            }
            // Whoever is meant by a name that nobody has may have none of these divisions.
            if self.departments.is_some() && !self.department_ids.contains(authority.department.as_str()) {
                continue;
            }
            list.push((&authority.department, &authority.divisions));
            if let Err(overlap) = Authorities::new(list.iter().copied()) {
                list.pop();
                let place = document.place(&["authorities", &index]);
                let divisions = match overlap.division.as_str() {
                    "" => "every division".to_owned(),
                    division => format!("division {division}"),
                };
                let message = format!("{} and {} are both authorities for {divisions}", overlap.first, overlap.second);
                self.fail(place, message, "give each division to one department");
            }
        }
    }

    fn key(&mut self, document: &Document, dataset: &Dataset, plan: &Plan) {
        if dataset.key.fields.is_empty() {
            let mend = "name the fields that identify the entity";
            self.fail(document.place(&["key"]), "`key` names no field", mend);
        }
        let has_form = matches!(document.find(&["key"]).kind, Kind::Map(_));
        let mut seen = BTreeSet::new();
        for (index, path) in dataset.key.fields.iter().enumerate() {
            let index = index.to_string();
            let place = match has_form {
                true => document.place(&["key", "fields", &index]),
                false => document.place(&["key", &index]),
            };
            if !seen.insert(path) {
                self.fail(place.clone(), format!("`{path}` is in the key twice"), "name it once");
            }
            let Some(ty) = self.field(place.clone(), path, plan) else { continue };
            if !is_always_there(path, plan) {
                let message = format!("`{path}` can be null, and a key never is");
                self.fail(place, message, "make the field (and the records around it) not nullable, or use another");
            } else if !can_be_key(ty) {
                let message = format!("`{path}` is {ty}, which cannot be a key");
                self.fail(place, message, "use string, int, long, enum, date or uuid fields");
            }
        }
    }

    fn version_and_division(&mut self, document: &Document, dataset: &Dataset, plan: &Plan) {
        if let VersionRule::Field(path) = &dataset.version {
            let place = document.place(&["version", "field"]);
            if let Some(ty) = self.field(place.clone(), path, plan)
                && !(can_be_version(ty) && is_always_there(path, plan))
            {
                let message = format!("`{path}` is {ty}, which does not order events");
                self.fail(place, message, "use an int, long, date or time stamp that is not nullable, or `sequence`");
            }
        }
        if let Some(path) = &dataset.division.field {
            let place = document.place(&["division", "field"]);
            if let Some(ty) = self.field(place.clone(), path, plan)
                && !matches!(ty.without_null(), FieldType::String)
            {
                self.fail(place, format!("`{path}` is {ty}, not a string"), "name a string field");
            }
        }
    }

    fn catalogue(&mut self, document: &Document, dataset: &Dataset, plan: &Plan) {
        let catalogue = &dataset.catalogue;
        let place = document.place(&["catalogue", "share_type"]);
        match catalogue.share_type {
            ShareType::Conditional if catalogue.use_conditions.is_empty() => {
                let mend = "add `use_conditions: [what a subscriber must fulfil]` (政务数据共享条例 art. 15)";
                self.fail(place, "`share_type: conditional` without `use_conditions`", mend);
            }
            ShareType::NotShared if catalogue.legal_basis.is_empty() => {
                let mend = "add `legal_basis: [law, number, article]` (政务数据共享条例 art. 15)";
                self.fail(place, "`share_type: not_shared` without `legal_basis`", mend);
            }
            ShareType::Unconditional | ShareType::Conditional | ShareType::NotShared => {}
        }
        for (index, path) in catalogue.sensitive_fields.iter().enumerate() {
            let place = document.place(&["catalogue", "sensitive_fields", &index.to_string()]);
            self.field(place, path, plan);
        }
    }

    fn identifiers(&mut self, document: &Document, dataset: &Dataset, plan: &Plan) {
        for (index, identifier) in dataset.identifiers.iter().enumerate() {
            let place = document.place(&["identifiers", &index.to_string(), "field"]);
            if let Some(ty) = self.field(place.clone(), &identifier.field, plan)
                && !matches!(ty.without_null(), FieldType::String)
            {
                let message = format!("`{}` is {ty}, and identifiers are strings", identifier.field);
                self.fail(place, message, "name a string field");
            }
        }
    }

    fn rules(&mut self, document: &Document, dataset: &Dataset, plan: &Plan) {
        let mut names = BTreeSet::new();
        for (index, rule) in dataset.rules.iter().enumerate() {
            let index = index.to_string();
            if !names.insert(&rule.name) {
                let place = document.place(&["rules", &index, "name"]);
                self.fail(place, format!("a second rule is called `{}`", rule.name), "give each rule its own name");
            }
            if let Err(error) = Predicate::compile(&rule.require, plan) {
                self.expression(document, &["rules", &index, "require"], error);
            }
            if let Some(path) = &rule.field {
                self.field(document.place(&["rules", &index, "field"]), path, plan);
            }
        }
    }

    fn transitions(&mut self, document: &Document, transitions: &Transitions, plan: &Plan) {
        let path = &transitions.field;
        let place = document.place(&["transitions", "field"]);
        let Some(ty) = self.field(place.clone(), path, plan) else { return };
        let FieldType::Enum(symbols) = ty else {
            self.fail(place, format!("`{path}` is {ty}, not an enum"), "name an enum field that is not nullable");
            return;
        };
        if !is_always_there(path, plan) {
            let message = format!("`{path}` is missing where the record around it is null");
            self.fail(place, message, "name an enum field that is in every record");
        }
        let mut symbol = |place, symbol: &str| {
            if !symbols.symbols.iter().any(|known| known == symbol) {
                let mend = suggestion(symbol, symbols.symbols.iter().map(String::as_str));
                self.fail(place, format!("`{symbol}` is no symbol of `{path}`"), mend);
            }
        };
        for (index, name) in transitions.initial.iter().enumerate() {
            symbol(document.place(&["transitions", "initial", &index.to_string()]), name);
        }
        for (from, followers) in &transitions.allowed {
            symbol(document.key_place(&["transitions", "allowed", from]), from);
            for (index, to) in followers.iter().enumerate() {
                symbol(document.place(&["transitions", "allowed", from, &index.to_string()]), to);
            }
        }
    }
}
