//! `rondalla download` and `rondalla seed`.

use std::any::Any;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::bus::{Event, Select, TorrentEvent, Trouble, TroubleKind};
use crate::cli::console::{self, Outcome, Preface};
use crate::cli::failure::{Exit, Failure, no_thread};
use crate::cli::hook::Hook;
use crate::cli::host::{Means, Wishes};
use crate::cli::options::TransferOptions;
use crate::cli::source::{self, Found, Source};
use crate::cli::terminal::escape;
use crate::cli::watch::{self, WatcherHandle};
use crate::cli::{json, signals};
use crate::formats::magnet::Magnet;
use crate::formats::metainfo::Metainfo;
use crate::formats::path::shown;
use crate::session::{
    ChordOptions, Goal, MainlineOptions, OpenError, Options, SeedUntil, Session, Sought, Torrent,
    remembered, save_torrent, selected,
};
use crate::words::address::{Address, ListenAddress};
use crate::words::id::InfoHash;

/// Downloads every source until it is complete and verified.
///
/// # Errors
/// If the session cannot be started.
pub fn download(options: &TransferOptions, err: &mut dyn Write) -> Result<ExitCode, Failure> {
    let limited = options.seed_ratio.is_some() || options.seed_time.is_some();
    let goal = if options.seed || limited { Goal::CompleteAndSeed } else { Goal::Complete };
    transfer(options, goal, err)
}

/// Uploads what is there of every source.
///
/// # Errors
/// As [`download`].
pub fn seed(options: &TransferOptions, err: &mut dyn Write) -> Result<ExitCode, Failure> {
    transfer(options, Goal::Seed, err)
}

/// What became of a source before the session began.
type Read = Result<InfoHash, Exit>;

/// The sources, read: what became of each, and the torrents and failures among them.
#[derive(Default)]
struct Sources {
    reads: Vec<Read>,
    torrents: Vec<Added>,
    failures: Vec<Failure>,
}

/// A torrent to add to the session.
pub(super) enum Added {
    /// It is known.
    Known(Box<Torrent>),
    /// Its metadata is to be had from peers.
    Sought(Box<Sought>),
}

impl Sources {
    fn read(options: &TransferOptions) -> Self {
        let mut sources = Self::default();
        for text in &options.sources {
            let found = match Source::recognise(text).and_then(source::find) {
                Ok(found) => found,
                Err(failure) => {
                    sources.fail(failure);
                    continue;
                }
            };
            let info_hash = found.info_hash();
            // Once is enough, however often it is named.
            if sources.reads.contains(&Ok(info_hash)) {
                continue;
            }
            match added(found, options) {
                Ok(added) => {
                    sources.reads.push(Ok(info_hash));
                    sources.torrents.extend(added);
                }
                Err(failure) => sources.fail(failure),
            }
        }
        sources
    }

    fn fail(&mut self, failure: Failure) {
        self.reads.push(Err(failure.exit));
        self.failures.push(failure);
    }
}

/// What the options make of a source; nothing is left to do if it is saved already. A failure if
/// `--select`, or the link, names no file of it.
fn added(found: Found, options: &TransferOptions) -> Result<Option<Added>, Failure> {
    let (metainfo, select, mut peers) = match found {
        Found::Torrent(metainfo) => (*metainfo, Select::All, Vec::new()),
        Found::Magnet(magnet) => match remembered(&options.state, magnet.info_hash) {
            Some(metainfo) => {
                let metainfo = metainfo.with_link(&magnet.trackers, &magnet.web_seeds);
                let peers = magnet.peers.iter().filter_map(|peer| peer.parse().ok()).collect();
                let select = match magnet.select {
                    files if files.is_empty() => Select::All,
                    files => Select::Indices(files),
                };
                (metainfo, select, peers)
            }
            None => return Ok(Some(Added::Sought(Box::new(sought(*magnet, options))))),
        },
    };
    if options.metadata_only {
        let path = save_torrent(&options.dir, &metainfo, options.overwrite)?;
        saved(&metainfo, &path, options);
        return Ok(None);
    }
    let chosen = options.select.as_ref().map(|selection| Select::Numbers(selection.0.clone()));
    peers.extend(options.network.peers.iter().cloned());
    let torrent = Torrent {
        select: selected(&metainfo, &chosen.unwrap_or(select))?,
        peers,
        trackers: options.network.trackers.clone(),
        check: options.check,
        overwrite: options.overwrite,
        ..Torrent::new(metainfo, &options.dir)
    };
    Ok(Some(Added::Known(Box::new(torrent))))
}

/// What the options make of a link whose metadata is to be had from peers.
fn sought(magnet: Magnet, options: &TransferOptions) -> Sought {
    Sought {
        peers: options.network.peers.clone(),
        trackers: options.network.trackers.clone(),
        check: options.check,
        overwrite: options.overwrite,
        select: options.select.as_ref().map(|selection| selection.0.clone()),
        save_only: options.metadata_only,
        ..Sought::new(magnet, &options.dir)
    }
}

/// Tells, as the end of a session does, that a torrent is saved for which nobody had to be asked.
fn saved(metainfo: &Metainfo, path: &Path, options: &TransferOptions) {
    let event = TorrentEvent::Finished { seconds: 0.0, bytes: 0, uploaded: 0, path: path.into() };
    let event = Event::Torrent(metainfo.info_hash(), event);
    let line = match json::object(&event, false).filter(|_| options.output.json) {
        Some(object) => object.to_string(),
        None => escape(&shown(path)),
    };
    // Where nobody reads, the exit code speaks.
    writeln!(io::stdout(), "{line}").ok();
}

fn transfer(
    options: &TransferOptions,
    goal: Goal,
    err: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    let Sources { reads, torrents, failures } = Sources::read(options);
    if torrents.is_empty() && options.watch.is_none() {
        return Ok(only_failures(options, &failures, err));
    }
    // Whoever wants the metadata alone has nothing to seed.
    let goal = if options.metadata_only { Goal::Complete } else { goal };
    if let Some(dir) = &options.watch {
        watch::look_at(dir)?;
    }
    let trace = options.trace.as_deref().map(new_trace).transpose()?;
    let means = Means::of_host(Wishes {
        max_peers: options.network.max_peers,
        memory: options.memory.map(|size| size.0),
        torrents: torrents.len(),
    });
    let session_options = Options { trace, ..session_options(options, goal, &means) };
    let mut session = Session::open(session_options)
        .map_err(|error| cannot_open(&options.network.listen, error))?;
    signals::end_on_signal(session.remote())?;
    let hook = options.on_done.clone().map(Hook::new);
    let preface = Preface { failures, warnings: means.warnings, remarks: means.reasons };
    let console = console::start(session.events(), options.output, goal, hook, preface)
        .map_err(|error| no_thread("console", &error))?;
    for added in torrents {
        match added {
            Added::Known(torrent) => session.add(*torrent),
            Added::Sought(sought) => session.seek(*sought),
        }
    }
    let watcher = match &options.watch {
        Some(dir) => Some(watch_from_now_on(dir, options, &session, &reads)?),
        None => None,
    };
    session.run();
    drop(watcher);
    let outcome = console.join().map_err(failed_console)?;
    Ok(exit_code(&reads, &outcome))
}

fn new_trace(path: &Path) -> Result<Arc<File>, Failure> {
    File::create(path).map(Arc::new).map_err(|error| Failure::file(shown(path), &error))
}

fn watch_from_now_on(
    dir: &Path,
    options: &TransferOptions,
    session: &Session,
    reads: &[Read],
) -> Result<WatcherHandle, Failure> {
    let started = reads.iter().copied().filter_map(Result::ok).collect();
    let options = options.clone();
    let make = Box::new(move |found| added(found, &options));
    WatcherHandle::start(dir.to_owned(), session.remote(), started, make)
        .map_err(|error| no_thread("watcher", &error))
}

/// Tells all failures. The exit code is that of the first.
fn only_failures(options: &TransferOptions, failures: &[Failure], err: &mut dyn Write) -> ExitCode {
    for failure in failures {
        // Where nobody reads, the exit code speaks.
        if options.output.json {
            writeln!(io::stdout(), "{}", json::failed(failure)).ok();
        }
        writeln!(err, "rondalla: {failure}").ok();
    }
    failures.first().map_or(ExitCode::SUCCESS, |failure| failure.exit.into())
}

fn session_options(options: &TransferOptions, goal: Goal, means: &Means) -> Options {
    let network = &options.network;
    Options {
        listen: Some(network.listen.clone()),
        goal,
        stay: options.watch.is_some(),
        upload: network.parts.upload,
        mainline: network.parts.dht.then(|| mainline_options(&network.dht_routers)),
        lan: network.parts.lan,
        pex: network.parts.pex,
        encryption: network.encryption,
        chord: network
            .parts
            .chord
            .then(|| ChordOptions { join: network.joins.clone(), clock_rate: network.clock_rate }),
        trackers: network.parts.trackers,
        memory: means.memory,
        peers_max: means.max_peers,
        files_open_max: means.files_open,
        timeout: options.timeout,
        limit_down: options.limit_down.0,
        limit_up: options.limit_up.0,
        sequential: options.sequential,
        seed_until: SeedUntil { ratio: options.seed_ratio, time: options.seed_time },
        ..Options::new(&options.state)
    }
}

fn mainline_options(routers: &[Address]) -> MainlineOptions {
    match routers {
        [] => MainlineOptions::well_known(),
        routers => MainlineOptions { routers: routers.to_vec() },
    }
}

pub(super) fn cannot_open(listen: &ListenAddress, error: OpenError) -> Failure {
    match error {
        OpenError::Listen(error) => cannot_listen(listen, &error),
        OpenError::Thread(name, error) => no_thread(name, &error),
    }
}

pub(super) fn cannot_listen(listen: &ListenAddress, error: &io::Error) -> Failure {
    let kind = error.kind();
    let why = if kind == io::ErrorKind::AddrInUse {
        "the port is taken; choose another with --listen, or any with --listen :0".to_owned()
    } else if kind == io::ErrorKind::AddrNotAvailable {
        "it is no address of this machine; --listen :6881 takes all that it has".to_owned()
    } else {
        Failure::file("", error).why
    };
    let what = format!("--listen {listen}");
    Failure { exit: Exit::Network, what, why }
}

/// The console has failed, and has said so on stderr.
pub(super) fn failed_console(_: Box<dyn Any + Send>) -> Failure {
    Failure { exit: Exit::Failure, what: "console".to_owned(), why: "it failed".to_owned() }
}

/// The exit code of the first that failed, in the order in which they were given.
fn exit_code(reads: &[Read], outcome: &Outcome) -> ExitCode {
    let failed = reads.iter().find_map(|read| match read {
        Ok(info_hash) => outcome.of(*info_hash),
        Err(exit) => Some(*exit),
    });
    failed.or_else(|| outcome.first()).map_or(ExitCode::SUCCESS, ExitCode::from)
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let exit = match trouble.kind {
            TroubleKind::Network => Exit::Network,
            TroubleKind::FileSystem => Exit::FileSystem,
            TroubleKind::NoSpace => Exit::NoSpace,
            TroubleKind::Interrupted => Exit::Interrupted,
            TroubleKind::NotATorrent => Exit::NotATorrent,
            TroubleKind::Usage => Exit::Usage,
            TroubleKind::Other => Exit::Failure,
        };
        Self { exit, what: trouble.what, why: trouble.why }
    }
}
