//! What a machine offers to the simulator, and what a distributed tracker offers to a scenario.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::formats::mainline::Want;
use rondalla::machines::{chord, kademlia};
use rondalla::words::id::InfoHash;
use rondalla::words::rng::Rng;

/// A datagram to send.
pub(crate) struct Datagram {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    /// It leaves from another port than all others do.
    pub(crate) aside: bool,
}

/// A machine that speaks in datagrams.
pub(crate) trait Machine {
    type News;

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]);
    fn handle_time(&mut self, now: Instant);
    fn poll_deadline(&self) -> Option<Instant>;
    fn poll_transmit(&mut self) -> Option<Datagram>;
    fn poll_news(&mut self) -> Option<Self::News>;
    /// Asserts the machine's invariants.
    fn check(&self);
}

/// A node of a distributed tracker.
pub(crate) trait Tracker: Machine {
    /// Its name in tables.
    const NAME: &'static str;

    /// A node at `address` that has not joined. It is to join through `entry_points`.
    fn start(address: SocketAddr, seed: u64, now: Instant) -> Self;
    fn join(&mut self, now: Instant, entry_points: &[SocketAddr]);
    fn lookup(&mut self, now: Instant, info_hash: InfoHash);
    fn announce(&mut self, now: Instant, info_hash: InfoHash, port: u16);
    /// What it holds for others.
    fn entries(&self) -> Vec<(InfoHash, SocketAddr)>;
    /// What news says in words that all trackers share.
    fn read(news: Self::News) -> Option<Said>;
}

/// What a node says.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// It takes part.
    Joined,
    Found(InfoHash, Vec<SocketAddr>),
    Ended(InfoHash, Report),
}

/// How a lookup or an announcement went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) requests: u32,
    /// Those until the first peer was found, if that is known.
    pub(crate) requests_first: Option<u32>,
    pub(crate) timeouts: u32,
    pub(crate) hops: u32,
    /// Until the first peer was found.
    pub(crate) first: Option<Duration>,
    pub(crate) took: Duration,
    /// Whose the torrent is, in a ring.
    pub(crate) responsible: Option<SocketAddr>,
}

impl Machine for kademlia::Node {
    type News = kademlia::News;

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.handle_datagram(now, from, bytes);
    }

    fn handle_time(&mut self, now: Instant) {
        self.handle_time(now);
    }

    fn poll_deadline(&self) -> Option<Instant> {
        Some(self.poll_deadline())
    }

    fn poll_transmit(&mut self) -> Option<Datagram> {
        let kademlia::Transmit { to, bytes } = self.poll_transmit()?;
        Some(Datagram { to, bytes, aside: false })
    }

    fn poll_news(&mut self) -> Option<kademlia::News> {
        self.poll_news()
    }

    fn check(&self) {
        self.check();
    }
}

impl Tracker for kademlia::Node {
    const NAME: &'static str = "Kademlia";

    fn start(address: SocketAddr, seed: u64, now: Instant) -> Self {
        let mut secret = [0; 20];
        let mut rng = Rng::new(seed);
        rng.fill(&mut secret);
        let families = Want { v4: address.is_ipv4(), v6: address.is_ipv6() };
        // It has been here before, so that it knows its id and need not move.
        let id = rondalla::words::node_id::NodeId::random_for(address.ip(), &mut rng);
        let settings =
            kademlia::Settings { families, ids: [Some(id), Some(id)], read_only: false, secret };
        Self::new(settings, rng.next_u64(), now)
    }

    fn join(&mut self, now: Instant, entry_points: &[SocketAddr]) {
        self.join(now, entry_points);
    }

    fn lookup(&mut self, now: Instant, info_hash: InfoHash) {
        assert!(self.lookup(now, info_hash), "a lookup fits");
    }

    fn announce(&mut self, now: Instant, info_hash: InfoHash, port: u16) {
        assert!(self.announce(now, info_hash, Some(port)), "an announcement fits");
    }

    fn entries(&self) -> Vec<(InfoHash, SocketAddr)> {
        self.entries().collect()
    }

    fn read(news: kademlia::News) -> Option<Said> {
        match news {
            kademlia::News::Joined => Some(Said::Joined),
            kademlia::News::Found(info_hash, peers) => Some(Said::Found(info_hash, peers)),
            kademlia::News::Ended(info_hash, outcome) => {
                let report = Report {
                    requests: outcome.queries + outcome.told,
                    timeouts: outcome.silences,
                    hops: outcome.hops.unwrap_or_default(),
                    requests_first: outcome.queries_first,
                    first: outcome.found_after,
                    took: outcome.took,
                    responsible: None,
                };
                Some(Said::Ended(info_hash, report))
            }
            kademlia::News::Address(_) => None,
        }
    }
}

impl Machine for chord::Node {
    type News = chord::News;

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.handle_datagram(now, from, bytes);
    }

    fn handle_time(&mut self, now: Instant) {
        self.handle_time(now);
    }

    fn poll_deadline(&self) -> Option<Instant> {
        self.poll_deadline()
    }

    fn poll_transmit(&mut self) -> Option<Datagram> {
        let chord::Transmit { to, bytes, aside } = self.poll_transmit()?;
        Some(Datagram { to, bytes, aside })
    }

    fn poll_news(&mut self) -> Option<chord::News> {
        self.poll_news()
    }

    fn check(&self) {
        self.check();
    }
}

impl Tracker for chord::Node {
    const NAME: &'static str = "Chord";

    fn start(address: SocketAddr, seed: u64, now: Instant) -> Self {
        Self::new(chord::Settings::default(), address, seed, now)
    }

    fn join(&mut self, now: Instant, entry_points: &[SocketAddr]) {
        self.join(now, entry_points);
    }

    fn lookup(&mut self, now: Instant, info_hash: InfoHash) {
        self.lookup(now, info_hash);
    }

    fn announce(&mut self, now: Instant, info_hash: InfoHash, port: u16) {
        self.announce(now, info_hash, port, true);
    }

    fn entries(&self) -> Vec<(InfoHash, SocketAddr)> {
        self.entries().collect()
    }

    fn read(news: chord::News) -> Option<Said> {
        match news {
            chord::News::Joined(_) => Some(Said::Joined),
            chord::News::Found(info_hash, sharers) => {
                let peers = sharers.into_iter().map(|sharer| sharer.address).collect();
                Some(Said::Found(info_hash, peers))
            }
            chord::News::Finished(info_hash, report) => {
                let report = Report {
                    requests: report.requests,
                    timeouts: report.timeouts,
                    hops: report.hops,
                    requests_first: report.requests_first,
                    first: report.first_found,
                    took: report.took,
                    responsible: report.responsible,
                };
                Some(Said::Ended(info_hash, report))
            }
            chord::News::Client
            | chord::News::Alone
            | chord::News::PlaceTaken
            | chord::News::Dropped(_)
            | chord::News::Left
            | chord::News::Member(_)
            | chord::News::Walked { .. } => None,
        }
    }
}
