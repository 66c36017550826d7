//! The catalogue: departments, datasets, schemas, grants, views. Its YAML form (files that people write), its topic form
//! (JSON records of `freshet.catalog`) and what follows from it (which views exist, who may publish what). Independent of
//! Kafka and of any service.

pub mod access;
mod avsc;
pub mod catalog;
mod check;
pub mod compiled;
pub mod diagnostic;
pub mod entry;
pub mod mapping;
pub mod plan;
pub mod schema;
pub mod source;
pub mod topic;
pub mod yaml;

pub use catalog::Catalog;
pub use diagnostic::Diagnostic;
pub use entry::*;
pub use plan::ChangeSet;
pub use source::SourceCatalog;
pub use topic::TopicSpec;
