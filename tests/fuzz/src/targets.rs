//! All targets.

mod batch;
mod cursor;
mod expression;
mod framing;
mod gateway;
mod json;
mod observer;
mod projection;
mod pull;
mod receiver;
mod record;
mod registry;
mod rows;
mod schemas;
mod webhook;
mod yaml;

use crate::target::Kind;

/// The slow ones first: two threads then end at about the same time.
pub const ALL: [Kind; 16] = [
    gateway::KIND,
    receiver::KIND,
    registry::KIND,
    yaml::KIND,
    pull::KIND,
    observer::KIND,
    record::KIND,
    projection::KIND,
    expression::KIND,
    batch::KIND,
    rows::CSV,
    rows::JSON_LINES,
    json::KIND,
    framing::KIND,
    cursor::KIND,
    webhook::KIND,
];
