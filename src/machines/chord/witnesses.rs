//! Nodes after us of which the head's word alone says that they are there, or that they are not.
//!
//! A list of successors is the head's word (R4), so a head that lies hides everybody behind it. But who
//! was in our list before, has answered us or was named on the way of a lookup, and lies within the
//! list's reach, is asked itself: as long as it answers, it stays in the list beside those whom the
//! head names. Where nobody lies the head soon names them all, and there is nobody to ask.
//!
//! And a head may name nodes that there are not, nearer than any that there is, until its list has no room
//! for anybody else. So whoever it names is asked, too: once, if it answers; else it is left out of the
//! list, and asked again ever more rarely. Where several were silent, a name is in the list when it has
//! answered, and not before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::formats::krpc::{Query, State};
use crate::machines::chord::Contact;
use crate::machines::chord::node::Node;
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::ring::is_between;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// Why a node counts: the later reason is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// Somebody has named it.
    Named,
    /// It was in our list.
    Listed,
    /// It has answered.
    Answered(Instant),
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Witness {
    contact: Contact,
    reason: Reason,
    /// When it was asked last, if it was.
    asked_at: Option<Instant>,
}

impl Witness {
    fn answered_at(&self) -> Option<Instant> {
        match self.reason {
            Reason::Answered(at) => Some(at),
            Reason::Named | Reason::Listed => None,
        }
    }
}

/// What is known of a node that the head names, or that is in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// It was asked whether it lives.
    Asked(Instant),
    /// It has answered.
    Answered,
}

/// A node that did not answer.
#[derive(Clone, Copy, Debug)]
struct Silent {
    asked_at: Instant,
    /// After which it is asked again, if the head still names it.
    wait: Duration,
}

impl Silent {
    /// Whether it may be asked again.
    fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked_at) >= self.wait
    }

    /// Whether it makes us wary.
    fn is_remembered(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked_at) < limits::SILENT_WAIT_MAX
    }
}

/// The distance of a node from us, and its address: several may claim one place.
type Key = (RingId, SocketAddr);

/// No address comes before it.
const LOWEST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Those of one node.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    /// Those behind the head that it does not name.
    hidden: BTreeMap<Key, Witness>,
    /// The list as the head has it.
    named: Vec<Contact>,
    /// Those who have been asked, or have answered, since they are named or in the list.
    proofs: BTreeMap<Key, Proof>,
    /// Those whom the head has named, and who did not answer.
    silent: BTreeMap<Key, Silent>,
}

impl Witnesses {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn has_answered(&self, key: Key) -> bool {
        self.proofs.get(&key) == Some(&Proof::Answered)
    }

    /// Whether so many did not answer lately that the next name may be as empty.
    fn is_wary(&self, now: Instant) -> bool {
        self.silent.values().filter(|it| it.is_remembered(now)).count() >= limits::SILENT_FEW
    }

    /// Whether one that is named should be asked now whether it lives.
    fn is_to_be_asked(&self, now: Instant, key: Key) -> bool {
        if let Some(silent) = self.silent.get(&key) {
            return silent.is_due(now);
        }
        match self.proofs.get(&key) {
            Some(Proof::Asked(at)) => now.saturating_duration_since(*at) >= limits::WITNESS_EVERY,
            Some(Proof::Answered) => false,
            None => true,
        }
    }

    /// It is named, and did not answer. The nearest of them are remembered.
    fn note_silent(&mut self, now: Instant, key: Key) {
        self.proofs.remove(&key);
        let longer = |it: &Silent| (it.wait * 2).min(limits::SILENT_WAIT_MAX);
        let wait = self.silent.get(&key).map_or(limits::SILENT_WAIT, longer);
        self.silent.insert(key, Silent { asked_at: now, wait });
        if self.silent.len() > limits::WITNESSES_MAX {
            self.silent.pop_last();
        }
    }

    /// It is named, and was asked whether it lives.
    fn note_asked(&mut self, now: Instant, key: Key) {
        match self.silent.get_mut(&key) {
            Some(silent) => silent.asked_at = now,
            None => self.note_proof(key, Proof::Asked(now)),
        }
    }

    fn note_proof(&mut self, key: Key, proof: Proof) {
        self.proofs.insert(key, proof);
        if self.proofs.len() > limits::WITNESSES_MAX {
            self.proofs.pop_last();
        }
    }

    /// Keeps `witness` if there is room: one of a lesser reason makes some, or, unless it is merely
    /// named, one that is farther.
    fn keep(&mut self, key: Key, witness: Witness) {
        let reason = |it: Reason| match it {
            Reason::Named => 0,
            Reason::Listed => 1,
            Reason::Answered(_) => 2,
        };
        // Many addresses have one place: whoever has them must not fill the room with them.
        let in_place = self.hidden.range((key.0, LOWEST)..).take_while(|(at, _)| at.0 == key.0);
        let in_place: Vec<_> = in_place.map(|(at, it)| (reason(it.reason), *at)).collect();
        if in_place.len() >= limits::WITNESSES_A_PLACE {
            let Some((least, worst)) = in_place.into_iter().min() else { return };
            if least >= reason(witness.reason) {
                return;
            }
            self.hidden.remove(&worst);
        }
        if self.hidden.len() >= limits::WITNESSES_MAX {
            let value = |(key, it): (Key, Reason)| (reason(it), std::cmp::Reverse(key));
            let all = self.hidden.iter().map(|(at, it)| (*at, it.reason));
            let Some(worst) = all.min_by_key(|it| value(*it)) else { return };
            if witness.reason == Reason::Named || value(worst) >= value((key, witness.reason)) {
                return;
            }
            self.hidden.remove(&worst.0);
        }
        self.hidden.insert(key, witness);
    }

    pub(super) fn check(&self) {
        assert!(self.hidden.len() <= limits::WITNESSES_MAX);
        assert!(self.named.len() <= limits::SUCCESSORS);
        assert!(self.proofs.len() <= limits::WITNESSES_MAX);
        assert!(self.silent.len() <= limits::WITNESSES_MAX);
    }
}

impl Node {
    /// Whether the list, as the head has it, goes all round; `None` if the head has not told it yet.
    pub(super) fn is_list_whole(&self) -> Option<bool> {
        let known = self.head_state.as_ref().filter(|(of, _)| Some(*of) == self.ring.head());
        let ends_here =
            |(_, state): &(Contact, State)| state.successors.contains(&self.me().address);
        let is_short = self.ring.successors().len() < self.settings.shape.successors;
        known.map(|known| is_short && ends_here(known))
    }

    /// Whether `contact` is behind our head and within the reach of its list.
    fn is_within_reach(&self, contact: Contact) -> bool {
        let (me, list) = (self.me(), self.ring.successors());
        let (Some(head), Some(last)) = (list.first(), list.last()) else { return false };
        let is_whole = self.is_list_whole().unwrap_or(false);
        is_between(*head, contact, if is_whole { me } else { *last })
    }

    fn is_listed(&self, contact: Contact) -> bool {
        self.ring.successors().contains(&contact)
    }

    fn key_of(&self, contact: Contact) -> Key {
        (self.me().id.clockwise_to(contact.id), contact.address)
    }

    /// There is `contact`, for this reason.
    pub(super) fn note_witness(&mut self, contact: Contact, reason: Reason) {
        let (now, key) = (self.now, self.key_of(contact));
        let is_named = self.witnesses.named.contains(&contact);
        if matches!(reason, Reason::Answered(_)) {
            self.witnesses.silent.remove(&key);
            let is_known = self.witnesses.proofs.contains_key(&key);
            if is_known || is_named || self.is_listed(contact) {
                self.witnesses.note_proof(key, Proof::Answered);
            }
        }
        if let Some(known) = self.witnesses.hidden.get_mut(&key) {
            known.reason = known.reason.max(reason);
            return;
        }
        let is_behind = self.ring.head().is_some_and(|head| is_between(head, contact, self.me()));
        let may_be = match reason {
            // The head may have drawn the reach in.
            Reason::Listed => is_behind,
            Reason::Named | Reason::Answered(_) => self.is_within_reach(contact),
        };
        let shape = self.settings.shape;
        if may_be
            && (shape.heal && shape.successors > 1)
            && !(is_named || self.is_listed(contact))
            && self.witnesses.silent.get(&key).is_none_or(|it| it.is_due(now))
            && !self.requests.is_suspect(now, contact.address)
        {
            self.witnesses.keep(key, Witness { contact, reason, asked_at: None });
        }
    }

    /// The head has said who comes after it; `before` was the list until then.
    pub(super) fn compare_with_head(&mut self, before: &[Contact]) {
        let (me, now) = (self.me().id, self.now);
        let key = |it: &Contact| (me.clockwise_to(it.id), it.address);
        let named = self.ring.successors().to_vec();
        let witnesses = &mut self.witnesses;
        let keys: BTreeSet<_> = named.iter().chain(before).map(key).collect();
        // A hidden one is named now, and need not prove anew that it lives.
        for named in named.iter().map(key) {
            let hidden = witnesses.hidden.remove(&named);
            if hidden.is_some_and(|it| it.answered_at().is_some()) {
                witnesses.note_proof(named, Proof::Answered);
            }
        }
        witnesses.proofs.retain(|it, _| keys.contains(it));
        witnesses.silent.retain(|it, silent| silent.is_remembered(now) || keys.contains(it));
        let is_wary = witnesses.is_wary(now);
        self.ring.leave_out(|it| {
            let it = key(it);
            witnesses.silent.contains_key(&it) || (is_wary && !witnesses.has_answered(it))
        });
        witnesses.named = named;
        before.iter().for_each(|contact| self.note_witness(*contact, Reason::Listed));
        self.take_in_witnesses();
    }

    /// Asks a few of those whom the head does not name whether they live: first those that lived when
    /// they were asked last, then those that were not asked for longest; and a few of those whom it
    /// names and of whom nothing is known.
    pub(super) fn ask_witnesses(&mut self) {
        let now = self.now;
        let is_due = |at: Option<Instant>| {
            at.is_none_or(|at| now.saturating_duration_since(at) >= limits::WITNESS_EVERY)
        };
        let all = self.witnesses.hidden.values();
        let due = all.filter(|it| is_due(it.asked_at.max(it.answered_at())));
        let mut due: Vec<_> = due.copied().collect();
        due.sort_by_key(|it| (it.answered_at().is_none(), it.asked_at));
        for Witness { contact, .. } in due.into_iter().take(limits::WITNESSES_ASKED) {
            let (key, asked) = (self.key_of(contact), self.ask_whether_it_lives(contact));
            if let Some(witness) = self.witnesses.hidden.get_mut(&key).filter(|_| asked) {
                witness.asked_at = Some(now);
            }
        }
        let shape = self.settings.shape;
        if shape.heal && shape.successors > 1 {
            let is_new = |it: &&Contact| self.witnesses.is_to_be_asked(now, self.key_of(**it));
            // The head is asked anyhow.
            let mut new: Vec<_> =
                self.witnesses.named.iter().skip(1).filter(is_new).copied().collect();
            // By chance: names that are new in each round must not hide those behind them.
            self.rng.shuffle(&mut new);
            new.sort_by_key(|it| self.witnesses.silent.contains_key(&self.key_of(*it)));
            new.truncate(limits::WITNESSES_ASKED);
            for contact in new {
                if self.ask_whether_it_lives(contact) {
                    self.witnesses.note_asked(now, self.key_of(contact));
                }
            }
        }
    }

    fn ask_whether_it_lives(&mut self, contact: Contact) -> bool {
        self.ask(contact, Query::Ping(None), None, Purpose::Witness, limits::TRIES)
    }

    fn lives(&self, witness: &Witness) -> bool {
        let since = |at| self.now.saturating_duration_since(at);
        let lately = |at: Instant| since(at) < limits::WITNESS_EVERY + limits::WITNESS_GRACE;
        witness.answered_at().is_some_and(lately)
            && !self.requests.is_suspect(self.now, witness.contact.address)
    }

    /// `contact` answered, or is silent, or has no place any longer.
    pub(super) fn handle_witness(&mut self, contact: Contact, lives: bool) {
        let list = self.ring.successors().to_vec();
        let key = self.key_of(contact);
        if lives {
            self.note_witness(contact, Reason::Answered(self.now));
            self.take_in_witnesses();
        } else {
            self.witnesses.hidden.remove(&key);
            if self.witnesses.named.contains(&contact) {
                self.witnesses.note_silent(self.now, key);
            }
            self.ring.leave_out(|it| *it == contact);
            // Another may be there in its place.
            self.take_in_witnesses();
        }
        if self.ring.successors() != list {
            self.handle_new_list();
        }
    }

    /// Those that live join the list beside those whom the head has named, and those whom it has named
    /// join it once they have answered.
    fn take_in_witnesses(&mut self) {
        let (me, head) = (self.me(), self.ring.head());
        let is_behind = |it: &Contact| head.is_some_and(|head| is_between(head, *it, me));
        let hidden =
            self.witnesses.hidden.values().filter(|it| self.lives(it)).map(|it| it.contact);
        let has_answered =
            |it: &Contact| self.witnesses.has_answered(self.key_of(*it)) && !self.is_listed(*it);
        let named = self.witnesses.named.iter().copied().filter(has_answered);
        let live: Vec<_> = hidden.chain(named).filter(is_behind).collect();
        if !live.is_empty() {
            let mut steps = Vec::new();
            self.ring.merge(self.rules(), &live, &mut steps);
            debug_assert!(steps.is_empty(), "the head is the one that it was");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::chord::Settings;
    use crate::machines::chord::ring::Ring;

    fn member(n: u16) -> Contact {
        let [high, low] = n.to_be_bytes();
        Contact::at(SocketAddr::from(([10, 1, high, low], 6881)))
    }

    /// Nobody is there.
    fn ghost(n: u16) -> Contact {
        let [high, low] = n.to_be_bytes();
        Contact::at(SocketAddr::from(([10, 2, high, low], 6881)))
    }

    /// The first of `n` members, which knows all those after it.
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn first_of(n: u16) -> (Node, Vec<Contact>) {
        let mut members: Vec<_> = (0..n).map(member).collect();
        members.sort_unstable();
        let mut node = Node::new(Settings::default(), members[0].address, 1, Instant::now());
        node.settle(&members, |_| Duration::from_millis(80));
        while node.poll_transmit().is_some() {}
        (node, members)
    }

    /// Its head names nobody but those friends, the first of whom is far behind it. Gives the list as it
    /// was before.
    fn lie(node: &mut Node, friends: &[Contact]) -> Vec<Contact> {
        let list = node.ring.successors().to_vec();
        let named = [&list[..1], friends].concat();
        node.ring = Ring::settled(node.me(), node.ring.predecessor(), named);
        node.compare_with_head(&list);
        list
    }

    fn asked(node: &mut Node) -> BTreeSet<SocketAddr> {
        std::iter::from_fn(|| node.poll_transmit()).map(|transmit| transmit.to).collect()
    }

    #[test]
    fn whom_the_head_hides_is_asked_and_in_the_list_as_long_as_it_answers() {
        let (mut node, members) = first_of(40);
        let list = lie(&mut node, &members[25..26]);
        assert_eq!(node.ring.successors().len(), 2, "nobody has answered");
        node.ask_witnesses();
        // And the friend, of whom nothing is known.
        assert_eq!(asked(&mut node).len(), limits::WITNESSES_ASKED + 1);
        list.iter().for_each(|one| node.handle_witness(*one, true));
        assert_eq!(node.ring.successors(), list);
        for _ in 0..3 {
            node.now += limits::WITNESS_EVERY;
            lie(&mut node, &members[25..26]);
            assert_eq!(node.ring.successors(), list, "they are kept while they are asked again");
            for _ in 0..5 {
                node.ask_witnesses();
            }
            let again = asked(&mut node);
            assert!(list[1..].iter().all(|one| again.contains(&one.address)), "{again:?}");
            list.iter().for_each(|one| node.handle_witness(*one, true));
        }
        node.handle_witness(list[4], false);
        let rest: Vec<_> = list.iter().copied().filter(|it| *it != list[4]).collect();
        assert_eq!(node.ring.successors()[..19], rest, "whoever is silent is not kept");
        node.now += limits::WITNESS_EVERY + limits::WITNESS_GRACE;
        lie(&mut node, &members[25..26]);
        assert_eq!(node.ring.successors().len(), 2, "nor who was not heard of for long");
        node.check();
    }

    #[test]
    fn names_take_only_free_room() {
        let (mut node, members) = first_of(200);
        for one in &members {
            node.note_witness(*one, Reason::Named);
        }
        assert!(node.witnesses.hidden.is_empty(), "all within reach are in the list");
        let list = node.ring.successors().to_vec();
        let named = [&list[..1], &list[19..]].concat();
        node.ring = Ring::settled(node.me(), node.ring.predecessor(), named);
        for n in 0..60_000 {
            node.note_witness(ghost(n), Reason::Named);
        }
        assert_eq!(node.witnesses.hidden.len(), limits::WITNESSES_MAX);
        node.compare_with_head(&list);
        let is_known =
            |one: &&Contact| node.witnesses.hidden.values().any(|it| it.contact == **one);
        assert_eq!(list.iter().filter(is_known).count(), list.len() - 2);
        node.check();
    }

    #[test]
    fn whom_the_head_makes_up_is_not_in_the_list_for_long() {
        let (mut node, _) = first_of(40);
        let list = node.ring.successors().to_vec();
        let (head, next) = (list[0], list[1]);
        let ghosts = (0..60_000).map(ghost).filter(|it| is_between(head, *it, next));
        let mut ghosts: Vec<_> = ghosts.take(38).collect();
        let (first, others) = ghosts.split_at_mut(19);
        first.sort_unstable();
        others.sort_unstable();
        lie(&mut node, first);
        assert_eq!(node.ring.successors()[1..], *first, "there is no room for anybody else");
        for _ in 0..5 {
            node.ask_witnesses();
            for address in asked(&mut node) {
                let contact = Contact::at(address);
                node.handle_witness(contact, list.contains(&contact));
            }
            lie(&mut node, first);
            node.check();
        }
        assert_eq!(node.ring.successors(), list);
        lie(&mut node, others);
        assert_eq!(node.ring.successors(), list, "nor is the next that it makes up");
        // It was no ghost after all.
        let mut all = BTreeSet::new();
        for _ in 0..5 {
            node.ask_witnesses();
            all.extend(asked(&mut node));
        }
        assert!(all.contains(&others[0].address));
        node.handle_witness(others[0], true);
        lie(&mut node, others);
        assert_eq!(node.ring.successors()[..2], [head, others[0]]);
        // Whoever was silent is asked again, after a while.
        let asks = |node: &mut Node| asked(node).contains(&first[0].address);
        // Each round asks some of them, by chance.
        let rounds = |node: &mut Node| (0..5).for_each(|_| node.ask_witnesses());
        lie(&mut node, first);
        rounds(&mut node);
        assert!(!asks(&mut node));
        node.now += limits::SILENT_WAIT;
        rounds(&mut node);
        assert!(asks(&mut node));
        node.handle_witness(first[0], false);
        node.now += limits::SILENT_WAIT;
        rounds(&mut node);
        assert!(!asks(&mut node), "ever more rarely");
    }

    /// The place of a global address does not depend on the upper bits of its port, so a head can name
    /// the twin of one that lives.
    #[test]
    fn a_twin_that_there_is_not_hides_nobody() {
        let (mut node, _) = first_of(40);
        let list = node.ring.successors().to_vec();
        let twin = |it: &Contact| {
            let (ip, port) = (it.address.ip(), it.address.port() + 8);
            Contact { address: SocketAddr::new(ip, port), ..*it }
        };
        let twins: Vec<_> = list[1..].iter().map(twin).collect();
        lie(&mut node, &twins);
        for _ in 0..5 {
            node.ask_witnesses();
            let asked = asked(&mut node);
            for one in list.iter().chain(&twins).filter(|it| asked.contains(&it.address)) {
                node.handle_witness(*one, list.contains(one));
            }
        }
        lie(&mut node, &twins);
        assert_eq!(node.ring.successors(), list);
        node.check();
    }

    #[test]
    fn one_host_cannot_fill_the_room_with_its_many_addresses() {
        let (mut node, _) = first_of(40);
        let list = node.ring.successors().to_vec();
        let one = list[5];
        for n in 1..=40 {
            let address = SocketAddr::new(one.address.ip(), one.address.port() + 8 * n);
            let twin = Contact { address, ..one };
            node.note_witness(twin, Reason::Named);
            node.handle_witness(twin, true);
        }
        lie(&mut node, &list[19..]);
        let hides = |one: &&Contact| node.witnesses.hidden.values().any(|it| it.contact == **one);
        assert_eq!(list[1..19].iter().filter(hides).count(), 17, "all but that one");
        node.check();
    }

    #[test]
    fn only_silence_of_those_whom_the_head_names_makes_wary() {
        let (mut node, members) = first_of(40);
        let list = lie(&mut node, &members[25..26]);
        list[1..].iter().take(6).for_each(|it| node.handle_witness(*it, false));
        assert!(!node.witnesses.is_wary(node.now), "others have named them");
        let heads: Vec<_> = list[1..].iter().copied().take(6).collect();
        lie(&mut node, &heads);
        heads.iter().for_each(|it| node.handle_witness(*it, false));
        assert!(node.witnesses.is_wary(node.now));
        node.now += limits::SILENT_WAIT_MAX;
        assert!(!node.witnesses.is_wary(node.now), "and not for ever");
    }

    #[test]
    fn who_was_hidden_and_lived_need_not_prove_it_when_it_is_named() {
        let (mut node, members) = first_of(40);
        let list = lie(&mut node, &members[25..26]);
        node.ask_witnesses();
        list.iter().for_each(|one| node.handle_witness(*one, true));
        node.ring = Ring::settled(node.me(), node.ring.predecessor(), list.clone());
        asked(&mut node);
        node.witnesses.proofs.clear();
        node.compare_with_head(&list[..1]);
        node.ask_witnesses();
        assert_eq!(asked(&mut node), BTreeSet::new());
        assert_eq!(node.ring.successors(), list);
    }
}
