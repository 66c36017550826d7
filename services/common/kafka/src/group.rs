//! Membership in a consumer group, eager (`range`), for both loops. What the group decides is only noted while the
//! client is polled, and acted upon by the loop afterwards: nothing of a loop runs inside the client's callback.

mod identities;
mod positions;
mod stalls;
mod unassigned;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use freshet_core::{Assigned, TopicPartition};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::calls::{Asked, bounded};
use crate::offsets::Offsets;
use crate::{Connection, Error, client, offsets, settings};
use identities::Identities;
pub(crate) use positions::Gone;
use stalls::{Fetched, Place, Stalls};
use unassigned::Unassigned;

/// How long leaving the group may take before the consumer is left to itself.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing comes of a queue that is empty.
const QUIET: Duration = Duration::from_millis(50);
/// How long records are thrown away in search of a decision of the group.
const DISCARD_RECORDS_LIMIT: Duration = Duration::from_secs(1);
/// The same where it is known that there is one.
const DISCARD_LIMIT: Duration = Duration::from_secs(10);
/// How often the client counts its lag. It lists all that it knows of each partition for it: with 2,000 of them, each time
/// takes some 60 ms.
const LAG_INTERVAL_MS: u32 = 20_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The group gave these partitions. They are fetched only after [`Member::begin`].
    Assigned(Vec<TopicPartition>),
    /// The group took all partitions. It goes on only after [`Member::end`].
    Revoked,
}

/// Where a partition ends.
#[derive(Debug, Clone, Copy)]
struct End {
    offset: i64,
    /// The client has fetched up to there, and none of it waits to be polled. What lies between the last record and the end
    /// are markers of transactions then.
    is_reached: bool,
}

#[derive(Default)]
pub(crate) struct Context {
    events: Mutex<VecDeque<Event>>,
    pending: AtomicBool,
    closing: AtomicBool,
    /// Of the partitions that are fetched, as of the last statistics; taken when looked at.
    ends: Mutex<Option<BTreeMap<Place, End>>>,
    /// The same partitions, until there are newer statistics.
    fetched: Mutex<BTreeMap<Place, Fetched>>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        client::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::reported(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.into_iter().flat_map(|(topic, of_topic)| {
            of_topic.partitions.into_values().map(move |partition| (topic.clone(), partition))
        });
        let (mut ends, mut fetched) = (BTreeMap::new(), BTreeMap::new());
        for (topic, partition) in partitions.filter(|(_, partition)| partition.desired) {
            let place = (topic, partition.partition);
            let (next, waiting) = (partition.next_offset, partition.fetchq_cnt);
            if partition.ls_offset >= 0 {
                let is_reached = next >= partition.ls_offset && waiting == 0;
                ends.insert(place.clone(), End { offset: partition.ls_offset, is_reached });
            }
            fetched.insert(place, Fetched { next, waiting });
        }
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = fetched;
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, kind: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            // The loop has ended; the client closes only after this answer.
            let _ = consumer.unassign();
            return;
        }
        let event = match kind {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let given = partitions.elements();
                let given = given.iter().map(|element| TopicPartition {
                    topic: element.topic().to_owned(),
                    partition: element.partition(),
                });
                Event::Assigned(given.collect())
            }
            _ => Event::Revoked,
        };
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
        self.pending.store(true, Ordering::Relaxed);
    }
}

/// A member of a group.
pub(crate) struct Member {
    /// `None` only while it is dropped.
    consumer: Option<BaseConsumer<Context>>,
    asked: Asked,
    /// Shared with questions that are asked aside.
    offsets: Arc<Offsets>,
    identities: Identities,
    stalls: Stalls,
    unassigned: Unassigned,
    connection: Connection,
    group: String,
}

impl Member {
    pub(crate) fn join(connection: &Connection, role: &str, kind: settings::Consumer<'_>) -> Result<Self, Error> {
        let mut config = settings::consumer(connection, role, kind)?;
        if config.get("statistics.interval.ms").is_none() {
            config.set("statistics.interval.ms", LAG_INTERVAL_MS.to_string());
        }
        let consumer = config.create_with_context(Context::default()).map_err(Error::kafka("create a consumer"))?;
        let group = kind.group().to_owned();
        Ok(Self {
            consumer: Some(consumer),
            asked: Asked::default(),
            offsets: Arc::new(Offsets::new(connection)?),
            identities: Identities::default(),
            stalls: Stalls::default(),
            unassigned: Unassigned::default(),
            connection: connection.clone(),
            group,
        })
    }

    pub(crate) fn consumer(&self) -> &BaseConsumer<Context> {
        match &self.consumer {
            Some(consumer) => consumer,
            None => unreachable!("the consumer is taken only by drop"),
        }
    }

    fn context(&self) -> &Context {
        self.consumer().client().context()
    }

    pub(crate) fn subscribe(&mut self, topics: &[String]) -> Result<(), Error> {
        self.unassigned.subscribed(topics);
        if topics.is_empty() {
            bounded("unsubscribe", || self.consumer().unsubscribe());
            return Ok(());
        }
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        bounded("subscribe", || self.consumer().subscribe(&topics)).map_err(Error::kafka("subscribe"))
    }

    /// To be called again and again: ends the process where the client has locked itself up.
    pub(crate) fn ask(&mut self) {
        if let Some(consumer) = &self.consumer {
            self.asked.again(consumer);
        }
    }

    /// True where the group has decided something that was not acted upon. One atomic load: asked once a record.
    pub(crate) fn has_event(&self) -> bool {
        self.context().pending.load(Ordering::Relaxed)
    }

    /// The oldest decision; it stays until [`Member::done`].
    pub(crate) fn event(&self) -> Option<Event> {
        self.context().events.lock().unwrap_or_else(PoisonError::into_inner).front().cloned()
    }

    pub(crate) fn done(&self) {
        let context = self.context();
        let mut events = context.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.pop_front();
        context.pending.store(!events.is_empty(), Ordering::Relaxed);
    }

    /// Records between these positions and the ends, where there are newer statistics than at the last call. `is_idle`: all
    /// that was polled is behind the positions.
    pub(crate) fn lag(&self, positions: &BTreeMap<(String, i32), i64>, is_idle: bool) -> Option<i64> {
        let ends = self.context().ends.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let behind = positions.iter().filter_map(|(partition, at)| {
            let end = ends.get(partition)?;
            Some(if is_idle && end.is_reached { 0 } else { (end.offset - at).max(0) })
        });
        Some(behind.sum())
    }

    /// To be called again and again while all partitions are fetched: a partition of which nothing comes, though it has more.
    /// [`Member::begin`] is what helps. Asks the brokers once a minute.
    pub(crate) fn stalled(&mut self) -> Option<String> {
        if !self.stalls.is_due() {
            return None;
        }
        let consumer = self.consumer.as_ref()?;
        // Taken: what the next look sees must be newer.
        let fetched =
            std::mem::take(&mut *consumer.client().context().fetched.lock().unwrap_or_else(PoisonError::into_inner));
        let (topic, partition) = self.stalls.look(&fetched, || offsets::stable_ends(consumer, fetched.keys()))?;
        Some(format!("nothing comes of {topic}[{partition}], which has more: it is fetched anew"))
    }

    /// Where partitions are paused, or fetched from elsewhere, what was seen before says nothing.
    pub(crate) fn watch_anew(&mut self) {
        self.stalls = Stalls::default();
        self.context().fetched.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Fetches these partitions from these positions: the answer to [`Event::Assigned`], and the way back to what is
    /// committed. What was fetched before is discarded by the client. Not `seek`, which a partition refuses whose position
    /// was lost: with `auto.offset.reset=error` the client stops its fetcher, and only an assignment starts one.
    pub(crate) fn begin(&mut self, positions: &[Assigned]) -> Result<(), Error> {
        self.watch_anew();
        let list = offset_list(positions.iter().map(|at| (at.topic.as_str(), at.partition, at.position)))?;
        client::assign(self.consumer(), &list).map_err(Error::kafka("take the assigned partitions"))
    }

    /// Fetches nothing any more: the answer to [`Event::Revoked`].
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.identities.forget();
        self.unassigned.forget();
        self.watch_anew();
        client::unassign(self.consumer()).map_err(Error::kafka("give the revoked partitions back"))
    }

    /// Polls without keeping what comes, until a decision of the group is seen, or nothing waits any more. A decision stands
    /// in one queue with records, logs and statistics, and one poll serves one of them: nothing at once is not nothing.
    pub(crate) fn discard(&self) {
        let begun = Instant::now();
        while !self.has_event() && begun.elapsed() < DISCARD_LIMIT {
            let asked = Instant::now();
            let is_quiet = self.consumer().poll(QUIET).is_none() && asked.elapsed() >= QUIET;
            // Thrown out of the group: the decision is on its way, and until it is taken nothing can be committed.
            let is_over = is_quiet || begun.elapsed() > DISCARD_RECORDS_LIMIT;
            if is_over && !self.consumer().assignment_lost() {
                return;
            }
        }
    }
}

impl Drop for Member {
    /// Leaving a group can hang in the client; the caller waits for a bounded time.
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        consumer.client().context().closing.store(true, Ordering::Relaxed);
        // A decision that was noted but not answered would hold the close back.
        let _ = client::unassign(&consumer);
        bounded("leave the group", || consumer.unsubscribe());
        client::close(consumer, CLOSE_TIMEOUT);
    }
}

pub(crate) fn offset_list<'t>(offsets: impl Iterator<Item = (&'t str, i32, i64)>) -> Result<TopicPartitionList, Error> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in offsets {
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(Error::kafka("list offsets"))?;
    }
    Ok(list)
}

/// True where the position is not in the log any more: retention was faster than the reader.
pub(crate) fn is_position_lost(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use freshet_testkit::Broker;
    use rdkafka::message::Message as _;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    use super::*;
    use crate::admin::{self, TopicSpec};

    const TOPIC: &str = "stalls";

    /// One record into each of two partitions, with the marker of the transaction behind it.
    fn publish(producer: &BaseProducer) {
        producer.begin_transaction().unwrap();
        for partition in 0..2 {
            let record = BaseRecord::to(TOPIC).partition(partition).key("k").payload("v");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.commit_transaction(Duration::from_secs(20)).unwrap();
    }

    /// Polls until each of these partitions has given a record, and the client has told where it is.
    fn take(member: &Member, partitions: &[i32]) {
        let mut missing: BTreeSet<i32> = partitions.iter().copied().collect();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !missing.is_empty() || member.context().fetched.lock().unwrap().len() < 2 {
            assert!(Instant::now() < deadline, "nothing came of {missing:?}");
            if let Some(Ok(message)) = member.consumer().poll(Duration::from_millis(100)) {
                missing.remove(&message.partition());
            }
        }
    }

    fn look(member: &mut Member) -> Option<String> {
        // The next statistics.
        member.context().fetched.lock().unwrap().clear();
        take(member, &[]);
        member.stalls.is_due_at_once();
        member.stalled()
    }

    /// A partition that is paused behind the member's back stands for one that the client forgot.
    #[test]
    fn a_partition_of_which_nothing_comes_is_found_and_an_idle_one_is_not() {
        let mut connection = Connection::to(Broker::shared().bootstrap());
        connection.extra.insert("statistics.interval.ms".to_owned(), "100".to_owned());
        let spec = TopicSpec { name: TOPIC.to_owned(), partitions: 2, may_grow: false, settings: BTreeMap::new() };
        admin::ensure_topics(&connection, &[spec]).unwrap();
        let config = settings::producer(&connection, "test", Some("stalls")).unwrap();
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(Duration::from_secs(20)).unwrap();
        publish(&producer);

        let kind = settings::Consumer::Group { group: "stalls" };
        let mut member = Member::join(&connection, "test", kind).unwrap();
        let from_start = |partition| Assigned { topic: TOPIC.to_owned(), partition, position: 0 };
        member.begin(&[from_start(0), from_start(1)]).unwrap();
        take(&member, &[0, 1]);
        // Idle, behind a marker.
        assert_eq!((look(&mut member), look(&mut member)), (None, None));

        let mut paused = TopicPartitionList::new();
        paused.add_partition(TOPIC, 1);
        member.consumer().pause(&paused).unwrap();
        publish(&producer);
        take(&member, &[0]);
        assert_eq!(look(&mut member), None, "what is new may be on its way");
        let found = look(&mut member).unwrap();
        assert!(found.contains("stalls[1]"), "{found}");
        member.consumer().resume(&paused).unwrap();
        take(&member, &[1]);
        assert_eq!(look(&mut member), None);
    }

    /// Takes what the group gives, from the start, and returns the partitions.
    fn follow(member: &mut Member) -> Vec<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < deadline, "the group gave nothing");
            let _ = member.consumer().poll(Duration::from_millis(100));
            let Some(event) = member.event() else { continue };
            match &event {
                Event::Assigned(partitions) => {
                    let from_start = |at: &TopicPartition| Assigned {
                        topic: at.topic.clone(),
                        partition: at.partition,
                        position: 0,
                    };
                    member.begin(&partitions.iter().map(from_start).collect::<Vec<_>>()).unwrap();
                }
                Event::Revoked => member.end().unwrap(),
            }
            member.done();
            if let Event::Assigned(partitions) = event {
                return partitions.iter().map(|at| at.partition).collect();
            }
        }
    }

    fn look_for_unassigned(member: &mut Member) -> Option<String> {
        member.unassigned.is_due_at_once();
        loop {
            let found = member.unassigned();
            if !member.unassigned.is_looking() {
                return found;
            }
            std::thread::yield_now();
        }
    }

    /// Clients that do not look for new partitions stand for a leader whose broker did not list them.
    #[test]
    fn a_partition_that_the_group_gave_to_nobody_is_found_and_given_out_by_joining_again() {
        const TOPIC: &str = "unassigned";
        let connection = Connection::to(Broker::shared().bootstrap());
        let mut unaware = connection.clone();
        unaware.extra.insert(settings::REFRESH.to_owned(), "3600000".to_owned());
        let spec =
            |partitions| TopicSpec { name: TOPIC.to_owned(), partitions, may_grow: true, settings: BTreeMap::new() };
        admin::ensure_topics(&connection, &[spec(1)]).unwrap();
        let join = || {
            let kind = settings::Consumer::Group { group: "unassigned" };
            let mut member = Member::join(&unaware, "test", kind).unwrap();
            member.subscribe(&[TOPIC.to_owned()]).unwrap();
            member
        };
        let mut first = join();
        assert_eq!(follow(&mut first), [0]);
        assert_eq!((look_for_unassigned(&mut first), look_for_unassigned(&mut first)), (None, None));

        admin::ensure_topics(&connection, &[spec(3)]).unwrap();
        assert_eq!(look_for_unassigned(&mut first), None, "it is new");
        let found = look_for_unassigned(&mut first).unwrap();
        assert!(found.contains("unassigned[1]"), "{found}");
        first.join_again().unwrap();
        assert_eq!(follow(&mut first), [0, 1, 2]);

        // What another member has is not missing.
        let second = std::thread::spawn({
            let mut second = join();
            move || (follow(&mut second), second)
        });
        let kept = follow(&mut first);
        let (given, mut second) = second.join().unwrap();
        assert_eq!((kept.len() + given.len(), kept.is_empty() || given.is_empty()), (3, false), "{kept:?} {given:?}");
        assert_eq!((look_for_unassigned(&mut first), look_for_unassigned(&mut first)), (None, None));
        assert_eq!((look_for_unassigned(&mut second), look_for_unassigned(&mut second)), (None, None));
    }
}
