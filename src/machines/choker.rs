//! Who may download from us: a few slots, given to the peers that give us most (BEP 3, "choking").
//!
//! There is no round in which all peers are sorted. A peer's own measurement challenges the weakest
//! holder of a slot, a free slot is filled at once, and one more, the optimistic slot, goes round
//! among those who wait. Each call looks things up in ordered maps, and goes through nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::words::id::PeerKey;
use crate::words::limits;

/// What the engine has to tell a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It lost its slot.
    Choke(PeerKey),
    /// It has a slot.
    Unchoke(PeerKey),
}

/// The slots of one torrent and the queue for them.
#[derive(Debug, Default)]
pub struct Choker {
    /// Who holds a slot, the weakest first.
    slots: BTreeSet<(u64, PeerKey)>,
    optimistic: Option<PeerKey>,
    /// The interested that hold no slot, by the order in which they came.
    waiting: BTreeMap<u64, PeerKey>,
    standing: BTreeMap<PeerKey, Standing>,
    tickets: u64,
    changes: VecDeque<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// With its ticket.
    Waiting(u64),
    /// With the rate that was measured last.
    Holding(u64),
    Optimistic,
}

impl Choker {
    /// Whether `peer` may download.
    pub fn is_unchoked(&self, peer: PeerKey) -> bool {
        matches!(self.standing.get(&peer), Some(Standing::Holding(_) | Standing::Optimistic))
    }

    /// `peer` wants to download, among `peers` connected ones.
    pub fn handle_interested(&mut self, peer: PeerKey, peers: u32) {
        if self.standing.contains_key(&peer) {
            return;
        }
        if self.slots.len() < slots_for(peers) {
            self.hold(peer, 0);
            self.changes.push_back(Change::Unchoke(peer));
        } else if self.optimistic.is_none() {
            self.venture(peer);
        } else {
            self.wait(peer);
        }
    }

    /// `peer` no longer wants to download, or is gone; its slot goes to the next in the queue.
    pub fn handle_uninterested(&mut self, peer: PeerKey) {
        match self.standing.remove(&peer) {
            None => {}
            Some(Standing::Waiting(ticket)) => {
                self.waiting.remove(&ticket);
            }
            Some(Standing::Holding(rate)) => {
                self.slots.remove(&(rate, peer));
                self.changes.push_back(Change::Choke(peer));
                if let Some(next) = self.next_waiting() {
                    self.hold(next, 0);
                    self.changes.push_back(Change::Unchoke(next));
                }
            }
            Some(Standing::Optimistic) => {
                self.optimistic = None;
                self.changes.push_back(Change::Choke(peer));
                if let Some(next) = self.next_waiting() {
                    self.venture(next);
                }
            }
        }
    }

    /// `peer` was measured at `rate` bytes a second: it holds a slot from now on if it beats the
    /// weakest holder.
    pub fn handle_sample(&mut self, peer: PeerKey, rate: u64) {
        match self.standing.get(&peer).copied() {
            Some(Standing::Holding(old)) => {
                self.slots.remove(&(old, peer));
                self.hold(peer, rate);
            }
            Some(Standing::Waiting(ticket)) if self.displace_weakest(peer, rate) => {
                self.waiting.remove(&ticket);
                self.changes.push_back(Change::Unchoke(peer));
            }
            Some(Standing::Optimistic) if self.displace_weakest(peer, rate) => {
                self.optimistic = None;
                if let Some(next) = self.next_waiting() {
                    self.venture(next);
                }
            }
            Some(Standing::Waiting(_) | Standing::Optimistic) | None => {}
        }
    }

    /// Passes the optimistic slot on (BEP 3: "Optimistic unchoke … every 30 seconds").
    pub fn rotate(&mut self) {
        let Some(next) = self.next_waiting() else { return };
        if let Some(old) = self.optimistic.take() {
            self.changes.push_back(Change::Choke(old));
            self.wait(old);
        }
        self.venture(next);
    }

    /// What is to be told, in order.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Takes the weakest holder's slot for `peer` if `rate` is higher than the holder's.
    fn displace_weakest(&mut self, peer: PeerKey, rate: u64) -> bool {
        let Some(&(weakest, loser)) = self.slots.first() else { return false };
        if weakest >= rate {
            return false;
        }
        self.slots.pop_first();
        self.changes.push_back(Change::Choke(loser));
        self.wait(loser);
        self.hold(peer, rate);
        true
    }

    fn hold(&mut self, peer: PeerKey, rate: u64) {
        self.slots.insert((rate, peer));
        self.standing.insert(peer, Standing::Holding(rate));
    }

    fn venture(&mut self, peer: PeerKey) {
        self.optimistic = Some(peer);
        self.standing.insert(peer, Standing::Optimistic);
        self.changes.push_back(Change::Unchoke(peer));
    }

    fn wait(&mut self, peer: PeerKey) {
        self.tickets += 1;
        self.waiting.insert(self.tickets, peer);
        self.standing.insert(peer, Standing::Waiting(self.tickets));
    }

    fn next_waiting(&mut self) -> Option<PeerKey> {
        self.waiting.pop_first().map(|(_, peer)| peer)
    }

    /// How many entries its tables have; for tests.
    pub fn footprint(&self) -> usize {
        self.slots.len() + self.waiting.len() + self.standing.len() + self.changes.len()
    }

    /// Asserts every invariant; for tests.
    pub fn check(&self) {
        assert!(self.slots.len() <= limits::SLOTS_MAX);
        // Bound: none; for tests.
        for (rate, peer) in &self.slots {
            assert_eq!(self.standing.get(peer), Some(&Standing::Holding(*rate)));
        }
        // Bound: none; for tests.
        for (ticket, peer) in &self.waiting {
            assert_eq!(self.standing.get(peer), Some(&Standing::Waiting(*ticket)));
        }
        if let Some(peer) = self.optimistic {
            assert_eq!(self.standing.get(&peer), Some(&Standing::Optimistic));
        }
        let known = self.slots.len() + self.waiting.len() + usize::from(self.optimistic.is_some());
        assert_eq!(self.standing.len(), known, "everybody stands in one place");
    }
}

/// The slots for `peers` connected peers: four, or the square root where there are many.
fn slots_for(peers: u32) -> usize {
    (peers.isqrt() as usize).clamp(limits::SLOTS_MIN, limits::SLOTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::id::Key;
    use crate::words::rng::Rng;

    fn peer(index: u32) -> PeerKey {
        PeerKey(Key { index, generation: 0 })
    }

    /// The changes since the last look as a picture: `"+1 -2"`.
    fn said(choker: &mut Choker) -> String {
        choker.check();
        let changes = std::iter::from_fn(|| choker.poll_change());
        let drawn = changes.map(|change| match change {
            Change::Choke(peer) => format!("-{peer}"),
            Change::Unchoke(peer) => format!("+{peer}"),
        });
        drawn.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn slots_are_filled_at_once_and_passed_on() {
        let mut choker = Choker::default();
        for n in 0..7 {
            choker.handle_interested(peer(n), 7);
        }
        assert_eq!(said(&mut choker), "+0 +1 +2 +3 +4", "four slots and the optimistic one");
        choker.handle_uninterested(peer(2));
        assert_eq!(said(&mut choker), "-2 +5");
        choker.rotate();
        assert_eq!(said(&mut choker), "-4 +6");
        choker.handle_uninterested(peer(6));
        assert_eq!(said(&mut choker), "-6 +4");
    }

    #[test]
    fn a_better_rate_takes_the_weakest_slot() {
        let mut choker = Choker::default();
        (0..6).for_each(|n| choker.handle_interested(peer(n), 6));
        (0..4).for_each(|n| choker.handle_sample(peer(n), 10 + u64::from(n)));
        assert_eq!(said(&mut choker), "+0 +1 +2 +3 +4");
        choker.handle_sample(peer(5), 10);
        assert_eq!(said(&mut choker), "", "as weak as the weakest is not better");
        choker.handle_sample(peer(4), 12);
        assert_eq!(said(&mut choker), "-0 +5", "the optimistic peer moves up, the next follows");
        assert!(choker.is_unchoked(peer(4)) && !choker.is_unchoked(peer(0)));
    }

    #[test]
    fn with_steady_rates_the_best_hold_the_slots() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let rates: Vec<u64> = (0..15).map(|_| 1 + rng.next_u64() % 1_000_000).collect();
            let mut choker = Choker::default();
            (0..15).for_each(|n| choker.handle_interested(peer(n), 15));
            for _ in 0..2 {
                for (n, rate) in (0..).zip(&rates) {
                    choker.handle_sample(peer(n), *rate);
                    choker.check();
                }
            }
            let mut best: Vec<u64> = rates.clone();
            best.sort_unstable_by(|a, b| b.cmp(a));
            let held: Vec<u64> = choker.slots.iter().map(|(rate, _)| *rate).collect();
            assert!(best[..4].iter().all(|rate| held.contains(rate)), "seed {seed}");
        }
    }
}
