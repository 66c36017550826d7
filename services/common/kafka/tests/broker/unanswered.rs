//! Outputs that a broker has written, and whose acknowledgement never came.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use freshet_core::Fault;
use freshet_kafka::Connection;
use freshet_kafka::transactional::LoopSettings;

use crate::copy::{Copy, Order, Running};
use crate::support::*;
use crate::wire::{self, END_TRANSACTION, Link, PRODUCE};

/// The librdkafka of today gives the sequence numbers of outputs that it purges at an abort to the next ones, also where
/// it had sent them already. Where the broker had written them, it takes the next ones of this epoch for a repeat
/// (`docs/decisions/0016`).
#[test]
fn what_follows_an_abort_is_written_though_an_acknowledgement_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let network = Arc::<Network>::default();
    let (broker, proxied) = wire::broker_behind(&network, folder.path());
    let direct = Connection::to(broker.bootstrap());
    let (input, output) = (topic_on(&direct, "in", &[]), topic_on(&direct, "out", &[]));
    // From one partition, so that they come in one batch; to two, for of two records to one the second would be refused.
    let second = PARTITIONS as u32;
    publish_on(&direct, &input, 0..1);
    publish_on(&direct, &input, second..second + 1);

    let seen = Arc::clone(&network);
    let mut calls = 0;
    let mut stage = Copy::new(&input, &output).expecting(Order::Any).injecting(move |_| {
        calls += 1;
        if calls != 2 {
            return Ok(());
        }
        eventually("the client has lost its connection and looks for another", 60, || {
            seen.refused.load(Ordering::Relaxed) > 0
        });
        Err(Fault::retry("injected", "the first output is written and not acknowledged"))
    });
    stage.place = |_, number| number as i32 / PARTITIONS;
    let name = unique("unanswered");
    let running = Running::start(stage, Connection::to(proxied), LoopSettings::new(&name, &name, "0"));
    eventually("all is copied", 90, || running.committed() == 2 || running.has_ended());
    running.stop().unwrap();
    let expected = [0, second].map(|number| (key_of(number), vec![number]));
    assert_eq!(numbers_on(&direct, &output), BTreeMap::from(expected));
}

/// Swallows the first answer to a Produce request, breaks off the connection, and lets nobody connect until a transaction
/// ends on one of those that are left.
#[derive(Default)]
struct Network {
    has_swallowed: AtomicBool,
    refuses: AtomicBool,
    refused: AtomicU32,
}

impl Link for Network {
    fn is_open(&self) -> bool {
        let refuses = self.refuses.load(Ordering::SeqCst);
        self.refused.fetch_add(u32::from(refuses), Ordering::SeqCst);
        !refuses
    }

    fn connect(self: &Arc<Self>, mut client: TcpStream, mut server: TcpStream) -> io::Result<()> {
        let (mut to_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
        let produced: Arc<Mutex<BTreeSet<i32>>> = Arc::default();
        let (seen, asked) = (Arc::clone(self), Arc::clone(&produced));
        std::thread::spawn(move || {
            while let Ok(request) = wire::frame(&mut client) {
                match wire::api_key(&request) {
                    PRODUCE => _ = asked.lock().unwrap().insert(wire::asked_as(&request)),
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
            while let Ok(answer) = wire::frame(&mut server) {
                let is_produced = produced.lock().unwrap().remove(&wire::answered_as(&answer));
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
