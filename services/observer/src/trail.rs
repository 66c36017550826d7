//! The recent receipts in memory, and how far each grant's receipts go.

use std::collections::{BTreeMap, HashMap, VecDeque};

use freshet_core::{Receipt, ReceiptOutcome, Way};

/// Bounded: the oldest receipts go first. What is gone here is still in `freshet.audit`.
#[derive(Debug)]
pub struct Trail {
    receipts: VecDeque<Receipt>,
    most: usize,
    /// Per grant, view and partition the offset after the last that a receipt covers.
    reached: HashMap<(String, String), BTreeMap<i32, i64>>,
    /// True once receipts had to go, so that an answer can say that it may not be all.
    forgotten: bool,
}

/// What is asked for. Both together narrow it down.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub event: Option<String>,
    pub grant: Option<String>,
    pub limit: usize,
}

impl Trail {
    pub fn new(most: usize) -> Self {
        Self { receipts: VecDeque::new(), most: most.max(1), reached: HashMap::new(), forgotten: false }
    }

    pub fn take(&mut self, receipt: Receipt) {
        // A webhook's release is what was about to be posted; only its confirmation says that it has arrived.
        let arrived = match receipt.outcome {
            ReceiptOutcome::Delivered => true,
            ReceiptOutcome::Released => receipt.way != Way::Webhook,
            ReceiptOutcome::Unconfirmed => false,
        };
        if arrived {
            let reached = self.reached.entry((receipt.grant.clone(), receipt.view.clone())).or_default();
            let next = reached.entry(receipt.partition).or_default();
            *next = (*next).max(receipt.last_offset + 1);
        }
        if self.receipts.len() == self.most {
            self.receipts.pop_front();
            self.forgotten = true;
        }
        self.receipts.push_back(receipt);
    }

    /// Newest first.
    pub fn find(&self, question: &Question) -> Vec<Receipt> {
        let event = |receipt: &&Receipt| question.event.as_ref().is_none_or(|id| receipt.events.contains(id));
        let grant = |receipt: &&Receipt| question.grant.as_ref().is_none_or(|grant| receipt.grant == *grant);
        self.receipts.iter().rev().filter(grant).filter(event).take(question.limit).cloned().collect()
    }

    /// Per partition the offset after the last that a receipt of this grant covers.
    pub fn reached(&self, grant: &str, view: &str) -> BTreeMap<i32, i64> {
        self.reached.get(&(grant.to_owned(), view.to_owned())).cloned().unwrap_or_default()
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    pub fn len(&self) -> usize {
        self.receipts.len()
    }

    pub fn has_forgotten(&self) -> bool {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(grant: &str, offset: i64, outcome: ReceiptOutcome) -> Receipt {
        Receipt {
            grant: grant.to_owned(),
            subscriber: "tax".to_owned(),
            purpose: "assessment".to_owned(),
            legal_basis: "law".to_owned(),
            dataset: "permits".to_owned(),
            view: "permits.0123456789ab".to_owned(),
            partition: 0,
            first_offset: offset,
            last_offset: offset,
            count: 1,
            offsets: Vec::new(),
            events: vec![format!("e-{offset}")],
            way: Way::Webhook,
            at: "2026-01-01T00:00:00Z".to_owned(),
            outcome,
        }
    }

    #[test]
    fn finds_by_event_and_by_grant_and_forgets_the_oldest() {
        let mut trail = Trail::new(3);
        for (grant, offset) in [("a", 1), ("b", 1), ("a", 2), ("a", 3)] {
            trail.take(receipt(grant, offset, ReceiptOutcome::Delivered));
        }
        let find = |event: Option<&str>, grant: Option<&str>| {
            let question = Question { event: event.map(str::to_owned), grant: grant.map(str::to_owned), limit: 10 };
            let found = trail.find(&question);
            found.into_iter().map(|one| format!("{}{}", one.grant, one.first_offset)).collect::<Vec<_>>()
        };
        assert_eq!(find(Some("e-1"), None), ["b1"]);
        assert_eq!(find(None, Some("a")), ["a3", "a2"]);
        assert_eq!(find(Some("e-2"), Some("b")), Vec::<String>::new());
        assert!(trail.has_forgotten());
        assert_eq!(trail.reached("a", "permits.0123456789ab"), BTreeMap::from([(0, 4)]));
    }

    #[test]
    fn what_is_unconfirmed_is_in_the_trail_and_does_not_count_as_reached() {
        let mut trail = Trail::new(3);
        trail.take(receipt("a", 7, ReceiptOutcome::Released));
        trail.take(receipt("a", 7, ReceiptOutcome::Unconfirmed));
        assert_eq!(trail.len(), 2);
        assert!(trail.reached("a", "permits.0123456789ab").is_empty());
    }
}
