//! Which topics a view's position is of. A topic that was deleted and made anew under its name has another id (KIP-516); of
//! such a view nothing is left, and of such a dataset the offsets mean nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use freshet_core::{Fault, topics};
use freshet_kafka::offsets::Offsets;
use freshet_kafka::{Aside, Connection, TopicId};
use serde::{Deserialize, Serialize};

/// How long the ids of topics are waited for.
const ID_TIMEOUT: Duration = Duration::from_secs(5);

/// By name. Topics that do not exist are not in it.
pub type TopicIds = BTreeMap<String, TopicId>;

/// Where the ids of topics are asked for.
pub trait LookUp: Send {
    /// Waits for the answer.
    fn look_up(&self, topics: &[&str]) -> Result<TopicIds, Fault>;
    /// Asks and does not wait. False where an answer is still out.
    fn ask(&mut self, topics: Vec<String>) -> bool;
    /// The answer to what was asked, once.
    fn answer(&mut self) -> Option<TopicIds>;
    /// Wants no answer to what was asked.
    fn forget(&mut self);
}

/// The cluster itself.
#[derive(Debug)]
pub(crate) struct Cluster {
    offsets: Arc<Offsets>,
    asked: Aside<TopicIds>,
}

impl Cluster {
    pub(crate) fn new(connection: &Connection) -> Result<Self, freshet_kafka::Error> {
        Ok(Self { offsets: Arc::new(Offsets::new(connection)?), asked: Aside::default() })
    }
}

impl LookUp for Cluster {
    fn look_up(&self, topics: &[&str]) -> Result<TopicIds, Fault> {
        Ok(self.offsets.topic_ids(topics, ID_TIMEOUT)?)
    }

    fn ask(&mut self, topics: Vec<String>) -> bool {
        self.offsets.ask_topic_ids(&mut self.asked, topics, ID_TIMEOUT)
    }

    fn answer(&mut self) -> Option<TopicIds> {
        self.asked.answer()
    }

    fn forget(&mut self) {
        self.asked.forget();
    }
}

/// The topics of one view: that which it is filled from, and its own. `None` where they are not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Topics {
    #[serde(default, with = "hex", skip_serializing_if = "Option::is_none")]
    dataset_topic: Option<TopicId>,
    #[serde(default, with = "hex", skip_serializing_if = "Option::is_none")]
    view_topic: Option<TopicId>,
}

/// What became of the topics since they were taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MadeAnew {
    pub(crate) dataset: bool,
    pub(crate) view: bool,
}

impl Topics {
    /// Takes down what `found` says. A topic that is not there now may come back as it was.
    pub(crate) fn follow(&mut self, dataset_topic: &str, view: &str, found: &TopicIds) -> MadeAnew {
        let follow = |known: &mut Option<TopicId>, topic: &str| {
            let Some(now) = found.get(topic).copied() else { return false };
            known.replace(now).is_some_and(|before| before != now)
        };
        MadeAnew {
            dataset: follow(&mut self.dataset_topic, dataset_topic),
            view: follow(&mut self.view_topic, &topics::view(view)),
        }
    }
}

mod hex {
    use freshet_kafka::TopicId;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(id: &Option<TopicId>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.collect_str(id),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TopicId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let id = text.map(|text| u128::from_str_radix(&text, 16).map(TopicId));
        id.transpose().map_err(|error| D::Error::custom(format!("no topic id: {error}")))
    }
}
