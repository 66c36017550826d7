//! Which topics a view's position is of. A topic that was deleted and made anew under its name has another id (KIP-516); of
//! such a view nothing is left, and of such a dataset the offsets mean nothing.

use std::collections::BTreeMap;

use freshet_core::{Fault, topics};
use freshet_kafka::TopicId;
use serde::{Deserialize, Serialize};

/// Asks the cluster for the ids of these topics; those that do not exist are not in the answer.
pub type LookUp = Box<dyn Fn(&[&str]) -> Result<BTreeMap<String, TopicId>, Fault> + Send>;

/// By name.
pub(crate) type TopicIds = BTreeMap<String, TopicId>;

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
