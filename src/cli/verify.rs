//! `rondalla verify`: checks data against a torrent.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crossbeam_channel::bounded;
use serde::Serialize;

use crate::actors::hasher::{Check, Checked};
use crate::cli::answer::{say, say_json};
use crate::cli::failure::{Exit, Failure, no_thread};
use crate::cli::options::VerifyOptions;
use crate::cli::progress::ProgressLine;
use crate::cli::source;
use crate::cli::terminal::{CLEAR, Terminal, escape};
use crate::formats::metainfo::Metainfo;
use crate::formats::path::shown;
use crate::words::bitfield::Bitfield;
use crate::words::id::PieceIndex;
use crate::words::limits;

#[derive(Serialize)]
struct Object {
    infohash: String,
    complete: bool,
    pieces: u32,
    good: u32,
    bad: Vec<u32>,
}

/// Prints what is right and what is not; the exit code says it too.
///
/// # Errors
/// If the torrent cannot be read, or `out` takes nothing.
pub fn run(
    options: &VerifyOptions,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    let metainfo = Arc::new(source::read_argument(&options.torrent)?);
    let what = || shown(&options.dir);
    let found = options.dir.metadata().map_err(|error| Failure::file(what(), &error))?;
    if !found.is_dir() {
        let why = "it is no folder; --dir names the folder that holds the data".to_owned();
        return Err(Failure { exit: Exit::FileSystem, what: what(), why });
    }
    let files = match &options.select {
        Some(selection) => selection.files_of(&metainfo),
        None => (0..metainfo.files().len()).collect(),
    };
    let asked = asked(options, &metainfo, &files)?;
    let good = check(options, &metainfo, asked.clone(), err)?;
    let bad: Vec<u32> =
        asked.iter().filter(|piece| !good.get(*piece)).map(|piece| piece.0).collect();
    let missing = missing_empty_file(options, &metainfo, &files);
    let complete = bad.is_empty() && missing.is_none();
    if options.output.json {
        let infohash = metainfo.info_hash().to_string();
        let (pieces, good) = (metainfo.pieces(), good.ones());
        say_json(out, &Object { infohash, complete, pieces, good, bad })?;
    } else if !options.output.quiet {
        let (name, pieces) = (escape(metainfo.name()), metainfo.pieces());
        let text = match (bad.len(), missing) {
            (1.., _) if !options.dir.join(metainfo.root()).exists() => {
                let dir = escape(&what());
                format!("{name}: it is not in {dir}; --dir names the folder that holds it\n")
            }
            (0, None) => format!("{name}: complete\n"),
            (0, Some(path)) => format!("{name}: the empty file {} is missing\n", escape(&path)),
            (n, _) => {
                format!("{name}: {n} of {pieces} pieces are missing or wrong: {}\n", ranges(&bad))
            }
        };
        say(out, &text)?;
    }
    Ok(if complete { ExitCode::SUCCESS } else { Exit::Incomplete.into() })
}

/// The pieces of the selected files, or all.
fn asked(
    options: &VerifyOptions,
    metainfo: &Metainfo,
    files: &BTreeSet<usize>,
) -> Result<Bitfield, Failure> {
    if files.is_empty() && options.select.is_some() {
        let why = format!("{} has no such file; see rondalla show", metainfo.name());
        return Err(Failure::usage("--select", why));
    }
    let selected = metainfo.pieces_of_files(files);
    let mut asked = Bitfield::zeros(metainfo.pieces());
    let all = options.select.is_none();
    let pieces = (0..metainfo.pieces()).map(PieceIndex);
    for piece in pieces.filter(|piece| all || selected.get(*piece)) {
        asked.set(piece);
    }
    Ok(asked)
}

/// Hashes what is asked for, on all cores.
fn check(
    options: &VerifyOptions,
    metainfo: &Arc<Metainfo>,
    asked: Bitfield,
    err: &mut dyn Write,
) -> Result<Bitfield, Failure> {
    let terminal = Terminal::of_stderr();
    let show = terminal.redraws && !options.output.quiet;
    let (sender, results) = bounded::<Checked>(limits::HASHERS_MAX);
    let threads = Check::new(Arc::clone(metainfo), &options.dir, asked)
        .start(&move |checked| {
            #[expect(clippy::disallowed_methods, reason = "a hasher may wait for whoever asked")]
            sender.send(checked).is_ok()
        })
        .map_err(|error| no_thread("hasher", &error))?;
    let mut good = Bitfield::zeros(metainfo.pieces());
    let mut done = 0;
    for checked in results {
        checked.good.pieces().for_each(|piece| {
            good.set(piece);
        });
        done += checked.len;
        if show {
            // A terminal that is gone leaves the result to speak.
            line(metainfo, done).draw(&terminal.measured(), err).ok();
        }
    }
    if show {
        write!(err, "{CLEAR}").and_then(|()| err.flush()).ok();
    }
    for thread in threads {
        thread.join().map_err(|_panic| Failure {
            exit: Exit::Failure,
            what: "hasher".to_owned(),
            why: "it failed".to_owned(),
        })?;
    }
    Ok(good)
}

fn line(metainfo: &Metainfo, done: u64) -> ProgressLine<'_> {
    let (name, size) = (metainfo.name(), metainfo.len());
    ProgressLine { name, done, size, traffic: None }
}

/// An empty file has no piece that could miss it.
fn missing_empty_file(
    options: &VerifyOptions,
    metainfo: &Metainfo,
    files: &BTreeSet<usize>,
) -> Option<String> {
    let missing = |path: &std::path::Path| !options.dir.join(path).is_file();
    let selected = files.iter().map(|file| &metainfo.files()[*file]);
    let mut empty = selected.filter(|file| file.len == 0 && !file.pad);
    empty.find(|file| missing(&file.path)).map(|file| shown(&file.path))
}

/// Numbers as people write them: `0-3, 7`.
fn ranges(numbers: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &n in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => ranges.push((n, n)),
        }
    }
    let range = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_joined_into_ranges() {
        for (numbers, wanted) in
            [(&[][..], ""), (&[4], "4"), (&[0, 1, 2, 7], "0-2, 7"), (&[1, 3, 4], "1, 3-4")]
        {
            assert_eq!(ranges(numbers), wanted);
        }
    }
}
