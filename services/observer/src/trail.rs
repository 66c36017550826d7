//! The recent receipts in memory, and how far each grant's receipts go.

use std::collections::{BTreeMap, HashMap, VecDeque};

use freshet_core::{Receipt, ReceiptOutcome, Way};
use memchr::memmem::Finder;

/// What a receipt takes beside its text: its place in the queue, and the allocator's.
const EACH_BYTES: usize = 32;
/// An answer that has as much is closed. One receipt names up to a thousand events.
const ANSWER_BYTES: usize = 4 << 20;

/// Bounded: the oldest receipts go first. What is gone here is still in `freshet.audit`.
#[derive(Debug)]
pub struct Trail {
    /// As they were written, which is less than they take as values.
    receipts: VecDeque<Box<[u8]>>,
    bytes: usize,
    most_bytes: usize,
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

#[derive(Debug, Default)]
pub struct Found {
    /// Newest first.
    pub receipts: Vec<Receipt>,
    /// True where further ones match.
    pub more: bool,
}

impl Question {
    fn is_about(&self, receipt: &Receipt) -> bool {
        self.event.as_ref().is_none_or(|id| receipt.events.contains(id))
            && self.grant.as_ref().is_none_or(|grant| receipt.grant == *grant)
    }
}

impl Trail {
    /// `most_bytes`: of the receipts' texts together.
    pub fn new(most_bytes: usize) -> Self {
        Self { receipts: VecDeque::new(), bytes: 0, most_bytes, reached: HashMap::new(), forgotten: false }
    }

    /// Takes a receipt as the audit topic has it. An error where it is none.
    pub fn take(&mut self, text: &[u8]) -> Result<Receipt, serde_json::Error> {
        let receipt: Receipt = serde_json::from_slice(text)?;
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
        self.bytes += text.len() + EACH_BYTES;
        self.receipts.push_back(text.into());
        while self.bytes > self.most_bytes
            && let Some(oldest) = self.receipts.pop_front()
        {
            self.bytes -= oldest.len() + EACH_BYTES;
            self.forgotten = true;
        }
        Ok(receipt)
    }

    /// At most `limit`, and no further one behind [`ANSWER_BYTES`].
    pub fn find(&self, question: &Question) -> Found {
        // Only what has the words of the question in its text is read: the writer is serde_json too, and escapes alike.
        let words = [&question.event, &question.grant].into_iter().flatten();
        let words: Vec<Vec<u8>> = words.filter_map(|word| serde_json::to_vec(word).ok()).collect();
        let finders: Vec<Finder<'_>> = words.iter().map(Finder::new).collect();
        let (mut found, mut bytes) = (Found::default(), 0);
        for text in self.receipts.iter().rev() {
            if !finders.iter().all(|finder| finder.find(text).is_some()) {
                continue;
            }
            let Ok(receipt) = serde_json::from_slice(text) else { continue };
            if !question.is_about(&receipt) {
                continue;
            }
            if found.receipts.len() == question.limit || bytes > ANSWER_BYTES {
                found.more = true;
                break;
            }
            bytes += text.len();
            found.receipts.push(receipt);
        }
        found
    }

    /// Per partition the offset after the last that a receipt of this grant covers.
    pub fn reached(&self, grant: &str, view: &str) -> BTreeMap<i32, i64> {
        self.reached.get(&(grant.to_owned(), view.to_owned())).cloned().unwrap_or_default()
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.most_bytes);
    }

    pub fn len(&self) -> usize {
        self.receipts.len()
    }

    /// What these take.
    pub fn bytes(&self) -> usize {
        self.bytes
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

    fn text(grant: &str, offset: i64, outcome: ReceiptOutcome) -> Vec<u8> {
        serde_json::to_vec(&receipt(grant, offset, outcome)).unwrap()
    }

    #[test]
    fn finds_by_event_and_by_grant_and_forgets_the_oldest() {
        let one = text("a", 1, ReceiptOutcome::Delivered).len() + EACH_BYTES;
        let mut trail = Trail::new(3 * one);
        for (grant, offset) in [("a", 1), ("b", 1), ("a", 2), ("a", 3)] {
            trail.take(&text(grant, offset, ReceiptOutcome::Delivered)).unwrap();
        }
        assert_eq!((trail.len(), trail.bytes()), (3, 3 * one));
        let find = |event: Option<&str>, grant: Option<&str>| {
            let question = Question { event: event.map(str::to_owned), grant: grant.map(str::to_owned), limit: 10 };
            let found = trail.find(&question);
            found.receipts.into_iter().map(|one| format!("{}{}", one.grant, one.first_offset)).collect::<Vec<_>>()
        };
        assert_eq!(find(Some("e-1"), None), ["b1"]);
        assert_eq!(find(None, Some("a")), ["a3", "a2"]);
        assert_eq!(find(Some("e-2"), Some("b")), Vec::<String>::new());
        assert!(trail.has_forgotten());
        assert_eq!(trail.reached("a", "permits.0123456789ab"), BTreeMap::from([(0, 4)]));
    }

    #[test]
    fn what_is_unconfirmed_is_in_the_trail_and_does_not_count_as_reached() {
        let mut trail = Trail::new(1 << 20);
        trail.take(&text("a", 7, ReceiptOutcome::Released)).unwrap();
        trail.take(&text("a", 7, ReceiptOutcome::Unconfirmed)).unwrap();
        assert_eq!(trail.len(), 2);
        assert!(trail.reached("a", "permits.0123456789ab").is_empty());
    }

    #[test]
    fn an_answer_ends_at_its_limit_or_its_size_and_says_that_there_is_more() {
        let mut trail = Trail::new(64 << 20);
        for offset in 0..20 {
            let large =
                Receipt { events: vec!["e".repeat(1 << 20)], ..receipt("a", offset, ReceiptOutcome::Delivered) };
            trail.take(&serde_json::to_vec(&large).unwrap()).unwrap();
        }
        let find = |limit| {
            let found = trail.find(&Question { grant: Some("a".to_owned()), limit, ..Question::default() });
            (found.receipts.iter().map(|one| one.first_offset).collect::<Vec<_>>(), found.more)
        };
        assert_eq!(find(2), (vec![19, 18], true));
        assert_eq!(find(100), (vec![19, 18, 17, 16], true));
        let few = trail.find(&Question { event: Some("e".to_owned()), limit: 1, ..Question::default() });
        assert!(few.receipts.is_empty() && !few.more, "a part of an id is not the id");
    }

    #[test]
    fn an_id_is_found_whatever_characters_it_has() {
        let mut trail = Trail::new(1 << 20);
        let id = "a\"b\\c/\u{1}d é 中";
        let strange = Receipt { events: vec![id.to_owned()], ..receipt("a", 0, ReceiptOutcome::Delivered) };
        trail.take(&serde_json::to_vec(&strange).unwrap()).unwrap();
        let found = trail.find(&Question { event: Some(id.to_owned()), limit: 1, ..Question::default() });
        assert_eq!(found.receipts, [strange]);
    }
}
