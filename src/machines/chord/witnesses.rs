//! Nodes after us of whom the head of our successors does not speak.
//!
//! A list of successors is the head's word (R4), so a head that lies hides everybody behind it. But who
//! was in our list before, or has answered us, and lies within the list's reach, is asked itself:
//! as long as it answers, it stays in the list beside those whom the head names. Where nobody lies
//! the head names them all, and there is nobody to ask.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::formats::krpc::Query;
use crate::machines::chord::Contact;
use crate::machines::chord::node::Node;
use crate::machines::chord::requests::Purpose;
use crate::machines::chord::ring::is_between;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Witness {
    contact: Contact,
    /// When it answered last, if it has.
    answered_at: Option<Instant>,
    /// When it was asked last, if it was.
    asked_at: Option<Instant>,
}

/// Those of one node, by their distance from it.
#[derive(Debug, Default)]
pub(super) struct Witnesses(BTreeMap<RingId, Witness>);

impl Witnesses {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether there is room for one more at this distance; the farthest of those that have not
    /// answered, or of all, makes some. Whoever names many therefore displaces one that has.
    fn has_room(&mut self, distance: RingId) -> bool {
        if self.0.len() < limits::WITNESSES_MAX {
            return true;
        }
        let mut silent = self.0.iter().rev().filter(|(_, it)| it.answered_at.is_none());
        let farthest = silent.next().or_else(|| self.0.last_key_value()).map(|(at, _)| *at);
        let makes_room = farthest.is_some_and(|farthest| farthest > distance);
        farthest.filter(|_| makes_room).and_then(|farthest| self.0.remove(&farthest)).is_some()
    }

    pub(super) fn check(&self) {
        assert!(self.0.len() <= limits::WITNESSES_MAX);
    }
}

impl Node {
    /// Whether `contact` lies within the reach of our list of successors, behind its head, and is not
    /// in it.
    fn is_passed_over(&self, contact: Contact) -> bool {
        let (me, list) = (self.me(), self.ring.successors());
        let (Some(head), Some(last)) = (list.first(), list.last()) else { return false };
        let is_full = list.len() >= self.settings.shape.successors;
        is_between(*head, contact, if is_full { *last } else { me }) && !list.contains(&contact)
    }

    /// `contact` was named, or was in our list, or has answered at this time.
    pub(super) fn note_witness(&mut self, contact: Contact, answered_at: Option<Instant>) {
        if !self.settings.shape.heal || !self.is_passed_over(contact) {
            return;
        }
        let distance = self.me().id.clockwise_to(contact.id);
        if let Some(known) = self.witnesses.0.get_mut(&distance) {
            known.answered_at = answered_at.or(known.answered_at);
        } else if !self.requests.is_suspect(self.now, contact.address)
            && self.witnesses.has_room(distance)
        {
            let witness = Witness { contact, answered_at, asked_at: None };
            self.witnesses.0.insert(distance, witness);
        }
    }

    /// Asks a few of them whether they live, those first who were not asked for longest.
    pub(super) fn ask_witnesses(&mut self) {
        let now = self.now;
        let is_due = |witness: &&Witness| {
            let last = witness.asked_at.max(witness.answered_at);
            last.is_none_or(|at| now.saturating_duration_since(at) >= limits::WITNESS_EVERY)
        };
        let mut due: Vec<_> = self.witnesses.0.values().filter(is_due).copied().collect();
        due.sort_by_key(|witness| witness.asked_at);
        for Witness { contact, .. } in due.into_iter().take(limits::WITNESSES_ASKED) {
            let distance = self.me().id.clockwise_to(contact.id);
            if !self.is_passed_over(contact) {
                self.witnesses.0.remove(&distance);
            } else if self.ask(contact, Query::Ping(None), None, Purpose::Witness, limits::TRIES)
                && let Some(witness) = self.witnesses.0.get_mut(&distance)
            {
                witness.asked_at = Some(now);
            }
        }
    }

    /// `contact` answered, or has no place any longer.
    pub(super) fn handle_witness(&mut self, contact: Contact, lives: bool) {
        let distance = self.me().id.clockwise_to(contact.id);
        if !lives {
            self.witnesses.0.remove(&distance);
        } else if let Some(witness) = self.witnesses.0.get_mut(&distance) {
            witness.answered_at = Some(self.now);
            let list = self.ring.successors().len();
            self.take_in_witnesses();
            if self.ring.successors().len() != list {
                self.handle_change();
            }
        }
    }

    /// The list of successors, beside those whom the head has named.
    pub(super) fn take_in_witnesses(&mut self) {
        let now = self.now;
        let has_answered = |witness: &&Witness| {
            let since = |at| now.saturating_duration_since(at);
            witness.answered_at.is_some_and(|at| since(at) < limits::WITNESS_EVERY * 2)
        };
        let live = self.witnesses.0.values().filter(has_answered).map(|it| it.contact);
        let live: Vec<_> = live.filter(|it| self.is_passed_over(*it)).collect();
        if !live.is_empty() {
            let mut steps = Vec::new();
            self.ring.merge(self.rules(), &live, &mut steps);
            self.perform(&steps, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::machines::chord::Settings;

    fn member(n: u16) -> Contact {
        let [high, low] = n.to_be_bytes();
        Contact::at(SocketAddr::from(([10, 1, high, low], 6881)))
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

    /// Its head names nobody but the last of those whom it knows.
    fn hide(node: &mut Node) -> Vec<Contact> {
        let list = node.ring.successors().to_vec();
        let (head, last) = (list[0], list[list.len() - 1]);
        node.ring = crate::machines::chord::ring::Ring::settled(
            node.me(),
            node.ring.predecessor(),
            vec![head, last],
        );
        list[1..list.len() - 1].to_vec()
    }

    #[test]
    fn whom_the_head_hides_is_asked_and_in_the_list_as_long_as_it_answers() {
        let (mut node, _) = first_of(40);
        let list = node.ring.successors().to_vec();
        let hidden = hide(&mut node);
        hidden.iter().for_each(|one| node.note_witness(*one, None));
        node.take_in_witnesses();
        assert_eq!(node.ring.successors().len(), 2, "nobody has answered");
        node.ask_witnesses();
        let asked = std::iter::from_fn(|| node.poll_transmit()).count();
        assert_eq!(asked, limits::WITNESSES_ASKED);
        hidden.iter().for_each(|one| node.handle_witness(*one, true));
        assert_eq!(node.ring.successors(), list);
        hide(&mut node);
        node.handle_witness(hidden[3], false);
        node.take_in_witnesses();
        let rest: Vec<_> = list.iter().copied().filter(|it| *it != hidden[3]).collect();
        assert_eq!(node.ring.successors(), rest, "whoever is silent is not kept");
        node.check();
    }

    #[test]
    fn those_within_reach_are_few_and_whoever_has_answered_keeps_its_place() {
        let (mut node, members) = first_of(200);
        for one in &members {
            node.note_witness(*one, Some(node.now));
        }
        assert!(node.witnesses.0.is_empty(), "all within reach are in the list");
        let hidden = hide(&mut node);
        hidden.iter().for_each(|one| node.note_witness(*one, Some(node.now)));
        for n in 1000..60_000 {
            node.note_witness(member(n), None);
        }
        assert_eq!(node.witnesses.0.len(), limits::WITNESSES_MAX);
        let is_known = |one: &&Contact| node.witnesses.0.values().any(|it| it.contact == **one);
        assert_eq!(hidden.iter().filter(is_known).count(), hidden.len());
        node.check();
    }
}
