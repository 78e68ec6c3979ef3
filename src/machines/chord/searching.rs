//! Running lookups: several at once, each with its questions, their silences and its end.

use std::time::Instant;

use crate::formats::krpc::{Query, Route, State};
use crate::machines::chord::lookup::{Goal, Heard, Lookup};
use crate::machines::chord::node::{Node, Timer};
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::witnesses::Reason;
use crate::machines::chord::{Contact, News};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

impl Node {
    /// Looks for those who share a torrent: [`News::Found`] as they are found, and
    /// [`News::Finished`] at the end.
    pub fn lookup(&mut self, now: Instant, info_hash: InfoHash) {
        self.now = self.now.max(now);
        self.begin_lookup(Goal::Get(info_hash), info_hash.into());
    }

    /// Begins a lookup, or puts it behind those that wait for their turn.
    pub(super) fn begin_lookup(&mut self, goal: Goal, target: RingId) {
        if self.lookups.len() >= limits::LOOKUPS_MAX {
            if self.waiting.len() < limits::LOOKUPS_WAITING_MAX {
                self.waiting.push_back((goal, target));
            } else {
                let refused = Lookup::new(goal, target, true, self.now);
                self.finish(&refused);
            }
            return;
        }
        let mut lookup = Lookup::new(goal, target, self.settings.shape.quick, self.now);
        let only = match goal {
            Goal::Probe(through) => Some(through),
            Goal::Join if self.membership.is_astray => self.anybody(),
            Goal::Get(_) | Goal::Announce(_) | Goal::Join | Goal::Finger(_) => None,
        };
        match only {
            Some(start) => lookup.add(start),
            None => {
                self.seed(&mut lookup);
                lookup.expect_nodes(self.nodes_judged());
            }
        }
        self.lookups_begun += 1;
        let number = self.lookups_begun;
        self.lookups.insert(number, lookup);
        self.drive(number);
    }

    /// Somebody who has answered us.
    fn anybody(&mut self) -> Option<Contact> {
        let known: Vec<_> =
            self.membership.live.iter().copied().chain(self.fingers.heard()).collect();
        let count = u32::try_from(known.len()).ok().filter(|count| *count > 0)?;
        Some(known[self.rng.below(count) as usize])
    }

    /// Names the nodes to begin with: those that we would name to another, and entry points while
    /// we know too few.
    fn seed(&self, lookup: &mut Lookup) {
        if self.is_member() {
            match self.owner_of(lookup.target) {
                Some(owner) if owner == self.me() || self.settings.shape.quick => {
                    lookup.claim(owner);
                }
                Some(_) | None => {}
            }
            let route = self.route(lookup.target);
            route.nodes.into_iter().for_each(|address| lookup.add(self.contact(address)));
        }
        if !self.is_member() || lookup.is_empty() {
            let fingers = self.fingers.before(lookup.target, limits::CONTACTS_ANSWERED);
            fingers.for_each(|finger| lookup.add(finger));
            self.membership.live.iter().for_each(|contact| lookup.add(*contact));
        }
        if lookup.is_empty() {
            let entry_points = self.membership.entry_points.iter().take(limits::GREETINGS_MAX);
            entry_points.for_each(|address| lookup.add(self.contact(*address)));
        }
        if self.is_member() {
            lookup.add_ourselves(self.me());
        }
    }

    /// Asks whomever the lookup wants to ask, and finishes it when it has ended.
    pub(super) fn drive(&mut self, number: u64) {
        let (now, me) = (self.now, self.me());
        while let Some(lookup) = self.lookups.get_mut(&number) {
            let requests = &self.requests;
            let Some(contact) = lookup.poll(now, |peer| requests.patience(peer)) else { break };
            if contact.address == me.address {
                self.ask_ourselves(number);
                continue;
            }
            let (goal, target, claimed) = (lookup.goal, lookup.target, lookup.is_claimed(contact));
            let query = match goal {
                _ if lookup.wants_list(contact) => Query::GetState { digest: None, rectify: None },
                Goal::Get(info_hash) | Goal::Announce(info_hash) => Query::GetPeers(info_hash),
                Goal::Join | Goal::Finger(_) | Goal::Probe(_) => Query::FindNode(target),
            };
            let tries = if claimed { 2 } else { 1 };
            if self.ask(contact, query, None, Purpose::Lookup(number), tries) {
                if self.settings.shape.quick {
                    let patience = self.requests.patience(contact.address);
                    self.start_timer(patience, Timer::Slow(number));
                }
            } else if let Some(lookup) = self.lookups.get_mut(&number) {
                lookup.handle_silent(now, contact);
            }
        }
        let ended = self.lookups.get(&number).is_some_and(|lookup| lookup.end().is_some());
        if let Some(lookup) = ended.then(|| self.lookups.remove(&number)).flatten() {
            self.finish(&lookup);
            if let Some((goal, target)) = self.waiting.pop_front() {
                self.begin_lookup(goal, target);
            }
        }
    }

    /// The lookup's way leads to ourselves. Who looks for its place there is still known from before,
    /// or knows by it that this is its own ring; else we are as good as any node.
    fn ask_ourselves(&mut self, number: u64) {
        let me = self.me();
        let after = self.ring.successors().iter().copied();
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        if lookup.wants_list(me) {
            return lookup.handle_list(me, after);
        }
        let (target, goal) = (lookup.target, lookup.goal);
        let heard = match goal {
            Goal::Join => None,
            Goal::Probe(_) => Some(Heard { owner: Some(me), ..Heard::default() }),
            Goal::Get(_) | Goal::Announce(_) | Goal::Finger(_) if self.is_member() => {
                let mut route = self.route(target);
                if let Goal::Get(info_hash) = goal {
                    route.sharers = self.sample(info_hash, limits::SHARERS_ANSWERED);
                }
                Some(self.heard_from(route))
            }
            Goal::Get(_) | Goal::Announce(_) | Goal::Finger(_) => None,
        };
        let now = self.now;
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        match heard {
            Some(heard) => {
                let new = lookup.handle_answer(now, me, &heard);
                let goal = lookup.goal;
                self.tell_found(goal, &new);
            }
            None => lookup.handle_silent(now, me),
        }
    }

    fn heard_from(&self, route: Route) -> Heard {
        let nodes = route.nodes.into_iter().map(self.placing());
        Heard {
            nodes: nodes.collect(),
            owner: route.owner.map(self.placing()),
            sharers: route.sharers,
            token: route.token,
        }
    }

    pub(super) fn handle_routed(&mut self, number: u64, from: Contact, route: Route) {
        let heard = self.heard_from(route);
        let nodes = self.nodes_estimate();
        let me = self.me();
        for node in heard.nodes.iter().filter(|node| node.address != me.address) {
            if !self.requests.is_suspect(self.now, node.address) {
                self.fingers.offer(*node, None, nodes);
                self.note_witness(*node, Reason::Named);
            }
        }
        let Some(lookup) = self.lookups.get_mut(&number) else { return };
        let new = lookup.handle_answer(self.now, from, &heard);
        let goal = lookup.goal;
        self.tell_found(goal, &new);
        self.drive(number);
    }

    fn tell_found(&mut self, goal: Goal, new: &[crate::formats::krpc::Sharer]) {
        if let Goal::Get(info_hash) | Goal::Announce(info_hash) = goal {
            let words = new.chunks(limits::FOUND_WORD);
            self.news.extend(words.map(|word| News::Found(info_hash, word.to_vec())));
        }
    }

    pub(super) fn handle_lookup_silent(&mut self, number: u64, from: Contact) {
        if let Some(lookup) = self.lookups.get_mut(&number) {
            lookup.handle_silent(self.now, from);
            self.drive(number);
        }
    }

    /// `from` named all nodes after it, for a lookup whose owner is silent. To any other question that is
    /// no answer.
    pub(super) fn handle_listed(&mut self, number: u64, from: Contact, state: &State) {
        let contact = self.placing();
        if let Some(lookup) = self.lookups.get_mut(&number) {
            if !lookup.wants_list(from) {
                return self.handle_lookup_silent(number, from);
            }
            lookup.handle_list(from, state.successors.iter().copied().map(contact));
            self.drive(number);
        }
    }

    fn finish(&mut self, lookup: &Lookup) {
        let end = lookup.end();
        let owner = end.and_then(|end| end.owner);
        match lookup.goal {
            Goal::Get(info_hash) => {
                self.news.push_back(News::Finished(info_hash, lookup.report(false)));
            }
            Goal::Announce(info_hash) => {
                let shape = self.settings.shape;
                let count = limits::HOLDERS_ASKED.min(shape.before + shape.from);
                let owner = owner.map(|owner| (owner, end.and_then(|end| end.token)));
                // The textbook's owner alone has an entry. And where nobody has found it, only how
                // dense the ring is tells who is near.
                let is_told = shape.quick && (owner.is_some() || lookup.knows_density());
                let others = lookup.nearest_answered().filter(|_| is_told);
                let others = others.filter(|(it, _)| Some(*it) != owner.map(|it| it.0));
                let at: Vec<_> = owner.into_iter().chain(others).take(count).collect();
                self.handle_holders_found(info_hash, &at, owner.is_some(), lookup.report(false));
            }
            Goal::Join => self.handle_join_found(owner),
            Goal::Finger(_) => {}
            Goal::Probe(through) => self.handle_probed(through, owner),
        }
    }
}
