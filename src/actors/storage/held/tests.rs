//! What a torrent that was opened before is found to be when it is opened again.

use std::fs;
use std::path::PathBuf;

use sha1::{Digest, Sha1};

use super::*;
use crate::actors::scratch::Scratch;
use crate::actors::storage::syncer;
use crate::formats::metainfo::{Draft, DraftFile};
use crate::words::bitfield::SharedBitfield;
use crate::words::id::Key;

const TORRENT: TorrentKey = TorrentKey(Key { index: 0, generation: 0 });

// Files:   t/a: aaaa   t/b: bbbb
// Pieces:  0           1
fn torrent() -> Metainfo {
    let file = |name: &str| DraftFile { path: vec![name.as_bytes().to_vec()], len: 4 };
    let draft = Draft {
        name: b"t".to_vec(),
        piece_length: 4,
        files: vec![file("a"), file("b")],
        hashes: [Sha1::digest(b"aaaa"), Sha1::digest(b"bbbb")].concat(),
        ..Draft::default()
    };
    Metainfo::parse(&draft.encode()).unwrap()
}

/// A session's look at `t/a` and `t/b`: the files are made, the torrent is opened.
struct Looking {
    opening: Opening,
    files: FileStore,
}

fn look(scratch: &Scratch) -> Looking {
    let place = Place {
        dir: scratch.path().to_owned(),
        state: scratch.path().join("state"),
        check: false,
        overwrite: false,
        read_only: false,
    };
    let (_, context) = TorrentContext::new(torrent(), SharedBitfield::ones(2));
    let files = FileStore::new(4);
    files.add(TORRENT, Arc::clone(&context.metainfo), PathBuf::from(scratch.path()), true);
    Looking { opening: Held::open(files.disk(), &context, place).unwrap(), files }
}

fn write(scratch: &Scratch, a: &str, b: &str) {
    fs::create_dir_all(scratch.path().join("t")).unwrap();
    fs::write(scratch.path().join("t/a"), a).unwrap();
    fs::write(scratch.path().join("t/b"), b).unwrap();
}

const BOUNDS: Bounds = Bounds { memory: 0, sync_every: limits::SYNC_EVERY, sync_len: 0 };

fn close(held: &mut Held, files: &FileStore) {
    if held.end(End::Close) {
        let job = held.next_job(TORRENT, now(), &BOUNDS).unwrap();
        assert!(job.clean);
        syncer::carry_out(&job, files).unwrap();
        assert_eq!(held.handle_synced(true), Some(End::Close));
    }
}

#[test]
fn who_ends_in_the_middle_of_a_check_checks_again() {
    let scratch = Scratch::new();
    write(&scratch, "aaaa", "bbbb");
    for _ in 0..2 {
        let Looking { opening: Opening { mut held, to_check, .. }, files } = look(&scratch);
        assert_eq!(to_check.ones(), 2);
        close(&mut held, &files);
    }
}

#[test]
fn a_file_that_was_refused_once_is_refused_again() {
    let scratch = Scratch::new();
    write(&scratch, "aaaa", "mine");
    for _ in 0..2 {
        let Looking { opening: Opening { mut held, to_check, .. }, files } = look(&scratch);
        assert_eq!(to_check.ones(), 2);
        let mut good = Bitfield::zeros(2);
        good.set(PieceIndex(0));
        held.handle_checked(&good);
        assert_eq!(held.begin(TORRENT, &files).unwrap_err().kind, TroubleKind::FileSystem);
        held.give_up();
        assert_eq!(held.sync_at(&BOUNDS), None, "nobody waits for what is never synced");
        close(&mut held, &files);
    }
}

#[test]
fn what_was_checked_is_known_the_next_time() {
    let scratch = Scratch::new();
    write(&scratch, "aaaa", "bxbb");
    let Looking { opening: Opening { mut held, to_check, .. }, files } = look(&scratch);
    assert_eq!(to_check.ones(), 2);
    let mut good = Bitfield::zeros(2);
    good.set(PieceIndex(0));
    held.handle_checked(&good);
    held.strangers.clear();
    held.begin(TORRENT, &files).unwrap();
    close(&mut held, &files);
    drop(held);
    let Opening { trusted, to_check, .. } = look(&scratch).opening;
    assert_eq!((trusted.iter().collect::<Vec<_>>(), to_check.ones()), (vec![PieceIndex(0)], 0));
}
