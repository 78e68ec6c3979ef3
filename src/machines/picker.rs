//! Which blocks to ask a peer for.
//!
//! A piece is in exactly one state: *unopened* (wanted, nothing asked), *open* (some of its blocks
//! are asked for or here), or neither (we have it, or do not want it). Open pieces come first, since
//! only a whole piece can be verified and passed on; then the rarest of the unopened (BEP 3 leaves
//! the order open; "Rarest First and Choke Algorithms Are Enough", Legout et al., 2006).
//!
//! An open piece reserves its blocks from the memory budget until it is written, so the picker is
//! what bounds the bytes that wait for the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::formats::metainfo::Metainfo;
use crate::machines::outstanding::{Askers, BlockNumber, Outstanding};
use crate::machines::rarity::Rarity;
use crate::words::bitfield::{Bitfield, SharedBitfield, WORD_BITS, Word, words_for};
use crate::words::id::{Block, BlockRange, PeerKey, PieceIndex};
use crate::words::limits::{self, BLOCK_LEN};
use crate::words::rng::Rng;
use crate::words::steps::Steps;

/// The blocks of one torrent that are to be asked for.
#[derive(Debug)]
pub struct Picker {
    metainfo: Arc<Metainfo>,
    sequential: bool,
    rarity: Rarity,
    /// The pieces that are not unopened: a zero is a piece to choose.
    taken: Bitfield,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// The open pieces that have blocks nobody was asked for.
    hungry: BTreeSet<PieceIndex>,
    outstanding: Outstanding,
    /// Who sent the blocks of pieces that were whole and wrong, until the piece is right.
    suspects: BTreeMap<PieceIndex, Vec<PeerKey>>,
    /// Connected peers that said at once that they have every piece.
    seeders: u32,
    /// How many pieces became unopened again.
    reopened: u32,
}

/// What a peer's own place in the picker is.
#[derive(Debug, Default)]
pub struct Place {
    peer: PeerKey,
    /// The piece of its last range: it goes on there.
    piece: Option<PieceIndex>,
    /// The word of the bit field where its scan goes on.
    cursor: u32,
    /// Where its scan of the outstanding blocks goes on.
    duplicates: Option<BlockNumber>,
    /// What held when its scan was at the first word.
    since: Epoch,
}

impl Place {
    /// The place of `peer`, at the beginning.
    pub fn of(peer: PeerKey) -> Self {
        Self { peer, ..Self::default() }
    }
}

/// As long as this stays the same, no piece has become one to choose for a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Epoch {
    /// The changes of what the peer has.
    theirs: u32,
    /// How many pieces became unopened again.
    reopened: u32,
}

/// An answer of the picker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// Ask for these.
    Range(BlockRange),
    /// The peer has nothing that is to be asked for.
    Nothing,
    /// There may be something: the scan is not through, or the memory is reserved just now.
    Later,
    /// There is something, and this piece, which nobody is about to send, gave up its memory for
    /// it: the storage is to forget its blocks.
    Forgo(PieceIndex),
}

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
    fn reserve(&mut self, blocks: u32) -> bool {
        let share = self.share(blocks);
        let enough = self.left >= share;
        if enough {
            self.left -= share;
        }
        enough
    }

    fn release(&mut self, blocks: u32) {
        self.left += self.share(blocks);
    }

    fn share(&self, blocks: u32) -> u64 {
        share(blocks, self.size)
    }

    /// How many blocks of a piece of `len` bytes may be asked for and not written. Those of a piece
    /// that is gathered in memory are all reserved.
    fn unwritten_max(&self, len: u32) -> u32 {
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
fn share(blocks: u32, size: u64) -> u64 {
    (u64::from(blocks) * u64::from(BLOCK_LEN)).min(size)
}

#[derive(Debug)]
struct OpenPiece {
    asked: Bitfield,
    stored: Bitfield,
    /// Who sent each block that is here.
    senders: Vec<PeerKey>,
    /// Who sent all that is here, if it was one peer.
    alone: Option<PeerKey>,
    /// No block below this word is unasked.
    cursor: u32,
    /// Of a piece that is written in place, the blocks that are in their file.
    written: u32,
    /// How many blocks may be asked for and not written.
    unwritten_max: u32,
}

impl OpenPiece {
    fn new(blocks: u32, unwritten_max: u32) -> Self {
        let senders = vec![PeerKey::default(); blocks as usize];
        let zeros = || Bitfield::zeros(blocks);
        let (asked, stored) = (zeros(), zeros());
        Self { asked, stored, senders, alone: None, cursor: 0, written: 0, unwritten_max }
    }

    /// Marks the first run of unasked blocks, at most `room` of them, as asked.
    fn ask(&mut self, room: u32, steps: &mut Steps) -> Option<(u32, u32)> {
        let unwritten = self.asked.ones() - self.written;
        let room = room.min(self.unwritten_max.saturating_sub(unwritten));
        let words = words_for(self.asked.len());
        while self.cursor < words && self.asked.word(self.cursor) == u64::MAX {
            steps.step();
            self.cursor += 1;
        }
        let first = self.cursor * WORD_BITS + self.asked.word(self.cursor).trailing_ones();
        let mut count = 0;
        while count < room && first + count < self.asked.len() {
            steps.step();
            if !self.asked.set(PieceIndex(first + count)) {
                break;
            }
            count += 1;
        }
        (count > 0).then_some((first, count))
    }

    fn put_back(&mut self, block: u32) {
        if !self.stored.get(PieceIndex(block)) && self.asked.clear(PieceIndex(block)) {
            self.cursor = self.cursor.min(block / WORD_BITS);
        }
    }
}

impl Picker {
    /// Every piece is wanted and unopened; `sequential` if their order counts and not how rare they
    /// are.
    pub fn new(metainfo: Arc<Metainfo>, sequential: bool) -> Self {
        let pieces = metainfo.pieces();
        Self {
            metainfo,
            sequential,
            rarity: Rarity::new(pieces),
            taken: Bitfield::zeros(pieces),
            open: BTreeMap::new(),
            hungry: BTreeSet::new(),
            outstanding: Outstanding::default(),
            suspects: BTreeMap::new(),
            seeders: 0,
            reopened: 0,
        }
    }

    /// From now on the order of the pieces counts, and not how rare they are.
    pub fn ask_in_order(&mut self) {
        self.sequential = true;
    }

    /// Connected peers that said at once that they have every piece.
    pub fn seeders(&self) -> u32 {
        self.seeders
    }

    /// How many peers have `piece`.
    pub fn copies(&self, piece: PieceIndex) -> u32 {
        u32::from(self.rarity.copies(piece)) + self.seeders
    }

    /// Whether every block of every wanted piece has been asked for.
    pub fn is_all_asked(&self) -> bool {
        self.rarity.is_empty() && self.hungry.is_empty()
    }

    /// Whether `block` belongs to an open piece and is not here yet.
    pub fn expects(&self, block: Block) -> bool {
        let missing = |open: &OpenPiece| !open.stored.get(PieceIndex(number_of(block)));
        self.open.get(&block.piece).is_some_and(missing)
    }

    /// A peer has these pieces.
    pub fn handle_gained(&mut self, word: Word, steps: &mut Steps) {
        word.pieces().for_each(|piece| self.rarity.gained(piece, steps));
    }

    /// A peer that had these pieces is gone.
    pub fn handle_lost(&mut self, word: Word, steps: &mut Steps) {
        word.pieces().for_each(|piece| self.rarity.lost(piece, steps));
    }

    /// A peer that has every piece came.
    pub fn handle_seeder(&mut self) {
        self.seeders += 1;
    }

    /// A peer that had every piece when it came is gone.
    pub fn handle_seeder_lost(&mut self) {
        self.seeders = self.seeders.saturating_sub(1);
    }

    /// `block` arrived from `peer`. Everyone who was asked for it, `peer` too.
    pub fn handle_stored(&mut self, block: Block, peer: PeerKey) -> Askers {
        let number = number_of(block);
        if let Some(open) = self.open.get_mut(&block.piece) {
            let first = open.stored.ones() == 0;
            open.stored.set(PieceIndex(number));
            open.senders[number as usize] = peer;
            open.alone = Some(peer).filter(|peer| first || open.alone == Some(*peer));
        }
        self.outstanding.handle_arrived((block.piece, number))
    }

    /// A block of `piece`, which is written in place, is in its file.
    pub fn handle_written(&mut self, piece: PieceIndex) {
        if let Some(open) = self.open.get_mut(&piece) {
            open.written += 1;
        }
    }

    /// `block` will not come from `peer`, who was asked: if nobody else was, somebody is to be.
    pub fn put_back(&mut self, block: Block, peer: PeerKey) {
        let number = number_of(block);
        if !self.outstanding.handle_put_back((block.piece, number), peer) {
            return;
        }
        if let Some(open) = self.open.get_mut(&block.piece) {
            open.put_back(number);
            if !open.asked.is_full() {
                self.hungry.insert(block.piece);
            }
        }
    }

    /// The storage could not take `block`, which arrived: it is to be asked for again.
    pub fn handle_dropped(&mut self, block: Block) {
        let number = number_of(block);
        if let Some(open) = self.open.get_mut(&block.piece)
            && open.stored.clear(PieceIndex(number))
        {
            open.put_back(number);
            self.hungry.insert(block.piece);
        }
    }

    /// We have `piece`: it was found on the disk, or verified and written.
    pub fn handle_verified(&mut self, piece: PieceIndex, budget: &mut Budget, steps: &mut Steps) {
        self.close(piece, budget, steps);
        self.take(piece, steps);
        self.suspects.remove(&piece);
    }

    /// `piece` was whole and wrong: all of it is to be asked for again. Who sent it, if it was one
    /// peer alone. If not, who sent its blocks is kept until it is right; then the storage compares
    /// block by block.
    pub fn handle_corrupt(
        &mut self,
        piece: PieceIndex,
        budget: &mut Budget,
        steps: &mut Steps,
    ) -> Option<PeerKey> {
        let closed = self.close(piece, budget, steps);
        self.taken.clear(piece);
        self.reopened = self.reopened.wrapping_add(1);
        self.rarity.restore(piece, steps);
        let open = closed?;
        if self.suspects.len() < limits::SUSPECTS_MAX {
            self.suspects.entry(piece).or_insert(open.senders);
        }
        open.alone
    }

    /// `piece` is not wanted.
    pub fn handle_unwanted(&mut self, piece: PieceIndex, steps: &mut Steps) {
        self.take(piece, steps);
    }

    /// Who sent `block` of a piece that was wrong, when it was wrong for the first time.
    pub fn suspect(&self, piece: PieceIndex, block: u32) -> Option<PeerKey> {
        self.suspects.get(&piece)?.get(block as usize).copied()
    }

    /// Gives back what the open pieces have reserved: the torrent ends. It visits every open
    /// piece, of which there are at most [`limits::OPEN_MAX`].
    pub fn close_all(&mut self, budget: &mut Budget, steps: &mut Steps) {
        while let Some((piece, _)) = self.open.pop_first() {
            steps.step();
            budget.release(self.metainfo.blocks(piece));
        }
        self.hungry.clear();
        self.outstanding.clear();
    }

    /// The blocks to ask a peer for that has `theirs`: at most `room`, all of one piece.
    pub fn pick(
        &mut self,
        place: &mut Place,
        theirs: &SharedBitfield,
        room: u32,
        budget: &mut Budget,
        rng: &mut Rng,
        steps: &mut Steps,
    ) -> Pick {
        if let Some(piece) = self.hungry_piece(place.piece, theirs, steps) {
            return self.ask(piece, place, room, steps);
        }
        if self.open.len() >= limits::OPEN_MAX {
            return self.forgo(budget, steps);
        }
        let rarest = if self.sequential { None } else { self.rarity.rarest(theirs, rng, steps) };
        let found = match rarest {
            Some(piece) => Scan::Piece(piece),
            None => self.scan(place, theirs, steps),
        };
        match found {
            Scan::Piece(piece) => self.open(piece, place, room, budget, steps),
            Scan::Unfinished => Pick::Later,
            Scan::Through if self.is_all_asked() => self.pick_duplicate(place, theirs, steps),
            Scan::Through => Pick::Nothing,
        }
    }

    /// The blocks to ask a peer for that chokes us and allows only `pieces` (BEP 6), of which there
    /// are at most [`limits::ALLOWED_FAST_MAX`].
    pub fn pick_of(
        &mut self,
        pieces: &[PieceIndex],
        place: &mut Place,
        theirs: &SharedBitfield,
        room: u32,
        budget: &mut Budget,
        steps: &mut Steps,
    ) -> Pick {
        for &piece in pieces.iter().filter(|piece| theirs.get(**piece)) {
            steps.step();
            if self.hungry.contains(&piece) {
                return self.ask(piece, place, room, steps);
            }
            if !self.taken.get(piece) && self.open.len() < limits::OPEN_MAX {
                return self.open(piece, place, room, budget, steps);
            }
        }
        Pick::Nothing
    }

    /// Opens `piece` if the budget allows it, and asks for its first blocks.
    fn open(
        &mut self,
        piece: PieceIndex,
        place: &mut Place,
        room: u32,
        budget: &mut Budget,
        steps: &mut Steps,
    ) -> Pick {
        let blocks = self.metainfo.blocks(piece);
        if !budget.reserve(blocks) {
            return self.forgo(budget, steps);
        }
        self.take(piece, steps);
        let unwritten_max = budget.unwritten_max(self.metainfo.piece_len(piece));
        self.open.insert(piece, OpenPiece::new(blocks, unwritten_max));
        self.hungry.insert(piece);
        self.ask(piece, place, room, steps)
    }

    /// The endgame: nothing is left that nobody was asked for, so one block that is on its way is
    /// asked for once more.
    fn pick_duplicate(
        &mut self,
        place: &mut Place,
        theirs: &SharedBitfield,
        steps: &mut Steps,
    ) -> Pick {
        let cursor = &mut place.duplicates;
        let Some(block) = self.outstanding.duplicate(cursor, theirs, place.peer, steps) else {
            return if place.duplicates.is_some() { Pick::Later } else { Pick::Nothing };
        };
        self.outstanding.handle_asked(block, place.peer);
        Pick::Range(BlockRange { piece: block.0, first: block.1, count: 1 })
    }

    /// The peer's own open piece, or any other that it has, with blocks to ask for.
    fn hungry_piece(
        &self,
        own: Option<PieceIndex>,
        theirs: &SharedBitfield,
        steps: &mut Steps,
    ) -> Option<PieceIndex> {
        own.filter(|piece| self.hungry.contains(piece) && theirs.get(*piece)).or_else(|| {
            let has = |piece: &&PieceIndex| {
                steps.step();
                theirs.get(**piece)
            };
            self.hungry.iter().find(has).copied()
        })
    }

    fn ask(&mut self, piece: PieceIndex, place: &mut Place, room: u32, steps: &mut Steps) -> Pick {
        let open = self.open.get_mut(&piece).expect("a hungry piece is open");
        let range = open.ask(room, steps);
        if open.asked.is_full() {
            self.hungry.remove(&piece);
        }
        place.piece = Some(piece);
        let Some((first, count)) = range else { return Pick::Later };
        for number in first..first + count {
            steps.step();
            self.outstanding.handle_asked((piece, number), place.peer);
        }
        Pick::Range(BlockRange { piece, first, count })
    }

    /// Goes on through *unopened and theirs*, a bounded number of words a call. The order of
    /// rarity moves under a cursor; the order of the pieces does not. The scan is through only when
    /// it has seen every word since something last became one to choose, so nothing is missed.
    fn scan(&self, place: &mut Place, theirs: &SharedBitfield, steps: &mut Steps) -> Scan {
        let epoch = Epoch { theirs: theirs.changes(), reopened: self.reopened };
        for _ in 0..limits::SCAN_MAX {
            steps.step();
            if place.cursor >= words_for(self.taken.len()) {
                place.cursor = 0;
                if place.since == epoch {
                    return Scan::Through;
                }
            }
            if place.cursor == 0 {
                place.since = epoch;
            }
            let first = PieceIndex(place.cursor * WORD_BITS);
            let bits = theirs.word(place.cursor) & !self.taken.word(place.cursor);
            if let Some(piece) = (Word { first, bits }).pieces().next() {
                return Scan::Piece(piece);
            }
            place.cursor += 1;
        }
        Scan::Unfinished
    }

    fn take(&mut self, piece: PieceIndex, steps: &mut Steps) {
        if self.taken.set(piece) {
            self.rarity.remove(piece, steps);
        }
    }

    /// Closes an open piece of which no block is on its way. Whoever has it may be gone for good,
    /// and its memory would be reserved for ever while others have pieces to give.
    fn forgo(&mut self, budget: &mut Budget, steps: &mut Steps) -> Pick {
        let is_idle = |piece: &&PieceIndex| {
            steps.step();
            self.open.get(piece).is_some_and(|open| open.asked.ones() == open.stored.ones())
        };
        let Some(piece) = self.hungry.iter().find(is_idle).copied() else { return Pick::Later };
        self.close(piece, budget, steps);
        self.taken.clear(piece);
        self.reopened = self.reopened.wrapping_add(1);
        self.rarity.restore(piece, steps);
        Pick::Forgo(piece)
    }

    fn close(
        &mut self,
        piece: PieceIndex,
        budget: &mut Budget,
        steps: &mut Steps,
    ) -> Option<OpenPiece> {
        self.outstanding.forget(piece, steps);
        self.hungry.remove(&piece);
        let open = self.open.remove(&piece)?;
        budget.release(self.metainfo.blocks(piece));
        Some(open)
    }

    /// The bytes that the open pieces have reserved of a budget of `size`; O(open), for tests.
    pub fn reserved(&self, size: u64) -> u64 {
        self.open.keys().map(|piece| share(self.metainfo.blocks(*piece), size)).sum()
    }

    /// Asserts every invariant; O(pieces), for tests.
    pub fn check(&self) {
        self.rarity.check();
        for piece in (0..self.metainfo.pieces()).map(PieceIndex) {
            assert_eq!(self.taken.get(piece), !self.rarity.contains(piece), "{piece:?}");
        }
        for (piece, open) in &self.open {
            assert!(self.taken.get(*piece), "{piece:?} is open, so it is not unopened");
            assert_eq!(!open.asked.is_full(), self.hungry.contains(piece), "{piece:?}");
            assert!(open.stored.iter().all(|block| open.asked.get(block)), "{piece:?}");
        }
        assert!(self.hungry.iter().all(|piece| self.open.contains_key(piece)));
        for ((piece, number), _) in self.outstanding.iter() {
            let open = &self.open[&piece];
            let (asked, stored) =
                (open.asked.get(PieceIndex(number)), open.stored.get(PieceIndex(number)));
            assert!(asked && !stored, "block {number} of {piece:?} is on its way");
        }
        let on_their_way: u32 =
            self.open.values().map(|open| open.asked.ones() - open.stored.ones()).sum();
        assert_eq!(self.outstanding.iter().count(), on_their_way as usize);
    }
}

enum Scan {
    Piece(PieceIndex),
    Unfinished,
    Through,
}

/// The number of a block in its piece.
pub fn number_of(block: Block) -> u32 {
    block.offset / BLOCK_LEN
}

#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod tests;
