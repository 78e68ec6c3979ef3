//! What a node holds of the distributed tracker: for each torrent, who shares it.
//!
//! Entries are soft state: each is proved by an announce or by the owner's ping, ages, and is
//! forgotten. Two copies of a torrent's entries are put together as the union, in which the later
//! proof of an entry counts; times travel as ages, since no two clocks agree, and no copy ever makes
//! an entry younger than its last proof.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::formats::krpc::{Entries, Sharer};
use crate::machines::chord::fingers::subnet;
use crate::words::address::{is_local, network};
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;
use crate::words::rng::Rng;

/// One entry: somebody shares a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seeder: bool,
    /// When that was last proved.
    pub(super) proved_at: Instant,
    /// The address from which it was announced to us with a token, if it takes pings: only such an
    /// address is ever pinged.
    pub(super) announced_from: Option<SocketAddr>,
    /// When the sharer itself told us, with its token.
    pub(super) told_at: Option<Instant>,
    /// Another holder has said since that it is gone, and it was not asked yet.
    pub(super) doubted: bool,
    /// When it is asked next whether it still is so: a timer of before does not count.
    pub(super) ask_at: Option<Instant>,
    /// Pings in a row that were not answered.
    pub(super) silences: u32,
}

impl Entry {
    /// An entry that is proved now, or was then.
    pub(super) fn new(
        seeder: bool,
        proved_at: Instant,
        announced_from: Option<SocketAddr>,
    ) -> Self {
        Self {
            seeder,
            proved_at,
            announced_from,
            told_at: None,
            doubted: false,
            ask_at: None,
            silences: 0,
        }
    }

    /// The same, by the word of the sharer itself.
    pub(super) fn told(seeder: bool, now: Instant, announced_from: Option<SocketAddr>) -> Self {
        Self { told_at: Some(now), ..Self::new(seeder, now, announced_from) }
    }
}

/// The torrent has as many sharers as are held, or there is no room at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// All entries of a node.
#[derive(Debug, Default)]
pub(super) struct Store {
    torrents: BTreeMap<InfoHash, BTreeMap<SocketAddr, Entry>>,
    entries: usize,
    /// Entries of each global address, or /64 of IPv6.
    by_source: BTreeMap<IpAddr, usize>,
}

impl Store {
    /// How many torrents there are entries of.
    pub(super) fn keys(&self) -> usize {
        self.torrents.len()
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// Puts an entry in, or proves it again; a proof that is older than the one that is there
    /// changes nothing. `me` is the place that keeps what is near it when there is no room. Whoever
    /// tells us itself comes before whom others have named.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn insert(
        &mut self,
        me: RingId,
        info_hash: InfoHash,
        address: SocketAddr,
        entry: Entry,
    ) -> Result<(), Full> {
        if let Some(held) = self.get_mut(info_hash, address) {
            if entry.proved_at >= held.proved_at {
                // Whether it takes pings the sharer says itself, and may say otherwise than before.
                let said = entry.told_at.map(|_| entry.announced_from);
                let announced_from = said.unwrap_or(held.announced_from);
                let told_at = entry.told_at.or(held.told_at);
                *held = Entry { announced_from, told_at, ask_at: held.ask_at, ..entry };
            }
            return Ok(());
        }
        if self.is_greedy(address.ip()) {
            return Err(Full);
        }
        let is_hearsay = entry.told_at.is_none();
        if is_hearsay && self.is_full_for_hearsay(info_hash) {
            return Err(Full);
        }
        let held = self.torrents.get(&info_hash);
        match held.and_then(|sharers| crowd_around(sharers, address)) {
            Some(_) if is_hearsay => return Err(Full),
            Some(crowd) => {
                let hearsay = crowd.into_iter().filter(|(_, it)| it.told_at.is_none());
                let oldest = hearsay.min_by_key(|(_, it)| it.proved_at);
                let oldest = oldest.map(|(address, _)| *address).ok_or(Full)?;
                self.remove(info_hash, oldest);
            }
            None => self.make_room(me, info_hash)?,
        }
        self.torrents.entry(info_hash).or_default().insert(address, entry);
        self.entries += 1;
        if !is_local(address.ip()) {
            *self.by_source.entry(network(address.ip())).or_default() += 1;
        }
        Ok(())
    }

    /// Whether no more is taken of what others say: the torrent is full, or what is left of all room is
    /// the quarter for those who tell us themselves.
    fn is_full_for_hearsay(&self, info_hash: InfoHash) -> bool {
        let sharers = self.torrents.get(&info_hash).map(BTreeMap::len);
        self.entries >= limits::ENTRIES_MAX / 4 * 3
            || sharers.is_none() && self.torrents.len() >= limits::KEYS_MAX / 4 * 3
            || sharers.is_some_and(|sharers| sharers >= limits::SHARERS_MAX)
    }

    /// Whether one more entry of `source` is one too many: once there is room for half as much again
    /// and no more, the rest is for those who have little.
    fn is_greedy(&self, source: IpAddr) -> bool {
        let scarce =
            self.torrents.len() >= limits::KEYS_MAX / 2 || self.entries >= limits::ENTRIES_MAX / 2;
        let held = self.by_source.get(&network(source)).copied();
        scarce && held.is_some_and(|held| held >= limits::ENTRIES_PER_SOURCE)
    }

    /// One entry of `source` is gone.
    fn handle_gone(&mut self, source: IpAddr) {
        self.entries -= 1;
        if is_local(source) {
            return;
        }
        if let Some(held) = self.by_source.get_mut(&network(source)) {
            *held -= 1;
            if *held == 0 {
                self.by_source.remove(&network(source));
            }
        }
    }

    /// Makes room for one more entry of `info_hash`: the torrent that is farthest behind our place
    /// goes, unless that is this one.
    fn make_room(&mut self, me: RingId, info_hash: InfoHash) -> Result<(), Full> {
        let is_new = !self.torrents.contains_key(&info_hash);
        let full = self.entries >= limits::ENTRIES_MAX
            || (is_new && self.torrents.len() >= limits::KEYS_MAX);
        if !full {
            return Ok(());
        }
        let distance = |key: InfoHash| {
            let (to, from) = (RingId::from(key).clockwise_to(me), me.clockwise_to(key.into()));
            to.min(from)
        };
        let farthest =
            self.torrents.keys().copied().max_by_key(|key| distance(*key)).ok_or(Full)?;
        if farthest == info_hash || distance(farthest) <= distance(info_hash) {
            return Err(Full);
        }
        let gone = self.torrents.remove(&farthest).unwrap_or_default();
        gone.keys().for_each(|address| self.handle_gone(address.ip()));
        Ok(())
    }

    pub(super) fn get(&self, info_hash: InfoHash, address: SocketAddr) -> Option<&Entry> {
        self.torrents.get(&info_hash)?.get(&address)
    }

    pub(super) fn get_mut(
        &mut self,
        info_hash: InfoHash,
        address: SocketAddr,
    ) -> Option<&mut Entry> {
        self.torrents.get_mut(&info_hash)?.get_mut(&address)
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, info_hash: InfoHash, address: SocketAddr) -> Option<Entry> {
        let sharers = self.torrents.get_mut(&info_hash)?;
        let removed = sharers.remove(&address)?;
        if sharers.is_empty() {
            self.torrents.remove(&info_hash);
        }
        self.handle_gone(address.ip());
        Some(removed)
    }

    /// At most `max` of those who share the torrent, by chance if there are more; first those who told
    /// us themselves, for another holder may make up any number. None whose proof is older than
    /// [`limits::ENTRY_FRESH`].
    pub(super) fn sample(
        &self,
        now: Instant,
        info_hash: InfoHash,
        max: usize,
        rng: &mut Rng,
    ) -> Vec<Sharer> {
        let Some(sharers) = self.torrents.get(&info_hash) else { return Vec::new() };
        let fresh = sharers.iter().filter(|(_, entry)| age(now, entry) <= limits::ENTRY_FRESH);
        let mut sample: Vec<_> = fresh.collect();
        if sample.len() > max {
            rng.shuffle(&mut sample);
            sample.sort_by_key(|(_, entry)| entry.told_at.is_none());
            sample.truncate(max);
        }
        let sharer = |(address, entry): (&SocketAddr, &Entry)| Sharer {
            address: *address,
            seeder: entry.seeder,
        };
        sample.into_iter().map(sharer).collect()
    }

    /// Forgets what was not proved for [`limits::ENTRY_LIFETIME`]. After a suspend everything may be
    /// so old, and goes.
    pub(super) fn expire(&mut self, now: Instant) {
        for sharers in self.torrents.values_mut() {
            sharers.retain(|_, entry| age(now, entry) < limits::ENTRY_LIFETIME);
        }
        self.torrents.retain(|_, sharers| !sharers.is_empty());
        self.entries = self.torrents.values().map(BTreeMap::len).sum();
        self.by_source.clear();
        for address in self.torrents.values().flat_map(BTreeMap::keys) {
            if !is_local(address.ip()) {
                *self.by_source.entry(network(address.ip())).or_default() += 1;
            }
        }
    }

    /// The torrents whose keys pass `is_wanted`.
    pub(super) fn keys_where(&self, is_wanted: impl Fn(RingId) -> bool) -> Vec<InfoHash> {
        self.torrents.keys().copied().filter(|key| is_wanted((*key).into())).collect()
    }

    /// All entries of a torrent as they are given to another holder, `only` these if given.
    pub(super) fn entries_of(
        &self,
        now: Instant,
        info_hash: InfoHash,
        only: Option<&[SocketAddr]>,
    ) -> Vec<(Sharer, u16)> {
        let Some(sharers) = self.torrents.get(&info_hash) else { return Vec::new() };
        let give = |(address, entry): (&SocketAddr, &Entry)| {
            let seconds = u16::try_from(age(now, entry).as_secs()).unwrap_or(u16::MAX);
            (Sharer { address: *address, seeder: entry.seeder }, seconds)
        };
        match only {
            None => sharers.iter().map(give).collect(),
            Some(only) => {
                only.iter().filter_map(|it| sharers.get_key_value(it)).map(give).collect()
            }
        }
    }

    /// Takes in what another holder gave. An age that is more than a lifetime says that the entry is
    /// gone.
    /// The owner decides by itself who is gone: `owned` says that it is us. And whom a sharer told
    /// lately only doubts it: the owner may lie.
    pub(super) fn merge(&mut self, now: Instant, me: RingId, entries: &Entries, owned: bool) {
        for (sharer, seconds) in &entries.sharers {
            let age = Duration::from_secs(u64::from(*seconds));
            let proved_at = now.checked_sub(age).filter(|_| age < limits::ENTRY_LIFETIME);
            let Some(proved_at) = proved_at else {
                let held = self.get_mut(entries.info_hash, sharer.address).filter(|_| !owned);
                let Some(held) = held else { continue };
                held.doubted = held.told_at.is_some_and(|at| at + limits::ENTRY_FRESH >= now);
                if !held.doubted {
                    self.remove(entries.info_hash, sharer.address);
                }
                continue;
            };
            let seeder = sharer.seeder;
            let entry = Entry::new(seeder, proved_at, None);
            // For one there may be no room beside its neighbours, and for the next there is.
            _ = self.insert(me, entries.info_hash, sharer.address, entry);
        }
    }

    /// Every entry; for tests.
    pub(super) fn iter(&self) -> impl Iterator<Item = (InfoHash, SocketAddr, &Entry)> {
        self.torrents.iter().flat_map(|(key, sharers)| {
            sharers.iter().map(move |(address, entry)| (*key, *address, entry))
        })
    }

    pub(super) fn check(&self) {
        assert!(self.torrents.len() <= limits::KEYS_MAX);
        assert!(self.entries <= limits::ENTRIES_MAX);
        assert_eq!(self.entries, self.iter().count());
        let global = self.iter().filter(|(_, address, _)| !is_local(address.ip()));
        assert_eq!(self.by_source.values().sum::<usize>(), global.count());
        for sharers in self.torrents.values() {
            assert!((1..=limits::SHARERS_MAX).contains(&sharers.len()));
        }
    }
}

fn age(now: Instant, entry: &Entry) -> Duration {
    now.saturating_duration_since(entry.proved_at)
}

/// Those who leave no room for one more sharer at `address`, if there is none.
fn crowd_around(
    sharers: &BTreeMap<SocketAddr, Entry>,
    address: SocketAddr,
) -> Option<Vec<(&SocketAddr, &Entry)>> {
    if !is_local(address.ip()) {
        // The map is in the order of addresses, so those of one subnet stand together.
        let near = sharers.range(first_of_subnet(address)..);
        let near = near.take_while(|(other, _)| subnet(**other) == subnet(address));
        let near: Vec<_> = near.collect();
        let same = near.iter().filter(|(other, _)| other.ip() == address.ip()).copied();
        let same: Vec<_> = same.collect();
        if same.len() >= limits::SHARERS_PER_IP {
            return Some(same);
        }
        if near.len() >= limits::SHARERS_PER_SUBNET {
            return Some(near);
        }
    }
    (sharers.len() >= limits::SHARERS_MAX).then(|| sharers.iter().collect())
}

fn first_of_subnet(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, _] = v4.ip().octets();
            SocketAddr::from(([a, b, c, 0], 0))
        }
        SocketAddr::V6(v6) => {
            let mut octets = [0; 16];
            octets[..6].copy_from_slice(&v6.ip().octets()[..6]);
            SocketAddr::from((octets, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: RingId = RingId([0x80; 20]);

    fn hash(byte: u8) -> InfoHash {
        InfoHash([byte; 20])
    }

    fn address(a: u8, b: u8, c: u8, d: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([a, b, c, d], port))
    }

    fn entry(proved_at: Instant) -> Entry {
        Entry::new(false, proved_at, None)
    }

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made up")]
    fn start() -> (Store, Instant, Rng) {
        (Store::default(), Instant::now() + limits::ENTRY_LIFETIME * 2, Rng::new(1))
    }

    #[test]
    fn entries_are_handed_out_while_fresh_and_forgotten_after_a_lifetime() {
        let (mut store, now, mut rng) = start();
        store.insert(ME, hash(1), address(10, 0, 0, 1, 1), entry(now)).unwrap();
        let mut sample =
            |store: &Store, after| store.sample(now + after, hash(1), 9, &mut rng).len();
        assert_eq!(sample(&store, limits::ENTRY_FRESH), 1);
        let stale = limits::ENTRY_FRESH + Duration::from_secs(1);
        assert_eq!(sample(&store, stale), 0);
        store.expire(now + stale);
        assert_eq!(store.len(), 1);
        store.expire(now + limits::ENTRY_LIFETIME);
        assert_eq!((store.len(), store.keys()), (0, 0));
        store.check();
    }

    #[test]
    fn a_union_takes_the_later_proof_and_makes_nothing_younger() {
        let (mut store, now, _) = start();
        let at = address(10, 0, 0, 1, 1);
        let give = |seconds, seeder| Entries {
            info_hash: hash(1),
            sharers: vec![(Sharer { address: at, seeder }, seconds)],
        };
        let age = |store: &Store| store.entries_of(now, hash(1), None).first().map(|(_, age)| *age);
        store.merge(now, ME, &give(600, false), false);
        assert_eq!(age(&store), Some(600));
        store.merge(now, ME, &give(700, true), false);
        assert_eq!(age(&store), Some(600));
        store.merge(now, ME, &give(60, true), false);
        assert_eq!(age(&store), Some(60));
        assert!(store.get(hash(1), at).unwrap().seeder);
        store.merge(now, ME, &give(u16::MAX, false), false);
        assert_eq!((age(&store), store.len()), (None, 0));
        store.merge(now, ME, &give(60, true), true);
        store.merge(now, ME, &give(u16::MAX, false), true);
        assert_eq!(age(&store), Some(60), "an owner takes nobody's word for it");
        store.check();
    }

    #[test]
    fn a_copy_keeps_the_address_that_may_be_pinged() {
        let (mut store, now, _) = start();
        let at = address(10, 0, 0, 1, 1);
        let announced = Entry::told(false, now - Duration::from_secs(9), Some(at));
        store.insert(ME, hash(1), at, announced).unwrap();
        store.insert(ME, hash(1), at, entry(now)).unwrap();
        let held = store.get(hash(1), at).unwrap();
        assert_eq!((held.announced_from, held.proved_at), (Some(at), now));
        // It has lost its place, and cannot be asked any longer.
        store.insert(ME, hash(1), at, Entry::told(false, now, None)).unwrap();
        assert_eq!(store.get(hash(1), at).unwrap().announced_from, None);
    }

    #[test]
    fn one_global_address_or_subnet_does_not_fill_a_torrent_and_a_local_one_may() {
        let (mut store, now, _) = start();
        let mut insert = |address| store.insert(ME, hash(1), address, entry(now)).is_ok();
        let per_ip = (0..100).filter(|port| insert(address(8, 8, 8, 8, port + 1))).count();
        assert_eq!(per_ip, limits::SHARERS_PER_IP);
        let per_subnet = (0..100).filter(|last| insert(address(9, 9, 9, *last, 1))).count();
        assert_eq!(per_subnet, limits::SHARERS_PER_SUBNET);
        assert_eq!((0..2000).filter(|port| insert(address(10, 0, 0, 1, port + 1))).count(), {
            limits::SHARERS_MAX - per_ip - per_subnet
        });
        store.check();
    }

    /// Another holder names any number of sharers; whoever tells us itself finds room, and is named.
    #[test]
    fn who_tells_us_itself_comes_before_hearsay() {
        let (mut store, now, mut rng) = start();
        let far =
            |n: u32| SocketAddr::from((std::net::Ipv4Addr::from_bits(0x1000_0000 + n * 997), 1));
        let told = |n: u32| Entry::told(false, now - Duration::from_secs(u64::from(n)), None);
        let beside = (0..20).map(|last| address(9, 9, 9, last, 1)).chain([far(0)]);
        for at in beside.chain((1..5000).map(far)) {
            _ = store.insert(ME, hash(1), at, entry(now));
        }
        let honest: Vec<_> = (0..16).map(|last| address(9, 9, 9, 100 + last, 7)).collect();
        for at in &honest {
            store.insert(ME, hash(1), *at, told(9)).unwrap();
        }
        assert_eq!(store.insert(ME, hash(1), address(9, 9, 9, 200, 7), told(0)), Err(Full));
        store.check();
        let named = store.sample(now, hash(1), 16, &mut rng);
        let named: std::collections::BTreeSet<_> = named.iter().map(|it| it.address).collect();
        assert_eq!(named, honest.into_iter().collect());
        assert_eq!(store.insert(ME, hash(1), far(9000), entry(now)), Err(Full));
    }

    #[test]
    fn one_network_of_ipv6_is_one_source() {
        let (mut store, now, _) = start();
        let key = |n: u32| {
            let mut bytes = ME.0;
            bytes[16..].copy_from_slice(&n.to_be_bytes());
            InfoHash(bytes)
        };
        let at =
            |n: u32| format!("[2001:db8:0:1::{:x}:{:x}]:1", n >> 16, n & 0xffff).parse().unwrap();
        let taken = (0..20_000).filter(|n| store.insert(ME, key(*n), at(*n), entry(now)).is_ok());
        assert!(taken.count() <= limits::KEYS_MAX / 2);
        store.check();
    }

    #[test]
    fn when_there_is_no_room_what_is_far_goes_for_what_is_near() {
        let (mut store, now, _) = start();
        let told = |now| Entry::told(false, now, None);
        let key = |n: u16| {
            let mut bytes = [0; 20];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            InfoHash(bytes)
        };
        let at = address(10, 0, 0, 1, 1);
        for n in 0..u16::try_from(limits::KEYS_MAX).unwrap() {
            store.insert(ME, key(n), at, told(now)).unwrap();
        }
        assert_eq!(store.insert(ME, key(0x0000), at, told(now)), Ok(()), "it is there already");
        assert_eq!(store.insert(ME, hash(0), address(10, 0, 0, 2, 1), told(now)), Ok(()));
        assert_eq!(store.insert(ME, hash(0x80), at, told(now)), Ok(()));
        assert_eq!(store.insert(ME, hash(0x7f), at, entry(now)), Err(Full), "by hearsay");
        assert_eq!(store.keys(), limits::KEYS_MAX);
        store.check();
    }

    #[test]
    fn a_hundred_thousand_keys_of_one_source_push_nobody_else_out() {
        let (mut store, now, mut rng) = start();
        let mut key = || {
            let mut bytes = [0; 20];
            rng.fill(&mut bytes);
            InfoHash(bytes)
        };
        let honest: Vec<_> = (0..1000_u16).map(|n| (key(), n)).collect();
        let at = |n: u16| address(9, n.to_be_bytes()[0], n.to_be_bytes()[1], 1, 1);
        for (key, n) in &honest {
            store.insert(ME, *key, at(*n), entry(now)).unwrap();
        }
        // Right beside our place, where they would push out what is farther.
        let near = |n: u32| {
            let mut bytes = ME.0;
            bytes[16..].copy_from_slice(&n.to_be_bytes());
            InfoHash(bytes)
        };
        let greedy = address(8, 8, 8, 8, 1);
        let taken = (0..100_000).filter(|n| store.insert(ME, near(*n), greedy, entry(now)).is_ok());
        assert!(taken.count() <= limits::KEYS_MAX / 2);
        for (key, n) in &honest {
            assert!(store.get(*key, at(*n)).is_some(), "what {} shares is gone", at(*n));
        }
        assert_eq!(store.insert(ME, key(), at(1001), entry(now)), Ok(()), "others find room");
        store.check();
        store.expire(now + limits::ENTRY_LIFETIME);
        store.check();
    }

    #[test]
    fn a_sample_is_by_chance_and_no_larger_than_asked() {
        let (mut store, now, mut rng) = start();
        for last in 0..200 {
            store.insert(ME, hash(1), address(10, 0, 0, last, 1), entry(now)).unwrap();
        }
        let first = store.sample(now, hash(1), 24, &mut rng);
        let second = store.sample(now, hash(1), 24, &mut rng);
        assert_eq!((first.len(), second.len()), (24, 24));
        assert_ne!(first, second);
        assert_eq!(store.sample(now, hash(2), 24, &mut rng), []);
    }
}
