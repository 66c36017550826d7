//! A receipt: what one delivery batch disclosed, to whom, for what purpose (P8). The JSON value of a record of
//! `freshet.audit`; its key is the grant.

use serde::{Deserialize, Serialize};

/// One batch of one grant's view partition, written before its delivery counts as done.
///
/// A batch may be told twice (the subscriber had it, the offset was not yet durable when the service died), never not
/// at all: the trail over-reports rather than misses a disclosure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub grant: String,
    pub subscriber: String,
    pub purpose: String,
    pub legal_basis: String,
    pub dataset: String,
    pub view: String,
    /// Of `view.<view>`.
    pub partition: i32,
    pub first_offset: i64,
    /// Inclusive.
    pub last_offset: i64,
    /// How many events. Less than the span of the offsets where compaction or transaction markers leave gaps.
    pub count: u32,
    /// Where events of the span were delivered apart from their neighbours (a webhook delivers keys concurrently): exactly
    /// the offsets of this batch, ascending. Empty means: every record of the span.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<i64>,
    /// CloudEvents `id` of each event, in the order of the offsets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    pub way: Way,
    /// RFC 3339, UTC.
    pub at: String,
    pub outcome: ReceiptOutcome,
}

impl Receipt {
    /// True where the batch holds the record of the view at this place.
    pub fn covers(&self, partition: i32, offset: i64) -> bool {
        self.partition == partition
            && (self.first_offset..=self.last_offset).contains(&offset)
            && (self.offsets.is_empty() || self.offsets.binary_search(&offset).is_ok())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Webhook,
    Postgres,
    Pull,
}

impl Way {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Postgres => "postgres",
            Self::Pull => "pull",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptOutcome {
    /// The subscriber's system confirmed it (webhook: 2xx).
    Delivered,
    /// It was sent, and no confirmation was seen before the delivery was broken off: the subscriber may have it.
    Unconfirmed,
    /// Written before the subscriber's transaction commits, the response leaves or the request is sent, so that nothing is
    /// disclosed unwritten. A webhook's is followed by one of the others, unless the service died or the grant ended.
    Released,
}

impl ReceiptOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Unconfirmed => "unconfirmed",
            Self::Released => "released",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(offsets: Vec<i64>) -> Receipt {
        Receipt {
            grant: "g".to_owned(),
            subscriber: "tax".to_owned(),
            purpose: "p".to_owned(),
            legal_basis: "l".to_owned(),
            dataset: "d".to_owned(),
            view: "d.0123456789ab".to_owned(),
            partition: 2,
            first_offset: 10,
            last_offset: 20,
            count: 3,
            offsets,
            events: Vec::new(),
            way: Way::Webhook,
            at: "2026-01-01T00:00:00Z".to_owned(),
            outcome: ReceiptOutcome::Delivered,
        }
    }

    #[test]
    fn covers_a_span_or_exactly_its_offsets() {
        assert!(receipt(Vec::new()).covers(2, 15));
        assert!(!receipt(Vec::new()).covers(1, 15));
        assert!(!receipt(Vec::new()).covers(2, 21));
        assert!(receipt(vec![10, 15, 20]).covers(2, 15));
        assert!(!receipt(vec![10, 15, 20]).covers(2, 16));
    }

    #[test]
    fn the_json_reads_back() {
        let written = serde_json::to_string(&receipt(vec![10, 20])).expect("a receipt is JSON");
        assert!(written.contains(r#""way":"webhook""#), "{written}");
        assert_eq!(serde_json::from_str::<Receipt>(&written).expect("reads back"), receipt(vec![10, 20]));
    }
}
