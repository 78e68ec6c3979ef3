//! One lookup: which node to ask next (Chord, section 4.4, iterative).
//!
//! The asker keeps the lookup in its hands: each node that it asks names nodes nearer to the key,
//! and who it takes for responsible. Among the nodes before the key the nearest is asked next,
//! until one of them names the owner; the owner is asked itself, and has the last word, unless
//! somebody was named that is nearer and not known to be silent.
//!
//! One question is under way at a time. An answer that is slow is not waited for: others are asked
//! beside it, and from then on two at a time, since where one node is dead others are. Where the
//! owner and its next heirs are silent, whoever is nearest before the key is asked for all nodes
//! after it; and where all that were named are silent, it goes on from the successors of the
//! nearest that is not, which may be ourselves.
//!
//! Some of those who answer lie: `doubts` says when nobody is believed yet, `namers` who is not.

mod candidates;
mod doubts;
mod namers;
mod twins;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::{Sharer, Token};
use crate::machines::chord::fingers::Slot;
use crate::machines::chord::{Contact, Report};
use crate::words::address::may_name;
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

use namers::Namers;
use twins::{Twins, one_a_place};

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
    /// From when on its answer is slow.
    slow_at: Instant,
    /// It was asked for the nodes after it.
    listed: bool,
    /// How many answers led to it.
    depth: u32,
    /// The last of the ways on which it was named.
    way: u32,
    token: Option<Token>,
}

/// When the first sharer was found.
#[derive(Clone, Copy, Debug)]
struct FirstFound {
    took: Duration,
    hops: u32,
    requests: u32,
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
    /// Others who were named in a candidate's place.
    twins: Twins,
    namers: Namers,
    /// Who is said to be responsible, the last word last, and by whom; nobody: we take it for that.
    claims: Vec<(Option<Contact>, Contact)>,
    /// The nearest node before the target that answered.
    nearest: Option<RingId>,
    outstanding: u32,
    requests: u32,
    timeouts: u32,
    /// An answer was slow.
    is_warned: bool,
    /// Those who answered that they are responsible themselves, or the heir of somebody who is silent.
    vouchers: BTreeSet<Contact>,
    /// How far apart nodes are on this ring, if that is known: a neighbourhood that is out of all
    /// proportion is not believed at once.
    gap: Option<RingId>,
    /// The ways that were begun because of that, and the nearest that answered on the last of them.
    other_ways: u32,
    nearest_on_way: Option<RingId>,
    /// Our own place, unless others have named it.
    ourselves: Option<RingId>,
    /// The last of those after the target of which somebody before it has named all up to there.
    covered: Option<(RingId, Contact)>,
    found: BTreeSet<Sharer>,
    first_found: Option<FirstFound>,
    /// How it ends, unless the other holders that it waits for know better.
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
            twins: Twins::default(),
            namers: Namers::default(),
            claims: Vec::new(),
            nearest: None,
            outstanding: 0,
            requests: 0,
            timeouts: 0,
            is_warned: false,
            vouchers: BTreeSet::new(),
            gap: None,
            other_ways: 0,
            nearest_on_way: None,
            ourselves: None,
            covered: None,
            found: BTreeSet::new(),
            first_found: None,
            last_word: None,
            end: None,
        }
    }

    /// A node to begin with.
    pub(super) fn add(&mut self, contact: Contact) {
        self.insert(contact, 0, 0);
    }

    /// The ring has so many nodes: those beside the target are about so far apart.
    pub(super) fn expect_nodes(&mut self, nodes: u64) {
        self.gap = (self.quick && nodes >= limits::NODES_JUDGED).then(|| RingId::part(nodes));
    }

    /// Begins at the node that is responsible, as far as we know.
    pub(super) fn claim(&mut self, owner: Contact) {
        self.insert(owner, 0, 0);
        self.claims.push((None, owner));
    }

    /// We are a node of this ring ourselves, and can go on from our own successors when nobody else
    /// knows the way.
    pub(super) fn add_ourselves(&mut self, me: Contact) {
        let distance = me.id.clockwise_to(self.target);
        if !self.candidates.contains_key(&distance) {
            self.insert(me, 0, 0);
            if let Some(candidate) = self.candidates.get_mut(&distance) {
                candidate.standing = Standing::Answered;
                self.ourselves = Some(distance);
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

    /// The next node to ask, if one is to be asked now. `patience`: after how long the answer of a
    /// node is slow.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        patience: impl Fn(SocketAddr) -> Duration,
    ) -> Option<Contact> {
        if self.end.is_some() || self.outstanding >= self.allowed(now) {
            return None;
        }
        let next = self.next();
        let may_turn = next.is_none() && (!self.vouchers.is_empty() || self.outstanding == 0);
        let other = if may_turn { self.other_way() } else { None };
        let may_ask = self.requests < limits::LOOKUP_REQUESTS_MAX;
        let Some(distance) = next.or(other).filter(|_| may_ask) else {
            if self.outstanding == 0 {
                if may_ask && self.believe_again() {
                    return self.poll(now, patience);
                }
                self.give_up(now);
            }
            return None;
        };
        let candidate = self.candidates.get_mut(&distance)?;
        candidate.listed = candidate.standing == Standing::Answered;
        if other.is_some() && candidate.way < self.other_ways.max(1) {
            self.other_ways += 1;
            self.nearest_on_way = None;
            candidate.way = self.other_ways;
        }
        candidate.standing = Standing::Asked;
        candidate.slow_at = now + patience(candidate.contact.address);
        self.outstanding += 1;
        self.requests += 1;
        Some(candidate.contact)
    }

    /// How many questions may be under way: beside those whose answers are slow one that is answered
    /// in time, and two once anything was slow, since where one node is dead others are.
    fn allowed(&mut self, now: Instant) -> u32 {
        if !self.quick {
            return 1;
        }
        let is_slow = |it: &&Candidate| it.standing == Standing::Asked && it.slow_at <= now;
        let slow = self.candidates.values().filter(is_slow).take(limits::SLOW_MAX).count();
        let slow = u32::try_from(slow).expect("they are few");
        self.is_warned |= slow > 0 || self.timeouts > 0;
        slow + if self.is_warned { limits::WARNED_WIDTH } else { 1 }
    }

    /// Whether `contact` is asked now for the nodes after it, not for the way.
    pub(super) fn wants_list(&self, contact: Contact) -> bool {
        let candidate = self.candidates.get(&contact.id.clockwise_to(self.target));
        candidate.is_some_and(|it| it.listed && it.standing == Standing::Asked)
    }

    /// The nearest before the target that answered, if it was not asked for all nodes after it.
    fn unlisted(&self) -> Option<RingId> {
        let mut all = self.candidates.iter();
        let (distance, nearest) = all.find(|(_, it)| it.standing == Standing::Answered)?;
        (!nearest.listed).then_some(*distance)
    }

    /// The same, if none of those right after the target that it has named answers.
    fn list_holder(&self) -> Option<RingId> {
        let after = self.candidates.range(RingId::part(2)..).rev();
        let silent = after.take_while(|(_, it)| it.standing == Standing::Silent).count();
        self.unlisted().filter(|_| silent >= limits::CONTACTS_ANSWERED / 2)
    }

    /// The claimed owner; while it is asked and slow, whoever is next to it; else the nearest before
    /// the target, if it is nearer than those that answered.
    fn next(&self) -> Option<RingId> {
        let is_untried =
            |(_, candidate): &(&RingId, &Candidate)| candidate.standing == Standing::Untried;
        if self.last_word.is_some() {
            // Those beside the owner hold its entries too, and an owner that is new may not.
            let (holder, heir) = (|| self.holder(), || self.nearer_heir());
            return match self.goal {
                Goal::Announce(_) => heir().or_else(holder),
                Goal::Get(_) | Goal::Join | Goal::Finger(_) | Goal::Probe(_) => {
                    holder().or_else(heir)
                }
            };
        }
        let claimed = self.claimed().map(|owner| owner.id.clockwise_to(self.target));
        let standing = |distance| self.candidates.get(&distance).map(|it: &Candidate| it.standing);
        if !self.vouchers.is_empty() {
            return self.nearer_heir().or_else(|| self.holder());
        }
        if let Some(distance) = claimed {
            match standing(distance) {
                Some(Standing::Untried) => return Some(distance),
                // It is silent, or does not know yet that those before it are dead: the nearest after
                // the target inherits the key.
                Some(Standing::Silent | Standing::Answered) | None => {
                    if let Some(next) = self.list_holder().or_else(|| self.nearer_heir()) {
                        return Some(next);
                    }
                    // The heir was found if nobody else can be between it and the target.
                    let heir = self.heir().map(|heir| heir.contact.id.clockwise_to(self.target));
                    if let Some(heir) = heir {
                        let is_covered = self.covered.is_some_and(|(last, _)| last <= heir);
                        let more = self.unlisted().filter(|_| !is_covered);
                        if is_covered || more.is_some() {
                            return more;
                        }
                    }
                }
                // Those on both sides of it hold what it holds.
                Some(Standing::Asked) if matches!(self.goal, Goal::Get(_)) && self.quick => {
                    let before = self.candidates.range(..RingId::part(2));
                    let mut holders = before.take(limits::REPLICAS_BEFORE);
                    let holder = holders.find(is_untried).map(|(distance, _)| *distance);
                    if let Some(next) = holder.or_else(|| self.nearer_heir()) {
                        return Some(next);
                    }
                }
                Some(Standing::Asked) => {}
            }
        }
        let next = self.candidates.iter().find(is_untried).map(|(distance, _)| *distance);
        let is_nearer = |distance: &RingId| self.nearest.is_none_or(|nearest| *distance < nearest);
        if let Some(next) = next.filter(is_nearer) {
            return Some(next);
        }
        if let Some(holder) = self.holder().filter(|_| !self.found.is_empty()) {
            return Some(holder);
        }
        if self.timeouts == 0 || self.outstanding > 0 {
            return None;
        }
        // Whoever is farther may know a way round those that were silent.
        let has_heir = self.heir_of_claimed().is_some();
        next.filter(|_| !has_heir).or_else(|| self.unlisted())
    }

    /// Whether `contact` is said to be responsible: its silence weighs more than another's.
    pub(super) fn is_claimed(&self, contact: Contact) -> bool {
        self.claimed() == Some(contact)
    }

    /// `from` named the nodes after it.
    pub(super) fn handle_list(&mut self, from: Contact, after: impl Iterator<Item = Contact>) {
        let distance = from.id.clockwise_to(self.target);
        let Some(candidate) = self.candidates.get_mut(&distance) else { return };
        if candidate.contact != from || candidate.standing != Standing::Asked {
            return;
        }
        candidate.standing = Standing::Answered;
        let (depth, way) = (candidate.depth, candidate.way);
        self.outstanding -= 1;
        let named: Vec<_> = one_a_place(after).collect();
        self.namers.note(from, named.iter().copied());
        for contact in named {
            self.insert(contact, depth + 1, way);
            let at = contact.id.clockwise_to(self.target);
            let is_after = distance < RingId::part(2) && at >= RingId::part(2);
            self.covered = self.covered.into_iter().chain(is_after.then_some((at, from))).min();
        }
        self.judge_namers();
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
        let (depth, way) = (candidate.depth, candidate.way);
        self.outstanding -= 1;
        let is_before = distance < RingId::part(2);
        if is_before && self.nearest.is_none_or(|nearest| distance < nearest) {
            self.nearest = Some(distance);
        }
        if is_before && way == self.other_ways {
            self.nearest_on_way = self.nearest_on_way.into_iter().chain([distance]).min();
        }
        let named: Vec<_> = one_a_place(heard.owner.iter().chain(&heard.nodes).copied()).collect();
        self.namers.note(from, named.iter().copied());
        for node in named {
            self.insert(node, depth + 1, way);
        }
        self.judge_namers();
        let room = limits::SHARERS_MAX.saturating_sub(self.found.len());
        let by = from.address.ip();
        let may_be = heard.sharers.iter().filter(|sharer| may_name(by, sharer.address.ip()));
        let new = may_be.filter(|sharer| self.found.insert(**sharer));
        let new: Vec<_> = new.take(room).copied().collect();
        let took = now.saturating_duration_since(self.started);
        if !new.is_empty() {
            self.first_found.get_or_insert(FirstFound {
                took,
                hops: depth + 1,
                requests: self.requests,
            });
        }
        let has_last_word = match heard.owner.filter(|_| !self.namers.is_disbelieved(from)) {
            Some(owner) if owner == from => true,
            Some(owner) => {
                // A node that is nearer knows better; one that was silent is none to hand on to.
                let at = owner.id.clockwise_to(self.target);
                let is_dead = |it: &Candidate| match it.contact == owner {
                    true => it.standing == Standing::Silent,
                    false => self.twins.is_silent(owner),
                };
                let dead = self.candidates.get(&at).is_some_and(is_dead);
                let heir = !self.claims.is_empty() && dead;
                if !heir {
                    self.claims.push((Some(from), owner));
                }
                heir && !is_before
            }
            None => false,
        };
        let is_get = matches!(self.goal, Goal::Get(_));
        if is_get && !self.quick && !self.found.is_empty() {
            let owner = has_last_word.then_some(from);
            self.end = Some(End { owner, token: heard.token, hops: depth + 1, took });
        } else if has_last_word && is_before {
            // A ring of few: half of it and more is one node's.
            if self.gap.is_none() {
                self.conclude(End { owner: Some(from), token: heard.token, hops: depth + 1, took });
            }
        } else {
            self.vouchers.extend(has_last_word.then_some(from));
        }
        self.settle(now);
        new
    }

    /// The owner is known when somebody has the last word, and of those that were named nobody is
    /// nearer to the target and not silent. Whoever looks for sharers and has found some waits for
    /// the other holders' answers, but not for the owner's.
    fn settle(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.started);
        let first = self.first_found.filter(|_| matches!(self.goal, Goal::Get(_)) && self.quick);
        if let Some(heir) = self.heir().filter(|_| !self.vouchers.is_empty()) {
            let (owner, token) = (Some(heir.contact), heir.token);
            let hops = first.map_or(heir.depth + 1, |first| first.hops);
            self.conclude(End { owner, token, hops, took });
        } else if let Some(FirstFound { hops, .. }) = first.filter(|_| self.has_holders()) {
            let word = End { owner: None, token: None, hops, took };
            if !self.is_undecided() {
                self.end.get_or_insert(word);
            }
        }
    }

    /// It ends so, unless there is more to ask.
    fn conclude(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        let waits = self.quick && matches!(self.goal, Goal::Get(_) | Goal::Announce(_));
        if waits {
            self.last_word = Some(end);
        }
        let is_asked = |(_, it): (RingId, &Candidate)| it.standing == Standing::Asked;
        let is_short = waits && !self.has_holders();
        let more = is_short && (self.holder().is_some() || self.nearest_holders().any(is_asked));
        if !more && !self.is_undecided() {
            self.end = Some(end);
        }
    }

    /// `silent` did not answer in time.
    pub(super) fn handle_silent(&mut self, now: Instant, silent: Contact) {
        let distance = silent.id.clockwise_to(self.target);
        let asked = self.candidates.get_mut(&distance).filter(|it| it.standing == Standing::Asked);
        if let Some(candidate) = asked.filter(|candidate| candidate.contact == silent) {
            candidate.standing = Standing::Silent;
            self.twins.note_silent(silent);
            self.outstanding -= 1;
            self.timeouts += 1;
            self.let_twin_in(distance);
            self.judge_namers();
            self.settle(now);
        }
    }

    /// There is nobody left to ask: the nearest after the target that answered is the owner's heir.
    fn give_up(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.started);
        if let Some(end) = self.last_word {
            self.end = Some(End { took, ..end });
            return;
        }
        let answered = self.heir_of_claimed();
        let hops = answered.map_or(0, |heir| heir.depth + 1);
        self.end = Some(End {
            owner: answered.map(|heir| heir.contact),
            token: answered.and_then(|heir| heir.token),
            hops: self.first_found.map_or(hops, |first| first.hops),
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
            first_found: self.first_found.map(|first| first.took),
            requests_first: self.first_found.map(|first| first.requests),
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
        self.twins.check();
        self.namers.check();
    }
}

#[cfg(test)]
mod tests;
