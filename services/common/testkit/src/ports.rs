//! Ports for programs that listen a moment later, or again after they were killed.
//!
//! They lie below those that the system gives to outgoing connections. A port from among these may be somebody's
//! connection by the time the program listens, and a client that tries again and again to reach a program that is away
//! may even be connected with itself on it, and keep the program out for good.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

const LOWEST: u16 = 10_240;
/// Where outgoing connections begin on Linux as shipped; elsewhere it is higher.
const OUTGOING: u16 = 32_768;

/// What this process has chosen: it is free until whoever it is for listens, and not to be chosen again meanwhile.
static CHOSEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// On loopback, distinct, also from those of earlier calls, free at this moment.
pub fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let range = range();
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut held: Vec<(u16, TcpListener)> = Vec::with_capacity(count);
    // A random place to begin at keeps programs that choose at the same time apart.
    let begin = fastrand::u16(range.clone());
    for port in (begin..range.end).chain(range.start..begin) {
        if held.len() == count {
            break;
        }
        if !chosen.contains(&port)
            && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        let reason = format!("fewer than {count} ports from {} to {} are free", range.start, range.end - 1);
        return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, reason));
    }
    chosen.extend(held.iter().map(|(port, _)| *port));
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

/// One of them.
pub fn free_port() -> std::io::Result<u16> {
    free_ports(1).map(|ports| ports[0])
}

fn range() -> Range<u16> {
    let set = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let outgoing = set.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(OUTGOING);
    // A system that gives nearly all of them to connections leaves nothing below.
    if outgoing > LOWEST + 1_000 { LOWEST..outgoing.min(OUTGOING) } else { LOWEST..OUTGOING }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn they_are_distinct_free_and_none_that_a_connection_may_get() {
        let ports = free_ports(40).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 40);
        // Nobody listens there yet, and still no later call gives one of them.
        let later: Vec<u16> = (0..40).flat_map(|_| free_ports(200).unwrap()).collect();
        assert_eq!(later.iter().chain(&ports).collect::<BTreeSet<_>>().len(), later.len() + ports.len());
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let outgoing = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let outgoing = outgoing.local_addr().unwrap().port();
        assert!(
            ports.iter().all(|port| range().contains(port)) && !range().contains(&outgoing),
            "{outgoing}: {ports:?}"
        );
    }
}
