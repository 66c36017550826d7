//! librdkafka's settings in three layers: ours by default, the operator's, and last the ones that correctness rests on,
//! which nothing overrides.

use freshet_core::clients::READER_GROUP;
use rdkafka::ClientConfig;

use crate::{Connection, Error};

/// How long a transaction may stay open before the broker aborts it. A service that is killed holds back every
/// `read_committed` reader of its partitions for at most this long.
pub(crate) const TRANSACTION_TIMEOUT_MS: u32 = 10_000;

/// The largest record that the bus writes: key, value and headers. Its own topics take more than those that departments
/// publish to, so that a refused record with its reasons still fits; what a topic takes is the topic's setting.
pub const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// What an operator may set through `extra`: reachability, timing, buffers and compression, nothing that touches
/// delivery, order or visibility.
pub(crate) const MAY_BE_SET: &[&str] = &[
    "broker.address.family",
    "broker.address.ttl",
    "batch.size",
    "client.dns.lookup",
    "client.rack",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.message.max.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "linger.ms",
    "log_level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "statistics.interval.ms",
];

/// How soon a client sees partitions that are new, and topics that are gone or made anew. Promises rest on it.
pub(crate) const REFRESH: &str = "topic.metadata.refresh.interval.ms";

pub(crate) fn may_be_set(key: &str) -> bool {
    // A test's client that does not see what changed.
    MAY_BE_SET.contains(&key) || cfg!(test) && key == REFRESH
}

/// Overridable. `retry.backoff.ms` and `fetch.wait.max.ms` are the two that latency rests on: a transaction that follows
/// another closely is answered CONCURRENT_TRANSACTIONS and waits for the backoff (100 ms as shipped).
const COMMON_DEFAULTS: &[(&str, &str)] = &[
    ("log_level", "4"),
    ("socket.keepalive.enable", "true"),
    (REFRESH, "5000"),
    // How long after a broker is back a client may still sit out its wait: 10 s as shipped, and a call may need several
    // connections one after the other (`docs/decisions/0009-recovery.md`).
    ("reconnect.backoff.max.ms", "1000"),
    // How long an answer is waited for on a connection that is there but silent, and how long a new one may take: 60 and
    // 30 s as shipped. Requests that wait on the broker's side for long, to join a group or to write, have limits of their
    // own.
    ("socket.timeout.ms", "9900"),
    ("socket.connection.setup.timeout.ms", "5000"),
    // What brokers may ask clients for (KIP-714), and for which a client keeps histograms, some 100 KB for each broker.
    ("enable.metrics.push", "false"),
];

const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    ("queued.max.messages.kbytes", "16384"),
    // More than a fetch brings; 100 MB as shipped. What it becomes is bounded by `freshet_decompression`.
    ("receive.message.max.bytes", "33554432"),
    ("queued.min.messages", "20000"),
    // Of one answer of a broker, as it comes: compressed. 50 MiB as shipped. All of it is decompressed at once, on top of
    // what is queued.
    ("fetch.max.bytes", "8388608"),
    // How long a killed instance keeps its partitions.
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1500"),
    // The longest that rebuilding a stage's state may take, since nobody polls meanwhile.
    ("max.poll.interval.ms", "900000"),
];

const CONSUMER_FORCED: &[(&str, &str)] = &[
    ("isolation.level", "read_committed"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("partition.assignment.strategy", "range"),
    ("group.protocol", "classic"),
    ("allow.auto.create.topics", "false"),
    ("check.crcs", "true"),
    // An offset that is gone is an error that the loop reports and mends, not a silent jump.
    ("auto.offset.reset", "error"),
];

const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("retry.backoff.ms", "5"),
    ("queue.buffering.max.messages", "500000"),
    // What waits for a broker. A loop that has to wait for room keeps no more in memory meanwhile.
    ("queue.buffering.max.kbytes", "65536"),
];

const PRODUCER_FORCED: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("partitioner", "murmur2_random"),
    ("allow.auto.create.topics", "false"),
];

/// What a client is for, which decides a few settings more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumer<'a> {
    /// A member of a group that commits: a hop of the bus.
    Group { group: &'a str },
    /// The same for a way out. There are many of them, and mostly nothing comes.
    WindowGroup { group: &'a str },
    /// Assigned by hand; commits nothing. Ends of partitions are reported.
    Reader,
    /// The same for a record here and there.
    Sampler,
    /// The same for a way out.
    Batches,
    /// Sees the end of a partition as the log has it, open transactions included. Reads no records.
    Watermarks,
    /// Sees the offsets of a group as they are committed, whatever transaction is open on them. Reads no records.
    Unstable { group: &'a str },
}

impl Consumer<'_> {
    /// librdkafka wants a group's name even from a consumer that joins none.
    pub(crate) fn group(&self) -> &str {
        match self {
            Self::Group { group } | Self::WindowGroup { group } | Self::Unstable { group } => group,
            Self::Reader | Self::Sampler | Self::Batches | Self::Watermarks => READER_GROUP,
        }
    }

    /// How long the broker holds a fetch that finds nothing. What it finds meanwhile it sends at once; but a partition
    /// that is assigned or goes on meanwhile waits for the answer, and so does one that was not asked for. An idle client asks again after it, and names every
    /// partition that it has: a validator of 2,000 that asked every 5 ms would do nothing else.
    fn fetch_wait_ms(self) -> &'static str {
        match self {
            Self::Group { .. } => "500",
            // Fetches only while it reads back, partition after partition, and the end of each is an answer that is empty.
            Self::Reader | Self::Sampler => "2",
            Self::Watermarks | Self::Unstable { .. } => "20",
            Self::WindowGroup { .. } | Self::Batches => PATIENT_FETCH_WAIT_MS,
        }
    }

    /// How long nothing is fetched where enough is queued. As shipped it is a second, and a loop that empties its queue in a tenth
    /// of it stands still for the rest. Long enough all the same: each partition waits from when it was looked at, and as soon as
    /// the first has waited, those that have are fetched. Where these are idle ones of many, the one with the backlog waits
    /// behind them for [`Self::fetch_wait_ms`]: with 2,000 partitions at every 2 ms, a hop worked off half as much. And the
    /// queue of a subscriber who is behind is always full: where fifty of them looked every 2 ms, that was a quarter of the CPU.
    /// What a window has in flight, and a hop in its queue, lasts longer than 20 ms.
    fn full_queue_wait_ms(self) -> &'static str {
        match self {
            Self::Group { .. } | Self::WindowGroup { .. } => "20",
            _ => "2",
        }
    }

    /// A way out is one client of many, each of which may be a week behind: then all of them hold as much as they may. One
    /// answer of a broker is as large as `fetch.message.max.bytes` for each partition, and one batch is taken whatever its
    /// size.
    fn buffers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::WindowGroup { .. } | Self::Batches | Self::Sampler => &[
                ("queued.max.messages.kbytes", "512"),
                ("queued.min.messages", "300"),
                ("fetch.max.bytes", ANSWER_BYTES),
                ("message.max.bytes", ANSWER_BYTES),
                ("fetch.message.max.bytes", "131072"),
            ],
            // What departments send, who may compress a record of 10 MiB to 40 KiB: a dozen of them in one answer.
            // Of what is queued the client counts keys and values, not what it holds each record in.
            Self::Group { .. } => &[
                ("queued.max.messages.kbytes", "8192"),
                ("fetch.max.bytes", ANSWER_BYTES),
                ("message.max.bytes", ANSWER_BYTES),
            ],
            Self::Reader | Self::Watermarks | Self::Unstable { .. } => &[],
        }
    }
}

/// Of one answer of a broker, as it comes; a single batch is taken whatever its size. Also for `message.max.bytes`, below which
/// `fetch.max.bytes` may not be.
const ANSWER_BYTES: &str = "524288";
/// For clients of which there are many.
const PATIENT_FETCH_WAIT_MS: &str = "100";

pub(crate) fn consumer(connection: &Connection, role: &str, kind: Consumer<'_>) -> Result<ClientConfig, Error> {
    let mut config = layered(connection, role, &CONSUMER)?;
    let waits = [("fetch.wait.max.ms", kind.fetch_wait_ms()), ("fetch.queue.backoff.ms", kind.full_queue_wait_ms())];
    for (key, value) in waits.iter().chain(kind.buffers()) {
        if !connection.extra.contains_key(*key) {
            config.set(*key, *value);
        }
    }
    config.set("group.id", kind.group());
    match kind {
        Consumer::Group { .. } | Consumer::WindowGroup { .. } => {
            config.set("enable.partition.eof", "false");
        }
        Consumer::Reader | Consumer::Sampler | Consumer::Batches => {
            config.set("enable.partition.eof", "true");
        }
        Consumer::Watermarks | Consumer::Unstable { .. } => {
            config.set("isolation.level", "read_uncommitted");
        }
    }
    Ok(config)
}

/// What a loop has in the client's queue. `queue.buffering.max.kbytes` counts values alone, and a record of a view takes about
/// a kilobyte, most of it headers: a batch that writes fifty views of 10,000 events held 520 to 624 MiB.
const LOOP_QUEUE_RECORDS: &str = "50000";

pub(crate) fn producer(
    connection: &Connection,
    role: &str,
    transactional_id: Option<&str>,
) -> Result<ClientConfig, Error> {
    let mut config = layered(connection, role, &PRODUCER)?;
    config.set("message.max.bytes", MAX_RECORD_BYTES.to_string());
    if let Some(id) = transactional_id {
        config.set("transactional.id", id);
        // Sending offsets forgets to look for the group's new coordinator until the state of some connection changes
        // (librdkafka's issue 5511, open): one that nothing is sent on is closed, so that some does.
        if !connection.extra.contains_key("connections.max.idle.ms") {
            config.set("connections.max.idle.ms", "6000");
        }
        if !connection.extra.contains_key("queue.buffering.max.messages") {
            config.set("queue.buffering.max.messages", LOOP_QUEUE_RECORDS);
        }
        config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string());
        // An output that cannot be written must not outlive its transaction.
        config.set("message.timeout.ms", TRANSACTION_TIMEOUT_MS.to_string());
    }
    Ok(config)
}

pub(crate) fn admin(connection: &Connection, role: &str) -> Result<ClientConfig, Error> {
    layered(connection, role, &ADMIN)
}

/// The layers of one kind of client, and what the other kinds alone understand.
struct Layers {
    defaults: &'static [(&'static str, &'static str)],
    forced: &'static [(&'static str, &'static str)],
    not_for_it: &'static [&'static [&'static str]],
}

const CONSUMER: Layers = Layers { defaults: CONSUMER_DEFAULTS, forced: CONSUMER_FORCED, not_for_it: &[PRODUCER_ONLY] };
const PRODUCER: Layers = Layers { defaults: PRODUCER_DEFAULTS, forced: PRODUCER_FORCED, not_for_it: &[CONSUMER_ONLY] };
const ADMIN: Layers = Layers { defaults: &[], forced: &[], not_for_it: &[CONSUMER_ONLY, PRODUCER_ONLY] };

fn layered(connection: &Connection, role: &str, layers: &Layers) -> Result<ClientConfig, Error> {
    let mut config = connection.client_config(role)?;
    for (key, value) in COMMON_DEFAULTS.iter().chain(layers.defaults) {
        if !connection.extra.contains_key(*key) {
            config.set(*key, *value);
        }
    }
    // One connection serves every kind of client.
    for key in layers.not_for_it.iter().copied().flatten() {
        config.remove(key);
    }
    for (key, value) in layers.forced {
        config.set(*key, *value);
    }
    Ok(config)
}

const CONSUMER_ONLY: &[&str] = &[
    "client.rack",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.message.max.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
];

const PRODUCER_ONLY: &[&str] = &[
    "batch.size",
    "compression.level",
    "compression.type",
    "linger.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "request.timeout.ms",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_extra_overrides_what_is_forced() {
        for (key, _) in CONSUMER_FORCED.iter().chain(PRODUCER_FORCED) {
            assert!(!may_be_set(key), "{key}");
        }
        for key in [
            "transactional.id",
            "transaction.timeout.ms",
            "group.id",
            "message.timeout.ms",
            "bootstrap.servers",
            "metadata.max.age.ms",
        ] {
            assert!(!may_be_set(key), "{key}");
        }
        // Which `may_be_set` allows to tests.
        assert!(!MAY_BE_SET.contains(&REFRESH));
        let mut connection = Connection::to("localhost:9092");
        connection.extra.insert("isolation.level".to_owned(), "read_uncommitted".to_owned());
        let error = consumer(&connection, "test", Consumer::Reader).unwrap_err().to_string();
        assert!(error.contains("kafka.extra.isolation.level"), "{error}");
    }

    /// Even if the list of harmless settings were wrong, the forced layer is set last.
    #[test]
    fn the_forced_layer_is_last() {
        let connection = Connection::to("localhost:9092");
        let layers = Layers { defaults: &[("acks", "0"), ("enable.idempotence", "false")], ..PRODUCER };
        let config = layered(&connection, "test", &layers).unwrap();
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("enable.idempotence"), Some("true"));
    }

    #[test]
    fn what_correctness_rests_on() {
        let connection = Connection::to("localhost:9092");
        let producer = producer(&connection, "test", Some("freshet.test.0")).unwrap();
        for (key, value) in [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("partitioner", "murmur2_random"),
            ("transaction.timeout.ms", "10000"),
            ("retry.backoff.ms", "5"),
            ("reconnect.backoff.max.ms", "1000"),
            ("transactional.id", "freshet.test.0"),
            ("queue.buffering.max.messages", "50000"),
        ] {
            assert_eq!(producer.get(key), Some(value), "{key}");
        }
        let consumer = consumer(&connection, "test", Consumer::Group { group: "g" }).unwrap();
        for (key, value) in [
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "false"),
            ("auto.offset.reset", "error"),
        ] {
            assert_eq!(consumer.get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn the_client_takes_the_settings_of_every_kind() {
        use rdkafka::consumer::{BaseConsumer, DefaultConsumerContext};
        let connection = Connection::to("127.0.0.1:1");
        for kind in [
            Consumer::Group { group: "g" },
            Consumer::WindowGroup { group: "g" },
            Consumer::Reader,
            Consumer::Sampler,
            Consumer::Batches,
            Consumer::Watermarks,
            Consumer::Unstable { group: "g" },
        ] {
            let config = consumer(&connection, "test", kind).unwrap();
            let made: Result<BaseConsumer, _> = config.create_with_context(DefaultConsumerContext);
            assert!(made.is_ok(), "{kind:?}: {:?}", made.err());
        }
    }

    #[test]
    fn extra_goes_to_the_clients_that_know_it() {
        let mut connection = Connection::to("localhost:9092");
        connection.extra.insert("linger.ms".to_owned(), "1".to_owned());
        connection.extra.insert("fetch.wait.max.ms".to_owned(), "50".to_owned());
        let producer = producer(&connection, "test", None).unwrap();
        assert_eq!((producer.get("linger.ms"), producer.get("fetch.wait.max.ms")), (Some("1"), None));
        let consumer = consumer(&connection, "test", Consumer::Reader).unwrap();
        assert_eq!((consumer.get("linger.ms"), consumer.get("fetch.wait.max.ms")), (None, Some("50")));
    }
}
