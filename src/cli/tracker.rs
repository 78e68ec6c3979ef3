//! `rondalla tracker`: the optional central tracker.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::options::TrackerOptions;
use crate::cli::signals;
use crate::cli::transfer::cannot_listen;
use crate::session::tracker::{Counters, Held, Tracker};

/// Answers until a signal.
///
/// # Errors
/// If it cannot listen.
pub fn run(
    options: &TrackerOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    let opened = Tracker::open(&options.listen, options.interval);
    let (tracker, stop) = opened.map_err(|error| cannot_listen(&options.listen, &error))?;
    signals::call_on_signal(move || drop(stop))?;
    let address = tracker.address();
    let mut say = |object: serde_json::Value, text: &str, always: bool| {
        // Where nobody reads, the tracker goes on.
        if options.output.json {
            writeln!(out, "{object}").and_then(|()| out.flush()).ok();
        } else if always && !options.output.quiet || options.output.verbose > 0 {
            writeln!(err, "{text}").ok();
        }
    };
    let listening = json!({ "event": "listening", "addr": address.to_string() });
    say(listening, &format!("tracker: http and udp at {address}"), true);
    let (Held { torrents, peers, seeders }, Counters { announces, scrapes, refused }) =
        tracker.run();
    let stats = json!({
        "event": "stats", "torrents": torrents, "peers": peers, "seeders": seeders,
        "announces": announces, "scrapes": scrapes, "refused": refused,
    });
    let text = format!(
        "{announces} announces, {scrapes} scrapes, {refused} refused; \
         {torrents} torrents, {peers} peers, {seeders} of them seeders"
    );
    say(stats, &text, false);
    Ok(ExitCode::SUCCESS)
}
