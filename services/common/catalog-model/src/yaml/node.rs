//! A YAML document as a tree of places. Scalars stay texts: what a text means is decided by the key that it stands under,
//! so `No`, `010` and `2024-01-01` need no quotes. Anchors, aliases and tags are refused, so a small file cannot grow.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::syntax;
use crate::diagnostic::{Diagnostic, Place};

pub const MAX_BYTES: u64 = 1024 * 1024;
pub const MAX_DEPTH: usize = 32;

#[derive(Debug, Clone)]
pub struct Node {
    pub line: usize,
    pub column: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Scalar {
        text: String,
        /// How many columns behind the node's own the text begins (1 behind a quote), where each of its characters takes
        /// one column; `None` where it is folded or holds escapes.
        inset: Option<usize>,
        /// Without quotes: an empty one means that nothing was written.
        is_plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file. A key that stands twice was reported and is here once.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone)]
pub struct Key {
    pub text: String,
    pub line: usize,
    pub column: usize,
}

/// One file.
#[derive(Debug, Clone)]
pub struct Document {
    /// Relative to the catalogue's folder.
    pub file: String,
    pub root: Node,
}

impl Document {
    /// Parses a text. Keys that stand twice are added to `found`.
    ///
    /// # Errors
    /// The first mistake of syntax: behind it the parser cannot go on.
    pub fn parse(file: &str, text: &str, found: &mut Vec<Diagnostic>) -> Result<Self, Diagnostic> {
        let end = end_of(text);
        let mut builder = Builder { file, text, end, stack: Vec::new(), root: None, found };
        for event in Parser::new_from_str(text) {
            match event {
                Ok((event, span)) => builder
                    .take(event, span.start, span.end)
                    .map_err(|found| Diagnostic { place: within(end, found.place), ..found })?,
                Err(error) => {
                    let found = syntax::explain(text, error.info(), place(file, error.marker()));
                    return Err(Diagnostic { place: within(end, found.place), ..found });
                }
            }
        }
        let empty = || Diagnostic::new(Place::file(file), "the file is empty", "see docs/catalogue.md for its keys");
        Ok(Self { file: file.to_owned(), root: builder.root.ok_or_else(empty)? })
    }

    pub fn place_of(&self, node: &Node) -> Place {
        Place { file: self.file.clone(), line: node.line, column: node.column }
    }

    /// The node at the end of the path (keys of maps, numbers of list items), or the last that exists on the way.
    pub fn find(&self, path: &[&str]) -> &Node {
        let mut node = &self.root;
        for step in path {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    pub fn place(&self, path: &[&str]) -> Place {
        self.place_of(self.find(path))
    }

    /// The place of the key at the end of the path; where it does not exist, of what is there.
    pub fn key_place(&self, path: &[&str]) -> Place {
        if let [before @ .., last] = path
            && let Kind::Map(entries) = &self.find(before).kind
            && let Some((key, _)) = entries.iter().find(|(key, _)| key.text == *last)
        {
            return Place { file: self.file.clone(), line: key.line, column: key.column };
        }
        self.place(path)
    }
}

impl Node {
    fn child(&self, step: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Scalar { .. } => None,
            Kind::List(items) => items.get(step.parse::<usize>().ok()?),
            Kind::Map(entries) => entries.iter().find(|(key, _)| key.text == step).map(|(_, node)| node),
        }
    }

    /// The column at which this character of the scalar stands, where that can be said.
    pub fn column_of(&self, character: usize) -> Option<usize> {
        match &self.kind {
            Kind::Scalar { inset: Some(inset), .. } => Some(self.column + inset + character),
            _ => None,
        }
    }
}

fn place(file: &str, marker: &Marker) -> Place {
    // saphyr counts lines from 1 and columns from 0; both are 0 where an empty file ends.
    Place { file: file.to_owned(), line: marker.line().max(1), column: marker.col() + 1 }
}

/// Line and column behind the last sign.
fn end_of(text: &str) -> (usize, usize) {
    let last = text.rsplit('\n').next().unwrap_or_default();
    (text.split('\n').count(), last.chars().count() + 1)
}

/// Behind a last line without an end the parser counts one more, which no editor shows: then the end of the last.
fn within(end: (usize, usize), place: Place) -> Place {
    if place.line > end.0 { Place { line: end.0, column: end.1, ..place } } else { place }
}

enum Open {
    List(Node),
    Map { node: Node, key: Option<Key>, is_twice: bool },
}

struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    end: (usize, usize),
    stack: Vec<Open>,
    root: Option<Node>,
    found: &'a mut Vec<Diagnostic>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, start: Marker, end: Marker) -> Result<(), Diagnostic> {
        let refuse = |message: &str, mend: &str| Err(Diagnostic::new(place(self.file, &start), message, mend));
        // The event begins behind its anchor and tag.
        let refuse_at = |sign: char, message: &str, mend: &str| {
            let mut place = place(self.file, &start);
            let line = self.text.lines().nth(place.line - 1).unwrap_or_default();
            let before: Vec<char> = line.chars().take(start.col()).collect();
            let is_first = |at: &usize| before[*at] == sign && (*at == 0 || before[at - 1] != sign);
            place.column = (0..before.len()).rfind(is_first).map_or(place.column, |at| at + 1);
            Err(Diagnostic::new(place, message, mend))
        };
        let Place { line, column, .. } = within(self.end, place("", &start));
        let node = |kind| Node { line, column, kind };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                refuse("a second document begins here", "a file holds one document: remove the `---`")
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => refuse("aliases (`*name`) are refused", "write the value out"),
            Event::Scalar(_, _, 1.., _) | Event::SequenceStart(1.., _) | Event::MappingStart(1.., _) => {
                refuse_at('&', "anchors (`&name`) are refused", "remove the anchor and write each value out")
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                refuse_at('!', "tags (`!name`) are refused", "remove the tag; a text that begins with `!` needs quotes")
            }
            Event::Scalar(text, style, ..) => {
                let inset = inset(&text, style, start, end);
                let is_plain = style == ScalarStyle::Plain;
                self.close(node(Kind::Scalar { text: text.into_owned(), inset, is_plain }))
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if self.stack.len() >= MAX_DEPTH => {
                refuse("nested more than 32 deep", "no key of the catalogue is that deep: look at the brackets")
            }
            Event::SequenceStart(..) => {
                self.stack.push(Open::List(node(Kind::List(Vec::new()))));
                Ok(())
            }
            Event::MappingStart(..) => {
                self.stack.push(Open::Map { node: node(Kind::Map(Vec::new())), key: None, is_twice: false });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List(node) | Open::Map { node, .. }) => self.close(node),
                None => Ok(()),
            },
        }
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node) -> Result<(), Diagnostic> {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(list)) => {
                if let Kind::List(items) = &mut list.kind {
                    items.push(node);
                }
            }
            Some(Open::Map { node: map, key: key @ None, is_twice }) => {
                let place = Place { file: self.file.to_owned(), line: node.line, column: node.column };
                let Kind::Scalar { text, .. } = node.kind else {
                    return Err(Diagnostic::new(place, "a list or map stands where a key is due", syntax::MEND));
                };
                if let Kind::Map(entries) = &map.kind
                    && let Some((first, _)) = entries.iter().find(|(known, _)| known.text == text)
                {
                    let message = format!("`{text}` stands here a second time, first in line {}", first.line);
                    self.found.push(Diagnostic::new(place, message, "keep one of the two"));
                    *is_twice = true;
                }
                *key = Some(Key { text, line: node.line, column: node.column });
            }
            Some(Open::Map { node: map, key, is_twice }) => {
                if let (Kind::Map(entries), Some(key), false) = (&mut map.kind, key.take(), *is_twice) {
                    entries.push((key, node));
                }
                *is_twice = false;
            }
        }
        Ok(())
    }
}

fn inset(text: &str, style: ScalarStyle, start: Marker, end: Marker) -> Option<usize> {
    let quotes = match style {
        ScalarStyle::Plain => 0,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 2,
        ScalarStyle::Literal | ScalarStyle::Folded => return None,
    };
    let width = end.index().checked_sub(start.index())?;
    (start.line() == end.line() && width == text.chars().count() + quotes).then_some(quotes / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Document, Vec<Diagnostic>), Diagnostic> {
        let mut found = Vec::new();
        Document::parse("f.yaml", text, &mut found).map(|document| (document, found))
    }

    #[test]
    fn places_count_from_one() {
        let (document, found) = parse("a: x\nb:\n  - c\n  - {d: 'it', e: \"f\"}\n").expect("good");
        assert_eq!(found, []);
        let at = |path: &[&str]| document.place(path).to_string();
        assert_eq!(at(&["a"]), "f.yaml:1:4");
        assert_eq!(at(&["b", "0"]), "f.yaml:3:5");
        assert_eq!(at(&["b", "1", "d"]), "f.yaml:4:9");
        assert_eq!(document.key_place(&["b", "1", "e"]).to_string(), "f.yaml:4:15");
        assert_eq!(document.find(&["b", "1", "d"]).column_of(0), Some(10), "behind the quote");
        assert_eq!(at(&["b", "7", "x"]), "f.yaml:3:3", "the last that exists");
    }

    #[test]
    fn what_could_grow_is_refused() {
        let deep = format!("a: {}{}", "[".repeat(40), "]".repeat(40));
        for (text, expected) in [
            ("a: &x [1]\nb: *x\n", "f.yaml:1:"),
            ("a: !!str 1\n", "tags"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: [1\n", "f.yaml:1:4: the `[` is not closed"),
            ("b: 2\na: [1", "f.yaml:2:4: the `[` is not closed"),
            ("", "empty"),
            ("[a]: 1\n", "where a key is due"),
            (&deep, "deep"),
        ] {
            let error = parse(text).map(|_| ()).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn depth_at_the_limit_and_one_more() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn a_billion_laughs_are_refused_at_the_first() {
        let mut text = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for (name, before) in ('b'..='i').zip('a'..) {
            text.push_str(&format!("{name}: &{name} [{}]\n", format!("*{before}, ").repeat(9)));
        }
        let error = parse(&text).map(|_| ()).expect_err("anchors").to_string();
        assert!(error.starts_with("f.yaml:1:") && error.contains("anchors"), "{error}");
    }

    #[test]
    fn a_key_twice_is_reported_and_the_first_kept() {
        let (document, found) = parse("a: 1\na: 2\nb: 3\n").expect("good");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place.to_string(), "f.yaml:2:1");
        assert!(matches!(&document.find(&["a"]).kind, Kind::Scalar { text, .. } if text == "1"));
        assert!(matches!(&document.find(&["b"]).kind, Kind::Scalar { text, .. } if text == "3"));
    }
}
