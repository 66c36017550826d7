//! An ordinary `read_committed` consumer.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};

/// A record as a reader has it, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: Vec<u8>,
    /// None: a delete.
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, String)>,
    pub timestamp_ms: Option<i64>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

pub struct Consumer {
    inner: Arc<BaseConsumer>,
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

impl Consumer {
    /// Reads these topics from their beginning, or from where the group was.
    pub fn new(bootstrap: &str, group: &str, topics: &[&str]) -> Result<Self, KafkaError> {
        Self::with(bootstrap, group, topics, &[])
    }

    /// `settings` are librdkafka's, over ours: how to log on, for instance.
    pub fn with(bootstrap: &str, group: &str, topics: &[&str], settings: &[(&str, &str)]) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("queued.max.messages.kbytes", "8192")
            // Whenever that much is queued, nothing is fetched for so long; a second as shipped.
            .set("fetch.queue.backoff.ms", "5")
            .set_log_level(RDKafkaLogLevel::Error);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let inner: BaseConsumer = config.create()?;
        inner.subscribe(topics)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// False where the client has locked itself up, which one may that loses a broker (librdkafka issue 5476): it gets nothing
    /// any more, and another is needed. Such a one is left behind, since closing it would never end. Blocking.
    pub fn answers(&self, limit: Duration) -> bool {
        let (told, answer) = mpsc::channel();
        let inner = Arc::clone(&self.inner);
        std::thread::spawn(move || {
            drop(inner.assignment());
            // Whoever asked may have given up.
            let _ = told.send(());
        });
        answer.recv_timeout(limit).is_ok()
    }

    /// Fetches all its partitions anew from where it is: a client may forget one (librdkafka issue 4492). Blocking.
    pub fn fetch_anew(&self) -> Result<(), KafkaError> {
        let positions = self.inner.position()?;
        if positions.count() == 0 {
            return Ok(());
        }
        self.inner.assign(&positions)?;
        // The next assignment must not come before the fetchers have stopped (issue 5573); the second answer is behind that.
        self.inner.assignment()?;
        self.inner.assignment().map(drop)
    }

    /// The next record, or None where none came in time. Blocking.
    pub fn next(&self, limit: Duration) -> Result<Option<Received>, KafkaError> {
        match self.inner.poll(limit) {
            None => Ok(None),
            Some(Ok(message)) => Ok(Some(owned(&message))),
            Some(Err(error)) => Err(error),
        }
    }

    /// Stores how far it read, so that the group goes on from here.
    pub fn commit(&self) -> Result<(), KafkaError> {
        self.inner.commit_consumer_state(CommitMode::Async)
    }
}

fn owned(message: &BorrowedMessage<'_>) -> Received {
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    });
    Received {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().unwrap_or_default().to_vec(),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp_ms: message.timestamp().to_millis(),
    }
}
