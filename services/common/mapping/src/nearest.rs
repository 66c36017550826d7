//! "Did you mean": the known name that differs least.

/// The nearest of `known`, where it is near enough to be meant: at most a third of its characters differ.
pub fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = folded(text);
    known
        .map(|name| (distance(&wanted, &folded(name)), name))
        .filter(|(distance, name)| distance * 3 <= name.chars().count().max(wanted.len()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Case, white space, `_` and `-` do not make names far from each other.
fn folded(text: &str) -> Vec<char> {
    text.chars()
        .filter(|c| !c.is_whitespace() && *c != '_' && *c != '-')
        .flat_map(char::to_lowercase)
        .take(200)
        .collect()
}

/// Levenshtein's distance in characters.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_suggested() {
        let known = ["Awarded Amount", "Award Date", "Division"];
        assert_eq!(nearest("awarded_amount", known.into_iter()), Some("Awarded Amount"));
        assert_eq!(nearest("Devision", known.into_iter()), Some("Division"));
        assert_eq!(nearest("Supplier", known.into_iter()), None);
        assert_eq!(nearest("", known.into_iter()), None);
    }
}
