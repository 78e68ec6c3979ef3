//! What a command answers on stdout.

use std::io::{self, Write};

use crate::cli::failure::Failure;

/// Writes data for the user to stdout, and sees that it goes out.
pub(super) fn say(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes one JSON object and an end of line to stdout.
pub(super) fn say_json(out: &mut dyn Write, object: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(object).expect("plain structures are always JSON");
    say(out, &(text + "\n"))
}

/// What became of writing to stdout, as a failure of the command.
pub(super) fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| Failure::file("stdout", &error))
}
