//! Hashing what is already on the disk: by the hasher threads of a session, and by `verify`.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{Builder, JoinHandle};

use sha1::{Digest, Sha1};

use crate::actors::disk::{Disk, DiskFile, How, SystemDisk, open_regular};
use crate::formats::metainfo::Metainfo;
use crate::words::bitfield::{Bitfield, WORD_BITS, Word};
use crate::words::id::PieceIndex;
use crate::words::limits;

/// A check of all pieces that are asked for: several threads take the next portion each.
#[derive(Debug)]
pub(crate) struct Check {
    disk: Arc<dyn Disk>,
    metainfo: Arc<Metainfo>,
    dir: std::path::PathBuf,
    /// The pieces to look at.
    asked: Bitfield,
    next: AtomicU32,
    stopped: AtomicBool,
}

/// What a portion of a check has found.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The right ones of its pieces.
    pub(crate) good: Word,
    /// Bytes that it covers.
    pub(crate) len: u64,
}

impl Check {
    /// Checks the `asked` pieces of a torrent whose data is below `dir`.
    pub(crate) fn new(metainfo: Arc<Metainfo>, dir: &Path, asked: Bitfield) -> Arc<Self> {
        Self::on(Arc::new(SystemDisk), metainfo, dir, asked)
    }

    /// The same, on this disk.
    pub(crate) fn on(
        disk: Arc<dyn Disk>,
        metainfo: Arc<Metainfo>,
        dir: &Path,
        asked: Bitfield,
    ) -> Arc<Self> {
        let (next, stopped) = (AtomicU32::new(0), AtomicBool::new(false));
        Arc::new(Self { disk, metainfo, dir: dir.to_owned(), asked, next, stopped })
    }

    /// Starts as many threads as this machine has cores, but not more than there are portions.
    /// Each calls `found` for each portion and ends early when that says `false`.
    pub(crate) fn start(
        self: &Arc<Self>,
        found: &(impl Fn(Checked) -> bool + Clone + Send + 'static),
    ) -> io::Result<Vec<JoinHandle<()>>> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let portions = self.metainfo.pieces().div_ceil(self.portion()) as usize;
        let count = cores.min(portions).clamp(1, limits::HASHERS_MAX);
        let mut threads = Vec::new();
        for n in 0..count {
            let (check, found) = (Arc::clone(self), found.clone());
            let builder =
                Builder::new().name(format!("hasher-{n}")).stack_size(limits::stacks::HASHER);
            match builder.spawn(move || check.work(&found)) {
                Ok(thread) => threads.push(thread),
                // One is enough.
                Err(error) if threads.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(threads)
    }

    /// Ends the threads within what is read at once.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Pieces of one portion: a power of two, so that a portion lies within a word.
    fn portion(&self) -> u32 {
        let pieces = limits::PORTION_LEN / self.metainfo.piece_length().max(1);
        pieces.clamp(1, WORD_BITS).next_power_of_two()
    }

    fn work(&self, found: &impl Fn(Checked) -> bool) {
        let mut reader = Reader::new(&*self.disk, &self.metainfo, &self.dir, &self.stopped);
        let (portion, pieces) = (self.portion(), self.metainfo.pieces());
        loop {
            let first = self.next.fetch_add(portion, Ordering::Relaxed);
            if first >= pieces {
                return;
            }
            let base = first / WORD_BITS * WORD_BITS;
            let mut checked = Checked { good: Word { first: PieceIndex(base), bits: 0 }, len: 0 };
            for piece in (first..pieces.min(first + portion)).map(PieceIndex) {
                checked.len += u64::from(self.metainfo.piece_len(piece));
                if self.asked.get(piece) && reader.is_right(piece) {
                    checked.good.bits |= 1 << (piece.0 - base);
                }
            }
            if self.stopped.load(Ordering::Relaxed) || !found(checked) {
                return;
            }
        }
    }
}

/// Whether `piece` of a torrent whose data is below `dir` is there and has the right hash.
pub(crate) fn is_right(
    disk: &dyn Disk,
    metainfo: &Metainfo,
    dir: &Path,
    piece: PieceIndex,
) -> bool {
    Reader::new(disk, metainfo, dir, &AtomicBool::new(false)).is_right(piece)
}

/// The SHA-1 of each block of `piece` as it is on the disk; of none that cannot be read, and of none
/// behind it.
pub(crate) fn block_hashes(
    disk: &dyn Disk,
    metainfo: &Metainfo,
    dir: &Path,
    piece: PieceIndex,
) -> Vec<[u8; 20]> {
    let never = AtomicBool::new(false);
    let mut reader = Reader::new(disk, metainfo, dir, &never);
    let begin = metainfo.piece_offset(piece);
    let blocks = (0..metainfo.blocks(piece)).map(|n| metainfo.block(piece, n));
    blocks.map_while(|block| reader.hash(begin + u64::from(block.offset), block.len)).collect()
}

/// Reads pieces from the disk, with one file open at a time.
struct Reader<'a> {
    disk: &'a dyn Disk,
    metainfo: &'a Metainfo,
    dir: &'a Path,
    /// Whether what is read is of use to anybody.
    stopped: &'a AtomicBool,
    open: Option<(usize, Option<Arc<dyn DiskFile>>)>,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(
        disk: &'a dyn Disk,
        metainfo: &'a Metainfo,
        dir: &'a Path,
        stopped: &'a AtomicBool,
    ) -> Self {
        Self { disk, metainfo, dir, stopped, open: None, buffer: vec![0; limits::HASH_READ_LEN] }
    }

    /// Whether `piece` is on the disk and has the right hash. What cannot be read is not.
    fn is_right(&mut self, piece: PieceIndex) -> bool {
        let hash = self.hash(self.metainfo.piece_offset(piece), self.metainfo.piece_len(piece));
        hash == Some(self.metainfo.piece_hash(piece))
    }

    /// The SHA-1 of `len` bytes of the torrent at `offset`, if they can be read.
    fn hash(&mut self, offset: u64, len: u32) -> Option<[u8; 20]> {
        let mut hash = Sha1::new();
        for stretch in self.metainfo.stretches(offset, len.into()) {
            let (mut offset, end) = (stretch.offset, stretch.offset + stretch.len);
            while offset < end {
                let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
                let part = left.min(self.buffer.len());
                let is_stopped = self.stopped.load(Ordering::Relaxed);
                if is_stopped || !self.read(stretch.file, offset, part) {
                    return None;
                }
                hash.update(&self.buffer[..part]);
                offset += part as u64;
            }
        }
        Some(hash.finalize().into())
    }

    /// Reads the first `len` bytes of the buffer; `false` if they are not there.
    fn read(&mut self, file: usize, offset: u64, len: usize) -> bool {
        let entry = &self.metainfo.files()[file];
        if entry.pad {
            self.buffer[..len].fill(0);
            return true;
        }
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            let path = self.dir.join(&entry.path);
            self.open = Some((file, open_regular(self.disk, &path, How::Read).ok()));
        }
        match &self.open {
            Some((_, Some(open))) => open.read_at(&mut self.buffer[..len], offset).is_ok(),
            Some((_, None)) | None => false,
        }
    }
}
