//! `rondalla create`: makes a torrent from a file or folder.
//!
//! `walk` finds the files, `hash` reads them, `save` writes the torrent; what a torrent looks like
//! is the matter of [`Draft`].

mod hash;
mod save;
mod walk;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::cli::answer::{say, say_json, written};
use crate::cli::failure::{Exit, Failure};
use crate::cli::options::{CreateOptions, OutputOptions};
use crate::cli::progress::ProgressLine;
use crate::cli::terminal::{CLEAR, Terminal, escape};
use crate::formats::magnet::Magnet;
use crate::formats::metainfo::{Draft, DraftFile, File, Metainfo, piece_length_for};
use crate::formats::path::{System, safe_name, shown};
use crate::words::address::{Address, Host};
use crate::words::limits::TORRENT_LEN_MAX;
use save::Destination;
use walk::{Entry, Rules, Tree};

const CREATED_BY: &str = concat!("rondalla/", env!("CARGO_PKG_VERSION"));

#[derive(Serialize)]
struct Object<'a> {
    infohash: String,
    path: &'a str,
    size: u64,
    pieces: u32,
    piece_length: u32,
    magnet: String,
}

/// Makes the torrent and prints its info-hash to `out`; to `err` if the torrent itself goes there.
///
/// # Errors
/// If a file cannot be read or changes meanwhile, the torrent cannot be written, or exists.
pub fn run(
    options: &CreateOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), Failure> {
    let name = torrent_name(options)?;
    let to = Destination::of(options, &name)?;
    let rules = Rules { excludes: &options.excludes, follow: options.follow, output: to.path() };
    let tree = walk::walk(&options.path, &rules)?;
    let mut console = Console { err, output: options.output };
    tree.warnings.iter().for_each(|(what, why)| console.warn(what, why));

    let size = tree.size();
    let piece_length = options.piece_length.unwrap_or_else(|| piece_length_for(size));
    check_pieces(size, piece_length)?;
    let mut draft = draft(options, &name, &tree, piece_length);
    check_names(options, &name, &tree, &read_again(options, &draft.encode())?)?;
    draft.hashes = console.with_progress(&shown(&name), |progress| {
        hash::hash(&tree.entries, piece_length, progress)
    })?;
    walk::check_unchanged(&tree.entries)?;

    let bytes = draft.encode();
    let torrent = read_again(options, &bytes)?;
    match &to {
        Destination::Stdout => written(out.write_all(&bytes).and_then(|()| out.flush()))?,
        Destination::File(path) => save::save(path, &bytes)?,
    }
    let answer = match to {
        Destination::Stdout => console.err,
        Destination::File(_) => out,
    };
    report(&torrent, &to, options.output, answer)
}

/// The name of the file or folder, or the one that was asked for.
fn torrent_name(options: &CreateOptions) -> Result<OsString, Failure> {
    if let Some(name) = &options.name {
        let bytes = name.as_encoded_bytes();
        if matches!(bytes, b"" | b"." | b"..") || bytes.contains(&b'/') || bytes.contains(&0) {
            return Err(Failure::usage("--name", "write a name without slashes, not . or .."));
        }
        return Ok(name.clone());
    }
    if let Some(name) = options.path.file_name() {
        return Ok(name.to_owned());
    }
    let what = shown(&options.path);
    let whole = options.path.canonicalize().map_err(|error| Failure::file(&what, &error))?;
    let name = whole.file_name().map(OsStr::to_owned);
    name.ok_or_else(|| Failure::usage(what, "has no name; give the torrent one with --name"))
}

fn check_pieces(size: u64, piece_length: u32) -> Result<(), Failure> {
    // The hashes may fill the torrent but for the names of the files.
    if size.div_ceil(piece_length.into()) * 20 < TORRENT_LEN_MAX as u64 {
        return Ok(());
    }
    Err(Failure::usage("--piece-length", "too many pieces for a torrent; take longer ones"))
}

/// The torrent before its data is read: its hashes are zeros.
fn draft(options: &CreateOptions, name: &OsStr, tree: &Tree, piece_length: u32) -> Draft {
    let file = |entry: &Entry| DraftFile { path: entry.path.clone(), len: entry.len };
    let pieces = tree.size().div_ceil(piece_length.into());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Draft {
        name: name.as_encoded_bytes().to_vec(),
        piece_length,
        files: tree.entries.iter().map(file).collect(),
        hashes: vec![0; usize::try_from(pieces * 20).expect("so many pieces were refused")],
        private: options.private,
        source: options.source.clone(),
        trackers: options.trackers.clone(),
        web_seeds: options.web_seeds.clone(),
        chord_nodes: options.nodes.iter().map(node).collect(),
        comment: options.comment.clone(),
        created_by: Some(CREATED_BY.to_owned()),
        creation_date: (!options.no_date).then_some(now),
        ..Draft::default()
    }
}

fn node(address: &Address) -> (String, u16) {
    let host = match &address.host {
        Host::Any => String::new(),
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    };
    (host, address.port)
}

/// What the torrent is to everybody else.
///
/// # Errors
/// If the files make no torrent that could be read again: too many, or paths too long.
fn read_again(options: &CreateOptions, bytes: &[u8]) -> Result<Metainfo, Failure> {
    Metainfo::parse(bytes).map_err(|error| {
        let why = format!("the torrent would be of no use: {error}");
        Failure { exit: Exit::Failure, what: shown(&options.path), why }
    })
}

/// Whether the files are found again under the names that are read in the torrent. Names with
/// control characters in them, and where names are text also those that are not UTF-8, are changed
/// by all who download, by each in its own way: a torrent of them would be of different files to
/// each, and its maker could not seed it.
///
/// # Errors
/// If a name is read as another one.
fn check_names(
    options: &CreateOptions,
    name: &OsStr,
    tree: &Tree,
    torrent: &Metainfo,
) -> Result<(), Failure> {
    if torrent.root() != Path::new(name) {
        let why = format!("this name cannot be kept; it would become {}", torrent.name());
        if options.name.is_some() {
            return Err(Failure::usage("--name", why));
        }
        return Err(walk::refused(&options.path, &(why + "; rename it")));
    }
    let is_changed = |(entry, file): &(&Entry, &File)| {
        let own = file.path.iter().skip(usize::from(!torrent.is_single_file()));
        let wanted = entry.path.iter().map(Vec::as_slice);
        !torrent.is_single_file() && !own.map(OsStr::as_encoded_bytes).eq(wanted)
    };
    let mut changed = tree.entries.iter().zip(torrent.files()).filter(is_changed);
    let Some((entry, file)) = changed.next() else { return Ok(()) };
    let others = match changed.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let becomes = if file.pad {
        "be taken for padding".to_owned()
    } else {
        format!("become {}", shown(&file.path))
    };
    let why = format!(
        "its name cannot be kept{others}; it would {becomes}; rename it, or leave it out with \
         --exclude"
    );
    Err(walk::refused(&entry.disk, &why))
}

/// Says what was made. The info-hash is data, so `-q` keeps it, unless it went to stderr.
fn report(
    torrent: &Metainfo,
    to: &Destination,
    output: OutputOptions,
    answer: &mut dyn Write,
) -> Result<(), Failure> {
    let info_hash = torrent.info_hash().to_string();
    if output.json {
        let object = Object {
            infohash: info_hash,
            path: &to.path().map_or_else(|| "-".to_owned(), shown),
            size: torrent.size(),
            pieces: torrent.pieces(),
            piece_length: torrent.piece_length(),
            magnet: Magnet::of(torrent).to_string(),
        };
        return say_json(answer, &object);
    }
    if output.quiet && to.path().is_none() {
        return Ok(());
    }
    say(answer, &(info_hash + "\n"))
}

/// What is said beside the result. An stderr that takes nothing is no reason to stop.
struct Console<'a> {
    err: &'a mut dyn Write,
    output: OutputOptions,
}

impl Console<'_> {
    fn warn(&mut self, what: &str, why: &str) {
        if !self.output.quiet {
            writeln!(self.err, "rondalla: warning: {}: {}", escape(what), escape(why)).ok();
        }
    }

    /// Runs `work` with a callback for bytes done and bytes in all.
    fn with_progress<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> T,
    ) -> T {
        let terminal = Terminal::of_stderr();
        if self.output.quiet || !terminal.redraws {
            return work(&mut |_, _| {});
        }
        let name = format!("hashing {name}");
        let mut last = None;
        let result = work(&mut |done, size| {
            let percent = (u128::from(done) * 100).checked_div(size.into());
            if percent != last {
                last = percent;
                let line = ProgressLine { name: &name, done, size, traffic: None };
                line.draw(&terminal.measured(), self.err).ok();
            }
        });
        write!(self.err, "{CLEAR}").ok();
        result
    }
}

/// The name of the `.torrent` file for a torrent of this name.
fn file_name(name: &OsStr) -> PathBuf {
    let mut whole = name.to_owned();
    whole.push(".torrent");
    match safe_name(whole.as_encoded_bytes(), System::HERE) {
        Ok(Some(safe)) => safe.into(),
        Ok(None) | Err(_) => whole.into(),
    }
}
