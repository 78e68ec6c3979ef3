//! Rings that were separated, or never met, become one; and a ring that winds twice is unwound.
//!
//! Stabilisation can do neither. So each member remembers some nodes that it met before, *weak ties*
//! (Chord, section 7, proposes "long-term memory of a random set of nodes"), and now and then looks
//! its own place up through one of them. Whoever is told to be responsible for it there, if that is
//! another node, is of another ring, or knows a shorter way round this one: its neighbourhood is
//! taken in, as a union, so that nobody is skipped.
//!
//! A node whose successors are all gone is a ring of one that does the same. The model check goes
//! through small rings in which nodes die, take live ones for dead and merge at any time, and all of
//! them become one ring.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::{Query, State};
use crate::machines::chord::lookup::Goal;
use crate::machines::chord::membership::{Membership, Standing};
use crate::machines::chord::node::{Node, Timer};
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::ring::{Ring, Step, is_between};
use crate::machines::chord::{Contact, News};
use crate::words::limits::ring as limits;

/// A node that was met before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tie {
    /// When it may be looked through again, and the time to the next, which doubles while it is
    /// silent.
    next: Instant,
    every: Duration,
    /// It has answered us, or whoever uses this node named it.
    pub(super) is_proved: bool,
}

/// A neighbourhood that is being taken in.
#[derive(Clone, Debug)]
pub(super) struct Merging {
    answered: Vec<Contact>,
    waiting: BTreeSet<SocketAddr>,
    /// The node before our place there.
    before: Option<SocketAddr>,
}

impl Membership {
    /// Remembers a node.
    pub(super) fn add_weak_tie(&mut self, now: Instant, address: SocketAddr, is_proved: bool) {
        let tie = Tie { next: now, every: limits::PROBE_EVERY, is_proved };
        self.weak_ties.entry(address).or_insert(tie).is_proved |= is_proved;
        self.make_room_beside(address);
    }

    /// If there are many, the one that has been silent for longest goes. Those of whom only others
    /// have said that they are there, which may be any number, have a quarter of the room.
    fn make_room_beside(&mut self, address: SocketAddr) {
        let unproved_max = limits::WEAK_TIES_MAX / 4;
        let Some(Tie { is_proved, .. }) = self.weak_ties.get(&address).copied() else { return };
        let room = if is_proved { limits::WEAK_TIES_MAX - unproved_max } else { unproved_max };
        let of_kind = || self.weak_ties.iter().filter(|(_, tie)| tie.is_proved == is_proved);
        if of_kind().count() > room {
            let others = of_kind().filter(|(other, _)| **other != address);
            let oldest = others.max_by_key(|(_, tie)| (tie.every, tie.next)).map(|(it, _)| *it);
            self.weak_ties.retain(|address, _| Some(*address) != oldest);
        }
    }
}

impl Node {
    pub(super) fn start_probing(&mut self) {
        let every = if self.ring.head().is_none() {
            let every = self.membership.alone_retry;
            self.membership.alone_retry = (every * 2).min(limits::PROBE_EVERY);
            every
        } else {
            self.membership.alone_retry = limits::ALONE_RETRY;
            limits::PROBE_EVERY
        };
        let after = self.jitter(every);
        self.start_timer(after, Timer::Probe);
    }

    /// Looks for our place through a weak tie that is no neighbour, by chance.
    pub(super) fn handle_probe_due(&mut self) {
        self.start_probing();
        if self.membership.standing != Standing::Member {
            return;
        }
        let me = self.me().address;
        let alone = self.ring.head().is_none();
        let known = |address: &SocketAddr| {
            *address == me || self.ring.successors().iter().any(|it| it.address == *address)
        };
        let due = self
            .membership
            .weak_ties
            .iter()
            .filter(|(address, tie)| (alone || tie.next <= self.now) && !known(address));
        let due: Vec<_> = due.map(|(address, _)| *address).collect();
        let count = if alone { limits::MERGE_HINTS } else { 1 };
        for _ in 0..count.min(due.len()) {
            let pick = self.rng.below(u32::try_from(due.len()).unwrap_or(1)) as usize;
            self.probe(self.contact(due[pick]));
        }
    }

    /// Looks our place up, beginning at `through`.
    pub(super) fn probe(&mut self, through: Contact) {
        let goal = Goal::Probe(through);
        if self.lookups.values().all(|lookup| lookup.goal != goal) {
            self.begin_lookup(goal, self.me().id);
        }
    }

    /// The same through a finger: it shows loops that are longer than the list of successors.
    pub(super) fn handle_loop_check_due(&mut self) {
        let fingers: Vec<_> = self.fingers.heard().collect();
        if let Some(last) = u32::try_from(fingers.len()).ok().filter(|count| *count > 0) {
            let through = fingers[self.rng.below(last) as usize];
            if self.is_member() {
                self.probe(through);
            }
            // Somebody far away, for the day when the ring breaks between us.
            let tie = fingers[self.rng.below(last) as usize];
            self.membership.add_weak_tie(self.now, tie.address, true);
        }
        let after = self.jitter(limits::LOOP_CHECK_EVERY);
        self.start_timer(after, Timer::LoopCheck);
    }

    /// The lookup of our place through `through` has ended at `owner`.
    pub(super) fn handle_probed(&mut self, through: Contact, owner: Option<Contact>) {
        let now = self.now;
        if let Some(tie) = self.membership.weak_ties.get_mut(&through.address) {
            let every = if owner.is_none() { tie.every * 2 } else { limits::PROBE_EVERY };
            tie.every = every.min(limits::PROBE_EVERY * 16);
            tie.is_proved |= owner.is_some();
            tie.next = now + tie.every;
        }
        self.membership.make_room_beside(through.address);
        let me = self.me();
        let Some(owner) = owner.filter(|owner| owner.id != me.id && self.is_member()) else {
            return;
        };
        if self.membership.merging.is_none() {
            let query = Query::GetState { digest: None, rectify: None };
            let waiting = BTreeSet::from([owner.address]);
            if self.ask(owner, query, None, Purpose::Merge, 2) {
                let merging = Merging { answered: Vec::new(), waiting, before: None };
                self.membership.merging = Some(merging);
            }
        }
    }

    /// The other ring's owner of our place told who is next to it: each is asked whether it lives.
    pub(super) fn handle_merge_state(&mut self, owner: Contact, state: &State) {
        let (me, contact) = (self.me(), self.placing());
        let Some(merging) = &mut self.membership.merging else { return };
        if !merging.waiting.remove(&owner.address) {
            return;
        }
        merging.answered.push(owner);
        merging.before = state.predecessor.filter(|address| *address != me.address);
        let known = self.ring.successors();
        let others = state.successors.iter().copied().map(contact);
        let others: Vec<_> = others.filter(|it| *it != me && !known.contains(it)).collect();
        for other in others {
            let asked = self.ask(other, Query::Ping(None), None, Purpose::MergeAlive, 2);
            if let Some(merging) = self.membership.merging.as_mut().filter(|_| asked) {
                merging.waiting.insert(other.address);
            }
        }
        self.finish_merge();
    }

    pub(super) fn handle_merge_alive(&mut self, from: Contact, answered: bool) {
        let Some(merging) = &mut self.membership.merging else { return };
        if merging.waiting.remove(&from.address) && answered {
            merging.answered.push(from);
        }
        self.finish_merge();
    }

    /// Takes in those that have answered, once nobody is waited for.
    fn finish_merge(&mut self) {
        let Some(merging) = self.membership.merging.take_if(|it| it.waiting.is_empty()) else {
            return;
        };
        if self.membership.standing != Standing::Member {
            return;
        }
        let (alone, me) = (self.ring.head().is_none(), self.me());
        let mut steps = Vec::new();
        self.ring.merge(self.rules(), &merging.answered, &mut steps);
        self.perform(&steps, None);
        if !steps.contains(&Step::NewHead) {
            return;
        }
        if alone {
            self.news.push_back(News::Joined(me.address));
        }
        if let Some(before) = merging.before {
            self.tell(before, Query::Hint(me.address));
        }
        self.spread_hints(&merging.answered);
    }

    /// Others of this ring are told of the other one, so that it is not found by one node alone.
    fn spread_hints(&mut self, found: &[Contact]) {
        let Some(about) = found.first().copied() else { return };
        let mut fingers: Vec<_> = self.fingers.heard().collect();
        fingers.retain(|finger| !found.contains(finger));
        self.rng.shuffle(&mut fingers);
        for finger in fingers.into_iter().take(limits::MERGE_HINTS) {
            self.tell(finger.address, Query::Hint(about.address));
        }
    }

    /// `from` says that we should ask `about`, and may lie (R8). A head that names itself has
    /// another list of successors.
    pub(super) fn handle_hint(&mut self, from: SocketAddr, about: Contact) {
        let me = self.me();
        if about.address == from && self.ring.head() == Some(about) {
            return self.handle_change();
        }
        if about == me || !self.is_member() || self.ring.successors().contains(&about) {
            return;
        }
        self.membership.add_weak_tie(self.now, about.address, false);
        let head = self.ring.head();
        if head.is_some_and(|head| is_between(me, about, head)) {
            return self.handle_change();
        }
        let hinted = self.membership.hinted_at;
        let often =
            hinted.is_some_and(|at| self.now.saturating_duration_since(at) < limits::ALONE_RETRY);
        let tie = self.membership.weak_ties.get(&about.address);
        if !often && tie.is_some_and(|tie| tie.next <= self.now) {
            self.membership.hinted_at = Some(self.now);
            self.probe(about);
        }
    }

    /// The last successor is gone: a ring of one, until a tie leads back.
    pub(super) fn handle_orphaned(&mut self) {
        let me = self.me();
        let known: Vec<_> = self.nodes_before().chain(self.fingers.heard()).collect();
        for contact in known.into_iter().take(limits::WEAK_TIES_MAX / 2) {
            self.membership.add_weak_tie(self.now, contact.address, true);
        }
        self.ring = Ring::alone(me);
        self.before.clear();
        self.witnesses.clear();
        self.head_state = None;
        self.news.push_back(News::Alone);
        self.membership.alone_retry = limits::ALONE_RETRY;
        self.handle_probe_due_once();
    }

    fn handle_probe_due_once(&mut self) {
        let ties: Vec<_> = self.membership.weak_ties.keys().copied().collect();
        for _ in 0..limits::MERGE_HINTS.min(ties.len()) {
            let pick = self.rng.below(u32::try_from(ties.len()).unwrap_or(1)) as usize;
            self.probe(self.contact(ties[pick]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::chord::Settings;

    fn address(a: u8, n: u16) -> SocketAddr {
        let [high, low] = n.to_be_bytes();
        SocketAddr::from(([10, a, high, low], 6881))
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn hints_without_end_displace_nobody_who_has_answered() {
        let members: Vec<_> = (0..40).map(|n| Contact::at(address(1, n))).collect();
        let mut node = Node::new(Settings::default(), members[0].address, 1, Instant::now());
        let mut ring = members.clone();
        ring.sort_unstable();
        node.settle(&ring, |_| Duration::from_millis(80));
        let met: BTreeSet<_> = (0..48).map(|n| address(2, n)).collect();
        let now = node.now;
        met.iter().for_each(|it| node.membership.add_weak_tie(now, *it, true));
        for n in 0..2000 {
            let hinted = Contact::at(address(3, n));
            node.handle_hint(members[1].address, hinted);
            node.check();
            // Nobody there answers, nor do those whom it met.
            node.handle_probed(hinted, None);
            node.handle_probed(Contact::at(address(2, n % 48)), None);
            node.check();
        }
        let ties = &node.membership.weak_ties;
        let proved = ties.iter().filter(|(_, tie)| tie.is_proved).map(|(address, _)| *address);
        assert_eq!(proved.collect::<BTreeSet<_>>(), met);
        assert_eq!(ties.len(), limits::WEAK_TIES_MAX, "and a few others are heard of");
        let contacts = node.contacts();
        let hinted: BTreeSet<_> = (0..2000).map(|n| address(3, n)).collect();
        assert!(contacts.iter().all(|it| !hinted.contains(it)), "{contacts:?}");
        assert!(contacts.iter().any(|it| met.contains(it)));
        assert!(contacts.len() <= limits::ENTRY_POINTS_MAX);
        // Whoever was named and answers is one of those who have.
        for n in 0..200 {
            let named = Contact::at(address(4, n));
            node.membership.add_weak_tie(now, named.address, false);
            node.handle_probed(named, Some(node.me()));
            node.check();
        }
        node.membership.add_weak_tie(now, address(5, 1), true);
        node.check();
    }
}
