//! Local service discovery (BEP 14) as a machine: what we say in the local network, how often, and
//! whom we hear.
//!
//! One datagram a minute at most, each torrent at most every five minutes, the one whose turn is
//! longest ago first. What comes back to us we know by a cookie; of others, torrents that we do not
//! share are nothing to us. Anybody in the network can forge an announcement: what it costs us is
//! bounded here, and whom it names is dialled as any peer that strangers name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bus::Neighbour;
use crate::formats::lsd::{Announcement, Cookie};
use crate::words::id::InfoHash;
use crate::words::limits::lan as limits;
use crate::words::rng::Rng;

/// What we say of ourselves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where we take connections.
    pub port: u16,
    /// The port of our node of the ring, if others can ask it.
    pub chord: Option<u16>,
}

/// Our part in local service discovery.
#[derive(Debug)]
pub struct Lan {
    settings: Settings,
    cookie: Cookie,
    /// When each torrent may be announced again.
    shared: BTreeMap<InfoHash, Instant>,
    due: BTreeSet<(Instant, InfoHash)>,
    /// No datagram before.
    next: Instant,
    /// What was heard weighs until then.
    heard_until: Instant,
    announcements: VecDeque<Announcement>,
    news: VecDeque<Neighbour>,
}

impl Lan {
    /// It shares nothing yet. Its cookie comes from `seed`.
    pub fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        let cookie = format!("rondalla-{:016x}", Rng::new(seed).next_u64());
        Self {
            settings,
            cookie: Cookie(cookie.into()),
            shared: BTreeMap::new(),
            due: BTreeSet::new(),
            next: now,
            heard_until: now,
            announcements: VecDeque::new(),
            news: VecDeque::new(),
        }
    }

    /// A datagram has come to one of the groups.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(heard) = Announcement::parse(bytes) else { return };
        if heard.cookie.as_ref() == Some(&self.cookie) {
            return;
        }
        let at = |port| {
            let mut address = from;
            address.set_port(port);
            address
        };
        for info_hash in heard.info_hashes.iter().filter(|hash| self.shared.contains_key(hash)) {
            let until = self.heard_until.max(now) + Duration::from_secs(1) / limits::HEARD_A_SECOND;
            if until > now + limits::HEARD_BURST {
                return;
            }
            self.heard_until = until;
            self.news.push_back(Neighbour {
                info_hash: *info_hash,
                address: at(heard.port),
                chord: heard.chord.map(at),
            });
        }
    }

    /// The deadline has come: says what is due, as far as one datagram holds it.
    pub fn handle_time(&mut self, now: Instant) {
        if self.poll_deadline().is_none_or(|due| now < due) {
            return;
        }
        let mut info_hashes = Vec::new();
        while let Some((due, info_hash)) = self.due.first().copied()
            && due <= now
            && info_hashes.len() < limits::HASHES_MAX
        {
            self.due.pop_first();
            self.plan(info_hash, now + limits::ANNOUNCE_EVERY);
            info_hashes.push(info_hash);
        }
        self.next = now + limits::DATAGRAM_EVERY;
        self.announcements.push_back(Announcement {
            port: self.settings.port,
            info_hashes,
            cookie: Some(self.cookie.clone()),
            chord: self.settings.chord,
        });
    }

    /// We share this torrent from now on.
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash) {
        if !self.shared.contains_key(&info_hash) && self.shared.len() < limits::SHARED_MAX {
            // Torrents that are added together are announced together.
            self.plan(info_hash, now + limits::ANNOUNCE_AFTER);
        }
    }

    /// We share it no longer.
    pub fn withdraw(&mut self, info_hash: InfoHash) {
        if let Some(due) = self.shared.remove(&info_hash) {
            self.due.remove(&(due, info_hash));
        }
    }

    /// When [`handle_time`](Self::handle_time) is to be called, if ever.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| (*due).max(self.next))
    }

    /// The next announcement to send, to both groups.
    pub fn poll_announcement(&mut self) -> Option<Announcement> {
        self.announcements.pop_front()
    }

    /// The next neighbour that was heard.
    pub fn poll_news(&mut self) -> Option<Neighbour> {
        self.news.pop_front()
    }

    fn plan(&mut self, info_hash: InfoHash, due: Instant) {
        self.shared.insert(info_hash, due);
        self.due.insert((due, info_hash));
    }

    /// Asserts every invariant.
    #[cfg(test)]
    fn check(&self) {
        assert!(self.shared.len() <= limits::SHARED_MAX);
        let due: BTreeSet<_> = self.shared.iter().map(|(hash, due)| (*due, *hash)).collect();
        assert_eq!(self.due, due, "each torrent has one turn");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::lsd::{GROUP_V4, PORT};
    use crate::machines::made_up;

    const SECOND: Duration = Duration::from_secs(1);

    fn lan(seed: u64) -> (Lan, Instant) {
        let start = made_up::start();
        (Lan::new(Settings { port: 6881, chord: Some(6882) }, seed, start), start)
    }

    fn hash(n: u32) -> InfoHash {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        InfoHash(hash)
    }

    fn bytes(announcement: &Announcement) -> Vec<u8> {
        announcement.emit((GROUP_V4, PORT).into())
    }

    /// What is said in so many seconds: when, and of which torrents.
    fn said(lan: &mut Lan, start: Instant, seconds: u64) -> Vec<(u64, Vec<InfoHash>)> {
        let mut said = Vec::new();
        for second in 0..seconds {
            lan.handle_time(start + Duration::from_secs(second));
            lan.check();
            while let Some(announcement) = lan.poll_announcement() {
                said.push((second, announcement.info_hashes));
            }
        }
        said
    }

    #[test]
    fn a_torrent_is_announced_every_five_minutes() {
        let (mut lan, start) = lan(1);
        lan.announce(start, hash(1));
        lan.announce(start, hash(1));
        let times: Vec<_> = said(&mut lan, start, 1000).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, [1, 301, 601, 901]);
        lan.withdraw(hash(1));
        lan.check();
        assert_eq!(lan.poll_deadline(), None);
    }

    #[test]
    fn many_torrents_take_turns_in_one_datagram_a_minute() {
        let (mut lan, start) = lan(1);
        (0..100).for_each(|n| lan.announce(start, hash(n)));
        let said = said(&mut lan, start, 3600);
        let gaps: Vec<_> = said.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|gap| *gap >= 60), "{gaps:?}");
        let mut last = BTreeMap::new();
        for (at, hashes) in said {
            assert!(hashes.len() <= limits::HASHES_MAX);
            for hash in hashes {
                if let Some(before) = last.insert(hash, at) {
                    assert!(at - before >= 300);
                }
            }
        }
        assert_eq!(last.len(), 100);
        assert!(last.values().all(|at| *at > 3000), "each has its turn");
    }

    #[test]
    fn a_neighbour_is_heard_and_leads_into_the_ring_and_we_do_not_hear_ourselves() {
        let (mut ours, start) = lan(1);
        let (mut theirs, _) = lan(2);
        for lan in [&mut ours, &mut theirs] {
            lan.announce(start, hash(1));
            lan.handle_time(start + SECOND);
        }
        let from = "192.168.1.7:40000".parse().unwrap();
        let own = bytes(&ours.poll_announcement().unwrap());
        ours.handle_datagram(start, from, &own);
        assert_eq!(ours.poll_news(), None);
        theirs.handle_datagram(start, from, &own);
        let neighbour = Neighbour {
            info_hash: hash(1),
            address: "192.168.1.7:6881".parse().unwrap(),
            chord: Some("192.168.1.7:6882".parse().unwrap()),
        };
        assert_eq!(theirs.poll_news(), Some(neighbour));
        theirs.withdraw(hash(1));
        theirs.handle_datagram(start, from, &own);
        assert_eq!(theirs.poll_news(), None, "it is nothing to us");
    }

    #[test]
    fn of_a_flood_of_forgeries_a_few_are_heard() {
        let (mut lan, start) = lan(1);
        lan.announce(start, hash(1));
        let mut heard = 0;
        for n in 0..100_000_u32 {
            let [a, b, c, d] = n.to_be_bytes();
            let forged = Announcement {
                port: 80,
                info_hashes: vec![hash(1); limits::HASHES_MAX],
                cookie: None,
                chord: None,
            };
            let from = SocketAddr::from(([10, b, c, d], u16::from(a) + 1));
            lan.handle_datagram(start, from, &bytes(&forged));
            heard += std::iter::from_fn(|| lan.poll_news()).count();
        }
        let burst = limits::HEARD_BURST.as_secs() * u64::from(limits::HEARD_A_SECOND);
        assert_eq!(heard as u64, burst);
        for garbage in [&b""[..], b"BT-SEARCH * HTTP/1.1", &[0xff; 1500]] {
            lan.handle_datagram(start + 100 * SECOND, "10.0.0.1:1".parse().unwrap(), garbage);
        }
        assert_eq!(lan.poll_news(), None);
    }
}
