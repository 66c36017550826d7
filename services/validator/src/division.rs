//! The event's administrative division: which it is, that record and envelope agree on it, and that it exists at the
//! event's date.

use freshet_catalog_model::DivisionScheme;
use freshet_core::identifiers::gb2260;
use freshet_core::{Code, Violation, headers};
use jiff::civil::Date;

use crate::content::Content;

/// The division of an event with content: its field where the dataset names one (null counts as none), and then the
/// attribute must agree; else the attribute; else `""`.
pub(crate) fn of_content<'a>(
    content: &Content<'a>,
    attribute: Option<&'a str>,
    field: Option<&str>,
    violations: &mut Vec<Violation>,
) -> &'a str {
    if content.schema.division.is_none() {
        return attribute.unwrap_or("");
    }
    let division = content.schema.division_of(content.walk, content.datum).unwrap_or("");
    if let Some(attribute) = attribute
        && attribute != division
    {
        let message =
            format!("the attribute says {attribute:?}, the record's {} says {division:?}", field.unwrap_or("field"));
        violations.push(Violation::new(Code::DivisionMismatch, headers::DIVISION, message));
    }
    division
}

/// A delete has only the attribute. It must be the division in which the entity is, or a department could remove an
/// entity of another's by naming its own division (P5).
pub(crate) fn check_delete(attribute: &str, entity: Option<&str>, violations: &mut Vec<Violation>) {
    if entity.is_some_and(|entity| entity != attribute) {
        let message = format!("the entity is not in division {attribute:?}, by its last accepted event");
        violations.push(Violation::new(Code::DivisionMismatch, headers::DIVISION, message));
    }
}

pub(crate) fn check_exists(
    division: &str,
    scheme: DivisionScheme,
    field: Option<&str>,
    on: Date,
    violations: &mut Vec<Violation>,
) {
    match scheme {
        DivisionScheme::None => {}
        DivisionScheme::Gb2260 => {
            if let Err(error) = gb2260::check(division, on) {
                let message = format!("{division:?}: {error} ({on})");
                violations.push(Violation::new(Code::DivisionUnknown, field.unwrap_or(headers::DIVISION), message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_division_exists_at_a_date() {
        let check = |division, scheme, on| {
            let mut violations = Vec::new();
            check_exists(division, scheme, None, on, &mut violations);
            violations.len()
        };
        let (before, after) = (Date::constant(1990, 1, 1), Date::constant(2020, 1, 1));
        assert_eq!(check("420123", DivisionScheme::Gb2260, before), 0);
        assert_eq!(check("420123", DivisionScheme::Gb2260, after), 1);
        assert_eq!(check("", DivisionScheme::Gb2260, after), 1);
        assert_eq!(check("Toronto Water", DivisionScheme::None, after), 0);
    }

    #[test]
    fn a_delete_names_the_entitys_division() {
        let check = |attribute, entity| {
            let mut violations = Vec::new();
            check_delete(attribute, entity, &mut violations);
            violations.len()
        };
        assert_eq!(check("420106", Some("420106")), 0);
        assert_eq!(check("330602", Some("420106")), 1);
        assert_eq!(check("330602", None), 0);
    }
}
