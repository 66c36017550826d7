//! The kinds of entry. The serde form of [`Entry`] is the topic form; the YAML form is read in `yaml.rs`.

use std::collections::BTreeMap;

use freshet_core::Withheld;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::mapping::Mapping;

/// One record of `freshet.catalog`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Entry {
    Department(Department),
    Dataset(Box<Dataset>),
    Schema(SchemaVersion),
    Grant(Box<Grant>),
    View(View),
}

impl Entry {
    pub fn key(&self) -> String {
        match self {
            Self::Department(department) => format!("department/{}", department.id),
            Self::Dataset(dataset) => format!("dataset/{}", dataset.id),
            Self::Schema(schema) => format!("schema/{}", schema.id),
            Self::Grant(grant) => format!("grant/{}", grant.id),
            Self::View(view) => format!("view/{}", view.id),
        }
    }
}

/// A text in the two languages of the bus. At least one of them is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Title {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub en: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zh: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Department {
    /// `[a-z0-9][a-z0-9-]*`, at most 64 characters.
    pub id: String,
    pub title: Title,
    /// Unified social credit code, in the `cn` profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uscc: Option<String>,
    /// Prefixes of the CloudEvents `source` of its systems. No two departments share one.
    #[serde(default)]
    pub sources: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// `[a-z][a-z0-9_]*`, at most 64 characters; the folder's name under `schemas/`.
    pub id: String,
    pub title: Title,
    /// Who may publish, for which divisions (P5). No two authorities overlap.
    pub authorities: Vec<Authority>,
    pub key: KeyRule,
    pub version: VersionRule,
    #[serde(default)]
    pub division: DivisionRule,
    /// Every registered version of the schema, oldest first. The last is what new events are encoded with.
    pub schema_ids: Vec<u32>,
    pub partitions: i32,
    pub catalogue: CatalogueFields,
    #[serde(default)]
    pub retention: Retention,
    #[serde(default)]
    pub identifiers: Vec<FieldIdentifier>,
    #[serde(default)]
    pub rules: Vec<Rule>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transitions: Option<Transitions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
}

impl Dataset {
    pub fn latest_schema_id(&self) -> Option<u32> {
        self.schema_ids.last().copied()
    }

    /// The fields with personal data, whose values no violation quotes: the sensitive ones of the catalogue, resident
    /// numbers, and the key's where it goes out as a pseudonym.
    pub fn withheld(&self) -> Withheld {
        let is_resident = |identifier: &&FieldIdentifier| identifier.kind == IdentifierKind::ResidentNumber;
        let residents = self.identifiers.iter().filter(is_resident).map(|identifier| &identifier.field);
        let key = match self.key.form {
            KeyForm::Pseudonym => &self.key.fields[..],
            KeyForm::Plain => &[],
        };
        Withheld::new(self.catalogue.sensitive_fields.iter().chain(residents).chain(key).cloned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    pub department: String,
    /// Division code prefixes; empty means every division.
    #[serde(default)]
    pub divisions: Vec<String>,
}

/// How the record's key (Kafka key, compaction key, order key) comes from its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRule {
    /// Dotted paths of string, integer, enum or date fields.
    pub fields: Vec<String>,
    #[serde(default)]
    pub form: KeyForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyForm {
    /// The fields' texts, joined by `|`.
    #[default]
    Plain,
    /// For keys that identify a person: HMAC-SHA256 of the plain key under the bus's pseudonym key, 32 hex digits.
    Pseudonym,
}

/// What orders the events of one entity (P4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionRule {
    /// The CloudEvents attribute `sequence`.
    Sequence,
    /// A field of type int or long (also dates and time stamps). A delete carries the number as `sequence`.
    Field(String),
}

/// Where the event's administrative division comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DivisionRule {
    /// A string field that holds the code. A delete carries it as `divcode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Which table the code is looked up in.
    #[serde(default)]
    pub scheme: DivisionScheme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DivisionScheme {
    /// No table: any text.
    #[default]
    None,
    /// GB/T 2260, valid at the event's date.
    Gb2260,
}

/// The nine mandatory catalogue fields of 政务数据共享条例 art. 13, beside title, items (the schema) and provider (the
/// authority), and the classification of requirements §2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogueFields {
    pub summary: Title,
    pub update_frequency: UpdateFrequency,
    pub share_type: ShareType,
    pub share_method: ShareMethod,
    /// Mandatory where `share_type` is conditional (art. 15).
    #[serde(default)]
    pub use_conditions: Vec<String>,
    pub classification: Classification,
    /// Mandatory where `share_type` is not_shared: law, number, article.
    #[serde(default)]
    pub legal_basis: Vec<String>,
    #[serde(default)]
    pub sensitive_fields: Vec<String>,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $(#[serde(rename = $text)] $variant,)* }
        impl $name {
            pub const WORDS: &[&str] = &[$($text,)*];
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some(Self::$variant),)* _ => None }
            }
            pub fn as_word(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    )*};
}

words! {
    UpdateFrequency { Realtime = "realtime", Daily = "daily", Weekly = "weekly", Monthly = "monthly", Quarterly = "quarterly", Yearly = "yearly" }
    /// 政务数据共享条例 art. 14.
    ShareType { Unconditional = "unconditional", Conditional = "conditional", NotShared = "not_shared" }
    /// Art. 22.
    ShareMethod { ServiceInterface = "service_interface", BatchExchange = "batch_exchange", FileDownload = "file_download", Other = "other" }
    /// 数据安全法 art. 21, GB/T 43697-2024.
    Classification { General = "general", Important = "important", Core = "core" }
    IdentifierKind { Uscc = "uscc", ResidentNumber = "resident_number", Licence = "licence", Gb2260 = "gb2260" }
    /// How a granted field is coarsened. Each works on string fields; `null` on nullable fields of any type.
    Mask { FirstCharacter = "first_character", LastFour = "last_four", Redact = "redact", Null = "null" }
    GrantStatus { Active = "active", Suspended = "suspended", Terminated = "terminated" }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How long `publish.<dataset>` keeps what publishers sent.
    pub publish_hours: u32,
    /// How long a tombstone and the version of a deleted entity are kept, and for how long a duplicate `source` + `id`
    /// is recognised: `delete.retention.ms` and `min.compaction.lag.ms` of `dataset.<dataset>`.
    pub tombstone_hours: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { publish_hours: 168, tombstone_hours: 168 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldIdentifier {
    /// Dotted path of a string field (nullable or not; null passes).
    pub field: String,
    pub kind: IdentifierKind,
}

/// A predicate over the record (language: `freshet_avro::predicate`) that must be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    pub require: String,
    /// What the clerk is told.
    pub message: Title,
    /// The field that the message is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Which status may follow which. The first event of an entity must be in `initial`; a status may repeat only where listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transitions {
    /// An enum field, not nullable.
    pub field: String,
    /// Empty means: any status may come first (a register that existed before it joined the bus).
    #[serde(default)]
    pub initial: Vec<String>,
    pub allowed: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// The id in the Confluent wire format.
    pub id: u32,
    /// `<topic>-value`, as Confluent clients name it.
    pub subject: String,
    /// 1, 2, … within the subject.
    pub version: u32,
    pub avsc: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// The file's name without `.yaml`.
    pub id: String,
    pub subscriber: String,
    pub dataset: String,
    /// Dotted paths. Never empty: the default projection is nothing (P6).
    pub fields: Vec<String>,
    #[serde(default)]
    pub masks: BTreeMap<String, Mask>,
    /// Row filter (language: `freshet_avro::predicate`), over any field of the dataset. None means every row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    pub purpose: String,
    pub legal_basis: String,
    pub valid_from: Date,
    /// The last day on which it is served.
    pub valid_until: Date,
    #[serde(default = "active")]
    pub status: GrantStatus,
    pub delivery: Delivery,
    /// The view that it reads: one distinct (dataset, fields, masks, rows).
    pub view: String,
}

fn active() -> GrantStatus {
    GrantStatus::Active
}

impl Grant {
    pub fn is_active_on(&self, today: Date) -> bool {
        self.status == GrantStatus::Active && self.valid_from <= today && today <= self.valid_until
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "way")]
pub enum Delivery {
    /// The subscriber reads the view's topic itself.
    Kafka,
    /// Pull over HTTP with a cursor, or SSE.
    Pull,
    Webhook {
        url: String,
        /// The name of a secret (file in the fanout's secrets folder) with one or more `whsec_…` lines.
        secret: String,
    },
    Postgres {
        /// The name of a secret with the connection URL.
        connection: String,
        /// `schema.table` in the subscriber's database.
        table: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// `<dataset>.<12 hex digits of SHA-256 over dataset, fields, masks, rows>`.
    pub id: String,
    pub dataset: String,
    /// In schema order.
    pub fields: Vec<String>,
    pub masks: BTreeMap<String, Mask>,
    pub rows: Option<String>,
    /// Schema of the view's records.
    pub schema_id: u32,
    pub partitions: i32,
}
