//! The have log: the verified pieces of one torrent, in the order in which they were verified.
//!
//! To tell any number of peers about a piece is one append. Every subscriber reads at its own
//! pace from a cursor of its own: a new peer's BITFIELD is the log up to the cursor with which its
//! HAVEs begin, so the two fit together without a lock. A piece is verified once, so the log never
//! outgrows the number of pieces, and no entry is ever overwritten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::words::id::PieceIndex;

/// The log itself: entries below `len` are whole and never change.
#[derive(Debug)]
pub struct HaveLog {
    entries: Box<[AtomicU32]>,
    len: AtomicU32,
}

/// The only one that appends: not `Clone`, so there is one writer.
#[derive(Debug)]
pub struct Publisher(Arc<HaveLog>);

/// A reader with its own cursor; as an iterator it yields what is new since its last look.
#[derive(Debug)]
pub struct Subscription {
    log: Arc<HaveLog>,
    cursor: u32,
}

impl HaveLog {
    /// An empty log for a torrent of `pieces` pieces, and its one publisher.
    pub fn new(pieces: u32) -> (Publisher, Arc<Self>) {
        let entries = (0..pieces).map(|_| AtomicU32::new(0)).collect();
        let log = Arc::new(Self { entries, len: AtomicU32::new(0) });
        (Publisher(Arc::clone(&log)), log)
    }

    /// The number of verified pieces.
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether no piece is verified yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every piece is verified.
    pub fn is_full(&self) -> bool {
        self.len() as usize == self.entries.len()
    }

    /// A reader that begins at the first entry.
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        Subscription { log: Arc::clone(self), cursor: 0 }
    }
}

impl Publisher {
    /// Appends `piece`, which was not published before.
    pub fn publish(&mut self, piece: PieceIndex) {
        let at = self.0.len.load(Ordering::Relaxed);
        self.0.entries[at as usize].store(piece.0, Ordering::Relaxed);
        // What a reader sees below `len` is whole.
        self.0.len.store(at + 1, Ordering::Release);
    }
}

impl Subscription {
    /// Whether the next call of `next` would yield a piece.
    pub fn has_news(&self) -> bool {
        self.cursor != self.log.len()
    }

    /// Whether this reader has seen all that will ever be published.
    pub fn is_over(&self) -> bool {
        self.cursor as usize == self.log.entries.len()
    }
}

impl Iterator for Subscription {
    type Item = PieceIndex;

    fn next(&mut self) -> Option<PieceIndex> {
        if !self.has_news() {
            return None;
        }
        let piece = self.log.entries[self.cursor as usize].load(Ordering::Relaxed);
        self.cursor += 1;
        Some(PieceIndex(piece))
    }
}

#[cfg(test)]
mod tests {
    use std::thread::Builder;

    use super::*;

    #[test]
    fn every_subscriber_reads_all_in_order_at_its_own_pace() {
        const PIECES: u32 = 20_000;
        let (mut publisher, log) = HaveLog::new(PIECES);
        let early = log.subscribe();
        let readers = (0..8).map(|n| {
            let mut subscription = log.subscribe();
            let read = move || {
                let mut seen = Vec::new();
                while !subscription.is_over() {
                    seen.extend(subscription.by_ref().take(n + 1));
                }
                seen
            };
            Builder::new().name(format!("reader-{n}")).spawn(read).unwrap()
        });
        let readers: Vec<_> = readers.collect();
        let published: Vec<_> = (0..PIECES).rev().map(PieceIndex).collect();
        published.iter().for_each(|piece| publisher.publish(*piece));
        for reader in readers {
            assert_eq!(reader.join().unwrap(), published);
        }
        assert!(log.is_full());
        assert_eq!(early.collect::<Vec<_>>(), published);
    }
}
