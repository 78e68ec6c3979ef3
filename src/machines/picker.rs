//! Which blocks to ask a peer for.
//!
//! A piece is in exactly one state: *unopened* (wanted, nothing asked), *open* (some of its blocks
//! are asked for or here), or neither (we have it, or do not want it). Open pieces come first, since
//! only a whole piece can be verified and passed on; then the rarest of the unopened (BEP 3 leaves
//! the order open; "Rarest First and Choke Algorithms Are Enough", Legout et al., 2006).
//!
//! An open piece reserves its blocks from the memory budget until it is written, so the picker is
//! what bounds the bytes that wait for the disk.

mod alone;
mod open_piece;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::formats::metainfo::Metainfo;
use crate::machines::budget::{Budget, share};
use crate::machines::outstanding::{Askers, BlockNumber, Outstanding};
use crate::machines::rarity::Rarity;
use crate::words::bitfield::{Bitfield, SharedBitfield, WORD_BITS, Word, words_for};
use crate::words::id::{Block, BlockRange, PeerKey, PieceIndex, TorrentKey};
use crate::words::limits::{self, BLOCK_LEN};
use crate::words::rng::Rng;
use crate::words::steps::Steps;

use alone::Denied;
use open_piece::{Lease, OpenPiece, Senders};

/// The blocks of one torrent that are to be asked for.
#[derive(Debug)]
pub struct Picker {
    metainfo: Arc<Metainfo>,
    sequential: bool,
    rarity: Rarity,
    /// The pieces that are not unopened: a zero is a piece to choose.
    taken: Bitfield,
    open: BTreeMap<PieceIndex, OpenPiece>,
    /// The open pieces that have blocks nobody was asked for, and that anybody may be asked for.
    hungry: BTreeSet<PieceIndex>,
    outstanding: Outstanding,
    /// The pieces that were whole and wrong, until they are right.
    spoilt: Bitfield,
    /// Who sent the blocks of some of them when they were wrong for the first time.
    suspects: BTreeMap<PieceIndex, Senders>,
    /// How often a peer was left without anything because of that, since one of them was right.
    denials: u32,
    /// The pieces that were given up, until the storage has forgotten their blocks.
    leaving: BTreeSet<PieceIndex>,
    /// The torrent has ended: nothing is opened any more.
    closed: bool,
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
    /// The piece that it alone is asked for.
    alone: Option<PieceIndex>,
    /// The word of the bit field where its scan goes on.
    cursor: u32,
    /// Where its scan of the outstanding blocks goes on.
    duplicates: Option<BlockNumber>,
    /// What held when its scan was at the first word.
    since: Epoch,
    /// Since then it was passed over.
    denied: bool,
}

impl Place {
    /// The place of `peer`, at the beginning.
    pub fn of(peer: PeerKey) -> Self {
        Self { peer, ..Self::default() }
    }

    /// Whether its peer was asked alone for a piece, and may still be.
    pub fn has_lease(&self) -> bool {
        self.alone.is_some()
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

/// What a pick needs beside the peer: the time, and what the whole engine has.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The time.
    pub now: Instant,
    /// The torrent.
    pub torrent: TorrentKey,
    /// The memory that pieces may take.
    pub budget: &'a mut Budget,
    /// Chance.
    pub rng: &'a mut Rng,
    /// The steps so far.
    pub steps: &'a mut Steps,
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
    /// There is something, and this piece, which nobody is about to send, gives up its memory for
    /// it as soon as the storage has forgotten its blocks.
    Forgo(PieceIndex),
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
            spoilt: Bitfield::zeros(pieces),
            suspects: BTreeMap::new(),
            denials: 0,
            leaving: BTreeSet::new(),
            closed: false,
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
        self.rarity.is_empty() && self.hungry.is_empty() && self.leaving.is_empty()
    }

    /// Whether nothing is left but what is on its way, or leased to other peers than that of
    /// `place`.
    pub fn is_endgame(&self, place: &Place) -> bool {
        self.is_all_asked() && self.own_piece(place).is_none()
    }

    /// Whether `block` belongs to an open piece, is not here yet, and may come from `peer`.
    pub fn expects(&self, block: Block, peer: PeerKey) -> bool {
        let number = PieceIndex(number_of(block));
        let missing = |open: &OpenPiece| !open.stored.get(number) && open.admits(peer);
        self.open.get(&block.piece).is_some_and(missing)
    }

    /// A peer has these pieces.
    pub fn handle_gained(&mut self, word: Word, steps: &mut Steps) {
        // Bound: the 64 pieces of a word.
        word.pieces().for_each(|piece| self.rarity.gained(piece, steps));
    }

    /// A peer that had these pieces is gone.
    pub fn handle_lost(&mut self, word: Word, steps: &mut Steps) {
        // Bound: the 64 pieces of a word.
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
    pub fn handle_stored(&mut self, block: Block, peer: PeerKey, now: Instant) -> Askers {
        let number = number_of(block);
        if let Some(open) = self.open.get_mut(&block.piece) {
            open.stored.set(PieceIndex(number));
            open.senders.note(number, peer);
            open.touched_at = now;
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
            if !open.asked.is_full() && open.lease.is_none() {
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
            if open.lease.is_none() {
                self.hungry.insert(block.piece);
            }
        }
    }

    /// We have `piece`: it was found on the disk, or verified and written.
    pub fn handle_verified(&mut self, piece: PieceIndex, budget: &mut Budget, steps: &mut Steps) {
        if self.remove(piece, steps).is_some() || self.leaving.remove(&piece) {
            budget.release(self.metainfo.blocks(piece));
        }
        self.take(piece, steps);
        self.spoilt.clear(piece);
        if self.suspects.remove(&piece).is_some() {
            self.denials = 0;
        }
    }

    /// `piece` is not wanted.
    pub fn handle_unwanted(&mut self, piece: PieceIndex, steps: &mut Steps) {
        self.take(piece, steps);
    }

    /// Gives back what the open pieces have reserved: the torrent ends. What is still outstanding
    /// goes with the peers that were asked for it.
    pub fn close_all(&mut self, budget: &mut Budget, steps: &mut Steps) {
        self.closed = true;
        self.hungry.clear();
        // Bound: limits::OPEN_MAX
        while let Some((piece, _)) = self.open.pop_first() {
            steps.step();
            budget.release(self.metainfo.blocks(piece));
        }
        // Bound: limits::OPEN_MAX
        while let Some(piece) = self.leaving.pop_first() {
            steps.step();
            budget.release(self.metainfo.blocks(piece));
        }
    }

    /// The blocks to ask a peer for that has `theirs`: at most `room`, all of one piece.
    pub fn pick(
        &mut self,
        place: &mut Place,
        theirs: &SharedBitfield,
        room: u32,
        turn: &mut Turn<'_>,
    ) -> Pick {
        let hungry = self.own_piece(place).or_else(|| self.hungry_piece(place, theirs, turn.steps));
        if let Some(piece) = hungry {
            return self.ask(piece, place, room, turn);
        }
        if self.is_full() {
            return self.forgo(turn);
        }
        let denied = Denied::default();
        let suits = |piece| theirs.get(piece) && self.suits(piece, place, &denied);
        let rarest = if self.sequential {
            None
        } else {
            self.rarity.rarest(theirs, suits, turn.rng, turn.steps)
        };
        let rarest = rarest.map(|piece| self.neighbour(place, suits, piece).unwrap_or(piece));
        let found = match rarest {
            Some(piece) => Scan::Piece(piece),
            None => self.scan(place, theirs, turn.steps),
        };
        match found {
            Scan::Piece(piece) => self.open(piece, place, room, turn),
            Scan::Unfinished => Pick::Later,
            Scan::Through if place.denied => {
                self.denials += 1;
                Pick::Later
            }
            Scan::Through if self.is_all_asked() => self.pick_duplicate(place, theirs, turn.steps),
            Scan::Through => Pick::Nothing,
        }
    }

    /// The piece behind the last one that this peer was asked for, if it is as rare as `rarest` and
    /// may be asked for: neighbours are written together, so a peer is asked for stretches of
    /// [`limits::WRITE_LEN`].
    fn neighbour(
        &self,
        place: &Place,
        suits: impl Fn(PieceIndex) -> bool,
        rarest: PieceIndex,
    ) -> Option<PieceIndex> {
        let next = PieceIndex(place.piece?.0.checked_add(1)?);
        if next.0 >= self.metainfo.pieces() || self.taken.get(next) || !suits(next) {
            return None;
        }
        let begin = self.metainfo.piece_offset(next);
        let begins_a_stretch = begin % limits::WRITE_LEN < u64::from(self.metainfo.piece_length());
        let is_as_rare = self.rarity.copies(next) <= self.rarity.copies(rarest);
        (is_as_rare && !begins_a_stretch).then_some(next)
    }

    /// The blocks to ask a peer for that chokes us and allows only `pieces` (BEP 6), of which there
    /// are at most [`limits::ALLOWED_FAST_MAX`].
    pub fn pick_of(
        &mut self,
        pieces: &[PieceIndex],
        place: &mut Place,
        theirs: &SharedBitfield,
        room: u32,
        turn: &mut Turn<'_>,
    ) -> Pick {
        // Bound: limits::ALLOWED_FAST_MAX
        for &piece in pieces.iter().filter(|piece| theirs.get(**piece)) {
            turn.steps.step();
            if self.hungry.contains(&piece) || self.own_piece(place) == Some(piece) {
                return self.ask(piece, place, room, turn);
            }
            let to_choose = !self.taken.get(piece) && !self.spoilt.get(piece);
            if to_choose && !self.is_full() {
                return self.open(piece, place, room, turn);
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
        turn: &mut Turn<'_>,
    ) -> Pick {
        let blocks = self.metainfo.blocks(piece);
        if !turn.budget.reserve(blocks, turn.torrent, place.peer) {
            return self.forgo(turn);
        }
        self.take(piece, turn.steps);
        let unwritten_max = turn.budget.unwritten_max(self.metainfo.piece_len(piece));
        let lease = self.spoilt.get(piece).then(|| Lease::of(place.peer));
        if lease.is_some() {
            place.alone = Some(piece);
        } else {
            self.hungry.insert(piece);
        }
        self.open.insert(piece, OpenPiece::new(blocks, unwritten_max, lease, turn.now));
        self.ask(piece, place, room, turn)
    }

    /// The endgame: nothing is left that nobody was asked for, so one block that is on its way is
    /// asked for once more.
    fn pick_duplicate(
        &mut self,
        place: &mut Place,
        theirs: &SharedBitfield,
        steps: &mut Steps,
    ) -> Pick {
        let (cursor, peer) = (&mut place.duplicates, place.peer);
        let anybodys = |piece| {
            let open = self.open.get(&piece);
            theirs.get(piece) && open.is_some_and(|open| open.lease.is_none())
        };
        let Some(block) = self.outstanding.duplicate(cursor, anybodys, peer, steps) else {
            return if place.duplicates.is_some() { Pick::Later } else { Pick::Nothing };
        };
        self.outstanding.handle_asked(block, place.peer);
        Pick::Range(BlockRange { piece: block.0, first: block.1, count: 1 })
    }

    /// The peer's own open piece, or any other that it has, with blocks to ask for.
    fn hungry_piece(
        &self,
        place: &Place,
        theirs: &SharedBitfield,
        steps: &mut Steps,
    ) -> Option<PieceIndex> {
        let own = place.piece;
        own.filter(|piece| self.hungry.contains(piece) && theirs.get(*piece)).or_else(|| {
            let has = |piece: &&PieceIndex| {
                steps.step();
                theirs.get(**piece)
            };
            // Bound: limits::OPEN_MAX
            self.hungry.iter().find(has).copied()
        })
    }

    fn ask(
        &mut self,
        piece: PieceIndex,
        place: &mut Place,
        room: u32,
        turn: &mut Turn<'_>,
    ) -> Pick {
        let open = self.open.get_mut(&piece).expect("a hungry piece is open");
        let range = open.ask(room, turn.steps);
        if open.asked.is_full() {
            self.hungry.remove(&piece);
        }
        place.piece = Some(piece);
        let Some((first, count)) = range else { return Pick::Later };
        // Bound: limits::RANGE_MAX
        for number in first..first + count {
            turn.steps.step();
            self.outstanding.handle_asked((piece, number), place.peer);
        }
        Pick::Range(BlockRange { piece, first, count })
    }

    /// Goes on through *unopened and theirs*, a bounded number of words a call. The order of
    /// rarity moves under a cursor; the order of the pieces does not. The scan is through only when
    /// it has seen every word since something last became one to choose, so nothing is missed.
    fn scan(&self, place: &mut Place, theirs: &SharedBitfield, steps: &mut Steps) -> Scan {
        let epoch = Epoch { theirs: theirs.changes(), reopened: self.reopened };
        // Bound: limits::SCAN_MAX
        for _ in 0..limits::SCAN_MAX {
            steps.step();
            if place.cursor >= words_for(self.taken.len()) {
                place.cursor = 0;
                if place.since == epoch {
                    return Scan::Through;
                }
            }
            if place.cursor == 0 {
                (place.since, place.denied) = (epoch, false);
            }
            let first = PieceIndex(place.cursor * WORD_BITS);
            let bits = theirs.word(place.cursor) & !self.taken.word(place.cursor);
            let denied = Denied::default();
            let suits = |piece: &PieceIndex| {
                steps.step();
                self.suits(*piece, place, &denied)
            };
            let spoilt = self.spoilt.word(place.cursor);
            let (right, spoilt) = (bits & !spoilt, bits & spoilt);
            let mut pieces = Word { first, bits: right }.pieces();
            // Bound: limits::SUSPECTS_MAX of them do not suit, or none does.
            let found = pieces.next().or_else(|| Word { first, bits: spoilt }.pieces().find(suits));
            place.denied |= denied.get();
            if let Some(piece) = found {
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

    /// Whether no more pieces may be opened just now.
    fn is_full(&self) -> bool {
        self.open.len() + self.leaving.len() >= limits::OPEN_MAX
    }

    /// Takes `piece` out of the open ones, if it is one. What it has reserved is still to be given
    /// back.
    fn remove(&mut self, piece: PieceIndex, steps: &mut Steps) -> Option<OpenPiece> {
        self.outstanding.forget(piece, steps);
        self.hungry.remove(&piece);
        self.open.remove(&piece)
    }

    /// The bytes that the open pieces have reserved of a budget of `size`; O(open), for tests.
    pub fn reserved(&self, size: u64) -> u64 {
        // Bound: none; for tests.
        let reserving = self.open.keys().chain(&self.leaving);
        // Bound: none; for tests.
        reserving.map(|piece| share(self.metainfo.blocks(*piece), size)).sum()
    }

    /// How many entries its tables have; for tests.
    pub fn footprint(&self) -> usize {
        let pieces = self.open.len() + self.hungry.len() + self.leaving.len() + self.suspects.len();
        pieces + self.outstanding.asked().count()
    }

    /// Asserts every invariant; O(pieces), for tests.
    pub fn check(&self) {
        self.rarity.check();
        // Bound: none; for tests.
        for piece in (0..self.metainfo.pieces()).map(PieceIndex) {
            assert_eq!(self.taken.get(piece), !self.rarity.contains(piece), "{piece:?}");
        }
        // Bound: none; for tests.
        for (piece, open) in &self.open {
            assert!(self.taken.get(*piece), "{piece:?} is open, so it is not unopened");
            let hungry = !open.asked.is_full() && open.lease.is_none();
            assert_eq!(hungry, self.hungry.contains(piece), "{piece:?}");
            assert!(!self.leaving.contains(piece), "{piece:?} is opened before it is forgotten");
            // Bound: none; for tests.
            assert!(open.stored.iter().all(|block| open.asked.get(block)), "{piece:?}");
        }
        // Bound: none; for tests.
        assert!(self.hungry.iter().all(|piece| self.open.contains_key(piece)));
        // Bound: none; for tests.
        assert!(self.leaving.iter().all(|piece| self.taken.get(*piece)));
        // Bound: none; for tests.
        assert!(self.suspects.keys().all(|piece| self.spoilt.get(*piece)));
        if self.closed {
            return assert!(self.open.is_empty() && self.leaving.is_empty());
        }
        // Bound: none; for tests.
        for ((piece, number), askers) in self.outstanding.asked() {
            let open = &self.open[&piece];
            let (asked, stored) =
                (open.asked.get(PieceIndex(number)), open.stored.get(PieceIndex(number)));
            assert!(asked && !stored, "block {number} of {piece:?} is on its way");
            // Bound: limits::DUPLICATES_MAX
            assert!(askers.iter().all(|peer| open.admits(peer)), "{piece:?} is leased");
        }
        // Bound: none; for tests.
        let on_their_way: u32 =
            self.open.values().map(|open| open.asked.ones() - open.stored.ones()).sum();
        assert_eq!(self.outstanding.asked().count(), on_their_way as usize);
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
mod lease_tests;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod tests;
