//! Nodes that were named in one place.
//!
//! The place of a global address does not depend on the upper bits of its port, so whoever lies can name
//! the twin of a node that lives, where nobody is. Who is named first is asked first; when it is silent
//! the next takes its place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::machines::chord::Contact;
use crate::machines::chord::lookup::Candidate;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// Those of one lookup who wait.
#[derive(Debug, Default)]
pub(super) struct Twins {
    /// By the distance of their place.
    waiting: BTreeMap<RingId, VecDeque<Candidate>>,
    /// Who was silent need not come again.
    silent: BTreeSet<SocketAddr>,
}

impl Twins {
    /// Another has this place: keeps `twin` for when that is silent, if there is room.
    pub(super) fn keep(&mut self, distance: RingId, twin: Candidate) {
        if self.is_silent(twin.contact) {
            return;
        }
        let waiting = self.waiting.entry(distance).or_default();
        let is_new = waiting.iter().all(|it| it.contact != twin.contact);
        if is_new && waiting.len() < limits::TWINS_MAX {
            waiting.push_back(twin);
        }
    }

    /// `contact` did not answer.
    pub(super) fn note_silent(&mut self, contact: Contact) {
        self.silent.insert(contact.address);
    }

    /// Whether `contact` was asked and did not answer.
    pub(super) fn is_silent(&self, contact: Contact) -> bool {
        self.silent.contains(&contact.address)
    }

    /// Who comes next in this place.
    pub(super) fn next(&mut self, distance: RingId) -> Option<Candidate> {
        let waiting = self.waiting.get_mut(&distance)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(&distance);
        }
        next
    }

    /// Nobody is looked for in this place any longer.
    pub(super) fn forget(&mut self, distance: RingId) {
        self.waiting.remove(&distance);
    }

    pub(super) fn check(&self) {
        assert!(self.waiting.len() <= limits::CANDIDATES_MAX);
        assert!(self.waiting.values().all(|it| it.len() <= limits::TWINS_MAX));
        assert!(self.silent.len() <= limits::LOOKUP_REQUESTS_MAX as usize);
    }
}

/// Of those whom one answer names, the first in each place: nobody can fill a place with twins.
pub(super) fn one_a_place(named: impl Iterator<Item = Contact>) -> impl Iterator<Item = Contact> {
    let mut places = BTreeSet::new();
    named.filter(move |contact| places.insert(contact.id))
}
