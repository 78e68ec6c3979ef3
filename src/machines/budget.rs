//! The memory that pieces may take until they are written, over all torrents.

use crate::words::limits::BLOCK_LEN;

/// The bytes that open pieces may still reserve, over all torrents.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    size: u64,
}

impl Budget {
    /// `size` bytes, none reserved.
    pub fn new(size: u64) -> Self {
        Self { left: size, size }
    }

    /// Reserves room for `blocks`, each as if it had its whole length, so that the budget bounds
    /// their number too. A piece that is larger than the whole budget is written in place, block by
    /// block, and takes all of it.
    pub(super) fn reserve(&mut self, blocks: u32) -> bool {
        let share = self.share(blocks);
        let enough = self.left >= share;
        if enough {
            self.left -= share;
        }
        enough
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
