//! The command line: one file a subcommand.

pub mod create;
pub mod failure;
pub mod magnet;
pub mod options;
pub mod show;
pub mod source;
pub mod terminal;

mod glob;

use std::io::{self, Write};

use failure::Failure;

/// Writes data for the user to stdout.
fn say(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes one JSON object and an end of line to stdout.
fn say_json(out: &mut dyn Write, object: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(object).expect("plain structures are always JSON");
    say(out, &(text + "\n"))
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| Failure::file("stdout", &error))
}
