//! Known texts and their known spellings; lists whose members may contain the separator.

use std::collections::BTreeMap;

use freshet_catalog_model::mapping::Vocabulary;

use freshet_core::nearest::nearest;

/// A vocabulary, turned round: spelling → canonical text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spellings {
    canonical: BTreeMap<String, String>,
}

impl Spellings {
    /// The error names a spelling that stands for two members.
    pub fn compile(vocabulary: &Vocabulary) -> Result<Self, String> {
        let mut canonical = BTreeMap::new();
        for (member, spellings) in &vocabulary.members {
            for spelling in std::iter::once(member).chain(spellings) {
                if let Some(other) = canonical.insert(spelling.clone(), member.clone())
                    && other != *member
                {
                    return Err(format!("\"{spelling}\" stands for both \"{other}\" and \"{member}\""));
                }
            }
        }
        Ok(Self { canonical })
    }

    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.canonical.values().map(String::as_str)
    }

    /// The canonical text. The error is the end of a sentence.
    pub fn one(&self, text: &str) -> Result<&str, String> {
        match self.canonical.get(text) {
            Some(canonical) => Ok(canonical),
            None => Err(self.unknown(text)),
        }
    }

    fn unknown(&self, text: &str) -> String {
        // The members first: of two that are as near, the member is shown, not a spelling of it.
        let spellings = self.canonical.keys().map(String::as_str);
        let near = nearest(text, self.members().chain(spellings));
        match near {
            Some(near) => format!("a known name (nearest: \"{near}\")"),
            None => "a known name".to_owned(),
        }
    }

    /// The members that `text` lists, each once, in the order of the text. Members may contain the separator, so the text
    /// is read as a whole: it must be a sequence of spellings in exactly one way. White space around a separator is taken
    /// only where a spelling has it.
    pub fn list(&self, text: &str, separator: &str) -> Result<Vec<String>, ListError> {
        let pieces: Vec<&str> = text.split(separator).collect();
        let readings = Readings::of(self, &pieces, separator);
        match readings.ways[0] {
            0 => Err(self.unreadable(&pieces, separator, &readings)),
            1 => Ok(readings.members(self, &pieces, separator)),
            _ => Err(ListError::Ambiguous),
        }
    }

    /// The first piece at which no reading goes on, joined to the next piece from which the rest can be read.
    fn unreadable(&self, pieces: &[&str], separator: &str, readings: &Readings) -> ListError {
        let start = readings.furthest;
        let end = (start + 1..pieces.len()).find(|end| readings.ways[*end] > 0).unwrap_or(pieces.len());
        let unknown = pieces[start..end].join(separator);
        let why = self.unknown(&unknown);
        ListError::Unknown { part: unknown, why }
    }
}

/// For each piece, in how many ways (capped at two) the text from there to its end can be read.
struct Readings {
    ways: Vec<u8>,
    /// The last piece that some reading from the front arrives at.
    furthest: usize,
}

impl Readings {
    fn of(spellings: &Spellings, pieces: &[&str], separator: &str) -> Self {
        let count = pieces.len();
        let longest = spellings.longest(separator);
        let known = |from: usize, to: usize| spellings.canonical.contains_key(&pieces[from..to].join(separator));
        let ends = |from: usize| from + 1..=count.min(from + longest);
        let mut ways = vec![0_u8; count + 1];
        ways[count] = 1;
        for from in (0..count).rev() {
            for to in ends(from) {
                if ways[to] > 0 && known(from, to) {
                    ways[from] = (ways[from] + ways[to]).min(2);
                }
            }
        }
        let mut reached = vec![false; count + 1];
        reached[0] = true;
        for from in 0..count {
            if reached[from] {
                for to in ends(from) {
                    reached[to] |= known(from, to);
                }
            }
        }
        let furthest = (0..count).rev().find(|at| reached[*at]).unwrap_or(0);
        Self { ways, furthest }
    }

    /// Only where there is exactly one reading.
    fn members(&self, spellings: &Spellings, pieces: &[&str], separator: &str) -> Vec<String> {
        let mut members: Vec<String> = Vec::new();
        let mut from = 0;
        while from < pieces.len() {
            let next = (from + 1..=pieces.len()).find_map(|to| {
                let canonical = spellings.canonical.get(&pieces[from..to].join(separator))?;
                (self.ways[to] > 0).then_some((to, canonical))
            });
            let Some((to, canonical)) = next else { break };
            if !members.contains(canonical) {
                members.push(canonical.clone());
            }
            from = to;
        }
        members
    }
}

impl Spellings {
    /// The most pieces that one spelling has.
    fn longest(&self, separator: &str) -> usize {
        self.canonical.keys().map(|spelling| spelling.split(separator).count()).max().unwrap_or(1)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListError {
    Unknown {
        part: String,
        /// What the part is not, as the end of a sentence.
        why: String,
    },
    Ambiguous,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divisions() -> Spellings {
        let members = [
            ("Children's Services", vec![]),
            ("Parks, Forestry & Recreation", vec!["Parks and Recreation"]),
            ("Social Development, Finance & Administration", vec![]),
            ("Toronto Water", vec!["Toronto  Water"]),
        ];
        let members = members
            .into_iter()
            .map(|(member, spellings)| (member.to_owned(), spellings.into_iter().map(str::to_owned).collect()));
        Spellings::compile(&Vocabulary { members: members.collect() }).expect("no spelling stands for two members")
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(divisions().list(text, ","), Ok(expected.iter().map(|member| (*member).to_owned()).collect()));
    }

    #[test]
    fn members_may_contain_the_separator() {
        check(
            "Children's Services,Parks, Forestry & Recreation",
            &["Children's Services", "Parks, Forestry & Recreation"],
        );
        check("Toronto Water", &["Toronto Water"]);
        check(
            "Social Development, Finance & Administration,Parks and Recreation,Toronto  Water",
            &["Social Development, Finance & Administration", "Parks, Forestry & Recreation", "Toronto Water"],
        );
    }

    #[test]
    fn a_member_named_twice_is_kept_once() {
        check("Parks, Forestry & Recreation,Parks and Recreation", &["Parks, Forestry & Recreation"]);
    }

    #[track_caller]
    fn check_unknown(text: &str, part: &str, why: &str) {
        let expected = ListError::Unknown { part: part.to_owned(), why: why.to_owned() };
        assert_eq!(divisions().list(text, ","), Err(expected), "{text:?}");
    }

    #[test]
    fn the_unknown_part_is_named() {
        check_unknown("Toronto Water,Fire Hall,Children's Services", "Fire Hall", "a known name");
        check_unknown("Torono Water", "Torono Water", "a known name (nearest: \"Toronto Water\")");
        check_unknown(
            "Toronto Water,Parks, Foresty & Recreation",
            "Parks, Foresty & Recreation",
            "a known name (nearest: \"Parks, Forestry & Recreation\")",
        );
        check_unknown("Toronto Water,", "", "a known name");
    }

    #[test]
    fn two_readings_are_none() {
        let members = [("A", ""), ("B", ""), ("A,B", "")];
        let members = members.into_iter().map(|(member, _)| (member.to_owned(), Vec::new())).collect();
        let spellings = Spellings::compile(&Vocabulary { members }).expect("distinct");
        assert_eq!(spellings.list("A,B", ","), Err(ListError::Ambiguous));
        assert_eq!(spellings.list("B,A", ","), Ok(vec!["B".to_owned(), "A".to_owned()]));
    }

    #[test]
    fn a_spelling_stands_for_one_member() {
        let members = [("A", vec!["x"]), ("B", vec!["x"])];
        let members = members
            .into_iter()
            .map(|(member, spellings)| (member.to_owned(), spellings.into_iter().map(str::to_owned).collect()));
        assert!(Spellings::compile(&Vocabulary { members: members.collect() }).is_err());
    }
}
