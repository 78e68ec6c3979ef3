//! What a machine offers to the simulator, and what a distributed tracker offers to a scenario.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rondalla::formats::mainline::{Contact, Want};
use rondalla::machines::kademlia;
use rondalla::words::id::InfoHash;
use rondalla::words::rng::Rng;

/// A datagram to send.
pub(crate) struct Datagram {
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
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
    pub(crate) timeouts: u32,
    pub(crate) hops: u32,
    /// Until the first peer was found.
    pub(crate) first: Option<Duration>,
    pub(crate) took: Duration,
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
        Some(Datagram { to, bytes })
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
                    first: outcome.found_after,
                    took: outcome.took,
                };
                Some(Said::Ended(info_hash, report))
            }
            kademlia::News::Address(_) => None,
        }
    }
}

/// The table of a node that has been in a network for long: `nodes`, in a random order, offered one
/// after the other, so that each bucket has whom it can hold.
pub(crate) fn settle(node: &mut kademlia::Node, now: Instant, nodes: &[Contact]) {
    node.restore(now, nodes.iter().copied());
}
