//! The nodes that a lookup knows, by their distance to its target.

use crate::machines::chord::Contact;
use crate::machines::chord::lookup::{Candidate, Lookup, Standing};
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

impl Lookup {
    pub(super) fn insert(&mut self, contact: Contact, depth: u32, way: u32) {
        if self.namers.is_disbelieved(contact) {
            return;
        }
        let distance = contact.id.clockwise_to(self.target);
        let (standing, slow_at) = (Standing::Untried, self.started);
        let new = Candidate { contact, standing, slow_at, listed: false, depth, way, token: None };
        let candidate = self.candidates.entry(distance).or_insert(new);
        if candidate.contact == contact {
            candidate.way = way;
            if self.ourselves == Some(distance) {
                self.ourselves = None;
                *candidate = new;
            }
        } else {
            self.twins.keep(distance, new);
            self.let_twin_in(distance);
        }
        if self.candidates.len() > limits::CANDIDATES_MAX {
            self.drop_farthest();
        }
    }

    /// Drops the farthest from the target on either side; those that we knew ourselves last, since a
    /// liar may name any number of others.
    fn drop_farthest(&mut self) {
        // It is in the middle of the map.
        let middle = RingId::part(2);
        let farthest = |is_given: bool| {
            let may_go = |(_, it): &(&RingId, &Candidate)| {
                it.standing != Standing::Asked && is_given == (it.depth == 0)
            };
            let after = self.candidates.range(middle..).find(may_go).map(|(distance, _)| *distance);
            let before = self.candidates.range(..middle).rev().find(may_go);
            let before = before.map(|(distance, _)| *distance);
            match (before, after) {
                (Some(before), Some(after)) => {
                    let gap = after.clockwise_to(RingId::default());
                    Some(if gap > before { after } else { before })
                }
                (before, after) => before.or(after),
            }
        };
        if let Some(distance) = farthest(false).or_else(|| farthest(true)) {
            self.candidates.remove(&distance);
            self.twins.forget(distance);
        }
    }

    /// Whoever was silent makes room for another in its place.
    pub(super) fn let_twin_in(&mut self, distance: RingId) {
        if let Some(candidate) = self.candidates.get_mut(&distance)
            && candidate.standing == Standing::Silent
            && let Some(twin) = self.twins.next(distance)
        {
            *candidate = twin;
        }
    }

    /// Those after the target, the nearest first, without us, whom nobody named.
    pub(super) fn after(&self) -> impl Iterator<Item = (RingId, &Candidate)> {
        let after = self.candidates.range(RingId::part(2)..).rev();
        let named = after.filter(|(distance, _)| Some(**distance) != self.ourselves);
        named.map(|(distance, candidate)| (*distance, candidate))
    }

    /// Who is said to be responsible.
    pub(super) fn claimed(&self) -> Option<Contact> {
        self.claims.last().map(|(_, owner)| *owner)
    }

    /// The nearest after the target that is not known to be silent, if it has answered.
    pub(super) fn heir(&self) -> Option<Candidate> {
        let (_, heir) = self.after().find(|(_, it)| it.standing != Standing::Silent)?;
        (heir.standing == Standing::Answered).then_some(*heir)
    }

    /// The same, where somebody has said who is responsible.
    pub(super) fn heir_of_claimed(&self) -> Option<Candidate> {
        self.heir().filter(|_| !self.claims.is_empty())
    }

    /// The first to be asked after the target that is nearer than all that answered.
    pub(super) fn nearer_heir(&self) -> Option<RingId> {
        let mut nearer = self.after().take_while(|(_, it)| it.standing != Standing::Answered);
        nearer.find(|(_, it)| it.standing == Standing::Untried).map(|(distance, _)| distance)
    }
}
