//! News of Mainline.

use std::net::SocketAddr;

use crate::bus::{Event, MainlineNews, Network, Order, ToUsher};
use crate::machines::engine::contacts::Way;
use crate::machines::engine::dials;
use crate::machines::engine::{Engine, ending, networks};
use crate::words::id::InfoHash;

pub(in crate::machines::engine) fn handle_news(engine: &mut Engine, news: MainlineNews) {
    match news {
        MainlineNews::Joined => {
            networks::handle_joined(engine, Network::Mainline);
            engine.events.push_back(Event::Mainline);
        }
        MainlineNews::Address(ip) => engine.networks.handle_own(ip),
        MainlineNews::Found(info_hash, peers) => handle_found(engine, info_hash, &peers),
        MainlineNews::Known(known) => {
            engine.order(Order::Usher(Network::Mainline, ToUsher::Remember(known)));
        }
        MainlineNews::Left => {
            engine.networks.handle_left(Network::Mainline);
            ending::end_if_done(engine);
        }
    }
}

/// These share a torrent: whoever is not known is dialled. Mainline does not tell seeders from others.
fn handle_found(engine: &mut Engine, info_hash: InfoHash, peers: &[SocketAddr]) {
    let Some(&key) = engine.by_info_hash.get(&info_hash) else { return };
    // Bound: limits::mainline::FOUND_MAX
    for address in peers {
        engine.steps.step();
        dials::handle_found(engine, key, *address, false, Way::Mainline);
    }
    dials::dial_next(engine);
}
