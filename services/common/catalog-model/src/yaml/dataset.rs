//! `<dataset>/dataset.yaml`, but for its mapping.

use std::collections::{BTreeMap, BTreeSet};

use super::mapping;
use super::node::{Kind, Node};
use super::reader::Reader;
use crate::entry::{
    Authority, CatalogueFields, Classification, Dataset, DivisionRule, DivisionScheme, FieldIdentifier, IdentifierKind,
    KeyForm, KeyRule, Retention, Rule, ShareMethod, ShareType, Title, Transitions, UpdateFrequency, VersionRule,
};

const KEYS: &[&str] = &[
    "title",
    "authorities",
    "key",
    "version",
    "division",
    "partitions",
    "catalogue",
    "retention",
    "identifiers",
    "rules",
    "transitions",
    "mapping",
];
pub const DEFAULT_PARTITIONS: i32 = 6;
/// Every event is held against each.
pub const MAX_RULES: usize = 200;
const MAX_PARTITIONS: i32 = 1000;
/// Ten years: above it Kafka's milliseconds are safe, and nobody means it.
const MAX_HOURS: u32 = 10 * 366 * 24;

pub fn is_dataset_id(id: &str) -> bool {
    id.len() <= super::departments::MAX_ID
        && id.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// What could be read of it. The parts that were refused hold a blank, so that the others can be checked all the same.
#[derive(Debug)]
pub struct Draft {
    pub dataset: Dataset,
    /// The keys that were refused or are missing.
    pub refused: BTreeSet<&'static str>,
}

pub fn read(reader: Reader<'_>, id: &str) -> Option<Draft> {
    let map = reader.map(&reader.document.root, "dataset.yaml", KEYS)?;
    let title = map.need("title").and_then(|node| reader.title(node, "title"));
    let authorities =
        map.need("authorities").and_then(|node| reader.list(node, "authorities", |item, _| authority(reader, item)));
    let key = map.need("key").and_then(|node| key_rule(reader, node));
    let version = map.need("version").and_then(|node| version_rule(reader, node));
    let division = map.read("division", |node, _| division_rule(reader, node));
    let partitions = map.read("partitions", |node, key| reader.number(node, key, 1..=MAX_PARTITIONS));
    let catalogue = map.need("catalogue").and_then(|node| catalogue(reader, node));
    let retention = map.read("retention", |node, _| retention(reader, node));
    let identifiers = map.read("identifiers", |node, key| reader.list(node, key, |item, _| identifier(reader, item)));
    let rules = map.read("rules", |node, key| rules(reader, node, key));
    let transitions = map.read("transitions", |node, _| transitions(reader, node));
    let mapping = map.read("mapping", |node, _| mapping::read(reader, node));
    let mut refused = BTreeSet::new();
    let mut parts = Parts { refused: &mut refused };
    let dataset = Dataset {
        id: id.to_owned(),
        title: parts.take("title", title, Title::default()),
        authorities: parts.take("authorities", authorities, Vec::new()),
        key: parts.take("key", key, KeyRule { fields: Vec::new(), form: KeyForm::Plain }),
        version: parts.take("version", version, VersionRule::Sequence),
        division: parts.take("division", division, None).unwrap_or_default(),
        schema_ids: Vec::new(),
        partitions: parts.take("partitions", partitions, None).unwrap_or(DEFAULT_PARTITIONS),
        catalogue: parts.take("catalogue", catalogue, blank_catalogue()),
        retention: parts.take("retention", retention, None).unwrap_or_default(),
        identifiers: parts.take("identifiers", identifiers, None).unwrap_or_default(),
        rules: parts.take("rules", rules, None).unwrap_or_default(),
        transitions: parts.take("transitions", transitions, None),
        mapping: parts.take("mapping", mapping, None),
    };
    Some(Draft { dataset, refused })
}

/// Notes which parts were refused.
pub struct Parts<'a> {
    pub refused: &'a mut BTreeSet<&'static str>,
}

impl Parts<'_> {
    pub fn take<T>(&mut self, key: &'static str, read: Option<T>, blank: T) -> T {
        read.unwrap_or_else(|| {
            self.refused.insert(key);
            blank
        })
    }
}

fn blank_catalogue() -> CatalogueFields {
    CatalogueFields {
        summary: Title::default(),
        update_frequency: UpdateFrequency::Realtime,
        share_type: ShareType::Unconditional,
        share_method: ShareMethod::Other,
        use_conditions: Vec::new(),
        classification: Classification::General,
        legal_basis: Vec::new(),
        sensitive_fields: Vec::new(),
    }
}

fn authority(reader: Reader<'_>, node: &Node) -> Option<Authority> {
    if let Kind::Scalar { .. } = node.kind {
        return Some(Authority { department: reader.said(node, "authorities")?, divisions: Vec::new() });
    }
    let map = reader.map(node, "authorities", &["department", "divisions"])?;
    let department = map.need("department").and_then(|node| reader.said(node, "department"));
    let divisions = map.read("divisions", |node, key| {
        let prefixes = reader.list(node, key, |item, _| reader.said(item, key))?;
        if prefixes.is_empty() {
            reader.fail(node, "`divisions` is empty", "name the prefixes, or leave `divisions` out for every division");
            return None;
        }
        Some(prefixes)
    });
    Some(Authority { department: department?, divisions: divisions?.unwrap_or_default() })
}

fn key_rule(reader: Reader<'_>, node: &Node) -> Option<KeyRule> {
    if !matches!(node.kind, Kind::Map(_)) {
        return Some(KeyRule { fields: reader.text_or_texts(node, "key")?, form: KeyForm::Plain });
    }
    let map = reader.map(node, "key", &["fields", "form"])?;
    let fields = map.need("fields").and_then(|node| reader.text_or_texts(node, "fields"));
    let form = map.read("form", |node, key| {
        reader.word(node, key, &["plain", "pseudonym"], |word| match word {
            "plain" => Some(KeyForm::Plain),
            "pseudonym" => Some(KeyForm::Pseudonym),
            _ => None,
        })
    });
    Some(KeyRule { fields: fields?, form: form?.unwrap_or_default() })
}

fn version_rule(reader: Reader<'_>, node: &Node) -> Option<VersionRule> {
    if let Kind::Scalar { .. } = node.kind {
        let word = reader.said(node, "version")?;
        if word == "sequence" {
            return Some(VersionRule::Sequence);
        }
        let mend = format!("write `version: sequence`, or `version: {{field: {word}}}` if {word} is a field");
        reader.fail(node, format!("`version` is `{word}`"), mend);
        return None;
    }
    let map = reader.map(node, "version", &["field"])?;
    Some(VersionRule::Field(map.need("field").and_then(|node| reader.said(node, "field"))?))
}

fn division_rule(reader: Reader<'_>, node: &Node) -> Option<DivisionRule> {
    if let Kind::Scalar { .. } = node.kind {
        return Some(DivisionRule { field: Some(reader.said(node, "division")?), scheme: DivisionScheme::None });
    }
    let map = reader.map(node, "division", &["field", "scheme"])?;
    let field = map.read("field", |node, key| reader.said(node, key));
    let scheme = map.read("scheme", |node, key| {
        reader.word(node, key, &["none", "gb2260"], |word| match word {
            "none" => Some(DivisionScheme::None),
            "gb2260" => Some(DivisionScheme::Gb2260),
            _ => None,
        })
    });
    Some(DivisionRule { field: field?, scheme: scheme?.unwrap_or_default() })
}

fn catalogue(reader: Reader<'_>, node: &Node) -> Option<CatalogueFields> {
    let map = reader.map(
        node,
        "catalogue",
        &[
            "summary",
            "update_frequency",
            "share_type",
            "share_method",
            "use_conditions",
            "classification",
            "legal_basis",
            "sensitive_fields",
        ],
    )?;
    let summary = map.need("summary").and_then(|node| reader.title(node, "summary"));
    let update_frequency = map
        .need("update_frequency")
        .and_then(|node| reader.word(node, "update_frequency", UpdateFrequency::WORDS, UpdateFrequency::from_word));
    let share_type =
        map.need("share_type").and_then(|node| reader.word(node, "share_type", ShareType::WORDS, ShareType::from_word));
    let share_method = map
        .need("share_method")
        .and_then(|node| reader.word(node, "share_method", ShareMethod::WORDS, ShareMethod::from_word));
    let classification = map
        .need("classification")
        .and_then(|node| reader.word(node, "classification", Classification::WORDS, Classification::from_word));
    let use_conditions = map.read("use_conditions", |node, key| reader.text_or_texts(node, key));
    let legal_basis = map.read("legal_basis", |node, key| reader.text_or_texts(node, key));
    let sensitive_fields = map.read("sensitive_fields", |node, key| reader.text_or_texts(node, key));
    Some(CatalogueFields {
        summary: summary?,
        update_frequency: update_frequency?,
        share_type: share_type?,
        share_method: share_method?,
        use_conditions: use_conditions?.unwrap_or_default(),
        classification: classification?,
        legal_basis: legal_basis?.unwrap_or_default(),
        sensitive_fields: sensitive_fields?.unwrap_or_default(),
    })
}

fn retention(reader: Reader<'_>, node: &Node) -> Option<Retention> {
    let map = reader.map(node, "retention", &["publish_hours", "tombstone_hours"])?;
    let publish = map.read("publish_hours", |node, key| reader.number(node, key, 1..=MAX_HOURS));
    let tombstone = map.read("tombstone_hours", |node, key| reader.number(node, key, 1..=MAX_HOURS));
    let default = Retention::default();
    Some(Retention {
        publish_hours: publish?.unwrap_or(default.publish_hours),
        tombstone_hours: tombstone?.unwrap_or(default.tombstone_hours),
    })
}

fn identifier(reader: Reader<'_>, node: &Node) -> Option<FieldIdentifier> {
    let map = reader.map(node, "identifiers", &["field", "kind"])?;
    let field = map.need("field").and_then(|node| reader.said(node, "field"));
    let kind =
        map.need("kind").and_then(|node| reader.word(node, "kind", IdentifierKind::WORDS, IdentifierKind::from_word));
    Some(FieldIdentifier { field: field?, kind: kind? })
}

fn rules(reader: Reader<'_>, node: &Node, key: &str) -> Option<Vec<Rule>> {
    let rules = reader.list(node, key, |item, _| rule(reader, item))?;
    if rules.len() > MAX_RULES {
        let message = format!("{} rules; at most {MAX_RULES} are taken", rules.len());
        reader.fail(node, message, "join conditions with `and` where they have one message");
        return None;
    }
    Some(rules)
}

fn rule(reader: Reader<'_>, node: &Node) -> Option<Rule> {
    let map = reader.map(node, "rules", &["name", "require", "message", "field"])?;
    let name = map.need("name").and_then(|node| reader.said(node, "name"));
    let require = map.need("require").and_then(|node| reader.said(node, "require"));
    let message = map.need("message").and_then(|node| reader.title(node, "message"));
    let field = map.read("field", |node, key| reader.said(node, key));
    Some(Rule { name: name?, require: require?, message: message?, field: field? })
}

fn transitions(reader: Reader<'_>, node: &Node) -> Option<Transitions> {
    let map = reader.map(node, "transitions", &["field", "initial", "allowed"])?;
    let field = map.need("field").and_then(|node| reader.said(node, "field"));
    let initial = map.read("initial", |node, key| reader.text_or_texts(node, key));
    let allowed = map.need("allowed").and_then(|node| {
        let entries = reader.entries(node, "allowed")?;
        let read: Vec<Option<(String, Vec<String>)>> = entries
            .iter()
            .map(|(key, node)| Some((key.text.clone(), reader.text_or_texts(node, &key.text)?)))
            .collect();
        read.into_iter().collect::<Option<BTreeMap<_, _>>>()
    });
    Some(Transitions { field: field?, initial: initial?.unwrap_or_default(), allowed: allowed? })
}
