//! News of the local network.

use crate::bus::{Neighbour, Network};
use crate::machines::engine::contacts::Way;
use crate::machines::engine::dials;
use crate::machines::engine::{Engine, networks};

/// Somebody shares a torrent; and whoever has a node of the ring is a way into it.
pub(in crate::machines::engine) fn handle_neighbour(engine: &mut Engine, neighbour: Neighbour) {
    let Neighbour { info_hash, address, chord } = neighbour;
    if let Some(node) = chord {
        networks::enter(engine, Network::Ring, vec![node]);
    }
    let Some(&key) = engine.by_info_hash.get(&info_hash) else { return };
    dials::handle_found(engine, key, address, false, Way::Hearsay);
    dials::dial_next(engine);
}
