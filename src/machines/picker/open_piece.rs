//! A piece some of whose blocks are asked for, or here.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::words::bitfield::{Bitfield, WORD_BITS, words_for};
use crate::words::id::{Key, PeerKey, PieceIndex};
use crate::words::limits;
use crate::words::steps::Steps;

#[derive(Debug)]
pub(super) struct OpenPiece {
    pub(super) asked: Bitfield,
    pub(super) stored: Bitfield,
    /// Who sent each block that is here.
    pub(super) senders: Senders,
    /// The only peer that is asked for it.
    pub(super) lease: Option<Lease>,
    /// No block below this word is unasked.
    cursor: u32,
    /// Of a piece that is written in place, the blocks that are in their file.
    pub(super) written: u32,
    /// How many blocks may be asked for and not written.
    unwritten_max: u32,
    /// When it was opened, or a block of it came last.
    pub(super) touched_at: Instant,
}

impl OpenPiece {
    pub(super) fn new(
        blocks: u32,
        unwritten_max: u32,
        lease: Option<Lease>,
        touched_at: Instant,
    ) -> Self {
        let zeros = || Bitfield::zeros(blocks);
        let (asked, stored, senders) = (zeros(), zeros(), Senders::of(blocks));
        Self { asked, stored, senders, lease, cursor: 0, written: 0, unwritten_max, touched_at }
    }

    /// Marks the first run of unasked blocks, at most `room` of them, as asked.
    pub(super) fn ask(&mut self, room: u32, steps: &mut Steps) -> Option<(u32, u32)> {
        let unwritten = self.asked.ones() - self.written;
        let room = room.min(self.unwritten_max.saturating_sub(unwritten));
        let words = words_for(self.asked.len());
        // Bound: the words of a piece of limits::PIECE_LEN_MAX
        while self.cursor < words && self.asked.word(self.cursor) == u64::MAX {
            steps.step();
            self.cursor += 1;
        }
        let first = self.cursor * WORD_BITS + self.asked.word(self.cursor).trailing_ones();
        let mut count = 0;
        // Bound: limits::RANGE_MAX
        while count < room && first + count < self.asked.len() {
            steps.step();
            if !self.asked.set(PieceIndex(first + count)) {
                break;
            }
            count += 1;
        }
        (count > 0).then_some((first, count))
    }

    pub(super) fn put_back(&mut self, block: u32) {
        if !self.stored.get(PieceIndex(block)) && self.asked.clear(PieceIndex(block)) {
            self.cursor = self.cursor.min(block / WORD_BITS);
        }
    }

    /// Whether some of it is to be asked for, none of it is on its way, and that is no moment
    /// between a block and the next.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let unasked = self.asked.ones() == self.stored.ones() && !self.asked.is_full();
        unasked && now >= self.touched_at + limits::FORGO_AFTER
    }

    /// Whether `peer` may be asked for it.
    pub(super) fn admits(&self, peer: PeerKey) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.by == peer)
    }
}

/// The right of one peer to be the only one that is asked for a piece, as long as it sends.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) by: PeerKey,
    /// The blocks that were here when it was granted or last prolonged.
    stored: u32,
    /// Rounds until it ends.
    pub(super) rounds: u32,
}

impl Lease {
    pub(super) fn of(peer: PeerKey) -> Self {
        Self { by: peer, stored: 0, rounds: limits::LEASE_ROUNDS }
    }

    /// A round is over: a peer that has sent its share meanwhile keeps the piece.
    pub(super) fn age(&mut self, stored: &Bitfield) {
        let share = (stored.len() / limits::LEASE_SHARES).max(1);
        if stored.ones() >= self.stored + share {
            (self.stored, self.rounds) = (stored.ones(), limits::LEASE_ROUNDS);
        } else {
            self.rounds = self.rounds.saturating_sub(1);
        }
    }
}

/// Who sent the blocks of a piece.
#[derive(Debug)]
pub(super) struct Senders {
    /// Place and generation by block. Zeros cost no time by the block, as a `PeerKey` each would.
    by_block: Vec<[u32; 2]>,
    /// The first of them that differ.
    peers: BTreeSet<PeerKey>,
    /// There were more.
    more: bool,
}

impl Senders {
    fn of(blocks: u32) -> Self {
        Self { by_block: vec![[0, 0]; blocks as usize], peers: BTreeSet::new(), more: false }
    }

    pub(super) fn note(&mut self, block: u32, peer: PeerKey) {
        let PeerKey(Key { index, generation }) = peer;
        self.by_block[block as usize] = [index, generation];
        if self.peers.len() < limits::SENDERS_MAX {
            self.peers.insert(peer);
        } else {
            self.more |= !self.peers.contains(&peer);
        }
    }

    /// Who sent `block` of a piece that was whole.
    pub(super) fn of_block(&self, block: u32) -> Option<PeerKey> {
        let [index, generation] = *self.by_block.get(block as usize)?;
        Some(PeerKey(Key { index, generation }))
    }

    /// Who sent all that is here, if it was one peer.
    pub(super) fn only(&self) -> Option<PeerKey> {
        let first = self.peers.first().copied();
        first.filter(|_| self.peers.len() == 1 && !self.more)
    }

    pub(super) fn contains(&self, peer: PeerKey) -> bool {
        self.peers.contains(&peer)
    }

    /// How many they are, as far as that is known.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.peers.len()).unwrap_or(u32::MAX)
    }
}
