//! Somebody who tries what an authorizer may refuse.

use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;

use super::{Consumer, Producer, Received};

/// Longer than a busy machine takes to answer.
const LIMIT: Duration = Duration::from_secs(60);

/// A user of a cluster: the address, and how to log on there.
#[derive(Debug, Clone)]
pub struct Visitor {
    bootstrap: String,
    settings: Vec<(String, String)>,
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("no answer within {} s", LIMIT.as_secs())]
    NoAnswer,
}

impl Visitor {
    /// `settings` are librdkafka's.
    pub fn new(bootstrap: &str, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { bootstrap: bootstrap.to_owned(), settings }
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub fn producer(&self) -> Result<Producer, KafkaError> {
        Producer::new(&self.bootstrap, &self.settings())
    }

    pub fn consumer(&self, group: &str, topics: &[&str]) -> Result<Consumer, KafkaError> {
        Consumer::with(&self.bootstrap, group, topics, &self.settings())
    }

    /// Writes one record. Not idempotent: who may write nothing at all is refused that first, and not the topic.
    pub async fn write(&self, topic: &str) -> Result<(), Refusal> {
        let mut settings = self.settings();
        settings.push(("enable.idempotence", "false"));
        let producer = Producer::new(&self.bootstrap, &settings)?;
        let sent = producer.send(topic, b"k", Some(b"v"), &[]).await?;
        match tokio::time::timeout(LIMIT, sent).await {
            Ok(Ok(answer)) => answer.map(drop).map_err(|(error, _)| error.into()),
            Ok(Err(_)) | Err(_) => Err(Refusal::NoAnswer),
        }
    }

    /// The first record of a topic, or the refusal. Blocking.
    pub fn read(&self, group: &str, topic: &str) -> Result<Received, Refusal> {
        let consumer = self.consumer(group, &[topic])?;
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Some(record) = consumer.next(Duration::from_millis(200))? {
                return Ok(record);
            }
        }
        Err(Refusal::NoAnswer)
    }
}
