//! What the user wants.

use std::time::Duration;

use crate::bus::{
    Command, Event, NewTorrent, Order, ToStorage, ToUsher, TorrentEvent, Trouble, TroubleKind,
};
use crate::formats::mse::skey_hash;
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::{Stage, Torrent};
use crate::machines::engine::{Engine, Phase, ending, metadata, networks, trackers};
use crate::words::id::TorrentKey;
use crate::words::limits;

pub(in crate::machines::engine) fn handle_command(engine: &mut Engine, command: Command) {
    match command {
        Command::Add(new) => handle_added(engine, *new),
        Command::Listening(address) => {
            engine.networks.port = Some(address.port());
            engine.events.push_back(Event::Listening(address));
        }
        Command::Quit => ending::handle_quit(engine),
    }
}

fn handle_added(engine: &mut Engine, new: NewTorrent) {
    let metainfo = &new.context.metainfo;
    let refused = if engine.phase != Phase::Running {
        Some("the session ends")
    } else if engine.by_info_hash.contains_key(&metainfo.info_hash()) {
        Some("it was added before")
    } else if engine.torrents.is_full() {
        Some("there are too many torrents")
    } else {
        None
    };
    if let Some(why) = refused {
        let what = metainfo.name().to_owned();
        let trouble = Trouble { kind: TroubleKind::Other, what, why: why.to_owned() };
        let error = TorrentEvent::Error(trouble);
        engine.events.push_back(Event::Torrent(metainfo.info_hash(), error));
        return;
    }
    start(engine, new);
}

fn start(engine: &mut Engine, mut new: NewTorrent) {
    let nodes = std::mem::take(&mut new.nodes);
    let torrent = Torrent::new(new, engine.settings.sequential, engine.now);
    let (context, place) = (torrent.context.clone(), torrent.place.clone());
    let sought = torrent.stage == Stage::Unknown;
    let started = TorrentEvent::Started {
        name: context.metainfo.name().to_owned(),
        size: context.metainfo.size(),
        pieces: context.metainfo.pieces(),
    };
    let key = TorrentKey(engine.torrents.insert(torrent).expect("the table was not full"));
    let info_hash = context.metainfo.info_hash();
    engine.by_info_hash.insert(info_hash, key);
    engine.by_skey_hash.insert(skey_hash(info_hash), info_hash);
    engine.unfinished += 1;
    engine.alive += 1;
    engine.unclosed += 1;
    let private = context.metainfo.private();
    if sought {
        metadata::begin(engine, key);
        trackers::look_at_all(engine, key);
    } else {
        engine.tell(key, started);
        engine.order(Order::Storage(key, ToStorage::Open { context, place }));
    }
    // Bound: the networks that it names.
    for (network, nodes) in nodes {
        if engine.networks.has(network) && !private && !nodes.is_empty() {
            engine.order(Order::Usher(network, ToUsher::Resolve(nodes)));
        }
    }
    networks::look_after(engine, key, Duration::ZERO);
    engine.start_timer(limits::PROGRESS_EVERY, Timer::Progress(key));
    engine.start_timer(limits::ROTATE_EVERY, Timer::Rotate(key));
}
