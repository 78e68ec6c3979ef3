//! The memory that pieces may take until they are written, over all torrents.
//!
//! A torrent that finds no room for a piece waits in a queue, and as long as somebody is before it
//! no other takes what is given back: a large piece would never find room beside small ones.

use std::collections::{BTreeSet, VecDeque};

use crate::words::id::{PeerKey, TorrentKey};
use crate::words::limits::BLOCK_LEN;

/// The bytes that open pieces may still reserve, over all torrents.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    size: u64,
    /// The torrents that found no room, each once, and for which of their peers.
    waiting: VecDeque<(TorrentKey, PeerKey)>,
    queued: BTreeSet<TorrentKey>,
    /// The first of them has tried again.
    tried: bool,
}

impl Budget {
    /// `size` bytes, none reserved.
    pub fn new(size: u64) -> Self {
        let (waiting, queued) = (VecDeque::new(), BTreeSet::new());
        Self { left: size, size, waiting, queued, tried: false }
    }

    /// Reserves room for `blocks`, each as if it had its whole length, so that the budget bounds
    /// their number too. A piece that is larger than the whole budget is written in place, block by
    /// block, and takes all of it.
    pub(super) fn reserve(&mut self, blocks: u32, torrent: TorrentKey, peer: PeerKey) -> bool {
        let share = self.share(blocks);
        let is_first = self.waiting.front().map(|(first, _)| *first == torrent);
        self.tried |= is_first == Some(true);
        if is_first != Some(false) && self.left >= share {
            self.left -= share;
            self.leave_queue(is_first.is_some());
            return true;
        }
        if self.queued.insert(torrent) {
            self.waiting.push_back((torrent, peer));
        }
        false
    }

    /// The peer for which the first torrent in the queue found no room: it is to try again, and then
    /// [`handle_tried`](Self::handle_tried) is told.
    pub fn first_waiting(&mut self) -> Option<PeerKey> {
        self.tried = false;
        self.waiting.front().map(|(_, peer)| *peer)
    }

    /// The first in the queue was given its chance. If it did not take it, it is the next one's
    /// turn. Whether it still waits.
    pub fn handle_tried(&mut self) -> bool {
        self.leave_queue(!self.tried);
        self.tried && !self.waiting.is_empty()
    }

    /// The torrents that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn leave_queue(&mut self, leaves: bool) {
        if leaves && let Some((first, _)) = self.waiting.pop_front() {
            self.queued.remove(&first);
        }
    }

    pub(super) fn release(&mut self, blocks: u32) {
        self.left += self.share(blocks);
    }

    fn share(&self, blocks: u32) -> u64 {
        share(blocks, self.size)
    }

    /// How many blocks of a piece of `len` bytes may be asked for and not written. Those of a piece
    /// that is gathered in memory are all reserved.
    pub(super) fn unwritten_max(&self, len: u32) -> u32 {
        if u64::from(len) <= self.size {
            return u32::MAX;
        }
        u32::try_from(self.size / u64::from(BLOCK_LEN)).unwrap_or(u32::MAX).max(1)
    }

    /// Bytes that are reserved.
    pub fn reserved(&self) -> u64 {
        self.size - self.left
    }
}

/// What `blocks` take of a budget of `size`.
pub(super) fn share(blocks: u32, size: u64) -> u64 {
    (u64::from(blocks) * u64::from(BLOCK_LEN)).min(size)
}
