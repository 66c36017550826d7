//! Hostile input, by the million: each way in for bytes from outside has a target, which runs one input and says whether it
//! did what it should. Independent of the services' own tests, but for the oracle of `freshet-avro`, which both use.

pub mod guard;
mod heap;
mod http_text;
pub mod mutate;
pub mod run;
pub mod save;
pub mod target;
pub mod targets;

// The oracle of freshet-avro's tests, and the gateway's fixture: written once, used twice.
#[allow(dead_code)]
#[path = "../../../services/common/avro/tests/avro/ask.rs"]
mod ask;
#[allow(dead_code)]
#[path = "../../../services/common/avro/tests/avro/condition.rs"]
mod condition;
#[allow(dead_code)]
#[path = "../../../services/common/avro/tests/avro/differences.rs"]
mod differences;
#[allow(dead_code)]
#[path = "../../../services/gateway/tests/gateway/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "../../../services/common/avro/tests/avro/naive.rs"]
mod naive;
#[allow(dead_code)]
#[path = "../../../services/common/avro/tests/avro/shape.rs"]
mod shape;
