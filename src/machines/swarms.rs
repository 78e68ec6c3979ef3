//! What a tracker holds: for each torrent who shares it, in bounded memory.
//!
//! Peers that are not heard of for [`limits::PEER_INTERVALS`] intervals are forgotten, and whoever
//! asks is given some of the others, from a place of chance on. Each call does a bounded number of
//! steps: the logarithm of what is held, and the peers of one answer.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::formats::announce::asked::Peer;
use crate::formats::announce::{Announce, Counts, Event};
use crate::words::address::{is_local, network};
use crate::words::id::InfoHash;
use crate::words::limits::trackers as limits;
use crate::words::rng::Rng;

/// All torrents.
#[derive(Debug)]
pub struct Swarms {
    rng: Rng,
    interval: Duration,
    torrents: BTreeMap<InfoHash, Swarm>,
    /// Who is to be looked at when: each peer once.
    looks: BTreeMap<(Instant, u64), (InfoHash, SocketAddr)>,
    begun_looks: u64,
    /// Peers of one network, in all torrents.
    networks: BTreeMap<IpAddr, u32>,
    peers: usize,
    seeders: usize,
}

/// One torrent.
#[derive(Debug, Default)]
struct Swarm {
    /// Those of IPv4 and of IPv6.
    families: [Family; 2],
    seeders: u64,
    completed: u64,
}

#[derive(Debug, Default)]
struct Family {
    /// In no order.
    peers: Vec<Known>,
    /// Where each of them is.
    places: BTreeMap<SocketAddr, usize>,
}

/// One who shares a torrent.
#[derive(Clone, Copy, Debug)]
struct Known {
    peer: Peer,
    seeder: bool,
    heard_at: Instant,
    /// When it is looked at next, and the number of that look.
    look: (Instant, u64),
}

/// Which peers can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Those of the asker's family alone.
    SameFamily,
    /// Those of both.
    Both,
}

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Torrents.
    pub torrents: usize,
    /// Who shares them: one for each torrent and address.
    pub peers: usize,
    /// Those of them that have everything.
    pub seeders: usize,
}

impl Swarms {
    /// Without torrents. Who is to announce each `interval` is forgotten some intervals later.
    pub fn new(interval: Duration, seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            interval,
            torrents: BTreeMap::new(),
            looks: BTreeMap::new(),
            begun_looks: 0,
            networks: BTreeMap::new(),
            peers: 0,
            seeders: 0,
        }
    }

    /// What is held.
    pub fn held(&self) -> Held {
        Held { torrents: self.torrents.len(), peers: self.peers, seeders: self.seeders }
    }

    /// How many share a torrent; zeros if nobody does.
    pub fn counts(&self, info_hash: InfoHash) -> Counts {
        self.torrents.get(&info_hash).map(Swarm::counts).unwrap_or(Counts {
            seeders: Some(0),
            leechers: Some(0),
            completed: Some(0),
        })
    }

    /// Somebody at `ip` says how it stands, and is given others: at most `most` of them.
    pub fn handle_announce(
        &mut self,
        now: Instant,
        ip: IpAddr,
        announce: &Announce,
        told: Told,
        most: usize,
    ) -> (Vec<Peer>, Counts) {
        let address = SocketAddr::new(ip, announce.port);
        let peer = Peer { address, peer_id: announce.peer_id };
        let seeder = announce.left == 0;
        let completes = announce.event == Some(Event::Completed) && seeder;
        if announce.event == Some(Event::Stopped) {
            self.remove(announce.info_hash, address);
            return (Vec::new(), self.counts(announce.info_hash));
        }
        // Whoever takes no connections is of no use to others.
        if announce.port > 0 {
            self.keep(now, announce.info_hash, peer, seeder, completes);
        }
        let wanted = usize::try_from(announce.wanted).unwrap_or(usize::MAX).min(most);
        let wanted =
            if announce.wanted == u32::MAX { limits::PEERS_GIVEN.min(most) } else { wanted };
        let Some(swarm) = self.torrents.get(&announce.info_hash) else {
            return (Vec::new(), self.counts(announce.info_hash));
        };
        let own = usize::from(ip.is_ipv6());
        let mut peers = Vec::new();
        let of_both = [own, 1 - own];
        let families = match told {
            Told::SameFamily => &of_both[..1],
            Told::Both => &of_both,
        };
        for family in families {
            swarm.families[*family].pick(address, seeder, wanted, &mut self.rng, &mut peers);
        }
        (peers, swarm.counts())
    }

    /// Forgets who was not heard of for too long, a bounded number of them.
    pub fn handle_time(&mut self, now: Instant) {
        for _ in 0..limits::LOOKS_A_TURN {
            let Some(first) = self.looks.first_entry().filter(|first| first.key().0 <= now) else {
                return;
            };
            let (info_hash, address) = first.remove();
            let lasting = self.interval * limits::PEER_INTERVALS;
            let look = self.begun_looks + 1;
            let swarm = self.torrents.get_mut(&info_hash);
            let family = swarm.map(|swarm| &mut swarm.families[usize::from(address.is_ipv6())]);
            let Some(known) = family.and_then(|family| family.get_mut(address)) else { continue };
            let until = known.heard_at + lasting;
            if until <= now {
                self.remove(info_hash, address);
            } else {
                known.look = (until, look);
                self.begun_looks = look;
                self.looks.insert((until, look), (info_hash, address));
            }
        }
    }

    /// When [`handle_time`](Self::handle_time) is to be called.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.looks.first_key_value().map(|((at, _), _)| *at)
    }

    /// Keeps a peer, if it is known or there is room.
    fn keep(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        peer: Peer,
        seeder: bool,
        completes: bool,
    ) {
        let address = peer.address;
        let (is_full, holds) = (self.is_full_for(address.ip()), self.torrents.len());
        let swarm = match self.torrents.get_mut(&info_hash) {
            Some(swarm) => swarm,
            None if is_full || holds >= limits::TORRENTS_TRACKED_MAX => return,
            None => self.torrents.entry(info_hash).or_default(),
        };
        let family = &mut swarm.families[usize::from(address.is_ipv6())];
        if let Some(place) = family.places.get(&address) {
            let known = &mut family.peers[*place];
            let before = std::mem::replace(known, Known { peer, seeder, heard_at: now, ..*known });
            swarm.completed += u64::from(completes && !before.seeder);
            swarm.seeders = swarm.seeders + u64::from(seeder) - u64::from(before.seeder);
            self.seeders = self.seeders + usize::from(seeder) - usize::from(before.seeder);
            return;
        }
        if is_full {
            return;
        }
        self.begun_looks += 1;
        let look = (now + self.interval * limits::PEER_INTERVALS, self.begun_looks);
        self.looks.insert(look, (info_hash, address));
        family.places.insert(address, family.peers.len());
        family.peers.push(Known { peer, seeder, heard_at: now, look });
        swarm.completed += u64::from(completes);
        swarm.seeders += u64::from(seeder);
        self.seeders += usize::from(seeder);
        self.peers += 1;
        *self.networks.entry(network(address.ip())).or_default() += 1;
    }

    /// Whether there is no room for one more peer at `ip`. Many may be behind a local address.
    fn is_full_for(&self, ip: IpAddr) -> bool {
        let taken = self.networks.get(&network(ip)).copied().unwrap_or(0);
        self.peers >= limits::PEERS_TRACKED_MAX
            || !is_local(ip) && taken >= limits::PEERS_TRACKED_A_NETWORK
    }

    fn remove(&mut self, info_hash: InfoHash, address: SocketAddr) {
        let Some(swarm) = self.torrents.get_mut(&info_hash) else { return };
        let family = &mut swarm.families[usize::from(address.is_ipv6())];
        let Some(known) = family.remove(address) else { return };
        self.looks.remove(&known.look);
        swarm.seeders -= u64::from(known.seeder);
        self.seeders -= usize::from(known.seeder);
        self.peers -= 1;
        let network = network(address.ip());
        if let Some(taken) = self.networks.get_mut(&network) {
            *taken -= 1;
            if *taken == 0 {
                self.networks.remove(&network);
            }
        }
        if swarm.families.iter().all(|family| family.peers.is_empty()) {
            self.torrents.remove(&info_hash);
        }
    }

    /// Asserts every invariant; O(everything), for tests.
    pub fn check(&self) {
        let mut held = Held { torrents: self.torrents.len(), ..Held::default() };
        for swarm in self.torrents.values() {
            let mut seeders = 0;
            for family in &swarm.families {
                assert_eq!(family.places.len(), family.peers.len());
                for (place, known) in family.peers.iter().enumerate() {
                    assert_eq!(family.places.get(&known.peer.address), Some(&place));
                    assert!(self.looks.contains_key(&known.look));
                    seeders += u64::from(known.seeder);
                }
                held.peers += family.peers.len();
            }
            assert_eq!(swarm.seeders, seeders);
            held.seeders += usize::try_from(seeders).expect("they are counted in memory");
        }
        assert_eq!(self.held(), held);
        let in_networks: u32 = self.networks.values().sum();
        assert_eq!(in_networks as usize, self.peers);
        assert_eq!(self.looks.len(), self.peers, "each is looked at once");
    }
}

impl Swarm {
    fn counts(&self) -> Counts {
        let peers: usize = self.families.iter().map(|family| family.peers.len()).sum();
        Counts {
            seeders: Some(self.seeders),
            leechers: Some((peers as u64).saturating_sub(self.seeders)),
            completed: Some(self.completed),
        }
    }
}

impl Family {
    fn get_mut(&mut self, address: SocketAddr) -> Option<&mut Known> {
        self.places.get(&address).map(|place| &mut self.peers[*place])
    }

    fn remove(&mut self, address: SocketAddr) -> Option<Known> {
        let place = self.places.remove(&address)?;
        let known = self.peers.swap_remove(place);
        if let Some(moved) = self.peers.get(place) {
            self.places.insert(moved.peer.address, place);
        }
        Some(known)
    }

    /// Picks peers for the one at `asker`, until there are `wanted`. A seeder is of no use to another,
    /// so of them twice as many are looked at.
    fn pick(
        &self,
        asker: SocketAddr,
        seeder: bool,
        wanted: usize,
        rng: &mut Rng,
        picked: &mut Vec<Peer>,
    ) {
        let len = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        if len == 0 {
            return;
        }
        let first = rng.below(len) as usize;
        let around = self.peers[first..].iter().chain(&self.peers[..first]);
        let looked_at = around.take(2 * wanted + 1);
        let of_use =
            looked_at.filter(|known| known.peer.address != asker && !(seeder && known.seeder));
        picked.extend(of_use.map(|known| known.peer).take(wanted.saturating_sub(picked.len())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::made_up;
    use crate::words::id::PeerId;

    const HOUR: Duration = Duration::from_secs(3600);

    fn announce(torrent: u8, port: u16, left: u64, event: Option<Event>) -> Announce {
        Announce {
            info_hash: InfoHash([torrent; 20]),
            peer_id: PeerId([2; 20]),
            key: 0,
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            wanted: u32::MAX,
        }
    }

    struct Drive {
        swarms: Swarms,
        now: Instant,
    }

    impl Drive {
        fn new() -> Self {
            Self { swarms: Swarms::new(HOUR, 1), now: made_up::start() }
        }

        /// Somebody announces: the addresses that it is given, sorted, and the counts.
        fn announces(&mut self, ip: &str, announce: &Announce) -> (String, [u64; 3]) {
            let ip = ip.parse().unwrap();
            let (peers, counts) =
                self.swarms.handle_announce(self.now, ip, announce, Told::Both, 1000);
            self.swarms.check();
            let mut peers: Vec<_> = peers.iter().map(|peer| peer.address.to_string()).collect();
            peers.sort();
            let counts = [counts.seeders, counts.leechers, counts.completed].map(Option::unwrap);
            (peers.join(" "), counts)
        }
    }

    #[test]
    fn who_shares_a_torrent_hears_of_the_others() {
        let mut drive = Drive::new();
        let leecher = announce(1, 6881, 5, Some(Event::Started));
        let seeder = announce(1, 6882, 0, None);
        assert_eq!(drive.announces("192.0.2.1", &leecher), (String::new(), [0, 1, 0]));
        assert_eq!(drive.announces("192.0.2.2", &seeder), ("192.0.2.1:6881".into(), [1, 1, 0]));
        // A seeder hears of no seeder.
        assert_eq!(drive.announces("192.0.2.3", &seeder), ("192.0.2.1:6881".into(), [2, 1, 0]));
        let both = "192.0.2.1:6881 192.0.2.2:6882 192.0.2.3:6882".to_owned();
        assert_eq!(drive.announces("2001:db8::1", &leecher), (both, [2, 2, 0]));
        let other = announce(2, 6881, 5, None);
        assert_eq!(drive.announces("192.0.2.1", &other), (String::new(), [0, 1, 0]));
        let completed = announce(1, 6881, 0, Some(Event::Completed));
        assert_eq!(drive.announces("192.0.2.1", &completed).1, [3, 1, 1]);
        // Once is enough, however often it is said.
        assert_eq!(drive.announces("192.0.2.1", &completed).1, [3, 1, 1]);
        let stopped = announce(1, 6882, 0, Some(Event::Stopped));
        assert_eq!(drive.announces("192.0.2.2", &stopped), (String::new(), [2, 1, 1]));
        assert_eq!(drive.announces("192.0.2.2", &stopped).1, [2, 1, 1]);
    }

    #[test]
    fn whoever_takes_no_connections_is_told_and_not_told_of() {
        let mut drive = Drive::new();
        drive.announces("192.0.2.1", &announce(1, 6881, 5, None));
        let (peers, counts) = drive.announces("192.0.2.2", &announce(1, 0, 5, None));
        assert_eq!((peers.as_str(), counts), ("192.0.2.1:6881", [0, 1, 0]));
    }

    #[test]
    fn who_is_not_heard_of_is_forgotten() {
        let mut drive = Drive::new();
        drive.announces("192.0.2.1", &announce(1, 6881, 5, None));
        drive.announces("192.0.2.2", &announce(1, 6881, 0, None));
        let lasting = HOUR * limits::PEER_INTERVALS;
        drive.now += lasting / 2;
        drive.announces("192.0.2.1", &announce(1, 6881, 5, None));
        drive.now += lasting / 2;
        drive.swarms.handle_time(drive.now);
        drive.swarms.check();
        assert_eq!(drive.swarms.held(), Held { torrents: 1, peers: 1, seeders: 0 });
        drive.now = drive.swarms.poll_deadline().unwrap();
        drive.swarms.handle_time(drive.now);
        drive.swarms.check();
        assert_eq!(drive.swarms.held(), Held::default());
        assert_eq!(drive.swarms.poll_deadline(), None);
    }

    #[test]
    fn there_is_room_for_so_many_and_for_so_many_of_one_network() {
        let mut drive = Drive::new();
        let ports = 1..=u16::MAX;
        let per_network = u16::try_from(limits::PEERS_TRACKED_A_NETWORK).unwrap();
        for port in ports.clone().take(usize::from(per_network) + 10) {
            let ip = "192.0.2.1".parse().unwrap();
            let announce = announce(1, port, 5, None);
            drive.swarms.handle_announce(drive.now, ip, &announce, Told::Both, 0);
        }
        assert_eq!(drive.swarms.held().peers, usize::from(per_network));
        for (torrent, port) in (2..=9).flat_map(|torrent| ports.clone().map(move |p| (torrent, p)))
        {
            let ip = "127.0.0.1".parse().unwrap();
            let announce = announce(torrent, port, 5, None);
            drive.swarms.handle_announce(drive.now, ip, &announce, Told::Both, 0);
        }
        drive.swarms.check();
        assert_eq!(drive.swarms.held().peers, limits::PEERS_TRACKED_MAX);
        // Who is known is still heard, and whoever asks is answered.
        let (peers, counts) = drive.announces("127.0.0.1", &announce(2, 1, 0, None));
        assert_eq!(counts[0], 1);
        assert_eq!(peers.split(' ').count(), limits::PEERS_GIVEN);
    }

    #[test]
    fn as_many_are_given_as_are_wanted() {
        let mut drive = Drive::new();
        for port in 1..=100 {
            drive.announces("127.0.0.1", &announce(1, port, 5, None));
        }
        for (wanted, given) in
            [(0, 0), (7, 7), (u32::MAX, limits::PEERS_GIVEN), (99, 99), (500, 99)]
        {
            let announce = Announce { wanted, ..announce(1, 1, 5, None) };
            let (peers, _) = drive.announces("127.0.0.1", &announce);
            let count = peers.split(' ').filter(|peer| !peer.is_empty()).count();
            assert_eq!(count, given, "{wanted}");
        }
    }
}
