//! One lookup: which node to ask next (Chord, section 4.4, iterative).
//!
//! The asker keeps the lookup in its hands: each node that it asks names nodes nearer to the key,
//! and who it takes for responsible. Among the nodes before the key the nearest is asked next,
//! until one of them names the owner; the owner is asked itself, and has the last word. One
//! question is under way at a time; one more joins it for each answer that is slow, and from the
//! first timeout on two are. Where the owner and its next heirs are silent, whoever is nearest
//! before the key is asked for all nodes after it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::formats::krpc::{Sharer, Token};
use crate::machines::chord::fingers::Slot;
use crate::machines::chord::{Contact, Report};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// What a lookup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Whoever shares a torrent: the first answer that names somebody ends it.
    Get(InfoHash),
    /// The owner of a torrent's entries, to announce there.
    Announce(InfoHash),
    /// Our own place, to join.
    Join,
    /// A better finger for a slot.
    Finger(Slot),
    /// Our own place as this node's ring sees it.
    Probe(Contact),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Untried,
    Asked,
    Answered,
    Silent,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    contact: Contact,
    standing: Standing,
    asked_at: Instant,
    /// It was asked for the nodes after it.
    listed: bool,
    /// How many answers led to it.
    depth: u32,
    token: Option<Token>,
}

/// What one node answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) nodes: Vec<Contact>,
    pub(super) owner: Option<Contact>,
    pub(super) sharers: Vec<Sharer>,
    pub(super) token: Option<Token>,
}

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) goal: Goal,
    pub(super) target: RingId,
    started: Instant,
    quick: bool,
    /// Nodes by their distance to the target, clockwise: those just before it come first, those just
    /// after it last.
    candidates: BTreeMap<RingId, Candidate>,
    /// Who is said to be responsible, the last word first asked for.
    claimed: Option<Contact>,
    /// The nearest node before the target that answered.
    nearest: Option<RingId>,
    outstanding: u32,
    requests: u32,
    timeouts: u32,
    found: BTreeSet<Sharer>,
    first_found: Option<Duration>,
    /// How it ends unless another holder knows more than the owner, who knows of nobody.
    last_word: Option<End>,
    end: Option<End>,
}

/// How a lookup ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) owner: Option<Contact>,
    pub(super) token: Option<Token>,
    hops: u32,
    took: Duration,
}

impl Lookup {
    pub(super) fn new(goal: Goal, target: RingId, quick: bool, now: Instant) -> Self {
        Self {
            goal,
            target,
            started: now,
            quick,
            candidates: BTreeMap::new(),
            claimed: None,
            nearest: None,
            outstanding: 0,
            requests: 0,
            timeouts: 0,
            found: BTreeSet::new(),
            first_found: None,
            last_word: None,
            end: None,
        }
    }

    /// A node to begin with.
    pub(super) fn add(&mut self, contact: Contact) {
        self.insert(contact, 0);
    }

    /// Begins at the node that is responsible, as far as we know.
    pub(super) fn claim(&mut self, owner: Contact) {
        self.insert(owner, 0);
        self.claimed = Some(owner);
    }

    fn insert(&mut self, contact: Contact, depth: u32) {
        let distance = contact.id.clockwise_to(self.target);
        let (standing, asked_at) = (Standing::Untried, self.started);
        let new = Candidate { contact, standing, asked_at, listed: false, depth, token: None };
        self.candidates.entry(distance).or_insert(new);
        if self.candidates.len() > limits::CANDIDATES_MAX {
            // The farthest from the target on both sides is in the middle of the map.
            let middle = RingId::part(2);
            let after = self.candidates.range(middle..).next().map(|(distance, _)| *distance);
            let before = self.candidates.range(..middle).next_back().map(|(distance, _)| *distance);
            let drop = match (before, after) {
                (Some(before), Some(after)) => {
                    let gap = after.clockwise_to(RingId::default());
                    Some(if gap > before { after } else { before })
                }
                (before, after) => before.or(after),
            };
            let untried = |distance: &RingId| {
                self.candidates.get(distance).is_some_and(|it| it.standing != Standing::Asked)
            };
            if let Some(distance) = drop.filter(untried) {
                self.candidates.remove(&distance);
            }
        }
    }

    /// Whether it has no node to begin with.
    pub(super) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// The next node to ask, if one is to be asked now.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Contact> {
        if self.end.is_some() || self.outstanding >= self.allowed(now) {
            return None;
        }
        let next = self.next().filter(|_| self.requests < limits::LOOKUP_REQUESTS_MAX);
        let Some(distance) = next else {
            if self.outstanding == 0 {
                self.give_up(now);
            }
            return None;
        };
        let candidate = self.candidates.get_mut(&distance)?;
        candidate.listed = candidate.standing == Standing::Answered;
        candidate.standing = Standing::Asked;
        candidate.asked_at = now;
        self.outstanding += 1;
        self.requests += 1;
        Some(candidate.contact)
    }

    /// How many questions may be under way: one that is answered in time, beside the slow ones.
    fn allowed(&self, now: Instant) -> u32 {
        if !self.quick {
            return 1;
        }
        let waited = |it: &Candidate| now.saturating_duration_since(it.asked_at);
        let is_slow =
            |it: &&Candidate| it.standing == Standing::Asked && waited(it) >= limits::HEDGE;
        let slow = self.candidates.values().filter(is_slow).take(limits::SLOW_MAX).count();
        let slow = u32::try_from(slow).expect("they are few");
        1 + slow.max(u32::from(self.timeouts > 0))
    }

    /// Whether `contact` is asked now for the nodes after it, not for the way.
    pub(super) fn wants_list(&self, contact: Contact) -> bool {
        let candidate = self.candidates.get(&contact.id.clockwise_to(self.target));
        candidate.is_some_and(|it| it.listed && it.standing == Standing::Asked)
    }

    /// The nearest before the target, if none of those right after it that it has named answers, and
    /// it has not been asked for more of them.
    fn list_holder(&self) -> Option<RingId> {
        let after = self.candidates.range(RingId::part(2)..).rev();
        let silent = after.take_while(|(_, it)| it.standing == Standing::Silent).count();
        let nearest = self.nearest.filter(|_| silent >= limits::CONTACTS_ANSWERED / 2)?;
        let holder = self.candidates.get(&nearest)?;
        (holder.standing == Standing::Answered && !holder.listed).then_some(nearest)
    }

    /// The claimed owner; while it is asked and slow, whoever is next to it; else the nearest before
    /// the target, if it is nearer than those that answered.
    fn next(&self) -> Option<RingId> {
        let is_untried =
            |(_, candidate): &(&RingId, &Candidate)| candidate.standing == Standing::Untried;
        if self.last_word.is_some() {
            // The nearest before the key hold its entries too, and an owner that is new may not.
            let before = self.candidates.range(..RingId::part(2)).take(limits::HOLDERS_ASKED);
            return before.filter(is_untried).map(|(distance, _)| *distance).next();
        }
        let claimed = self.claimed.map(|owner| owner.id.clockwise_to(self.target));
        let standing = |distance| self.candidates.get(&distance).map(|it: &Candidate| it.standing);
        if let Some(distance) = claimed {
            match standing(distance) {
                Some(Standing::Untried) => return Some(distance),
                // It takes another's place when the one that was to have the last word has none: the
                // nearest after the target inherits the key.
                Some(Standing::Silent) | None => {
                    if let Some(holder) = self.list_holder() {
                        return Some(holder);
                    }
                    let mut after = self.candidates.range(RingId::part(2)..).rev();
                    let heir = after.find(|(_, it)| it.standing != Standing::Silent);
                    if let Some((distance, heir)) = heir {
                        return (heir.standing == Standing::Untried).then_some(*distance);
                    }
                }
                Some(Standing::Asked | Standing::Answered) => {}
            }
        }
        let nearer = |distance: &RingId| self.nearest.is_none_or(|nearest| *distance < nearest);
        // Whoever is farther may know a way round those that were silent.
        let lost = self.timeouts > 0 && self.outstanding == 0;
        let next = self.candidates.iter().find(is_untried).map(|(distance, _)| *distance);
        next.filter(|distance| nearer(distance) || lost)
    }

    /// Whether `contact` is said to be responsible: its silence weighs more than another's.
    pub(super) fn is_claimed(&self, contact: Contact) -> bool {
        self.claimed == Some(contact)
    }

    /// `from` named the nodes after it.
    pub(super) fn handle_list(&mut self, from: Contact, after: impl Iterator<Item = Contact>) {
        let distance = from.id.clockwise_to(self.target);
        let Some(candidate) = self.candidates.get_mut(&distance) else { return };
        if candidate.contact != from || candidate.standing != Standing::Asked {
            return;
        }
        candidate.standing = Standing::Answered;
        let depth = candidate.depth;
        self.outstanding -= 1;
        after.for_each(|contact| self.insert(contact, depth + 1));
    }

    /// `from` answered. What it names that was not named before comes back.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        from: Contact,
        heard: &Heard,
    ) -> Vec<Sharer> {
        let distance = from.id.clockwise_to(self.target);
        let Some(candidate) = self.candidates.get_mut(&distance) else { return Vec::new() };
        if candidate.contact != from || candidate.standing != Standing::Asked {
            return Vec::new();
        }
        candidate.standing = Standing::Answered;
        candidate.token = heard.token;
        let depth = candidate.depth;
        self.outstanding -= 1;
        let is_before = distance < RingId::part(2);
        if is_before && self.nearest.is_none_or(|nearest| distance < nearest) {
            self.nearest = Some(distance);
        }
        for node in heard.nodes.iter().chain(heard.owner.as_ref()) {
            self.insert(*node, depth + 1);
        }
        let room = limits::SHARERS_MAX.saturating_sub(self.found.len());
        let new = heard.sharers.iter().filter(|sharer| self.found.insert(**sharer));
        let new: Vec<_> = new.take(room).copied().collect();
        let took = now.saturating_duration_since(self.started);
        if !new.is_empty() {
            self.first_found.get_or_insert(took);
        }
        let has_last_word = match heard.owner {
            Some(owner) if owner == from => true,
            Some(owner) => {
                // A node that is nearer knows better; one that was silent is none to hand on to.
                let at = owner.id.clockwise_to(self.target);
                let dead =
                    self.candidates.get(&at).is_some_and(|it| it.standing == Standing::Silent);
                let heir = self.claimed.is_some() && dead;
                if !heir {
                    self.claimed = Some(owner);
                }
                heir && !is_before
            }
            None => false,
        };
        let enough = matches!(self.goal, Goal::Get(_)) && !self.found.is_empty();
        if has_last_word || enough {
            let owner = has_last_word.then_some(from);
            let end = End { owner, token: heard.token, hops: depth + 1, took };
            let unsure = matches!(self.goal, Goal::Get(_)) && !enough && self.quick;
            if unsure {
                self.last_word.get_or_insert(end);
            } else {
                self.end =
                    Some(End { owner: self.last_word.map_or(owner, |end| end.owner), ..end });
            }
        }
        new
    }

    /// `silent` did not answer in time.
    pub(super) fn handle_silent(&mut self, silent: Contact) {
        let distance = silent.id.clockwise_to(self.target);
        let asked = self.candidates.get_mut(&distance).filter(|it| it.standing == Standing::Asked);
        if let Some(candidate) = asked.filter(|candidate| candidate.contact == silent) {
            candidate.standing = Standing::Silent;
            self.outstanding -= 1;
            self.timeouts += 1;
        }
    }

    /// There is nobody left to ask: the nearest after the target that answered is the owner's heir.
    fn give_up(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.started);
        if let Some(end) = self.last_word {
            self.end = Some(End { took, ..end });
            return;
        }
        let mut after = self.candidates.range(RingId::part(2)..).rev();
        let heir = after.find(|(_, it)| it.standing == Standing::Answered).map(|(_, it)| *it);
        let answered = heir.filter(|_| self.claimed.is_some());
        self.end = Some(End {
            owner: answered.map(|heir| heir.contact),
            token: answered.and_then(|heir| heir.token),
            hops: answered.map_or(0, |heir| heir.depth + 1),
            took,
        });
    }

    /// How it went.
    pub(super) fn report(&self, stored: bool) -> Report {
        Report {
            hops: self.end.map_or(0, |end| end.hops),
            requests: self.requests,
            timeouts: self.timeouts,
            took: self.end.map_or(Duration::ZERO, |end| end.took),
            first_found: self.first_found,
            found: u32::try_from(self.found.len()).unwrap_or(u32::MAX),
            responsible: self.end.and_then(|end| end.owner).map(|owner| owner.address),
            stored,
        }
    }

    pub(super) fn check(&self) {
        assert!(self.candidates.len() <= limits::CANDIDATES_MAX + 1);
        let asked = self.candidates.values().filter(|it| it.standing == Standing::Asked).count();
        assert_eq!(asked, self.outstanding as usize);
        assert!(self.found.len() <= limits::SHARERS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes at the hundredths of the ring; the key is at 50.5 hundredths.
    fn node(hundredths: u8) -> Contact {
        let id = RingId::part(100).times(u32::from(hundredths));
        Contact { id, address: ([10, 0, 0, hundredths], 1).into() }
    }

    fn heard(nodes: &[u8], owner: Option<u8>) -> Heard {
        let nodes = nodes.iter().map(|hundredths| node(*hundredths)).collect();
        Heard { nodes, owner: owner.map(node), ..Heard::default() }
    }

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn lookup(quick: bool) -> (Lookup, Instant) {
        let now = Instant::now();
        let target = RingId::part(200).times(101);
        (Lookup::new(Goal::Join, target, quick, now), now)
    }

    #[test]
    fn hop_by_hop_to_the_owner_which_has_the_last_word() {
        let (mut lookup, now) = lookup(true);
        lookup.add(node(10));
        lookup.add(node(5));
        let path: [(u8, &[u8], Option<u8>); 4] = [
            (10, &[30, 20, 40], None),
            (40, &[45, 49, 55], None),
            (49, &[50, 55], Some(55)),
            (55, &[50], Some(51)),
        ];
        for (at, nodes, owner) in path {
            assert_eq!(lookup.poll(now), Some(node(at)));
            assert_eq!(lookup.poll(now), None, "one question at a time");
            lookup.handle_answer(now, node(at), &heard(nodes, owner));
            assert_eq!(lookup.end(), None);
            lookup.check();
        }
        assert_eq!(lookup.poll(now), Some(node(51)));
        lookup.handle_answer(now, node(51), &heard(&[], Some(51)));
        let end = lookup.end().unwrap();
        assert_eq!((end.owner, end.hops), (Some(node(51)), 4), "55 was named by 40 already");
        assert_eq!(lookup.report(true).requests, 5);
    }

    #[test]
    fn a_slow_answer_is_not_waited_for_and_a_silent_owner_has_an_heir() {
        let (mut lookup, now) = lookup(true);
        lookup.add(node(40));
        lookup.add(node(30));
        assert_eq!(lookup.poll(now), Some(node(40)));
        let now = now + limits::HEDGE;
        assert_eq!(lookup.poll(now), Some(node(30)));
        assert_eq!(lookup.poll(now), None, "of two one is not slow");
        lookup.handle_answer(now, node(30), &heard(&[50, 51, 52], Some(51)));
        assert_eq!(lookup.poll(now), Some(node(51)), "beside the slow one");
        assert_eq!(lookup.poll(now), None);
        lookup.handle_silent(node(40));
        assert_eq!(lookup.poll(now), Some(node(50)), "after a timeout two are asked");
        lookup.handle_silent(node(51));
        assert_eq!(lookup.poll(now), Some(node(52)));
        lookup.handle_answer(now, node(50), &heard(&[], Some(51)));
        lookup.handle_answer(now, node(52), &heard(&[], Some(51)));
        assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(52)));
        lookup.check();
    }

    #[test]
    fn whoever_is_nearest_names_all_after_it_when_the_first_of_them_are_silent() {
        let (mut lookup, now) = lookup(false);
        lookup.add(node(50));
        assert_eq!(lookup.poll(now), Some(node(50)));
        lookup.handle_answer(now, node(50), &heard(&[51, 52, 53, 54], Some(51)));
        for silent in [51, 52, 53, 54] {
            assert_eq!(lookup.poll(now), Some(node(silent)));
            lookup.handle_silent(node(silent));
        }
        assert_eq!(lookup.poll(now), Some(node(50)));
        assert!(lookup.wants_list(node(50)));
        lookup.handle_list(node(50), (51..70).map(node));
        lookup.check();
        assert_eq!(lookup.poll(now), Some(node(55)));
        assert!(!lookup.wants_list(node(50)));
        lookup.handle_answer(now, node(55), &heard(&[], Some(51)));
        assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(55)));
    }

    #[test]
    fn the_first_that_shares_ends_a_search_and_none_is_told_twice() {
        let (mut lookup, now) = lookup(true);
        lookup.goal = Goal::Get(InfoHash([0; 20]));
        lookup.add(node(40));
        lookup.add(node(30));
        let sharer = Sharer { address: ([10, 0, 0, 1], 1).into(), seeder: true };
        let answer = Heard { sharers: vec![sharer, sharer], ..Heard::default() };
        assert_eq!(lookup.poll(now), Some(node(40)));
        let now = now + limits::HEDGE;
        assert_eq!(lookup.poll(now), Some(node(30)));
        assert_eq!(lookup.handle_answer(now, node(40), &answer), [sharer]);
        assert_eq!(lookup.handle_answer(now, node(30), &answer), []);
        let report = lookup.report(false);
        assert_eq!((report.found, report.hops, report.responsible), (1, 1, None));
    }

    #[test]
    fn an_owner_that_knows_of_nobody_is_not_believed_before_the_holders_beside_it() {
        let (mut lookup, now) = lookup(true);
        lookup.goal = Goal::Get(InfoHash([0; 20]));
        lookup.claim(node(51));
        [10, 20, 49, 50].into_iter().for_each(|at| lookup.add(node(at)));
        assert_eq!(lookup.poll(now), Some(node(51)));
        lookup.handle_answer(now, node(51), &heard(&[50], Some(51)));
        assert_eq!(lookup.poll(now), Some(node(50)));
        lookup.handle_answer(now, node(50), &heard(&[51], Some(51)));
        assert_eq!((lookup.poll(now), lookup.end()), (Some(node(49)), None));
        lookup.handle_silent(node(49));
        assert_eq!(lookup.poll(now), None);
        assert_eq!(lookup.end().and_then(|end| end.owner), Some(node(51)));
    }

    #[test]
    fn strangers_cannot_answer_and_nobody_leads_astray_for_ever() {
        let (mut lookup, now) = lookup(true);
        lookup.add(node(1));
        assert_eq!(lookup.handle_answer(now, node(1), &heard(&[2], Some(2))), []);
        assert_eq!(lookup.end(), None);
        let mut asked = 0;
        while let Some(contact) = lookup.poll(now) {
            asked += 1;
            let at = u8::try_from(asked).unwrap() + 1;
            let nodes: Vec<_> = (0..8).map(|n| at.saturating_add(n).min(99)).collect();
            lookup.handle_answer(now, contact, &heard(&nodes, Some(at.saturating_add(60))));
            lookup.check();
        }
        assert!(asked <= limits::LOOKUP_REQUESTS_MAX);
        assert!(lookup.end().is_some());
    }
}
