//! The pieces that may be chosen, sorted by how many peers have them, one swap at a time.
//!
//! `order` lists the pieces by level, `place` is its inverse, and level `r` ends at `ends[r]`. When
//! one more peer has a piece, the piece changes places with the last of its level and the boundary
//! moves below it; when one fewer has it, with the first. A piece that may not be chosen (we have
//! it, opened it, or do not want it) sits in a last level past all others.
//!
//! Seeders are not in here: they have every piece and would move every piece, so they are a counter
//! of the picker. A piece that only seeders have is at level 0.

use crate::words::bitfield::SharedBitfield;
use crate::words::id::PieceIndex;
use crate::words::limits;
use crate::words::permutation::Permutation;
use crate::words::rng::Rng;
use crate::words::steps::Steps;

/// Levels `0..LEVELS` hold pieces that this many peers have; the last holds all above it too.
const LEVELS: usize = limits::RARITY_LEVELS;

/// The pieces of one torrent by rarity.
#[derive(Debug)]
pub struct Rarity {
    order: Permutation,
    place: Permutation,
    /// How many peers have the piece, seeders left out.
    copies: Vec<u16>,
    /// The level where the piece stands, [`LEVELS`] if it may not be chosen.
    level: Vec<u8>,
    /// One past the last place of each level.
    ends: [u32; LEVELS],
    pieces: u32,
}

impl Rarity {
    /// All of `pieces` pieces at level 0, to be chosen.
    pub fn new(pieces: u32) -> Self {
        Self {
            order: Permutation::identity(pieces),
            place: Permutation::identity(pieces),
            copies: vec![0; pieces as usize],
            level: vec![0; pieces as usize],
            ends: [pieces; LEVELS],
            pieces,
        }
    }

    /// How many peers that are no seeders have `piece`.
    pub fn copies(&self, piece: PieceIndex) -> u16 {
        self.copies[piece.slot()]
    }

    /// The number of pieces that may be chosen.
    pub fn len(&self) -> u32 {
        self.ends[LEVELS - 1]
    }

    /// Whether no piece may be chosen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `piece` may be chosen.
    pub fn contains(&self, piece: PieceIndex) -> bool {
        usize::from(self.level[piece.slot()]) < LEVELS
    }

    /// One more peer has `piece`: at most one swap.
    pub fn gained(&mut self, piece: PieceIndex, steps: &mut Steps) {
        steps.step();
        self.copies[piece.slot()] = self.copies[piece.slot()].saturating_add(1);
        self.settle(piece);
    }

    /// One peer fewer has `piece`: at most one swap.
    pub fn lost(&mut self, piece: PieceIndex, steps: &mut Steps) {
        steps.step();
        self.copies[piece.slot()] = self.copies[piece.slot()].saturating_sub(1);
        self.settle(piece);
    }

    /// `piece` may no longer be chosen: at most [`limits::RARITY_LEVELS`] swaps.
    pub fn remove(&mut self, piece: PieceIndex, steps: &mut Steps) {
        // Bound: limits::RARITY_LEVELS
        while usize::from(self.level[piece.slot()]) < LEVELS {
            steps.step();
            self.raise(piece);
        }
    }

    /// `piece` may be chosen again: at most [`limits::RARITY_LEVELS`] swaps.
    pub fn restore(&mut self, piece: PieceIndex, steps: &mut Steps) {
        // Bound: limits::RARITY_LEVELS
        while usize::from(self.level[piece.slot()]) > self.level_due(piece) {
            steps.step();
            self.lower(piece);
        }
    }

    /// The first piece in the order of rarity that `suits` for a peer that has `theirs`. The scan begins at a random place
    /// of each level, so peers that start together do not all ask for the same piece, and looks at
    /// no more than [`limits::SCAN_MAX`] pieces.
    pub fn rarest(
        &self,
        theirs: &SharedBitfield,
        suits: impl Fn(PieceIndex) -> bool,
        rng: &mut Rng,
        steps: &mut Steps,
    ) -> Option<PieceIndex> {
        let mut budget = limits::SCAN_MAX;
        let mut begin = 0;
        // What nobody but a seeder has, only a seeder can give.
        let skipped = usize::from(!theirs.is_full());
        // Bound: limits::RARITY_LEVELS
        for (level, &end) in self.ends.iter().enumerate() {
            steps.step();
            let len = end - begin;
            if len > 0 && level >= skipped {
                let start = rng.below(len);
                // Bound: limits::SCAN_MAX
                for n in 0..len.min(budget) {
                    steps.step();
                    let piece = PieceIndex(self.order.get(begin + (start + n) % len));
                    if suits(piece) {
                        return Some(piece);
                    }
                }
                budget = budget.saturating_sub(len);
            }
            begin = end;
        }
        None
    }

    fn level_due(&self, piece: PieceIndex) -> usize {
        usize::from(self.copies[piece.slot()]).min(LEVELS - 1)
    }

    /// Moves `piece`, if it may be chosen, by at most one level to where its copies put it.
    fn settle(&mut self, piece: PieceIndex) {
        let level = usize::from(self.level[piece.slot()]);
        if level < LEVELS {
            match level.cmp(&self.level_due(piece)) {
                std::cmp::Ordering::Less => self.raise(piece),
                std::cmp::Ordering::Greater => self.lower(piece),
                std::cmp::Ordering::Equal => {}
            }
        }
    }

    /// One level up: swap with the last of the level, and the boundary moves below it.
    fn raise(&mut self, piece: PieceIndex) {
        let level = usize::from(self.level[piece.slot()]);
        self.ends[level] -= 1;
        self.swap_to(piece, self.ends[level]);
        self.level[piece.slot()] += 1;
    }

    /// One level down: swap with the first of the level, and the boundary moves above it.
    fn lower(&mut self, piece: PieceIndex) {
        let below = usize::from(self.level[piece.slot()]) - 1;
        self.swap_to(piece, self.ends[below]);
        self.ends[below] += 1;
        self.level[piece.slot()] -= 1;
    }

    fn swap_to(&mut self, piece: PieceIndex, to: u32) {
        let from = self.place.get(piece.0);
        let other = self.order.get(to);
        self.order.set(from, other);
        self.order.set(to, piece.0);
        self.place.set(other, from);
        self.place.set(piece.0, to);
    }

    /// Asserts every invariant; O(pieces), for tests.
    pub fn check(&self) {
        // Bound: none; for tests.
        for at in 0..self.pieces {
            let piece = PieceIndex(self.order.get(at));
            assert_eq!(self.place.get(piece.0), at, "place is the inverse of order");
            let level = usize::from(self.level[piece.slot()]);
            let begin = if level == 0 { 0 } else { self.ends[level - 1] };
            let end = self.ends.get(level).copied().unwrap_or(self.pieces);
            assert!((begin..end).contains(&at), "{piece:?} at {at} is not in level {level}");
            assert!(level == LEVELS || level == self.level_due(piece), "{piece:?} is settled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces as a picture, level by level, each level sorted: `"02|1|"`.
    fn drawn(rarity: &Rarity, levels: usize) -> String {
        let level = |level: usize| {
            let pieces =
                (0..rarity.pieces).filter(|p| usize::from(rarity.level[*p as usize]) == level);
            pieces.map(|piece| piece.to_string()).collect::<String>()
        };
        (0..levels).map(level).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn pieces_move_by_one_level() {
        let (mut rarity, mut steps) = (Rarity::new(4), Steps::new());
        assert_eq!(drawn(&rarity, 3), "0123||");
        rarity.gained(PieceIndex(1), &mut steps);
        rarity.gained(PieceIndex(3), &mut steps);
        rarity.gained(PieceIndex(3), &mut steps);
        assert_eq!(drawn(&rarity, 3), "02|1|3");
        rarity.lost(PieceIndex(3), &mut steps);
        assert_eq!(steps.taken(), 4, "one move each");
        rarity.remove(PieceIndex(0), &mut steps);
        assert_eq!((drawn(&rarity, 3).as_str(), rarity.len()), ("2|13|", 3));
        assert_eq!(steps.taken() as usize, 4 + LEVELS, "and out of every level");
        rarity.gained(PieceIndex(0), &mut steps);
        assert_eq!(drawn(&rarity, 3), "2|13|", "what may not be chosen stays");
        rarity.restore(PieceIndex(0), &mut steps);
        assert_eq!(drawn(&rarity, 3), "2|013|");
        rarity.check();
    }

    #[test]
    fn any_sequence_keeps_the_invariants() {
        for seed in 0..200 {
            let (mut rng, mut steps) = (Rng::new(seed), Steps::new());
            let mut rarity = Rarity::new(1 + rng.below(40));
            for _ in 0..600 {
                let piece = PieceIndex(rng.below(rarity.pieces));
                match rng.below(5) {
                    0 | 1 => rarity.gained(piece, &mut steps),
                    2 => rarity.lost(piece, &mut steps),
                    3 => rarity.remove(piece, &mut steps),
                    _ => rarity.restore(piece, &mut steps),
                }
                rarity.check();
            }
        }
    }

    #[test]
    fn the_rarest_that_the_peer_has_is_chosen() {
        let mut rarity = Rarity::new(6);
        for (piece, copies) in [(0, 3), (1, 1), (2, 2), (3, 1), (4, 0), (5, 2)] {
            (0..copies).for_each(|_| rarity.gained(PieceIndex(piece), &mut Steps::new()));
        }
        let choose = |pieces: &[u32], seed| {
            let theirs = SharedBitfield::zeros(6);
            pieces.iter().for_each(|piece| {
                theirs.set(PieceIndex(*piece));
            });
            let (suits, mut rng) = (|piece| theirs.get(piece), Rng::new(seed));
            rarity.rarest(&theirs, suits, &mut rng, &mut Steps::new()).map(|piece| piece.0)
        };
        assert_eq!(choose(&[0, 2], 1), Some(2));
        assert_eq!(choose(&[0], 1), Some(0));
        assert_eq!(choose(&[], 1), None);
        assert_eq!(choose(&[0, 1, 2, 3, 4, 5], 1), Some(4), "a seeder gives what only it has");
        let of_level_1: std::collections::BTreeSet<_> =
            (0..20).map(|seed| choose(&[0, 1, 2, 3], seed)).collect();
        assert_eq!(of_level_1, [Some(1), Some(3)].into());
    }

    #[test]
    fn a_choice_takes_the_same_steps_at_any_size() {
        let most = [1_000, 100_000].map(|pieces| {
            let theirs = SharedBitfield::zeros(pieces);
            let mut steps = Steps::new();
            let mut rarest =
                |rarity: &Rarity| rarity.rarest(&theirs, |_| false, &mut Rng::new(7), &mut steps);
            assert_eq!(rarest(&Rarity::new(pieces)), None);
            let mut rarity = Rarity::new(pieces);
            (0..pieces).for_each(|piece| rarity.gained(PieceIndex(piece), &mut Steps::new()));
            assert_eq!(rarest(&rarity), None);
            steps.taken()
        });
        assert_eq!(most[0], most[1]);
    }
}
