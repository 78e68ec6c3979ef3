//! Who named whom, and who is not believed because of it.
//!
//! A node that lies can make up others, nearer to a key than any that there is, and each of them costs
//! a question and the wait for its silence. But they tell on whoever named them: they stand in a crowd,
//! closer together than nodes do, none of it answers, and several were asked and are silent.
//! Such a namer counts as silent itself, its word is taken back, and whom it alone named is not asked,
//! as long as there are others.
//!
//! Where many nodes have died at once there is silence, too, but hardly ever a crowd (the test of density
//! turned round: Castro et al., "Secure routing for structured peer-to-peer overlay networks", OSDI
//! 2002). Whoever does not know how dense the ring is, believes everybody: clients, those who join, and
//! members of a ring of few.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use crate::machines::chord::Contact;
use crate::machines::chord::lookup::{Candidate, Lookup, Standing};
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// Those of one lookup.
#[derive(Debug, Default)]
pub(super) struct Namers {
    /// Whom each of those who answered named, and are believed.
    named: BTreeMap<Contact, BTreeSet<Contact>>,
    /// Those who are not believed, and whom they alone named, as far as they were not asked.
    disbelieved: BTreeMap<Contact, Vec<Candidate>>,
    /// Who is responsible by their word.
    claims: Vec<Contact>,
    /// There was nobody else to ask: all are believed from now on.
    is_credulous: bool,
}

impl Namers {
    pub(super) fn note(&mut self, namer: Contact, named: impl Iterator<Item = Contact>) {
        self.named.entry(namer).or_default().extend(named);
    }

    pub(super) fn is_disbelieved(&self, contact: Contact) -> bool {
        self.disbelieved.contains_key(&contact)
    }

    fn is_named(&self, contact: Contact) -> bool {
        self.named.values().any(|named| named.contains(&contact))
    }

    pub(super) fn check(&self) {
        let namers = self.named.len() + self.disbelieved.len();
        assert!(namers <= limits::LOOKUP_REQUESTS_MAX as usize);
    }
}

impl Lookup {
    fn standing_of(&self, contact: Contact) -> Option<Standing> {
        let candidate = self.candidates.get(&contact.id.clockwise_to(self.target));
        candidate.filter(|it| it.contact == contact).map(|it| it.standing)
    }

    /// Whether those whom it named speak against it.
    fn is_belied(&self, named: &BTreeSet<Contact>, gap: RingId) -> bool {
        let unanswered = || named.iter().filter(|it| !self.namers.named.contains_key(it));
        limits::CROWDS.iter().any(|(count, (parts, all))| {
            let is_beside = |it: &&Contact| {
                let before = it.id.clockwise_to(self.target);
                before.min(self.target.clockwise_to(it.id)).times(*all) <= gap.times(*parts)
            };
            let crowd = || unanswered().filter(is_beside);
            let silent = crowd().filter(|it| self.twins.is_silent(**it));
            crowd().count() >= *count && silent.count() >= limits::CROWD_SILENT
        })
    }

    /// Believes no longer whoever made up those whom it named.
    pub(super) fn judge_namers(&mut self) {
        let may_judge = self.timeouts > 0 && !self.namers.is_credulous;
        let Some(gap) = self.gap.filter(|_| may_judge) else { return };
        // Whoever is asked for its list is judged when that has come.
        let may_lie = |it: &Contact| self.standing_of(*it) != Some(Standing::Asked);
        let all = self.namers.named.iter().filter(|(namer, _)| may_lie(namer));
        let belied = all.filter(|(_, named)| self.is_belied(named, gap));
        let belied: Vec<_> = belied.map(|(namer, _)| *namer).collect();
        for namer in belied {
            self.disbelieve(namer);
        }
    }

    fn disbelieve(&mut self, namer: Contact) {
        let at = namer.id.clockwise_to(self.target);
        let named = self.namers.named.remove(&namer).unwrap_or_default();
        if let Some(candidate) = self.candidates.get_mut(&at).filter(|it| it.contact == namer) {
            candidate.standing = Standing::Silent;
            self.let_named_twin_in(at);
        }
        self.vouchers.remove(&namer);
        self.covered = self.covered.filter(|(_, by)| *by != namer);
        self.last_word = self.last_word.filter(|it| it.owner != Some(namer));
        let mut alone = Vec::new();
        for contact in named {
            let at = contact.id.clockwise_to(self.target);
            let known = self.candidates.get(&at).filter(|it| it.contact == contact);
            let is_ours = known.is_some_and(|it| it.depth == 0);
            if is_ours || self.namers.is_named(contact) {
                continue;
            }
            if known.is_some_and(|it| it.standing == Standing::Untried) {
                alone.extend(self.candidates.remove(&at));
                self.let_named_twin_in(at);
            }
        }
        self.namers.disbelieved.entry(namer).or_default().extend(alone);
        let is_its = |(by, _): &(Option<Contact>, Contact)| *by == Some(namer);
        self.namers.claims.extend(self.claims.iter().filter(|it| is_its(it)).map(|(_, it)| *it));
        self.claims.retain(|it| !is_its(it));
        self.find_nearest(at);
    }

    /// Nobody who counts is at `place` any longer: lets in whoever waits there, if somebody who is
    /// believed names it or we knew it ourselves.
    fn let_named_twin_in(&mut self, place: RingId) {
        // Bound: TWINS_MAX.
        while let Some(twin) = self.twins.next(place) {
            if twin.depth == 0 || self.namers.is_named(twin.contact) {
                self.candidates.insert(place, twin);
                return;
            }
        }
    }

    /// Whoever stood at `gone` counts no longer among those that answered.
    fn find_nearest(&mut self, gone: RingId) {
        let before = self.candidates.range(..RingId::part(2));
        let answered = before
            .filter(|(at, it)| it.standing == Standing::Answered && Some(**at) != self.ourselves);
        let on_way = answered.clone().find(|(_, it)| it.way == self.other_ways);
        if self.nearest == Some(gone) {
            self.nearest = answered.map(|(at, _)| *at).next();
        }
        if self.nearest_on_way == Some(gone) {
            self.nearest_on_way = on_way.map(|(at, _)| *at);
        }
    }

    /// Believes all again, if there is neither an owner nor a sharer. Whether there was anybody to believe.
    pub(super) fn believe_again(&mut self) -> bool {
        let is_lost = self.last_word.is_none() && self.heir_of_claimed().is_none();
        if !is_lost || !self.found.is_empty() || self.namers.disbelieved.is_empty() {
            return false;
        }
        self.namers.is_credulous = true;
        for (namer, alone) in mem::take(&mut self.namers.disbelieved) {
            let at = namer.id.clockwise_to(self.target);
            let candidate = self.candidates.get_mut(&at).filter(|it| it.contact == namer);
            if let Some(candidate) = candidate.filter(|it| it.standing == Standing::Silent) {
                candidate.standing = Standing::Answered;
            }
            for it in alone {
                self.insert(it.contact, it.depth, it.way);
            }
        }
        if self.claims.is_empty() {
            self.claims.extend(self.namers.claims.drain(..).map(|owner| (None, owner)));
        }
        true
    }
}
