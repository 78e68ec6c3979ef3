//! `rondalla magnet`: prints a torrent's magnet link.

use std::io::Write;

use serde::Serialize;

use crate::cli::answer::{say, say_json};
use crate::cli::failure::Failure;
use crate::cli::options::MagnetOptions;
use crate::cli::source;
use crate::formats::magnet::Magnet;

#[derive(Serialize)]
struct Object {
    infohash: String,
    magnet: String,
}

/// Prints the link to `out`.
///
/// # Errors
/// If the torrent cannot be read, or `out` takes nothing.
pub fn run(
    options: &MagnetOptions,
    out: &mut dyn Write,
    _err: &mut dyn Write,
) -> Result<(), Failure> {
    let torrent = source::read_argument(&options.torrent)?;
    let magnet = Magnet::of(&torrent).to_string();
    if options.output.json {
        say_json(out, &Object { infohash: torrent.info_hash().to_string(), magnet })
    } else {
        say(out, &format!("{magnet}\n"))
    }
}
