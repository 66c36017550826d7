//! What departments may do on Kafka itself, as the cluster's authorizer is told: it follows from the catalogue, so that a
//! grant and its ACL cannot differ.

use std::collections::BTreeSet;

use freshet_core::topics;
use jiff::civil::Date;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::entry::Delivery;

/// One permission. Kafka denies what nothing allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Acl {
    /// `User:<department>`
    pub principal: String,
    pub operation: Operation,
    pub resource: Resource,
}

/// Each allows to describe the resource too (Kafka, "Authorization and ACLs").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Read,
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Topic(String),
    /// Every consumer group whose name begins so.
    GroupPrefix(String),
}

impl std::fmt::Display for Acl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let operation = match self.operation {
            Operation::Read => "reads",
            Operation::Write => "writes",
        };
        match &self.resource {
            Resource::Topic(topic) => write!(f, "access: {} {operation} topic {topic}", self.principal),
            Resource::GroupPrefix(prefix) => write!(f, "access: {} {operation} as group {prefix}*", self.principal),
        }
    }
}

/// What is added and what is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccessChange {
    pub add: Vec<Acl>,
    pub remove: Vec<Acl>,
}

impl AccessChange {
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    pub fn lines(&self) -> Vec<String> {
        let removed = self.remove.iter().map(|acl| format!("- {acl}"));
        removed.chain(self.add.iter().map(|acl| format!("+ {acl}"))).collect()
    }
}

/// From what the cluster has to what the catalogue says. Only what an apply could have set is taken away: permissions of
/// departments on the bus's topics and on their own groups. `before` names departments that may be gone `after`.
pub fn change(before: &Catalog, after: &Catalog, today: Date, has: &BTreeSet<Acl>) -> AccessChange {
    let wanted = access_of(after, today);
    let departments = || before.departments.keys().chain(after.departments.keys());
    let is_ours = |acl: &&Acl| {
        departments().any(|department| {
            acl.principal == principal(department)
                && match &acl.resource {
                    Resource::Topic(topic) => {
                        ["view.", "publish.", "reject."].iter().any(|prefix| topic.starts_with(prefix))
                    }
                    Resource::GroupPrefix(prefix) => *prefix == group_prefix(department),
                }
        })
    };
    AccessChange {
        add: wanted.difference(has).cloned().collect(),
        remove: has.difference(&wanted).filter(is_ours).cloned().collect(),
    }
}

/// A subscriber with a grant over Kafka that serves today reads its view, in groups of its own. An authority writes its
/// dataset's publish topic. Whoever publishes reads its rejections. Nothing else.
fn access_of(catalog: &Catalog, today: Date) -> BTreeSet<Acl> {
    let mut access = BTreeSet::new();
    let mut allow = |department: &str, operation, resource| {
        access.insert(Acl { principal: principal(department), operation, resource });
    };
    let mut reads = |department: &str, topic: String| {
        allow(department, Operation::Read, Resource::Topic(topic));
        allow(department, Operation::Read, Resource::GroupPrefix(group_prefix(department)));
    };
    for grant in catalog.active_grants(today).filter(|grant| grant.delivery == Delivery::Kafka) {
        reads(&grant.subscriber, topics::view(&grant.view));
    }
    for department in catalog.departments.values().filter(|department| !department.sources.is_empty()) {
        reads(&department.id, topics::reject(&department.id));
    }
    for (id, dataset) in &catalog.datasets {
        for authority in &dataset.authorities {
            allow(&authority.department, Operation::Write, Resource::Topic(topics::publish(id)));
        }
    }
    access
}

fn principal(department: &str) -> String {
    format!("User:{department}")
}

/// An id holds no point, so no department's prefix begins another's.
fn group_prefix(department: &str) -> String {
    format!("{department}.")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// `clerk` publishes permits; `tax` reads them over Kafka until the end of 2026.
    fn catalog(status: &str) -> Catalog {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "departments.yaml",
            "clerk:\n  title: {en: Clerk}\n  sources: [urn:c]\ntax:\n  title: {en: Tax}\nwater:\n  title: {en: Water}\n",
        );
        write(
            "permit/permit.avsc",
            r#"{"type": "record", "name": "Permit", "fields": [{"name": "number", "type": "string"}]}"#,
        );
        write(
            "permit/dataset.yaml",
            "title: {en: Permits}\nauthorities: [clerk]\nkey: number\nversion: sequence\ncatalogue: {summary: {en: P}, \
             update_frequency: daily, share_type: unconditional, share_method: other, classification: general}\n",
        );
        for (grant, delivery) in [("tax", "kafka"), ("water", "pull")] {
            let text = format!(
                "subscriber: {grant}\ndataset: permit\nfields: [number]\npurpose: p\nlegal_basis: l\n\
                 valid_from: 2026-01-01\nvalid_until: 2026-12-31\nstatus: {status}\ndelivery: {delivery}\n"
            );
            write(&format!("grants/{grant}.yaml"), &text);
        }
        let source = crate::yaml::load(folder.path()).unwrap();
        crate::plan::diff(&source, &Catalog::default()).unwrap().into_after()
    }

    fn lines(before: &Catalog, after: &Catalog, today: Date, has: &BTreeSet<Acl>) -> Vec<String> {
        let view = after.grants["tax"].view.clone();
        change(before, after, today, has).lines().into_iter().map(|line| line.replace(&view, "VIEW")).collect()
    }

    #[test]
    fn departments_may_do_what_the_catalogue_says_and_nothing_else() {
        let (none, active) = (Catalog::default(), catalog("active"));
        let today = date(2026, 6, 1);
        let expected = [
            "+ access: User:clerk reads topic reject.clerk",
            "+ access: User:clerk reads as group clerk.*",
            "+ access: User:clerk writes topic publish.permit",
            "+ access: User:tax reads topic view.VIEW",
            "+ access: User:tax reads as group tax.*",
        ];
        assert_eq!(lines(&none, &active, today, &BTreeSet::new()), expected);
        let has = access_of(&active, today);
        assert!(change(&active, &active, today, &has).is_empty());
    }

    #[test]
    fn what_ends_is_taken_away_and_what_others_set_stays() {
        let (active, suspended) = (catalog("active"), catalog("suspended"));
        let today = date(2026, 6, 1);
        let mut has = access_of(&active, today);
        let by_hand = |principal: &str, topic: &str| Acl {
            principal: principal.to_owned(),
            operation: Operation::Read,
            resource: Resource::Topic(topic.to_owned()),
        };
        has.insert(by_hand("User:monitoring", "view.x"));
        has.insert(by_hand("User:tax", "own-topic"));
        let gone = ["- access: User:tax reads topic view.VIEW", "- access: User:tax reads as group tax.*"];
        assert_eq!(lines(&active, &suspended, today, &has), gone);
        assert_eq!(lines(&active, &active, date(2027, 1, 1), &has), gone, "expired");

        // More than granted, and a department that is no longer in the catalogue.
        has.insert(by_hand("User:water", "view.x"));
        assert_eq!(lines(&active, &active, today, &has), ["- access: User:water reads topic view.x"]);
        let mut without = active.clone();
        without.departments.remove("water");
        assert_eq!(lines(&active, &without, today, &has), ["- access: User:water reads topic view.x"]);
    }
}
