//! The names that the bus's clients have in Kafka, in one place, because access is given by them. Topics' names:
//! [`crate::topics`].

/// What a consumer says that joins no group: librdkafka wants a name all the same, and asks the cluster for it.
pub const READER_GROUP: &str = "freshet.reader";
/// Two people who apply at once share this id: the second fences the first, so a catalogue is never half of each.
pub const CATALOG_TRANSACTIONAL_ID: &str = "freshet.catalog";
/// Every group of [`fanout_group`] begins so.
pub const FANOUT_GROUPS: &str = "freshet.fanout.";

/// The consumer group of a webhook's grant. Its committed offsets are how far the subscriber is.
pub fn fanout_group(grant: &str) -> String {
    format!("{FANOUT_GROUPS}{grant}")
}

/// What the transactional ids of a service's instances begin with.
pub fn transactional_ids(service: &str) -> String {
    format!("freshet.{service}.")
}
