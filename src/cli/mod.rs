//! The command line: one file a subcommand.

pub mod failure;
pub mod progress;
pub mod terminal;
