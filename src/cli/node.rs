//! `rondalla node`: runs a node of the ring alone, as an entry point for others.

use std::process::ExitCode;

use crate::cli::console::{self, Preface};
use crate::cli::failure::{Failure, no_thread};
use crate::cli::options::NodeOptions;
use crate::cli::signals;
use crate::cli::transfer::{cannot_open, failed_console};
use crate::session::{ChordOptions, Goal, Options, Session};

/// Serves the ring until a signal.
///
/// # Errors
/// If the session cannot be started.
pub fn run(options: &NodeOptions) -> Result<ExitCode, Failure> {
    let session_options = Options {
        listen: Some(options.listen.clone()),
        goal: Goal::Seed,
        stay: true,
        chord: Some(ChordOptions { join: options.joins.clone(), clock_rate: options.clock_rate }),
        ..Options::new(&options.state)
    };
    let session =
        Session::open(session_options).map_err(|error| cannot_open(&options.listen, error))?;
    signals::end_on_signal(session.remote())?;
    let (events, preface) = (session.events(), Preface::default());
    let console = console::start(events, options.output, Goal::Seed, None, preface)
        .map_err(|error| no_thread("console", &error))?;
    session.run();
    console.join().map_err(failed_console)?;
    Ok(ExitCode::SUCCESS)
}
