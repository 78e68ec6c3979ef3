//! Whatever waits: threads that decide nothing. They meet only on the bus.

pub mod file_error;
pub mod state;

#[cfg(test)]
mod scratch;
