//! A TCP proxy that can be told to behave like a bad network. It knows no protocol.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Open,
    /// Each piece comes this much later.
    Latency(Duration),
    /// Connections are broken off, and none is taken.
    Cut,
    /// Nothing comes through in either direction, and nobody is told. What was under way comes when it is over, as with
    /// TCP.
    BlackHole,
    /// Requests come through, answers do not.
    HalfOpen,
    /// This many bytes a second.
    Trickle(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// One port that leads to another.
#[derive(Debug)]
pub struct Link {
    pub port: u16,
    condition: watch::Sender<Condition>,
    task: JoinHandle<()>,
}

impl Link {
    /// Leads a free port of loopback to `upstream`.
    pub async fn start(upstream: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (condition, seen) = watch::channel(Condition::Open);
        let task = tokio::spawn(accept(listener, upstream, seen));
        Ok(Self { port, condition, task })
    }

    pub fn set(&self, condition: Condition) {
        self.condition.send_replace(condition);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        // Ends what is still connected.
        self.condition.send_replace(Condition::Cut);
    }
}

async fn accept(listener: TcpListener, upstream: u16, condition: watch::Receiver<Condition>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) if *condition.borrow() != Condition::Cut => {
                tokio::spawn(connect(client, upstream, condition.clone()));
            }
            Ok(_) => {}
            // Out of descriptors: those that wait are served when some are free.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connect(client: TcpStream, upstream: u16, condition: watch::Receiver<Condition>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else { return };
    // A proxy must not add delays of its own.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = condition.clone();
    tokio::select! {
        () = async {
            let requests = pump(from_client, to_server, Direction::Request, condition.clone());
            let answers = pump(from_server, to_client, Direction::Answer, condition.clone());
            // A side that has said all may still listen.
            tokio::join!(requests, answers);
        } => {}
        _ = cut.wait_for(|condition| *condition == Condition::Cut) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    mut condition: watch::Receiver<Condition>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            if !pass(direction, &mut condition).await {
                return;
            }
            let most = match *condition.borrow() {
                // A tenth of a second's worth.
                Condition::Trickle(rate) => (rate as usize / 10).max(1),
                _ => rest.len(),
            };
            let (piece, later) = rest.split_at(most.min(rest.len()));
            if to.write_all(piece).await.is_err() {
                return;
            }
            rest = later;
        }
    }
    if pass(direction, &mut condition).await {
        let _ = to.shutdown().await;
    }
}

/// Holds a piece back as long as the network would. False where the proxy is gone.
async fn pass(direction: Direction, condition: &mut watch::Receiver<Condition>) -> bool {
    loop {
        let now = *condition.borrow_and_update();
        match now {
            Condition::Open => return true,
            Condition::Latency(time) => {
                tokio::time::sleep(time).await;
                return true;
            }
            Condition::Trickle(_) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                return true;
            }
            Condition::HalfOpen if direction == Direction::Request => return true,
            Condition::HalfOpen | Condition::BlackHole | Condition::Cut => {
                if condition.changed().await.is_err() {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// An echo behind a proxy.
    async fn echo() -> Link {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        Link::start(port).await.unwrap()
    }

    async fn say(stream: &mut TcpStream, limit: Duration) -> Option<usize> {
        stream.write_all(b"hello").await.ok()?;
        let mut answer = [0; 16];
        tokio::time::timeout(limit, stream.read(&mut answer)).await.ok()?.ok()
    }

    #[tokio::test]
    async fn each_condition_does_what_it_says() {
        const LONG: Duration = Duration::from_secs(20);
        const SHORT: Duration = Duration::from_millis(300);
        let link = echo().await;
        let mut stream = TcpStream::connect(("127.0.0.1", link.port)).await.unwrap();
        assert_eq!(say(&mut stream, LONG).await, Some(5));

        link.set(Condition::Latency(Duration::from_millis(150)));
        let begun = Instant::now();
        assert_eq!(say(&mut stream, LONG).await, Some(5));
        assert!(begun.elapsed() >= Duration::from_millis(300));

        for silent in [Condition::BlackHole, Condition::HalfOpen] {
            link.set(silent);
            assert_eq!(say(&mut stream, SHORT).await, None, "{silent:?}");
            link.set(Condition::Open);
            // What was held back comes now.
            let mut late = [0; 16];
            assert_eq!(tokio::time::timeout(LONG, stream.read(&mut late)).await.unwrap().unwrap(), 5);
        }

        link.set(Condition::Trickle(20));
        let begun = Instant::now();
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        tokio::time::timeout(LONG, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        // Five bytes are three pieces, a tenth of a second each.
        assert!(begun.elapsed() >= Duration::from_millis(300));

        link.set(Condition::Cut);
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still connected");
        let mut refused = TcpStream::connect(("127.0.0.1", link.port)).await.unwrap();
        assert!(matches!(say(&mut refused, LONG).await, None | Some(0)));
        link.set(Condition::Open);
        let mut again = TcpStream::connect(("127.0.0.1", link.port)).await.unwrap();
        assert_eq!(say(&mut again, LONG).await, Some(5));
    }
}
