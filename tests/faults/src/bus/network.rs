//! Every connection of the bus, each through a proxy of its own.

use std::collections::BTreeMap;

use anyhow::Context as _;
use freshet_testkit::broker::{Listener, Serves};
use freshet_testkit::ports::free_ports;

use super::{BROKERS, INSTANCES};
use crate::proxy::{Condition, Link};

/// The brokers' name among those who speak to brokers.
pub const BETWEEN_BROKERS: &str = "brokers";
/// Controllers and brokers, where they speak to a node's controller.
pub const TO_CONTROLLERS: &str = "controllers";
pub const GATEWAY: &str = "departments-gateway";
pub const PULL: &str = "departments-pull";
pub const REGISTRY: &str = "departments-registry";
pub const DATABASE: &str = "fanout-database";
pub const WEBHOOKS: &str = "fanout-webhooks";
/// The ways that are no Kafka.
pub const WAYS: [&str; 5] = [GATEWAY, PULL, REGISTRY, DATABASE, WEBHOOKS];

/// Who speaks to which broker: (one of `speakers`, broker); and the ways that are no Kafka.
#[derive(Debug)]
pub struct Network {
    to_brokers: BTreeMap<(&'static str, usize), (u16, Link)>,
    others: BTreeMap<&'static str, Link>,
    /// Where the services listen, behind the proxies.
    pub gateway_port: u16,
    pub registry_port: u16,
    /// By instance.
    pub pull_ports: BTreeMap<&'static str, u16>,
}

/// Who speaks to brokers, each through proxies of his own.
fn speakers() -> impl Iterator<Item = &'static str> {
    INSTANCES.into_iter().chain([BETWEEN_BROKERS, TO_CONTROLLERS])
}

impl Network {
    pub async fn start(database_port: u16, webhook_port: u16) -> anyhow::Result<Self> {
        let mut ports = free_ports((INSTANCES.len() + 2) * BROKERS + INSTANCES.len())?.into_iter();
        let mut port = || ports.next().context("too few ports");
        let mut to_brokers = BTreeMap::new();
        for who in speakers() {
            for broker in 0..BROKERS {
                let port = port()?;
                to_brokers.insert((who, broker), (port, Link::start(port).await?));
            }
        }
        let (gateway_port, registry_port) = (port()?, port()?);
        let mut pull_ports = BTreeMap::new();
        for id in INSTANCES.iter().filter(|id| id.starts_with("fanout")) {
            pull_ports.insert(*id, port()?);
        }
        let others = BTreeMap::from([
            (GATEWAY, Link::start(gateway_port).await?),
            (PULL, Link::start(pull_ports["fanout-0"]).await?),
            (REGISTRY, Link::start(registry_port).await?),
            (DATABASE, Link::start(database_port).await?),
            (WEBHOOKS, Link::start(webhook_port).await?),
        ]);
        Ok(Self { to_brokers, others, gateway_port, registry_port, pull_ports })
    }

    /// The brokers' listeners behind the proxies.
    pub(super) fn listeners(&self) -> Vec<Listener> {
        let of = |who: &'static str| Listener {
            // Kafka takes letters, digits and underscores.
            name: who.to_uppercase().replace('-', "_"),
            ports: (0..BROKERS)
                .map(|broker| {
                    let (port, link) = &self.to_brokers[&(who, broker)];
                    (*port, link.port)
                })
                .collect(),
            serves: match who {
                BETWEEN_BROKERS => Serves::Brokers,
                TO_CONTROLLERS => Serves::Controllers,
                _ => Serves::Clients,
            },
        };
        speakers().map(of).collect()
    }

    /// Where this instance finds the brokers.
    pub(super) fn bootstrap(&self, id: &str) -> String {
        let own = self.to_brokers.iter().filter(|((who, _), _)| *who == id);
        own.map(|(_, (_, link))| format!("127.0.0.1:{}", link.port)).collect::<Vec<_>>().join(",")
    }

    /// The port at which a way that is no Kafka begins.
    pub fn port(&self, way: &str) -> u16 {
        self.others[way].port
    }

    pub fn address(&self, way: &str) -> String {
        format!("http://127.0.0.1:{}", self.port(way))
    }

    /// Between one of `speakers` and one broker or all.
    pub fn set_to_brokers(&self, who: &str, broker: Option<usize>, condition: Condition) {
        for ((found, number), (_, link)) in &self.to_brokers {
            if *found == who && broker.is_none_or(|broker| broker == *number) {
                link.set(condition);
            }
        }
    }

    pub fn set_other(&self, way: &str, condition: Condition) {
        self.others[way].set(condition);
    }

    pub fn heal(&self) {
        self.to_brokers.values().map(|(_, link)| link).chain(self.others.values()).for_each(|link| {
            link.set(Condition::Open);
        });
    }
}
