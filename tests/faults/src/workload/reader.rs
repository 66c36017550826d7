//! A department's consumer, and another where it has locked itself up; where it is quiet, it fetches anew what it may have
//! forgotten. Whose client fails is not what is tested.

use std::time::{Duration, Instant};

use freshet_testkit::departments::{Consumer, Received};

use super::Desk;

const WAIT: Duration = Duration::from_millis(200);
/// How long one that gets nothing is left alone, and how long it may take to answer on a busy machine.
const QUIET: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Reader<'d> {
    desk: &'d Desk,
    group: &'d str,
    topics: Vec<&'d str>,
    consumer: Consumer,
    /// How many were before this one.
    renewed: usize,
    heard: Instant,
}

impl<'d> Reader<'d> {
    pub fn new(desk: &'d Desk, group: &'d str, topics: Vec<&'d str>) -> anyhow::Result<Self> {
        let consumer = Consumer::new(&desk.kafka, group, &topics)?;
        Ok(Self { desk, group, topics, consumer, renewed: 0, heard: Instant::now() })
    }

    /// The next record, if there is one. May come to one again that was read already. Blocking.
    pub fn next_record(&mut self) -> anyhow::Result<Option<Received>> {
        match self.consumer.next(WAIT) {
            Ok(Some(record)) => {
                self.heard = Instant::now();
                return Ok(Some(record));
            }
            Ok(None) => {}
            Err(error) => self.desk.ledger.trouble(format!("{}: {error}", self.group)),
        }
        if self.heard.elapsed() >= QUIET {
            if !self.consumer.answers(ANSWER_LIMIT) {
                self.desk.ledger.trouble("a department's client locked itself up and was replaced".to_owned());
                self.renewed += 1;
                let group = format!("{}-{}", self.group, self.renewed);
                self.consumer = Consumer::new(&self.desk.kafka, &group, &self.topics)?;
            } else if let Err(error) = self.consumer.fetch_anew() {
                self.desk.ledger.trouble(format!("{}: {error}", self.group));
            }
            self.heard = Instant::now();
        }
        Ok(None)
    }
}
