//! `rondalla lookup`: asks the ring who shares a torrent.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::answer::{say, say_json};
use crate::cli::failure::{Exit, Failure};
use crate::cli::options::LookupOptions;
use crate::session::ask::{Ask, Lookup};

#[derive(Serialize)]
struct Object {
    infohash: String,
    peers: Vec<Peer>,
    hops: u32,
    millis: u128,
    responsible: Option<String>,
}

#[derive(Serialize)]
struct Peer {
    addr: String,
    seeder: bool,
}

/// Prints who shares the torrent, one address a line. Exit 3 if nobody does.
///
/// # Errors
/// If no node of the ring answers in time ([`Exit::Network`]), or `out` takes nothing.
pub fn run(options: &LookupOptions, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let ask = Ask {
        join: options.ask.joins.clone(),
        state: options.ask.state.clone(),
        timeout: options.ask.timeout,
    };
    let found = ask.lookup(options.info_hash).map_err(|error| cannot_ask(&error))?;
    let Lookup { mut sharers, report: Some(report) } = found else {
        return Err(nobody_answers(&ask));
    };
    sharers.sort_by_key(|sharer| (!sharer.seeder, sharer.address));
    let none = sharers.is_empty();
    if options.output.json {
        let peer = |sharer: crate::session::ask::Sharer| Peer {
            addr: sharer.address.to_string(),
            seeder: sharer.seeder,
        };
        let object = Object {
            infohash: options.info_hash.to_string(),
            peers: sharers.into_iter().map(peer).collect(),
            hops: report.hops,
            millis: report.took.as_millis(),
            responsible: report.responsible.map(|address| address.to_string()),
        };
        say_json(out, &object)?;
    } else {
        let lines = sharers.iter().map(|sharer| format!("{}\n", sharer.address));
        say(out, &lines.collect::<String>())?;
    }
    Ok(if none { Exit::Incomplete.into() } else { ExitCode::SUCCESS })
}

/// The system gives no sockets or threads.
pub(super) fn cannot_ask(error: &std::io::Error) -> Failure {
    let why = format!("it cannot be asked: {error}");
    Failure { exit: Exit::Failure, what: "the ring".to_owned(), why }
}

/// No node of the ring answered in time.
pub(super) fn nobody_answers(ask: &Ask) -> Failure {
    let seconds = ask.timeout.as_secs_f64();
    let (what, why) = match ask.join.as_slice() {
        [] => (
            "the ring".to_owned(),
            format!(
                "no node that was met before answered within {seconds} s; name one with --join"
            ),
        ),
        [first, ..] => (
            format!("--join {first}"),
            format!("no node answered within {seconds} s; does rondalla run there?"),
        ),
    };
    Failure { exit: Exit::Network, what, why }
}
