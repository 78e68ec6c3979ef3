//! Pieces that arrived wrong, and pieces that are given up.
//!
//! Two peers that spoil a piece in turn could keep it wrong for ever, so a piece that was wrong is
//! asked of one peer alone, who has a lease on it: if it is wrong again, who sent it is known. Whoever
//! took part when it was wrong is passed over as long as others have it. A lease ends when its peer
//! goes, stalls, or does not send its share.

use std::cell::Cell;

use super::{OpenPiece, Pick, Picker, Place, Turn};
use crate::machines::budget::Budget;
use crate::words::id::{PeerKey, PieceIndex};
use crate::words::limits;
use crate::words::steps::Steps;

/// Whether a piece was passed over for a peer that may be asked for it later.
pub(super) type Denied = Cell<bool>;

impl Picker {
    /// `piece` was whole and wrong: all of it is to be asked for again, of one peer. Who sent it, if
    /// it was one peer alone. If not, who sent its blocks is kept until it is right; then the
    /// storage compares block by block.
    pub fn handle_corrupt(
        &mut self,
        piece: PieceIndex,
        budget: &mut Budget,
        steps: &mut Steps,
    ) -> Option<PeerKey> {
        let OpenPiece { senders, .. } = self.remove(piece, steps)?;
        self.spoilt.set(piece);
        self.reopen(piece, budget, steps);
        let only = senders.only();
        if self.suspects.len() < limits::SUSPECTS_MAX {
            self.suspects.entry(piece).or_insert(senders);
        }
        only
    }

    /// Who sent `block` of a piece that was wrong, when it was wrong for the first time.
    pub fn suspect(&self, piece: PieceIndex, block: u32) -> Option<PeerKey> {
        self.suspects.get(&piece)?.of_block(block)
    }

    /// The storage has forgotten `piece`, as it was told: it may be asked for again.
    pub fn handle_forgotten(&mut self, piece: PieceIndex, budget: &mut Budget, steps: &mut Steps) {
        if self.leaving.remove(&piece) {
            self.reopen(piece, budget, steps);
        }
    }

    /// The peer of `place` goes, or sends nothing: another is to be asked for the piece that only it
    /// was asked for. Whether the storage is to forget that.
    pub fn abandon(
        &mut self,
        place: &mut Place,
        budget: &mut Budget,
        steps: &mut Steps,
    ) -> Option<PieceIndex> {
        let piece = place.alone.take()?;
        self.is_at_work(piece, place.peer).then(|| self.let_go(piece, budget, steps)).flatten()
    }

    /// Ends the leases of those who did not send their share for some rounds: the pieces that the
    /// storage is to forget, at most [`limits::LEASES_ENDED_MAX`].
    pub fn end_leases(&mut self, budget: &mut Budget, steps: &mut Steps) -> Vec<PieceIndex> {
        let mut ended = Vec::new();
        // Bound: limits::OPEN_MAX
        for (piece, open) in &mut self.open {
            steps.step();
            let Some(lease) = &mut open.lease else { continue };
            lease.age(&open.stored);
            let is_over = lease.rounds == 0 && !open.stored.is_full();
            if is_over && ended.len() < limits::LEASES_ENDED_MAX {
                ended.push(*piece);
            }
        }
        // Bound: limits::LEASES_ENDED_MAX
        ended.retain(|piece| self.let_go(*piece, budget, steps).is_some());
        ended
    }

    /// Closes an open piece of which no block is on its way. Whoever has it may be gone for good,
    /// and its memory would be reserved for ever while others have pieces to give.
    pub fn forgo(&mut self, turn: &mut Turn<'_>) -> Pick {
        // Memory is about to be given back.
        if !self.leaving.is_empty() {
            return Pick::Later;
        }
        let is_idle = |(_, open): &(&PieceIndex, &OpenPiece)| {
            turn.steps.step();
            open.is_idle(turn.now)
        };
        // Bound: limits::OPEN_MAX
        let Some(piece) = self.open.iter().find(is_idle).map(|(piece, _)| *piece) else {
            return Pick::Later;
        };
        self.let_go(piece, turn.budget, turn.steps).map_or(Pick::Later, Pick::Forgo)
    }

    /// Closes a piece that is not whole. If blocks of it are here, its memory is given back when the
    /// storage has forgotten them.
    fn let_go(
        &mut self,
        piece: PieceIndex,
        budget: &mut Budget,
        steps: &mut Steps,
    ) -> Option<PieceIndex> {
        let open = self.remove(piece, steps)?;
        if open.stored.ones() == 0 {
            self.reopen(piece, budget, steps);
            return None;
        }
        self.leaving.insert(piece);
        Some(piece)
    }

    /// `piece`, which was closed, gives its memory back and is one to choose again.
    fn reopen(&mut self, piece: PieceIndex, budget: &mut Budget, steps: &mut Steps) {
        budget.release(self.metainfo.blocks(piece));
        self.taken.clear(piece);
        self.reopened = self.reopened.wrapping_add(1);
        self.rarity.restore(piece, steps);
    }

    /// The piece that only the peer of `place` is asked for, if some of it is to be asked for.
    pub(super) fn own_piece(&self, place: &Place) -> Option<PieceIndex> {
        let unasked = |piece: &PieceIndex| {
            self.is_at_work(*piece, place.peer)
                && self.open.get(piece).is_some_and(|open| !open.asked.is_full())
        };
        place.alone.filter(unasked)
    }

    /// Whether `piece` may be opened for the peer of `place`. It has a lease on one piece at a time.
    pub(super) fn suits(&self, piece: PieceIndex, place: &Place, denied: &Denied) -> bool {
        if !self.spoilt.get(piece) {
            return true;
        }
        if place.alone.is_some_and(|own| self.is_at_work(own, place.peer)) {
            return false;
        }
        let passed_over = self.is_passed_over(piece, place.peer);
        denied.set(denied.get() | passed_over);
        !passed_over
    }

    /// Whether `peer`, who took part when `piece` was wrong, is to leave it to others: those who
    /// have it are more than those who took part. They may choke us for ever, so after a while
    /// whoever is there is asked.
    fn is_passed_over(&self, piece: PieceIndex, peer: PeerKey) -> bool {
        let Some(senders) = self.suspects.get(&piece) else { return false };
        let others = self.copies(piece) > senders.len();
        others && senders.contains(peer) && self.denials < limits::DENIALS_MAX
    }

    /// Whether `peer` has a lease on `piece` and has not sent all of it.
    fn is_at_work(&self, piece: PieceIndex, peer: PeerKey) -> bool {
        let open = self.open.get(&piece).filter(|open| !open.stored.is_full());
        open.and_then(|open| open.lease.as_ref()).is_some_and(|lease| lease.by == peer)
    }
}
