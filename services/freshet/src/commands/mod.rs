//! One file a command.

pub mod bench;
pub mod catalog;
pub mod check_config;
pub mod completions;
pub mod publish;
pub mod rejects;
pub mod run;
pub mod token;
pub mod trace;
pub mod up;
