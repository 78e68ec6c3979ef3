//! News of peers.

use std::net::SocketAddr;

use crate::bus::{
    Event, Farewell, Fault, Network, Order, PeerNews, PeerState, ToClerk, ToPeer, ToStorage,
    TorrentEvent,
};
use crate::formats::wire::{ExtensionHandshake, UT_METADATA};
use crate::machines::engine::exchange::{self, hang_up};
use crate::machines::engine::handlers::meeting;
use crate::machines::engine::peer::{Peer, Stage};
use crate::machines::engine::{
    Engine, dials, ending, gossip, metadata, networks, pair, torrent, trackers,
};
use crate::words::address::neighbourhood;
use crate::words::bitfield::Word;
use crate::words::id::{Block, PeerKey, PieceIndex, TorrentKey};
use crate::words::limits;

pub(in crate::machines::engine) fn handle_news(engine: &mut Engine, peer: PeerKey, news: PeerNews) {
    match news {
        PeerNews::Hello(info_hash) => meeting::handle_hello(engine, peer, info_hash),
        PeerNews::HelloBySkey(name) => meeting::handle_hello_by_skey(engine, peer, name),
        PeerNews::Connected { address, peer_id, reserved, allowed_fast, shared } => {
            let fast = reserved.fast().then_some(allowed_fast);
            meeting::handle_connected(engine, peer, address, peer_id, fast, shared);
        }
        PeerNews::Gained(word) => handle_gained(engine, peer, word),
        PeerNews::Lost(word) => handle_lost(engine, peer, word),
        PeerNews::Seeder => handle_seeder(engine, peer),
        PeerNews::Completed => handle_completed(engine, peer),
        PeerNews::Choked => handle_choked(engine, peer),
        PeerNews::Unchoked => handle_unchoked(engine, peer),
        PeerNews::Interested => handle_interested(engine, peer),
        PeerNews::NotInterested => handle_not_interested(engine, peer),
        PeerNews::Rejected(block) => handle_rejected(engine, peer, block),
        PeerNews::AllowedFast(piece) => handle_allowed_fast(engine, peer, piece),
        PeerNews::Requested(block) => handle_requested(engine, peer, block),
        PeerNews::Cancelled(block) => exchange::withdraw(engine, peer, block),
        PeerNews::Block(block, data) => handle_block(engine, peer, block, data),
        PeerNews::Exchanged(sharers) => gossip::handle_exchanged(engine, peer, &sharers),
        PeerNews::Incomplete => handle_incomplete(engine, peer),
        PeerNews::Node(port) => handle_node(engine, peer, port),
        PeerNews::Extended(handshake) => handle_extended(engine, peer, &handshake),
        PeerNews::Metadata(message) => metadata::handle_message(engine, peer, message),
        PeerNews::Renewed(shared) => metadata::handle_renewed(engine, peer, shared),
        PeerNews::Stalled => handle_stalled(engine, peer),
        PeerNews::Sample => handle_sample(engine, peer),
        PeerNews::Performed { orders, uploaded } => {
            handle_performed(engine, peer, orders, uploaded);
        }
        PeerNews::Gone(farewell) => handle_gone(engine, peer, farewell),
    }
}

/// An order found its actor gone or its channel full: the connection is of no use any more.
pub(in crate::machines::engine) fn handle_undelivered(engine: &mut Engine, order: Order) {
    match order {
        Order::Dial { peer, .. } | Order::Ask { peer, .. } | Order::Admit { peer, .. } => {
            let reason = "its threads could not be started".to_owned();
            handle_gone(engine, peer, Farewell { reason, fault: Fault::Ours });
        }
        Order::Introduce { peer, .. } | Order::Peer(peer, _) => {
            exchange::let_go(engine, peer);
        }
        // Blocks of a piece that is larger than the memory come as fast as the network brings them.
        Order::Storage(torrent, ToStorage::Store(block, _)) => {
            if let Some(torrent) = engine.torrents.get_mut(torrent.0) {
                torrent.picker.handle_dropped(block);
                exchange::arm_retries(engine);
            }
        }
        // The disk has more to open, to forget or to close than its channel has room for.
        Order::Storage(..) => ending::give_again(engine, order),
        Order::Chord(_) | Order::Mainline(_) | Order::Lan(_) => {
            networks::handle_undelivered(engine, order);
        }
        // Other nodes lead into the network as well.
        Order::Usher(..) => {}
        Order::Clerk(torrent, ToClerk::Check { len, .. }) => {
            metadata::handle_undelivered(engine, torrent, len);
        }
        Order::Tracker(order) => trackers::handle_undelivered(engine, order.number),
        // A socket is dropped with the porter, and at the end nobody waits for the rest.
        Order::Refuse(_) | Order::HangUp(_) | Order::Reap(_) | Order::End => {}
    }
}

/// It has these pieces. The picker learns it even of a peer that is leaving, which will take all of
/// it back.
fn handle_gained(engine: &mut Engine, key: PeerKey, word: Word) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    torrent.picker.handle_gained(word, &mut engine.steps);
    let wanted = torrent.context.wanted.word(word.first.0 / crate::words::bitfield::WORD_BITS);
    let Some(talk) = peer.talk() else { return };
    if wanted & word.bits != 0 {
        if !talk.looked && talk.has_room() {
            talk.looked = true;
            talk.tell(&mut engine.orders, key, ToPeer::Look);
        }
        exchange::fill(engine, key);
    }
}

fn handle_lost(engine: &mut Engine, key: PeerKey, word: Word) {
    if let Some((_, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) {
        torrent.picker.handle_lost(word, &mut engine.steps);
    }
}

fn handle_seeder(engine: &mut Engine, key: PeerKey) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(talk) = peer.talk_or_last() else { return };
    (talk.seeder, talk.told_as_seeder) = (true, true);
    torrent.picker.handle_seeder();
    torrent.seeders += 1;
    let Some(talk) = peer.talk() else { return };
    // A writer that has orders left looks anyway.
    if talk.has_room() {
        talk.looked = true;
        talk.tell(&mut engine.orders, key, ToPeer::Look);
    }
    exchange::fill(engine, key);
    gossip::handle_seeder(engine, key);
}

fn handle_completed(engine: &mut Engine, key: PeerKey) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(talk) = peer.talk_or_last() else { return };
    if !std::mem::replace(&mut talk.seeder, true) {
        torrent.seeders += 1;
    }
    gossip::handle_seeder(engine, key);
}

/// It has no longer everything (BEP 54). The words of what it has follow.
fn handle_incomplete(engine: &mut Engine, key: PeerKey) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(talk) = peer.talk_or_last() else { return };
    if std::mem::take(&mut talk.seeder) {
        torrent.seeders -= 1;
    }
    if std::mem::take(&mut talk.told_as_seeder) {
        torrent.picker.handle_seeder_lost();
    }
    gossip::handle_incomplete(engine, key);
}

/// What was asked before a choke is forgotten (BEP 3), or will be rejected or sent (BEP 6). Who chokes
/// us twice and sends nothing between has stalled, or it could always be the first to be asked.
fn handle_choked(engine: &mut Engine, key: PeerKey) {
    if let Some(talk) = engine.peers.get_mut(key.0).and_then(Peer::talk) {
        talk.unchoked = false;
        talk.chokes += u32::from(!talk.outstanding.is_empty());
        let forgets = !talk.fast;
        if talk.chokes > 1 {
            exchange::leave_alone(engine, key);
        }
        if forgets {
            exchange::put_back(engine, key);
        }
    }
}

/// It will not send `block`: somebody else is asked, and it is left alone for a moment, or we would
/// ask and it reject as fast as the line allows.
fn handle_rejected(engine: &mut Engine, key: PeerKey, block: Block) {
    let now = engine.now;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(talk) = peer.talk() else { return };
    talk.owed = talk.owed.saturating_sub(1);
    if talk.tick_off(block, &mut engine.steps) {
        torrent.picker.put_back(block, key);
        if talk.stalls == 0 {
            talk.ask_after = Some(now + limits::PAUSE);
            exchange::retry_later(engine, key);
        } else {
            exchange::leave_alone(engine, key);
        }
        exchange::arm_retries(engine);
    } else if (talk.owed as usize) < talk.outstanding.len() {
        hang_up(engine, key, Fault::Theirs, "it rejected other blocks than it was asked for");
    }
}

fn handle_allowed_fast(engine: &mut Engine, key: PeerKey, piece: PieceIndex) {
    if let Some(talk) = engine.peers.get_mut(key.0).and_then(Peer::talk) {
        talk.allowed_by_it.push(piece);
        exchange::fill(engine, key);
    }
}

fn handle_unchoked(engine: &mut Engine, key: PeerKey) {
    if let Some(talk) = engine.peers.get_mut(key.0).and_then(Peer::talk) {
        talk.unchoked = true;
        // Who has stalled does not end its pause by a choke that it takes back.
        if talk.stalls == 0 {
            talk.ask_after = None;
        }
        exchange::fill(engine, key);
    }
}

fn handle_interested(engine: &mut Engine, key: PeerKey) {
    if !engine.settings.upload {
        return;
    }
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let (Some(at), Some(_)) = (peer.torrent, peer.talk()) else { return };
    torrent.choker.handle_interested(key, torrent.peers());
    exchange::apply_choking(engine, at);
}

fn handle_not_interested(engine: &mut Engine, key: PeerKey) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(at) = peer.torrent else { return };
    torrent.choker.handle_uninterested(key);
    exchange::apply_choking(engine, at);
}

/// A request is served if the peer holds a slot, or is allowed to ask without one, and we have the
/// piece. Others are rejected, or dropped where there is no way to decline (BEP 3).
fn handle_requested(engine: &mut Engine, key: PeerKey, block: Block) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let unchoked = torrent.choker.is_unchoked(key);
    let Some(talk) = peer.talk() else { return };
    let allowed = talk.allowed_blocks > 0 && talk.allowed_to_it.contains(&block.piece);
    let served = (unchoked || allowed) && torrent.has(block.piece);
    if served && !unchoked {
        talk.allowed_blocks -= 1;
    }
    let answer = match (served, talk.fast) {
        (true, _) => ToPeer::Upload(block),
        (false, true) => ToPeer::Reject(block),
        (false, false) => return,
    };
    if talk.answers.len() >= limits::UPLOADS_MAX {
        let most = limits::UPLOADS_MAX;
        let reason = format!("it asked for more than {most} blocks at once");
        return hang_up(engine, key, Fault::Theirs, &reason);
    }
    talk.answers.push_back(answer);
    exchange::serve(engine, key);
}

/// One block's journey: ticked off against what was asked, given to the storage, and the next one
/// asked for.
fn handle_block(engine: &mut Engine, key: PeerKey, block: Block, data: Vec<u8>) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(at) = peer.torrent else { return };
    let Some(talk) = peer.talk() else { return };
    talk.owed = talk.owed.saturating_sub(1);
    talk.chokes = 0;
    let had_stalled = std::mem::take(&mut talk.stalls) > 0;
    if had_stalled {
        talk.ask_after = None;
    }
    if !talk.tick_off(block, &mut engine.steps) {
        // It had credit, so something was asked once and then put back: somebody else is asked by
        // now. Without credit left for the rest, nobody would notice that it owes that.
        if (talk.owed as usize) < talk.outstanding.len() {
            hang_up(engine, key, Fault::Theirs, "it sent other blocks than it was asked for");
        } else if had_stalled {
            exchange::fill(engine, key);
        }
        return;
    }
    talk.downloaded += u64::from(block.len);
    talk.moved_at = engine.now;
    if talk.slow_start {
        talk.pipeline = (talk.pipeline + 1).min(limits::PIPELINE_MAX);
    }
    torrent.meter.downloaded += u64::from(block.len);
    torrent.meter.heard_at = engine.now;
    if torrent.stage == torrent::Stage::Downloading && torrent.picker.expects(block, key) {
        let askers = torrent.picker.handle_stored(block, key, engine.now);
        engine.order(Order::Storage(at, ToStorage::Store(block, data)));
        exchange::cancel(engine, block, askers, key);
    }
    exchange::fill(engine, key);
}

fn handle_extended(engine: &mut Engine, key: PeerKey, handshake: &ExtensionHandshake) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    if let Some(client) = &handshake.client {
        peer.client.clone_from(client);
    }
    let dialled = peer.contact.is_some();
    let Some(talk) = peer.talk() else { return };
    if let Some(upload_only) = handshake.upload_only {
        talk.upload_only = upload_only;
    }
    if let Some(&id) = handshake.extensions.get(UT_METADATA) {
        talk.metadata_id = Some(id).filter(|id| *id > 0);
    }
    let ip = talk.who.ip;
    // It is where it said first, or a peer could fill the table with addresses.
    let first = handshake.port.filter(|_| !dialled && peer.listens_at.is_none());
    let listens_at = first.map(|port| SocketAddr::new(ip, port));
    if let Some(address) = listens_at {
        peer.listens_at = Some(address);
        torrent.contacts.handle_caller(key, address);
    }
    // As above, the first word counts; and a private torrent has nothing to do with the ring.
    let private = torrent.context.metainfo.private();
    let way = handshake.chord.filter(|_| !private && !peer.told_way);
    peer.told_way |= way.is_some();
    if let Some(address) = listens_at {
        gossip::list(engine, key, address, false);
    }
    gossip::handle_extended(engine, key, handshake);
    if let Some(port) = way {
        networks::enter(engine, Network::Ring, vec![SocketAddr::new(ip, port)]);
    }
    if let Some(len) = handshake.metadata_len {
        metadata::handle_offer(engine, key, len);
    }
}

/// Its node of Mainline is at `port` of its address.
fn handle_node(engine: &mut Engine, key: PeerKey, port: u16) {
    if let Some(ip) = engine.peers.get(key.0).and_then(Peer::ip) {
        networks::handle_node(engine, SocketAddr::new(ip, port));
    }
}

/// It owes us blocks and sends none: others are asked before it is, and it is asked less, the less
/// the oftener.
fn handle_stalled(engine: &mut Engine, key: PeerKey) {
    if let Some(talk) = engine.peers.get_mut(key.0).and_then(Peer::talk) {
        // What it owes was cancelled: without the fast extension it need not say so.
        if talk.outstanding.is_empty() {
            return;
        }
        talk.pipeline = 1;
        exchange::leave_alone(engine, key);
        exchange::put_back(engine, key);
        exchange::abandon(engine, key);
        exchange::arm_retries(engine);
    }
}

fn handle_sample(engine: &mut Engine, key: PeerKey) {
    if !metadata::handle_sample(engine, key) {
        return;
    }
    let now = engine.now;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(at) = peer.torrent else { return };
    let Some(talk) = peer.talk() else { return };
    let (down, up) = talk.sample(now);
    if down > 0 {
        // Two seconds' worth is the bandwidth-delay product of any path there is.
        let blocks = down * limits::PIPELINE_SECONDS / u64::from(limits::BLOCK_LEN);
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        talk.pipeline = blocks.clamp(limits::PIPELINE_START, limits::PIPELINE_MAX);
        talk.slow_start = false;
    }
    let leeching = torrent.stage == torrent::Stage::Downloading;
    if talk.upload_only && torrent.stage == torrent::Stage::Complete {
        return hang_up(engine, key, Fault::Nobodys, "neither side wants anything");
    }
    torrent.choker.handle_sample(key, if leeching { down } else { up });
    exchange::apply_choking(engine, at);
}

fn handle_performed(engine: &mut Engine, key: PeerKey, orders: u32, uploaded: u64) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    torrent.meter.uploaded += uploaded;
    let Some(talk) = peer.talk() else { return };
    talk.unperformed = talk.unperformed.saturating_sub(orders);
    talk.uploaded += uploaded;
    if uploaded > 0 {
        talk.moved_at = engine.now;
    }
    exchange::serve(engine, key);
    exchange::fill(engine, key);
}

/// Its threads' last words: whatever it held goes back, and nothing of it remains.
fn handle_gone(engine: &mut Engine, key: PeerKey, farewell: Farewell) {
    exchange::put_back(engine, key);
    exchange::abandon(engine, key);
    metadata::handle_gone(engine, key);
    let Some(mut peer) = engine.peers.remove(key.0) else { return };
    engine.order(Order::Reap(key));
    if peer.is_dialling() {
        engine.dials.handle_over();
    }
    if let Some(ticket) = peer.retrying {
        engine.retries.handle_gone(ticket);
    }
    engine.connected -= u32::from(peer.connected);
    engine.admitted -= u32::from(peer.admitted);
    engine.callers -= u32::from(peer.is_caller());
    if engine.making_room == Some(key) {
        engine.making_room = None;
    }
    if let Some(socket) = peer.socket {
        engine.greetings.remove(socket);
    }
    // Whoever hung up first knows why.
    let Farewell { reason, fault } = match &peer.stage {
        Stage::Leaving(Some(ours), _) => ours.clone(),
        Stage::Leaving(None, _) | Stage::Dialling | Stage::Greeting | Stage::Talking(_) => farewell,
    };
    if let Some(torrent) = peer.torrent {
        forget(engine, key, torrent, &mut peer);
        let moved = peer.talk_or_last().map(|talk| (talk.downloaded, talk.uploaded));
        let (downloaded, uploaded) = moved.unwrap_or_default();
        if let Some(contact) = peer.contact {
            let first = dials::is_first_failure(engine, torrent, contact);
            if peer.is_dialling() && fault != Fault::Ourselves && first {
                let message = format!("peer {}: {reason}; it is dialled again", peer.address);
                engine.tell(torrent, TorrentEvent::Warning(message));
            }
            let useful = downloaded + uploaded > 0 && fault != Fault::Theirs;
            dials::handle_over(engine, torrent, contact, fault, useful);
        }
        let state = PeerState::Gone { reason, downloaded, uploaded };
        let (address, client) = (peer.address, peer.client);
        engine.tell(torrent, TorrentEvent::Peer { address, state, client });
    } else {
        engine.events.push_back(Event::Stranger { address: peer.address, reason });
    }
    dials::dial_next(engine);
    ending::end_if_done(engine);
}

/// Takes back what a torrent knew of a peer. Its pieces were taken back word by word before.
fn forget(engine: &mut Engine, key: PeerKey, at: TorrentKey, peer: &mut Peer) {
    let Some(torrent) = engine.torrents.get_mut(at.0) else { return };
    torrent.choker.handle_uninterested(key);
    torrent.chronicler.went(key);
    if let Some(network) = peer.network.take() {
        torrent.let_out(network);
    }
    if let Some(address) = peer.listens_at {
        torrent.contacts.handle_caller_gone(key, address);
    }
    if let Some(talk) = peer.talk_or_last() {
        engine.bans.handle_gone(key, talk.who);
        let name = (talk.who.peer_id, neighbourhood(talk.who.ip));
        if torrent.peer_ids.get(&name) == Some(&key) {
            torrent.peer_ids.remove(&name);
        }
        torrent.seeders -= u32::from(talk.seeder);
        if talk.told_as_seeder {
            torrent.picker.handle_seeder_lost();
        }
    }
    exchange::apply_choking(engine, at);
}
