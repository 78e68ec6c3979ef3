//! How a session ends: hang up, let the storage sync and save, and wait for the peers no longer
//! than [`limits::ENDING_MAX`], nor for the storage once the user wants the end.

use std::time::Duration;

use crate::bus::{Fault, Order, ToStorage, TorrentEvent, Trouble, TroubleKind};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::Stage;
use crate::machines::engine::{Engine, Goal, Phase, exchange, metadata, networks, trackers};
use crate::words::id::{PeerKey, TorrentKey};
use crate::words::limits;

/// How far the goodbyes are: the next places of the tables of peers and torrents.
#[derive(Debug, Default)]
pub(super) struct Ending {
    next_peer: u32,
    next_torrent: u32,
    /// The user wants the end.
    is_ordered: bool,
    /// The peers are waited for no longer.
    without_peers: bool,
}

/// Begins to say goodbye.
pub(super) fn begin(engine: &mut Engine) {
    if engine.phase == Phase::Running {
        engine.phase = Phase::Ending;
        engine.dials.clear();
        networks::leave(engine);
        engine.start_timer(Duration::ZERO, Timer::Farewell);
        engine.start_timer(limits::trackers::STOPPED_MAX, Timer::LeaveTrackers);
        engine.start_timer(limits::ENDING_MAX, Timer::LeavePeers);
    }
}

/// The user wants the end, whatever has been begun: soon nobody is waited for.
pub(super) fn handle_quit(engine: &mut Engine) {
    begin(engine);
    if !engine.ending.is_ordered {
        engine.ending.is_ordered = true;
        engine.start_timer(limits::ENDING_MAX, Timer::Deadline);
    }
}

/// Whoever connects cannot be woken. The storage still has what is not synced, and a download that
/// ends by itself is not done before it is.
pub(super) fn handle_leave_peers(engine: &mut Engine) {
    engine.ending.without_peers = true;
    end_if_done(engine);
}

/// Says goodbye to the next peers and torrents, a bounded number of each.
pub(super) fn handle_farewell(engine: &mut Engine) {
    // Bound: limits::FAREWELLS_MAX
    for _ in 0..limits::FAREWELLS_MAX {
        engine.steps.step();
        let peer = engine.peers.at(engine.ending.next_peer).map(|(key, _)| PeerKey(key));
        engine.ending.next_peer += 1;
        if let Some(peer) = peer {
            exchange::hang_up(engine, peer, Fault::Ours, "the session ends");
        }
        let torrent = engine.torrents.at(engine.ending.next_torrent).map(|(key, _)| key);
        engine.ending.next_torrent += 1;
        if let Some(torrent) = torrent {
            close(engine, TorrentKey(torrent));
        }
    }
    if is_through(engine) {
        end_if_done(engine);
    } else {
        engine.start_timer(Duration::ZERO, Timer::Farewell);
    }
}

fn is_through(engine: &Engine) -> bool {
    engine.ending.next_peer >= engine.peers.places()
        && engine.ending.next_torrent >= engine.torrents.places()
}

fn close(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    if torrent.is_unfinished() && engine.settings.goal != Goal::Seed {
        let why = if torrent.stage == Stage::Unknown {
            format!("stopped before its metadata was here; tried: {}", metadata::tried(engine, key))
        } else {
            "stopped before it was complete; the same command resumes it".to_owned()
        };
        let what = torrent.context.metainfo.name().to_owned();
        let trouble = Trouble { kind: TroubleKind::Interrupted, what, why };
        engine.tell(key, TorrentEvent::Error(trouble));
    }
    trackers::leave(engine, key);
    engine.order(Order::Storage(key, ToStorage::Close));
}

/// Ends the session if everybody has said the last word.
pub(super) fn end_if_done(engine: &mut Engine) {
    let alone = engine.connected == 0 && !engine.networks.is_any_on();
    let done = engine.unclosed == 0 && is_through(engine) && trackers::have_heard(engine);
    let done = done && (alone || engine.ending.without_peers);
    if engine.phase == Phase::Ending && done {
        end(engine);
    }
}

/// Ends the session, whoever has not answered.
pub(super) fn end(engine: &mut Engine) {
    if engine.phase != Phase::Ended {
        engine.phase = Phase::Ended;
        engine.order(Order::End);
    }
}

/// The storage had no room for `order`: it is given again, before whatever waits behind it.
pub(super) fn give_again(engine: &mut Engine, order: Order) {
    if engine.postponed.is_empty() {
        engine.start_timer(limits::RETRY_DELAY, Timer::GiveAgain);
    } else {
        engine.refused_again = true;
    }
    engine.postponed.push_front(order);
}

/// Gives the next of the postponed orders: one a turn, since the next may only follow when it is
/// known that this one was taken. A torrent must not be closed before it is opened.
pub(super) fn handle_give_again(engine: &mut Engine) {
    let wait = std::mem::take(&mut engine.refused_again);
    if !wait && let Some(order) = engine.postponed.pop_front() {
        engine.orders.push_back(order);
    }
    if !engine.postponed.is_empty() {
        let delay = if wait { limits::RETRY_DELAY } else { Duration::ZERO };
        engine.start_timer(delay, Timer::GiveAgain);
    }
}
