//! The peers of a torrent that are known by their address: those that the user named, and those that
//! were found.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::bus::Fault;
use crate::formats::web_seed::WebSeed;
use crate::words::address::{Address, Host};
use crate::words::id::{Key, PeerKey};
use crate::words::limits;
use crate::words::priority::priority;
use crate::words::slab::Slab;

/// Whom a torrent can dial.
#[derive(Debug)]
pub(super) struct Contacts {
    table: Slab<Contact>,
    by_address: BTreeMap<Address, Key>,
    /// Where the peers listen that dialled us, as they say: they need not be dialled.
    callers: BTreeMap<Address, PeerKey>,
    /// Those of the table that peers told us of.
    told: usize,
    /// Those that wait to be dialled, in the order in which they are: whom peers told us of, and the
    /// others. Both take turns, so that no peer that tells of many keeps us from anybody else.
    waiting: BTreeSet<(Rank, Key)>,
    waiting_told: BTreeSet<(Rank, Key)>,
    tolds_turn: bool,
    /// Those that waited so far.
    waited: u64,
    /// How many were found, each time anew.
    found: u32,
    /// Web seeds that are not asked, for there are enough.
    web_seeds: VecDeque<WebSeed>,
}

/// Who is dialled before whom: those that the user or the torrent named in their order, then those of
/// the highest priority (BEP 40).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Named(u64),
    Found(Reverse<u32>, u64),
}

/// A peer known by its address.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) address: Address,
    /// The user named it: it is dialled for ever.
    pub(super) named: bool,
    /// It is a web seed, and asked by HTTP.
    pub(super) web_seed: Option<WebSeed>,
    /// It is ourselves: it is known, so that it is not dialled again.
    ourselves: bool,
    /// A peer told us of it.
    told: bool,
    /// Connections in a row that brought nothing.
    pub(super) failures: u32,
}

impl Contact {
    /// Its address, unless it is a name.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        match self.address.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.address.port)),
            Host::Name(_) | Host::Any => None,
        }
    }

    /// Whether its address is one of IPv6.
    pub(super) fn is_v6(&self) -> bool {
        matches!(self.address.host, Host::Ip(IpAddr::V6(_)))
    }
}

impl Contacts {
    /// Those that the user named, each once.
    pub(super) fn new(named: Vec<Address>, web_seeds: Vec<WebSeed>) -> Self {
        let capacity = limits::CONTACTS_MAX + limits::FOUND_MAX + limits::WEB_SEEDS_AT_ONCE;
        let mut contacts = Self {
            table: Slab::new(u32::try_from(capacity).expect("a few hundred")),
            by_address: BTreeMap::new(),
            callers: BTreeMap::new(),
            told: 0,
            waiting: BTreeSet::new(),
            waiting_told: BTreeSet::new(),
            tolds_turn: false,
            waited: 0,
            found: 0,
            web_seeds: web_seeds.into(),
        };
        // Bound: limits::CONTACTS_MAX
        for address in named.into_iter().take(limits::CONTACTS_MAX) {
            contacts.insert(address, true, false);
        }
        contacts
    }

    /// A peer was found at `address`; `None` if it is known, dialled us itself, or there is no room:
    /// who is found once will be found again.
    /// Of those that peers tell us of there are not so many that nobody else finds room.
    pub(super) fn find(&mut self, address: SocketAddr, told: bool) -> Option<Key> {
        let address = Address::from(address);
        let free = !self.callers.contains_key(&address) && address.port > 0;
        let room = !told || self.told < limits::FOUND_BY_PEERS_MAX;
        let found = if free && room { self.insert(address, false, told) } else { None };
        self.found = self.found.saturating_add(u32::from(found.is_some()));
        found
    }

    fn insert(&mut self, address: Address, named: bool, told: bool) -> Option<Key> {
        if self.has_all_places_taken() || self.by_address.contains_key(&address) {
            return None;
        }
        let contact = Contact {
            address: address.clone(),
            named,
            web_seed: None,
            ourselves: false,
            told,
            failures: 0,
        };
        let key = self.table.insert(contact).ok()?;
        self.told += usize::from(told);
        self.by_address.insert(address, key);
        Some(key)
    }

    /// Whom a better one would make room for: of those that wait the one of the lowest priority, if
    /// that is below `priority`. Whom peers tell us of takes the place of another such alone. It is
    /// forgotten; who is found once will be found again.
    pub(super) fn make_room(&mut self, priority: u32, told: bool) -> bool {
        let others = if told { None } else { self.waiting.last() };
        let Some((rank @ Rank::Found(Reverse(least), _), key)) =
            self.waiting_told.last().max(others).copied()
        else {
            return false;
        };
        if least >= priority {
            return false;
        }
        self.waiting_told.remove(&(rank, key));
        self.waiting.remove(&(rank, key));
        self.remove(key);
        true
    }

    /// Whether there is no room for another one.
    pub(super) fn is_full(&self, told: bool) -> bool {
        self.has_all_places_taken() || told && self.told >= limits::FOUND_BY_PEERS_MAX
    }

    /// Whether every place of a peer is taken; those of the web seeds are beside them.
    fn has_all_places_taken(&self) -> bool {
        self.by_address.len() >= limits::CONTACTS_MAX + limits::FOUND_MAX
    }

    /// A contact waits to be dialled. `own` is how others see us in its family.
    pub(super) fn wait(&mut self, key: Key, own: SocketAddr) {
        let Some(contact) = self.table.get(key) else { return };
        self.waited += 1;
        let rank = match (&contact.address.host, contact.named) {
            (Host::Ip(ip), false) => {
                let theirs = SocketAddr::new(*ip, contact.address.port);
                Rank::Found(Reverse(priority(own, theirs)), self.waited)
            }
            // A web seed, which makes room for nobody.
            (Host::Name(_) | Host::Any, false) | (_, true) => Rank::Named(self.waited),
        };
        let waiting = if contact.told { &mut self.waiting_told } else { &mut self.waiting };
        waiting.insert((rank, key));
    }

    /// The next to be dialled.
    pub(super) fn poll_next(&mut self) -> Option<Key> {
        let mut sets = [&mut self.waiting, &mut self.waiting_told];
        if !matches!(sets[0].first(), Some((Rank::Named(_), _))) {
            if self.tolds_turn {
                sets.reverse();
            }
            self.tolds_turn = !self.tolds_turn;
        }
        let [first, second] = sets;
        first.pop_first().or_else(|| second.pop_first()).map(|(_, key)| key)
    }

    fn remove(&mut self, key: Key) {
        if let Some(contact) = self.table.remove(key) {
            self.told -= usize::from(contact.told);
            if contact.web_seed.is_none() {
                self.by_address.remove(&contact.address);
            }
        }
    }

    /// How many were found so far, those that are forgotten among them.
    pub(super) fn found_ever(&self) -> u32 {
        self.found
    }

    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Some of them for a message, those that the user named first.
    pub(super) fn named_first(&self) -> Vec<String> {
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        let mut all: Vec<_> = self.table.iter().map(|(_, contact)| contact).collect();
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        all.sort_by_key(|contact| !contact.named);
        // Bound: limits::CONTACTS_SHOWN
        all.iter().take(limits::CONTACTS_SHOWN).map(|contact| contact.address.to_string()).collect()
    }

    /// Only those that the user named are left: the others came from where they must not.
    pub(super) fn forget_found(&mut self) {
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        let found = self.table.iter().filter(|(_, contact)| !contact.named);
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        let found: Vec<_> = found.map(|(key, _)| key).collect();
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        for key in found {
            self.remove(key);
        }
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        self.waiting.retain(|(rank, _)| matches!(rank, Rank::Named(_)));
        self.waiting_told.clear();
    }

    /// The web seeds of a torrent that was not known.
    pub(super) fn handle_web_seeds(&mut self, web_seeds: Vec<WebSeed>) {
        self.web_seeds = web_seeds.into();
    }

    /// The next of the web seeds is to be asked.
    pub(super) fn insert_web_seed(&mut self) -> Option<Key> {
        let web_seed = Some(self.web_seeds.pop_front()?);
        let address = Address { host: Host::Any, port: 0 };
        let (named, ourselves, told, failures) = (false, false, false, 0);
        self.table.insert(Contact { address, named, web_seed, ourselves, told, failures }).ok()
    }

    pub(super) fn web_seed(&self, key: Key) -> Option<&WebSeed> {
        self.get(key)?.web_seed.as_ref()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Contact> {
        self.table.get(key)
    }

    /// All of them, to be dialled when the torrent is open.
    pub(super) fn keys(&self) -> Vec<Key> {
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        self.table.iter().map(|(key, _)| key).collect()
    }

    /// The connection to a contact is over, or could not be made: when it is to be dialled again.
    /// `None`: never, for who was found is forgotten after a few failures, and then may be found
    /// again.
    pub(super) fn handle_over(&mut self, key: Key, fault: Fault, useful: bool) -> Option<Duration> {
        let contact = self.table.get_mut(key)?;
        if fault == Fault::Ourselves {
            contact.ourselves = true;
            return None;
        }
        contact.failures = if useful { 0 } else { contact.failures + 1 };
        if contact.web_seed.is_some() {
            if fault == Fault::Theirs {
                self.remove(key);
                return None;
            }
            return Some(back_off(contact.failures).max(limits::WEB_SEED_DELAY));
        }
        if contact.named || contact.failures < limits::FOUND_FAILURES_MAX {
            return Some(back_off(contact.failures));
        }
        self.remove(key);
        None
    }

    /// A peer that dialled us says where it listens.
    pub(super) fn handle_caller(&mut self, peer: PeerKey, address: SocketAddr) {
        let address = Address::from(address);
        if self.callers.len() < limits::PEERS_MAX as usize {
            self.callers.insert(address, peer);
        }
    }

    /// Whether a contact has dialled us, so that we need not dial it.
    pub(super) fn has_called(&self, key: Key) -> bool {
        self.get(key).is_some_and(|contact| self.callers.contains_key(&contact.address))
    }

    /// A peer that dialled us is gone.
    pub(super) fn handle_caller_gone(&mut self, peer: PeerKey, address: SocketAddr) {
        let address = Address::from(address);
        if self.callers.get(&address) == Some(&peer) {
            self.callers.remove(&address);
        }
    }
}

/// 1 s, doubled with each failure, up to [`limits::REDIAL_DELAY_MAX`].
fn back_off(failures: u32) -> Duration {
    let doubled = limits::REDIAL_DELAY.checked_mul(1 << failures.min(16));
    doubled.map_or(limits::REDIAL_DELAY_MAX, |delay| delay.min(limits::REDIAL_DELAY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 6881))
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let seconds = [0, 1, 2, 5, 6, 100].map(|failures| back_off(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn who_is_found_is_dialled_a_few_times_and_may_be_found_again() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let key = contacts.find(address(1), false).unwrap();
        assert_eq!(contacts.find(address(1), false), None);
        for _ in 1..limits::FOUND_FAILURES_MAX {
            assert!(contacts.handle_over(key, Fault::Nobodys, false).is_some());
        }
        assert!(contacts.handle_over(key, Fault::Nobodys, true).is_some());
        for _ in 1..limits::FOUND_FAILURES_MAX {
            assert!(contacts.handle_over(key, Fault::Theirs, false).is_some());
        }
        assert_eq!(contacts.handle_over(key, Fault::Nobodys, false), None);
        assert!(contacts.find(address(1), false).is_some());
    }

    #[test]
    fn who_was_named_is_dialled_for_ever_and_ourselves_once() {
        let named: Address = "192.0.2.1:6881".parse().unwrap();
        let mut contacts = Contacts::new(vec![named.clone(), named], Vec::new());
        assert_eq!(contacts.keys().len(), 1);
        assert_eq!(contacts.find(address(1), false), None);
        let key = contacts.keys()[0];
        for _ in 0..100 {
            assert!(contacts.handle_over(key, Fault::Theirs, false).is_some());
        }
        let ourselves = contacts.find(address(2), false).unwrap();
        assert_eq!(contacts.handle_over(ourselves, Fault::Ourselves, false), None);
        assert_eq!(contacts.find(address(2), false), None);
    }

    #[test]
    fn who_dialled_us_is_not_dialled() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let [first, second] = [0, 1].map(|index| PeerKey(Key { index, generation: 0 }));
        contacts.handle_caller(first, address(1));
        assert_eq!(contacts.find(address(1), false), None);
        contacts.handle_caller(second, address(1));
        contacts.handle_caller_gone(first, address(1));
        assert_eq!(contacts.find(address(1), false), None);
        contacts.handle_caller_gone(second, address(1));
        assert!(contacts.find(address(1), false).is_some());
    }

    #[test]
    fn a_web_seed_that_is_of_no_use_makes_room_for_the_next() {
        let seed = |n: usize| WebSeed::parse(&format!("http://h/{n}")).unwrap();
        let seeds = (0..limits::WEB_SEEDS_AT_ONCE + 1).map(seed).collect();
        let mut contacts = Contacts::new(Vec::new(), seeds);
        let first = contacts.insert_web_seed().unwrap();
        assert_eq!(contacts.web_seed(first), Some(&seed(0)));
        (1..limits::WEB_SEEDS_AT_ONCE).for_each(|_| assert!(contacts.insert_web_seed().is_some()));
        for _ in 0..100 {
            let delay = contacts.handle_over(first, Fault::Nobodys, false).unwrap();
            assert!(delay >= limits::WEB_SEED_DELAY);
        }
        assert_eq!(contacts.handle_over(first, Fault::Theirs, true), None);
        let next = contacts.insert_web_seed().unwrap();
        assert_eq!(contacts.web_seed(next), Some(&seed(limits::WEB_SEEDS_AT_ONCE)));
        assert_eq!(contacts.insert_web_seed(), None);
    }

    #[test]
    fn a_web_seed_makes_no_room_for_a_peer_and_takes_none() {
        let seed = WebSeed::parse("http://h/").unwrap();
        let mut contacts = Contacts::new(Vec::new(), vec![seed]);
        let own = SocketAddr::from(([192, 0, 2, 1], 1));
        let web_seed = contacts.insert_web_seed().unwrap();
        contacts.wait(web_seed, own);
        for n in 0..limits::CONTACTS_MAX + limits::FOUND_MAX {
            let [.., high, low] = n.to_be_bytes();
            let found = contacts.find(SocketAddr::from(([10, 0, high, low], 1)), false).unwrap();
            contacts.wait(found, own);
        }
        assert!(contacts.is_full(false));
        while contacts.make_room(u32::MAX, false) {}
        assert_eq!(contacts.len(), 0);
        assert_eq!(contacts.poll_next(), Some(web_seed));
        assert!(contacts.get(web_seed).unwrap().socket_address().is_none());
    }

    #[test]
    fn whom_peers_tell_us_of_takes_turns_with_others_and_the_place_of_nobody_else() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let own = SocketAddr::from(([192, 0, 2, 1], 1));
        let [told, found] = [[2, 3, 4], [5, 6, 7]].map(|of| of.map(address));
        let keys = |contacts: &mut Contacts, of: [SocketAddr; 3], told| {
            of.map(|address| contacts.find(address, told).unwrap())
        };
        let told = keys(&mut contacts, told, true);
        let found = keys(&mut contacts, found, false);
        told.into_iter().chain(found).for_each(|key| contacts.wait(key, own));
        let is_told = |contacts: &mut Contacts| contacts.poll_next().map(|key| told.contains(&key));
        let turns = [false, true, false, true].map(Some);
        assert_eq!(turns, [(); 4].map(|()| is_told(&mut contacts)));
        assert!(contacts.make_room(u32::MAX, true));
        assert!(!contacts.make_room(u32::MAX, true));
        assert!(contacts.make_room(u32::MAX, false));
        assert_eq!(contacts.poll_next(), None);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let found = (0..u16::MAX).filter_map(|n| {
            let [high, low] = n.to_be_bytes();
            contacts.find(SocketAddr::from(([10, 0, high, low], 1)), false)
        });
        assert_eq!(found.count(), limits::CONTACTS_MAX + limits::FOUND_MAX);
    }

    #[test]
    fn peers_fill_half_of_the_table_and_no_more() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let address = |n: u16| {
            let [high, low] = n.to_be_bytes();
            SocketAddr::from(([10, 0, high, low], 1))
        };
        let told: Vec<_> = (0..9999).filter_map(|n| contacts.find(address(n), true)).collect();
        assert_eq!(told.len(), limits::FOUND_BY_PEERS_MAX);
        assert!(contacts.find(address(10_000), false).is_some());
        for _ in 0..limits::FOUND_FAILURES_MAX {
            contacts.handle_over(told[0], Fault::Nobodys, false);
        }
        assert!(contacts.find(address(10_001), true).is_some());
        assert!(contacts.find(address(10_002), true).is_none());
    }
}
