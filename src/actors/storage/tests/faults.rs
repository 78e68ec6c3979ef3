//! The storage on a disk that refuses, and in a folder where others are at work: that torrent's
//! writing ends with one sentence, what is there is read on, and the same orders resume it.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else is told is a failure")]

use std::path::Path;

use parking_lot::Mutex;

use super::power::{PIECES, Process, bytes, claimed, right};
use super::*;
use crate::actors::disk::fake::{Deed, FakeDisk, Outcome, Step};
use crate::actors::disk::{Disk as _, How, write_all_at};
use crate::actors::files::Access;
use crate::words::rng::Rng;

/// The first file of the torrent, and the one where its fifth piece ends.
const FIRST: &str = "/home/d/t/a";
const NEW: &str = "/home/d/t/new/b";

fn bounds(sync_len: u64) -> Bounds {
    Bounds { memory: MEMORY, sync_every: limits::SYNC_EVERY, sync_len }
}

/// A disk that refuses this deed, once.
fn refuse_once(disk: &FakeDisk, deed: Deed, kind: io::ErrorKind) {
    let refused = Mutex::new(false);
    disk.intercept(move |done, path| {
        let is_due = done == deed && path.starts_with("/home/d/t");
        // The folder itself is opened to be locked, which need not be possible.
        let is_due = is_due && !path.ends_with("t");
        if is_due && !mem::replace(&mut *refused.lock(), true) {
            return Err(kind.into());
        }
        Ok(())
    });
}

/// A download of ten pieces that fails in the middle, as `spoil` has it; the file and the reason.
fn failed(disk: &FakeDisk, sync_len: u64, spoil: impl FnOnce(&FakeDisk)) -> Trouble {
    let process = Process::start(disk, bounds(sync_len));
    process.open().unwrap();
    process.download([0, 1]);
    process.let_it_look_twice();
    spoil(disk);
    (2..PIECES).for_each(|piece| process.store(piece));
    let trouble = loop {
        match process.next() {
            StorageNews::Verified(_) => {}
            StorageNews::Failed(trouble) => break trouble,
            other => panic!("{other:?}"),
        }
    };
    // Nothing more is written, or told; the channel is emptied all the same.
    process.store(9);
    process.let_it_look_twice();
    // What peers were promised is still read.
    let file = process.files.open(made_up::torrent_key(0), 0, Access::Read);
    if disk.stat(Path::new(FIRST)).is_ok() {
        let mut read = [0; 1000];
        file.unwrap().read_at(&mut read, 0).unwrap();
        assert!(read == bytes()[..1000]);
    }
    process.order(ToStorage::Close);
    loop {
        match process.next() {
            // A state that has no room either: what is there is hashed the next time.
            StorageNews::Warned(warning) => {
                assert_eq!(trouble.kind, TroubleKind::NoSpace, "{warning}");
            }
            StorageNews::Closed => return trouble,
            other => panic!("{other:?}"),
        }
    }
}

/// The same orders again: what was there is found, and the rest is downloaded.
fn resume(disk: &FakeDisk, found_min: usize) {
    let process = Process::start(disk, bounds(limits::SYNC_LEN));
    let found = process.open().unwrap();
    assert!(found.is_subset(&right(disk)), "{found:?}");
    assert!(found.len() >= found_min, "{found:?}");
    process.download((0..PIECES).filter(|piece| !found.contains(piece)));
    process.close();
    assert_eq!(right(disk).len(), PIECES as usize);
    assert_eq!(claimed(disk).len(), PIECES as usize);
}

#[test]
fn a_full_disk_ends_the_writing_and_is_resumed_when_there_is_room() {
    for room in [0, 1, 40_000, 100_000] {
        let disk = FakeDisk::new();
        let trouble = failed(&disk, limits::SYNC_LEN, |disk| disk.set_room(room));
        assert_eq!(trouble.kind, TroubleKind::NoSpace, "{trouble:?}");
        assert!(trouble.why.contains("make room, and the same command resumes"), "{trouble:?}");
        disk.make_room();
        resume(&disk, 2);
    }
}

#[test]
fn a_disk_that_fails_ends_the_writing() {
    for deed in [Deed::Write, Deed::Open] {
        let disk = FakeDisk::new();
        let trouble = failed(&disk, limits::SYNC_LEN, |disk| {
            refuse_once(disk, deed, io::ErrorKind::PermissionDenied);
        });
        assert_eq!(trouble.kind, TroubleKind::FileSystem);
        assert!(trouble.what.starts_with("/home/d/t"), "{trouble:?}");
        disk.intercept_nothing();
        resume(&disk, 2);
    }
}

/// After a failed sync a second one succeeds, and what the first has lost is gone.
#[test]
fn after_a_failed_sync_nothing_more_is_claimed() {
    let disk = FakeDisk::new();
    let trouble = failed(&disk, 1, |disk| refuse_once(disk, Deed::Sync, io::ErrorKind::Other));
    assert_eq!(trouble.kind, TroubleKind::FileSystem);
    let claimed = claimed(&disk);
    assert!(claimed.len() < PIECES as usize, "{claimed:?}");
    let after = disk.cut(Outcome::Nothing, &mut Rng::new(1));
    assert!(claimed.is_subset(&right(&after)), "{claimed:?}");
    resume(&after, claimed.len());
}

#[test]
fn a_file_that_vanishes_is_not_made_again_in_silence() {
    // It is noticed at the next sync, or when it is opened again.
    for sync_len in [1, limits::SYNC_LEN] {
        let disk = FakeDisk::new();
        let trouble = failed(&disk, sync_len, |disk| {
            disk.remove(Path::new(FIRST)).unwrap();
            let files = [FIRST, NEW].map(Path::new);
            files.into_iter().for_each(|file| drop(disk.remove(file)));
            // One that is opened on the way has no place for those in the cache.
            refuse_once(disk, Deed::Rename, io::ErrorKind::Other);
        });
        assert_eq!(trouble.kind, TroubleKind::FileSystem, "{trouble:?}");
        disk.intercept_nothing();
        resume(&disk, 0);
    }
}

#[test]
fn a_file_that_somebody_else_puts_there_meanwhile_is_left_alone() {
    let disk = FakeDisk::new();
    let path = Path::new("/home/d/t/z");
    let trouble = failed(&disk, limits::SYNC_LEN, |disk| {
        let file = disk.open(path, How::Make).unwrap();
        write_all_at(&*file, &mut [io::IoSlice::new(b"mine")], 0).unwrap();
    });
    assert_eq!((trouble.kind, trouble.what), (TroubleKind::FileSystem, "/home/d/t/z".to_owned()));
    assert!(trouble.why.contains("--overwrite"), "{}", trouble.why);
    assert_eq!(disk.read(path), b"mine");
    disk.remove(path).unwrap();
    resume(&disk, 2);
}

#[test]
fn a_file_longer_than_the_process_may_write_is_refused() {
    let disk = FakeDisk::new();
    let trouble = failed(&disk, limits::SYNC_LEN, |disk| disk.set_file_len_max(100_000));
    assert!(trouble.why.contains("ulimit -f"), "{trouble:?}");
    disk.set_file_len_max(u64::MAX);
    resume(&disk, 2);
}

#[test]
fn without_holes_files_grow_and_pieces_are_asked_for_in_their_order() {
    let disk = FakeDisk::new();
    disk.has_no_holes();
    let process = Process::start(&disk, bounds(limits::SYNC_LEN));
    process.open_with(&["InOrder"]).unwrap();
    process.download([1, 0, 2, 9, 5, 4, 3, 6, 7, 8]);
    process.close();
    assert_eq!(right(&disk).len(), PIECES as usize);
    assert!(!disk.journal().iter().any(|step| matches!(step, Step::SetLen(..))));
    // What is complete has nothing to ask for.
    Process::start(&disk, bounds(limits::SYNC_LEN)).open().unwrap();
}

#[test]
fn a_lack_of_room_is_told_before_the_download() {
    let disk = FakeDisk::new();
    disk.set_room(200_000);
    let warning = Process::start(&disk, bounds(limits::SYNC_LEN)).open().unwrap_err();
    assert_eq!(
        warning,
        "/home/d: 1 MiB are needed and 0 MiB are free; make room, or the download stops when the \
         disk is full"
    );
    // What is there already needs no more room.
    disk.make_room();
    let process = Process::start(&disk, bounds(limits::SYNC_LEN));
    process.open().unwrap();
    process.download(0..5);
    process.close();
    disk.set_room(200_000);
    assert_eq!(Process::start(&disk, bounds(limits::SYNC_LEN)).open().unwrap().len(), 5);
}
