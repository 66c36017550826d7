//! A department's consumer. Where it is quiet it fetches anew what it may have forgotten; where it stays so, or has locked
//! itself up, another takes its place. Whose client fails is not what is tested.

use std::time::{Duration, Instant};

use freshet_testkit::departments::{Consumer, Received};

use super::Desk;

const WAIT: Duration = Duration::from_millis(200);
/// How long one that gets nothing is left alone, and how long it may take to answer on a busy machine.
const QUIET: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// After so many quiet times in a row. What is fetched anew is what it was assigned, and it may miss a whole topic.
const QUIET_TIMES: u32 = 4;

#[derive(Debug)]
pub struct Reader<'d> {
    desk: &'d Desk,
    group: &'d str,
    topics: Vec<&'d str>,
    consumer: Consumer,
    /// How many were before this one.
    renewed: usize,
    heard: Instant,
    /// How often it was quiet since it last got a record.
    quiet: u32,
}

impl<'d> Reader<'d> {
    pub fn new(desk: &'d Desk, group: &'d str, topics: Vec<&'d str>) -> anyhow::Result<Self> {
        let consumer = Consumer::new(&desk.kafka, group, &topics)?;
        Ok(Self { desk, group, topics, consumer, renewed: 0, heard: Instant::now(), quiet: 0 })
    }

    /// The next record, if there is one. May come to one again that was read already. Blocking.
    pub fn next_record(&mut self) -> anyhow::Result<Option<Received>> {
        match self.consumer.next(WAIT) {
            Ok(Some(record)) => {
                (self.heard, self.quiet) = (Instant::now(), 0);
                return Ok(Some(record));
            }
            Ok(None) => {}
            Err(error) => self.desk.ledger.trouble(format!("{}: {error}", self.group)),
        }
        if self.heard.elapsed() >= QUIET {
            self.quiet += 1;
            if !self.consumer.answers(ANSWER_LIMIT) {
                self.replace("locked itself up")?;
            } else if self.quiet.is_multiple_of(QUIET_TIMES) {
                self.replace("stayed quiet")?;
            } else if let Err(error) = self.consumer.fetch_anew() {
                self.desk.ledger.trouble(format!("{}: {error}", self.group));
            }
            self.heard = Instant::now();
        }
        Ok(None)
    }

    /// By one of a group of its own, which reads from the beginning.
    fn replace(&mut self, why: &str) -> anyhow::Result<()> {
        self.desk.ledger.trouble(format!("a department's client {why} and was replaced"));
        self.renewed += 1;
        let group = format!("{}-{}", self.group, self.renewed);
        let before = std::mem::replace(&mut self.consumer, Consumer::new(&self.desk.kafka, &group, &self.topics)?);
        // Closing it may take as long as its group's broker is away, and for ever.
        std::thread::spawn(move || drop(before));
        Ok(())
    }
}
