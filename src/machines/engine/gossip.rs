//! Peer exchange (BEP 11), as main has it: who is listed in the swarm log, and what comes of whom
//! peers tell us. A private torrent's peers are its trackers' business alone (BEP 27).

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::bus::{Order, ToPeer};
use crate::formats::krpc::Sharer;
use crate::formats::wire::{ExtensionHandshake, UT_PEX};
use crate::machines::engine::contacts::{Contact, Way};
use crate::machines::engine::dials;
use crate::machines::engine::peer::Talk;
use crate::machines::engine::{Engine, pair};
use crate::words::address::{is_local, may_name};
use crate::words::id::PeerKey;
use crate::words::swarm_log::Standing;

/// A peer that talks can be reached at `address`, since we dialled it or since it says so.
pub(super) fn list(engine: &mut Engine, key: PeerKey, address: SocketAddr, dialled: bool) {
    let wanted = engine.settings.pex;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    // Nobody can dial a web seed.
    let is_web_seed = peer.contact.and_then(|contact| torrent.contacts.web_seed(contact)).is_some();
    let Some(talk) = peer.talk() else { return };
    if wanted && torrent.is_known_to_be_open() && !is_web_seed {
        let seeder = talk.seeder || talk.upload_only;
        torrent.chronicler.came(key, address, Standing { seeder, reachable: dialled });
    }
}

/// It has everything.
pub(super) fn handle_seeder(engine: &mut Engine, key: PeerKey) {
    if let Some((_, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) {
        torrent.chronicler.became(key, |standing| standing.seeder = true);
    }
}

/// It has no longer everything.
pub(super) fn handle_incomplete(engine: &mut Engine, key: PeerKey) {
    if let Some((_, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) {
        torrent.chronicler.became(key, |standing| standing.seeder = false);
    }
}

/// It says under which number it wants to be told who comes and goes. Whoever takes that back (the
/// number 0, BEP 10) is told on, and passes it over.
pub(super) fn handle_extended(engine: &mut Engine, key: PeerKey, handshake: &ExtensionHandshake) {
    let wanted = engine.settings.pex;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(talk) = peer.talk() else { return };
    let Some(id) = handshake.id(UT_PEX) else { return };
    // There is always room for the first order, but not for one each time that it takes another number.
    let is_new = talk.exchange_id.is_none() || talk.exchange_id != Some(id) && talk.has_room();
    if !is_new {
        return;
    }
    talk.exchange_id = Some(id);
    if wanted && torrent.is_known_to_be_open() {
        invite(talk, &mut engine.orders, key, id);
    }
}

/// Its writer tells it from now on who comes and goes.
fn invite(talk: &mut Talk, orders: &mut VecDeque<Order>, key: PeerKey, id: u8) {
    let near = is_local(talk.who.ip);
    talk.tell(orders, key, ToPeer::Exchange { id, peer: key, near });
}

/// The torrent's metadata is here, so it is known that it is not private: what was known of the peer
/// before is told.
pub(super) fn handle_renewed(engine: &mut Engine, key: PeerKey) {
    let wanted = engine.settings.pex;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    if !wanted || !torrent.is_known_to_be_open() {
        return;
    }
    let contact = peer.contact.and_then(|contact| torrent.contacts.get(contact));
    let dialled = contact.and_then(Contact::socket_address);
    let listens_at = peer.listens_at;
    let Some(talk) = peer.talk() else { return };
    if let Some(id) = talk.exchange_id {
        invite(talk, &mut engine.orders, key, id);
    }
    if let Some(address) = dialled.or(listens_at) {
        list(engine, key, address, dialled.is_some());
    }
}

/// It is connected to these. What it may name depends on where it is itself.
pub(super) fn handle_exchanged(engine: &mut Engine, key: PeerKey, sharers: &[Sharer]) {
    let Some(peer) = engine.peers.get(key.0) else { return };
    let (Some(ip), Some(torrent)) = (peer.ip(), peer.torrent) else { return };
    if peer.is_leaving() {
        return;
    }
    // Bound: limits::ring::FOUND_WORD
    for Sharer { address, seeder } in sharers {
        engine.steps.step();
        if may_name(ip, address.ip()) {
            dials::handle_found(engine, torrent, *address, *seeder, Way::Hearsay);
        }
    }
    dials::dial_next(engine);
}
