//! What everybody may do on Kafka itself, as the cluster's authorizer is told: the departments' part follows from the
//! catalogue, so that a grant and its ACL cannot differ; the services' part from what each of them does ([`roles`]).

pub mod roles;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use freshet_core::topics;
use jiff::civil::Date;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::entry::Delivery;
pub use roles::{Principals, Role, Roles};

/// One permission. Kafka denies what nothing allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Acl {
    /// `User:<name>`
    pub principal: String,
    pub operation: Operation,
    pub resource: Resource,
}

/// To read, write and alter allow to describe too, to alter configurations allows to describe them (Kafka, "Authorization
/// and ACLs").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Read,
    Write,
    Create,
    Alter,
    Describe,
    AlterConfigs,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Topic(String),
    /// Every topic whose name begins so.
    TopicPrefix(String),
    Group(String),
    /// Every consumer group whose name begins so.
    GroupPrefix(String),
    TransactionalId(String),
    /// Every transactional id that begins so.
    TransactionalIdPrefix(String),
    Cluster,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Create => "creates",
            Self::Alter => "alters",
            Self::Describe => "describes",
            Self::AlterConfigs => "configures",
        })
    }
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::TopicPrefix(prefix) => write!(f, "topic {prefix}*"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::GroupPrefix(prefix) => write!(f, "group {prefix}*"),
            Self::TransactionalId(id) => write!(f, "transactional id {id}"),
            Self::TransactionalIdPrefix(prefix) => write!(f, "transactional id {prefix}*"),
            Self::Cluster => f.write_str("the cluster"),
        }
    }
}

impl std::fmt::Display for Acl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { principal, operation, resource } = self;
        let is_a_name = !matches!(resource, Resource::Topic(_) | Resource::TopicPrefix(_) | Resource::Cluster);
        let under_it = if is_a_name && *operation != Operation::Describe { " as" } else { "" };
        write!(f, "access: {principal} {operation}{under_it} {resource}")
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

/// From what the cluster has to what the catalogue and the roles ask for. Only what an apply could have set is taken away:
/// permissions of departments and of the roles' principals on what is the bus's. `before` names departments and grants that
/// may be gone `after`.
pub fn change(before: &Catalog, after: &Catalog, roles: &Roles, today: Date, has: &BTreeSet<Acl>) -> AccessChange {
    let wanted = access_of(after, roles, today);
    let is_ours = |acl: &&Acl| {
        roles.could_have(acl, [before, after])
            || [before, after].into_iter().any(|catalog| is_a_departments(acl, catalog))
    };
    AccessChange {
        add: wanted.difference(has).cloned().collect(),
        remove: has.difference(&wanted).filter(is_ours).cloned().collect(),
    }
}

fn is_a_departments(acl: &Acl, catalog: &Catalog) -> bool {
    let Some(department) = catalog.departments.keys().find(|id| acl.principal == principal(id)) else { return false };
    match &acl.resource {
        Resource::Topic(topic) => {
            [topics::VIEW, topics::PUBLISH, topics::REJECT].iter().any(|prefix| topic.starts_with(prefix))
        }
        Resource::Group(name) => catalog.grants.contains_key(name),
        Resource::GroupPrefix(prefix) => *prefix == group_prefix(department),
        Resource::TopicPrefix(_)
        | Resource::TransactionalId(_)
        | Resource::TransactionalIdPrefix(_)
        | Resource::Cluster => false,
    }
}

/// A subscriber with a grant over Kafka that serves today reads its view, as the group of the grant's name or as groups of
/// its own. An authority writes its dataset's publish topic. Whoever publishes reads its rejections. The roles do what
/// [`Roles`] says. Nothing else.
pub fn access_of(catalog: &Catalog, roles: &Roles, today: Date) -> BTreeSet<Acl> {
    let mut access = roles.access(catalog, today);
    let mut allow = |department: &str, operation, resource| {
        access.insert(Acl { principal: principal(department), operation, resource });
    };
    let mut reads = |department: &str, topic: String, group: Option<&str>| {
        allow(department, Operation::Read, Resource::Topic(topic));
        allow(department, Operation::Read, Resource::GroupPrefix(group_prefix(department)));
        if let Some(group) = group {
            allow(department, Operation::Read, Resource::Group(group.to_owned()));
        }
    };
    for grant in over_kafka(catalog, today) {
        reads(&grant.subscriber, topics::view(&grant.view), Some(&grant.id));
    }
    for department in catalog.departments.values().filter(|department| !department.sources.is_empty()) {
        reads(&department.id, topics::reject(&department.id), None);
    }
    for (id, dataset) in &catalog.datasets {
        for authority in &dataset.authorities {
            allow(&authority.department, Operation::Write, Resource::Topic(topics::publish(id)));
        }
    }
    access
}

fn over_kafka(catalog: &Catalog, today: Date) -> impl Iterator<Item = &crate::entry::Grant> {
    catalog.active_grants(today).filter(|grant| grant.delivery == Delivery::Kafka)
}

fn principal(department: &str) -> String {
    format!("User:{department}")
}

/// An id holds no point, so no department's prefix begins another's.
fn group_prefix(department: &str) -> String {
    format!("{department}.")
}
