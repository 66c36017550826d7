//! The statements of the database sink, as text. Every identifier is quoted; every value is a parameter.

use super::columns::Column;

/// Where the offsets of all grants of a schema are kept.
pub const OFFSETS_TABLE: &str = "freshet_offsets";

/// `schema.table` in the subscriber's database, as the grant names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub schema: String,
    pub name: String,
}

impl Table {
    /// `table` alone means the schema `public`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (schema, name) = text.split_once('.').unwrap_or(("public", text));
        let wrong = |part: &str| part.is_empty() || part.len() > 63 || part.contains(['.', '\0']);
        if wrong(schema) || wrong(name) {
            return Err(format!("`{text}` is not `schema.table` with names of 1 to 63 bytes"));
        }
        Ok(Self { schema: schema.to_owned(), name: name.to_owned() })
    }

    fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    fn offsets(&self) -> String {
        // Beside the table, so that it is granted, backed up and dropped together with it.
        format!("{}.{}", quote(&self.schema), quote(OFFSETS_TABLE))
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A quoted identifier: a double quote inside is doubled (PostgreSQL manual, 4.1.1).
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// What the bus itself writes to each row. The key comes first.
pub const OWN_COLUMNS: &[(&str, &str)] = &[
    ("freshet_key", "text"),
    ("freshet_event_id", "text"),
    ("freshet_source", "text"),
    ("freshet_event_time", "timestamptz"),
    ("freshet_published_at", "timestamptz"),
];

/// Every statement for one table and one set of columns.
#[derive(Debug, Clone)]
pub struct Statements {
    pub create_schema: String,
    pub create_offsets: String,
    /// For a table of offsets that is older than this column.
    pub add_topic: String,
    pub create_rows: String,
    /// `$1` schema, `$2` table → (column, type).
    pub read_columns: &'static str,
    /// (column, type, statement), one for each column that a table may lack.
    pub add_columns: Vec<(String, &'static str, String)>,
    /// `$1` is a JSON array of rows, no key twice.
    /// Takes an array a column.
    pub upsert: String,
    /// Takes one text: a JSON array of objects.
    pub upsert_json: String,
    /// `$1` is an array of keys.
    pub delete: String,
    /// `$1` grant → (partition, view, next_offset, table, topic).
    pub read_offsets: String,
    /// `$1` grant, `$2` topic. Says of which topic the offsets are where nothing says it.
    pub note_topic: String,
    /// `$1` grant, `$2` table → another grant that fills the same table, if there is one.
    pub other_grant: String,
    /// `$1` grant, `$2` partition, `$3` view, `$4` next offset, `$5` table. Changes no row where there is one already.
    pub first_offset: String,
    /// `$1` grant, `$2` partition, `$3` view, `$4` next offset, `$5` the offset that must be there. Changes one row, or
    /// none: then another instance has written.
    pub advance_offset: String,
    /// `$1` grant. Says that the grant has everything there is at this moment.
    pub touch: String,
    /// `$1` grant, `$2` hours → true where the grant had last everything longer ago than that.
    pub was_away: String,
    /// `$1` grant. Both are run when the table is to be filled anew.
    pub forget_offsets: String,
    pub forget_rows: String,
}

impl Statements {
    pub fn new(table: &Table, columns: &[Column]) -> Self {
        let (rows, offsets) = (table.quoted(), table.offsets());
        let data = columns.iter().map(|column| (column.name.as_str(), column.sql_type));
        let all: Vec<(&str, &'static str)> = OWN_COLUMNS.iter().copied().chain(data).collect();

        let add_columns = all.iter().map(|(name, sql_type)| {
            let statement = format!("ALTER TABLE {rows} ADD COLUMN IF NOT EXISTS {} {sql_type}", quote(name));
            ((*name).to_owned(), *sql_type, statement)
        });

        let names = list(&all, |name, _| quote(name));
        let record = list(&all, |name, sql_type| format!("{} {sql_type}", quote(name)));
        let updates = list(&all[1..], |name, _| format!("{0} = EXCLUDED.{0}", quote(name)));
        // As a column each, not as one `FROM unnest(…)`, which first puts every array into a store of its own.
        let arrays: Vec<String> = all
            .iter()
            .enumerate()
            .map(|(index, (_, sql_type))| format!("unnest(${}::{sql_type}[])", index + 1))
            .collect();
        let upsert = |rows_of: &str| {
            format!(
                "INSERT INTO {rows} ({names}) SELECT {rows_of} \
                 ON CONFLICT (freshet_key) DO UPDATE SET {updates}, freshet_written_at = now()"
            )
        };
        Self {
            create_schema: format!("CREATE SCHEMA IF NOT EXISTS {}", quote(&table.schema)),
            create_offsets: format!(
                "CREATE TABLE IF NOT EXISTS {offsets} (\"grant\" text NOT NULL, partition integer NOT NULL, \
                 view text NOT NULL, next_offset bigint NOT NULL, \"table\" text NOT NULL, topic text, \
                 updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (\"grant\", partition))"
            ),
            add_topic: format!("ALTER TABLE {offsets} ADD COLUMN IF NOT EXISTS topic text"),
            create_rows: format!(
                "CREATE TABLE IF NOT EXISTS {rows} (freshet_key text PRIMARY KEY, \
                 freshet_written_at timestamptz NOT NULL DEFAULT now())"
            ),
            read_columns: "SELECT a.attname::text, format_type(a.atttypid, NULL) FROM pg_catalog.pg_attribute a \
                 JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
            add_columns: add_columns.collect(),
            upsert: upsert(&arrays.join(", ")),
            upsert_json: upsert(&format!("{names} FROM json_to_recordset($1::text::json) AS rows({record})")),
            delete: format!("DELETE FROM {rows} WHERE freshet_key = ANY($1::text[])"),
            read_offsets: format!(
                "SELECT partition, view, next_offset, \"table\", topic FROM {offsets} WHERE \"grant\" = $1"
            ),
            note_topic: format!("UPDATE {offsets} SET topic = $2 WHERE \"grant\" = $1 AND topic IS NULL"),
            other_grant: format!("SELECT \"grant\" FROM {offsets} WHERE \"grant\" <> $1 AND \"table\" = $2 LIMIT 1"),
            first_offset: format!(
                "INSERT INTO {offsets} (\"grant\", partition, view, next_offset, \"table\") VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (\"grant\", partition) DO NOTHING"
            ),
            advance_offset: format!(
                "UPDATE {offsets} SET next_offset = $4, updated_at = now() \
                 WHERE \"grant\" = $1 AND partition = $2 AND view = $3 AND next_offset = $5"
            ),
            touch: format!("UPDATE {offsets} SET updated_at = now() WHERE \"grant\" = $1"),
            was_away: format!(
                "SELECT coalesce(bool_or(next_offset > 0) AND max(updated_at) < now() - make_interval(hours => $2), \
                 false) FROM {offsets} WHERE \"grant\" = $1"
            ),
            forget_offsets: format!("DELETE FROM {offsets} WHERE \"grant\" = $1"),
            forget_rows: format!("DELETE FROM {rows}"),
        }
    }
}

/// The name that PostgreSQL itself gives a type.
pub fn long_name(sql_type: &str) -> &str {
    match sql_type {
        "timestamptz" => "timestamp with time zone",
        "timestamp" => "timestamp without time zone",
        "time" => "time without time zone",
        other => other,
    }
}

fn list(columns: &[(&str, &'static str)], each: impl Fn(&str, &str) -> String) -> String {
    let parts: Vec<String> = columns.iter().map(|(name, sql_type)| each(name, sql_type)).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_cannot_break_out() {
        let table = Table::parse("own.per\"mits; drop").expect("a table");
        let columns = [Column { name: "a\"b".to_owned(), sql_type: "text" }];
        let statements = Statements::new(&table, &columns);
        assert!(statements.upsert.starts_with("INSERT INTO \"own\".\"per\"\"mits; drop\" ("), "{}", statements.upsert);
        assert!(statements.upsert.contains("\"a\"\"b\" = EXCLUDED.\"a\"\"b\""), "{}", statements.upsert);
        assert!(statements.delete.starts_with("DELETE FROM \"own\".\"per\"\"mits; drop\" WHERE"));
    }

    #[test]
    fn a_table_name_has_one_or_two_parts() {
        assert_eq!(Table::parse("t"), Ok(Table { schema: "public".to_owned(), name: "t".to_owned() }));
        for wrong in ["", "a.", ".b", "a.b.c", &"x".repeat(64)] {
            assert!(Table::parse(wrong).is_err(), "{wrong}");
        }
    }
}
