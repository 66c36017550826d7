//! P5: for each dataset and administrative division exactly one department may publish.

/// The departments that may publish one dataset, each for the divisions whose code begins with one of its prefixes.
/// [`Authorities::new`] refuses two departments for one division, so [`Authorities::of`] has one answer or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    /// (division prefix, department). The empty prefix is every division, also that of an event which names none.
    prefixes: Vec<(String, String)>,
}

/// Two departments that could both publish for a division.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first} and {second} are both authorities for {}; give each division to one department", divisions(.division))]
pub struct Overlap {
    pub first: String,
    pub second: String,
    /// The longer of the two prefixes: every division below it has two writers.
    pub division: String,
}

fn divisions(prefix: &str) -> String {
    if prefix.is_empty() { "every division".to_owned() } else { format!("division {prefix}") }
}

impl Authorities {
    /// Takes (department, division prefixes); no prefix means every division.
    pub fn new<'a>(authorities: impl IntoIterator<Item = (&'a str, &'a [String])>) -> Result<Self, Overlap> {
        let mut taken = Self::default();
        for (department, divisions) in authorities {
            if divisions.is_empty() {
                taken.add(department, "")?;
            }
            for division in divisions {
                taken.add(department, division)?;
            }
        }
        Ok(taken)
    }

    fn add(&mut self, department: &str, prefix: &str) -> Result<(), Overlap> {
        for (other_prefix, other) in &self.prefixes {
            let overlaps = prefix.starts_with(other_prefix.as_str()) || other_prefix.starts_with(prefix);
            if overlaps && other != department {
                let division = if prefix.len() > other_prefix.len() { prefix } else { other_prefix };
                return Err(Overlap {
                    first: other.clone(),
                    second: department.to_owned(),
                    division: division.to_owned(),
                });
            }
        }
        self.prefixes.push((prefix.to_owned(), department.to_owned()));
        Ok(())
    }

    /// The one department that may publish for this division; an event without a division has `""`.
    pub fn of(&self, division: &str) -> Option<&str> {
        self.prefixes
            .iter()
            .find(|(prefix, _)| division.starts_with(prefix.as_str()))
            .map(|(_, department)| department.as_str())
    }

    /// Whether the department may publish for any division at all.
    pub fn has(&self, department: &str) -> bool {
        self.prefixes.iter().any(|(_, found)| found == department)
    }

    pub fn may_publish(&self, department: &str, division: &str) -> bool {
        self.of(division) == Some(department)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn authorities(list: &[(&str, &[&str])]) -> Result<Authorities, Overlap> {
        let owned: Vec<(&str, Vec<String>)> = list
            .iter()
            .map(|(department, divisions)| (*department, divisions.iter().map(|d| (*d).to_owned()).collect()))
            .collect();
        Authorities::new(owned.iter().map(|(department, divisions)| (*department, divisions.as_slice())))
    }

    #[test]
    fn each_division_has_its_department() {
        let authorities = authorities(&[("wuhan", &["4201"]), ("shaoxing", &["3306"])]).expect("no overlap");
        assert_eq!(authorities.of("420106"), Some("wuhan"));
        assert_eq!(authorities.of("330602"), Some("shaoxing"));
        assert_eq!(authorities.of("110101"), None);
        assert_eq!(authorities.of(""), None);
        assert!(!authorities.may_publish("shaoxing", "420106"));
    }

    #[test]
    fn an_overlap_names_both_and_the_division() {
        let overlap = authorities(&[("hubei", &["42"]), ("wuhan", &["4201"])]).expect_err("overlap");
        assert_eq!(overlap, Overlap { first: "hubei".into(), second: "wuhan".into(), division: "4201".into() });
        assert!(authorities(&[("a", &[]), ("b", &["42"])]).is_err());
        assert!(authorities(&[("a", &["42", "4201"])]).is_ok(), "one department may name a division twice");
    }

    proptest! {
        /// P5 itself: of any accepted list, no division has two departments that match by prefix.
        #[test]
        fn never_two_writers(
            list in prop::collection::vec(("[a-d]", prop::collection::vec("[1-3]{0,3}", 0..4)), 0..5),
            division in "[1-3]{0,4}",
        ) {
            let result = Authorities::new(list.iter().map(|(department, divisions)| (department.as_str(), &divisions[..])));
            let mut writers: Vec<&str> = list
                .iter()
                .filter(|(_, divisions)| {
                    divisions.is_empty() || divisions.iter().any(|prefix| division.starts_with(prefix.as_str()))
                })
                .map(|(department, _)| department.as_str())
                .collect();
            writers.sort_unstable();
            writers.dedup();
            match result {
                Ok(authorities) => {
                    prop_assert!(writers.len() <= 1);
                    prop_assert_eq!(authorities.of(&division), writers.first().copied());
                    for department in ["a", "b", "c", "d"] {
                        prop_assert_eq!(authorities.may_publish(department, &division), writers == [department]);
                    }
                }
                // The division that the refusal names does have two writers.
                Err(overlap) => {
                    let covers = |department: &str| list.iter().any(|(name, divisions)| {
                        name == department
                            && (divisions.is_empty() || divisions.iter().any(|prefix| overlap.division.starts_with(prefix.as_str())))
                    });
                    prop_assert!(overlap.first != overlap.second && covers(&overlap.first) && covers(&overlap.second));
                }
            }
        }
    }
}
