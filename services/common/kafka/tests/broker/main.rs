//! Everything that rests on transactions, offsets or groups, on the real broker. One binary, so one broker.

mod background;
mod batches;
mod catalog;
mod copy;
mod gone;
mod hostile;
mod publisher;
mod reader;
mod recovery;
mod refused_first;
mod support;
mod transactional;
mod unanswered;
mod wide;
mod window;
mod wire;
