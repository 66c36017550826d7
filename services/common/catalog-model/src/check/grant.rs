//! Grants against departments, datasets and schemas.

use std::collections::{BTreeMap, BTreeSet};

use freshet_avro::predicate::Predicate;
use freshet_avro::projection::Projection;
use freshet_avro::{FieldType, Plan};

use super::{Checker, is_always_there};
use crate::compiled::{can_be_key, mask_kinds};
use crate::entry::{Delivery, Grant, GrantStatus, KeyForm, Mask, ShareType};
use crate::yaml::{Document, Files};
use freshet_core::nearest::suggestion;

impl Checker<'_> {
    pub(super) fn grants(&mut self, files: &Files, plans: &BTreeMap<&str, Plan>) {
        let mut alike: BTreeMap<String, Vec<&Grant>> = BTreeMap::new();
        let mut tables: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for (id, (document, draft)) in &files.grants {
            let Some(draft) = draft else { continue };
            let grant = &draft.grant;
            if !draft.refused.contains("subscriber") {
                self.department(document.place(&["subscriber"]), &grant.subscriber);
            }
            self.dates(document, grant);
            if !draft.refused.contains("dataset") {
                self.dataset_of(document, grant, files);
            }
            if let Some(plan) = plans.get(grant.dataset.as_str()) {
                self.rows(document, grant, plan);
                if !draft.refused.contains("fields") {
                    self.projection(document, grant, plan);
                    self.key_is_granted(document, grant, files, plan);
                }
            }
            if let Delivery::Postgres { connection, table } = &grant.delivery
                && grant.status != GrantStatus::Terminated
                && let Some(other) = tables.insert((connection, table), id)
            {
                let place = document.place(&["delivery", "postgres", "table"]);
                let message = format!("grant {other} is delivered into the table {table} of {connection} too");
                self.fail(place, message, "give each grant a table of its own");
            }
            if draft.refused.is_empty() && grant.status != GrantStatus::Terminated {
                let before = alike.entry(what_is_delivered(grant)).or_default();
                self.twice(document, grant, before);
                before.push(grant);
            }
        }
    }

    /// What a subscriber is granted twice would reach it twice.
    fn twice(&mut self, document: &Document, grant: &Grant, before: &[&Grant]) {
        let is_same_time =
            |other: &&&Grant| other.valid_from <= grant.valid_until && grant.valid_from <= other.valid_until;
        if let Some(other) = before.iter().find(is_same_time) {
            let message = format!(
                "grant {} gives {} the same by the same way from {} to {}",
                other.id, grant.subscriber, other.valid_from, other.valid_until
            );
            let mend = "remove one of the two; to prolong a grant, change its `valid_until`";
            self.fail(document.key_place(&["subscriber"]), message, mend);
        }
    }

    fn dates(&mut self, document: &Document, grant: &Grant) {
        if grant.valid_from > grant.valid_until {
            let place = document.place(&["valid_until"]);
            let message = format!("valid_until {} is before valid_from {}", grant.valid_until, grant.valid_from);
            self.fail(place, message, "let valid_until be the last day on which the grant is served");
        }
    }

    fn dataset_of(&mut self, document: &Document, grant: &Grant, files: &Files) {
        let place = document.place(&["dataset"]);
        match files.datasets.get(&grant.dataset) {
            None => {
                let mend = suggestion(&grant.dataset, files.datasets.keys().map(String::as_str));
                self.fail(place, format!("there is no dataset `{}`", grant.dataset), mend);
            }
            Some(dataset) => {
                let share_type = dataset.dataset.as_ref().map(|draft| draft.dataset.catalogue.share_type);
                if share_type == Some(ShareType::NotShared) && grant.status != GrantStatus::Terminated {
                    let message = format!("`{}` is not_shared: nobody can be granted it", grant.dataset);
                    self.fail(place, message, "remove the grant, or change `share_type` of the dataset");
                }
            }
        }
    }

    fn rows(&mut self, document: &Document, grant: &Grant, plan: &Plan) {
        if let Some(rows) = &grant.rows
            && let Err(error) = Predicate::compile(rows, plan)
        {
            self.expression(document, &["rows"], error);
        }
    }

    fn projection(&mut self, document: &Document, grant: &Grant, plan: &Plan) {
        let before = self.found.len();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (index, path) in grant.fields.iter().enumerate() {
            let place = document.place(&["fields", &index.to_string()]);
            self.field(place.clone(), path, plan);
            if !seen.insert(path) {
                self.fail(place.clone(), format!("`{path}` is granted twice"), "name it once");
            }
            if let Some(around) = grant.fields.iter().find(|other| is_inside(path, other)) {
                let message = format!("`{path}` is granted already: `{around}` takes all that is in it");
                self.fail(place, message, format!("remove `{path}`, or name the fields of `{around}` one by one"));
            }
        }
        for (path, mask) in &grant.masks {
            self.mask(document, grant, (path, *mask), plan);
        }
        // What the checks above do not know, the projection itself does.
        if self.found.len() == before
            && let Err(error) = Projection::compile(plan, &grant.fields, &mask_kinds(&grant.masks))
        {
            self.fail(document.place(&["fields"]), error.to_string(), "change the fields or the masks");
        }
    }

    /// A plain key stands on every record, whatever is granted: a grant says so, rather than seem to keep it back (P6).
    fn key_is_granted(&mut self, document: &Document, grant: &Grant, files: &Files, plan: &Plan) {
        let dataset = files.datasets.get(&grant.dataset).and_then(|dataset| dataset.dataset.as_ref());
        let Some(draft) = dataset.filter(|draft| !draft.refused.contains("key")) else { return };
        let key = &draft.dataset.key;
        if key.form == KeyForm::Pseudonym || grant.status == GrantStatus::Terminated {
            return;
        }
        let mend = |first: String| format!("{first}, or give {} a key of the form pseudonym", grant.dataset);
        // What cannot be a key is told where it is made one.
        let can_be = |path: &str| plan.slot(path).is_some_and(|slot| can_be_key(plan.type_of(slot)));
        for path in key.fields.iter().filter(|path| can_be(path) && is_always_there(path, plan)) {
            if !grant.fields.iter().any(|field| field == path || is_inside(path, field)) {
                let message = format!("`{path}` is not granted, but it is part of the key, which every record carries");
                self.fail(document.place(&["fields"]), message, mend(format!("add `{path}`")));
            } else if grant.masks.get(path).is_some_and(|mask| *mask != Mask::Null) {
                let message = format!("`{path}` is part of the key, which every record carries: a mask hides nothing");
                self.fail(document.key_place(&["masks", path]), message, mend("remove the mask".to_owned()));
            }
        }
    }

    fn mask(&mut self, document: &Document, grant: &Grant, (path, mask): (&str, Mask), plan: &Plan) {
        let place = document.key_place(&["masks", path]);
        let Some(ty) = self.field(place.clone(), path, plan) else { return };
        if !grant.fields.iter().any(|field| field == path || is_inside(path, field)) {
            let message = format!("`{path}` is masked, but not granted");
            self.fail(place, message, "add it to `fields`, or remove the mask");
            return;
        }
        let word = mask.as_word();
        match mask {
            Mask::Null if !ty.takes_null() => {
                let message = format!("`{path}` is {ty} and cannot be null");
                self.fail(place, message, "use another mask, or do not grant the field");
            }
            Mask::FirstCharacter | Mask::LastFour | Mask::Redact if !matches!(ty.without_null(), FieldType::String) => {
                let message = format!("`{path}` is {ty}, and the mask `{word}` is for strings");
                self.fail(place, message, "use `null` where the field is nullable, or do not grant it");
            }
            Mask::FirstCharacter | Mask::LastFour | Mask::Redact | Mask::Null => {}
        }
    }
}

/// Subscriber, view and way out, as a text that two grants share only where they deliver the same. A table is the subject of
/// a check of its own.
fn what_is_delivered(grant: &Grant) -> String {
    let fields: BTreeSet<&String> = grant.fields.iter().collect();
    let way = match &grant.delivery {
        Delivery::Postgres { .. } => format!("{} {:?}", grant.id, grant.delivery),
        Delivery::Kafka | Delivery::Pull | Delivery::Webhook { .. } => format!("{:?}", grant.delivery),
    };
    format!("{:?}", (&grant.subscriber, &grant.dataset, fields, &grant.masks, &grant.rows, way))
}

/// `a.b` is inside of `a`.
fn is_inside(path: &str, around: &str) -> bool {
    path.strip_prefix(around).is_some_and(|rest| rest.starts_with('.'))
}
