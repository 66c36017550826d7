//! A webhook's answer on the wire: the input is what a receiver writes back, then it hangs up. Through a real connection,
//! so this target is slow and has a small share.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use freshet_fanout::in_process::{Attempted, Attempts};

use crate::guard::Guard;
use crate::http_text;
use crate::target::{Kind, Seen, Target, size_class};

pub const KIND: Kind = Kind {
    name: "receiver",
    what: "answers of webhooks on the wire",
    share: 1,
    parts: 1,
    dictionary: &[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 204\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 503 x\r\n",
        "HTTP/2 200\r\n",
        "content-length: 0\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked\r\n",
        "retry-after: 5\r\n",
        "location: http://10.0.0.1/\r\n",
        "content-encoding: gzip\r\n",
        "\r\n\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "x: ",
        "\n",
        "\r",
        "\u{0}",
    ],
    make: || Box::new(Receiver::new()),
};

/// Reads a request and writes what it was told to, one connection after the other, until the target is gone.
fn serve(listener: &TcpListener, answer: &Arc<Mutex<Vec<u8>>>) {
    for stream in listener.incoming() {
        // The target holds the other one.
        if Arc::strong_count(answer) == 1 {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let Ok(reading) = stream.try_clone() else { continue };
        let mut reading = BufReader::new(reading);
        let (mut line, mut length) = (String::new(), 0);
        while reading.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        let mut body = vec![0; length];
        let _ = reading.read_exact(&mut body);
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The other side may have had enough.
        let _ = stream.write_all(&answer);
    }
}

struct Receiver {
    runtime: tokio::runtime::Runtime,
    attempts: Attempts,
    answer: Arc<Mutex<Vec<u8>>>,
    address: std::net::SocketAddr,
    _secrets: tempfile::TempDir,
}

impl Receiver {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answer = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&answer);
        std::thread::spawn(move || serve(&listener, &told));
        let secrets = tempfile::tempdir().expect("a folder");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(secrets.path().join("hook"))
            .expect("a file");
        file.write_all(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("written");
        let runtime = http_text::runtime();
        let grant = super::pull::catalog().grants["pushed"].clone();
        let attempts = runtime
            .block_on(async { Attempts::to(grant, &format!("http://{address}/hook"), (secrets.path(), "hook")) })
            .expect("a webhook");
        Self { runtime, attempts, answer, address, _secrets: secrets }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.answer = Arc::default();
        // Wakes the thread, which then finds itself alone.
        let _ = std::net::TcpStream::connect(self.address);
    }
}

impl Target for Receiver {
    fn run(&mut self, input: &[u8], guard: &Guard) -> Result<Seen, String> {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = input.to_vec();
        let (runtime, attempts) = (&self.runtime, &self.attempts);
        let most = (4 << 20) + 16 * input.len();
        let attempted = guard.ours("an attempt", most, || runtime.block_on(attempts.attempt("msg_1", b"{}")))?;
        match &attempted {
            Attempted::Delivered if !has_a_good_status(input) => Err("delivered, without a status of 2xx".to_owned()),
            Attempted::Delivered => Ok(Seen::of(("delivered", size_class(input.len())))),
            Attempted::Retry { reason, not_before } => {
                Ok(Seen::of((Seen::kind_of(reason), not_before.is_some(), size_class(input.len()))))
            }
            Attempted::Park { reason } if reason.contains("410") => Ok(Seen::of("gone")),
            Attempted::Park { reason } => Err(format!("parked: {reason}")),
        }
    }
}

/// Somewhere in the answer a line says it: behind it may be others, before it answers of 1xx.
fn has_a_good_status(answer: &[u8]) -> bool {
    answer.split(|byte| *byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        line.starts_with(b"HTTP/1.") && line.get(9..10) == Some(b"2")
    })
}
