//! What is due.

use crate::bus::{Order, ToStorage, TorrentEvent, TroubleKind};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::Stage;
use crate::machines::engine::{
    Engine, Phase, dials, ending, exchange, handlers, metadata, networks, trackers,
};
use crate::words::id::TorrentKey;
use crate::words::limits;

pub(in crate::machines::engine) fn handle_timer(engine: &mut Engine, timer: Timer) {
    match timer {
        Timer::Progress(torrent) => handle_progress_due(engine, torrent),
        Timer::Rotate(torrent) => handle_rotation_due(engine, torrent),
        Timer::Timeout(torrent) => handle_timeout_due(engine, torrent),
        Timer::Sought(torrent) => metadata::handle_sought_due(engine, torrent),
        Timer::Redial(torrent, contact) => {
            dials::enqueue(engine, torrent, contact);
            dials::dial_next(engine);
        }
        Timer::Dial => dials::handle_dial_due(engine),
        Timer::Look(torrent, network) => networks::handle_due(engine, torrent, network),
        Timer::Sweep(network) => networks::handle_sweep(engine, network),
        Timer::NetworksAgain => networks::handle_give_again(engine),
        Timer::Ask(peer) => exchange::fill(engine, peer),
        Timer::Tier(torrent, tier) => trackers::handle_due(engine, torrent, tier),
        Timer::Tiers(torrent) => trackers::handle_sweep(engine, torrent),
        Timer::Announces => trackers::give_some(engine),
        Timer::LeaveTrackers => trackers::handle_leave(engine),
        Timer::Retry => exchange::handle_retry(engine),
        Timer::GiveAgain => ending::handle_give_again(engine),
        Timer::Farewell => ending::handle_farewell(engine),
        Timer::LeavePeers => ending::handle_leave_peers(engine),
        Timer::Deadline => ending::end(engine),
    }
}

fn handle_progress_due(engine: &mut Engine, key: TorrentKey) {
    let now = engine.now;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if torrent.stage != Stage::Opening {
        let progress = torrent.progress(now);
        engine.tell(key, TorrentEvent::Progress(progress));
        handlers::storage::end_if_seeded(engine, key);
    }
    engine.start_timer(limits::PROGRESS_EVERY, Timer::Progress(key));
}

fn handle_rotation_due(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.choker.rotate();
    let ended = torrent.picker.end_leases(&mut engine.budget, &mut engine.steps);
    // Bound: limits::LEASES_ENDED_MAX
    for piece in ended {
        engine.order(Order::Storage(key, ToStorage::Forget(piece)));
    }
    exchange::apply_choking(engine, key);
    engine.start_timer(limits::ROTATE_EVERY, Timer::Rotate(key));
}

/// `--timeout` may have passed without a block; if one came, the timer runs on from there.
fn handle_timeout_due(engine: &mut Engine, key: TorrentKey) {
    let Some(timeout) = engine.settings.timeout else { return };
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    let waits = matches!(torrent.stage, Stage::Unknown | Stage::Downloading);
    if !waits || engine.phase != Phase::Running {
        return;
    }
    let until = torrent.meter.heard_at + timeout;
    if engine.now < until {
        engine.timers.start(until, Timer::Timeout(key));
        return;
    }
    if torrent.stage == Stage::Unknown {
        return metadata::handle_timeout(engine, key, timeout);
    }
    let seconds = timeout.as_secs();
    let why = match torrent.peers() {
        0 => format!(
            "no peer answered for {seconds} s; name one with --peer (-v says what became of it)"
        ),
        1 => format!("one peer is connected, but nothing arrived for {seconds} s"),
        n => format!("{n} peers are connected, but nothing arrived for {seconds} s"),
    };
    handlers::storage::give_up(engine, key, TroubleKind::Network, why);
}
