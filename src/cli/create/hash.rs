//! The hashes of all pieces, by several threads.
//!
//! Each thread takes the next piece that nobody has, so that together they read the files from
//! the first byte to the last, whatever the length of a piece, with one small buffer each.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use sha1::{Digest, Sha1};

use super::walk::{Entry, refused};
use crate::cli::failure::Failure;
use crate::formats::path::shown;
use crate::words::id::PieceIndex;
use crate::words::limits::{HASH_READ_LEN, HASHERS_MAX};

/// A piece and its hash.
type Hashed = Result<(PieceIndex, [u8; 20]), Failure>;

/// The SHA-1 of each piece, one after the other. `progress` hears of the bytes done and of all.
///
/// # Errors
/// If a file cannot be read, or is shorter than it was when it was found.
pub(super) fn hash(
    entries: &[Entry],
    piece_length: u32,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<u8>, Failure> {
    let plan = Plan::new(entries, piece_length);
    let mut hashes = vec![[0; 20]; PieceIndex(plan.pieces).slot()];
    thread::scope(|scope| {
        let hashed = plan.start_hashers(scope)?;
        let mut done = 0;
        // An early end drops the receiver, and the hashers then end too.
        for _ in 0..plan.pieces {
            let (piece, hash) = hashed.recv().expect("hashers send all pieces or an error")?;
            hashes[piece.slot()] = hash;
            done += plan.piece_len(piece);
            progress(done, plan.size);
        }
        Ok::<(), Failure>(())
    })?;
    Ok(hashes.concat())
}

/// What the hashers share.
struct Plan<'a> {
    entries: &'a [Entry],
    piece_length: u64,
    pieces: u32,
    size: u64,
    next: AtomicU32,
}

impl<'a> Plan<'a> {
    fn new(entries: &'a [Entry], piece_length: u32) -> Self {
        let size = entries.last().map_or(0, |entry| entry.offset + entry.len);
        let piece_length = u64::from(piece_length);
        let pieces = size.div_ceil(piece_length);
        let pieces = u32::try_from(pieces).expect("a torrent of so many pieces was refused");
        Self { entries, piece_length, pieces, size, next: AtomicU32::new(0) }
    }

    fn start(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * self.piece_length
    }

    fn piece_len(&self, piece: PieceIndex) -> u64 {
        (self.size - self.start(piece)).min(self.piece_length)
    }

    /// Starts a hasher for each core; fewer where the system allows no more.
    fn start_hashers<'scope>(
        &'scope self,
        scope: &'scope thread::Scope<'scope, '_>,
    ) -> Result<Receiver<Hashed>, Failure> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let hashers = cores.min(HASHERS_MAX).min(PieceIndex(self.pieces).slot());
        let (sender, receiver) = bounded(2 * hashers);
        for n in 0..hashers {
            let sender = sender.clone();
            let builder = thread::Builder::new().name(format!("hasher-{n}"));
            match builder.spawn_scoped(scope, move || self.hash_pieces(&sender)) {
                Ok(_) => {}
                Err(error) if n == 0 => return Err(Failure::file("a thread to hash", &error)),
                Err(_) => break,
            }
        }
        Ok(receiver)
    }

    /// Hashes pieces until none is left, one fails or nobody listens.
    fn hash_pieces(&self, sender: &Sender<Hashed>) {
        let mut reader = Reader::new(self.entries);
        loop {
            let piece = PieceIndex(self.next.fetch_add(1, Ordering::Relaxed));
            if piece.0 >= self.pieces {
                return;
            }
            let hash = reader.hash(self.start(piece), self.piece_len(piece));
            let failed = hash.is_err();
            #[expect(clippy::disallowed_methods, reason = "a hasher may wait for who listens")]
            let sent = sender.send(hash.map(|hash| (piece, hash)));
            if failed || sent.is_err() {
                return;
            }
        }
    }
}

/// Reads the files as if they were one, and keeps the last one open.
struct Reader<'a> {
    entries: &'a [Entry],
    open: Option<(usize, File)>,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(entries: &'a [Entry]) -> Self {
        Self { entries, open: None, buffer: vec![0; HASH_READ_LEN] }
    }

    /// The SHA-1 of `len` bytes from `start` on.
    fn hash(&mut self, start: u64, len: u64) -> Result<[u8; 20], Failure> {
        let end = start + len;
        let mut sha1 = Sha1::new();
        let first = self.entries.partition_point(|entry| entry.offset + entry.len <= start);
        for (n, entry) in self.entries.iter().enumerate().skip(first) {
            if entry.offset >= end {
                break;
            }
            let from = start.max(entry.offset);
            let to = end.min(entry.offset + entry.len);
            if from < to {
                self.feed(n, from - entry.offset, to - from, &mut sha1)?;
            }
        }
        Ok(sha1.finalize().into())
    }

    fn feed(&mut self, n: usize, offset: u64, len: u64, sha1: &mut Sha1) -> Result<(), Failure> {
        let entry = &self.entries[n];
        let unreadable = |error| Failure::file(shown(&entry.disk), &error);
        let mut file = match self.open.take() {
            Some((open, file)) if open == n => file,
            _ => File::open(&entry.disk).map_err(unreadable)?,
        };
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        let mut left = len;
        while left > 0 {
            let room = usize::try_from(left).map_or(HASH_READ_LEN, |left| left.min(HASH_READ_LEN));
            match file.read(&mut self.buffer[..room]) {
                Ok(0) => return Err(refused(&entry.disk, "became shorter while it was read")),
                Ok(read) => {
                    sha1.update(&self.buffer[..read]);
                    left -= read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        self.open = Some((n, file));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::cli::failure::Exit;

    use super::super::walk::{Rules, check_unchanged, walk};
    use super::*;

    /// A file of so many zeros, found and then changed.
    fn changed(len: usize, change: impl FnOnce(&std::path::Path)) -> (Vec<Entry>, Failure) {
        let name = format!("rondalla-hash-{}-{len}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, vec![0; len]).unwrap();
        let rules = Rules { excludes: &[], follow: false, output: None };
        let tree = walk(&path, &rules).unwrap();
        check_unchanged(&tree.entries).unwrap();
        change(&path);
        let hashed = hash(&tree.entries, 16384, &mut |_, _| {});
        let failure = hashed.and_then(|_| check_unchanged(&tree.entries)).unwrap_err();
        fs::remove_file(&path).ok();
        (tree.entries, failure)
    }

    #[test]
    fn files_that_change_meanwhile_are_named() {
        let cases = [
            changed(100_000, |path| fs::write(path, vec![0; 50_000]).unwrap()),
            changed(100_001, |path| fs::write(path, vec![0; 100_002]).unwrap()),
            changed(100_003, |path| fs::remove_file(path).unwrap()),
        ];
        let whys: Vec<&str> = cases.iter().map(|(_, failure)| failure.why.as_str()).collect();
        assert_eq!(whys[0], "became shorter while it was read");
        assert_eq!(whys[1], "changed while it was read; try again");
        for (entries, failure) in &cases {
            assert_eq!(failure.exit, Exit::FileSystem);
            assert_eq!(failure.what, entries[0].disk.to_str().unwrap());
        }
    }

    #[test]
    fn progress_reaches_the_end() {
        let path = std::env::temp_dir().join(format!("rondalla-hash-{}", std::process::id()));
        fs::write(&path, vec![7; 100_000]).unwrap();
        let tree = walk(&path, &Rules { excludes: &[], follow: false, output: None }).unwrap();
        let mut seen = Vec::new();
        let hashes = hash(&tree.entries, 16384, &mut |done, size| seen.push((done, size))).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!((seen.len(), seen[6]), (7, (100_000, 100_000)));
        assert_eq!(hashes[6 * 20..], Sha1::digest([7; 100_000 - 6 * 16384])[..]);
    }
}
