//! Avro without a tree: a schema is compiled once into a flat [`Plan`]; the plan checks a binary record completely and
//! notes where each field stands; predicates, projections and masks then work on those bytes. Beside it the slow paths:
//! JSON, Confluent framing, compatibility. Independent of Kafka, of the catalogue, of any I/O.
//!
//! `apache-avro` is the judge of schema syntax and one of the judges of compatibility. It never sees a producer's bytes
//! outside the tests, where it is the oracle.

mod calendar;
pub mod compatibility;
mod decimal;
pub mod framing;
pub mod json;
mod limits;
mod plan;
pub mod predicate;
pub mod projection;
mod schema;
mod skip;
mod value;
mod varint;
mod walk;

pub use plan::{Plan, Slot};
pub use schema::{
    DecimalType, EnumType, Field, FieldDefault, FieldType, FixedType, MAX_PATH_BYTES, RecordType, SchemaError,
};
pub use value::Value;
pub use walk::Walk;
