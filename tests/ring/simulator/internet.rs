//! The network between the members: how long a datagram takes, and whether it comes.
//!
//! # Round trips
//!
//! The model resembles the King measurements (Gummadi et al., IMW 2002; the matrix of 1,740 name
//! servers that p2psim made of them), which simulations of DHTs use. Each host has a place in a
//! rectangle of 180 × 90 ms and an access line whose delay is log-normal (median 10 ms, σ = 1: most
//! lines are quick, some very slow). The round trip of two hosts is the distance of their places and
//! both access delays, times a factor of the pair (log-normal, σ = 0.25: routes are not straight).
//! Scaled to its median, the 10th percentile is half of it, the 90th twice, the 99th thrice, and a
//! quarter of all triangles have a side that is longer than the way round it; `tests/ring.rs` asserts
//! it. A datagram takes half a round trip and a jitter, exponential with a mean of 2 % of it.
//!
//! # What goes wrong
//!
//! Each [`Weather`] says which share of datagrams is lost, comes twice, or is overtaken by later ones;
//! which share of *pairs* never reach each other (Freedman et al., WORLDS 2005: 2.3 % on PlanetLab),
//! or reach each other one way only. Sides part the network; a host behind a [`Nat`] is reached
//! by those whom it asked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rondalla::words::rng::Rng;

use super::nat::{Nat, NatKind};

/// A host of the network; the numbers go up from 0.
pub(crate) type HostId = usize;

/// What goes wrong with datagrams, in shares of 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The median round trip of two hosts.
    pub(crate) median: Duration,
    /// Datagrams that get lost.
    pub(crate) loss: f64,
    /// Datagrams that come twice.
    pub(crate) twice: f64,
    /// Datagrams that take a detour of up to four round trips, and are overtaken.
    pub(crate) detours: f64,
    /// Pairs of which one hears the other and not the other way round.
    pub(crate) one_way: f64,
    /// Pairs that do not hear each other.
    pub(crate) apart: f64,
}

impl Weather {
    /// Nothing goes wrong.
    pub(crate) fn fair() -> Self {
        let median = Duration::from_millis(100);
        Self { median, loss: 0.0, twice: 0.0, detours: 0.0, one_way: 0.0, apart: 0.0 }
    }

    /// A bad day.
    pub(crate) fn foul() -> Self {
        let fair = Self::fair();
        Self { loss: 0.05, twice: 0.01, detours: 0.02, one_way: 0.01, apart: 0.02, ..fair }
    }
}

/// Where the hosts' addresses lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// Global ones, each host in a /16 chosen at random.
    Global,
    /// One laboratory: 10.0.0.0/8.
    Laboratory,
}

pub(crate) struct Internet {
    pub(crate) weather: Weather,
    addresses: Addresses,
    hosts: Vec<Host>,
    by_ip: BTreeMap<IpAddr, HostId>,
    rng: Rng,
    seed: u64,
}

struct Host {
    place: (f64, f64),
    access: f64,
    address: SocketAddr,
    nat: Option<Nat>,
    side: u32,
}

/// What becomes of a datagram.
pub(crate) struct Passage {
    /// From where it seems to come.
    pub(crate) from: SocketAddr,
    /// When it arrives, and when once more.
    pub(crate) arrivals: [Option<Duration>; 2],
}

/// The median of the model in ms, before it is scaled.
const MEDIAN: f64 = 98.0;

impl Internet {
    pub(crate) fn new(weather: Weather, addresses: Addresses, seed: u64) -> Self {
        let rng = Rng::new(seed);
        Self { weather, addresses, hosts: Vec::new(), by_ip: BTreeMap::new(), rng, seed }
    }

    /// Another host, behind a router of this kind or none.
    pub(crate) fn add_host(&mut self, nat: Option<NatKind>) -> HostId {
        let id = self.hosts.len();
        let ip = loop {
            let ip = self.some_ip(id);
            if !self.by_ip.contains_key(&ip) {
                break ip;
            }
        };
        self.by_ip.insert(ip, id);
        let place = (self.unit() * 180.0, self.unit() * 90.0);
        let normal = self.normal();
        self.hosts.push(Host {
            place,
            access: 10.0 * normal.exp(),
            address: SocketAddr::new(ip, 6881),
            nat: nat.map(Nat::new),
            side: 0,
        });
        id
    }

    fn some_ip(&mut self, id: HostId) -> IpAddr {
        let id = u32::try_from(id).expect("there are fewer hosts than addresses");
        match self.addresses {
            Addresses::Laboratory => Ipv4Addr::from_bits(0x0a00_0001 + id).into(),
            // 11.0.0.0 to 99.255.255.255 has no address that means something else.
            Addresses::Global => {
                let ip = (11 << 24) + self.rng.below(89 << 24);
                Ipv4Addr::from_bits(ip).into()
            }
        }
    }

    pub(crate) fn address(&self, host: HostId) -> SocketAddr {
        self.hosts[host].address
    }

    pub(crate) fn host_at(&self, address: SocketAddr) -> Option<HostId> {
        self.by_ip.get(&address.ip()).copied()
    }

    /// Whether the host of an address is behind a router that keeps others out.
    pub(crate) fn is_behind_router(&self, address: SocketAddr) -> bool {
        self.host_at(address).is_some_and(|host| self.hosts[host].nat.is_some())
    }

    /// Puts a host on one side of a partition: only those of one side hear one another.
    pub(crate) fn set_side(&mut self, host: HostId, side: u32) {
        self.hosts[host].side = side;
    }

    /// The network is whole again.
    pub(crate) fn heal(&mut self) {
        self.hosts.iter_mut().for_each(|host| host.side = 0);
    }

    /// The round trip of two hosts, without jitter.
    pub(crate) fn round_trip(&self, a: HostId, b: HostId) -> Duration {
        let (one, other) = (&self.hosts[a], &self.hosts[b]);
        let (dx, dy) = (one.place.0 - other.place.0, one.place.1 - other.place.1);
        let straight = dx.hypot(dy) + one.access + other.access;
        let route = (0.25 * normal(|n| unit(self.pair(a, b, n)))).exp();
        self.weather.median.mul_f64(straight * route / MEDIAN)
    }

    /// `host` sends a datagram now.
    pub(crate) fn send(&mut self, now: Duration, host: HostId, to: SocketAddr) -> Passage {
        let sender = &mut self.hosts[host];
        let from = match &mut sender.nat {
            None => sender.address,
            Some(nat) => SocketAddr::new(sender.address.ip(), nat.leave(now, to)),
        };
        let mut arrivals = [None, None];
        if let Some(other) = self.host_at(to).filter(|other| self.are_joined(host, *other)) {
            let first = self.delay(host, other);
            let lost = self.chance(self.weather.loss);
            arrivals[0] = (!lost).then_some(first);
            if self.chance(self.weather.twice) {
                arrivals[1] = Some(self.delay(host, other));
            }
        }
        Passage { from, arrivals }
    }

    /// A datagram reaches the address `to`. Gives the host that hears it.
    pub(crate) fn deliver(
        &self,
        now: Duration,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<HostId> {
        let id = self.host_at(to)?;
        let host = &self.hosts[id];
        let is_open = match &host.nat {
            None => host.address == to,
            Some(nat) => nat.admits(now, from, to.port()),
        };
        is_open.then_some(id)
    }

    fn delay(&mut self, from: HostId, to: HostId) -> Duration {
        let round_trip = self.round_trip(from, to);
        let jitter = -0.02 * (1.0 - self.unit()).ln();
        let detour = match self.chance(self.weather.detours) {
            true => 4.0 * self.unit(),
            false => 0.0,
        };
        round_trip.mul_f64(0.5 + jitter + detour)
    }

    /// Whether what `from` sends can reach `to` at all.
    fn are_joined(&self, from: HostId, to: HostId) -> bool {
        let draw = unit(self.pair(from, to, 100));
        // Of the pairs that hear each other one way only, this is the way.
        let way = (self.pair(from, to, 101) & 1 == 0) == (from < to);
        let Weather { one_way, apart, .. } = self.weather;
        let hears = draw >= apart && (draw >= apart + one_way || way);
        from == to || hears && self.hosts[from].side == self.hosts[to].side
    }

    /// A number that belongs to a pair, whoever is named first.
    fn pair(&self, a: HostId, b: HostId, what: u64) -> u64 {
        let (low, high) = (a.min(b) as u64, a.max(b) as u64);
        let mut number = self.seed ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for part in [low, high] {
            // The finalizer of splitmix64.
            number = (number ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
            number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            number ^= number >> 31;
        }
        number
    }

    fn unit(&mut self) -> f64 {
        unit(self.rng.next_u64())
    }

    fn normal(&mut self) -> f64 {
        normal(|_| unit(self.rng.next_u64()))
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }
}

/// A number from 0 to 1.
pub(crate) fn unit(number: u64) -> f64 {
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number that is nearly normal: the sum of four even ones, scaled.
fn normal(mut unit: impl FnMut(u64) -> f64) -> f64 {
    let sum: f64 = (0..4).map(&mut unit).sum();
    (sum - 2.0) * 3_f64.sqrt()
}
