//! A download that is ended at any moment, again and again, and started again with the same
//! command. After each end its files and its resume file are looked at from outside.

use std::fs;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rondalla::formats::metainfo::Metainfo;
use rondalla::formats::resume::{FileMark, Resume, Timestamp, trusted};
use rondalla::words::bitfield::Bitfield;
use rondalla::words::id::PieceIndex;
use serde_json::Value;
use sha1::{Digest as _, Sha1};

use super::{MIB, Seeded, between, noise, pause, setting, write_odd_files};
use crate::support::{Noise, Running, wait_until};

/// The memory budget of the downloads: what is open at once, and so is lost at a kill.
const MEMORY: u64 = 2 * MIB;

/// Longest life of a process in milliseconds.
const LIFE_MAX: u64 = 900;

const FILES: u64 = 300;

const SIGTERM: i32 = 15;

/// How a process is ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Terminate,
}

/// The files and the state of the download, looked at while nobody works on them.
struct Look {
    /// The resume file, if there is one.
    resume: Option<Resume>,
    /// The pieces that the next process believes without hashing.
    trusted: Bitfield,
    /// The pieces that are right.
    right: Bitfield,
}

/// `KILLS` (100 in full, 8 by default) of a download of `MIB` (250 in full, 96 by default).
#[test]
#[ignore = "needs a minute, and 600 MB of disk"]
fn after_a_kill_at_any_moment_nothing_bad_is_believed_and_nothing_good_is_lost() {
    end_again_and_again(End::Kill, setting("KILLS", 8));
}

/// `STOPS` (30 in full, 5 by default) of a download of `MIB`.
#[test]
#[ignore = "needs a minute, and 600 MB of disk"]
fn after_a_signal_at_any_moment_nothing_is_hashed_or_fetched_again() {
    end_again_and_again(End::Terminate, setting("STOPS", 5));
}

fn end_again_and_again(end: End, ends: u64) {
    let (mut noise, size) = (noise(), setting("MIB", 96) * MIB);
    let make = |path: &Path| write_odd_files(path, FILES, size, &mut noise);
    let seeded = Seeded::new(make, "256K", &[]);
    let size = seeded.metainfo.len();
    // So slow that a whole download takes about half of the lives.
    let slow = (size / (ends * LIFE_MAX / 4_000).max(1)).to_string();
    let memory = MEMORY.to_string();
    let (mut ended, mut rounds, mut alone) = (0, 0, 0);
    let mut known = Bitfield::zeros(seeded.metainfo.pieces());
    while ended < ends {
        // One in six is as fast as it can be, and meets syncs of 64 MiB.
        let limit = if noise.number().is_multiple_of(6) { "0" } else { &slow };
        let options = ["-v", "--memory", &memory, "--limit-down", limit];
        let mut download = seeded.download("copy", &[], &options);
        let done = end_at_random(&mut download, end, &mut noise);
        let look = look(&seeded);
        assert_stands(&download, &known, &look);
        if end == End::Terminate {
            assert_saved(&look);
            let hashed = download.events().iter().any(|event| event["event"] == "checking");
            assert!(!hashed, "something was hashed");
        }
        known = look.right;
        if done {
            (rounds, alone) = (rounds + 1, alone + 1);
            begin_again(&seeded, &mut known);
        } else {
            ended += 1;
        }
    }
    let mut download = seeded.download("copy", &[], &["-v", "--memory", &memory]);
    assert!(download.wait_for_exit().success(), "{}", download.stderr());
    let look = look(&seeded);
    assert_stands(&download, &known, &look);
    assert_saved(&look);
    seeded.assert_is_at("copy");

    let wanted = (rounds + 1) * size;
    let uploaded = uploaded(&seeded.seeder, wanted);
    println!(
        "{ends} ends in {} downloads of {size} bytes: {} bytes were fetched again, {} an end",
        rounds + 1,
        uploaded - wanted,
        (uploaded - wanted) / ends,
    );
    assert!(uploaded <= wanted + ends * MEMORY, "more is lost than what was open");
}

/// Gives a process some time, then ends it; whether it was done before.
fn end_at_random(download: &mut Running, end: End, noise: &mut Noise) -> bool {
    pause(Duration::from_millis(between(noise, 0..LIFE_MAX)));
    if !download.is_running() {
        assert!(download.wait_for_exit().success(), "{}", download.stderr());
        return true;
    }
    let status = match end {
        End::Kill => download.kill(),
        End::Terminate => download.terminate(),
    };
    if status.success() {
        return true;
    }
    if end == End::Terminate {
        // Before it listens, it does not listen to signals either.
        let early = download.events().is_empty() && status.signal() == Some(SIGTERM);
        assert!(early || status.code() == Some(7), "{status}: {}", download.stderr());
    }
    false
}

/// Empties the download's folder and state, for another download.
fn begin_again(seeded: &Seeded, known: &mut Bitfield) {
    seeded.assert_is_at("copy");
    fs::remove_dir_all(seeded.scratch.path("copy")).unwrap();
    fs::remove_dir_all(seeded.scratch.path("copy.state")).unwrap();
    *known = Bitfield::zeros(known.len());
}

/// Asserts what holds after a process that began with the right pieces `known`.
fn assert_stands(download: &Running, known: &Bitfield, look: &Look) {
    let is_right = |piece: &PieceIndex| look.right.get(*piece);
    assert!(look.trusted.iter().all(|piece| is_right(&piece)), "a bad piece is believed");
    assert!(known.iter().all(|piece| is_right(&piece)), "a piece was right and is no more");
    let events = download.events();
    if let Some(checked) = events.iter().find(|event| event["event"] == "checked") {
        assert_eq!(checked["good"], known.ones(), "it found other pieces than are there");
    }
    let told = events.iter().filter(|event| event["event"] == "piece");
    let index = |event: &Value| u32::try_from(event["index"].as_u64().unwrap()).unwrap();
    let mut told = told.map(|event| PieceIndex(index(event)));
    assert!(told.all(|piece| is_right(&piece)), "a piece was told that is not there");
}

/// Asserts what holds after a process that ended well.
fn assert_saved(look: &Look) {
    assert!(look.resume.as_ref().is_none_or(|resume| resume.clean), "the state is not saved");
    assert_eq!(look.trusted.ones(), look.right.ones(), "something is hashed the next time");
}

fn look(seeded: &Seeded) -> Look {
    let (metainfo, dir) = (&seeded.metainfo, seeded.scratch.path("copy"));
    let resume = resume_file(&seeded.scratch.path("copy.state")).map(|path| {
        let bytes = fs::read(&path).unwrap();
        Resume::parse(&bytes, metainfo.pieces(), metainfo.files().len()).unwrap()
    });
    let marks: Vec<_> = metainfo.files().iter().map(|file| mark(&dir.join(&file.path))).collect();
    let none = || Bitfield::zeros(metainfo.pieces());
    let trusted = resume.as_ref().map_or_else(none, |resume| trusted(resume, &marks, metainfo));
    let mut right = none();
    for piece in (0..metainfo.pieces()).map(PieceIndex) {
        if read(metainfo, &dir, piece)
            .is_some_and(|data| <[u8; 20]>::from(Sha1::digest(&data)) == metainfo.piece_hash(piece))
        {
            right.set(piece);
        }
    }
    Look { resume, trusted, right }
}

fn resume_file(state: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(state).ok()?.map(|entry| entry.unwrap().path());
    let mut resumes: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "resume")).collect();
    assert!(resumes.len() <= 1, "{resumes:?}");
    resumes.pop()
}

fn mark(path: &Path) -> Option<FileMark> {
    let found = fs::metadata(path).ok()?;
    let nanos = u32::try_from(found.mtime_nsec()).expect("below 10^9");
    let modified = Timestamp { secs: found.mtime(), nanos };
    Some(FileMark { len: found.len(), modified, inode: found.ino() })
}

/// The bytes of a piece, if its files reach so far.
fn read(metainfo: &Metainfo, dir: &Path, piece: PieceIndex) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    let len = u64::from(metainfo.piece_len(piece));
    for stretch in metainfo.stretches(metainfo.piece_offset(piece), len) {
        let file = fs::File::open(dir.join(&metainfo.files()[stretch.file].path)).ok()?;
        let mut part = vec![0; usize::try_from(stretch.len).expect("at most a piece")];
        file.read_exact_at(&mut part, stretch.offset).ok()?;
        data.append(&mut part);
    }
    Some(data)
}

/// What the seeder has uploaded, once it tells of at least `wanted` bytes and uploads no more.
fn uploaded(seeder: &Running, wanted: u64) -> u64 {
    let mut before = None;
    let told = wait_until(|| {
        pause(Duration::from_millis(1_500));
        let events = seeder.events();
        let last = events.iter().rfind(|event| event["event"] == "progress")?;
        let now = last["uploaded"].as_u64();
        let rests = std::mem::replace(&mut before, now) == now;
        now.filter(|bytes| rests && *bytes >= wanted)
    });
    told.expect("a seeder tells its progress")
}
