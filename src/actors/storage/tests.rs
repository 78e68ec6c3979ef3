//! The storage thread on a real folder: orders go in, news come out, and files are compared.
//!
//! The torrent is a folder of four files, one of them empty; its pieces have two blocks:
//!
//! ```text
//! files    0000000000000000000000001111122222222222222222222222      3: nothing
//! pieces   0       1       2       3       4       5       6, of 100 bytes
//! ```

#[cfg(test)]
mod faults;
#[cfg(test)]
mod power;
#[cfg(test)]
mod stalls;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::actors::scratch::Scratch;
use crate::bus::TroubleKind;
use crate::formats::metainfo::Metainfo;
use crate::machines::made_up;
use crate::words::bitfield::SharedBitfield;
use crate::words::id::PieceIndex;
use crate::words::limits::BLOCK_LEN;

const PIECE_LEN: u32 = 2 * BLOCK_LEN;
const PIECES: u32 = 7;
const LENS: [u64; 4] = [100_000, 20_000, 76_708, 0];
const MEMORY: u64 = 1 << 20;

fn data() -> Vec<u8> {
    made_up::data((6 * PIECE_LEN + 100) as usize)
}

fn torrent() -> Metainfo {
    made_up::folder_of("t", PIECE_LEN, &LENS, &data())
}

/// A storage thread with one torrent, and main's end of it.
struct Disk {
    storage: StorageHandle,
    news: Receiver<Notification>,
    context: Arc<TorrentContext>,
}

/// What is told until a torrent is open, or refused.
#[derive(Debug, PartialEq)]
struct Opened {
    /// The right pieces, as a picture.
    found: String,
    /// Bytes that were looked at.
    checked: u64,
    /// The file at fault and what is wrong with it.
    refused: Option<(String, String)>,
}

impl Opened {
    fn of(found: &str, checked: u64) -> Self {
        Self { found: found.to_owned(), checked, refused: None }
    }
}

fn place(scratch: &Scratch) -> Place {
    let (dir, state) = (scratch.path().join("d"), scratch.path().join("s"));
    Place { dir, state, check: false, overwrite: false, read_only: false }
}

/// The four files, one after the other; what is missing is empty.
fn on_disk(scratch: &Scratch) -> Vec<u8> {
    (0..LENS.len()).flat_map(|file| fs::read(path(scratch, file)).unwrap_or_default()).collect()
}

fn path(scratch: &Scratch, file: usize) -> PathBuf {
    scratch.path().join("d/t").join(file.to_string())
}

/// Writes all four files, with `data` as their content.
fn lay_down(scratch: &Scratch, data: &[u8]) {
    fs::create_dir_all(scratch.path().join("d/t")).unwrap();
    let mut rest = data;
    for (file, len) in LENS.iter().enumerate() {
        let (content, after) = rest.split_at(usize::try_from(*len).unwrap());
        fs::write(path(scratch, file), content).unwrap();
        rest = after;
    }
}

impl Disk {
    fn start(memory: u64) -> Self {
        let (sender, news) = bounded(1024);
        let files = Arc::new(FileStore::new(4));
        let storage = StorageHandle::start(memory, files, Arc::default(), sender).unwrap();
        let (_, context) = TorrentContext::new(torrent(), SharedBitfield::ones(PIECES));
        Self { storage, news, context }
    }

    fn order(&self, order: ToStorage) {
        self.storage.tasks.try_send((made_up::torrent_key(0), order)).unwrap();
    }

    /// The next news, which must come.
    fn next(&self) -> StorageNews {
        // Long enough for any machine; nothing waits for it unless something is wrong.
        let late: Instant = now() + Duration::from_secs(30);
        match self.news.recv_deadline(late).unwrap() {
            Notification::Storage(torrent, news) if torrent == made_up::torrent_key(0) => news,
            other @ (Notification::Peer(..)
            | Notification::Accepted { .. }
            | Notification::Storage(..)
            | Notification::Warning(_)
            | Notification::Clerk(..)
            | Notification::Chord(_)
            | Notification::Mainline(_)
            | Notification::Lan(_)
            | Notification::Entries(..)
            | Notification::Tracker(_)
            | Notification::Command(_)) => panic!("{other:?}"),
        }
    }

    fn open(&self, place: Place) -> Opened {
        self.order(ToStorage::Open { context: Arc::clone(&self.context), place });
        let (mut found, mut checked) = (vec!['.'; PIECES as usize], 0);
        let refused = loop {
            match self.next() {
                StorageNews::Found(word) => {
                    word.pieces().for_each(|piece| found[piece.slot()] = '#');
                }
                StorageNews::Checking(done) => checked = done.max(checked),
                StorageNews::Opened => break None,
                StorageNews::Failed(trouble) => {
                    assert_eq!(trouble.kind, TroubleKind::FileSystem);
                    break Some((trouble.what, trouble.why));
                }
                other @ (StorageNews::Verified(_)
                | StorageNews::Unwanted(_)
                | StorageNews::InOrder
                | StorageNews::Guilty(..)
                | StorageNews::Settled
                | StorageNews::Written(_)
                | StorageNews::Forgotten(_)
                | StorageNews::Corrupt(_)
                | StorageNews::Warned(_)
                | StorageNews::Closed) => panic!("{other:?}"),
            }
        };
        Opened { found: found.into_iter().collect(), checked, refused }
    }

    /// Stores a block of `data`.
    fn store(&self, piece: u32, n: u32, data: &[u8]) {
        let block = self.context.metainfo.block(PieceIndex(piece), n);
        let at = self.context.metainfo.piece_offset(PieceIndex(piece)) + u64::from(block.offset);
        let at = usize::try_from(at).unwrap();
        self.order(ToStorage::Store(block, data[at..at + block.len as usize].to_vec()));
    }

    /// Stores the blocks of these pieces, the last one first: what is told of the pieces.
    fn store_all(&self, pieces: impl IntoIterator<Item = u32>, data: &[u8]) -> String {
        let mut told = Vec::new();
        for piece in pieces {
            let blocks = self.context.metainfo.blocks(PieceIndex(piece));
            (0..blocks).rev().for_each(|n| self.store(piece, n, data));
            told.push(self.told());
        }
        told.join(", ")
    }

    /// The next news of a piece.
    fn told(&self) -> String {
        format!("{:?}", self.next())
            .replace("PieceIndex", "")
            .replace(['(', ')'], " ")
            .trim()
            .into()
    }

    fn close(&self) {
        self.order(ToStorage::Close);
        let news = self.next();
        assert!(matches!(news, StorageNews::Closed), "{news:?}");
    }
}

/// A folder into which all was downloaded, and the state was saved.
fn complete() -> Scratch {
    let scratch = Scratch::new();
    let disk = Disk::start(MEMORY);
    disk.open(place(&scratch));
    disk.store_all(0..PIECES, &data());
    disk.close();
    scratch
}

#[test]
fn whole_pieces_are_verified_and_written() {
    let scratch = Scratch::new();
    let disk = Disk::start(MEMORY);
    assert_eq!(disk.open(place(&scratch)), Opened::of(".......", 0));
    assert!(path(&scratch, 3).exists(), "an empty file has no pieces to wait for");
    for piece in [3, 0, 6, 1, 2, 5, 4] {
        let told = disk.store_all([piece], &data());
        assert_eq!(told, format!("Verified  {piece}"));
    }
    disk.close();
    assert!(on_disk(&scratch) == data());
}

#[test]
fn a_corrupt_piece_is_not_written_and_can_be_stored_again() {
    let scratch = Scratch::new();
    let disk = Disk::start(MEMORY);
    disk.open(place(&scratch));
    let mut wrong = data();
    wrong[5] ^= 1;
    assert_eq!(disk.store_all([0], &wrong), "Corrupt  0");
    assert!(!path(&scratch, 0).exists(), "only verified pieces reach their files");
    let guilty = "Guilty  0 , Word { first:  0 , bits: 1 }";
    assert_eq!(disk.store_all([0], &data()), guilty, "the first block has changed");
    assert_eq!(disk.told(), "Verified  0");
    assert!(on_disk(&scratch)[..PIECE_LEN as usize] == data()[..PIECE_LEN as usize]);
}

#[test]
fn what_is_forgotten_is_gathered_anew() {
    let scratch = Scratch::new();
    let disk = Disk::start(MEMORY);
    disk.open(place(&scratch));
    let wrong = vec![0; data().len()];
    disk.store(0, 0, &wrong);
    disk.order(ToStorage::Forget(PieceIndex(0)));
    assert_eq!(disk.told(), "Forgotten  0");
    assert_eq!(disk.store_all([0], &data()), "Verified  0");
    // A block that comes twice counts once.
    disk.store(1, 0, &data());
    disk.store(1, 0, &wrong);
    disk.store(1, 1, &data());
    assert_eq!(disk.told(), "Verified  1");
}

#[test]
fn a_piece_larger_than_the_budget_is_written_in_place() {
    let scratch = Scratch::new();
    let disk = Disk::start(u64::from(BLOCK_LEN));
    disk.open(place(&scratch));
    let mut wrong = data();
    wrong[100_000] ^= 1;
    disk.store(3, 1, &wrong);
    disk.store(3, 0, &wrong);
    assert_eq!(disk.told(), "Written  3");
    assert_eq!(disk.told(), "Corrupt  3", "it is read back to be hashed");
    assert!(on_disk(&scratch).len() > 100_000, "and was in its files before");
    for piece in 0..PIECES {
        let blocks = disk.context.metainfo.blocks(PieceIndex(piece));
        (0..blocks).for_each(|n| disk.store(piece, n, &data()));
        // The last block makes the piece whole.
        (1..blocks).for_each(|_| assert_eq!(disk.told(), format!("Written  {piece}")));
        if piece == 3 {
            let guilty = "Guilty  3 , Word { first:  0 , bits: 1 }";
            assert_eq!(disk.told(), guilty, "the blocks are compared as they were on the disk");
        }
        assert_eq!(disk.told(), format!("Verified  {piece}"));
    }
    disk.close();
    assert!(on_disk(&scratch) == data());
}

#[test]
fn after_a_clean_close_nothing_is_hashed() {
    let scratch = complete();
    assert_eq!(Disk::start(MEMORY).open(place(&scratch)), Opened::of("#######", 0));
    // Unless the user asks for it, or a file has changed; then its pieces only.
    let all = data().len() as u64;
    let scratch = complete();
    let check = Place { check: true, ..place(&scratch) };
    assert_eq!(Disk::start(MEMORY).open(check), Opened::of("#######", all));
    let scratch = complete();
    let mut changed = fs::read(path(&scratch, 1)).unwrap();
    changed[10_000] ^= 1;
    changed.push(0);
    fs::write(path(&scratch, 1), changed).unwrap();
    let opened = Disk::start(MEMORY).open(place(&scratch));
    assert_eq!(opened.found, "###.###", "{opened:?}");
    assert!(opened.checked > 0);
}

#[test]
fn a_download_is_resumed_where_it_ended() {
    let scratch = Scratch::new();
    let disk = Disk::start(MEMORY);
    disk.open(place(&scratch));
    disk.store_all([1, 4], &data());
    disk.store(2, 0, &data());
    disk.close();
    drop(disk);
    let disk = Disk::start(MEMORY);
    assert_eq!(disk.open(place(&scratch)), Opened::of(".#..#..", 0));
    disk.store_all([0, 2, 3, 5, 6], &data());
    disk.close();
    assert!(on_disk(&scratch) == data());
}

#[test]
fn a_storage_that_is_dropped_saves_its_state() {
    let scratch = Scratch::new();
    let disk = Disk::start(MEMORY);
    disk.open(place(&scratch));
    disk.store_all([1, 4], &data());
    drop(disk);
    assert_eq!(Disk::start(MEMORY).open(place(&scratch)), Opened::of(".#..#..", 0));
}

#[test]
fn what_is_already_there_is_checked() {
    let all = data().len() as u64;
    // Bytes that are wrong, and the pieces that are found right.
    let table: [(&[usize], &str); 4] = [
        (&[], "#######"),
        (&[0], ".######"),
        (&[70_000, 196_700], "##.###."),
        (&[40_000, 150_000], "#.##.##"),
    ];
    for (wrong, found) in table {
        let scratch = Scratch::new();
        let mut there = data();
        wrong.iter().for_each(|at| there[*at] ^= 1);
        lay_down(&scratch, &there);
        assert_eq!(Disk::start(MEMORY).open(place(&scratch)), Opened::of(found, all));
        assert!(on_disk(&scratch) == there, "a check changes nothing");
    }
}

#[test]
fn somebody_elses_file_is_refused_unless_told_otherwise() {
    let strange = [b"not ours".repeat(20_000), b"short".to_vec()];
    for content in strange {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path().join("d/t")).unwrap();
        fs::write(path(&scratch, 0), &content).unwrap();
        let disk = Disk::start(MEMORY);
        let (what, why) = disk.open(place(&scratch)).refused.unwrap();
        assert_eq!(what, path(&scratch, 0).display().to_string());
        assert!(why.contains("--overwrite"), "{why}");
        // Whatever is stored now is dropped.
        disk.store(0, 0, &data());
        disk.store(0, 1, &data());
        disk.close();
        assert!(fs::read(path(&scratch, 0)).unwrap() == content, "it is untouched");

        let disk = Disk::start(MEMORY);
        let overwrite = Place { overwrite: true, ..place(&scratch) };
        assert_eq!(disk.open(overwrite).refused, None);
        disk.store_all(0..PIECES, &data());
        disk.close();
        let len = usize::try_from(LENS[0]).unwrap();
        assert!(fs::read(path(&scratch, 0)).unwrap()[..len] == data()[..len]);
        if content.len() > len {
            assert!(fs::read(path(&scratch, 0)).unwrap().len() == content.len(), "nothing is cut");
        }
    }
}

#[test]
fn a_seed_makes_no_files() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path().join("d")).unwrap();
    let read_only = Place { read_only: true, ..place(&scratch) };
    let disk = Disk::start(MEMORY);
    assert_eq!(disk.open(read_only), Opened::of(".......", 0));
    disk.close();
    assert_eq!(fs::read_dir(scratch.path().join("d")).unwrap().count(), 0);
}

/// Their locks stand in two folders, so it is the data that is locked, until it is complete.
#[test]
fn two_downloads_with_two_states_see_each_other() {
    let scratch = Scratch::new();
    let first = Disk::start(MEMORY);
    first.open(place(&scratch));
    first.store_all([0], &data());
    let elsewhere = || Place { state: scratch.path().join("s2"), ..place(&scratch) };
    let second = Disk::start(MEMORY);
    let (_, why) = second.open(elsewhere()).refused.unwrap();
    assert!(why.contains("another rondalla process"), "{why}");
    second.close();
    let reader = Disk::start(MEMORY);
    assert_eq!(reader.open(Place { read_only: true, ..elsewhere() }).refused, None);
    reader.close();
    first.store_all(1..PIECES, &data());
    first.order(ToStorage::Settle);
    assert!(matches!(first.next(), StorageNews::Settled));
    assert_eq!(Disk::start(MEMORY).open(elsewhere()).refused, None);
}

#[test]
fn a_torrent_is_open_once() {
    let scratch = Scratch::new();
    let first = Disk::start(MEMORY);
    first.open(place(&scratch));
    let second = Disk::start(MEMORY);
    assert!(second.open(place(&scratch)).refused.is_some(), "another storage has it");
    second.close();
    first.close();
    assert_eq!(Disk::start(MEMORY).open(place(&scratch)).refused, None);
}
