//! How a connection to a peer comes about.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::bus::{Fault, Order, PeerShared, PeerState, SocketNumber, TorrentEvent};
use crate::machines::engine::exchange::hang_up;
use crate::machines::engine::peer::{Identity, Peer, Stage, Talk};
use crate::machines::engine::{Engine, Phase, dials, gossip};
use crate::words::address::{neighbourhood, network};
use crate::words::id::{InfoHash, PeerId, PeerKey, PieceIndex, SkeyHash};
use crate::words::limits;

/// Somebody dialled us. Which torrent it wants is known only when it has said hello.
pub(in crate::machines::engine) fn handle_accepted(
    engine: &mut Engine,
    socket: SocketNumber,
    address: SocketAddr,
) {
    let full = !has_place(engine, true) || engine.phase != Phase::Running;
    if full {
        make_room(engine, true);
    }
    if !full && let Some(oldest) = engine.greetings.in_the_way_of(address.ip()) {
        hang_up(engine, oldest, Fault::Nobodys, "it did not shake hands, and others wait");
    }
    let peer = Peer {
        torrent: None,
        contact: None,
        listens_at: None,
        told_way: false,
        socket: Some(socket),
        stage: Stage::Greeting,
        connected: true,
        admitted: false,
        network: None,
        address: address.to_string(),
        client: String::new(),
        retrying: None,
    };
    let key = if full { Err(peer) } else { engine.peers.insert(peer) };
    match key {
        Ok(key) => {
            engine.connected += 1;
            engine.greetings.add(socket, PeerKey(key), address.ip());
            engine.order(Order::Admit { socket, peer: PeerKey(key) });
        }
        Err(_) => engine.order(Order::Refuse(socket)),
    }
}

/// Whether one more finds a place who dials us, or whom we dial. Some places are kept for each from the
/// other: who fills the others and wants nothing cannot keep everybody else away.
pub(in crate::machines::engine) fn has_place(engine: &Engine, caller: bool) -> bool {
    engine.admitted < engine.settings.peers_max && !are_all_alike(engine, caller)
}

/// Whether as many dialled us, or were dialled, as may.
fn are_all_alike(engine: &Engine, caller: bool) -> bool {
    let alike = if caller { engine.callers } else { engine.admitted - engine.callers };
    let most = engine.settings.peers_max;
    alike >= most - limits::PLACES_KEPT.min(most / 8)
}

/// Somebody found no place: one makes room, one of the same kind where there are too many of it, with
/// whom nothing has moved for long and whom the user did not name. A few are looked at each time, and
/// there is one at a time.
pub(in crate::machines::engine) fn make_room(engine: &mut Engine, caller: bool) {
    if engine.making_room.is_some() || engine.phase != Phase::Running {
        return;
    }
    let only_alike = are_all_alike(engine, caller);
    let now = engine.now;
    // Bound: limits::IDLE_LOOKS
    for _ in 0..limits::IDLE_LOOKS.min(engine.peers.places()) {
        engine.steps.step();
        engine.idle_cursor = (engine.idle_cursor + 1) % engine.peers.places();
        let Some((key, peer)) = engine.peers.at(engine.idle_cursor) else { continue };
        if only_alike && peer.is_caller() != caller {
            continue;
        }
        let torrent = peer.torrent.and_then(|torrent| engine.torrents.get(torrent.0));
        let contact = torrent.zip(peer.contact).map(|(torrent, key)| torrent.contacts.get(key));
        let is_named = contact.flatten().is_some_and(|contact| contact.named);
        if peer.is_idle(now) && !is_named {
            engine.making_room = Some(PeerKey(key));
            return hang_up(engine, PeerKey(key), Fault::Nobodys, "nothing moved, and others wait");
        }
    }
}

pub(super) fn handle_hello(engine: &mut Engine, key: PeerKey, info_hash: InfoHash) {
    let torrent = engine.by_info_hash.get(&info_hash).copied();
    let Some(torrent) = torrent else {
        let reason = format!("it wants torrent {info_hash}, which is not here");
        return hang_up(engine, key, Fault::Nobodys, &reason);
    };
    let Some(peer) = engine.peers.get_mut(key.0) else { return };
    peer.torrent = Some(torrent);
    let Some(known) = engine.torrents.get(torrent.0) else { return };
    let context = Arc::clone(&known.context);
    engine.order(Order::Introduce { peer: key, torrent, context });
}

/// Whoever wants encryption does not say the info-hash, for everybody could read it.
pub(super) fn handle_hello_by_skey(engine: &mut Engine, key: PeerKey, name: SkeyHash) {
    match engine.by_skey_hash.get(&name).copied() {
        Some(info_hash) => handle_hello(engine, key, info_hash),
        None => hang_up(engine, key, Fault::Nobodys, "it wants a torrent which is not here"),
    }
}

pub(super) fn handle_connected(
    engine: &mut Engine,
    key: PeerKey,
    address: SocketAddr,
    peer_id: PeerId,
    fast: Option<Vec<PieceIndex>>,
    shared: Arc<PeerShared>,
) {
    let is_place = has_place(engine, true);
    let Some(peer) = engine.peers.get_mut(key.0) else { return };
    if peer.is_dialling() {
        engine.dials.handle_over();
    }
    if !std::mem::replace(&mut peer.connected, true) {
        engine.connected += 1;
    }
    if matches!(peer.stage, Stage::Leaving(..)) {
        return;
    }
    if let Some(socket) = peer.socket {
        if !is_place {
            return hang_up(engine, key, Fault::Ours, "there are as many connections as allowed");
        }
        engine.greetings.remove(socket);
        peer.admitted = true;
        engine.admitted += 1;
        engine.callers += 1;
    }
    let dialled = peer.contact.is_some();
    let mut talk = Talk::new(key, peer_id, address.ip(), shared, engine.now);
    talk.fast = fast.is_some();
    talk.allowed_to_it = fast.unwrap_or_default();
    if let Some(torrent) = peer.torrent.and_then(|torrent| engine.torrents.get(torrent.0)) {
        talk.allowed_blocks = torrent.blocks_of(&talk.allowed_to_it);
    }
    let torrent = peer.torrent.and_then(|torrent| engine.torrents.get(torrent.0));
    let contact = torrent.zip(peer.contact).map(|(torrent, key)| torrent.contacts.web_seed(key));
    if contact.flatten().is_some() {
        // Its address is its URL.
        peer.client = "web seed".to_owned();
    } else {
        peer.client = talk.client();
        peer.address = address.to_string();
    }
    peer.stage = Stage::Talking(Box::new(talk));
    let at = address;
    let (ip, address, client) = (address.ip(), peer.address.clone(), peer.client.clone());
    if peer_id == engine.peer_id {
        if dialled {
            engine.networks.handle_ourselves(at);
        }
        return hang_up(engine, key, Fault::Ourselves, "it is ourselves");
    }
    if engine.bans.contains(Identity { ip, peer_id }) {
        return hang_up(engine, key, Fault::Theirs, "it is banned, for it sent corrupt data");
    }
    let Some(torrent) = engine.peers.get(key.0).and_then(|peer| peer.torrent) else { return };
    let name = (peer_id, neighbourhood(ip));
    let known = engine.torrents.get(torrent.0).and_then(|torrent| torrent.peer_ids.get(&name));
    if let Some(&other) = known {
        let keep_new = is_better(engine, key, other, dialled == (engine.peer_id > peer_id));
        let loser = if keep_new { other } else { key };
        hang_up(engine, loser, Fault::Nobodys, "there is another connection to it");
        if !keep_new {
            return;
        }
    }
    let (Some(peer), Some(known)) =
        (engine.peers.get_mut(key.0), engine.torrents.get_mut(torrent.0))
    else {
        return;
    };
    if !known.take_in(network(ip)) {
        return hang_up(engine, key, Fault::Ours, "there are enough connections to its address");
    }
    peer.network = Some(network(ip));
    known.peer_ids.insert(name, key);
    if let Some(seek) = &mut known.seek {
        seek.met += 1;
    }
    if dialled {
        gossip::list(engine, key, at, true);
    }
    engine.tell(torrent, TorrentEvent::Peer { address, state: PeerState::Connected, client });
    dials::dial_next(engine);
}

/// Which of two connections to one peer is kept: whether it is the new one.
///
/// Two that dial each other must both keep the same: the one that was dialled by the greater peer
/// id. A peer that dials us again from its address has lost the older connection, though we may not
/// have noticed; what we dialled twice was two names of one peer, and the first is as good. Where the
/// old one owes blocks and sends none, its host may have moved to another address.
fn is_better(engine: &Engine, new: PeerKey, old: PeerKey, by_the_greater: bool) -> bool {
    let (Some(new), Some(old)) = (engine.peers.get(new.0), engine.peers.get(old.0)) else {
        return true;
    };
    if old.is_leaving() || old.has_stalled() {
        return true;
    }
    match (new.contact.is_some(), old.contact.is_some()) {
        (true, true) => false,
        (false, false) => new.ip() == old.ip() && new.socket > old.socket,
        (true, false) | (false, true) => by_the_greater,
    }
}
