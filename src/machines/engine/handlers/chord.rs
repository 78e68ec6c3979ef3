//! News of the ring.

use crate::bus::{ChordNews, Event, Network, Order, RingState, ToUsher};
use crate::formats::krpc::Sharer;
use crate::machines::engine::contacts::Way;
use crate::machines::engine::dials;
use crate::machines::engine::{Engine, ending, networks};
use crate::words::id::InfoHash;

pub(in crate::machines::engine) fn handle_news(engine: &mut Engine, news: ChordNews) {
    match news {
        ChordNews::Joined(address) => {
            engine.networks.told_alone = false;
            engine.networks.handle_own(address.ip());
            // A ring of one that has met nobody says nothing about who can reach it.
            engine.networks.hidden &= address.ip().is_unspecified();
            networks::handle_joined(engine, Network::Ring);
            engine.events.push_back(Event::Ring(RingState::Joined(address)));
        }
        ChordNews::Client => {
            if !std::mem::replace(&mut engine.networks.hidden, true) {
                // What was looked up before was planned for one whom others can dial.
                networks::handle_joined(engine, Network::Ring);
            }
            engine.events.push_back(Event::Ring(RingState::Client));
        }
        ChordNews::Alone => handle_alone(engine),
        ChordNews::Found(info_hash, sharers) => handle_found(engine, info_hash, &sharers),
        ChordNews::Known(nodes) => {
            engine.order(Order::Usher(Network::Ring, ToUsher::Remember(nodes.into())));
        }
        ChordNews::Discarded(dropped) => {
            engine.events.push_back(Event::Ring(RingState::Dropped(dropped)));
        }
        ChordNews::Left => {
            engine.networks.handle_left(Network::Ring);
            ending::end_if_done(engine);
        }
    }
}

fn handle_alone(engine: &mut Engine) {
    if !std::mem::replace(&mut engine.networks.told_alone, true) {
        engine.events.push_back(Event::Ring(RingState::Alone));
        let message = "the ring: no node answers yet; whoever comes is served, and trying goes on";
        engine.events.push_back(Event::Warning(message.to_owned()));
    }
}

/// These share a torrent: whoever is not known is dialled.
fn handle_found(engine: &mut Engine, info_hash: InfoHash, sharers: &[Sharer]) {
    let Some(&key) = engine.by_info_hash.get(&info_hash) else { return };
    // Bound: limits::FOUND_WORD
    for Sharer { address, seeder } in sharers {
        engine.steps.step();
        dials::handle_found(engine, key, *address, *seeder, Way::Ring);
    }
    dials::dial_next(engine);
}
