//! A node of Mainline, BitTorrent's public DHT (BEP 5), as a machine.
//!
//! Datagrams and the time come in; datagrams, news and a deadline come out. The node keeps a
//! `table` of others, walks towards a place in a `search`, and holds in its `store` what others
//! announced near its id. One node serves both address families, each with an id and a table of its
//! own (BEP 32). `answers` has what others ask of us, `lookups` what we ask of them.
//!
//! Everything is bounded: tables, stored peers, queries in flight, what any source may ask and what
//! all may be answered. Nobody gets into a table who has not answered a query of ours.
//!
//! The methods are sorted by direction: `handle_*` takes in, orders come from above, `poll_*` gives
//! out. After each call of the first two kinds, whoever drives the node empties
//! [`poll_transmit`](Node::poll_transmit) and [`poll_news`](Node::poll_news) and asks for the next
//! [`poll_deadline`](Node::poll_deadline).

mod answers;
mod calls;
mod limiter;
mod lookups;
mod reach;
mod search;
mod store;
mod table;
mod tokens;
mod votes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::formats::mainline::{Body, Contact, Datagram, DatagramError, Query, Want};
use crate::words::address::{fold, is_local};
use crate::words::id::InfoHash;
use crate::words::limits::mainline as limits;
use crate::words::node_id::NodeId;
use crate::words::rng::Rng;

use calls::{Call, Calls, Expired, Purpose};
use limiter::Limiter;
use lookups::Lookup;
use reach::Reach;
use store::Store;
use table::Table;
use tokens::Tokens;
use votes::Votes;

pub use lookups::Outcome;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The families of which it has a socket.
    pub families: Want,
    /// The ids that it had before, of IPv4 and IPv6; else it takes any.
    pub ids: [Option<NodeId>; 2],
    /// It asks and does not answer (BEP 43): because others cannot reach it, or for one question.
    pub read_only: bool,
    /// From this, tokens and transactions are made: nobody else may know it.
    pub secret: [u8; 20],
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// What whoever started the node wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Others share the torrent: at most [`FOUND_MAX`](limits::FOUND_MAX) that were not named yet
    /// in this lookup.
    Found(InfoHash, Vec<SocketAddr>),
    /// A lookup or an announcement is over.
    Ended(InfoHash, Outcome),
    /// The node has found its neighbours.
    Joined,
    /// Others see us at this address.
    Address(IpAddr),
}

/// A node of Mainline.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    rng: Rng,
    homes: [Option<Home>; 2],
    calls: Calls,
    lookups: BTreeMap<u32, Lookup>,
    lookups_begun: u32,
    /// Torrents to look up when there is room.
    waiting: VecDeque<InfoHash>,
    announced: BTreeMap<InfoHash, Announced>,
    /// When each of them is due again.
    due: BTreeSet<(Instant, InfoHash)>,
    limiter: Limiter,
    reach: Reach,
    tokens: Tokens,
    entry_points: Vec<SocketAddr>,
    /// Nodes that asked us something, to be asked whether they are there.
    newcomers: VecDeque<(Instant, Contact)>,
    next_upkeep: Instant,
    transmits: VecDeque<Transmit>,
    news: VecDeque<News>,
}

/// What the node is in one family.
#[derive(Debug)]
struct Home {
    table: Table,
    store: Store,
    votes: Votes,
    /// When it looks for its own neighbours next.
    next_self_lookup: Instant,
    /// Time between two of them: short at first, when neighbours are still coming, then longer.
    self_lookup_every: Duration,
    has_joined: bool,
}

#[derive(Clone, Copy, Debug)]
struct Announced {
    /// The port on which we serve; `None`: the one from which we ask.
    port: Option<u16>,
    due: Instant,
}

/// The place of an address's family among [`Node::homes`].
fn family(address: SocketAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// The network that an address belongs to: its first 24 bits, or 48 of IPv6.
fn subnet(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (!0 << 80)).into(),
    }
}

/// Who is behind an address: of IPv6, everybody has 64 bits of it.
fn host(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (!0 << 64)).into(),
    }
}

impl Node {
    /// A node that knows nobody. All its chance comes from `seed`, all its secrets from
    /// [`Settings::secret`].
    pub fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let of = [settings.families.v4, settings.families.v6];
        let homes = std::array::from_fn(|at| {
            let id = settings.ids[at].unwrap_or_else(|| NodeId::random(&mut rng));
            of[at].then(|| Home {
                table: Table::new(id, now),
                store: Store::new(id),
                votes: Votes::default(),
                next_self_lookup: now,
                self_lookup_every: limits::SELF_LOOKUP_START,
                has_joined: false,
            })
        });
        Self {
            rng,
            homes,
            calls: Calls::new(settings.secret),
            lookups: BTreeMap::new(),
            lookups_begun: 0,
            waiting: VecDeque::new(),
            announced: BTreeMap::new(),
            due: BTreeSet::new(),
            limiter: Limiter::new(now),
            reach: Reach::new(now),
            tokens: Tokens::new(settings.secret, now),
            entry_points: Vec::new(),
            newcomers: VecDeque::new(),
            next_upkeep: now,
            transmits: VecDeque::new(),
            news: VecDeque::new(),
            settings,
        }
    }

    // ------------------------------------------------------------------------------ Getters ---

    /// The node's id in the family of IPv4 or IPv6, if it has a socket of it.
    pub fn id(&self, is_v6: bool) -> Option<NodeId> {
        self.homes[usize::from(is_v6)].as_ref().map(|home| home.table.own())
    }

    /// Every node of its tables: what is worth keeping for the next run.
    pub fn contacts(&self) -> impl Iterator<Item = Contact> {
        self.homes.iter().flatten().flat_map(|home| home.table.contacts())
    }

    /// The peers that others announced to it.
    pub fn entries(&self) -> impl Iterator<Item = (InfoHash, SocketAddr)> {
        self.homes.iter().flatten().flat_map(|home| home.store.entries())
    }

    /// The address at which others see it, when enough of them agree.
    pub fn address(&self, is_v6: bool) -> Option<IpAddr> {
        self.homes[usize::from(is_v6)].as_ref()?.votes.believed()
    }

    // ------------------------------------------------------------------------- What comes in ---

    /// A datagram has come from `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let from = fold(from);
        if from.port() == 0 || self.homes[family(from)].is_none() {
            return;
        }
        let datagram = match Datagram::parse(bytes) {
            Ok(datagram) => datagram,
            Err(DatagramError::InvalidQuery(transaction, key)) => {
                self.refuse(now, from, transaction, key);
                return;
            }
            Err(_) => return,
        };
        let Datagram { transaction, read_only, your_address, body } = datagram;
        match body {
            Body::Query(id, query) => {
                self.handle_query(
                    now,
                    Contact { id, address: from },
                    transaction,
                    query,
                    read_only,
                );
            }
            Body::Reply(reply) => {
                if let Some(call) = self.calls.take(now, from, transaction) {
                    self.handle_reply(now, call, reply, your_address);
                }
            }
            // Who answers with an error is there, but of no use for what was asked.
            Body::Error(..) => {
                if let Some(call) = self.calls.take(now, from, transaction) {
                    self.give_up(now, call);
                }
            }
        }
        self.pump(now);
    }

    /// The deadline has come.
    pub fn handle_time(&mut self, now: Instant) {
        while let Some((call, expired)) = self.calls.poll_expired(now) {
            if expired == Expired::Lost
                && let Some(id) = call.expected
                && let Some(home) = &mut self.homes[family(call.to)]
            {
                home.table.handle_silence(Contact { id, address: call.to }, now);
            }
            self.give_up(now, call);
        }
        if self.next_upkeep <= now {
            self.keep_up(now);
        }
        self.pump(now);
    }

    // -------------------------------------------------------------------------------- Orders ---

    /// Takes part: asks `entry_points` for its neighbours, now and whenever it knows nobody. Those
    /// that were named before are asked after them.
    pub fn join(&mut self, now: Instant, entry_points: &[SocketAddr]) {
        let before = std::mem::take(&mut self.entry_points);
        for address in entry_points.iter().map(|address| fold(*address)).chain(before) {
            let is_new = address.port() != 0 && !self.entry_points.contains(&address);
            if is_new && self.entry_points.len() < limits::ENTRY_POINTS_MAX {
                self.entry_points.push(address);
            }
        }
        self.next_upkeep = now;
        for home in self.homes.iter_mut().flatten() {
            home.next_self_lookup = now;
        }
        self.handle_time(now);
    }

    /// Knows again who was in its tables in an earlier run.
    pub fn restore(&mut self, now: Instant, contacts: impl IntoIterator<Item = Contact>) {
        for contact in contacts {
            if let Some(home) = &mut self.homes[family(contact.address)] {
                home.table.restore(contact, now);
            }
        }
    }

    /// A peer says that its node is here (`PORT`, BEP 5).
    pub fn hear_of(&mut self, now: Instant, address: SocketAddr) {
        let address = fold(address);
        if address.port() != 0 && !self.calls.is_full() && self.homes[family(address)].is_some() {
            self.call(now, address, None, Purpose::Ping, Query::Ping);
        }
    }

    /// Looks for peers that share the torrent. False: too many are waited for.
    pub fn lookup(&mut self, now: Instant, info_hash: InfoHash) -> bool {
        if !self.waiting.contains(&info_hash) {
            if self.waiting.len() >= limits::LOOKUPS_WAITING_MAX {
                return false;
            }
            self.waiting.push_back(info_hash);
        }
        self.pump(now);
        true
    }

    /// Announces now, and again every quarter of an hour, that we share the torrent on `port`, or on
    /// the port from which this node asks. Peers that are found on the way are news. False: too many
    /// torrents are announced.
    pub fn announce(&mut self, now: Instant, info_hash: InfoHash, port: Option<u16>) -> bool {
        self.withdraw(info_hash);
        if self.announced.len() >= limits::ANNOUNCED_MAX {
            return false;
        }
        self.announced.insert(info_hash, Announced { port, due: now });
        self.due.insert((now, info_hash));
        self.start_due(now);
        self.pump(now);
        true
    }

    /// Announces the torrent no longer. What was announced is forgotten by itself.
    pub fn withdraw(&mut self, info_hash: InfoHash) {
        if let Some(announced) = self.announced.remove(&info_hash) {
            self.due.remove(&(announced.due, info_hash));
        }
    }

    // ------------------------------------------------------------------------ What comes out ---

    /// When [`handle_time`](Self::handle_time) is to be called.
    pub fn poll_deadline(&self) -> Instant {
        let call = self.calls.poll_deadline().unwrap_or(self.next_upkeep);
        call.min(self.next_upkeep)
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next news.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Asserts what holds between calls.
    pub fn check(&self) {
        for home in self.homes.iter().flatten() {
            home.table.check();
            home.store.check();
            assert_eq!(home.table.own(), home.store.own(), "the node has one id a family");
        }
        self.calls.check();
        self.limiter.check();
        self.reach.check();
        self.lookups.values().for_each(Lookup::check);
        assert!(self.lookups.len() <= limits::LOOKUPS_MAX);
        assert!(self.waiting.len() <= limits::LOOKUPS_WAITING_MAX);
        assert!(self.newcomers.len() <= limits::NEWCOMERS_MAX);
        assert_eq!(self.announced.len(), self.due.len(), "every announcement is due once");
    }

    // -------------------------------------------------------------------------------- Upkeep ---

    /// What is done now and then, a little each time.
    fn keep_up(&mut self, now: Instant) {
        let jitter = limits::UPKEEP_EVERY.mul_f64(f64::from(self.rng.below(1000)) / 1000.0);
        self.next_upkeep = now + limits::UPKEEP_EVERY / 2 + jitter;
        self.start_due(now);
        for at in 0..self.homes.len() {
            let Some(home) = &mut self.homes[at] else { continue };
            home.store.expire(now);
            let place = if home.next_self_lookup <= now {
                if home.table.len() > 0 {
                    let every = 2 * home.self_lookup_every;
                    home.self_lookup_every = every.min(limits::SELF_LOOKUP_EVERY);
                }
                home.next_self_lookup = now + home.self_lookup_every;
                Some(home.table.own())
            } else {
                home.table.poll_refresh(now, &mut self.rng)
            };
            if let Some(place) = place {
                self.look_for_nodes(now, at, place);
            }
        }
        while let Some((due, contact)) = self.newcomers.front().copied()
            && due <= now
            && !self.calls.is_full()
        {
            self.newcomers.pop_front();
            self.call(now, contact.address, Some(contact.id), Purpose::Ping, Query::Ping);
        }
    }

    /// Another address means another id (BEP 42): an id that the old one proved is worth nothing.
    fn move_to(&mut self, now: Instant, ip: IpAddr) {
        self.news.push_back(News::Address(ip));
        let Some(home) = &mut self.homes[usize::from(ip.is_ipv6())] else { return };
        if !is_local(ip) && !home.table.own().is_valid_for(ip) {
            let id = NodeId::random_for(ip, &mut self.rng);
            home.table.rename(id, now);
            home.store.rename(id);
            home.next_self_lookup = now;
            home.self_lookup_every = limits::SELF_LOOKUP_START;
            self.next_upkeep = now;
        }
    }

    /// Makes all announcements due: whoever had not joined told nobody.
    fn announce_again(&mut self, now: Instant) {
        for (_, info_hash) in std::mem::take(&mut self.due) {
            if let Some(announced) = self.announced.get_mut(&info_hash) {
                announced.due = now;
                self.due.insert((now, info_hash));
            }
        }
        self.start_due(now);
    }

    fn call(
        &mut self,
        now: Instant,
        to: SocketAddr,
        expected: Option<NodeId>,
        purpose: Purpose,
        query: Query,
    ) {
        let Some(home) = &self.homes[family(to)] else { return };
        let transaction = self.calls.place(now, to, expected, purpose);
        let body = Body::Query(home.table.own(), query);
        let read_only = self.is_read_only(now, to);
        let datagram = Datagram { transaction, read_only, your_address: None, body };
        if !is_local(to.ip()) {
            self.reach.handle_asked(now, to);
        }
        self.transmits.push_back(Transmit { to, bytes: datagram.emit() });
    }

    /// Whether `to` is not to ask us: since we were started so, or since others on the Internet cannot.
    fn is_read_only(&mut self, now: Instant, to: SocketAddr) -> bool {
        self.settings.read_only || !is_local(to.ip()) && !self.reach.is_open(now)
    }

    fn give_up(&mut self, now: Instant, call: Call) {
        if let Purpose::Lookup(number) = call.purpose {
            self.handle_silence(now, number, call.to);
        }
    }

    /// The next time at which something is due that is due `every` so often.
    fn later(&mut self, now: Instant, every: Duration) -> Instant {
        // A fifth more or less, so that what began together does not stay together.
        let share = f64::from(800 + self.rng.below(401)) / 1000.0;
        now + every.mul_f64(share)
    }
}

#[cfg(test)]
mod tests;
