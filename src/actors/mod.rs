//! Whatever waits: threads that decide nothing. They meet only on the bus.

pub(crate) mod chance;
pub(crate) mod clerk;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod file_error;
pub(crate) mod file_part;
pub(crate) mod files;
pub(crate) mod hasher;
pub(crate) mod http;
pub(crate) mod lan;
pub(crate) mod limiter;
pub(crate) mod listener;
pub(crate) mod messenger;
pub(crate) mod peer;
pub(crate) mod porter;
pub(crate) mod reactor;
pub(crate) mod read_limit;
pub(crate) mod save;
pub(crate) mod scrapes;
pub(crate) mod shelf;
pub(crate) mod state;
pub(crate) mod storage;
pub(crate) mod trace;
pub(crate) mod tracker;
pub(crate) mod tracker_server;
pub(crate) mod usher;
mod zero_copy;

#[cfg(test)]
mod scratch;
