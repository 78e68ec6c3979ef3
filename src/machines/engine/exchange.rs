//! Asking peers for blocks, and serving theirs.

use std::collections::BTreeMap;

use crate::bus::{Farewell, Fault, Order, ToPeer, ToStorage};
use crate::machines::choker::Change;
use crate::machines::engine::peer::Stage;
use crate::machines::engine::timers::Timer;
use crate::machines::engine::{Engine, metadata, pair, torrent};
use crate::machines::outstanding::Askers;
use crate::machines::picker::{Pick, Turn};
use crate::words::id::{Block, PeerKey, TorrentKey};
use crate::words::limits;

/// The peers for which there was nothing to ask, to be tried again when that may have changed.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// By ticket, the one that came first before all others.
    queue: BTreeMap<u64, PeerKey>,
    tickets: u64,
    /// How many of them are to be tried now.
    due: usize,
    timer_runs: bool,
    /// The place of the torrent that is to give up a piece, if others wait for memory.
    next_torrent: u32,
}

/// Asks `key` for as many blocks as its pipeline has room for: at most [`limits::PICKS_MAX`]
/// ranges, so a pipeline grows with the answers.
pub(super) fn fill(engine: &mut Engine, key: PeerKey) {
    // Bound: limits::PICKS_MAX
    for _ in 0..limits::PICKS_MAX {
        let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else {
            return;
        };
        match torrent.stage {
            torrent::Stage::Downloading => {}
            // It dialled us before we knew what is there: it is tried when we do.
            torrent::Stage::Opening => return retry_later(engine, key),
            torrent::Stage::Unknown
            | torrent::Stage::Complete
            | torrent::Stage::Seeded
            | torrent::Stage::GivenUp => return,
        }
        let (Some(at), Some(talk)) = (peer.torrent, peer.talk()) else { return };
        let outstanding = u32::try_from(talk.outstanding.len()).unwrap_or(u32::MAX);
        let room = talk.pipeline.saturating_sub(outstanding);
        let batch = (talk.pipeline / 4).clamp(1, limits::RANGE_MAX);
        // In the endgame a peer that is busy has nothing to win by asking for more.
        let endgame = torrent.picker.is_endgame(&talk.place);
        let busy = endgame && outstanding >= limits::ENDGAME_PIPELINE;
        if room < batch || busy || !talk.has_room() {
            return;
        }
        if talk.ask_after.is_some_and(|after| engine.now < after) {
            // Who has stalled has a timer of its own.
            if talk.stalls == 0 {
                retry_later(engine, key);
                arm_retries(engine);
            }
            return;
        }
        let was_all_asked = torrent.picker.is_all_asked();
        let (theirs, room) = (&talk.shared.theirs, room.min(limits::RANGE_MAX));
        let (now, rng) = (engine.now, &mut engine.rng);
        let (budget, steps) = (&mut engine.budget, &mut engine.steps);
        let mut turn = Turn { now, torrent: at, budget, rng, steps };
        let pick = if talk.unchoked {
            torrent.picker.pick(&mut talk.place, theirs, room, &mut turn)
        } else if talk.allowed_by_it.is_empty() {
            return;
        } else {
            let pieces = &talk.allowed_by_it;
            torrent.picker.pick_of(pieces, &mut talk.place, theirs, room, &mut turn)
        };
        match pick {
            Pick::Range(range) => {
                let metainfo = &torrent.context.metainfo;
                let blocks = (0..range.count).map(|n| metainfo.block(range.piece, range.first + n));
                // Bound: limits::RANGE_MAX
                talk.outstanding.extend(blocks);
                engine.steps.turns(range.count as usize);
                talk.shared.credit.grant(range.count);
                talk.owed = (talk.owed + range.count).min(limits::CREDIT_MAX);
                talk.tell(&mut engine.orders, key, ToPeer::Request(range));
                // From now on there is something to ask of everyone.
                if !was_all_asked && torrent.picker.is_all_asked() {
                    arm_retries(engine);
                }
            }
            Pick::Forgo(piece) => {
                engine.order(Order::Storage(at, ToStorage::Forget(piece)));
                // When it is forgotten, those that wait are tried again.
                return retry_later(engine, key);
            }
            Pick::Later => {
                retry_later(engine, key);
                return arm_retries(engine);
            }
            Pick::Nothing if !talk.unchoked => return,
            Pick::Nothing => return retry_later(engine, key),
        }
    }
}

/// `key` owes blocks and sends none: it is left alone, each time longer until it sends one.
pub(super) fn leave_alone(engine: &mut Engine, key: PeerKey) {
    let Some(talk) = engine.peers.get_mut(key.0).and_then(|peer| peer.talk()) else { return };
    // One pause, and one timer, for all that it does not send meanwhile.
    if talk.stalls > 0 && talk.ask_after.is_some_and(|after| engine.now < after) {
        return;
    }
    let pause = limits::PAUSE * 4_u32.pow(talk.stalls.min(limits::STALLS_COUNTED));
    talk.stalls = talk.stalls.saturating_add(1);
    talk.ask_after = Some(engine.now + pause);
    engine.start_timer(pause, Timer::Ask(key));
}

/// Puts `key` at the end of the queue of those to try again.
pub(super) fn retry_later(engine: &mut Engine, key: PeerKey) {
    let Some(peer) = engine.peers.get_mut(key.0) else { return };
    if peer.retrying.is_none() {
        engine.retries.tickets += 1;
        peer.retrying = Some(engine.retries.tickets);
        engine.retries.queue.insert(engine.retries.tickets, key);
    }
}

impl Retries {
    /// The peers that wait.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The peer with this ticket is gone.
    pub(super) fn handle_gone(&mut self, ticket: u64) {
        self.queue.remove(&ticket);
    }
}

/// Something may be asked for that was not there before: everyone in the queue is tried again,
/// some at a time.
pub(super) fn arm_retries(engine: &mut Engine) {
    engine.retries.due = engine.retries.queue.len();
    if engine.retries.due > 0 && !std::mem::replace(&mut engine.retries.timer_runs, true) {
        engine.start_timer(limits::RETRY_DELAY, Timer::Retry);
    }
}

/// The timer of [`arm_retries`].
pub(super) fn handle_retry(engine: &mut Engine) {
    engine.retries.timer_runs = false;
    let due = engine.retries.due;
    retry_some(engine, limits::RETRIES_MAX);
    // What was put back by this very turn waits for the next.
    engine.retries.due = due.saturating_sub(limits::RETRIES_MAX);
    if engine.retries.queue.is_empty() {
        engine.retries.due = 0;
    }
    if engine.retries.due > 0 && !std::mem::replace(&mut engine.retries.timer_runs, true) {
        engine.start_timer(limits::RETRY_DELAY, Timer::Retry);
    }
}

/// Tries up to `count` of those in the queue again, and before them the torrent that has waited
/// longest for memory.
pub(super) fn retry_some(engine: &mut Engine, count: usize) {
    if let Some(key) = engine.budget.first_waiting() {
        fill(engine, key);
        if engine.budget.handle_tried() {
            forgo_elsewhere(engine);
        }
    }
    // Bound: limits::RETRIES_MAX
    for _ in 0..count.min(engine.retries.queue.len()) {
        engine.steps.step();
        let Some((_, key)) = engine.retries.queue.pop_first() else { return };
        if let Some(peer) = engine.peers.get_mut(key.0) {
            peer.retrying = None;
            fill(engine, key);
        }
    }
}

/// A torrent waits for memory, and others may hold some for pieces that nobody sends: the next of
/// them gives one up.
fn forgo_elsewhere(engine: &mut Engine) {
    let retries = &mut engine.retries;
    retries.next_torrent = (retries.next_torrent + 1) % engine.torrents.places().max(1);
    let Some((key, _)) = engine.torrents.at(retries.next_torrent) else { return };
    let Some(torrent) = engine.torrents.get_mut(key) else { return };
    let (now, rng) = (engine.now, &mut engine.rng);
    let (budget, steps) = (&mut engine.budget, &mut engine.steps);
    let mut turn = Turn { now, torrent: TorrentKey(key), budget, rng, steps };
    if torrent.stage == torrent::Stage::Downloading
        && let Pick::Forgo(piece) = torrent.picker.forgo(&mut turn)
    {
        engine.order(Order::Storage(TorrentKey(key), ToStorage::Forget(piece)));
    }
}

/// What `key` was asked for is to be asked of others.
pub(super) fn put_back(engine: &mut Engine, key: PeerKey) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(talk) = peer.talk_or_last() else { return };
    if talk.outstanding.is_empty() {
        return;
    }
    // Bound: limits::PIPELINE_MAX
    while let Some(block) = talk.outstanding.pop_front() {
        engine.steps.step();
        torrent.picker.put_back(block, key);
    }
    arm_retries(engine);
}

/// `key` goes, or sends nothing: the piece that it alone was asked for is another's to send.
pub(super) fn abandon(engine: &mut Engine, key: PeerKey) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let (Some(at), Some(talk)) = (peer.torrent, peer.talk_or_last()) else { return };
    if !talk.place.has_lease() {
        return;
    }
    let (budget, steps) = (&mut engine.budget, &mut engine.steps);
    if let Some(piece) = torrent.picker.abandon(&mut talk.place, budget, steps) {
        engine.order(Order::Storage(at, ToStorage::Forget(piece)));
    }
    arm_retries(engine);
}

/// `block` is here: whoever else was asked for it need not send it.
pub(super) fn cancel(engine: &mut Engine, block: Block, askers: Askers, sender: PeerKey) {
    // Bound: limits::DUPLICATES_MAX
    for key in askers.iter().filter(|key| *key != sender) {
        engine.steps.step();
        let Some(talk) = engine.peers.get_mut(key.0).and_then(|peer| peer.talk()) else { continue };
        if talk.tick_off(block, &mut engine.steps) && talk.has_room() {
            talk.tell(&mut engine.orders, key, ToPeer::Cancel(block));
        }
    }
}

/// Passes on to the writer of `key` what it asked us for, as far as there is room.
pub(super) fn serve(engine: &mut Engine, key: PeerKey) {
    let Some(talk) = engine.peers.get_mut(key.0).and_then(|peer| peer.talk()) else { return };
    // Bound: limits::OUTBOX_MAX
    while talk.unperformed < limits::UPLOADS_ORDERED_MAX {
        engine.steps.step();
        let Some(answer) = talk.answers.pop_front() else { return };
        talk.tell(&mut engine.orders, key, answer);
    }
}

/// `key` no longer wants `block`.
pub(super) fn withdraw(engine: &mut Engine, key: PeerKey, block: Block) {
    let Some(talk) = engine.peers.get_mut(key.0).and_then(|peer| peer.talk()) else { return };
    if !talk.decline(block, &mut engine.steps) && talk.has_room() {
        talk.tell(&mut engine.orders, key, ToPeer::Withdraw(block));
    }
}

/// Tells the peers of a torrent what its choker has decided.
pub(super) fn apply_choking(engine: &mut Engine, torrent: TorrentKey) {
    // Bound: limits::CHANGES_MAX
    for _ in 0..limits::CHANGES_MAX {
        engine.steps.step();
        let Some(torrent) = engine.torrents.get_mut(torrent.0) else { return };
        let Some(change) = torrent.choker.poll_change() else { return };
        let (key, order) = match change {
            Change::Choke(key) => (key, ToPeer::Choke),
            Change::Unchoke(key) => (key, ToPeer::Unchoke),
        };
        let Some(talk) = engine.peers.get_mut(key.0).and_then(|peer| peer.talk()) else { continue };
        if order == ToPeer::Choke {
            talk.decline_all(&mut engine.steps);
        }
        talk.tell(&mut engine.orders, key, order);
        if talk.unperformed >= limits::OUTBOX_MAX {
            hang_up(engine, key, Fault::Theirs, "it does not read what we say");
        }
    }
}

/// Ends the connection of `key`. Its threads' last words are still to come.
pub(super) fn hang_up(engine: &mut Engine, key: PeerKey, fault: Fault, reason: &str) {
    leave(engine, key, Some(Farewell { reason: reason.to_owned(), fault }));
}

/// Ends the connection of `key`, whose threads took no order any more: they have ended, and their
/// last words say why.
pub(super) fn let_go(engine: &mut Engine, key: PeerKey) {
    leave(engine, key, None);
}

fn leave(engine: &mut Engine, key: PeerKey, farewell: Option<Farewell>) {
    let Some(peer) = engine.peers.get_mut(key.0) else { return };
    if matches!(peer.stage, Stage::Leaving(..)) {
        return;
    }
    if peer.is_dialling() {
        engine.dials.handle_over();
    }
    if let Some(socket) = peer.socket {
        engine.greetings.remove(socket);
    }
    if let (Some(network), Some(at)) = (peer.network.take(), peer.torrent)
        && let Some(torrent) = engine.torrents.get_mut(at.0)
    {
        torrent.let_out(network);
    }
    peer.stage = match std::mem::replace(&mut peer.stage, Stage::Greeting) {
        Stage::Talking(talk) => Stage::Leaving(farewell, Some(talk)),
        Stage::Dialling | Stage::Greeting | Stage::Leaving(..) => Stage::Leaving(farewell, None),
    };
    engine.order(Order::HangUp(key));
    put_back(engine, key);
    abandon(engine, key);
    metadata::handle_gone(engine, key);
}
