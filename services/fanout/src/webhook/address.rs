//! Which addresses a webhook may reach. A subscriber names the URL, so without this a grant could make the bus talk to
//! its own brokers, to a metadata service or to a neighbour's intranet (server-side request forgery). Government
//! endpoints often *are* internal, hence the allow list (requirements §6.3).
//!
//! The name is resolved here, the answer is checked, and the connection goes to exactly the checked addresses: a second
//! resolution, which could answer differently (DNS rebinding), does not take place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;
use url::Url;

/// One line of `allow_private_addresses`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// `10.20.0.0/16`, `fd00::/8`, or one address.
    Network { address: IpAddr, prefix: u8 },
    /// `hooks.tax.internal:8443`: whatever that name resolves to, on that port only.
    Endpoint { host: String, port: u16 },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a network such as 10.20.0.0/16 nor host:port")]
pub struct AllowedError(String);

impl FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || AllowedError(text.to_owned());
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network { address, prefix: if address.is_ipv4() { 32 } else { 128 } });
        }
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
            let widest = if address.is_ipv4() { 32 } else { 128 };
            return if prefix <= widest { Ok(Self::Network { address, prefix }) } else { Err(wrong()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() { Err(wrong()) } else { Ok(Self::Endpoint { host, port }) }
    }
}

/// What may be reached: public addresses, and what the operator has listed.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allowed: Vec<Allowed>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{host} is {address}, which is not a public address and not in allow_private_addresses")]
    Private { host: String, address: IpAddr },
    #[error(
        "plain http leaves the event readable on the way: use https, or list {host}:{port} in allow_private_addresses"
    )]
    PlainHttp { host: String, port: u16 },
    #[error("{0} resolves to no address")]
    NoAddress(String),
    #[error("{host} cannot be resolved: {reason}")]
    Unresolved { host: String, reason: String },
    #[error("the URL has no host, or is neither http nor https, or holds a user name or password")]
    Url,
}

/// Where a webhook goes, as its URL says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub encrypted: bool,
}

impl Target {
    pub fn of(url: &Url) -> Result<Self, Refused> {
        let encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Refused::Url),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Url);
        }
        let host = url.host_str().ok_or(Refused::Url)?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().ok_or(Refused::Url)?;
        Ok(Self { host: host.to_ascii_lowercase(), port, encrypted })
    }
}

impl AddressPolicy {
    pub fn new(entries: &[String]) -> Result<Self, AllowedError> {
        Ok(Self { allowed: entries.iter().map(|entry| entry.trim().parse()).collect::<Result<_, _>>()? })
    }

    /// Whether this one address, which `target`'s host resolved to, may be connected to.
    pub fn check(&self, target: &Target, address: IpAddr) -> Result<(), Refused> {
        let listed = self.allowed.iter().any(|allowed| match allowed {
            Allowed::Network { address: network, prefix } => contains(*network, *prefix, address),
            Allowed::Endpoint { host, port } => *host == target.host && *port == target.port,
        });
        if listed {
            return Ok(());
        }
        if !is_public(address) {
            return Err(Refused::Private { host: target.host.clone(), address });
        }
        if !target.encrypted {
            return Err(Refused::PlainHttp { host: target.host.clone(), port: target.port });
        }
        Ok(())
    }

    /// Resolves and checks. One address that may not be reached refuses the name as a whole: a mixed answer is what an
    /// attacker sends.
    pub async fn resolve(&self, target: &Target) -> Result<Vec<SocketAddr>, Refused> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((target.host.as_str(), target.port))
            .await
            .map_err(|error| Refused::Unresolved { host: target.host.clone(), reason: error.to_string() })?
            .collect();
        if addresses.is_empty() {
            return Err(Refused::NoAddress(target.host.clone()));
        }
        for address in &addresses {
            self.check(target, address.ip())?;
        }
        Ok(addresses)
    }
}

/// The resolver of one subscriber's HTTP client. A URL whose host is a literal address never comes here; the sender
/// checks that one itself before each attempt.
#[derive(Debug, Clone)]
pub struct CheckedResolver {
    pub policy: Arc<AddressPolicy>,
    pub target: Target,
}

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Refused;
    type Future = BoxFuture<'static, Result<Self::Response, Refused>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (policy, mut target) = (Arc::clone(&self.policy), self.target.clone());
        // Redirects are off and so are proxies: the name is the target's own. Taken from the request all the same, so
        // that the check is on what will be connected to.
        target.host = name.as_str().to_ascii_lowercase();
        Box::pin(async move { policy.resolve(&target).await.map(Vec::into_iter) })
    }
}

fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    match (network, embedded_v4(address).map_or(address, IpAddr::V4)) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            u32::from(network) & mask == u32::from(address) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            u128::from(network) & mask == u128::from(address) & mask
        }
        _ => false,
    }
}

/// True for what the IANA special-purpose registries (RFC 6890 and its updates) call globally reachable.
fn is_public(address: IpAddr) -> bool {
    match (embedded_v4(address), address) {
        (Some(v4), _) | (None, IpAddr::V4(v4)) => is_public_v4(v4),
        (None, IpAddr::V6(v6)) => is_public_v6(v6),
    }
}

/// The IPv4 address inside an IPv6 one that leads to it: mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let segments = v6.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return Some(join(segments[6], segments[7]));
    }
    if segments[0] == 0x2002 {
        return Some(join(segments[1], segments[2]));
    }
    v6.to_ipv4_mapped()
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: &[(Ipv4Addr, u8)] = &[
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
    ];
    !SPECIAL.iter().any(|(network, prefix)| contains(IpAddr::V4(*network), *prefix, IpAddr::V4(address)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Everything global unicast is in 2000::/3; loopback, unique-local, link-local and multicast are not.
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    let teredo_and_special = segments[0] == 0x2001 && segments[1] < 0x0200;
    let documentation = (segments[0] == 0x2001 && segments[1] == 0x0db8) || segments[0] & 0xfff0 == 0x3ff0;
    global_unicast && !teredo_and_special && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, port: u16) -> Target {
        Target { host: host.to_owned(), port, encrypted: true }
    }

    #[test]
    fn refuses_every_address_that_is_not_public() {
        let policy = AddressPolicy::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2001:db8::1",
            "2001::1",
        ] {
            let ip: IpAddr = address.parse().expect("an address");
            assert!(policy.check(&target("h", 443), ip).is_err(), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            let ip: IpAddr = address.parse().expect("an address");
            assert_eq!(policy.check(&target("h", 443), ip), Ok(()), "{address}");
        }
    }

    #[test]
    fn the_allow_list_opens_a_network_or_one_endpoint() {
        let entries = ["10.20.0.0/16", "hooks.tax.internal:8443", "fd00::/8", "192.168.7.7"].map(str::to_owned);
        let policy = AddressPolicy::new(&entries).expect("entries");
        let check = |host: &str, port, ip: &str| policy.check(&target(host, port), ip.parse().expect("ip")).is_ok();
        assert!(check("a", 443, "10.20.255.1"));
        assert!(!check("a", 443, "10.21.0.1"));
        assert!(check("a", 443, "fd00::5"));
        assert!(check("a", 443, "192.168.7.7"));
        assert!(!check("a", 443, "192.168.7.8"));
        assert!(check("hooks.tax.internal", 8443, "127.0.0.1"));
        assert!(!check("hooks.tax.internal", 443, "127.0.0.1"));
        assert!(!check("other.internal", 8443, "127.0.0.1"));
    }

    #[test]
    fn plain_http_needs_an_entry() {
        let policy = AddressPolicy::new(&["127.0.0.0/8".to_owned()]).expect("entries");
        let plain = Target { host: "h".to_owned(), port: 80, encrypted: false };
        assert!(matches!(policy.check(&plain, "1.1.1.1".parse().expect("ip")), Err(Refused::PlainHttp { .. })));
        assert_eq!(policy.check(&plain, "127.0.0.1".parse().expect("ip")), Ok(()));
    }

    #[test]
    fn an_entry_that_is_neither_is_named() {
        for wrong in ["10.0.0.0/33", "localhost", ":80", "host:port", "fd00::/129"] {
            assert_eq!(Allowed::from_str(wrong), Err(AllowedError(wrong.to_owned())));
        }
    }

    #[test]
    fn a_target_is_http_or_https_without_a_password() {
        let of = |url: &str| Target::of(&url.parse().expect("a URL"));
        assert_eq!(of("https://Hooks.example/x"), Ok(target("hooks.example", 443)));
        assert_eq!(of("http://[::1]:81/").map(|found| (found.host, found.port)), Ok(("::1".to_owned(), 81)));
        assert_eq!(of("ftp://hooks.example/"), Err(Refused::Url));
        assert_eq!(of("https://user:word@hooks.example/"), Err(Refused::Url));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused() {
        let refused = AddressPolicy::default().resolve(&target("localhost", 443)).await;
        assert!(matches!(refused, Err(Refused::Private { .. })), "{refused:?}");
    }
}
