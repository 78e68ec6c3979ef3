//! Who named whom, and who is not believed because of it.
//!
//! A node that lies can make up others, nearer to a key than any that there is, and each of them costs
//! a question and the wait for its silence. But they tell on whoever named them: several were asked
//! and are silent, nobody of them answered, and they stand closer together than nodes do. Such a namer
//! counts as silent itself, and whom nobody else names is not asked, as long as there are others.
//!
//! Where many nodes have died at once there is silence, too, but no crowd (the test of density turned
//! round: Castro et al., "Secure routing for structured peer-to-peer overlay networks", OSDI 2002).

use std::collections::BTreeMap;
use std::mem;

use crate::machines::chord::Contact;
use crate::machines::chord::lookup::{Candidate, Lookup, Standing};
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// Those of one lookup.
#[derive(Debug, Default)]
pub(super) struct Namers {
    /// Whom the node at such a distance from the target named.
    named: BTreeMap<RingId, Vec<Contact>>,
    /// Those who are not believed, and those whom they alone named.
    disbelieved: BTreeMap<RingId, Vec<Candidate>>,
    /// There was nobody else to ask: all are believed from now on.
    is_credulous: bool,
}

impl Namers {
    /// The node at `namer` named those.
    pub(super) fn note(&mut self, namer: RingId, named: &[Contact]) {
        let all = self.named.entry(namer).or_default();
        let new = named.iter().filter(|it| !all.contains(it)).copied();
        let new: Vec<_> = new.collect();
        all.extend(new);
    }

    fn is_named(&self, contact: Contact) -> bool {
        self.named.values().any(|named| named.contains(&contact))
    }

    pub(super) fn check(&self) {
        assert!(self.named.len() <= limits::LOOKUP_REQUESTS_MAX as usize);
        assert!(self.disbelieved.len() <= limits::LOOKUP_REQUESTS_MAX as usize);
    }
}

impl Lookup {
    fn standing_of(&self, contact: Contact) -> Option<Standing> {
        let candidate = self.candidates.get(&contact.id.clockwise_to(self.target));
        candidate.filter(|it| it.contact == contact).map(|it| it.standing)
    }

    /// Whether those whom it named speak against it.
    fn is_belied(&self, named: &[Contact], gap: RingId) -> bool {
        let is_beside = |it: &&Contact| {
            let (before, after) =
                (it.id.clockwise_to(self.target), self.target.clockwise_to(it.id));
            before.min(after).times(limits::GAP_PARTS) <= gap.times(limits::GAP_PARTS_CROWDED)
        };
        named.iter().filter(is_beside).count() >= limits::CROWD
            && named.iter().filter(|it| self.twins.is_silent(**it)).count() >= limits::SILENT_NAMED
            && !named.iter().any(|it| self.standing_of(*it) == Some(Standing::Answered))
    }

    /// Believes no longer whoever made up those whom it named.
    pub(super) fn judge_namers(&mut self) {
        let may_judge = self.timeouts > 0 && !self.namers.is_credulous;
        let Some(gap) = self.gap.filter(|_| may_judge) else { return };
        let has_answered = |at: &RingId| {
            let candidate = self.candidates.get(at);
            candidate.is_some_and(|it| it.standing == Standing::Answered)
        };
        let all = self.namers.named.iter().filter(|(at, _)| Some(**at) != self.ourselves);
        let belied = all.filter(|(at, named)| has_answered(at) && self.is_belied(named, gap));
        let belied: Vec<_> = belied.map(|(at, _)| *at).collect();
        if belied.is_empty() {
            return;
        }
        for at in belied {
            self.disbelieve(at);
        }
        let all = self.candidates.range(..RingId::part(2));
        let mut answered = all
            .filter(|(at, it)| it.standing == Standing::Answered && Some(**at) != self.ourselves);
        self.nearest = answered.clone().map(|(at, _)| *at).next();
        let on_way = answered.find(|(_, it)| it.way == self.other_ways);
        self.nearest_on_way = on_way.map(|(at, _)| *at);
    }

    fn disbelieve(&mut self, namer: RingId) {
        let named = self.namers.named.remove(&namer).unwrap_or_default();
        if let Some(candidate) = self.candidates.get_mut(&namer) {
            candidate.standing = Standing::Silent;
            // What it said of those after the target may be as false.
            self.covered = self.covered.filter(|_| !candidate.listed);
        }
        let mut alone = Vec::new();
        for contact in named.into_iter().filter(|it| !self.namers.is_named(*it)) {
            let distance = contact.id.clockwise_to(self.target);
            let known = self.candidates.get(&distance).filter(|it| it.contact == contact);
            if known.is_some_and(|it| it.standing == Standing::Untried && it.depth > 0) {
                alone.extend(self.candidates.remove(&distance));
                self.twins.forget(distance);
            }
        }
        self.namers.disbelieved.insert(namer, alone);
    }

    /// Believes all again, if nobody else has led to an owner. Whether there is more to ask because
    /// of it.
    pub(super) fn believe_again(&mut self) -> bool {
        let is_lost = self.last_word.is_none() && (self.claimed.is_none() || self.heir().is_none());
        if !is_lost || self.namers.disbelieved.is_empty() {
            return false;
        }
        self.namers.is_credulous = true;
        for (namer, alone) in mem::take(&mut self.namers.disbelieved) {
            if let Some(candidate) = self.candidates.get_mut(&namer) {
                candidate.standing = Standing::Answered;
            }
            for it in alone {
                self.insert(it.contact, it.depth, it.way);
            }
        }
        true
    }
}
