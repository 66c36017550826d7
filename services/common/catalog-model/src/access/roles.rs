//! What each service of the bus does on Kafka, and so may do: nothing more. `docs/security.md` shows the same as a table.

use std::collections::BTreeSet;

use freshet_core::{clients, topics};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{Acl, Operation, Resource, over_kafka, principal};
use crate::catalog::Catalog;

/// Who works on the bus's side of Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Gateway,
    Validator,
    Router,
    Fanout,
    Catalog,
    Observer,
    /// People and jobs that run `freshet catalog`, `rejects` and `trace`.
    Operator,
}

impl Role {
    pub const ALL: [Self; 7] =
        [Self::Gateway, Self::Validator, Self::Router, Self::Fanout, Self::Catalog, Self::Observer, Self::Operator];

    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Validator => "validator",
            Self::Router => "router",
            Self::Fanout => "fanout",
            Self::Catalog => "catalog",
            Self::Observer => "observer",
            Self::Operator => "operator",
        }
    }
}

/// Whom the cluster knows each role as: `User:freshet-router`. Two roles may share one. Empty: somebody else sets its ACLs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Principals {
    pub gateway: String,
    pub validator: String,
    pub router: String,
    pub fanout: String,
    pub catalog: String,
    pub observer: String,
    pub operator: String,
}

impl Principals {
    fn of(&self, role: Role) -> Option<&str> {
        let principal = match role {
            Role::Gateway => &self.gateway,
            Role::Validator => &self.validator,
            Role::Router => &self.router,
            Role::Fanout => &self.fanout,
            Role::Catalog => &self.catalog,
            Role::Observer => &self.observer,
            Role::Operator => &self.operator,
        };
        (!principal.is_empty()).then_some(principal.as_str())
    }
}

/// The roles as they are set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles {
    pub principals: Principals,
    pub validator_group: String,
    pub router_group: String,
    /// The catalog service sets ACLs itself where grants begin and end by their dates.
    pub catalog_keeps_access: bool,
}

impl Roles {
    /// What the principals that are set need.
    pub(super) fn access(&self, catalog: &Catalog, today: Date) -> BTreeSet<Acl> {
        let mut access = BTreeSet::new();
        for role in Role::ALL {
            let Some(principal) = self.principals.of(role) else { continue };
            for (operation, resource) in self.rights(role, catalog, today) {
                access.insert(Acl { principal: principal.to_owned(), operation, resource });
            }
        }
        access
    }

    /// Families of topics are given as prefixes, so that a new dataset or view needs no new right. That is what the
    /// prefixes are the bus's own for.
    pub fn rights(&self, role: Role, catalog: &Catalog, today: Date) -> Vec<(Operation, Resource)> {
        use Operation::{Alter, AlterConfigs, Create, Describe, Read, Write};
        let topic = |name: &str| Resource::Topic(name.to_owned());
        let topics = |prefix: &str| Resource::TopicPrefix(prefix.to_owned());
        let group = |name: &str| Resource::Group(name.to_owned());
        let transactions_of = |service| Resource::TransactionalIdPrefix(clients::transactional_ids(service));

        // Everybody follows the catalogue.
        let mut rights = vec![(Describe, group(clients::READER_GROUP))];
        if role != Role::Operator {
            rights.push((Read, topic(topics::CATALOG)));
        }
        match role {
            Role::Gateway => rights.extend([(Write, topics(topics::PUBLISH)), (Write, topics(topics::REJECT))]),
            Role::Validator => rights.extend([
                (Read, topics(topics::PUBLISH)),
                (Read, group(&self.validator_group)),
                // Its state is what it has written.
                (Read, topics(topics::DATASET)),
                (Write, topics(topics::DATASET)),
                (Write, topics(topics::REJECT)),
                (Write, transactions_of("validator")),
            ]),
            Role::Router => rights.extend([
                (Read, topics(topics::DATASET)),
                (Read, group(&self.router_group)),
                (Read, topics(topics::VIEW)),
                (Write, topics(topics::VIEW)),
                (Read, topic(topics::VIEW_POSITIONS)),
                (Write, topic(topics::VIEW_POSITIONS)),
                // A note of an event whose view's record no topic takes.
                (Write, topic(topics::REJECT_UNASSIGNED)),
                (Write, transactions_of("router")),
            ]),
            Role::Fanout => rights.extend([
                (Read, topics(topics::VIEW)),
                (Read, Resource::GroupPrefix(clients::FANOUT_GROUPS.to_owned())),
                (Write, topic(topics::AUDIT)),
            ]),
            Role::Catalog if self.catalog_keeps_access => rights.push((Alter, Resource::Cluster)),
            Role::Catalog => {}
            Role::Observer => {
                rights.extend([
                    (Read, topic(topics::AUDIT)),
                    (Read, topics(topics::VIEW)),
                    (Describe, Resource::GroupPrefix(clients::FANOUT_GROUPS.to_owned())),
                ]);
                // How far they are, for those whose group has the grant's name.
                rights.extend(over_kafka(catalog, today).map(|grant| (Describe, group(&grant.id))));
            }
            Role::Operator => {
                for family in [topics::PUBLISH, topics::DATASET, topics::REJECT, topics::VIEW, topics::OWN] {
                    rights.extend([Read, Create, Alter, AlterConfigs].map(|operation| (operation, topics(family))));
                }
                rights.extend([
                    (Write, topic(topics::CATALOG)),
                    (Write, Resource::TransactionalId(clients::CATALOG_TRANSACTIONAL_ID.to_owned())),
                    // `rejects resend`
                    (Write, topics(topics::PUBLISH)),
                    (Alter, Resource::Cluster),
                ]);
            }
        }
        rights
    }

    /// True where an apply could have set it for one of the principals: it is on what is the bus's.
    pub(super) fn could_have(&self, acl: &Acl, catalogs: [&Catalog; 2]) -> bool {
        let is_a_roles = Role::ALL.into_iter().any(|role| self.principals.of(role) == Some(acl.principal.as_str()));
        is_a_roles
            && match &acl.resource {
                Resource::Topic(name) | Resource::TopicPrefix(name) => {
                    [topics::PUBLISH, topics::DATASET, topics::REJECT, topics::VIEW, topics::OWN]
                        .iter()
                        .any(|family| name.starts_with(family))
                }
                Resource::Group(name) | Resource::GroupPrefix(name) => {
                    name.starts_with(topics::OWN)
                        || [&self.validator_group, &self.router_group].contains(&name)
                        || catalogs.iter().any(|catalog| catalog.grants.contains_key(name))
                }
                Resource::TransactionalId(id) | Resource::TransactionalIdPrefix(id) => id.starts_with(topics::OWN),
                Resource::Cluster => acl.operation == Operation::Alter,
            }
    }

    /// A principal that is a department's too would give the department the role's rights.
    pub fn check(&self, catalog: &Catalog) -> Result<(), String> {
        for role in Role::ALL {
            let Some(name) = self.principals.of(role) else { continue };
            if !name.starts_with("User:") || name.len() == "User:".len() {
                return Err(format!("access.{}: `{name}` is no principal; give User:<name>", role.name()));
            }
            if catalog.departments.keys().any(|department| name == principal(department)) {
                return Err(format!(
                    "access.{}: `{name}` is a department; give the role a user of its own",
                    role.name()
                ));
            }
        }
        Ok(())
    }
}
