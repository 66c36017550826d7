//! A network between a client and a broker that knows where a request and an answer end.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use freshet_testkit::broker::{Listener, Serves};
use freshet_testkit::ports::free_port;
use freshet_testkit::{Broker, BrokerSettings};

/// Kafka's protocol, "API keys".
pub const PRODUCE: i16 = 0;
pub const END_TRANSACTION: i16 = 26;

/// What becomes of a client's connection to the broker. Runs on a thread of its own.
pub trait Link: Send + Sync + 'static {
    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()>;

    /// False where nobody may connect now.
    fn is_open(&self) -> bool {
        true
    }
}

/// A broker of one's own, and the address by which its clients reach it through a link. The broker ends with its handle,
/// the link's threads with the connections, the one that listens with the process.
pub fn broker_behind<L: Link>(link: &Arc<L>, folder: &Path) -> (Broker, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (at_broker, at_link) = (free_port().unwrap(), listener.local_addr().unwrap().port());
    let mut settings = BrokerSettings::new(folder);
    let ports = vec![(at_broker, at_link)];
    settings.listeners.push(Listener { name: "PROXIED".to_owned(), ports, serves: Serves::Clients });
    let broker = Broker::start(settings).unwrap();
    let link = Arc::clone(link);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if !link.is_open() {
                continue;
            }
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, at_broker)) else { continue };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            link.connect(client, server).unwrap();
        }
    });
    (broker, format!("127.0.0.1:{at_link}"))
}

/// A request or an answer, with the four bytes of its size.
pub fn frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut frame = size.to_vec();
    frame.resize(4 + u32::from_be_bytes(size) as usize, 0);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}

/// Size, API key, version, correlation.
pub fn api_key(request: &[u8]) -> i16 {
    i16::from_be_bytes([request[4], request[5]])
}

pub fn asked_as(request: &[u8]) -> i32 {
    number(&request[8..])
}

/// Size, correlation.
pub fn answered_as(answer: &[u8]) -> i32 {
    number(&answer[4..])
}

fn number(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
