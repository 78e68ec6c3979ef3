//! Whom to dial, and when.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::bus::{Fault, Order};
use crate::machines::engine::peer::{Peer, Stage};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::{Engine, Phase};
use crate::words::id::{Key, PeerKey, TorrentKey};
use crate::words::limits;

/// The queue of those to dial. A contact is in here once, or dialled, or connected, or waits for
/// its timer.
#[derive(Debug, Default)]
pub(super) struct Dials {
    queue: VecDeque<(TorrentKey, Key)>,
    half_open: u32,
}

impl Dials {
    /// Connections that are being made.
    pub(super) fn half_open(&self) -> u32 {
        self.half_open
    }

    /// One of them is made, or failed.
    pub(super) fn handle_over(&mut self) {
        self.half_open -= 1;
    }

    /// Nobody is dialled any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

/// A contact is to be dialled.
pub(super) fn enqueue(engine: &mut Engine, torrent: TorrentKey, contact: Key) {
    engine.dials.queue.push_back((torrent, contact));
}

/// Dials the next in the queue, as far as limits allow.
pub(super) fn dial_next(engine: &mut Engine) {
    // Bound: limits::DIALS_MAX
    while engine.phase == Phase::Running
        && engine.dials.half_open < limits::DIALS_MAX
        && engine.peers.len() < engine.settings.peers_max
    {
        engine.steps.step();
        let Some((key, contact)) = engine.dials.queue.pop_front() else { return };
        dial(engine, key, contact);
    }
}

fn dial(engine: &mut Engine, key: TorrentKey, contact: Key) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    let Some(to) = torrent.contacts.get(contact).map(|contact| contact.address.clone()) else {
        return;
    };
    let context = Arc::clone(&torrent.context);
    let peer = Peer {
        torrent: Some(key),
        contact: Some(contact),
        listens_at: None,
        socket: None,
        stage: Stage::Dialling,
        connected: false,
        address: to.to_string(),
        client: String::new(),
        retrying: false,
    };
    let peer = engine.peers.insert(peer).expect("the table was not full");
    engine.dials.half_open += 1;
    engine.order(Order::Dial { peer: PeerKey(peer), to, torrent: key, context });
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
    if let Some(delay) = torrent.contacts.handle_over(contact, fault, useful) {
        engine.start_timer(delay, Timer::Redial(key, contact));
    }
}
