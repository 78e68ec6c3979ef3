//! `rondalla node`: runs a node of the ring alone, as an entry point for others. Of the other parts of
//! the program it has none, whether they are turned off or not: all of them are about torrents.

use std::process::ExitCode;

use crate::cli::console::{self, Preface};
use crate::cli::failure::{Failure, no_thread};
use crate::cli::options::NodeOptions;
use crate::cli::signals;
use crate::cli::transfer::{cannot_open, failed_console};
use crate::session::{ChordOptions, Goal, Options, Session};
use crate::words::limits;

/// What options that are about a torrent are told.
const NO_TORRENT: &str = "it is left unused: a node has no torrent";

/// Serves the ring until a signal.
///
/// # Errors
/// If the session cannot be started.
pub fn run(options: &NodeOptions) -> Result<ExitCode, Failure> {
    let session_options = Options {
        listen: Some(options.listen.clone()),
        goal: Goal::Seed,
        stay: true,
        chord: options
            .parts
            .chord
            .then(|| ChordOptions { join: options.joins.clone(), clock_rate: options.clock_rate }),
        trackers: false,
        pex: false,
        peers_max: options.max_peers.unwrap_or(limits::PEERS_DEFAULT),
        ..Options::new(&options.state)
    };
    let unused = [("--peer", options.peers.len()), ("--tracker", options.trackers.len())];
    let unused = unused.iter().filter(|(_, given)| *given > 0);
    let warnings = unused.map(|(option, _)| format!("{option}: {NO_TORRENT}")).collect();
    let session =
        Session::open(session_options).map_err(|error| cannot_open(&options.listen, error))?;
    signals::end_on_signal(session.remote())?;
    let (events, preface) = (session.events(), Preface { warnings, ..Preface::default() });
    let console = console::start(events, options.output, Goal::Seed, None, preface)
        .map_err(|error| no_thread("console", &error))?;
    session.run();
    console.join().map_err(failed_console)?;
    Ok(ExitCode::SUCCESS)
}
