//! The command line: one file a subcommand.

pub mod create;
pub mod failure;
pub mod magnet;
pub mod options;
pub mod show;
pub mod source;
pub mod terminal;

mod answer;
mod glob;
