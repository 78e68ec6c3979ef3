//! What the engine wants of the ring: that others find its torrents there, and it finds others.
//!
//! The node keeps what is announced alive by itself; when to look for more peers is decided here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::bus::{Order, ToChord};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::Stage;
use crate::machines::engine::{Engine, Phase};
use crate::words::id::TorrentKey;
use crate::words::limits;

/// Our node, as the engine knows it.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// There is a node, and it has not said its last word.
    pub(super) on: bool,
    /// Where we take connections.
    pub(super) port: Option<u16>,
    /// Where others see our nodes, of IPv4 and of IPv6.
    own: [Option<SocketAddr>; 2],
    /// Whether the user was told that nobody answers.
    pub(super) told_alone: bool,
    /// Others cannot reach our node, nor presumably us.
    pub(super) hidden: bool,
    /// The orders for which the reactor had no room: at most two a torrent, and a few more.
    postponed: VecDeque<ToChord>,
    /// The next place of the table of torrents to be looked at since the node joined.
    sweep: u32,
}

impl Ring {
    pub(super) fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    /// Others see our node at `address`.
    pub(super) fn handle_own(&mut self, address: SocketAddr) {
        self.own[usize::from(address.is_ipv6())] = Some(address);
    }

    /// Whether `address` is where we take connections ourselves.
    pub(super) fn is_ours(&self, address: SocketAddr) -> bool {
        let own = self.own[usize::from(address.is_ipv6())];
        own.is_some_and(|own| own.ip() == address.ip()) && self.port == Some(address.port())
    }
}

/// A torrent on the ring.
#[derive(Debug, Default)]
pub(super) struct OnRing {
    /// When to look at it again; a timer that was started for an earlier time is passed over.
    due: Option<Instant>,
    /// What was announced: whether we have all of it.
    announced: Option<bool>,
    /// Lookups since there were enough peers.
    lookups: u32,
}

/// Looks at a torrent on the ring `after` so long, whatever was planned before.
pub(super) fn look_after(engine: &mut Engine, key: TorrentKey, after: Duration) {
    if !engine.ring.on {
        return;
    }
    let due = engine.now + after;
    if let Some(torrent) = engine.torrents.get_mut(key.0) {
        torrent.on_ring.due = Some(due);
        engine.timers.start(due, Timer::Ring(key));
    }
}

/// The node has joined: what was looked up before found nothing.
pub(super) fn handle_joined(engine: &mut Engine) {
    engine.ring.sweep = 0;
    engine.start_timer(Duration::ZERO, Timer::RingSweep);
}

/// Looks at the next torrents, a bounded number of them.
pub(super) fn handle_sweep(engine: &mut Engine) {
    // Bound: limits::SWEEP_MAX
    for _ in 0..limits::SWEEP_MAX {
        engine.steps.step();
        if engine.ring.sweep >= engine.torrents.places() {
            return;
        }
        let torrent = engine.torrents.at(engine.ring.sweep).map(|(key, _)| TorrentKey(key));
        engine.ring.sweep += 1;
        if let Some(torrent) = torrent {
            look_after(engine, torrent, Duration::ZERO);
        }
    }
    engine.start_timer(Duration::ZERO, Timer::RingSweep);
}

/// Announces what is new about a torrent, and looks for peers.
pub(super) fn handle_due(engine: &mut Engine, key: TorrentKey) {
    let now = engine.now;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if torrent.on_ring.due.is_none_or(|due| now < due) {
        return;
    }
    torrent.on_ring.due = None;
    let given = engine.ring.on && !torrent.context.metainfo.private();
    if !given || engine.phase != Phase::Running {
        return;
    }
    let info_hash = torrent.info_hash();
    let unknown = torrent.context.is_unknown();
    let seeder = !unknown && torrent.good() == torrent.context.metainfo.pieces();
    let shared = match torrent.stage {
        // Whoever has the metadata may dial us, where we cannot dial them.
        Stage::Unknown | Stage::Downloading | Stage::Complete => engine.settings.upload,
        Stage::GivenUp => engine.settings.upload && !unknown,
        Stage::Opening | Stage::Seeded => false,
    };
    let announce = engine.ring.port.filter(|_| shared);
    let announced = announce.map(|_| seeder);
    if torrent.on_ring.announced != announced {
        torrent.on_ring.announced = announced;
        engine.orders.push_back(Order::Chord(match announce {
            Some(port) => ToChord::Announce { info_hash, port, seeder },
            None => ToChord::Withdraw(info_hash),
        }));
    }
    if matches!(torrent.stage, Stage::GivenUp | Stage::Seeded) {
        return;
    }
    engine.orders.push_back(Order::Chord(ToChord::Lookup(info_hash)));
    let hungry = torrent.is_unfinished() && torrent.peers() < limits::PEERS_ENOUGH;
    torrent.on_ring.lookups = if hungry { torrent.on_ring.lookups + 1 } else { 0 };
    let delay = match (torrent.is_unfinished(), hungry) {
        (_, true) => limits::LOOKUP_DELAY * (1 << torrent.on_ring.lookups.min(16)),
        (true, false) => limits::LOOKUP_EVERY,
        (false, false) if engine.ring.hidden => limits::LOOKUP_EVERY_HIDDEN,
        (false, false) => limits::LOOKUP_EVERY_SEEDING,
    };
    look_after(engine, key, delay.min(limits::LOOKUP_EVERY_SEEDING));
}

/// A torrent turns out to be private: nobody on the ring is to know of it.
pub(super) fn withdraw(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.on_ring.due = None;
    if torrent.on_ring.announced.take().is_some() {
        let order = ToChord::Withdraw(torrent.context.metainfo.info_hash());
        engine.orders.push_back(Order::Chord(order));
    }
}

/// A peer says that a node of the ring is at `address`.
pub(super) fn handle_way(engine: &mut Engine, address: SocketAddr) {
    if engine.ring.on {
        engine.orders.push_back(Order::Chord(ToChord::Join(vec![address])));
    }
}

/// The reactor has no room for `order`: it is given again.
pub(super) fn handle_undelivered(engine: &mut Engine, order: ToChord) {
    // Another way into the ring will come; everything else there is once.
    if matches!(order, ToChord::Join(_)) && !engine.ring.postponed.is_empty() {
        return;
    }
    if engine.ring.postponed.is_empty() {
        engine.start_timer(limits::RETRY_DELAY, Timer::RingAgain);
    }
    engine.ring.postponed.push_back(order);
}

/// Gives some of the postponed orders again.
pub(super) fn handle_give_again(engine: &mut Engine) {
    // Bound: limits::RETRIES_MAX
    for _ in 0..limits::RETRIES_MAX {
        engine.steps.step();
        let Some(order) = engine.ring.postponed.pop_front() else { return };
        engine.orders.push_back(Order::Chord(order));
    }
    if !engine.ring.postponed.is_empty() {
        engine.start_timer(limits::RETRY_DELAY, Timer::RingAgain);
    }
}

/// Says goodbye to the ring.
pub(super) fn leave(engine: &mut Engine) {
    if engine.ring.on {
        engine.ring.postponed.clear();
        engine.orders.push_back(Order::Chord(ToChord::Leave));
    }
}
