//! Steps 2 and 3: who sends it, and whether that department may (P5). The rule itself is
//! [`freshet_core::authority::Authorities`].

use freshet_core::authority::Authorities;
use freshet_core::{Code, Violation, headers};

/// The department that owns the source, if any: it is whom a rejection goes to.
pub(crate) fn check_source(source: &str, department: Option<&str>, violations: &mut Vec<Violation>) {
    if department.is_none() {
        let message = format!("{source:?} belongs to no department; see `sources` in departments.yaml");
        violations.push(Violation::new(Code::SourceUnknown, headers::SOURCE, message));
    }
}

/// `division` is `None` where it could not be read. Then a department that has no division at all is still refused.
/// Returns true where the department is known to be the authority.
pub(crate) fn check(
    department: &str,
    division: Option<&str>,
    authorities: &Authorities,
    violations: &mut Vec<Violation>,
) -> bool {
    let message = match division {
        Some(division) if authorities.may_publish(department, division) => return true,
        Some("") => match authorities.of("") {
            Some(other) => format!("{department} may not publish this dataset; its authority is {other}"),
            None => format!(
                "the event names no division, and {department} may publish for certain divisions only: send \
                 {} (a delete needs it)",
                headers::DIVISION
            ),
        },
        Some(division) => match authorities.of(division) {
            Some(other) => format!("{department} may not publish for division {division}; its authority is {other}"),
            None => format!("{department} may not publish for division {division}; it has no authority"),
        },
        None if authorities.has(department) => return false,
        None => format!("{department} may not publish this dataset"),
    };
    violations.push(Violation::new(Code::SourceAuthority, headers::SOURCE, message));
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(department: &str, division: Option<&str>) -> Option<String> {
        let list = [("wuhan", vec!["4201".to_owned()]), ("shaoxing", vec!["3306".to_owned()])];
        let authorities =
            Authorities::new(list.iter().map(|(name, divisions)| (*name, &divisions[..]))).expect("no overlap");
        let mut violations = Vec::new();
        check(department, division, &authorities, &mut violations);
        violations.pop().map(|violation| violation.message)
    }

    #[test]
    fn a_second_writer_is_refused_and_told_who_it_is() {
        assert_eq!(refused("wuhan", Some("420106")), None);
        let message = refused("shaoxing", Some("420106")).expect("refused");
        assert!(message.contains("its authority is wuhan"), "{message}");
        assert!(refused("wuhan", Some("")).is_some_and(|message| message.contains("ce_divcode")));
        assert!(refused("wuhan", Some("110101")).is_some_and(|message| message.contains("no authority")));
    }

    #[test]
    fn without_a_division_only_strangers_are_refused() {
        assert_eq!(refused("wuhan", None), None);
        assert!(refused("tax", None).is_some());
    }
}
