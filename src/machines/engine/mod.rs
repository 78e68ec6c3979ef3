//! The engine: everything that main decides.
//!
//! Notifications and the time come in, orders and events come out. Each call does a constant number
//! of steps, whatever the number of peers, pieces, torrents or bytes; a loop says what bounds it.
//!
//! The state is here, `torrent` and `peer` hold what one of each is, `exchange` asks and serves, and
//! `handlers` has one function for each kind of news.

mod announces;
mod bans;
mod contacts;
mod dials;
mod ending;
mod exchange;
mod fetch;
mod gossip;
mod greetings;
mod handlers;
mod metadata;
mod networks;
mod peer;
mod timers;
mod torrent;
mod trackers;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::bus::{Event, Fault, Notification, Order, ToStorage, TorrentEvent};
use crate::machines::budget::Budget;
use crate::words::id::{InfoHash, PeerId, PeerKey, SkeyHash, TorrentKey};
use crate::words::limits;
use crate::words::rng::Rng;
use crate::words::slab::Slab;
use crate::words::steps::Steps;

use announces::Announces;
use bans::Bans;
use dials::Dials;
use ending::Ending;
use exchange::Retries;
use greetings::Greetings;
use networks::Networks;
use peer::Peer;
use timers::{Timer, Timers};
use torrent::Torrent;
use trackers::Goodbyes;

/// What the user chose, for all torrents.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When the process is done.
    pub goal: Goal,
    /// Never be done before being told: more torrents may come.
    pub stay: bool,
    /// Whether we serve others.
    pub upload: bool,
    /// Whether there is a node of the ring to work with.
    pub chord: bool,
    /// Whether there is a node of Mainline to work with.
    pub mainline: bool,
    /// Whether there is somebody to speak to the local network.
    pub lan: bool,
    /// Whether peers are told whom we are connected to.
    pub pex: bool,
    /// Bytes that blocks may take until their pieces are written.
    pub memory: u64,
    /// Connections at once.
    pub peers_max: u32,
    /// Give up a torrent when nothing arrives for so long.
    pub timeout: Option<Duration>,
    /// Ask for the pieces in their order, not for the rarest first.
    pub sequential: bool,
    /// Seed a complete torrent no longer than until one of these is met.
    pub seed_until: SeedUntil,
}

/// When a complete torrent has been seeded enough; nothing set: never.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeedUntil {
    /// Uploaded bytes by the torrent's size.
    pub ratio: Option<f64>,
    /// Time since it was complete.
    pub time: Option<Duration>,
}

/// When a session is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// When every torrent is complete.
    Complete,
    /// When told so; but torrents are to become complete before.
    CompleteAndSeed,
    /// When told so; whatever is there is served.
    Seed,
}

/// The main thread's machine.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    peer_id: PeerId,
    now: Instant,
    rng: Rng,
    steps: Steps,
    torrents: Slab<Torrent>,
    by_info_hash: BTreeMap<InfoHash, TorrentKey>,
    /// The same, by the names that encrypted handshakes have for them.
    by_skey_hash: BTreeMap<SkeyHash, InfoHash>,
    peers: Slab<Peer>,
    budget: Budget,
    timers: Timers,
    retries: Retries,
    networks: Networks,
    announces: Announces,
    goodbyes: Goodbyes,
    dials: Dials,
    greetings: Greetings,
    /// Connections that were dialled or have shaken hands, until their last words.
    admitted: u32,
    /// Of these, the ones that dialled us.
    callers: u32,
    /// Where the last look ended for a peer with whom nothing moves.
    idle_cursor: u32,
    /// Who was hung up on for somebody who found no place, and is not gone.
    making_room: Option<PeerKey>,
    bans: Bans,
    /// Torrents that are neither complete nor given up.
    unfinished: u32,
    /// Torrents that are not given up.
    alive: u32,
    /// Torrents whose storage has not said its last word.
    unclosed: u32,
    phase: Phase,
    ending: Ending,
    /// Connections whose threads can be woken: all but those that are being dialled.
    connected: u32,
    /// Bytes that the metadata may come to hold that is being fetched, of all torrents.
    metadata_reserved: u64,
    /// Orders that the storage had no room for; at most a few a torrent.
    postponed: VecDeque<Order>,
    /// There was no room for the first of them again.
    refused_again: bool,
    orders: VecDeque<Order>,
    events: VecDeque<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Saying goodbye.
    Ending,
    Ended,
}

impl Engine {
    /// An engine without torrents. All its chance comes from `seed`.
    pub fn new(settings: Settings, peer_id: PeerId, seed: u64, now: Instant) -> Self {
        Self {
            peers: Slab::new(settings.peers_max.saturating_add(limits::PLACES_BESIDE_PEERS)),
            torrents: Slab::new(limits::TORRENTS_MAX),
            by_info_hash: BTreeMap::new(),
            by_skey_hash: BTreeMap::new(),
            budget: Budget::new(settings.memory),
            networks: Networks::new(settings.chord, settings.mainline, settings.lan),
            announces: Announces::default(),
            goodbyes: Goodbyes::default(),
            settings,
            peer_id,
            now,
            rng: Rng::new(seed),
            steps: Steps::new(),
            timers: Timers::default(),
            retries: Retries::default(),
            dials: Dials::default(),
            greetings: Greetings::default(),
            admitted: 0,
            callers: 0,
            idle_cursor: 0,
            making_room: None,
            bans: Bans::default(),
            unfinished: 0,
            alive: 0,
            unclosed: 0,
            phase: Phase::Running,
            ending: Ending::default(),
            connected: 0,
            metadata_reserved: 0,
            postponed: VecDeque::new(),
            refused_again: false,
            orders: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Instant, notification: Notification) {
        self.begin_turn(now);
        let concerned = match &notification {
            Notification::Peer(peer, _) => Some(*peer),
            Notification::Accepted { .. }
            | Notification::Storage(..)
            | Notification::Warning(_)
            | Notification::Clerk(..)
            | Notification::Chord(_)
            | Notification::Mainline(_)
            | Notification::Lan(_)
            | Notification::Entries(..)
            | Notification::Tracker(_)
            | Notification::Command(_) => None,
        };
        match notification {
            Notification::Peer(peer, news) => handlers::peer::handle_news(self, peer, news),
            Notification::Accepted { socket, address } => {
                handlers::meeting::handle_accepted(self, socket, address);
            }
            Notification::Storage(torrent, news) => {
                handlers::storage::handle_news(self, torrent, news);
            }
            Notification::Warning(message) => self.events.push_back(Event::Warning(message)),
            Notification::Clerk(torrent, news) => metadata::handle_news(self, torrent, news),
            Notification::Chord(news) => handlers::chord::handle_news(self, news),
            Notification::Mainline(news) => handlers::mainline::handle_news(self, news),
            Notification::Lan(neighbour) => handlers::lan::handle_neighbour(self, neighbour),
            Notification::Entries(network, nodes) => networks::enter(self, network, nodes),
            Notification::Tracker(news) => handlers::tracker::handle_news(self, news),
            Notification::Command(command) => handlers::command::handle_command(self, command),
        }
        self.end_turn(concerned);
    }

    /// The deadline of [`poll_deadline`](Self::poll_deadline) has come: handles one timer that is
    /// due.
    pub fn handle_time(&mut self, now: Instant) {
        self.begin_turn(now);
        if let Some(timer) = self.timers.pop_due(now) {
            handlers::clock::handle_timer(self, timer);
        }
        self.end_turn(None);
    }

    /// An order could not be given, because its actor is gone or does not keep up.
    pub fn handle_undelivered(&mut self, now: Instant, order: Order) {
        self.begin_turn(now);
        handlers::peer::handle_undelivered(self, order);
        self.end_turn(None);
    }

    /// The next order to give.
    pub fn poll_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// The next event to tell the user.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_time`](Self::handle_time) is to be called, if nothing happens before.
    pub fn poll_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The steps of the last turn.
    pub fn steps(&self) -> u32 {
        self.steps.taken()
    }

    /// Whether every torrent's storage has said its last word.
    pub fn is_closed(&self) -> bool {
        self.unclosed == 0
    }

    /// Whether everything is said and done.
    pub fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    fn begin_turn(&mut self, now: Instant) {
        self.now = now;
        self.steps = Steps::new();
    }

    fn end_turn(&mut self, concerned: Option<PeerKey>) {
        let steps = self.steps.taken();
        if steps as usize > limits::STEPS_MAX {
            debug_assert!(false, "a turn took {steps} steps");
            self.handle_overlong(concerned, steps);
        }
    }

    /// A turn took more steps than any may. That is our own fault; but the peer whose news led to it
    /// could make us do so again, and others would wait.
    fn handle_overlong(&mut self, concerned: Option<PeerKey>, steps: u32) {
        let (what, bound) = ("a turn of the main thread took", limits::STEPS_MAX);
        self.events.push_back(Event::Warning(format!("{what} {steps} steps, not {bound} at most")));
        if let Some(peer) = concerned {
            exchange::hang_up(self, peer, Fault::Theirs, "its news took too many steps");
        }
    }

    fn order(&mut self, order: Order) {
        let waits = match &order {
            // What is to be closed was opened before.
            Order::Storage(_, ToStorage::Store(..)) => false,
            Order::Storage(..) => !self.postponed.is_empty(),
            Order::Dial { .. }
            | Order::Ask { .. }
            | Order::Admit { .. }
            | Order::Refuse(_)
            | Order::Introduce { .. }
            | Order::Peer(..)
            | Order::HangUp(_)
            | Order::Reap(_)
            | Order::Clerk(..)
            | Order::Chord(_)
            | Order::Mainline(_)
            | Order::Lan(_)
            | Order::Usher(..)
            | Order::Tracker(_)
            | Order::End => false,
        };
        if waits { self.postponed.push_back(order) } else { self.orders.push_back(order) }
    }

    fn tell(&mut self, torrent: TorrentKey, event: TorrentEvent) {
        if let Some(torrent) = self.torrents.get(torrent.0) {
            self.events.push_back(Event::Torrent(torrent.info_hash(), event));
        }
    }

    fn start_timer(&mut self, after: Duration, timer: Timer) {
        self.timers.start(self.now + after, timer);
    }

    /// How many entries each table and queue has; O(everything), for tests.
    pub fn footprint(&self) -> BTreeMap<&'static str, usize> {
        let [banned, departed] = self.bans.len();
        let [to_dial, dialled] = self.dials.len();
        let [to_announce, announced] = self.announces.len();
        let mut footprint = BTreeMap::from([
            ("peers", self.peers.len() as usize),
            ("greetings", self.greetings.len() as usize),
            ("torrents", self.torrents.len() as usize + self.by_info_hash.len()),
            ("names of torrents", self.by_skey_hash.len()),
            ("waiting for memory", self.budget.waiting()),
            ("timers", self.timers.len()),
            ("retries", self.retries.len()),
            ("to dial", to_dial),
            ("dialled", dialled),
            ("to announce", to_announce),
            ("announced", announced),
            ("banned", banned),
            ("departed", departed),
            ("orders", self.orders.len() + self.postponed.len() + self.networks.postponed()),
            ("events", self.events.len()),
        ]);
        // Bound: none; for tests.
        for (_, torrent) in self.torrents.iter() {
            *footprint.entry("picker").or_default() += torrent.picker.footprint();
            *footprint.entry("choker").or_default() += torrent.choker.footprint();
            *footprint.entry("contacts").or_default() += torrent.contacts.len();
            let peers = torrent.peer_ids.len() + torrent.networks.len();
            *footprint.entry("peers of torrents").or_default() += peers;
        }
        // Bound: none; for tests.
        let talks = self.peers.iter().filter_map(|(_, peer)| match &peer.stage {
            peer::Stage::Talking(talk) => Some(talk.outstanding.len() + talk.answers.len()),
            peer::Stage::Dialling | peer::Stage::Greeting | peer::Stage::Leaving(..) => None,
        });
        // Bound: none; for tests.
        footprint.insert("blocks of peers", talks.sum());
        footprint
    }

    /// Asserts every invariant; O(everything), for tests.
    pub fn check(&self) {
        let size = self.settings.memory;
        let (mut reserved, mut metadata) = (0, 0);
        // Bound: none; for tests.
        for (key, torrent) in self.torrents.iter() {
            torrent.check();
            metadata += torrent.seek.as_ref().map_or(0, |seek| seek.fetch.reserved());
            // Bound: none; for tests.
            let talking = self.peers.iter().filter(|(_, peer)| {
                peer.network.is_some() && peer.torrent == Some(TorrentKey(key))
            });
            // Bound: none; for tests.
            assert_eq!(torrent.networks.values().sum::<u32>() as usize, talking.count());
            reserved += torrent.picker.reserved(size);
        }
        assert_eq!(self.metadata_reserved, metadata);
        assert_eq!(self.budget.reserved(), reserved, "the budget knows what is reserved");
        // Bound: none; for tests.
        let half_open = self.peers.iter().filter(|(_, peer)| peer.is_dialling()).count();
        assert_eq!(self.dials.half_open() as usize, half_open);
        // Bound: none; for tests.
        let connected = self.peers.iter().filter(|(_, peer)| peer.connected).count();
        assert_eq!(self.connected as usize, connected);
        // Bound: none; for tests.
        let admitted = self.peers.iter().filter(|(_, peer)| peer.admitted).count();
        assert_eq!(self.admitted as usize, admitted);
        assert!(self.admitted <= self.settings.peers_max);
        // Bound: none; for tests.
        let callers = self.peers.iter().filter(|(_, peer)| peer.is_caller()).count();
        assert_eq!(self.callers as usize, callers);
        // Bound: none; for tests.
        let greeting = self.peers.iter().filter(|(_, peer)| peer.is_greeting()).count();
        assert_eq!(self.greetings.len() as usize, greeting);
        assert!(self.greetings.len() <= limits::GREETINGS_MAX);
        self.announces.check();
        // Bound: none; for tests.
        self.peers.iter().for_each(|(_, peer)| peer.check());
    }
}

/// A peer that talks, with its torrent.
fn pair<'a>(
    peers: &'a mut Slab<Peer>,
    torrents: &'a mut Slab<Torrent>,
    peer: PeerKey,
) -> Option<(&'a mut Peer, &'a mut Torrent)> {
    let peer = peers.get_mut(peer.0)?;
    let torrent = torrents.get_mut(peer.torrent?.0)?;
    Some((peer, torrent))
}

#[cfg(test)]
mod tests;
