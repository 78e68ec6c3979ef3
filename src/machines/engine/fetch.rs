//! How the metadata of one torrent is had from several peers at once (BEP 9).
//!
//! Peers say how long it is, and may lie, so there is a try for each of some lengths. A try takes
//! its pieces from whoever says that length; if what comes of it is wrong, nobody knows whose piece
//! it was, so the next one takes all pieces from one peer, who alone is to blame if it is wrong
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::formats::wire::metadata::{metadata_piece_len, metadata_pieces};
use crate::words::id::PeerKey;
use crate::words::limits::metadata::{
    METADATA_ANSWER_MAX, METADATA_ASKED_MAX, METADATA_ASKERS_MAX, METADATA_LEN_MAX,
    METADATA_PIECES_MAX, METADATA_REFUSALS_MAX, METADATA_TRIES, METADATA_TRY_TIME, METADATA_WAKES,
};
use crate::words::steps::Steps;

/// All tries of one torrent, and the peers that take part.
#[derive(Debug, Default)]
pub(super) struct Fetch {
    /// By the length of the metadata.
    tries: BTreeMap<u32, Try>,
    sources: BTreeMap<PeerKey, Source>,
    /// The peers that were asked for nothing, or have answered everything.
    idle: BTreeSet<PeerKey>,
    /// The last of them that was given a chance to be asked.
    woken: PeerKey,
    /// Tries begun.
    begun: u64,
}

/// A peer that says it has the metadata.
#[derive(Debug)]
struct Source {
    len: u32,
    /// The try in which it takes part, if that is still under way.
    number: u64,
    /// What it was asked for, and when.
    asked: Vec<(u32, Instant)>,
    refusals: u32,
    /// It refused, and is left alone until it is asked [again](Fetch::rest_is_over).
    rests: bool,
}

/// One try to put metadata of one length together.
#[derive(Debug)]
struct Try {
    number: u64,
    /// The peers that take part.
    sources: u32,
    begun: Instant,
    pieces: Vec<Piece>,
    missing: usize,
    whose: Whose,
    /// It is whole, and the clerk looks at it.
    checked: bool,
}

/// From whom a try takes its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Anybodys,
    /// From one peer, which is the next that has nothing to do.
    NextOnes,
    Ones(PeerKey),
}

#[derive(Clone, Debug, Default)]
struct Piece {
    data: Option<Vec<u8>>,
    from: Option<PeerKey>,
    askers: u8,
}

/// What came of a peer's piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is kept, or of no use any more.
    Kept,
    /// The pieces of this length are all here.
    Whole(u32, Vec<Vec<u8>>),
}

impl Try {
    fn new(number: u64, len: u32, now: Instant) -> Self {
        let count = metadata_pieces(len) as usize;
        debug_assert!(count <= METADATA_PIECES_MAX, "longer metadata is refused");
        let pieces = vec![Piece::default(); count];
        let whose = Whose::Anybodys;
        Self { number, sources: 0, begun: now, pieces, missing: count, whose, checked: false }
    }

    /// Begins again with the same peers, of whom some still owe what they were asked for.
    fn begin_again(&mut self, whose: Whose, now: Instant, steps: &mut Steps) {
        steps.turns(self.pieces.len());
        // Bound: limits::METADATA_PIECES_MAX
        self.pieces.iter_mut().for_each(|piece| (piece.data, piece.from) = (None, None));
        self.missing = self.pieces.len();
        (self.begun, self.whose, self.checked) = (now, whose, false);
    }

    /// Whether it takes longer than it may while others wait.
    fn is_late(&self, now: Instant) -> bool {
        let seconds = u64::try_from(self.pieces.len()).unwrap_or(u64::MAX);
        now >= self.begun + METADATA_TRY_TIME + Duration::from_secs(seconds)
    }

    /// The missing piece of which the fewest were asked, by `key` not yet.
    fn next(&self, source: &Source, steps: &mut Steps) -> Option<u32> {
        steps.turns(self.pieces.len());
        // Bound: limits::METADATA_PIECES_MAX
        let missing = (0_u32..).zip(&self.pieces).filter(|(number, piece)| {
            // Bound: limits::METADATA_ASKED_MAX
            let asked = source.asked.iter().any(|(asked, _)| asked == number);
            piece.data.is_none() && piece.askers < METADATA_ASKERS_MAX && !asked
        });
        missing.min_by_key(|(_, piece)| piece.askers).map(|(number, _)| number)
    }

    /// Who sent its pieces, if it was one alone.
    fn only_sender(&self, steps: &mut Steps) -> Option<PeerKey> {
        steps.turns(self.pieces.len());
        let first = self.pieces.first()?.from?;
        // Bound: limits::METADATA_PIECES_MAX
        self.pieces.iter().all(|piece| piece.from == Some(first)).then_some(first)
    }
}

impl Fetch {
    /// Bytes that all tries may come to hold.
    pub(super) fn reserved(&self) -> u64 {
        // Bound: limits::METADATA_TRIES
        self.tries.keys().map(|len| u64::from(*len)).sum()
    }

    /// `key` says that the metadata has `len` bytes; there is room for `free` bytes more.
    ///
    /// # Errors
    /// What is wrong with that.
    pub(super) fn handle_offer(
        &mut self,
        key: PeerKey,
        len: u32,
        free: u64,
        now: Instant,
    ) -> Result<(), String> {
        if len > METADATA_LEN_MAX {
            let most = METADATA_LEN_MAX >> 20;
            return Err(format!("its metadata of {len} bytes is longer than {most} MiB"));
        }
        if let Some(source) = self.sources.get(&key) {
            if source.len != len {
                return Err("it says two lengths of its metadata".into());
            }
            if self.tries.get(&len).is_some_and(|one| one.number == source.number) {
                return Ok(());
            }
            // Its try made room for another: it may take part in the next.
        }
        if !self.tries.contains_key(&len) {
            let is_full = |tries: usize, free| tries >= METADATA_TRIES || u64::from(len) > free;
            let mut free = free;
            if is_full(self.tries.len(), free) {
                free += self.make_room(now);
            }
            if is_full(self.tries.len(), free) {
                // It is looked at again later.
                return Ok(());
            }
            self.begun += 1;
            self.tries.insert(len, Try::new(self.begun, len, now));
        }
        let Some(of_its_len) = self.tries.get_mut(&len) else { return Ok(()) };
        of_its_len.sources += 1;
        let fresh = Source { len, number: 0, asked: Vec::new(), refusals: 0, rests: false };
        let source = self.sources.entry(key).or_insert(fresh);
        source.number = of_its_len.number;
        // What it owes from an earlier try is as good now.
        // Bound: limits::METADATA_ASKED_MAX
        for (number, _) in &source.asked {
            of_its_len.pieces[*number as usize].askers += 1;
        }
        if source.asked.is_empty() {
            self.idle.insert(key);
        }
        Ok(())
    }

    /// Whether `key` takes part in a try.
    pub(super) fn knows(&self, key: PeerKey) -> bool {
        self.sources.contains_key(&key)
    }

    /// What `key` is to be asked for next, if anything: it counts as asked.
    pub(super) fn poll_ask(
        &mut self,
        key: PeerKey,
        now: Instant,
        steps: &mut Steps,
    ) -> Option<u32> {
        let source = self.sources.get_mut(&key)?;
        let of_its_len = self.tries.get_mut(&source.len)?;
        if of_its_len.number != source.number
            || source.rests
            || source.asked.len() >= METADATA_ASKED_MAX
            || of_its_len.checked
        {
            return None;
        }
        match of_its_len.whose {
            Whose::Anybodys => {}
            Whose::NextOnes => of_its_len.whose = Whose::Ones(key),
            Whose::Ones(one) if one == key => {}
            Whose::Ones(_) if of_its_len.is_late(now) => {
                of_its_len.begin_again(Whose::Ones(key), now, steps);
            }
            Whose::Ones(_) => return None,
        }
        let piece = of_its_len.next(source, steps)?;
        of_its_len.pieces[piece as usize].askers += 1;
        source.asked.push((piece, now));
        self.idle.remove(&key);
        Some(piece)
    }

    /// `key` sent a piece.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn handle_piece(
        &mut self,
        key: PeerKey,
        number: u32,
        total_len: u32,
        data: Vec<u8>,
    ) -> Result<Arrival, String> {
        let source = self.tick_off(key, number)?;
        let (len, its_try) = (source.len, source.number);
        if total_len != 0 && total_len != len {
            return Err("it says two lengths of its metadata".into());
        }
        let right = metadata_piece_len(len, number);
        if data.len() != right as usize {
            let found = data.len();
            return Err(format!("its piece {number} of metadata has {found} bytes, not {right}"));
        }
        let Some(of_its_len) = self.tries.get_mut(&len) else { return Ok(Arrival::Kept) };
        let other = matches!(of_its_len.whose, Whose::Ones(one) if one != key);
        let piece = &mut of_its_len.pieces[number as usize];
        let mixed = other || of_its_len.whose == Whose::NextOnes || of_its_len.number != its_try;
        if of_its_len.checked || mixed || piece.data.is_some() {
            return Ok(Arrival::Kept);
        }
        (piece.data, piece.from) = (Some(data), Some(key));
        of_its_len.missing -= 1;
        if of_its_len.missing > 0 {
            return Ok(Arrival::Kept);
        }
        of_its_len.checked = true;
        // Bound: limits::METADATA_PIECES_MAX
        let pieces = of_its_len.pieces.iter_mut().filter_map(|piece| piece.data.take()).collect();
        Ok(Arrival::Whole(len, pieces))
    }

    /// `key` will not give a piece.
    ///
    /// # Errors
    /// That it refuses too often.
    pub(super) fn handle_refusal(&mut self, key: PeerKey, number: u32) -> Result<(), String> {
        let source = self.tick_off(key, number)?;
        source.rests = true;
        source.refusals += 1;
        if source.refusals >= METADATA_REFUSALS_MAX {
            return Err("it refuses the metadata that it offered".into());
        }
        Ok(())
    }

    /// What `key` was asked for is answered.
    fn tick_off(&mut self, key: PeerKey, number: u32) -> Result<&mut Source, String> {
        let unasked =
            || format!("it answers for piece {number} of metadata, which nobody asked for");
        let source = self.sources.get_mut(&key).ok_or_else(unasked)?;
        // Bound: limits::METADATA_ASKED_MAX
        let place = source.asked.iter().position(|(asked, _)| *asked == number);
        source.asked.swap_remove(place.ok_or_else(unasked)?);
        if source.asked.is_empty() {
            self.idle.insert(key);
        }
        if let Some(of_its_len) = self.tries.get_mut(&source.len)
            && of_its_len.number == source.number
        {
            of_its_len.pieces[number as usize].askers -= 1;
        }
        Ok(source)
    }

    /// Whether `key` owes a piece for too long.
    pub(super) fn is_overdue(&self, key: PeerKey, now: Instant) -> bool {
        let asked = self.sources.get(&key).map(|source| &source.asked);
        // Bound: limits::METADATA_ASKED_MAX
        asked.is_some_and(|asked| asked.iter().any(|(_, at)| now >= *at + METADATA_ANSWER_MAX))
    }

    /// Whoever refused may be asked again.
    pub(super) fn rest_is_over(&mut self, key: PeerKey) {
        if let Some(source) = self.sources.get_mut(&key) {
            source.rests = false;
        }
    }

    /// `key` is gone: what it was asked for is others' to send.
    pub(super) fn handle_gone(&mut self, key: PeerKey, now: Instant, steps: &mut Steps) {
        self.idle.remove(&key);
        let Some(source) = self.sources.remove(&key) else { return };
        let Some(of_its_len) = self.tries.get_mut(&source.len) else { return };
        if of_its_len.number != source.number {
            return;
        }
        of_its_len.sources -= 1;
        // Bound: limits::METADATA_ASKED_MAX
        for (number, _) in source.asked {
            of_its_len.pieces[number as usize].askers -= 1;
        }
        if of_its_len.checked {
            return;
        }
        if of_its_len.whose == Whose::Ones(key) {
            of_its_len.begin_again(Whose::NextOnes, now, steps);
        }
        self.drop_if_left(source.len);
    }

    /// The pieces of this length were wrong: whose fault it is, if that is known.
    pub(super) fn handle_wrong(
        &mut self,
        len: u32,
        now: Instant,
        steps: &mut Steps,
    ) -> Option<PeerKey> {
        let of_its_len = self.tries.get_mut(&len)?;
        let guilty = of_its_len.only_sender(steps);
        let whose = match (guilty, of_its_len.whose) {
            (Some(_), Whose::Anybodys) => Whose::Anybodys,
            (Some(_), Whose::NextOnes | Whose::Ones(_)) | (None, _) => Whose::NextOnes,
        };
        of_its_len.begin_again(whose, now, steps);
        self.drop_if_left(len);
        guilty
    }

    /// What was whole is lost, and nobody is to blame.
    pub(super) fn handle_lost(&mut self, len: u32, now: Instant, steps: &mut Steps) {
        if let Some(of_its_len) = self.tries.get_mut(&len) {
            of_its_len.begin_again(of_its_len.whose, now, steps);
            self.drop_if_left(len);
        }
    }

    /// Some of those who have nothing to do, to be asked again: the next in turn.
    pub(super) fn poll_idle(&mut self) -> Vec<PeerKey> {
        let behind = (Bound::Excluded(self.woken), Bound::Unbounded);
        // Bound: limits::METADATA_WAKES
        let mut idle: Vec<_> = self.idle.range(behind).take(METADATA_WAKES).copied().collect();
        if idle.is_empty() {
            // Bound: limits::METADATA_WAKES
            idle = self.idle.iter().take(METADATA_WAKES).copied().collect();
        }
        self.woken = idle.last().copied().unwrap_or_default();
        idle
    }

    /// Others say another length: the oldest try makes room if it has had its time. The bytes that
    /// are free now.
    fn make_room(&mut self, now: Instant) -> u64 {
        // Bound: limits::METADATA_TRIES
        let unchecked = self.tries.iter().filter(|(_, one)| !one.checked);
        // Bound: limits::METADATA_TRIES
        let late = unchecked.filter(|(_, one)| one.is_late(now));
        let oldest = late.min_by_key(|(_, one)| one.begun).map(|(len, _)| *len);
        oldest.and_then(|len| self.tries.remove(&len).map(|_| len.into())).unwrap_or(0)
    }

    /// A try without a peer is over, unless the clerk looks at it.
    fn drop_if_left(&mut self, len: u32) {
        if self.tries.get(&len).is_some_and(|one| one.sources == 0 && !one.checked) {
            self.tries.remove(&len);
        }
    }

    /// Asserts every invariant; for tests.
    pub(super) fn check(&self) {
        assert!(self.tries.len() <= METADATA_TRIES);
        // Bound: none; for tests.
        for one in self.tries.values() {
            // Bound: none; for tests.
            let here = one.pieces.iter().filter(|piece| piece.data.is_some()).count();
            assert!(one.checked || here + one.missing == one.pieces.len());
            assert!(!one.checked || here == 0, "the clerk has it");
        }
        // Bound: none; for tests.
        for (key, source) in &self.sources {
            assert!(source.asked.len() <= METADATA_ASKED_MAX);
            assert_eq!(self.idle.contains(key), source.asked.is_empty());
        }
        // Bound: none; for tests.
        for (len, one) in &self.tries {
            let takes_part = |source: &&Source| (source.len, source.number) == (*len, one.number);
            // Bound: none; for tests.
            assert_eq!(self.sources.values().filter(takes_part).count(), one.sources as usize);
        }
        // Bound: none; for tests.
        assert!(self.idle.iter().all(|key| self.sources.contains_key(key)));
    }
}

#[cfg(test)]
mod tests;
