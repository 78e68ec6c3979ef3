//! From the arguments of the process to a [`Command`] with its options.
//!
//! argh reads the values; what it does not take stands in `rewrite`, what it does not print in
//! `help`.

mod declared;
mod help;
mod later;
pub mod manual;
mod nearest;
mod rewrite;
mod values;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, CommandInfoWithArgs, EarlyExit, FlagInfo, FlagInfoKind, FromArgs};

use crate::cli::failure::Failure;
use crate::cli::options::{
    AskOptions, Command, CompletionsOptions, CreateOptions, LookupOptions, MagnetOptions,
    NetworkOptions, NodeOptions, OutputOptions, Parts, RingOptions, ShowOptions, TrackerOptions,
    TransferOptions, VerifyOptions,
};
use crate::formats::magnet::parse_info_hash;
use crate::formats::path::shown;
use crate::words::limits;
use declared::{Completions, Create, Lookup, Magnet, Node, Ring, Show, Tracker, Transfer, Verify};
use nearest::nearest;
use rewrite::{Rewritten, Shield, rewrite};

/// The variables that decide where state is kept.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `XDG_STATE_HOME`.
    pub state_home: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
}

impl Environment {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self { state_home: env::var_os("XDG_STATE_HOME"), home: env::var_os("HOME") }
    }

    /// Where state is kept unless `--state` says so: a relative `XDG_STATE_HOME` is ignored, as
    /// the XDG Base Directory Specification demands.
    fn state_folder(&self, dir: &Path) -> PathBuf {
        let state_home = self.state_home.as_ref().map(PathBuf::from).filter(|p| p.is_absolute());
        let home = self.home.as_ref().filter(|home| !home.is_empty());
        state_home
            .or_else(|| home.map(|home| Path::new(home).join(".local/state")))
            .map_or_else(|| dir.join(".rondalla"), |folder| folder.join("rondalla"))
    }
}

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Run a subcommand.
    Run(Box<Command>),
    /// Print this text to stdout and exit 0: help or the version.
    Print(String),
    /// Print this short usage to stderr and exit 2: no subcommand was given.
    Usage(String),
}

/// One subcommand of the program.
struct Subcommand {
    name: &'static str,
    about: &'static str,
    info: fn() -> CommandInfoWithArgs,
    read: fn(Rewritten, &Environment) -> Result<Command, Failure>,
    /// Options that are not in this version.
    later: &'static [&'static str],
}

const SUBCOMMANDS: [Subcommand; 11] = [
    Subcommand {
        name: "download",
        about: "download every SOURCE, until all are complete and verified",
        info: Transfer::get_args_info,
        read: |rewritten, environment| transfer(rewritten, environment).map(Command::Download),
        later: &later::TRANSFER,
    },
    Subcommand {
        name: "seed",
        about: "check and upload what is there, until a signal",
        info: Transfer::get_args_info,
        read: |rewritten, environment| transfer(rewritten, environment).map(Command::Seed),
        later: &later::TRANSFER,
    },
    Subcommand {
        name: "create",
        about: "make NAME.torrent from a file or folder and print its info-hash",
        info: Create::get_args_info,
        read: |rewritten, _| create(rewritten).map(Command::Create),
        later: &[],
    },
    Subcommand {
        name: "show",
        about: "print what a torrent or magnet link holds",
        info: Show::get_args_info,
        read: |rewritten, _| show(rewritten).map(Command::Show),
        later: &[],
    },
    Subcommand {
        name: "verify",
        about: "check data against a torrent: exit 0 if complete, 3 if not",
        info: Verify::get_args_info,
        read: |rewritten, _| verify(rewritten).map(Command::Verify),
        later: &[],
    },
    Subcommand {
        name: "magnet",
        about: "print the magnet link of a torrent",
        info: Magnet::get_args_info,
        read: |rewritten, _| magnet(rewritten).map(Command::Magnet),
        later: &[],
    },
    Subcommand {
        name: "node",
        about: "run a node of the Chord ring alone, until a signal",
        info: Node::get_args_info,
        read: |rewritten, environment| node(rewritten, environment).map(Command::Node),
        later: &[],
    },
    Subcommand {
        name: "lookup",
        about: "ask the Chord ring who shares a torrent, by its info-hash",
        info: Lookup::get_args_info,
        read: |rewritten, environment| lookup(rewritten, environment).map(Command::Lookup),
        later: &[],
    },
    Subcommand {
        name: "ring",
        about: "walk the Chord ring and print or draw its members",
        info: Ring::get_args_info,
        read: |rewritten, environment| ring(rewritten, environment).map(Command::Ring),
        later: &[],
    },
    Subcommand {
        name: "tracker",
        about: "run a tracker for HTTP and UDP, until a signal",
        info: Tracker::get_args_info,
        read: |rewritten, _| tracker(rewritten).map(Command::Tracker),
        later: &[],
    },
    Subcommand {
        name: "completions",
        about: "print completions for bash, zsh or fish",
        info: Completions::get_args_info,
        read: |rewritten, _| completions(rewritten).map(Command::Completions),
        later: &[],
    },
];

/// Each subcommand with its options, but for what is not in this version.
pub(super) fn subcommands() -> Vec<(&'static str, &'static str, Vec<FlagInfo<'static>>)> {
    let flags = |subcommand: &Subcommand| {
        let all = (subcommand.info)().flags.iter();
        all.filter(|flag| !flag.hidden && !subcommand.later.contains(&flag.long))
            .map(copy)
            .collect()
    };
    SUBCOMMANDS.iter().map(|sub| (sub.name, sub.about, flags(sub))).collect()
}

/// The flag without what its type does not let be copied, which is as it is for all.
fn copy(flag: &FlagInfo<'static>) -> FlagInfo<'static> {
    let kind = match flag.kind {
        FlagInfoKind::Switch => FlagInfoKind::Switch,
        FlagInfoKind::Option { arg_name } => FlagInfoKind::Option { arg_name },
    };
    let (long, short, description) = (flag.long, flag.short, flag.description);
    FlagInfo { kind, long, short, description, ..FlagInfo::default() }
}

/// Reads the arguments behind the program's own name.
///
/// # Errors
///
/// Bad usage, as one line that names the argument at fault.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
) -> Result<Invocation, Failure> {
    let mut arguments = arguments.into_iter();
    let Some(first) = arguments.next() else {
        return Ok(Invocation::Usage(help::usage(&SUBCOMMANDS)));
    };
    match first.to_str() {
        Some("-h" | "--help") => return Ok(Invocation::Print(help::overview(&SUBCOMMANDS))),
        Some("-V" | "--version") => {
            return Ok(Invocation::Print(
                concat!("rondalla ", env!("CARGO_PKG_VERSION"), "\n").into(),
            ));
        }
        _ => {}
    }
    let subcommand = subcommand(&first)?;
    match rewrite(&(subcommand.info)(), arguments)? {
        Some(rewritten) => {
            (subcommand.read)(rewritten, environment).map(Box::new).map(Invocation::Run)
        }
        None => Ok(Invocation::Print(help::of_subcommand(subcommand))),
    }
}

fn subcommand(name: &OsStr) -> Result<&'static Subcommand, Failure> {
    let name = shown(name);
    if let Some(found) = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name) {
        return Ok(found);
    }
    if name.starts_with('-') {
        return Err(Failure::usage(name, "options stand after the subcommand"));
    }
    let why = match nearest(&name, SUBCOMMANDS.iter().map(|subcommand| subcommand.name)) {
        Some(meant) => format!("there is no such subcommand; did you mean {meant}?"),
        None => "there is no such subcommand; 'rondalla --help' lists them".into(),
    };
    Err(Failure::usage(name, why))
}

fn transfer(rewritten: Rewritten, environment: &Environment) -> Result<TransferOptions, Failure> {
    let (given, mut shield): (Transfer, _) = read(rewritten)?;
    let dir = folder(given.dir.map(|dir| shield.take(dir)));
    let state = given.state.map(|state| shield.take(state).into());
    let options = TransferOptions {
        sources: given.sources.into_iter().map(|source| shield.take(source)).collect(),
        network: NetworkOptions {
            listen: given.listen,
            joins: given.join,
            dht_routers: given.dht_router,
            clock_rate: given.clock_rate,
            peers: given.peer,
            trackers: given.tracker,
            parts: Parts {
                chord: !given.no_chord,
                trackers: !given.no_trackers,
                pex: !given.no_pex,
                lan: !given.no_lan,
                dht: !given.no_dht,
                upload: !given.no_upload,
            },
            max_peers: given.max_peers,
            encryption: given.encryption,
        },
        state: state.unwrap_or_else(|| environment.state_folder(&dir)),
        dir,
        select: given.select,
        sequential: given.sequential,
        seed: given.seed || given.seed_ratio.is_some() || given.seed_time.is_some(),
        seed_ratio: given.seed_ratio,
        seed_time: given.seed_time,
        limit_down: given.limit_down,
        limit_up: given.limit_up,
        memory: given.memory,
        timeout: given.timeout,
        check: given.check,
        overwrite: given.overwrite,
        metadata_only: given.metadata_only,
        watch: given.watch.map(|watch| shield.take(watch).into()),
        on_done: given.on_done.map(|command| shield.take(command)),
        trace: given.trace.map(|trace| shield.take(trace).into()),
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    };
    if options.sources.is_empty() && options.watch.is_none() {
        return Err(rewrite::missing(&Transfer::get_args_info().positionals[0]));
    }
    Ok(options)
}

fn create(rewritten: Rewritten) -> Result<CreateOptions, Failure> {
    let (given, mut shield): (Create, _) = read(rewritten)?;
    Ok(CreateOptions {
        path: shield.take(given.path).into(),
        to: given.output.map(|output| shield.take(output).into()),
        overwrite: given.overwrite,
        piece_length: given.piece_length,
        trackers: given.tracker,
        web_seeds: given.web_seed,
        nodes: given.node,
        private: given.private,
        comment: given.comment,
        name: given.name.map(|name| shield.take(name)),
        source: given.source,
        excludes: given.exclude,
        follow: given.follow,
        no_date: given.no_date,
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

fn show(rewritten: Rewritten) -> Result<ShowOptions, Failure> {
    let (given, mut shield): (Show, _) = read(rewritten)?;
    Ok(ShowOptions {
        source: shield.take(given.source),
        scrape: given.scrape,
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

fn verify(rewritten: Rewritten) -> Result<VerifyOptions, Failure> {
    let (given, mut shield): (Verify, _) = read(rewritten)?;
    let options = VerifyOptions {
        torrent: shield.take(given.torrent),
        dir: folder(given.dir.map(|dir| shield.take(dir))),
        select: given.select,
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    };
    Ok(options)
}

fn magnet(rewritten: Rewritten) -> Result<MagnetOptions, Failure> {
    let (given, mut shield): (Magnet, _) = read(rewritten)?;
    Ok(MagnetOptions {
        torrent: shield.take(given.torrent),
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

fn completions(rewritten: Rewritten) -> Result<CompletionsOptions, Failure> {
    let (given, mut shield): (Completions, _) = read(rewritten)?;
    let shell = shield.take(given.shell);
    let parsed = shell.to_str().and_then(|shell| shell.parse().ok());
    Ok(CompletionsOptions {
        shell: parsed.ok_or_else(|| {
            let why = "no completions for this shell; write bash, zsh or fish";
            Failure::usage(shown(&shell), why)
        })?,
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

fn node(rewritten: Rewritten, environment: &Environment) -> Result<NodeOptions, Failure> {
    let (given, mut shield): (Node, _) = read(rewritten)?;
    Ok(NodeOptions {
        listen: given.listen,
        joins: given.join,
        clock_rate: given.clock_rate,
        peers: given.peer,
        trackers: given.tracker,
        parts: Parts {
            chord: !given.no_chord,
            trackers: !given.no_trackers,
            pex: !given.no_pex,
            lan: !given.no_lan,
            dht: !given.no_dht,
            upload: !given.no_upload,
        },
        max_peers: given.max_peers,
        state: state_folder(given.state.map(|state| shield.take(state)), environment),
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

fn lookup(rewritten: Rewritten, environment: &Environment) -> Result<LookupOptions, Failure> {
    let (given, mut shield): (Lookup, _) = read(rewritten)?;
    let state = state_folder(given.state.map(|state| shield.take(state)), environment);
    let text = shown(shield.take(given.info_hash));
    let info_hash = parse_info_hash(&text).ok_or_else(|| {
        Failure::usage(text, "it is no info-hash: write 40 hex or 32 base32 digits")
    })?;
    Ok(LookupOptions {
        info_hash,
        ask: AskOptions { joins: given.join, state, timeout: given.timeout },
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

fn ring(rewritten: Rewritten, environment: &Environment) -> Result<RingOptions, Failure> {
    let (given, mut shield): (Ring, _) = read(rewritten)?;
    let state = state_folder(given.state.map(|state| shield.take(state)), environment);
    Ok(RingOptions {
        svg: given.svg.map(|svg| shield.take(svg).into()),
        ask: AskOptions { joins: given.join, state, timeout: given.timeout },
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

fn tracker(rewritten: Rewritten) -> Result<TrackerOptions, Failure> {
    let (given, _): (Tracker, _) = read(rewritten)?;
    Ok(TrackerOptions {
        listen: given.listen,
        interval: given.interval.unwrap_or(limits::trackers::INTERVAL_TRACKED),
        output: OutputOptions { quiet: given.quiet, verbose: given.verbose, json: given.json },
    })
}

/// Where state is kept by a command that has no `--dir`.
fn state_folder(given: Option<OsString>, environment: &Environment) -> PathBuf {
    given.map_or_else(|| environment.state_folder(Path::new(".")), PathBuf::from)
}

fn folder(given: Option<OsString>) -> PathBuf {
    given.map_or_else(|| ".".into(), PathBuf::from)
}

/// Lets argh read the values.
fn read<T: FromArgs>(rewritten: Rewritten) -> Result<(T, Shield), Failure> {
    let arguments: Vec<&str> = rewritten.arguments.iter().map(String::as_str).collect();
    match T::from_args(&["rondalla"], &arguments) {
        Ok(given) => Ok((given, rewritten.shield)),
        Err(exit) => Err(failure_of(&exit, &arguments)),
    }
}

/// argh says `Error parsing option 'NAME' with value 'VALUE': WHY`, and anything may stand in a
/// value, so the sentence is searched for each pair of arguments that can have led to it.
fn failure_of(exit: &EarlyExit, arguments: &[&str]) -> Failure {
    let why = arguments.windows(2).find_map(|pair| {
        let (name, value) = (pair[0], pair[1]);
        let head = format!("Error parsing option '{name}' with value '{value}': ");
        Some((name, value, exit.output.strip_prefix(&head)?.trim_end()))
    });
    match why {
        Some((name, _, "duplicate values provided")) => Failure::usage(name, "given twice"),
        Some((name, value, why)) => Failure::usage(format!("{name} {value}"), why),
        None => Failure::usage("arguments", exit.output.trim_end()),
    }
}

#[cfg(test)]
mod tests;
