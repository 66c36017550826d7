//! Outputs that a broker has written, and whose acknowledgement never came.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use freshet_core::Fault;
use freshet_kafka::Connection;
use freshet_kafka::transactional::LoopSettings;
use freshet_testkit::broker::Listener;
use freshet_testkit::ports::free_port;
use freshet_testkit::{Broker, BrokerSettings};

use crate::copy::{Copy, Running};
use crate::support::*;

/// Kafka's protocol, "API keys".
const PRODUCE: i16 = 0;
const END_TRANSACTION: i16 = 26;

/// The librdkafka of today gives the sequence numbers of outputs that it purges at an abort to the next ones, also where
/// it had sent them already. Where the broker had written them, it takes the next ones of this epoch for a repeat
/// (`docs/decisions/0016`).
#[test]
fn what_follows_an_abort_is_written_though_an_acknowledgement_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (at_broker, network) = (free_port().unwrap(), Network::listen().unwrap());
    let mut broker_settings = BrokerSettings::new(folder.path());
    broker_settings.listeners.push(Listener {
        name: "PROXIED".to_owned(),
        ports: vec![(at_broker, network.port)],
        is_for_brokers: false,
    });
    let broker = Broker::start(broker_settings).unwrap();
    let direct = Connection::to(broker.bootstrap());
    let (input, output) = (topic_on(&direct, "in", &[]), topic_on(&direct, "out", &[]));
    // Two partitions: of two records of one, the second would be refused.
    publish_on(&direct, &input, 0..2);
    network.lead_to(at_broker);

    let seen = Arc::clone(&network.seen);
    let mut calls = 0;
    let stage = Copy::new(&input, &output).injecting(move |_| {
        calls += 1;
        if calls != 2 {
            return Ok(());
        }
        eventually("the client has lost its connection and looks for another", 60, || {
            seen.refused.load(Ordering::Relaxed) > 0
        });
        Err(Fault::retry("injected", "the first output is written and not acknowledged"))
    });
    let name = unique("unanswered");
    let running = Running::start(stage, Connection::to(network.bootstrap()), LoopSettings::new(&name, &name, "0"));
    eventually("all is copied", 90, || running.committed() == 2 || running.has_ended());
    running.stop().unwrap();
    assert_books_on(&direct, &output, 0..2);
}

/// A network that swallows the first answer to a Produce request, breaks off the connection, and lets nobody connect until
/// a transaction ends on one of those that are left.
struct Network {
    port: u16,
    listener: TcpListener,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    has_swallowed: AtomicBool,
    refuses: AtomicBool,
    refused: AtomicU32,
}

impl Network {
    fn listen() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { port: listener.local_addr()?.port(), listener, seen: Arc::default() })
    }

    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its threads end with the connections, the one that listens with the process.
    fn lead_to(&self, broker: u16) {
        let (listener, seen) = (self.listener.try_clone().unwrap(), Arc::clone(&self.seen));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if seen.refuses.load(Ordering::SeqCst) {
                    seen.refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)) else { continue };
                seen.connect(client, server).unwrap();
            }
        });
    }
}

impl Seen {
    fn connect(self: &Arc<Self>, mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut to_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
        let produced: Arc<Mutex<BTreeSet<i32>>> = Arc::default();
        let (seen, asked) = (Arc::clone(self), Arc::clone(&produced));
        std::thread::spawn(move || {
            while let Ok(request) = frame(&mut client) {
                // Size, API key, version, correlation.
                match i16::from_be_bytes([request[4], request[5]]) {
                    PRODUCE => _ = asked.lock().unwrap().insert(correlation(&request[8..])),
                    END_TRANSACTION => seen.refuses.store(false, Ordering::SeqCst),
                    _ => {}
                }
                if to_server.write_all(&request).is_err() {
                    break;
                }
            }
            let _ = to_server.shutdown(Shutdown::Both);
        });
        let seen = Arc::clone(self);
        std::thread::spawn(move || {
            while let Ok(answer) = frame(&mut server) {
                let is_produced = produced.lock().unwrap().remove(&correlation(&answer[4..]));
                if is_produced && !seen.has_swallowed.swap(true, Ordering::SeqCst) {
                    seen.refuses.store(true, Ordering::SeqCst);
                    break;
                }
                if to_client.write_all(&answer).is_err() {
                    break;
                }
            }
            let _ = to_client.shutdown(Shutdown::Both);
        });
        Ok(())
    }
}

/// A request or an answer, with the four bytes of its size.
fn frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut frame = size.to_vec();
    frame.resize(4 + u32::from_be_bytes(size) as usize, 0);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn correlation(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
