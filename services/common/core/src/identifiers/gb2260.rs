//! GB/T 2260, the division codes with their history since 1981. Source: `data/gb2260-with-history.csv` (areacodes by
//! yescallop, CC0), read once when first asked.
//!
//! The source dates changes by the year only. A code therefore exists through the whole of the year in which it began
//! and the whole of the year in which it ended: of a year of change, both the old and the new code are taken. Dates
//! before 1981, where the table begins, are answered as of 1981.
//!
//! The source leaves out the codes that name no division but group others. They are in use in real records (as the last
//! known registration of a person, as the address of a body that belongs to the city itself), so they exist here as
//! long as what they group does:
//! - `xxyy01` 市辖区, the districts of the prefecture-level city `xxyy00`;
//! - `xx0100` 市辖区 and `xx0200` 县, the districts and counties of the municipalities (11, 12, 31, 50);
//! - `xx9000`, the county-level divisions directly under the province `xx0000`.

use std::sync::LazyLock;

use jiff::civil::Date;

use super::IdentifierError;

const SOURCE: &str = include_str!("../../data/gb2260-with-history.csv");
const FIRST_YEAR: i16 = 1981;
const STILL: i16 = i16::MAX;
const MUNICIPALITIES: [u32; 4] = [11, 12, 31, 50];

/// One line of the source. A code has several where it was given up and used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    code: u32,
    from_year: i16,
    /// Inclusive.
    until_year: i16,
}

/// Sorted by code.
static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let mut rows: Vec<Row> = SOURCE.lines().skip(1).filter_map(row).collect();
    rows.sort_unstable();
    rows
});

/// Columns: code, province, prefecture, name, level, state, first year, last year (empty: still), successors.
fn row(line: &str) -> Option<Row> {
    let mut columns = line.split(',');
    let code = columns.next()?.parse().ok()?;
    let from_year = columns.nth(5)?.parse().ok()?;
    let until_year = match columns.next()? {
        "" => STILL,
        year => year.parse().ok()?,
    };
    Some(Row { code, from_year, until_year })
}

/// Whether the six-digit code names a division (or a group of them, see above) at that date.
pub fn exists(code: &str, on: Date) -> bool {
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Ok(code) = code.parse::<u32>() else { return false };
    let year = on.year().max(FIRST_YEAR);
    listed(code, year) || groups(code, year)
}

/// [`exists`] as a check with a reason.
pub fn check(code: &str, on: Date) -> Result<(), IdentifierError> {
    super::ascii_of_length(code, 6, "6")?;
    if let Some(index) = code.bytes().position(|byte| !byte.is_ascii_digit()) {
        return Err(IdentifierError::Character { position: index + 1, allowed: "0-9" });
    }
    if exists(code, on) { Ok(()) } else { Err(IdentifierError::UnknownDivision) }
}

fn listed(code: u32, year: i16) -> bool {
    let first = TABLE.partition_point(|row| row.code < code);
    TABLE[first..].iter().take_while(|row| row.code == code).any(|row| row.from_year <= year && year <= row.until_year)
}

fn groups(code: u32, year: i16) -> bool {
    let (province, prefecture, county) = (code / 10_000, code / 100 % 100, code % 100);
    match (prefecture, county) {
        (1 | 2, 0) if MUNICIPALITIES.contains(&province) => listed(province * 10_000, year),
        (90, 0) => listed(province * 10_000, year),
        (1..=20 | 51..=70, 1) => listed(code - 1, year),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(code: &str, year: i16) -> bool {
        exists(code, Date::constant(year, 6, 30))
    }

    #[test]
    fn every_line_of_the_source_is_read() {
        assert_eq!(TABLE.len(), SOURCE.lines().count() - 1);
    }

    #[test]
    fn wuhan_and_its_districts() {
        assert!(on("420000", 2026) && on("420100", 2026) && on("420106", 2026));
        assert!(!on("420123", 2026), "Huangpi county became Huangpi district in 1998");
        assert!(on("420123", 1990) && on("420123", 1998) && on("420116", 1998) && !on("420116", 1997));
    }

    #[test]
    fn a_code_used_twice_has_a_gap() {
        assert!(on("429001", 1988) && !on("429001", 1992) && on("429001", 1997) && !on("429001", 2026));
    }

    #[test]
    fn groups_exist_with_what_they_group() {
        assert!(on("110100", 2026) && on("500200", 2026) && on("420101", 2026) && on("429000", 2026));
        assert!(on("420000", 1970), "before the table: as of 1981");
        assert!(!on("990101", 2026) && !on("420200x", 2026) && !on("42010", 2026));
        assert!(!on("424501", 2026), "no such prefecture");
    }

    #[test]
    fn check_gives_reasons() {
        let today = Date::constant(2026, 1, 1);
        assert_eq!(check("420106", today), Ok(()));
        assert_eq!(check("420123", today), Err(IdentifierError::UnknownDivision));
        assert_eq!(check("4201", today), Err(IdentifierError::Length { expected: "6", found: 4 }));
        assert_eq!(check("42010O", today), Err(IdentifierError::Character { position: 6, allowed: "0-9" }));
    }
}
