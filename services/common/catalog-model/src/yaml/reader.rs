//! Reads nodes as what their key holds, and reports everything that is not so. A function that returns `None` has
//! reported why.

use std::cell::RefCell;

use freshet_core::text::is_hidden;
use jiff::civil::Date;

use super::node::{Document, Key, Kind, Node};
use crate::diagnostic::{Diagnostic, Place};
use crate::entry::Title;
use freshet_core::nearest::{nearest, suggestion};

/// One document and where its mistakes go.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    pub document: &'a Document,
    pub found: &'a RefCell<Vec<Diagnostic>>,
}

impl<'a> Reader<'a> {
    pub fn fail(&self, node: &Node, message: impl Into<String>, mend: impl Into<String>) {
        self.found.borrow_mut().push(Diagnostic::new(self.document.place_of(node), message, mend));
    }

    pub fn fail_at_key(&self, key: &Key, message: impl Into<String>, mend: impl Into<String>) {
        let place = Place { file: self.document.file.clone(), line: key.line, column: key.column };
        self.found.borrow_mut().push(Diagnostic::new(place, message, mend));
    }

    fn wrong(&self, node: &Node, what: &str, due: &str) {
        let is = match &node.kind {
            Kind::Scalar { text, is_plain: true, .. } if text.is_empty() || text == "~" => "empty",
            Kind::Scalar { .. } => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        };
        self.fail(node, format!("`{what}` is {is}"), format!("write {due}"));
    }

    /// A text that is not empty, unless quotes say that it shall be.
    pub fn text(&self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::Scalar { text, .. } if text.contains(is_unseen) => {
                let hidden = text.chars().find(|c| is_unseen(*c)).unwrap_or_default();
                let message = format!("`{what}` holds the sign U+{:04X}, which is not seen", u32::from(hidden));
                self.fail(node, message, "remove it: what is read must be what stands there");
                None
            }
            Kind::Scalar { text, is_plain, .. } if !*is_plain || !(text.is_empty() || text == "~") => {
                Some(text.trim_end_matches('\n').to_owned())
            }
            _ => {
                self.wrong(node, what, "a text");
                None
            }
        }
    }

    /// A text with something in it.
    pub fn said(&self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(node, what)?;
        if text.trim().is_empty() {
            self.fail(node, format!("`{what}` is empty"), "write a text");
            return None;
        }
        Some(text)
    }

    pub fn list<T>(
        &self,
        node: &'a Node,
        what: &str,
        mut each: impl FnMut(&'a Node, usize) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Kind::List(items) = &node.kind else {
            self.wrong(node, what, &format!("a list: `{what}: [first, second]`"));
            return None;
        };
        // Every item is read before the first failure ends the list, so that all are reported.
        let read: Vec<Option<T>> = items.iter().enumerate().map(|(index, item)| each(item, index)).collect();
        read.into_iter().collect()
    }

    pub fn texts(&self, node: &'a Node, what: &str) -> Option<Vec<String>> {
        self.list(node, what, |item, _| self.text(item, what))
    }

    /// `a` as well as `[a, b]`.
    pub fn text_or_texts(&self, node: &'a Node, what: &str) -> Option<Vec<String>> {
        match node.kind {
            Kind::Scalar { .. } => self.said(node, what).map(|text| vec![text]),
            _ => self.texts(node, what),
        }
    }

    pub fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
        &self,
        node: &Node,
        what: &str,
        range: std::ops::RangeInclusive<T>,
    ) -> Option<T> {
        let due = format!("a whole number from {} to {}", range.start(), range.end());
        let text = self.text(node, what)?;
        match text.parse::<T>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.fail(node, format!("`{what}` is `{text}`"), format!("write {due}"));
                None
            }
        }
    }

    pub fn boolean(&self, node: &Node, what: &str) -> Option<bool> {
        self.word(node, what, &["true", "false"], |word| word.parse().ok())
    }

    pub fn date(&self, node: &Node, what: &str) -> Option<Date> {
        let text = self.text(node, what)?;
        let is_form =
            |(index, byte): (usize, u8)| if matches!(index, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() };
        let is_plain_form = text.len() == 10 && text.bytes().enumerate().all(is_form);
        match text.parse::<Date>() {
            Ok(date) if is_plain_form => return Some(date),
            Err(_) if is_plain_form => {
                self.fail(node, format!("`{what}` is `{text}`, a day that does not exist"), "look into the calendar");
            }
            _ => self.fail(node, format!("`{what}` is `{text}`, which is no date"), "write it as YYYY-MM-DD"),
        }
        None
    }

    pub fn character(&self, node: &Node, what: &str) -> Option<char> {
        let text = self.text(node, what)?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Some(character),
            _ => {
                self.fail(node, format!("`{what}` is `{text}`"), "write one character, in quotes");
                None
            }
        }
    }

    pub fn word<T>(&self, node: &Node, what: &str, words: &[&str], from_word: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(node, what)?;
        let read = from_word(&text);
        if read.is_none() {
            self.fail(node, format!("`{what}` is `{text}`"), suggestion(&text, words.iter().copied()));
        }
        read
    }

    pub fn title(&self, node: &'a Node, what: &str) -> Option<Title> {
        if !matches!(node.kind, Kind::Map(_)) {
            self.wrong(node, what, &format!("the language with it: `{what}: {{en: …, zh: …}}`"));
            return None;
        }
        let map = self.map(node, what, &["en", "zh"])?;
        let read = |key| map.get(key).map(|node| self.said(node, key));
        let (en, zh) = (read("en"), read("zh"));
        if en.is_none() && zh.is_none() {
            self.fail(node, format!("`{what}` has no language"), format!("write `{what}: {{en: …}}`"));
            return None;
        }
        Some(Title { en: en.flatten(), zh: zh.flatten() })
    }

    /// A map of which the keys are known.
    pub fn map(&self, node: &'a Node, what: &str, keys: &'static [&'static str]) -> Option<Map<'a>> {
        let entries = self.entries(node, what)?;
        let is_there = |key: &str| entries.iter().any(|(known, _)| known.text == key);
        let mut meant = Vec::new();
        for (key, _) in entries {
            if !keys.contains(&key.text.as_str()) {
                let absent = keys.iter().copied().filter(|known| !is_there(known));
                let mend = match nearest(&key.text, absent) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => suggestion(&key.text, keys.iter().copied()),
                };
                self.fail_at_key(key, format!("`{}` is no key of `{what}`", key.text), mend);
                meant.extend(nearest(&key.text, keys.iter().copied()));
            }
        }
        Some(Map { reader: *self, node, what: what.to_owned(), entries, meant })
    }

    /// A map of which the keys are names.
    pub fn entries(&self, node: &'a Node, what: &str) -> Option<&'a [(Key, Node)]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            _ => {
                self.wrong(node, what, "keys with values (a map)");
                None
            }
        }
    }
}

/// Also the zero-width blank and the soft hyphen, which come along when a text is copied from a page.
fn is_unseen(sign: char) -> bool {
    (is_hidden(sign) && sign != '\n' && sign != '\t') || matches!(sign, '\u{200b}' | '\u{ad}')
}

#[derive(Debug)]
pub struct Map<'a> {
    reader: Reader<'a>,
    pub node: &'a Node,
    what: String,
    entries: &'a [(Key, Node)],
    /// Keys that are not there under their own name, but under one that was reported as nearly theirs.
    meant: Vec<&'static str>,
}

impl<'a> Map<'a> {
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    /// The value of a key that must be there.
    pub fn need(&self, key: &str) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() && !self.meant.contains(&key) {
            let message = format!("`{}` lacks `{key}`", self.what);
            self.reader.fail(self.node, message, format!("add `{key}: {}`", example(key)));
        }
        node
    }

    /// Reads a key that may be absent: the outer `None` is a mistake, the inner one absence.
    #[expect(clippy::option_option)]
    pub fn read<T>(&self, key: &str, read: impl FnOnce(&'a Node, &str) -> Option<T>) -> Option<Option<T>> {
        match self.get(key) {
            Some(node) => read(node, key).map(Some),
            None => Some(None),
        }
    }
}

/// What a key that must be there may hold, for whoever has to add it.
fn example(key: &str) -> &'static str {
    match key {
        "title" | "summary" | "message" => "{en: …}",
        "authorities" => "[department]",
        "catalogue" => "{summary: {en: …}, …}",
        "version" => "sequence",
        "update_frequency" => "daily",
        "share_type" => "unconditional",
        "share_method" => "other",
        "classification" => "general",
        "fields" | "formats" | "true_words" | "false_words" => "[…]",
        "valid_from" | "valid_until" => "YYYY-MM-DD",
        "delivery" => "pull",
        "legal_basis" => "law, number, article",
        "purpose" => "what it is used for",
        "allowed" => "{FROM: [TO]}",
        _ => "…",
    }
}
