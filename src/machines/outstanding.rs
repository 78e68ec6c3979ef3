//! Who was asked for each block that has not arrived.
//!
//! Until the endgame every block is asked of one peer. When nothing is left that nobody was asked
//! for, the blocks that are still on their way are asked of others too, each of at most
//! [`limits::DUPLICATES_MAX`]; whoever is slower is told to forget it.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::words::id::{PeerKey, PieceIndex};
use crate::words::limits;
use crate::words::steps::Steps;

/// A block by its piece and its number in it.
pub type BlockNumber = (PieceIndex, u32);

/// The peers that were asked for a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Askers([Option<PeerKey>; limits::DUPLICATES_MAX]);

impl Askers {
    /// The peers; at most [`limits::DUPLICATES_MAX`].
    pub fn iter(self) -> impl Iterator<Item = PeerKey> {
        IntoIterator::into_iter(self.0).flatten()
    }

    fn add(&mut self, peer: PeerKey) {
        // Bound: limits::DUPLICATES_MAX
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
            *free = Some(peer);
        }
    }

    fn remove(&mut self, peer: PeerKey) {
        // Bound: limits::DUPLICATES_MAX
        self.0.iter_mut().filter(|place| **place == Some(peer)).for_each(|place| *place = None);
    }

    fn is_empty(self) -> bool {
        self.0 == [None; limits::DUPLICATES_MAX]
    }

    /// Whether `peer` may be asked as well.
    fn takes(self, peer: PeerKey) -> bool {
        self.0.contains(&None) && !self.0.contains(&Some(peer))
    }
}

/// The blocks that were asked for and are not here.
#[derive(Debug, Default)]
pub struct Outstanding(BTreeMap<BlockNumber, Askers>);

impl Outstanding {
    /// `peer` is asked for `block`.
    pub fn handle_asked(&mut self, block: BlockNumber, peer: PeerKey) {
        self.0.entry(block).or_default().add(peer);
    }

    /// `peer` will not send `block`; whether nobody else is asked for it.
    pub fn handle_put_back(&mut self, block: BlockNumber, peer: PeerKey) -> bool {
        let Some(askers) = self.0.get_mut(&block) else { return true };
        askers.remove(peer);
        let nobody = askers.is_empty();
        if nobody {
            self.0.remove(&block);
        }
        nobody
    }

    /// `block` is here: the others that were asked for it.
    pub fn handle_arrived(&mut self, block: BlockNumber) -> Askers {
        self.0.remove(&block).unwrap_or_default()
    }

    /// Nothing of `piece` is asked for any more. All of it is here by then, as a rule.
    pub fn forget(&mut self, piece: PieceIndex, steps: &mut Steps) {
        // Bound: limits::PIPELINE_MAX, for only what one peer alone is asked for is forgotten on its way.
        while let Some((block, _)) = self.0.range((piece, 0)..=(piece, u32::MAX)).next() {
            steps.step();
            let block = *block;
            self.0.remove(&block);
        }
    }

    /// A block to ask `peer` for as well: the next after `cursor` whose piece `suits` it, within [`limits::SCAN_MAX`] blocks.
    pub fn duplicate(
        &self,
        cursor: &mut Option<BlockNumber>,
        suits: impl Fn(PieceIndex) -> bool,
        peer: PeerKey,
        steps: &mut Steps,
    ) -> Option<BlockNumber> {
        let after = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        // Bound: limits::SCAN_MAX
        for (block, askers) in
            self.0.range((after, Bound::Unbounded)).take(limits::SCAN_MAX as usize)
        {
            steps.step();
            *cursor = Some(*block);
            if askers.takes(peer) && suits(block.0) {
                return Some(*block);
            }
        }
        // The next scan begins anew, or goes on where this one ended.
        let is_through = cursor.is_none_or(|cursor| {
            // Bound: the first, as limits::SCAN_MAX were seen.
            self.0.range((Bound::Excluded(cursor), Bound::Unbounded)).next().is_none()
        });
        if is_through {
            *cursor = None;
        }
        None
    }

    /// The blocks with those who were asked for them; for tests.
    pub fn asked(&self) -> impl Iterator<Item = (BlockNumber, Askers)> {
        // Bound: none; for tests.
        self.0.iter().map(|(block, askers)| (*block, *askers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::id::Key;

    fn peer(index: u32) -> PeerKey {
        PeerKey(Key { index, generation: 0 })
    }

    #[test]
    fn a_block_is_asked_of_three_at_most_and_never_twice_of_one() {
        let mut outstanding = Outstanding::default();
        outstanding.handle_asked((PieceIndex(0), 0), peer(0));
        outstanding.handle_asked((PieceIndex(1), 4), peer(1));
        let mut ask = |n| {
            let block = outstanding.duplicate(&mut None, |_| true, peer(n), &mut Steps::new())?;
            outstanding.handle_asked(block, peer(n));
            Some((block.0.0, block.1))
        };
        assert_eq!([ask(0), ask(0)], [Some((1, 4)), None]);
        assert_eq!([ask(2), ask(3), ask(4)], [Some((0, 0)), Some((0, 0)), Some((1, 4))]);
        assert_eq!(ask(5), None, "each has three askers");
        let others = outstanding.handle_arrived((PieceIndex(0), 0));
        assert_eq!(others.iter().collect::<Vec<_>>(), [0, 2, 3].map(peer));
        assert!(!outstanding.handle_put_back((PieceIndex(1), 4), peer(0)));
        assert!(!outstanding.handle_put_back((PieceIndex(1), 4), peer(1)));
        assert!(outstanding.handle_put_back((PieceIndex(1), 4), peer(4)));
    }

    #[test]
    fn the_cursor_goes_round() {
        let mut outstanding = Outstanding::default();
        (0..200).for_each(|n| outstanding.handle_asked((PieceIndex(0), n), peer(0)));
        let (mut cursor, mut scans) = (None, 0);
        while outstanding.duplicate(&mut cursor, |_| true, peer(0), &mut Steps::new()).is_none() {
            scans += 1;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(scans, 200_u32.div_ceil(limits::SCAN_MAX));
        let found = outstanding.duplicate(&mut cursor, |_| true, peer(1), &mut Steps::new());
        assert_eq!(found, Some((PieceIndex(0), 0)));
    }
}
