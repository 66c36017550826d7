//! The ports of the services of a bus on this machine: the ones of the last run where they are free, so that what
//! people noted stays right.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Context as _;
use freshet_testkit::broker::Missing;
use freshet_testkit::ports;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    pub gateway: u16,
    pub fanout: u16,
    pub catalog: u16,
    pub admin: u16,
    pub observer: u16,
    /// Of the demo's webhook receivers.
    pub webhook: u16,
}

/// With a base, the brokers' ports begin this far behind it.
pub const PORTS_OF_SERVICES: u16 = 10;
/// The highest base: below it stand six ports of services and six of three brokers.
pub const HIGHEST_BASE: u16 = u16::MAX - PORTS_OF_SERVICES - 6;

impl Ports {
    /// `base`: exactly these, or an error. Otherwise the usual ones, or those of the last run, or free ones.
    pub fn choose(data: &Path, base: Option<u16>) -> anyhow::Result<Self> {
        if let Some(base) = base {
            let [gateway, fanout, catalog, admin, observer, webhook] =
                std::array::from_fn(|offset| base + offset as u16);
            let ports = Self { gateway, fanout, catalog, admin, observer, webhook };
            if let Some(taken) = ports.all().into_iter().find(|port| !is_free(*port)) {
                return Err(freshet_testkit::BrokerError::Missing(Missing::Port(taken)).into());
            }
            return Ok(ports);
        }
        let file = data.join("ports.json");
        let kept = fs_read(&file).unwrap_or(Self {
            gateway: 8080,
            fanout: 8083,
            catalog: 8081,
            admin: 9600,
            observer: 8084,
            webhook: 18081,
        });
        let mut held = Vec::new();
        let mut free = |port: u16| -> anyhow::Result<u16> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, ports::free_port()?)))
                .context("choosing a port")?;
            let port = listener.local_addr().context("choosing a port")?.port();
            held.push(listener);
            Ok(port)
        };
        let ports = Self {
            gateway: free(kept.gateway)?,
            fanout: free(kept.fanout)?,
            catalog: free(kept.catalog)?,
            admin: free(kept.admin)?,
            observer: free(kept.observer)?,
            webhook: free(kept.webhook)?,
        };
        std::fs::write(&file, serde_json::to_vec_pretty(&ports)?)
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(ports)
    }

    fn all(self) -> [u16; 6] {
        [self.gateway, self.fanout, self.catalog, self.admin, self.observer, self.webhook]
    }
}

pub fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn fs_read(file: &Path) -> Option<Ports> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}
