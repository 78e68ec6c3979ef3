//! The routing table (BEP 5, "routing table"): nodes that answered us, the more of them the nearer.
//!
//! Bucket *n* holds nodes that share exactly *n* leading bits with our id, and the last one those
//! that share more. When the last one is full it is split, so that the table grows towards our own
//! id and nowhere else. A full bucket keeps who is in it: nodes that stayed long stay longer. Whoever
//! comes then waits as a spare until one of them falls silent.
//!
//! Nobody enters by a third party's word: only a node that itself answered a query of ours does.
//! With [`Table::restore`], nodes that answered in an earlier run count as questionable.

use std::net::IpAddr;
use std::time::Instant;

use super::subnet;
use crate::formats::mainline::Contact;
use crate::words::address::is_local;
use crate::words::limits::mainline as limits;
use crate::words::node_id::{ID_BITS, NodeId};
use crate::words::rng::Rng;

/// The nodes of one family that we know.
#[derive(Debug)]
pub(super) struct Table {
    own: NodeId,
    buckets: Vec<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    nodes: Vec<Entry>,
    /// Nodes that answered when there was no room, the latest last.
    spares: Vec<Contact>,
    /// When one of its nodes answered last, or its refreshing began.
    changed: Instant,
    /// Whether its refreshing ever began: who joins fills all its buckets (Kademlia paper, 2.3).
    was_refreshed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    contact: Contact,
    replied: Option<Instant>,
    queried: Option<Instant>,
    /// Queries in a row that it left unanswered.
    failures: u32,
}

/// What a node is good for (BEP 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It answered lately, or answered once and lately asked.
    Good,
    /// It was silent for long, as we were to it.
    Questionable,
    /// It left several queries in a row unanswered.
    Bad,
}

impl Entry {
    fn standing(&self, now: Instant) -> Standing {
        let lately = |at: Option<Instant>| {
            at.is_some_and(|at| now.saturating_duration_since(at) < limits::NODE_FRESH)
        };
        if self.failures >= limits::NODE_FAILURES_MAX {
            Standing::Bad
        } else if lately(self.replied) || self.replied.is_some() && lately(self.queried) {
            Standing::Good
        } else {
            Standing::Questionable
        }
    }
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { nodes: Vec::new(), spares: Vec::new(), changed: now, was_refreshed: false }
    }
}

impl Table {
    pub(super) fn new(own: NodeId, now: Instant) -> Self {
        Self { own, buckets: vec![Bucket::new(now)] }
    }

    /// Our own id.
    pub(super) fn own(&self) -> NodeId {
        self.own
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.nodes.len()).sum()
    }

    /// Every node of the table.
    pub(super) fn contacts(&self) -> impl Iterator<Item = Contact> {
        self.entries().map(|entry| entry.contact)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    /// The `n` nodes nearest to `target`, the nearest first, without those that fell silent.
    pub(super) fn closest(&self, target: NodeId, n: usize) -> Vec<Contact> {
        let sound = self.entries().filter(|entry| entry.failures == 0);
        let mut all: Vec<_> =
            sound.map(|entry| (target.distance(entry.contact.id), entry.contact)).collect();
        if all.len() > n {
            all.select_nth_unstable_by_key(n, |(distance, _)| *distance);
            all.truncate(n);
        }
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().map(|(_, contact)| contact).collect()
    }

    /// `contact` answered a query. Gives a node whose place it wants and that nobody has heard of
    /// for long: asking it decides.
    pub(super) fn handle_reply(&mut self, contact: Contact, now: Instant) -> Option<Contact> {
        if contact.id == self.own {
            return None;
        }
        let at = self.bucket_of(contact.id);
        self.buckets[at].changed = now;
        match self.known(contact, now) {
            Known::Same(entry) => {
                entry.replied = Some(now);
                entry.failures = 0;
                return None;
            }
            Known::Refused => return None,
            Known::No => (),
        }
        let entry = Entry { contact, replied: Some(now), queried: None, failures: 0 };
        self.enter(entry, now)
    }

    /// A node of an earlier run.
    pub(super) fn restore(&mut self, contact: Contact, now: Instant) {
        if contact.id != self.own && matches!(self.known(contact, now), Known::No) {
            self.enter(Entry { contact, replied: None, queried: None, failures: 0 }, now);
        }
    }

    /// `contact` asked us something. Tells whether there would be room for it, if it answers.
    pub(super) fn handle_query(&mut self, contact: Contact, now: Instant) -> bool {
        if contact.id == self.own {
            return false;
        }
        match self.known(contact, now) {
            Known::Same(entry) => entry.queried = Some(now),
            Known::Refused => (),
            Known::No => {
                let at = self.bucket_of(contact.id);
                let is_last = at + 1 == self.buckets.len();
                let bucket = &self.buckets[at];
                if bucket.spares.contains(&contact) {
                    return false;
                }
                let has_bad = || bucket.nodes.iter().any(|e| e.standing(now) == Standing::Bad);
                let has_room = bucket.nodes.len() < limits::BUCKET_LEN
                    || bucket.spares.len() < limits::BUCKET_LEN;
                return is_last || has_room || has_bad();
            }
        }
        false
    }

    /// `contact` left a query unanswered: a spare takes its place if it did so before.
    pub(super) fn handle_silence(&mut self, contact: Contact, now: Instant) {
        let at = self.bucket_of(contact.id);
        let bucket = &mut self.buckets[at];
        bucket.spares.retain(|spare| *spare != contact);
        let Some(place) = bucket.nodes.iter().position(|entry| entry.contact == contact) else {
            return;
        };
        let entry = &mut bucket.nodes[place];
        entry.failures = entry.failures.saturating_add(1);
        if entry.standing(now) != Standing::Bad {
            return;
        }
        while let Some(spare) = self.buckets[at].spares.pop() {
            // It, or another of its host, may have found a place meanwhile.
            if matches!(self.known(spare, now), Known::No) {
                self.buckets[at].nodes.retain(|entry| entry.contact != contact);
                self.enter(
                    Entry { contact: spare, replied: None, queried: None, failures: 0 },
                    now,
                );
                return;
            }
        }
    }

    /// The node at this address is not who it was.
    pub(super) fn remove(&mut self, contact: Contact) {
        let at = self.bucket_of(contact.id);
        let bucket = &mut self.buckets[at];
        bucket.nodes.retain(|entry| entry.contact != contact);
        bucket.spares.retain(|spare| *spare != contact);
    }

    /// A place in the bucket that was silent for longest, if that is too long, or in one that is new
    /// to us. Looking it up
    /// refreshes the bucket.
    pub(super) fn poll_refresh(&mut self, now: Instant, rng: &mut Rng) -> Option<NodeId> {
        let buckets = self.buckets.iter_mut().enumerate();
        let (at, oldest) = buckets.min_by_key(|(_, b)| (b.was_refreshed, b.changed))?;
        let silence = now.saturating_duration_since(oldest.changed);
        if oldest.was_refreshed && silence < limits::BUCKET_REFRESH_EVERY {
            return None;
        }
        oldest.changed = now;
        oldest.was_refreshed = true;
        Some(self.own.random_beside(at, rng))
    }

    /// We have another id from now on: everybody gets another place.
    pub(super) fn rename(&mut self, own: NodeId, now: Instant) {
        let before = std::mem::replace(self, Self::new(own, now));
        for entry in before.buckets.into_iter().flat_map(|bucket| bucket.nodes) {
            if entry.contact.id != own {
                self.enter(entry, now);
            }
        }
    }

    fn bucket_of(&self, id: NodeId) -> usize {
        self.own.shared_bits(id).min(self.buckets.len() - 1)
    }

    /// Whether the table has `contact`, or has its id or its address under another name. An id that
    /// moves is believed only when the old address has fallen silent, or anyone could take a
    /// node's place by claiming its id.
    fn known(&mut self, contact: Contact, now: Instant) -> Known<'_> {
        let at = self.bucket_of(contact.id);
        if let Some(place) = self.buckets[at].nodes.iter().position(|e| e.contact.id == contact.id)
        {
            let entry = &self.buckets[at].nodes[place];
            if entry.contact.address == contact.address {
                return Known::Same(&mut self.buckets[at].nodes[place]);
            }
            if entry.standing(now) != Standing::Bad {
                return Known::Refused;
            }
            self.buckets[at].nodes.swap_remove(place);
        }
        let other = self.contacts().find(|other| is_one_host(*other, contact));
        if let Some(other) = other {
            // The address has answered under a new id: the old one is gone.
            if other.address != contact.address {
                return Known::Refused;
            }
            self.remove(other);
        }
        Known::No
    }

    fn enter(&mut self, entry: Entry, now: Instant) -> Option<Contact> {
        let ip = entry.contact.address.ip();
        loop {
            let at = self.bucket_of(entry.contact.id);
            let may_split = at + 1 == self.buckets.len() && self.buckets.len() < ID_BITS;
            let bucket = &mut self.buckets[at];
            let same = |other: &&Entry| subnet(other.contact.address.ip()) == subnet(ip);
            if !is_local(ip) && bucket.nodes.iter().filter(same).count() >= limits::SUBNET_NODES_MAX
            {
                return None;
            }
            if bucket.nodes.len() < limits::BUCKET_LEN {
                bucket.spares.retain(|spare| *spare != entry.contact);
                bucket.nodes.push(entry);
                return None;
            }
            let weakest = |other: &Entry| match other.standing(now) {
                Standing::Bad => Some(0),
                _ if !is_proved(other.contact) && is_proved(entry.contact) => Some(1),
                Standing::Good | Standing::Questionable => None,
            };
            let ranked =
                bucket.nodes.iter().enumerate().filter_map(|(n, e)| Some((weakest(e)?, n)));
            if let Some((_, place)) = ranked.min() {
                bucket.spares.retain(|spare| *spare != entry.contact);
                bucket.nodes[place] = entry;
                return None;
            }
            if may_split {
                self.split();
                continue;
            }
            if bucket.spares.len() == limits::BUCKET_LEN {
                bucket.spares.remove(0);
            }
            if !bucket.spares.contains(&entry.contact) {
                bucket.spares.push(entry.contact);
            }
            let silent = bucket.nodes.iter().filter(|e| e.standing(now) == Standing::Questionable);
            return silent.min_by_key(|e| e.replied.max(e.queried)).map(|e| e.contact);
        }
    }

    /// Parts the last bucket: those that share one more bit with us move on.
    fn split(&mut self) {
        let bits = self.buckets.len();
        let own = self.own;
        let last = self.buckets.last_mut().expect("there is a bucket from the start");
        let mut next = Bucket::new(last.changed);
        let stays = |contact: &Contact| own.shared_bits(contact.id) < bits;
        next.nodes = last.nodes.extract_if(.., |entry| !stays(&entry.contact)).collect();
        next.spares = last.spares.extract_if(.., |spare| !stays(spare)).collect();
        self.buckets.push(next);
    }

    /// Asserts what holds between calls.
    pub(super) fn check(&self) {
        assert!(!self.buckets.is_empty() && self.buckets.len() <= ID_BITS);
        for (at, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.nodes.len() <= limits::BUCKET_LEN, "a bucket overflows");
            assert!(bucket.spares.len() <= limits::BUCKET_LEN, "a bucket has too many spares");
            for contact in bucket.nodes.iter().map(|entry| &entry.contact).chain(&bucket.spares) {
                assert_eq!(self.bucket_of(contact.id), at, "{contact:?} is in the wrong bucket");
                assert_ne!(contact.id, self.own, "we are in our own table");
            }
            let both = bucket.nodes.iter().find(|entry| bucket.spares.contains(&entry.contact));
            assert!(both.is_none(), "{both:?} is a spare, too");
        }
        let contacts: Vec<_> = self.contacts().collect();
        for (n, contact) in contacts.iter().enumerate() {
            let twice = contacts[..n].iter().find(|other| is_one_host(**other, *contact));
            assert_eq!(twice, None, "{contact:?} has two places");
        }
    }
}

enum Known<'a> {
    /// It is there.
    Same(&'a mut Entry),
    /// Its id or its address is somebody else's.
    Refused,
    /// It may enter.
    No,
}

/// Whether two contacts are one node, or may be: on global addresses a host counts once.
fn is_one_host(a: Contact, b: Contact) -> bool {
    a.address == b.address || a.address.ip() == b.address.ip() && !is_local(a.address.ip())
}

/// Whether the id follows from the address (BEP 42).
fn is_proved(contact: Contact) -> bool {
    let ip: IpAddr = contact.address.ip();
    contact.id.is_valid_for(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node of the far half, as seen from zero.
    fn far(n: u8) -> Contact {
        let mut id = [0; 20];
        (id[0], id[19]) = (0x80, n);
        Contact { id: NodeId(id), address: ([10, 0, 0, n], 6881).into() }
    }

    #[test]
    fn a_spare_that_has_found_a_place_takes_no_second() {
        #[expect(clippy::disallowed_methods, reason = "an Instant cannot be made up")]
        let now = Instant::now();
        let mut table = Table::new(NodeId([0; 20]), now);
        let last = u8::try_from(limits::BUCKET_LEN).unwrap();
        for n in 0..=last {
            table.handle_reply(far(n), now);
        }
        assert_eq!(table.len(), limits::BUCKET_LEN, "the last is a spare");
        table.remove(far(0));
        table.handle_reply(far(last), now);
        assert_eq!(table.len(), limits::BUCKET_LEN);
        (0..limits::NODE_FAILURES_MAX).for_each(|_| table.handle_silence(far(1), now));
        table.check();
    }
}
