//! What `freshet up` does beside running the roles: the data folder with its secrets, ports and catalogue.

pub mod catalogue;
pub mod greeting;
pub mod ports;
pub mod secrets;
