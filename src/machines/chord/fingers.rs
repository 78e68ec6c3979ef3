//! Fingers: contacts at every distance, so that a lookup takes few hops (Chord, section 4.4).
//!
//! The textbook's fingers stand at distances of 1/2, 1/4, 1/8 … of the ring. Ours divide the ring
//! by 64: the first level has a finger in each 64th of it, the second in each 64th of the nearest
//! part, and so on, some 150 in a ring of 10,000 nodes. What bandwidth buys best is a larger table
//! (Li et al., INFOCOM 2005), and most of it costs none, since it is learnt from lookups.
//!
//! Of the first 16 nodes after a slot's beginning the one with the shortest round trip is kept
//! (proximity neighbour selection, PNS(16)); any of them leads on equally well.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::machines::chord::Contact;
use crate::words::address::is_local;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

/// A finger's place in the table: how many digits of the distance are 0, and the first that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) level: u32,
    pub(super) digit: u32,
}

/// One finger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finger {
    pub(super) contact: Contact,
    /// When it was last heard of; `None`: others have named it, it has said nothing.
    pub(super) heard_at: Option<Instant>,
    pub(super) round_trip: Option<Duration>,
}

/// The table of one node.
#[derive(Debug)]
pub(super) struct Fingers {
    me: RingId,
    bits: u32,
    /// Whether round trips count.
    by_round_trip: bool,
    fingers: BTreeMap<Slot, Finger>,
}

impl Fingers {
    pub(super) fn new(me: RingId, bits: u32, by_round_trip: bool) -> Self {
        Self { me, bits, by_round_trip, fingers: BTreeMap::new() }
    }

    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// Every slot there can be, the farthest first.
    pub(super) fn all_slots(&self) -> impl Iterator<Item = Slot> + use<> {
        let bits = self.bits;
        (0..64 / bits)
            .flat_map(move |level| (1..1 << bits).rev().map(move |digit| Slot { level, digit }))
    }

    /// The slot of the node at `id`; `None` for our own place and those right beside it.
    pub(super) fn slot(&self, id: RingId) -> Option<Slot> {
        let distance = self.me.clockwise_to(id).leading();
        let level = distance.leading_zeros() / self.bits;
        let shift = 64_u32.checked_sub(self.bits * (level + 1))?;
        let digit = u32::try_from(distance >> shift).expect("the digits before it are 0");
        (digit > 0).then_some(Slot { level, digit })
    }

    /// Where the slot begins: the textbook's finger is the first node from there on.
    pub(super) fn start(&self, slot: Slot) -> RingId {
        let shift = 64 - self.bits * (slot.level + 1);
        self.me.plus(RingId::from_leading(u64::from(slot.digit) << shift))
    }

    /// A node was heard of: from itself with its round trip, or from others. It is kept if it fits
    /// better than what is there, in a ring of `nodes`.
    pub(super) fn offer(
        &mut self,
        contact: Contact,
        heard: Option<(Instant, Option<Duration>)>,
        nodes: u64,
    ) {
        let Some(slot) = self.slot(contact.id) else { return };
        let new = Finger {
            contact,
            heard_at: heard.map(|(at, _)| at),
            round_trip: heard.and_then(|(_, round_trip)| round_trip),
        };
        if let Some(old) = self.fingers.get_mut(&slot).filter(|old| old.contact == contact) {
            old.heard_at = new.heard_at.or(old.heard_at);
            old.round_trip = new.round_trip.or(old.round_trip);
            return;
        }
        let old = self.fingers.get(&slot).copied();
        if old.is_some_and(|old| self.rank(slot, &old, nodes) <= self.rank(slot, &new, nodes)) {
            return;
        }
        if self.is_crowded(contact.address, slot) {
            return;
        }
        self.fingers.insert(slot, new);
        while self.fingers.len() > limits::FINGERS_MAX {
            // The deepest level is the one that the successors make up for.
            self.fingers.pop_last();
        }
    }

    /// What is better is less: whoever answered, near the slot's beginning, by its round trip.
    fn rank(&self, slot: Slot, finger: &Finger, nodes: u64) -> (bool, bool, Duration, RingId) {
        let offset = self.start(slot).clockwise_to(finger.contact.id);
        let near = self.by_round_trip && offset <= RingId::part(nodes).times(limits::PROXIMITY);
        let trip = finger.round_trip.filter(|_| near).unwrap_or(Duration::MAX);
        (finger.heard_at.is_none(), self.by_round_trip && !near, trip, offset)
    }

    /// One global address has one finger, and one global /24 two: who has many addresses in one
    /// place does not fill the table.
    fn is_crowded(&self, address: SocketAddr, slot: Slot) -> bool {
        if is_local(address.ip()) {
            return false;
        }
        let others =
            || self.fingers.iter().filter(|(at, _)| **at != slot).map(|(_, it)| it.contact);
        others().any(|other| other.address.ip() == address.ip())
            || others().filter(|other| subnet(other.address) == subnet(address)).count() >= 2
    }

    /// Forgets `contact`, if it is a finger.
    pub(super) fn remove(&mut self, contact: Contact) {
        let slot = self.slot(contact.id);
        if let Some(slot) = slot.filter(|slot| self.contact(*slot) == Some(contact)) {
            self.fingers.remove(&slot);
        }
    }

    pub(super) fn contact(&self, slot: Slot) -> Option<Contact> {
        self.fingers.get(&slot).map(|finger| finger.contact)
    }

    pub(super) fn len(&self) -> usize {
        self.fingers.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Finger)> {
        self.fingers.iter().map(|(slot, finger)| (*slot, finger))
    }

    /// Those that have answered.
    pub(super) fn heard(&self) -> impl Iterator<Item = Contact> + '_ {
        self.fingers.values().filter(|it| it.heard_at.is_some()).map(|finger| finger.contact)
    }

    /// Of the fingers that lie between us and `key`, the nearest to it, at most `max`: the ones to
    /// ask next. They stand in the last slots before the key's own.
    pub(super) fn before(&self, key: RingId, max: usize) -> impl Iterator<Item = Contact> + '_ {
        let distance = self.me.clockwise_to(key);
        let nearer = move |finger: &&Finger| self.me.clockwise_to(finger.contact.id) < distance;
        let slots = self.clockwise_from(self.slot(key));
        slots.filter(nearer).take(max).map(|finger| finger.contact)
    }

    /// The fingers from `slot` backwards towards us. A larger distance has a smaller level, or in
    /// the same level a larger digit.
    fn clockwise_from(&self, slot: Option<Slot>) -> impl Iterator<Item = &Finger> {
        let slot = slot.unwrap_or(Slot { level: 64, digit: 0 });
        let level = Slot { level: slot.level, digit: 0 };
        let same = self.fingers.range(level..=slot).rev();
        let deeper = (slot.level + 1..=64).flat_map(|level| {
            let from = Slot { level, digit: 0 };
            self.fingers.range(from..Slot { level: level + 1, digit: 0 }).rev()
        });
        same.chain(deeper).map(|(_, finger)| finger)
    }

    /// Slots that should have a finger in a ring of `nodes` and have none.
    pub(super) fn missing(&self, nodes: u64) -> impl Iterator<Item = Slot> + '_ {
        let wanted = self.wanted(nodes);
        wanted.filter(|slot| !self.fingers.contains_key(slot)).take(limits::FINGERS_MAX)
    }

    /// Slots in which a node is to be expected, beyond what the successors cover.
    fn wanted(&self, nodes: u64) -> impl Iterator<Item = Slot> + use<> {
        let bits = self.bits;
        let covered = RingId::part(nodes).times(u32::try_from(limits::SUCCESSORS).unwrap_or(0));
        let levels =
            (0..64 / bits).take_while(move |level| u64::MAX >> (bits * level) > covered.leading());
        levels.flat_map(move |level| {
            (1..1 << bits).rev().map(move |digit| Slot { level, digit }).filter(move |slot| {
                let shift = 64 - bits * (slot.level + 1);
                u64::from(slot.digit) << shift > covered.leading()
            })
        })
    }

    pub(super) fn check(&self) {
        assert!(self.fingers.len() <= limits::FINGERS_MAX);
        for (slot, finger) in &self.fingers {
            assert_eq!(self.slot(finger.contact.id), Some(*slot));
        }
    }
}

/// The /24 of an IPv4 address, the /48 of an IPv6 one.
pub(super) fn subnet(address: SocketAddr) -> [u8; 6] {
    match address.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [0, 0, 0, a, b, c]
        }
        IpAddr::V6(ip) => *ip.octets().first_chunk().expect("six of sixteen bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(id: u64, last: u8) -> Contact {
        Contact { id: RingId::from_leading(id), address: SocketAddr::from(([10, 0, 0, last], 1)) }
    }

    fn fingers(bits: u32, quick: bool) -> Fingers {
        Fingers::new(RingId::from_leading(0), bits, quick)
    }

    #[test]
    fn a_distance_has_a_level_and_a_digit() {
        let table = [
            (6, 1 << 63, Some((0, 32))),
            (6, u64::MAX, Some((0, 63))),
            (6, 1 << 58, Some((0, 1))),
            (6, (1 << 58) - 1, Some((1, 63))),
            (6, 1 << 52, Some((1, 1))),
            (6, 1, None),
            (6, 0, None),
            (1, 1 << 63, Some((0, 1))),
            (1, 1, Some((63, 1))),
            (7, 1 << 57, Some((0, 1))),
        ];
        for (bits, distance, expected) in table {
            let fingers = fingers(bits, true);
            let slot = fingers.slot(RingId::from_leading(distance));
            assert_eq!(slot.map(|slot| (slot.level, slot.digit)), expected, "{bits} {distance:x}");
            if let Some(slot) = slot {
                let start = fingers.start(slot).leading();
                assert!(start <= distance);
                assert_eq!(fingers.slot(RingId::from_leading(start)), Some(slot));
            }
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn near_ones_are_chosen_by_round_trip_and_far_ones_by_place() {
        let now = Instant::now();
        let heard = |ms| Some((now, Some(Duration::from_millis(ms))));
        let nodes = 1 << 16;
        let (start, gap) = (1 << 63, 1 << 48);
        let slot = Slot { level: 0, digit: 32 };
        let mut fingers = fingers(6, true);
        let steps = [
            (contact(start + gap * 99, 1), None, 1),
            (contact(start + gap * 50, 2), None, 2),
            (contact(start + gap * 90, 3), heard(10), 3),
            (contact(start + gap * 40, 4), heard(500), 4),
            (contact(start + gap * 15, 5), heard(500), 5),
            (contact(start + gap * 14, 6), heard(100), 6),
            (contact(start + gap, 7), heard(200), 6),
            (contact(start, 8), None, 6),
        ];
        for (contact, heard, kept) in steps {
            fingers.offer(contact, heard, nodes);
            let finger = fingers.contact(slot).unwrap();
            assert_eq!(finger.address, SocketAddr::from(([10, 0, 0, kept], 1)));
            fingers.check();
        }
        let mut textbook = self::fingers(1, false);
        for (contact, heard, _) in steps {
            textbook.offer(contact, heard.or(Some((now, None))), nodes);
        }
        assert_eq!(textbook.heard().next(), Some(contact(start, 8)));
    }

    #[test]
    fn the_nearest_before_a_key_come_first() {
        let mut fingers = fingers(6, true);
        let distances = [1 << 40, 1 << 46, 1 << 52, (1 << 52) * 2, 1 << 58, 1 << 63, (1 << 63) + 9];
        for (n, distance) in distances.into_iter().enumerate() {
            fingers.offer(contact(distance, u8::try_from(n).unwrap()), None, 1 << 20);
        }
        let before = |key: u64| {
            let before = fingers.before(RingId::from_leading(key), 3);
            before.map(|contact| contact.id.leading()).collect::<Vec<_>>()
        };
        assert_eq!(before((1 << 63) + 5), [1 << 63, 1 << 58, (1 << 52) * 2]);
        assert_eq!(before(1 << 63), [1 << 58, (1 << 52) * 2, 1 << 52]);
        assert_eq!(before((1 << 52) + 1), [1 << 52, 1 << 46, 1 << 40]);
        assert_eq!(before(1 << 41), [1 << 40]);
        assert_eq!(before(5), [0; 0]);
    }

    #[test]
    fn one_address_or_subnet_does_not_fill_the_table() {
        let mut fingers = fingers(6, true);
        for n in 1..60_u8 {
            let address = SocketAddr::from(([8, 8, n / 20, n], 1));
            fingers.offer(
                Contact { id: RingId::from_leading(u64::from(n) << 58), address },
                None,
                9,
            );
        }
        assert_eq!(fingers.len(), 6);
        for n in 1..60_u8 {
            let address = SocketAddr::from(([192, 168, 0, 1], u16::from(n)));
            fingers.offer(
                Contact { id: RingId::from_leading(u64::from(n) << 52), address },
                None,
                9,
            );
        }
        assert_eq!(fingers.len(), 6 + 59);
        let first = fingers.iter().next().map(|(_, finger)| finger.contact).unwrap();
        fingers.remove(first);
        assert_eq!(fingers.len(), 64);
    }

    #[test]
    fn what_is_missing_is_what_the_successors_do_not_cover() {
        let fingers = fingers(6, true);
        assert_eq!(fingers.missing(10).count(), 0);
        assert_eq!(fingers.missing(64 * 20).count(), 63);
        let in_ten_thousand = fingers.missing(10_000).count();
        assert!((63 + 40..63 + 63).contains(&in_ten_thousand), "{in_ten_thousand}");
        assert!(fingers.missing(u64::MAX).count() <= limits::FINGERS_MAX);
    }
}
