//! How far a view has come in one partition, and how that is kept in `freshet.view-positions`.
//!
//! Let L be the offset at which the live input of `dataset.<dataset>`[p] goes on. What a position says, whenever a
//! transaction is committed:
//! - *live*: the view has been given every event below L, and none from L on. Its own offset need not be written down: it
//!   is the group's, and moves with it in the same transaction.
//! - *filling* at N ≤ L: it has been given every event below N, and none from N on.
//! - *stopped* at N ≤ L: the same, and nothing is to be given to it until a grant needs it again.
//!
//! No gap and no repetition follow, because each of these moves is made in the transaction that also writes what it says
//! was given: live → stopped at L; filling at N → filling at M with the events N..M; filling at N → live with the events
//! N..L, where L is the input's offset *after* the batch of that very transaction; stopped at N → filling at N. An abort
//! undoes records, positions and the group's offset together, and the stage reads all three again.
//!
//! All of this is said of two topics, and the position names their ids. Where the view's topic was made anew since, it has
//! been given nothing: filling at 0. Where the dataset's was, every N and L is of a log that is gone: filling at 0 as well,
//! and the rows that the view has stay until an event of the new one touches them.

use std::collections::BTreeMap;

use freshet_core::{Fault, OutRecord, Output, Replay, ReplayRange, topics};
use serde::{Deserialize, Serialize};

use crate::topics::Topics;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum Position {
    Live,
    Filling {
        offset: i64,
        /// Removals may have been compacted away since the view was stopped: look for rows that are gone.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sweep: bool,
    },
    Stopped {
        offset: i64,
        /// Milliseconds since the epoch.
        #[serde(default)]
        at_ms: i64,
    },
}

impl Position {
    pub(crate) const NEW: Self = Self::Filling { offset: 0, sweep: false };
}

/// A position with the topics that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    #[serde(flatten)]
    pub(crate) position: Position,
    #[serde(flatten)]
    pub(crate) topics: Topics,
}

/// The positions of every view in this partition. They stand in the partition of the same number, so that instances do
/// not wait for each other's transactions.
pub(crate) fn read(partition: i32, replay: &mut dyn Replay) -> Result<BTreeMap<String, Saved>, Fault> {
    let mut positions = BTreeMap::new();
    replay.replay(topics::VIEW_POSITIONS, partition, ReplayRange::default(), &mut |record| {
        let unreadable = |reason: String| {
            let place = format!("{}/{}/{}", topics::VIEW_POSITIONS, record.partition, record.offset);
            Fault::fatal("read the views' positions", format!("{place}: {reason}"))
        };
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.rsplit_once('/'));
        let Some((view, of)) = key else { return Err(unreadable("no key <view>/<partition>".to_owned())) };
        if of != partition.to_string() {
            return Ok(());
        }
        match record.value {
            Some(value) => {
                let position = serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
                positions.insert(view.to_owned(), position);
            }
            // Written by an operator who wants the view filled anew (docs/decisions/0003).
            None => drop(positions.remove(view)),
        }
        Ok(())
    })?;
    Ok(positions)
}

pub(crate) fn write(view: &str, partition: i32, saved: Saved, out: &mut dyn Output) -> Result<(), Fault> {
    let key = format!("{view}/{partition}");
    let value = serde_json::to_vec(&saved).map_err(|error| Fault::fatal("write a view's position", error))?;
    out.send(OutRecord {
        topic: topics::VIEW_POSITIONS,
        partition,
        key: Some(key.as_bytes()),
        value: Some(&value),
        headers: &[],
        extra: &[],
        timestamp_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use freshet_kafka::TopicId;

    use super::*;

    #[test]
    fn the_form_is_what_others_read() {
        let text = |position| serde_json::to_string(&Saved { position, topics: Topics::default() }).expect("JSON");
        assert_eq!(text(Position::Live), r#"{"state":"live"}"#);
        assert_eq!(text(Position::NEW), r#"{"state":"filling","offset":0}"#);
        assert_eq!(text(Position::Stopped { offset: 7, at_ms: 9 }), r#"{"state":"stopped","offset":7,"at_ms":9}"#);
        let read = |text| serde_json::from_str::<Saved>(text).expect("a position");
        let stopped = Saved { position: Position::Stopped { offset: 7, at_ms: 0 }, topics: Topics::default() };
        assert_eq!(read(r#"{"state":"stopped","offset":7}"#), stopped);
        let mut topics = Topics::default();
        topics.follow("dataset.a", "a.1", &[("view.a.1".to_owned(), TopicId(10))].into());
        let live = Saved { position: Position::Live, topics };
        let form = r#"{"state":"live","view_topic":"0000000000000000000000000000000a"}"#;
        assert_eq!((serde_json::to_string(&live).expect("JSON").as_str(), read(form)), (form, live));
        // An instance of the release before, beside this one or after it.
        assert_eq!(serde_json::from_str::<Position>(form).expect("a position"), Position::Live);
    }
}
