//! An ordinary idempotent producer.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

/// Tells when the broker has the record.
pub type Sent = rdkafka::producer::DeliveryFuture;

/// Waits until the broker has the record. Where the client does not say at which offset, nobody knows whether it has
/// (`docs/decisions/0017`): every department must look at that.
pub async fn acknowledged(sent: Sent) -> Result<(), KafkaError> {
    match sent.await {
        Ok(Ok(delivery)) if delivery.offset >= 0 => Ok(()),
        Ok(Ok(_)) => Err(KafkaError::MessageProduction(RDKafkaErrorCode::NoOffset)),
        Ok(Err((error, _))) => Err(error),
        // The producer was closed.
        Err(_) => Err(KafkaError::Canceled),
    }
}

#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

impl Producer {
    /// `settings` are librdkafka's, over the ones of any careful department: idempotent, `acks=all`, the partitioner
    /// that Java clients use.
    pub fn new(bootstrap: &str, settings: &[(&str, &str)]) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set_log_level(RDKafkaLogLevel::Error);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Ok(Self { inner: config.create()? })
    }

    /// Takes the record; the future tells when the broker has it. Waits while the client's own queue is full.
    pub async fn send(
        &self,
        topic: &str,
        key: &[u8],
        value: Option<&[u8]>,
        headers: &[(&str, &str)],
    ) -> Result<Sent, KafkaError> {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        self.send_bytes(topic, Some(key), value, &headers).await
    }

    /// Anything that Kafka takes: also without a key, also headers that are no text.
    pub async fn send_bytes(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) -> Result<Sent, KafkaError> {
        loop {
            let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic);
            if let Some(key) = key {
                record = record.key(key);
            }
            if let Some(value) = value {
                record = record.payload(value);
            }
            let mut owned = OwnedHeaders::new_with_capacity(headers.len());
            for (name, value) in headers {
                owned = owned.insert(Header { key: name, value: Some(*value) });
            }
            match self.inner.send_result(record.headers(owned)) {
                Ok(delivery) => return Ok(delivery),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Until everything that was sent has its answer. Blocking.
    pub fn flush(&self, limit: Duration) -> Result<(), KafkaError> {
        self.inner.flush(limit)
    }
}
