//! News of the ring.

use std::net::SocketAddr;

use crate::bus::{ChordNews, Event, Order, RingState, ToChord, ToUsher};
use crate::formats::krpc::Sharer;
use crate::machines::engine::torrent::Stage;
use crate::machines::engine::{Engine, dials, ending, ring};
use crate::words::id::{InfoHash, TorrentKey};

pub(in crate::machines::engine) fn handle_news(engine: &mut Engine, news: ChordNews) {
    match news {
        ChordNews::Joined(address) => {
            engine.ring.told_alone = false;
            engine.ring.handle_own(address);
            // A ring of one that has met nobody says nothing about who can reach it.
            engine.ring.hidden &= address.ip().is_unspecified();
            ring::handle_joined(engine);
            engine.events.push_back(Event::Ring(RingState::Joined(address)));
        }
        ChordNews::Client => {
            if !std::mem::replace(&mut engine.ring.hidden, true) {
                // What was looked up before was planned for one whom others can dial.
                ring::handle_joined(engine);
            }
            engine.events.push_back(Event::Ring(RingState::Client));
        }
        ChordNews::Alone => handle_alone(engine),
        ChordNews::Found(info_hash, sharers) => handle_found(engine, info_hash, &sharers),
        ChordNews::Known(nodes) => engine.order(Order::Usher(ToUsher::Remember(nodes))),
        ChordNews::Discarded(dropped) => {
            engine.events.push_back(Event::Ring(RingState::Dropped(dropped)));
        }
        ChordNews::Left => {
            engine.ring.on = false;
            ending::end_if_done(engine);
        }
    }
}

/// The usher found ways into the ring.
pub(in crate::machines::engine) fn handle_entries(engine: &mut Engine, nodes: Vec<SocketAddr>) {
    if engine.ring.on {
        engine.order(Order::Chord(ToChord::Join(nodes)));
    }
}

fn handle_alone(engine: &mut Engine) {
    if !std::mem::replace(&mut engine.ring.told_alone, true) {
        engine.events.push_back(Event::Ring(RingState::Alone));
        let message = "the ring: no node answers yet; whoever comes is served, and trying goes on";
        engine.events.push_back(Event::Warning(message.to_owned()));
    }
}

/// These share a torrent: whoever is not known is dialled.
fn handle_found(engine: &mut Engine, info_hash: InfoHash, sharers: &[Sharer]) {
    let Some(&key) = engine.by_info_hash.get(&info_hash) else { return };
    // Bound: limits::FOUND_WORD
    for sharer in sharers {
        engine.steps.step();
        handle_sharer(engine, key, *sharer);
    }
    dials::dial_next(engine);
}

/// Somebody shares a torrent, and may be dialled.
pub(super) fn handle_sharer(engine: &mut Engine, key: TorrentKey, sharer: Sharer) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    let of_use = match torrent.stage {
        Stage::Unknown | Stage::Opening | Stage::Downloading => true,
        Stage::Complete => !sharer.seeder,
        Stage::GivenUp | Stage::Seeded => false,
    };
    if !of_use || engine.ring.is_ours(sharer.address) {
        return;
    }
    let dialled = torrent.dials_begun;
    if let Some(contact) = torrent.contacts.find(sharer.address)
        && dialled
    {
        dials::enqueue(engine, key, contact);
    }
}
