//! "Did you mean": what somebody probably meant.

/// The known word that is nearest to `word`, if it is near enough to be meant: at most a third of its characters differ.
/// Of two that are as near, the first.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(word);
    let length = wanted.chars().count();
    let distance = |candidate: &str| {
        let candidate = folded(candidate);
        // The beginning of a longer word, and the last part of a path, are as near as a word with one letter wrong.
        let is_part =
            (length >= 3 && candidate.starts_with(&wanted)) || (length > 0 && last_part(&candidate) == wanted);
        let distance = if is_part { 1 } else { strsim::damerau_levenshtein(&wanted, &candidate) };
        (distance * 3 <= length.max(candidate.chars().count())).then_some(distance)
    };
    known
        .into_iter()
        .filter_map(|candidate| Some((distance(candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
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
        1 => format!("write `{}`", known[0]),
        count if count > SHOWN => format!("use one of {}, … ({count} in all)", known[..SHOWN].join(", ")),
        _ => format!("use one of {}", known.join(", ")),
    }
}

/// Case, white space, `_` and `-` do not make words far from each other. What comes from outside may be long.
fn folded(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '_' && *c != '-')
        .flat_map(char::to_lowercase)
        .take(200)
        .collect()
}

fn last_part(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested() {
        let check = |word: &str, known: &[&str], expected: Option<&str>| {
            assert_eq!(nearest(word, known.iter().copied()), expected, "{word} of {known:?}");
        };
        check("subscribre", &["subscriber", "dataset"], Some("subscriber"));
        check("Amount", &["amount", "count"], Some("amount"));
        check("titel", &["title"], Some("title"));
        check("last", &["first_character", "last_four"], Some("last_four"));
        check("street", &["number", "site.street"], Some("site.street"));
        check("x", &["y", "in.x"], Some("in.x"));
        check("fr", &["en", "zh"], None);
        check("hourly", &["yearly", "daily"], None);
        check("xyz", &["subscriber", "dataset"], None);
        let columns = ["Awarded Amount", "Award Date", "Division"];
        check("awarded_amount", &columns, Some("Awarded Amount"));
        check("Devision", &columns, Some("Division"));
        check("Supplier", &columns, None);
        check("", &columns, None);
        assert_eq!(suggestion("xyz", ["a_long_word", "another"]), "use one of a_long_word, another");
    }
}
