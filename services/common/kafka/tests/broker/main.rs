//! Everything that rests on transactions, offsets or groups, on the real broker. One binary, so one broker.

mod background;
mod batches;
mod catalog;
mod copy;
mod publisher;
mod reader;
mod support;
mod transactional;
mod window;
