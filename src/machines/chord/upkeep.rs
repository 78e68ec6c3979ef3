//! Keeping the pointers right: stabilisation, which is what the ring depends on, and fingers, which
//! are for speed.
//!
//! Repair is periodic, never in answer to a failure alone: on a congested link reactive repair makes
//! more traffic, more timeouts, and more repair (Rhea et al., "Handling Churn in a DHT", 2004).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::formats::krpc::{Answer, Query, State};
use crate::machines::chord::Contact;
use crate::machines::chord::fingers::{Fingers, Slot};
use crate::machines::chord::lookup::Goal;
use crate::machines::chord::membership::Standing;
use crate::machines::chord::node::{Asked, Node, Timer};
use crate::machines::chord::requests::{Pending, Purpose};
use crate::machines::chord::ring::{Ring, Step, View, is_between};
use crate::machines::chord::witnesses::Reason;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

impl Node {
    /// The node at `address`, in its place.
    pub(super) fn contact(&self, address: SocketAddr) -> Contact {
        self.placing()(address)
    }

    /// The same for many addresses.
    pub(super) fn placing(&self) -> impl Fn(SocketAddr) -> Contact + Copy + use<> {
        let bits = self.settings.shape.place_bits;
        move |address| Contact::with_bits(address, bits)
    }

    /// A state as the ring's rules see it.
    pub(super) fn view_of(&self, state: &State) -> View<Contact> {
        View {
            predecessor: state.predecessor.map(self.placing()),
            successors: state.successors.iter().copied().map(self.placing()).collect(),
        }
    }

    // ------------------------------------------------------------------------- Stabilisation ---

    /// Something near us changed: stabilise soon, and often for a while.
    pub(super) fn handle_change(&mut self) {
        self.stabilise_every = limits::STABILISE_MIN;
        self.start_stabilising(self.stabilise_every);
    }

    /// Our list is another one. It comes to those before us from node to node, so the next one is
    /// told to ask soon: else news would take a quarter of a minute a node.
    pub(super) fn handle_new_list(&mut self) {
        self.handle_change();
        if let Some(predecessor) = self.ring.predecessor().filter(|_| self.settings.shape.heal) {
            self.tell(predecessor.address, Query::Hint(self.me().address));
        }
    }

    /// Sets the timer of the next stabilisation, if that is not to come earlier anyhow: whoever sends
    /// one hint after the other must not put it off.
    fn start_stabilising(&mut self, after: Duration) {
        let at = self.now + self.jitter(after);
        if let Some(key) = self.stabilise_timer.take_if(|(due, _)| *due > at) {
            self.timers.cancel(key);
        }
        if self.stabilise_timer.is_none() {
            self.stabilise_timer = Some(self.timers.start(at, Timer::Stabilise));
        }
    }

    pub(super) fn handle_stabilise_due(&mut self) {
        if let Some(key) = self.stabilise_timer.take() {
            self.timers.cancel(key);
        }
        if self.membership.standing != Standing::Member {
            return;
        }
        let slower = self.stabilise_every * limits::STABILISE_SLOWER / 100;
        self.stabilise_every = slower.min(limits::STABILISE_MAX);
        self.start_stabilising(self.stabilise_every);
        let mut steps = Vec::new();
        self.ring.stabilise(&mut steps);
        self.perform(&steps, None);
        self.ask_witnesses();
    }

    /// Does what the ring's rules want. `told`: who has heard in this round already that we are
    /// before it, since the question for its state said so.
    pub(super) fn perform(&mut self, steps: &[Step<Contact>], told: Option<Contact>) {
        for step in steps {
            match *step {
                Step::AskView(contact) => self.ask_view(contact),
                Step::Rectify(contact) if Some(contact) != told => {
                    let query = Query::Rectify(self.before_us());
                    self.ask(contact, query, None, Purpose::Courtesy, 2);
                }
                Step::Rectify(_) => {}
                Step::Ping(contact) => {
                    self.ask(contact, Query::Ping(None), None, Purpose::Alive, limits::TRIES);
                }
                Step::NewHead => {
                    self.head_state = None;
                    self.handle_new_list();
                    self.start_stabilising(limits::STABILISE_SOON);
                }
                Step::NewPredecessor(before) => self.handle_new_predecessor(before),
                Step::Orphaned => self.handle_orphaned(),
            }
        }
    }

    /// Asks the head, which hears by it that we are before it; or a candidate, which does not.
    fn ask_view(&mut self, contact: Contact) {
        let is_head = self.ring.head() == Some(contact) && self.ring.candidate().is_none();
        let known = self.head_state.as_ref().filter(|(head, _)| is_head && *head == contact);
        let digest = known.map(|(_, state)| state.digest());
        let rectify = is_head.then(|| self.before_us());
        let token = self.membership.token_of(contact.address);
        let query = Query::GetState { digest, rectify };
        self.ask(contact, query, token, Purpose::View, limits::TRIES);
    }

    /// The nodes before us, the nearest first.
    pub(super) fn nodes_before(&self) -> impl Iterator<Item = Contact> {
        self.ring.predecessor().into_iter().chain(self.before.iter().copied())
    }

    /// The nodes on both sides of us.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = Contact> {
        self.nodes_before().chain(self.ring.successors().iter().copied())
    }

    /// The nodes before us, as we tell them to our successor.
    pub(super) fn before_us(&self) -> Vec<SocketAddr> {
        self.nodes_before()
            .map(|contact| contact.address)
            .take(self.settings.shape.before)
            .collect()
    }

    fn handle_viewed(&mut self, from: Contact, state: State) {
        let was_head = self.ring.head() == Some(from) && self.ring.candidate().is_none();
        let view = self.view_of(&state);
        let changed = self
            .head_state
            .as_ref()
            .is_none_or(|(head, old)| *head != from || self.view_of(old) != view);
        let list = self.ring.successors().to_vec();
        let mut steps = Vec::new();
        let (rules, now) = (self.rules(), self.now);
        let (ring, requests) = (&mut self.ring, &self.requests);
        let is_suspect = |contact: &Contact| requests.is_suspect(now, contact.address);
        let asked = ring.candidate().or_else(|| ring.head()).filter(|_| ring.is_stabilising());
        ring.handle_view(rules, from, &view, is_suspect, &mut steps);
        if self.ring.head() == Some(from) {
            self.head_state = Some((from, state));
            if asked == Some(from) {
                self.compare_with_head(&list);
            }
        }
        if changed && self.ring.successors() != list {
            self.handle_new_list();
        }
        self.perform(&steps, was_head.then_some(from));
    }

    /// `asked.from` says that it is before us, and whom it has before itself.
    pub(super) fn handle_rectify(&mut self, asked: &Asked, before: &[SocketAddr]) {
        if asked.client || asked.from == self.me().address {
            return;
        }
        let newcomer = self.contact(asked.from);
        if self.ring.predecessor() == Some(newcomer) {
            let me = self.me();
            let told = before.iter().copied().map(self.placing()).filter(|it| *it != me);
            let told: Vec<_> = told.take(self.settings.shape.before).collect();
            if told != self.before {
                self.before = told;
            }
        }
        let mut steps = Vec::new();
        self.ring.handle_rectify(newcomer, &mut steps);
        self.perform(&steps, None);
    }

    fn handle_new_predecessor(&mut self, old: Option<Contact>) {
        self.before.retain(|contact| Some(*contact) != old);
        self.handle_change();
        let Some(new) = self.ring.predecessor() else { return };
        self.before.retain(|contact| *contact != new);
        if let Some(old) = old {
            if is_between(old, new, self.me()) {
                self.before.insert(0, old);
                self.before.truncate(self.settings.shape.before);
            }
            self.tell(old.address, Query::Hint(new.address));
        }
        self.hand_over(old, new);
    }

    /// The node at `from` says that it is about to go, and a third party can say so in its name: so
    /// it is asked at once, and what it says counts (R8).
    pub(super) fn handle_leaving(&mut self, from: Contact) {
        if self.ring.head() == Some(from) {
            let mut steps = Vec::new();
            self.ring.stabilise(&mut steps);
            self.perform(&steps, None);
        } else if self.ring.predecessor() == Some(from) || self.ring.successors().contains(&from) {
            self.handle_change();
        } else if let Some(slot) = self.fingers.slot(from.id)
            && self.fingers.contact(slot) == Some(from)
        {
            self.ask(from, Query::Ping(None), None, Purpose::Finger(slot), 1);
        }
    }

    // ----------------------------------------------------------------------- Answers, silence ---

    /// `from` answered, and lives.
    pub(super) fn heard(&mut self, from: Contact, took: Duration) {
        let round_trip = self.requests.round_trip(from.address).or(Some(took));
        let nodes = self.nodes_estimate();
        self.fingers.offer(from, Some((self.now, round_trip)), nodes);
        self.note_witness(from, Reason::Answered(self.now));
    }

    pub(super) fn handle_answer(&mut self, pending: &Pending, answer: Answer, took: Duration) {
        let Pending { to, purpose, .. } = *pending;
        match (purpose, answer) {
            (Purpose::View, Answer::State(state, token)) => {
                self.membership.keep_token(self.now, to.address, token);
                self.handle_viewed(to, state);
            }
            (Purpose::View, Answer::Same { token }) => {
                self.membership.keep_token(self.now, to.address, token);
                let known = self.head_state.as_ref().filter(|(head, _)| *head == to);
                match known.map(|(_, state)| state.clone()) {
                    Some(state) => self.handle_viewed(to, state),
                    None => self.ring.forget_round(),
                }
            }
            (Purpose::Alive, _) => {
                let mut steps = Vec::new();
                self.ring.handle_alive(to, &mut steps);
                self.perform(&steps, None);
            }
            (Purpose::Greeting, _) => self.handle_greeting_answered(to),
            (Purpose::Join, Answer::State(state, _)) => self.handle_join_state(to, &state),
            (Purpose::Lookup(lookup), Answer::Route(route)) => {
                self.handle_routed(lookup, to, route);
            }
            (Purpose::Lookup(lookup), Answer::State(state, _)) => {
                self.handle_listed(lookup, to, &state);
            }
            (Purpose::Lookup(lookup), _) => self.handle_lookup_silent(lookup, to),
            (Purpose::Announce(info_hash), _) => self.handle_told(info_hash, true),
            (Purpose::Validate(info_hash, address), Answer::Shares { shared, seeder }) => {
                self.handle_validated(info_hash, address, shared, seeder);
            }
            (Purpose::Push, answer) => self.handle_push_answered(to, &answer),
            (Purpose::Merge, Answer::State(state, _)) => self.handle_merge_state(to, &state),
            (Purpose::MergeAlive, _) => self.handle_merge_alive(to, true),
            (Purpose::Walk, Answer::State(state, _)) => self.handle_walked(to, &state, took),
            (Purpose::Witness, _) => self.handle_witness(to, true),
            (Purpose::PingBack, _) => self.handle_ping_back_promised(to),
            (purpose, _) => self.handle_failure(purpose, to),
        }
    }

    /// A refusal is a sign of life, and no more than that.
    pub(super) fn handle_refusal(&mut self, pending: &Pending) {
        if pending.purpose == Purpose::Alive {
            let mut steps = Vec::new();
            self.ring.handle_alive(pending.to, &mut steps);
            self.perform(&steps, None);
        } else if pending.purpose == Purpose::Witness {
            self.handle_witness(pending.to, true);
        } else {
            self.handle_failure(pending.purpose, pending.to);
        }
    }

    /// The wait for an answer is over: the question is sent again, or its receiver is silent.
    pub(super) fn handle_wait_over(&mut self, transaction: u32) {
        let Some(pending) = self.requests.get_mut(transaction) else { return };
        let to = pending.to;
        if pending.tries < pending.tries_max {
            self.send_request(transaction);
            return;
        }
        let given_up = self.requests.give_up(self.now, transaction);
        let Some(Pending { purpose, .. }) = given_up else { return };
        self.fingers.remove(to);
        self.membership.live.retain(|contact| *contact != to);
        self.handle_failure(purpose, to);
    }

    /// A question has no answer that is of use.
    pub(super) fn handle_failure(&mut self, purpose: Purpose, to: Contact) {
        match purpose {
            Purpose::View | Purpose::Alive => {
                let mut steps = Vec::new();
                let head = self.ring.head();
                self.ring.handle_silent(to, &mut steps);
                if head == Some(to) && self.ring.head() != head {
                    // It may be alive after all, in a ring of its own by then.
                    self.membership.add_weak_tie(self.now, to.address, true);
                    self.perform(&steps, None);
                    return self.hand_on();
                }
                self.perform(&steps, None);
            }
            Purpose::Join => self.handle_join_failed(),
            Purpose::Lookup(lookup) => self.handle_lookup_silent(lookup, to),
            Purpose::Announce(info_hash) => self.handle_told(info_hash, false),
            Purpose::Validate(info_hash, address) => self.handle_not_validated(info_hash, address),
            Purpose::Push => self.handle_push_failed(to),
            Purpose::Merge => self.membership.merging = None,
            Purpose::MergeAlive => self.handle_merge_alive(to, false),
            Purpose::Walk => self.handle_walk_broken(to),
            Purpose::Witness => self.handle_witness(to, false),
            Purpose::Greeting | Purpose::Finger(_) | Purpose::PingBack | Purpose::Courtesy => {}
        }
    }

    // ------------------------------------------------------------------- Estimate and fingers ---

    /// How many nodes the ring has, by how dense it is here: exactly, where the list of successors
    /// goes all round.
    pub(super) fn nodes_estimate(&self) -> u64 {
        let me = self.me().id;
        let list = self.ring.successors();
        let Some(last) = list.last() else { return 1 };
        let count = list.len() as u64;
        // One that is shorter and does not go all round lacks those who did not answer, or its head.
        if self.is_list_whole() == Some(true) {
            return count + 1;
        }
        let first = self.before.last().copied().or_else(|| self.ring.predecessor());
        let before = first.map_or(0, |_| self.before.len() as u64 + 1);
        let from = first.map_or(me, |contact| contact.id);
        let (ahead, behind) = (me.clockwise_to(last.id), from.clockwise_to(me));
        let span = ahead.leading().saturating_add(behind.leading()).max(1);
        let nodes = u128::from(count + before) << 64;
        u64::try_from(nodes / u128::from(span)).unwrap_or(u64::MAX).max(count + 1)
    }

    /// The same for the judgement of others, of whom some lie: a list of successors is right up to the
    /// first of them, and may name nodes that are farther apart from there on.
    pub(super) fn nodes_judged(&self) -> u64 {
        let (me, all) = (self.me().id, self.nodes_estimate());
        let Some(last) = self.ring.successors().get(limits::GAPS_JUDGED - 1) else { return all };
        let span = u128::from(me.clockwise_to(last.id).leading().max(1));
        let near = ((limits::GAPS_JUDGED as u128) << 64) / span;
        let near = u64::try_from(near).unwrap_or(u64::MAX);
        if near / 2 > all { near } else { all }
    }

    pub(super) fn start_fingers(&mut self) {
        let after = self.jitter(limits::FINGER_SEARCH_EVERY);
        self.start_timer(after, Timer::Fingers);
    }

    /// Looks for a finger that is missing; else at the one of which nothing was heard for longest.
    pub(super) fn handle_fingers_due(&mut self) {
        if self.membership.standing != Standing::Member {
            // It may be one again.
            let after = self.jitter(limits::FINGER_REFRESH_EVERY);
            return self.start_timer(after, Timer::Fingers);
        }
        self.widen_fingers();
        let nodes = self.nodes_estimate();
        let missing: Vec<Slot> = if self.settings.shape.quick {
            self.fingers.missing(nodes).collect()
        } else {
            // The textbook looks for each finger in turn, since it is to be the very first node from
            // the slot's beginning on.
            self.fingers.all_slots().take(self.settings.shape.place_bits as usize).collect()
        };
        let turn = self.membership.next_turn();
        let next = missing.get(turn % missing.len().max(1)).copied();
        // A slot that has no node stays missing: who has tried each of them twice slows down.
        let tried_all = turn >= 2 * missing.len();
        let every = if next.is_some() && !tried_all {
            limits::FINGER_SEARCH_EVERY
        } else {
            limits::FINGER_REFRESH_EVERY
        };
        if let Some(slot) = next {
            let target = self.fingers.start(slot);
            self.begin_lookup(Goal::Finger(slot), target);
        }
        if next.is_none() || tried_all {
            self.look_at_stale_finger();
        }
        let after = self.jitter(every);
        self.start_timer(after, Timer::Fingers);
    }

    fn look_at_stale_finger(&mut self) {
        let now = self.now;
        let stale = |heard: Option<Instant>| {
            heard.is_none_or(|at| now.saturating_duration_since(at) >= limits::FINGER_STALE)
        };
        let fingers = self.fingers.iter().filter(|(_, finger)| stale(finger.heard_at));
        let oldest = fingers.min_by_key(|(_, finger)| finger.heard_at);
        if let Some((slot, contact)) = oldest.map(|(slot, finger)| (slot, finger.contact)) {
            self.ask(contact, Query::Ping(None), None, Purpose::Finger(slot), 2);
        }
    }

    /// In a large ring the table is a finer one.
    fn widen_fingers(&mut self) {
        if self.settings.shape.finger_bits.is_some() {
            return;
        }
        let (bits, nodes) = (self.fingers.bits(), self.nodes_estimate());
        let wanted = if nodes > limits::NODES_LARGE * 5 / 4 {
            limits::FINGER_BITS_LARGE
        } else if nodes < limits::NODES_LARGE * 3 / 4 {
            limits::FINGER_BITS
        } else {
            bits
        };
        if wanted != bits {
            self.rebuild_fingers(self.me().id, wanted);
        }
    }

    /// The same contacts in the table of another place, or of another fineness.
    pub(super) fn rebuild_fingers(&mut self, me: RingId, bits: u32) {
        let new = Fingers::new(me, bits, self.settings.shape.quick);
        let old = std::mem::replace(&mut self.fingers, new);
        let nodes = self.nodes_estimate();
        for (_, finger) in old.iter() {
            let heard = finger.heard_at.map(|at| (at, finger.round_trip));
            self.fingers.offer(finger.contact, heard, nodes);
        }
    }

    /// Fills the tables at once, as they are in a ring of `members` (in the order of their places)
    /// that has been quiet for long; for simulations, which are spared the joins.
    pub fn settle(&mut self, members: &[Contact], round_trip: impl Fn(Contact) -> Duration) {
        let me = self.me();
        let Ok(at) = members.binary_search_by_key(&me.id, |member| member.id) else { return };
        let after = |n: usize| members[(at + n) % members.len()];
        let others = members.len() - 1;
        let shape = self.settings.shape;
        let successors = (1..=others.min(shape.successors)).map(after).collect();
        let predecessor = (others > 0).then(|| after(others));
        self.ring = Ring::settled(me, predecessor, successors);
        let earlier = (2..=others.min(limits::REPLICAS_BEFORE)).map(|n| after(members.len() - n));
        self.before = if shape.before > 0 { earlier.collect() } else { Vec::new() };
        let nodes = self.nodes_estimate();
        self.widen_fingers();
        let slots: Vec<_> = self.fingers.all_slots().collect();
        for slot in slots {
            let start = self.fingers.start(slot);
            let first = members.partition_point(|member| member.id < start);
            let count = if shape.quick { limits::PROXIMITY as usize } else { 1 };
            for n in 0..count.min(members.len()) {
                let member = members[(first + n) % members.len()];
                if self.fingers.slot(member.id) != Some(slot) {
                    break;
                }
                let heard = Some((self.now, Some(round_trip(member))));
                self.fingers.offer(member, heard, nodes);
            }
        }
        for finger in self.fingers.heard() {
            self.requests.settle(self.now, finger.address, round_trip(finger));
        }
        for next in self.ring.successors().to_vec().iter().chain(predecessor.as_ref()) {
            self.requests.settle(self.now, next.address, round_trip(*next));
            self.note_witness(*next, Reason::Answered(self.now));
        }
        self.become_member();
    }
}
