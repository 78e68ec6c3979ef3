//! News of the disk.

use std::time::Duration;

use crate::bus::{Order, StorageNews, ToStorage, TorrentEvent, Trouble, TroubleKind};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::Stage;
use crate::machines::engine::{Engine, Goal, bans, dials, ending, exchange, networks, trackers};
use crate::words::bitfield::Word;
use crate::words::id::{PieceIndex, TorrentKey};
use crate::words::limits;

pub(in crate::machines::engine) fn handle_news(
    engine: &mut Engine,
    torrent: TorrentKey,
    news: StorageNews,
) {
    match news {
        StorageNews::Checking(done) => handle_checking(engine, torrent, done),
        StorageNews::Found(word) => handle_found(engine, torrent, word),
        StorageNews::Unwanted(word) => handle_unwanted(engine, torrent, word),
        StorageNews::InOrder => handle_in_order(engine, torrent),
        StorageNews::Settled => handle_settled(engine, torrent),
        StorageNews::Opened => handle_opened(engine, torrent),
        StorageNews::Written(piece) => handle_written(engine, torrent, piece),
        StorageNews::Verified(piece) => handle_verified(engine, torrent, piece),
        StorageNews::Corrupt(piece) => handle_corrupt(engine, torrent, piece),
        StorageNews::Guilty(piece, blocks) => handle_guilty(engine, torrent, piece, blocks),
        StorageNews::Forgotten(piece) => handle_forgotten(engine, torrent, piece),
        StorageNews::Failed(trouble) => handle_failed(engine, torrent, trouble),
        StorageNews::Warned(message) => engine.tell(torrent, TorrentEvent::Warning(message)),
        StorageNews::Closed => {
            engine.unclosed -= 1;
            ending::end_if_done(engine);
        }
    }
}

fn handle_checking(engine: &mut Engine, key: TorrentKey, done: u64) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    let size = torrent.context.metainfo.len();
    engine.tell(key, TorrentEvent::Checking { done, size });
}

fn handle_found(engine: &mut Engine, key: TorrentKey, word: Word) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    // Bound: the 64 pieces of a word.
    for piece in word.pieces() {
        engine.steps.step();
        if torrent.gain(piece) {
            torrent.picker.handle_verified(piece, &mut engine.budget, &mut engine.steps);
        }
    }
}

/// No selected file is in these pieces.
fn handle_unwanted(engine: &mut Engine, key: TorrentKey, word: Word) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    // Bound: the 64 pieces of a word.
    for piece in word.pieces() {
        torrent.picker.handle_unwanted(piece, &mut engine.steps);
    }
}

fn handle_in_order(engine: &mut Engine, key: TorrentKey) {
    if let Some(torrent) = engine.torrents.get_mut(key.0) {
        torrent.picker.ask_in_order();
    }
}

fn handle_settled(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if torrent.stage == Stage::GivenUp {
        return handle_given_up(engine, key);
    }
    let path = torrent.place.dir.join(torrent.context.metainfo.root());
    engine.tell(key, TorrentEvent::Settled { path });
}

/// The storage has forgotten what a torrent that was given up had begun: its memory is for others.
fn handle_given_up(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.picker.close_all(&mut engine.budget, &mut engine.steps);
    exchange::arm_retries(engine);
}

fn handle_opened(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if torrent.stage != Stage::Opening {
        return;
    }
    torrent.stage = Stage::Downloading;
    torrent.meter.heard_at = engine.now;
    let (good, pieces) = (torrent.good(), torrent.context.metainfo.pieces());
    let begun = std::mem::replace(&mut torrent.dials_begun, true);
    // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
    let contacts = if begun { Vec::new() } else { torrent.contacts.keys() };
    engine.tell(key, TorrentEvent::Checked { good, pieces });
    finish_if_done(engine, key);
    // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
    for contact in contacts {
        engine.steps.step();
        dials::enqueue(engine, key, contact);
    }
    // Bound: limits::WEB_SEEDS_AT_ONCE
    for _ in 0..limits::WEB_SEEDS_AT_ONCE {
        engine.steps.step();
        let torrent = engine.torrents.get_mut(key.0);
        let Some(next) = torrent.and_then(|torrent| torrent.contacts.insert_web_seed()) else {
            break;
        };
        dials::enqueue(engine, key, next);
    }
    dials::dial_next(engine);
    networks::look_after(engine, key, Duration::ZERO);
    trackers::look_at_all(engine, key);
    if let Some(timeout) = engine.settings.timeout {
        engine.start_timer(timeout, Timer::Timeout(key));
    }
    exchange::arm_retries(engine);
}

/// A block of a piece that is written in place has made room for another.
fn handle_written(engine: &mut Engine, key: TorrentKey, piece: PieceIndex) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.picker.handle_written(piece);
    exchange::retry_some(engine, limits::PICKS_MAX);
}

fn handle_verified(engine: &mut Engine, key: TorrentKey, piece: PieceIndex) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.picker.handle_verified(piece, &mut engine.budget, &mut engine.steps);
    if torrent.gain(piece) {
        engine.tell(key, TorrentEvent::Piece(piece));
        finish_if_done(engine, key);
    }
    // The piece has given its memory back.
    exchange::retry_some(engine, limits::PICKS_MAX);
}

fn handle_corrupt(engine: &mut Engine, key: TorrentKey, piece: PieceIndex) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let sender = torrent.picker.handle_corrupt(piece, &mut engine.budget, &mut engine.steps);
    let message = format!("piece {} arrived corrupt and is fetched again", piece.0);
    engine.tell(key, TorrentEvent::Warning(message));
    // Whoever sent all of it is guilty, however long it takes until the piece is right.
    if let Some(peer) = sender {
        bans::ban(engine, peer, "it sent corrupt data");
    }
    exchange::arm_retries(engine);
}

/// A piece is right that was wrong before, and these of its blocks have changed: whoever sent them
/// then is banned, and nobody else.
fn handle_guilty(engine: &mut Engine, key: TorrentKey, piece: PieceIndex, blocks: Word) {
    // Bound: the 64 blocks of a word.
    for block in blocks.pieces() {
        engine.steps.step();
        let Some(torrent) = engine.torrents.get(key.0) else { return };
        if let Some(peer) = torrent.picker.suspect(piece, block.0) {
            bans::ban(engine, peer, "it sent corrupt data");
        }
    }
}

/// A piece that was given up has made room, and may be asked for again.
fn handle_forgotten(engine: &mut Engine, key: TorrentKey, piece: PieceIndex) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.picker.handle_forgotten(piece, &mut engine.budget, &mut engine.steps);
    exchange::retry_some(engine, limits::PICKS_MAX);
    exchange::arm_retries(engine);
}

fn handle_failed(engine: &mut Engine, key: TorrentKey, trouble: Trouble) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    if torrent.stage == Stage::GivenUp {
        return handle_given_up(engine, key);
    }
    stop_downloading(engine, key);
    handle_given_up(engine, key);
    engine.tell(key, TorrentEvent::Error(trouble));
    end_if_nothing_is_left(engine);
}

/// Ends the download of a torrent. What is there is still served while others go on.
pub(super) fn give_up(engine: &mut Engine, key: TorrentKey, kind: TroubleKind, why: String) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    let what = torrent.context.metainfo.name().to_owned();
    stop_downloading(engine, key);
    engine.order(Order::Storage(key, ToStorage::Settle));
    engine.tell(key, TorrentEvent::Error(Trouble { kind, what, why }));
    end_if_nothing_is_left(engine);
}

pub(in crate::machines::engine) fn stop_downloading(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    engine.unfinished -= u32::from(torrent.is_unfinished());
    engine.alive -= u32::from(!matches!(torrent.stage, Stage::GivenUp | Stage::Seeded));
    torrent.stage = Stage::GivenUp;
    torrent.stop_growing();
    networks::look_after(engine, key, Duration::ZERO);
    trackers::look_at_all(engine, key);
}

fn finish_if_done(engine: &mut Engine, key: TorrentKey) {
    let now = engine.now;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if torrent.stage != Stage::Downloading || !torrent.is_all_there() {
        return;
    }
    torrent.stage = Stage::Complete;
    torrent.meter.completed_at = Some(now);
    torrent.stop_growing();
    engine.unfinished -= 1;
    networks::look_after(engine, key, Duration::ZERO);
    trackers::look_at_all(engine, key);
    if engine.settings.goal != Goal::Seed {
        tell_finished(engine, key);
        engine.order(Order::Storage(key, ToStorage::Settle));
        end_if_nothing_is_left(engine);
    }
}

fn tell_finished(engine: &mut Engine, key: TorrentKey) {
    let now = engine.now;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let metainfo = &torrent.context.metainfo;
    let finished = TorrentEvent::Finished {
        seconds: now.duration_since(torrent.meter.started_at).as_secs_f64(),
        bytes: torrent.meter.downloaded,
        uploaded: torrent.meter.uploaded,
        path: torrent.place.dir.join(metainfo.root()),
    };
    let progress = torrent.progress(now);
    engine.tell(key, TorrentEvent::Progress(progress));
    engine.tell(key, finished);
}

/// A torrent that was seeded as long as the user wished counts as done.
pub(super) fn end_if_seeded(engine: &mut Engine, key: TorrentKey) {
    let until = engine.settings.seed_until;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if torrent.stage == Stage::Complete && torrent.is_seeded(until, engine.now) {
        torrent.stage = Stage::Seeded;
        networks::look_after(engine, key, Duration::ZERO);
        trackers::look_at_all(engine, key);
        engine.alive -= 1;
        end_if_nothing_is_left(engine);
    }
}

/// Whoever only downloads is done when every torrent is complete or given up; whoever seeds, when
/// every torrent is given up; unless more may come.
pub(in crate::machines::engine) fn end_if_nothing_is_left(engine: &mut Engine) {
    let downloaded = engine.settings.goal == Goal::Complete && engine.unfinished == 0;
    if !engine.settings.stay && (downloaded || engine.alive == 0) {
        ending::begin(engine);
    }
}
