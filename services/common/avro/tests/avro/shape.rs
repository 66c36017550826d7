//! Random schemas that shrink, and random values of them.

use std::collections::{HashMap, HashSet};

use apache_avro::schema::{InnerDecimalSchema, Name, ResolvedSchema, Schema, UuidSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use apache_avro::{Days, Decimal, Duration, Millis, Months};
use fastrand::Rng;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A type, without names: they are given when it becomes JSON.
#[derive(Debug, Clone)]
pub enum Shape {
    Leaf(&'static str),
    Logical(&'static str, &'static str),
    Decimal {
        precision: u32,
        scale: u32,
        fixed: Option<usize>,
    },
    Enum(usize),
    Fixed(usize),
    UuidFixed,
    Duration,
    Array(Box<Shape>),
    Map(Box<Shape>),
    Nullable(Box<Shape>, bool),
    /// Of distinct primitives, and a record where there are fields.
    Union(Vec<usize>, Vec<Shape>),
    Record(Vec<Shape>),
    /// A named type that was defined before.
    Again(usize),
}

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
const LOGICALS: [(&str, &str); 10] = [
    ("int", "date"),
    ("int", "time-millis"),
    ("long", "time-micros"),
    ("long", "timestamp-millis"),
    ("long", "timestamp-micros"),
    ("long", "timestamp-nanos"),
    ("long", "local-timestamp-millis"),
    ("long", "local-timestamp-micros"),
    ("long", "local-timestamp-nanos"),
    ("string", "uuid"),
];

fn leaf() -> impl Strategy<Value = Shape> {
    prop_oneof![
        4 => proptest::sample::select(&PRIMITIVES[..]).prop_map(Shape::Leaf),
        3 => proptest::sample::select(&LOGICALS[..]).prop_map(|(base, logical)| Shape::Logical(base, logical)),
        1 => (1u32..=38, 0u32..=38).prop_map(|(precision, scale)| Shape::Decimal {
            precision,
            scale: scale.min(precision),
            fixed: None
        }),
        1 => (1usize..=20, 0u32..=4).prop_map(|(size, scale)| {
            // What fits into that many bytes, as Avro wants it.
            let precision = ((8 * size - 1) as f64 * 2f64.log10()).floor().clamp(1.0, 38.0) as u32;
            Shape::Decimal { precision, scale: scale.min(precision), fixed: Some(size) }
        }),
        1 => (1usize..5).prop_map(Shape::Enum),
        1 => (0usize..5).prop_map(Shape::Fixed),
        1 => Just(Shape::UuidFixed),
        1 => Just(Shape::Duration),
        1 => (0usize..4).prop_map(Shape::Again),
    ]
}

pub fn shapes() -> impl Strategy<Value = Shape> {
    let inner = leaf().prop_recursive(3, 24, 5, |inner| {
        let fields = proptest::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            1 => inner.clone().prop_map(|items| Shape::Array(items.into())),
            1 => inner.clone().prop_map(|values| Shape::Map(values.into())),
            2 => (inner.clone(), any::<bool>()).prop_map(|(inner, first)| Shape::Nullable(inner.into(), first)),
            1 => (proptest::collection::vec(0usize..8, 1..4), proptest::collection::vec(inner, 0..3))
                .prop_map(|(kinds, fields)| Shape::Union(kinds, fields)),
            2 => fields.prop_map(Shape::Record),
        ]
    });
    proptest::collection::vec(inner, 1..7).prop_map(Shape::Record)
}

/// The schema document. Fields are `f0`, `f1`, … in every record.
pub fn avsc(shape: &Shape) -> String {
    let mut names = Names { count: 0, defined: Vec::new() };
    names.json(shape).to_string()
}

struct Names {
    count: usize,
    defined: Vec<String>,
}

impl Names {
    fn next(&mut self) -> String {
        self.count += 1;
        format!("n.s.T{}", self.count)
    }

    fn define(&mut self, mut object: Json) -> Json {
        let name = self.next();
        object["name"] = json!(name);
        self.defined.push(name);
        object
    }

    fn record(&mut self, fields: &[Shape]) -> Json {
        let name = self.next();
        let fields: Vec<Json> = fields
            .iter()
            .enumerate()
            .map(|(index, shape)| json!({"name": format!("f{index}"), "type": self.json(shape)}))
            .collect();
        let record = json!({"type": "record", "name": name, "fields": fields});
        self.defined.push(name);
        record
    }

    fn json(&mut self, shape: &Shape) -> Json {
        match shape {
            Shape::Leaf(name) => json!(name),
            Shape::Logical(base, logical) => json!({"type": base, "logicalType": logical}),
            Shape::Decimal { precision, scale, fixed } => {
                let decimal = json!({"logicalType": "decimal", "precision": precision, "scale": scale});
                match fixed {
                    None => merged(decimal, json!({"type": "bytes"})),
                    Some(size) => self.define(merged(decimal, json!({"type": "fixed", "size": size}))),
                }
            }
            Shape::Enum(count) => {
                let symbols: Vec<String> = (0..*count).map(|index| format!("S{index}")).collect();
                self.define(json!({"type": "enum", "symbols": symbols}))
            }
            Shape::Fixed(size) => self.define(json!({"type": "fixed", "size": size})),
            Shape::UuidFixed => self.define(json!({"type": "fixed", "size": 16, "logicalType": "uuid"})),
            Shape::Duration => self.define(json!({"type": "fixed", "size": 12, "logicalType": "duration"})),
            Shape::Array(items) => json!({"type": "array", "items": self.json(items)}),
            Shape::Map(values) => json!({"type": "map", "values": self.json(values)}),
            Shape::Nullable(inner, first) => match &**inner {
                Shape::Leaf("null") | Shape::Nullable(..) | Shape::Union(..) => self.json(inner),
                inner if *first => json!(["null", self.json(inner)]),
                inner => json!([self.json(inner), "null"]),
            },
            Shape::Union(kinds, fields) => {
                let mut seen = HashSet::new();
                let kinds = kinds.iter().filter(|kind| seen.insert(**kind));
                let mut branches: Vec<Json> = kinds.map(|kind| json!(PRIMITIVES[*kind])).collect();
                if !fields.is_empty() {
                    branches.push(self.record(fields));
                }
                Json::Array(branches)
            }
            Shape::Record(fields) => self.record(fields),
            Shape::Again(index) => match self.defined.get(*index) {
                Some(name) => json!(name),
                None => json!("int"),
            },
        }
    }
}

fn merged(mut object: Json, other: Json) -> Json {
    if let (Some(object), Json::Object(other)) = (object.as_object_mut(), other) {
        object.extend(other);
    }
    object
}

/// A random value of the schema, all of whose parts are well-formed, and its bytes by `apache-avro`.
pub fn value(schema: &Schema, seed: u64) -> (Value, Vec<u8>) {
    let resolved = ResolvedSchema::new(schema).expect("generated schemas resolve");
    let mut rng = Rng::with_seed(seed);
    let value = random(schema, resolved.get_names(), &mut rng);
    let bytes = encode(schema, &value);
    (value, bytes)
}

pub fn encode(schema: &Schema, value: &Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer of a generated schema");
    writer.write_value_to_vec(value.clone()).expect("generated values are of their schema")
}

fn text(rng: &mut Rng) -> String {
    const PIECES: [&str; 8] = ["a", "B", "0", " ", "王", "é", "'", "𝔘"];
    (0..rng.usize(..9)).map(|_| PIECES[rng.usize(..PIECES.len())]).collect()
}

fn number(rng: &mut Rng) -> i64 {
    let number = rng.i64(..);
    number >> rng.u32(..64)
}

fn random(schema: &Schema, names: &HashMap<Name, &Schema>, rng: &mut Rng) -> Value {
    const YEAR_1: i64 = -62_135_596_800;
    const YEAR_10000: i64 = 253_402_300_800;
    let seconds = rng.i64(YEAR_1..YEAR_10000);
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(rng.bool()),
        Schema::Int => Value::Int((number(rng) >> 32) as i32),
        Schema::Long => Value::Long(number(rng)),
        // Tenths: not all of them are exact in binary, none is NaN.
        Schema::Float => Value::Float(rng.i16(..) as f32 / 10.0),
        Schema::Double => Value::Double(f64::from(rng.i32(..)) / 10.0),
        Schema::Bytes => Value::Bytes(bytes(rng.usize(..6), rng)),
        Schema::String => Value::String(text(rng)),
        Schema::Array(array) => Value::Array((0..rng.usize(..4)).map(|_| random(&array.items, names, rng)).collect()),
        Schema::Map(map) => {
            Value::Map((0..rng.usize(..4)).map(|_| (text(rng), random(&map.types, names, rng))).collect())
        }
        Schema::Union(union) => {
            let index = rng.usize(..union.variants().len());
            Value::Union(index as u32, Box::new(random(&union.variants()[index], names, rng)))
        }
        Schema::Record(record) => Value::Record(
            record.fields.iter().map(|field| (field.name.clone(), random(&field.schema, names, rng))).collect(),
        ),
        Schema::Enum(symbols) => {
            let index = rng.usize(..symbols.symbols.len());
            Value::Enum(index as u32, symbols.symbols[index].clone())
        }
        Schema::Fixed(fixed) => Value::Fixed(fixed.size, bytes(fixed.size, rng)),
        Schema::Decimal(decimal) => {
            let unscaled = rng.i128(..) % 10i128.pow(decimal.precision as u32);
            let wide = unscaled.to_be_bytes();
            let bytes = match &decimal.inner {
                InnerDecimalSchema::Bytes => wide.to_vec(),
                InnerDecimalSchema::Fixed(fixed) => {
                    let fill = if unscaled < 0 { 0xff } else { 0 };
                    let mut padded = vec![fill; fixed.size.saturating_sub(16)];
                    padded.extend_from_slice(&wide[16 - fixed.size.min(16)..]);
                    padded
                }
            };
            Value::Decimal(Decimal::from(bytes))
        }
        Schema::Uuid(UuidSchema::String | UuidSchema::Fixed(_)) => {
            let mut bytes = [0; 16];
            rng.fill(&mut bytes);
            Value::Uuid(apache_avro::Uuid::from_bytes(bytes))
        }
        Schema::Date => Value::Date(seconds.div_euclid(86_400) as i32),
        Schema::TimeMillis => Value::TimeMillis(rng.i32(0..86_400_000)),
        Schema::TimeMicros => Value::TimeMicros(rng.i64(0..86_400_000_000)),
        Schema::TimestampMillis => Value::TimestampMillis(seconds * 1_000 + rng.i64(0..1_000)),
        Schema::TimestampMicros => Value::TimestampMicros(seconds * 1_000_000 + rng.i64(0..1_000_000)),
        Schema::TimestampNanos => Value::TimestampNanos(number(rng)),
        Schema::LocalTimestampMillis => Value::LocalTimestampMillis(seconds * 1_000),
        Schema::LocalTimestampMicros => Value::LocalTimestampMicros(seconds * 1_000_000),
        Schema::LocalTimestampNanos => Value::LocalTimestampNanos(number(rng)),
        Schema::Duration(_) => {
            Value::Duration(Duration::new(Months::new(rng.u32(..)), Days::new(rng.u32(..)), Millis::new(rng.u32(..))))
        }
        Schema::Ref { name } => random(names[name], names, rng),
        Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => unreachable!("never generated"),
    }
}

fn bytes(length: usize, rng: &mut Rng) -> Vec<u8> {
    (0..length).map(|_| rng.u8(..)).collect()
}

/// The same value, its arrays and maps cut into blocks, some of them with a byte size. `apache-avro` writes one block
/// without a size; other writers do not.
pub fn encode_in_blocks(schema: &Schema, value: &Value, seed: u64) -> Vec<u8> {
    let resolved = ResolvedSchema::new(schema).expect("generated schemas resolve");
    let mut out = Vec::new();
    blocks(schema, value, resolved.get_names(), &mut Rng::with_seed(seed), &mut out);
    out
}

fn long(value: i64, out: &mut Vec<u8>) {
    out.extend(encode(&Schema::Long, &Value::Long(value)));
}

fn blocks(schema: &Schema, value: &Value, names: &HashMap<Name, &Schema>, rng: &mut Rng, out: &mut Vec<u8>) {
    match (schema, value) {
        (Schema::Ref { name }, _) => blocks(names[name], value, names, rng, out),
        (Schema::Record(record), Value::Record(values)) => {
            for (field, (_, value)) in record.fields.iter().zip(values) {
                blocks(&field.schema, value, names, rng, out);
            }
        }
        (Schema::Union(union), Value::Union(index, value)) => {
            long(i64::from(*index), out);
            blocks(&union.variants()[*index as usize], value, names, rng, out);
        }
        (Schema::Array(array), Value::Array(values)) => {
            let items = values.iter().map(|value| {
                let mut item = Vec::new();
                blocks(&array.items, value, names, rng, &mut item);
                item
            });
            let items = items.collect();
            cut(items, rng, out);
        }
        (Schema::Map(map), Value::Map(values)) => {
            let items = values.iter().map(|(key, value)| {
                let mut item = encode(&Schema::String, &Value::String(key.clone()));
                blocks(&map.types, value, names, rng, &mut item);
                item
            });
            let items = items.collect();
            cut(items, rng, out);
        }
        _ => out.extend(encode(schema, value)),
    }
}

fn cut(items: Vec<Vec<u8>>, rng: &mut Rng, out: &mut Vec<u8>) {
    let mut rest = &items[..];
    while !rest.is_empty() {
        let (block, more) = rest.split_at(rng.usize(1..=rest.len()));
        rest = more;
        if rng.bool() {
            long(-(block.len() as i64), out);
            long(block.iter().map(Vec::len).sum::<usize>() as i64, out);
        } else {
            long(block.len() as i64, out);
        }
        out.extend(block.concat());
    }
    out.push(0);
}
