//! Nodes after us of whom the head of our successors does not speak.
//!
//! A list of successors is the head's word (R4), so a head that lies hides everybody behind it. But who
//! was in our list before, has answered us or was named on the way of a lookup, and lies within the
//! list's reach, is asked itself: as long as it answers, it stays in the list beside those whom the
//! head names. Where nobody lies the head soon names them all, and there is nobody to ask.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::formats::krpc::Query;
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

/// Those of one node, by their distance from it.
#[derive(Debug, Default)]
pub(super) struct Witnesses(BTreeMap<RingId, Witness>);

impl Witnesses {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps `witness` if there is room: one of a lesser reason makes some, or, unless it is merely
    /// named, one that is farther.
    fn keep(&mut self, distance: RingId, witness: Witness) {
        let reason = |it: Reason| match it {
            Reason::Named => 0,
            Reason::Listed => 1,
            Reason::Answered(_) => 2,
        };
        if self.0.len() >= limits::WITNESSES_MAX {
            let value =
                |(distance, it): (RingId, Reason)| (reason(it), std::cmp::Reverse(distance));
            let all = self.0.iter().map(|(at, it)| (*at, it.reason));
            let Some(worst) = all.min_by_key(|it| value(*it)) else { return };
            if witness.reason == Reason::Named || value(worst) >= value((distance, witness.reason))
            {
                return;
            }
            self.0.remove(&worst.0);
        }
        self.0.insert(distance, witness);
    }

    pub(super) fn check(&self) {
        assert!(self.0.len() <= limits::WITNESSES_MAX);
    }
}

impl Node {
    /// Whether `contact` is behind our head and within the reach of its list, which goes all round only
    /// where that ends at us.
    fn is_within_reach(&self, contact: Contact) -> bool {
        let (me, list) = (self.me(), self.ring.successors());
        let (Some(head), Some(last)) = (list.first(), list.last()) else { return false };
        let known = self.head_state.as_ref().filter(|(of, _)| of == head);
        let is_whole = list.len() < self.settings.shape.successors
            && known.is_some_and(|(_, state)| state.successors.contains(&me.address));
        is_between(*head, contact, if is_whole { me } else { *last })
    }

    fn is_listed(&self, contact: Contact) -> bool {
        self.ring.successors().iter().any(|it| it.id == contact.id)
    }

    /// There is `contact`, for this reason.
    pub(super) fn note_witness(&mut self, contact: Contact, reason: Reason) {
        let distance = self.me().id.clockwise_to(contact.id);
        if let Some(known) = self.witnesses.0.get_mut(&distance) {
            if known.contact == contact {
                known.reason = known.reason.max(reason);
            }
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
            && !self.is_listed(contact)
            && !self.requests.is_suspect(self.now, contact.address)
        {
            self.witnesses.keep(distance, Witness { contact, reason, asked_at: None });
        }
    }

    /// The head has said who comes after it; `before` was the list until then.
    pub(super) fn compare_with_head(&mut self, before: &[Contact]) {
        let list = self.ring.successors().to_vec();
        self.witnesses.0.retain(|_, witness| !list.contains(&witness.contact));
        before.iter().for_each(|contact| self.note_witness(*contact, Reason::Listed));
        self.take_in_witnesses();
    }

    /// Asks a few of them whether they live: first those that lived when they were asked last, then
    /// those that were not asked for longest.
    pub(super) fn ask_witnesses(&mut self) {
        let now = self.now;
        let is_due = |at: Option<Instant>| {
            at.is_none_or(|at| now.saturating_duration_since(at) >= limits::WITNESS_EVERY)
        };
        let all = self.witnesses.0.values();
        let due = all.filter(|it| is_due(it.asked_at.max(it.answered_at())));
        let mut due: Vec<_> = due.copied().collect();
        due.sort_by_key(|it| (it.answered_at().is_none(), it.asked_at));
        for Witness { contact, .. } in due.into_iter().take(limits::WITNESSES_ASKED) {
            let asked = self.ask(contact, Query::Ping(None), None, Purpose::Witness, limits::TRIES);
            let distance = self.me().id.clockwise_to(contact.id);
            if let Some(witness) = self.witnesses.0.get_mut(&distance).filter(|_| asked) {
                witness.asked_at = Some(now);
            }
        }
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
        let distance = self.me().id.clockwise_to(contact.id);
        let known = self.witnesses.0.get_mut(&distance).filter(|it| it.contact == contact);
        let Some(witness) = known else { return };
        if lives {
            witness.reason = Reason::Answered(self.now);
            self.take_in_witnesses();
        } else {
            self.witnesses.0.remove(&distance);
            self.ring.leave_out(|it| *it == contact);
        }
        if self.ring.successors() != list {
            self.handle_new_list();
        }
    }

    /// Those that live join the list beside those whom the head has named.
    fn take_in_witnesses(&mut self) {
        let (me, head) = (self.me(), self.ring.head());
        let is_behind = |it: &Contact| head.is_some_and(|head| is_between(head, *it, me));
        let live = self.witnesses.0.values().filter(|it| self.lives(it)).map(|it| it.contact);
        let live: Vec<_> = live.filter(is_behind).collect();
        if !live.is_empty() {
            let mut steps = Vec::new();
            self.ring.merge(self.rules(), &live, &mut steps);
            debug_assert!(steps.is_empty(), "the head is the one that it was");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;
    use std::time::Duration;

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
        assert_eq!(asked(&mut node).len(), limits::WITNESSES_ASKED);
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
        assert!(node.witnesses.0.is_empty(), "all within reach are in the list");
        let list = node.ring.successors().to_vec();
        let named = [&list[..1], &list[19..]].concat();
        node.ring = Ring::settled(node.me(), node.ring.predecessor(), named);
        for n in 0..60_000 {
            node.note_witness(ghost(n), Reason::Named);
        }
        assert_eq!(node.witnesses.0.len(), limits::WITNESSES_MAX);
        node.compare_with_head(&list);
        let is_known = |one: &&Contact| node.witnesses.0.values().any(|it| it.contact == **one);
        assert_eq!(list.iter().filter(is_known).count(), list.len() - 2);
        node.check();
    }
}
