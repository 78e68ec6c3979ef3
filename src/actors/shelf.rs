//! The buffers of blocks that were written, for blocks to come.
//!
//! A block has a buffer of its own from the socket to the disk. Made anew for each, it would be
//! filled with zeros first, and given back to the system and faulted in again page by page.

use parking_lot::Mutex;

use crate::words::limits::BLOCK_LEN;

/// Buffers of [`BLOCK_LEN`] bytes, whatever is in them.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    buffers: Mutex<Vec<Vec<u8>>>,
    most: usize,
}

impl Shelf {
    /// A shelf for as many blocks as fit into `memory` bytes.
    pub(crate) fn new(memory: u64) -> Self {
        let most = usize::try_from(memory / u64::from(BLOCK_LEN)).unwrap_or(usize::MAX);
        Self { buffers: Mutex::default(), most }
    }

    /// The buffer that was given back last, since the processor still has it at hand.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        self.buffers.lock().pop()
    }

    /// Keeps those that are whole buffers, as far as there is room.
    pub(crate) fn give_back(&self, buffers: impl IntoIterator<Item = Vec<u8>>) {
        let whole = |buffer: &Vec<u8>| buffer.len() == BLOCK_LEN as usize;
        let mut kept = self.buffers.lock();
        let room = self.most.saturating_sub(kept.len());
        kept.extend(buffers.into_iter().filter(whole).take(room));
    }

    /// Gives all of them back to the system.
    pub(crate) fn clear(&self) {
        let buffers = std::mem::take(&mut *self.buffers.lock());
        drop(buffers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_buffers_are_kept_as_far_as_the_budget_goes_and_the_last_is_taken_first() {
        let shelf = Shelf::new(3 * u64::from(BLOCK_LEN) + 5);
        assert_eq!(shelf.take(), None);
        let buffer = |first| [vec![first], vec![0; BLOCK_LEN as usize - 1]].concat();
        shelf.give_back([buffer(1), vec![9; 100], Vec::new(), buffer(2)]);
        shelf.give_back([buffer(3), buffer(4)]);
        let taken = || shelf.take().map(|buffer| buffer[0]);
        assert_eq!([taken(), taken(), taken(), taken()], [Some(3), Some(2), Some(1), None]);
        shelf.give_back([buffer(5)]);
        shelf.clear();
        assert_eq!(shelf.take(), None);
    }
}
