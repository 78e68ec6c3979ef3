//! The peers of a torrent that are known by their address: those that the user named, and those that
//! were found.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::bus::Fault;
use crate::formats::web_seed::WebSeed;
use crate::words::address::{Address, Host, is_local, network};
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
    /// Those of the table that were found, by the global network that they are in.
    networks: BTreeMap<IpAddr, usize>,
    /// Those of the table that were found, by the way.
    known: [usize; WAYS],
    /// Those that wait to be dialled and that the user or the torrent named, in their order.
    named: VecDeque<Key>,
    /// Those that wait and that were found, by the way. The ways take turns, so that nobody on one
    /// of them who names many keeps us from anybody else.
    found: [BTreeSet<(Rank, Key)>; WAYS],
    /// Whose turn it is.
    turn: usize,
    /// Those that waited so far.
    waited: u64,
    /// How many were found, each time anew.
    found_ever: u32,
    /// Web seeds that are not asked, for there are enough.
    web_seeds: VecDeque<WebSeed>,
    /// It is in the queue of torrents whose contacts wait.
    pub(super) is_queued: bool,
}

/// Who says that somebody shares a torrent, the more trustworthy first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// One of its trackers.
    Tracker,
    /// The ring.
    Ring,
    /// Mainline, whose nodes take anybody's word.
    Mainline,
    /// One of its peers, or anybody in the local network: nobody proves that.
    Hearsay,
}

/// The number of ways.
const WAYS: usize = Way::Hearsay as usize + 1;

/// Who is dialled before whom: by the connections that brought nothing, then those of the highest
/// priority (BEP 40).
type Rank = (u32, Reverse<u32>, u64);

/// A peer known by its address.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) address: Address,
    /// The user named it: it is dialled for ever.
    pub(super) named: bool,
    /// It is a web seed, and asked by HTTP.
    pub(super) web_seed: Option<WebSeed>,
    /// How it was found, if it was.
    way: Option<Way>,
    /// Its place among those that wait, if it does.
    rank: Option<Rank>,
    /// Connections in a row that brought nothing.
    pub(super) failures: u32,
}

impl Contact {
    fn new(address: Address) -> Self {
        Self { address, named: false, web_seed: None, way: None, rank: None, failures: 0 }
    }

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

    /// The network that it counts to: many who were found may be in a local one.
    fn network(&self) -> Option<IpAddr> {
        let ip = self.way.and_then(|_| self.socket_address())?.ip();
        (!is_local(ip)).then(|| network(ip))
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
            networks: BTreeMap::new(),
            known: [0; WAYS],
            named: VecDeque::new(),
            found: Default::default(),
            turn: 0,
            waited: 0,
            found_ever: 0,
            web_seeds: web_seeds.into(),
            is_queued: false,
        };
        // Bound: limits::CONTACTS_MAX
        for address in named.into_iter().take(limits::CONTACTS_MAX) {
            if !contacts.by_address.contains_key(&address) {
                contacts.insert(Contact { named: true, ..Contact::new(address) });
            }
        }
        contacts
    }

    /// A peer was found at `address`; `own` is how others see us in its family. `None` if it is known,
    /// dialled us itself, is one of many in its network, or there is no room: who is found once will
    /// be found again. Where there is none, a better one takes the place of one that waits and was
    /// found by the same way.
    pub(super) fn find(&mut self, address: SocketAddr, way: Way, own: SocketAddr) -> Option<Key> {
        let contact = Contact { way: Some(way), ..Contact::new(Address::from(address)) };
        if let Some(key) = self.by_address.get(&contact.address) {
            self.handle_found_again(*key, way);
            return None;
        }
        if self.callers.contains_key(&contact.address) || address.port() == 0 {
            return None;
        }
        let there = contact.network().and_then(|network| self.networks.get(&network));
        let is_one_of_many = there.is_some_and(|there| *there >= limits::FOUND_A_NETWORK);
        if is_one_of_many || !self.has_room(way) && !self.make_room(way, priority(own, address)) {
            return None;
        }
        self.found_ever = self.found_ever.saturating_add(1);
        self.insert(contact)
    }

    /// Who is found by a better way counts, and takes turns, with those of that one.
    fn handle_found_again(&mut self, key: Key, way: Way) {
        let has_room = self.has_room(way);
        let Some(contact) = self.table.get_mut(key) else { return };
        let Some(before) = contact.way.filter(|before| way < *before && has_room) else { return };
        contact.way = Some(way);
        self.known[before as usize] -= 1;
        self.known[way as usize] += 1;
        if let Some(rank) = contact.rank {
            self.found[before as usize].remove(&(rank, key));
            self.found[way as usize].insert((rank, key));
        }
    }

    fn has_room(&self, way: Way) -> bool {
        self.known[way as usize] < limits::FOUND_A_WAY
    }

    /// Of those that were found by `way` and wait, the last to be dialled makes room, if its priority
    /// is below `priority`. It is forgotten.
    fn make_room(&mut self, way: Way, priority: u32) -> bool {
        let last = self.found[way as usize].last().copied();
        let Some((_, key)) = last.filter(|((_, Reverse(least), _), _)| *least < priority) else {
            return false;
        };
        self.remove(key);
        true
    }

    fn insert(&mut self, contact: Contact) -> Option<Key> {
        let (address, way, network) = (contact.address.clone(), contact.way, contact.network());
        let is_web_seed = contact.web_seed.is_some();
        let key = self.table.insert(contact).ok()?;
        if let Some(way) = way {
            self.known[way as usize] += 1;
        }
        if let Some(network) = network {
            *self.networks.entry(network).or_default() += 1;
        }
        if !is_web_seed {
            self.by_address.insert(address, key);
        }
        Some(key)
    }

    /// A contact waits to be dialled. `own` is how others see us in its family.
    pub(super) fn wait(&mut self, key: Key, own: SocketAddr) {
        let Some(contact) = self.table.get_mut(key) else { return };
        self.waited += 1;
        let theirs = contact.socket_address();
        let priority = theirs.map_or(0, |theirs| priority(own, theirs));
        let rank = (contact.failures, Reverse(priority), self.waited);
        match contact.way {
            None => self.named.push_back(key),
            Some(way) => {
                contact.rank = Some(rank);
                self.found[way as usize].insert((rank, key));
            }
        }
    }

    /// The next to be dialled.
    pub(super) fn poll_next(&mut self) -> Option<Key> {
        if let Some(key) = self.named.pop_front() {
            return Some(key);
        }
        // Bound: the four ways.
        for _ in 0..WAYS {
            let first = self.found[self.turn].pop_first();
            self.turn = (self.turn + 1) % WAYS;
            if let Some((_, key)) = first {
                if let Some(contact) = self.table.get_mut(key) {
                    contact.rank = None;
                }
                return Some(key);
            }
        }
        None
    }

    /// Whether anybody waits to be dialled.
    pub(super) fn has_waiting(&self) -> bool {
        // Bound: the four ways.
        !self.named.is_empty() || self.found.iter().any(|found| !found.is_empty())
    }

    fn remove(&mut self, key: Key) {
        let Some(contact) = self.table.remove(key) else { return };
        if let Some(way) = contact.way {
            self.known[way as usize] -= 1;
            if let Some(rank) = contact.rank {
                self.found[way as usize].remove(&(rank, key));
            }
        }
        if let Some(Entry::Occupied(mut there)) =
            contact.network().map(|network| self.networks.entry(network))
        {
            *there.get_mut() -= 1;
            if *there.get() == 0 {
                there.remove();
            }
        }
        if contact.web_seed.is_none() {
            self.by_address.remove(&contact.address);
        }
    }

    /// How many were found so far, those that are forgotten among them.
    pub(super) fn found_ever(&self) -> u32 {
        self.found_ever
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
        let found = self.table.iter().filter(|(_, contact)| contact.way.is_some());
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        let found: Vec<_> = found.map(|(key, _)| key).collect();
        // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
        for key in found {
            self.remove(key);
        }
    }

    /// The web seeds of a torrent that was not known.
    pub(super) fn handle_web_seeds(&mut self, web_seeds: Vec<WebSeed>) {
        self.web_seeds = web_seeds.into();
    }

    /// The next of the web seeds is to be asked.
    pub(super) fn insert_web_seed(&mut self) -> Option<Key> {
        let web_seed = Some(self.web_seeds.pop_front()?);
        let nowhere = Address { host: Host::Any, port: 0 };
        self.insert(Contact { web_seed, ..Contact::new(nowhere) })
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
            if contact.way.is_some() {
                self.remove(key);
            }
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

    /// Asserts every invariant; for tests.
    pub(super) fn check(&self) {
        // Bound: none; for tests.
        for way in [Way::Tracker, Way::Ring, Way::Mainline, Way::Hearsay] {
            let there = |(_, contact): &(Key, &Contact)| contact.way == Some(way);
            // Bound: none; for tests.
            assert_eq!(self.known[way as usize], self.table.iter().filter(there).count());
            assert!(self.known[way as usize] <= limits::FOUND_A_WAY);
            // Bound: none; for tests.
            for (rank, key) in &self.found[way as usize] {
                let rank_there = self.table.get(*key).and_then(|contact| contact.rank);
                assert_eq!(rank_there, Some(*rank));
            }
        }
        // Bound: none; for tests.
        assert!(self.networks.values().all(|there| (1..=limits::FOUND_A_NETWORK).contains(there)));
        assert!(self.is_queued || !self.has_waiting(), "whoever waits has a turn");
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

    const OWN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 1);

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 6881))
    }

    /// Address `n` of the local ones, of which a network may have any number.
    fn local(n: usize) -> SocketAddr {
        let [.., high, low] = n.to_be_bytes();
        SocketAddr::from(([10, 0, high, low], 1))
    }

    impl Contacts {
        fn finds(&mut self, address: SocketAddr) -> Option<Key> {
            let key = self.find(address, Way::Tracker, OWN);
            self.is_queued = true;
            self.check();
            key
        }

        fn finds_waiting(&mut self, address: SocketAddr, way: Way) -> Option<Key> {
            let key = self.find(address, way, OWN)?;
            self.wait(key, OWN);
            Some(key)
        }
    }

    #[test]
    fn the_delay_doubles_up_to_a_minute() {
        let seconds = [0, 1, 2, 5, 6, 100].map(|failures| back_off(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }

    #[test]
    fn who_is_found_is_dialled_a_few_times_and_may_be_found_again() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let key = contacts.finds(address(1)).unwrap();
        assert_eq!(contacts.finds(address(1)), None);
        for _ in 1..limits::FOUND_FAILURES_MAX {
            assert!(contacts.handle_over(key, Fault::Nobodys, false).is_some());
        }
        assert!(contacts.handle_over(key, Fault::Nobodys, true).is_some());
        for _ in 1..limits::FOUND_FAILURES_MAX {
            assert!(contacts.handle_over(key, Fault::Theirs, false).is_some());
        }
        assert_eq!(contacts.handle_over(key, Fault::Nobodys, false), None);
        assert!(contacts.finds(address(1)).is_some());
    }

    #[test]
    fn who_was_named_is_dialled_for_ever() {
        let named: Address = "192.0.2.1:6881".parse().unwrap();
        let mut contacts = Contacts::new(vec![named.clone(), named], Vec::new());
        assert_eq!(contacts.keys().len(), 1);
        assert_eq!(contacts.finds(address(1)), None);
        let key = contacts.keys()[0];
        for _ in 0..100 {
            assert!(contacts.handle_over(key, Fault::Theirs, false).is_some());
        }
    }

    #[test]
    fn who_dialled_us_is_not_dialled() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let [first, second] = [0, 1].map(|index| PeerKey(Key { index, generation: 0 }));
        contacts.handle_caller(first, address(1));
        assert_eq!(contacts.finds(address(1)), None);
        contacts.handle_caller(second, address(1));
        contacts.handle_caller_gone(first, address(1));
        assert_eq!(contacts.finds(address(1)), None);
        contacts.handle_caller_gone(second, address(1));
        assert!(contacts.finds(address(1)).is_some());
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
    fn a_web_seed_is_asked_first_and_takes_no_room() {
        let seed = WebSeed::parse("http://h/").unwrap();
        let mut contacts = Contacts::new(Vec::new(), vec![seed]);
        (0..limits::FOUND_A_WAY).for_each(|n| {
            contacts.finds_waiting(local(n), Way::Tracker).unwrap();
        });
        let web_seed = contacts.insert_web_seed().unwrap();
        contacts.wait(web_seed, OWN);
        assert_eq!(contacts.len(), limits::FOUND_A_WAY);
        assert_eq!(contacts.poll_next(), Some(web_seed));
        assert!(contacts.get(web_seed).unwrap().socket_address().is_none());
    }

    #[test]
    fn each_way_has_its_room_and_a_better_one_makes_some() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        for way in [Way::Tracker, Way::Ring, Way::Mainline, Way::Hearsay] {
            let of_way = way as usize * 10_000;
            let found =
                (0..5000).filter_map(|n| contacts.finds_waiting(local(of_way + n), way)).count();
            assert!(found > limits::FOUND_A_WAY, "better ones make room");
            assert_eq!(contacts.known[way as usize], limits::FOUND_A_WAY);
            contacts.is_queued = true;
            contacts.check();
        }
        assert_eq!(contacts.len(), limits::FOUND_MAX);
        let first = contacts.found.clone().map(|found| found.first().copied().unwrap().1);
        assert_eq!([(); WAYS].map(|()| contacts.poll_next().unwrap()), first, "they take turns");
        // Those who do not wait make no room.
        while contacts.poll_next().is_some() {}
        assert_eq!((0..100).find_map(|n| contacts.finds(local(50_000 + n))), None);
    }

    #[test]
    fn whoever_is_found_by_a_better_way_takes_turns_there() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let [first, second] = [1, 2].map(address);
        let key = contacts.finds_waiting(first, Way::Hearsay).unwrap();
        contacts.finds_waiting(second, Way::Hearsay).unwrap();
        assert_eq!(contacts.finds(first), None);
        assert_eq!(
            contacts.find(first, Way::Mainline, OWN),
            None,
            "and none is found by a worse one"
        );
        assert_eq!(contacts.known, [1, 0, 0, 1]);
        assert_eq!(contacts.poll_next(), Some(key));
    }

    #[test]
    fn who_failed_comes_after_who_was_not_dialled_and_a_network_has_so_many() {
        let mut contacts = Contacts::new(Vec::new(), Vec::new());
        let ports = (1..=9).map(|port| SocketAddr::from(([203, 0, 113, 9], port)));
        let of_one: Vec<_> = ports.filter_map(|address| contacts.finds(address)).collect();
        assert_eq!(of_one.len(), limits::FOUND_A_NETWORK);
        contacts.handle_over(of_one[0], Fault::Nobodys, false);
        let others: Vec<_> = (1..30).filter_map(|last| contacts.finds(address(last))).collect();
        of_one.iter().chain(&others).for_each(|key| contacts.wait(*key, OWN));
        let order: Vec<_> = std::iter::from_fn(|| contacts.poll_next()).collect();
        assert_eq!(order.last(), Some(&of_one[0]));
    }

    #[test]
    fn ourselves_take_no_room() {
        let mut contacts = Contacts::new(vec!["192.0.2.9:1".parse().unwrap()], Vec::new());
        let named = contacts.keys()[0];
        let found = contacts.finds(address(2)).unwrap();
        for key in [named, found] {
            assert_eq!(contacts.handle_over(key, Fault::Ourselves, false), None);
        }
        assert_eq!(contacts.len(), 1);
        contacts.check();
    }
}
