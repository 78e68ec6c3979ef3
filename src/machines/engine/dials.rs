//! Whom to dial, and when.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bus::{Fault, Order};
use crate::formats::web_seed::WebSeed;
use crate::machines::engine::contacts::Way;
use crate::machines::engine::handlers::meeting;
use crate::machines::engine::peer::{Peer, Stage};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::{Engine, Phase, torrent};
use crate::words::id::{Key, PeerKey, TorrentKey};
use crate::words::limits;

const SECOND: Duration = Duration::from_secs(1);

/// Whose turn it is to dial. A contact waits in its torrent once, or is dialled, or connected, or
/// waits for its timer. Torrents take turns; which of its contacts comes first a torrent knows.
#[derive(Debug, Default)]
pub(super) struct Dials {
    /// The torrents that have contacts that wait, each once.
    queue: VecDeque<TorrentKey>,
    half_open: u32,
    /// When the last dials began, at most [`limits::DIALS_A_SECOND`] of them.
    begun: VecDeque<Instant>,
    timer_runs: bool,
}

impl Dials {
    /// Connections that are being made.
    pub(super) fn half_open(&self) -> u32 {
        self.half_open
    }

    /// The torrents that wait, and the dials that began within a second.
    pub(super) fn len(&self) -> [usize; 2] {
        [self.queue.len(), self.begun.len()]
    }

    /// One of them is made, or failed.
    pub(super) fn handle_over(&mut self) {
        self.half_open -= 1;
    }

    /// When the next may begin, if that is later than `now`.
    fn waits_until(&mut self, now: Instant) -> Option<Instant> {
        // Bound: limits::DIALS_A_SECOND
        while self.begun.front().is_some_and(|begun| *begun + SECOND <= now) {
            self.begun.pop_front();
        }
        let earliest = self.begun.front().map(|begun| *begun + SECOND);
        earliest.filter(|_| self.begun.len() >= limits::DIALS_A_SECOND)
    }

    /// Nobody is dialled any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

/// Somebody is said to share a torrent at `address`: whoever is not known is dialled when the torrent
/// is open. Of a torrent that turned out to be private (BEP 27) a network may still answer what it was
/// asked before: only its trackers are heard.
pub(super) fn handle_found(
    engine: &mut Engine,
    key: TorrentKey,
    address: SocketAddr,
    seeder: bool,
    way: Way,
) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let of_use = match torrent.stage {
        torrent::Stage::Unknown | torrent::Stage::Opening | torrent::Stage::Downloading => true,
        torrent::Stage::Complete => !seeder,
        torrent::Stage::GivenUp | torrent::Stage::Seeded => false,
    };
    let private = torrent.context.metainfo.private() && way != Way::Tracker;
    if !of_use || private || engine.networks.is_ours(address) {
        return;
    }
    let begun = torrent.dials_begun;
    let own = engine.networks.own(address.is_ipv6());
    if let Some(contact) = torrent.contacts.find(address, way, own)
        && begun
    {
        enqueue(engine, key, contact);
    }
}

/// A contact is to be dialled.
pub(super) fn enqueue(engine: &mut Engine, torrent: TorrentKey, contact: Key) {
    let Some(known) = engine.torrents.get_mut(torrent.0) else { return };
    let is_v6 = known.contacts.get(contact).is_some_and(|contact| contact.is_v6());
    known.contacts.wait(contact, engine.networks.own(is_v6));
    if !std::mem::replace(&mut known.contacts.is_queued, true) {
        engine.dials.queue.push_back(torrent);
    }
}

/// Dials the next in the queue, as far as limits allow. Who greets us takes no place from those who
/// are dialled.
pub(super) fn dial_next(engine: &mut Engine) {
    // Bound: limits::DIALS_A_SECOND
    for _ in 0..limits::DIALS_A_SECOND {
        if !may_dial(engine) || engine.dials.waits_until(engine.now).is_some() {
            break;
        }
        engine.steps.step();
        let Some(key) = engine.dials.queue.pop_front() else { return };
        let Some(torrent) = engine.torrents.get_mut(key.0) else { continue };
        let next = torrent.contacts.poll_next();
        torrent.contacts.is_queued = torrent.contacts.has_waiting();
        if torrent.contacts.is_queued {
            engine.dials.queue.push_back(key);
        }
        if let Some(contact) = next {
            dial(engine, key, contact);
        }
    }
    // Some in the queue need not be dialled any more, and are passed over in turns of their own.
    if may_dial(engine) && !std::mem::replace(&mut engine.dials.timer_runs, true) {
        let at = engine.dials.waits_until(engine.now).unwrap_or(engine.now);
        engine.timers.start(at, Timer::Dial);
    }
}

/// Whether somebody can be dialled now. If only a place is missing, one is made.
fn may_dial(engine: &mut Engine) -> bool {
    let wanted = engine.phase == Phase::Running
        && !engine.dials.queue.is_empty()
        && engine.dials.half_open < limits::DIALS_MAX;
    let has_place = meeting::has_place(engine, false);
    if wanted && !has_place {
        meeting::make_room(engine, false);
    }
    wanted && has_place && !engine.peers.is_full()
}

/// The timer of [`dial_next`].
pub(super) fn handle_dial_due(engine: &mut Engine) {
    engine.dials.timer_runs = false;
    dial_next(engine);
}

fn dial(engine: &mut Engine, key: TorrentKey, contact: Key) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let Some(known) = torrent.contacts.get(contact) else { return };
    let (to, web_seed) = (known.address.clone(), known.web_seed.clone());
    if torrent.contacts.has_called(contact) {
        return engine.start_timer(limits::REDIAL_DELAY_MAX, Timer::Redial(key, contact));
    }
    // A server wants nothing that we have.
    if web_seed.is_some() && torrent.stage != torrent::Stage::Downloading {
        return;
    }
    if let Some(seek) = &mut torrent.seek {
        seek.dialled += 1;
    }
    let context = Arc::clone(&torrent.context);
    let peer = Peer {
        torrent: Some(key),
        contact: Some(contact),
        listens_at: None,
        told_way: false,
        socket: None,
        stage: Stage::Dialling,
        connected: false,
        admitted: true,
        network: None,
        address: web_seed.as_ref().map_or_else(|| to.to_string(), WebSeed::to_string),
        client: String::new(),
        retrying: None,
    };
    let peer = engine.peers.insert(peer).expect("the table was not full");
    engine.dials.half_open += 1;
    engine.dials.begun.push_back(engine.now);
    engine.admitted += 1;
    let (peer, torrent) = (PeerKey(peer), key);
    engine.order(match web_seed {
        Some(seed) => Order::Ask { peer, seed, torrent, context },
        None => Order::Dial { peer, to, torrent, context },
    });
}

/// Whether no connection to a contact has failed yet: the user is told once.
pub(super) fn is_first_failure(engine: &Engine, key: TorrentKey, contact: Key) -> bool {
    let torrent = engine.torrents.get(key.0);
    let contact = torrent.and_then(|torrent| torrent.contacts.get(contact));
    contact.is_some_and(|contact| contact.named && contact.failures == 0)
}

/// The connection to a contact is over: it is dialled again after a while, the longer the more
/// often it was of no use.
pub(super) fn handle_over(
    engine: &mut Engine,
    key: TorrentKey,
    contact: Key,
    fault: Fault,
    useful: bool,
) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let was_web_seed = torrent.contacts.web_seed(contact).is_some();
    if let Some(delay) = torrent.contacts.handle_over(contact, fault, useful) {
        engine.start_timer(delay, Timer::Redial(key, contact));
    } else if was_web_seed && let Some(next) = torrent.contacts.insert_web_seed() {
        enqueue(engine, key, next);
    }
}
