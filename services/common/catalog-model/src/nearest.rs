//! What somebody probably meant.

/// The known word that is nearest to `word`, if it is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = (length / 2).clamp(1, 4);
    // The beginning of a longer word is as near as a word with one letter wrong.
    let near = |candidate: &str| match length >= 3 && candidate.starts_with(word) {
        true => 1,
        false => distance(word, candidate),
    };
    known
        .into_iter()
        .map(|candidate| (near(candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?" where something is near, else the whole list (shortened).
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(word, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    match known.len() {
        0 => "there is none to choose from".to_owned(),
        count if count > SHOWN => format!("one of {}, … ({count} in all)", known[..SHOWN].join(", ")),
        _ => format!("one of {}", known.join(", ")),
    }
}

/// Levenshtein, in characters, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested() {
        assert_eq!(nearest("subscribre", ["subscriber", "dataset"]), Some("subscriber"));
        assert_eq!(nearest("Amount", ["amount", "count"]), Some("amount"));
        assert_eq!(nearest("titel", ["title"]), Some("title"));
        assert_eq!(nearest("last", ["first_character", "last_four"]), Some("last_four"));
        assert_eq!(nearest("fr", ["en", "zh"]), None);
        assert_eq!(nearest("xyz", ["subscriber", "dataset"]), None);
        assert_eq!(suggestion("xyz", ["a_long_word", "another"]), "one of a_long_word, another");
    }
}
