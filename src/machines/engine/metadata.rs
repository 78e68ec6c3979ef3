//! Metadata (BEP 9): ours is given to whoever asks for it; that of a torrent of which the info-hash
//! alone is known is had from its peers.
//!
//! Such a torrent has no pieces yet, and everything else that a torrent has: contacts, a place on
//! the ring, peers. When its metadata is here, what stood for it is replaced, and its peers' threads
//! find out by themselves.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{
    ClerkNews, Fault, MetadataWord, Network, NewTorrent, Order, PeerShared, ToClerk, ToPeer,
    ToStorage, TorrentEvent, Trouble, TroubleKind, Wish,
};
use crate::formats::wire::MetadataMessage;
use crate::formats::wire::metadata::metadata_pieces;
use crate::machines::engine::exchange::{self, hang_up};
use crate::machines::engine::fetch::{Arrival, Fetch};
use crate::machines::engine::timers::Timer;
use crate::machines::engine::torrent::Stage;
use crate::machines::engine::{Engine, Phase, bans, dials, gossip, handlers, networks, pair};
use crate::words::id::{PeerKey, TorrentKey};
use crate::words::limits;
use crate::words::limits::metadata::{
    METADATA_ASKED_MAX, METADATA_LEN_MAX, METADATA_OFFER_MAX, METADATA_SERVED, METADATA_SHORT,
    METADATA_TOLD_AFTER,
};

/// A torrent that is sought: what is to become of it, and how far it is.
#[derive(Debug)]
pub(super) struct Seek {
    wish: Arc<Wish>,
    pub(super) fetch: Fetch,
    /// Addresses that were dialled, each time anew.
    pub(super) dialled: u32,
    /// Peers whose handshakes were done.
    pub(super) met: u32,
    /// Peers that had metadata to offer.
    offered: u32,
}

impl Seek {
    pub(super) fn new(wish: Arc<Wish>) -> Self {
        Self { wish, fetch: Fetch::default(), dialled: 0, met: 0, offered: 0 }
    }
}

/// A torrent of which the info-hash alone is known was added: its peers are looked for at once.
pub(super) fn begin(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.dials_begun = true;
    let name = torrent.context.metainfo.name().to_owned();
    // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
    let contacts = torrent.contacts.keys();
    engine.tell(key, TorrentEvent::Sought { name });
    // Bound: limits::CONTACTS_MAX, limits::FOUND_MAX
    for contact in contacts {
        engine.steps.step();
        dials::enqueue(engine, key, contact);
    }
    dials::dial_next(engine);
    if let Some(timeout) = engine.settings.timeout {
        engine.start_timer(timeout, Timer::Timeout(key));
    }
    engine.start_timer(METADATA_TOLD_AFTER, Timer::Sought(key));
}

/// The metadata is not here for long: the user is told once what was tried.
pub(super) fn handle_sought_due(engine: &mut Engine, key: TorrentKey) {
    let sought = engine.torrents.get(key.0).is_some_and(|torrent| torrent.stage == Stage::Unknown);
    if sought && engine.phase == Phase::Running {
        let message = format!("its metadata is not here yet; tried: {}", tried(engine, key));
        engine.tell(key, TorrentEvent::Warning(message));
    }
}

/// What was tried to find a torrent's metadata.
pub(super) fn tried(engine: &Engine, key: TorrentKey) -> String {
    let Some(torrent) = engine.torrents.get(key.0) else { return String::new() };
    let Some(seek) = &torrent.seek else { return String::new() };
    let found = torrent.contacts.found_ever();
    let [ring, mainline] = [Network::Ring, Network::Mainline].map(|of| engine.networks.has(of));
    let networks = match (ring, mainline) {
        (false, false) => "no ring",
        (false, true) => "no ring, Mainline",
        (true, false) => "the ring",
        (true, true) => "the ring, Mainline",
    };
    let networks = match found {
        _ if !ring && !mainline => networks.to_owned(),
        1 => format!("{networks} (1 address found)"),
        found => format!("{networks} ({found} addresses found)"),
    };
    let mut tried = match torrent.context.metainfo.trackers().len() {
        0 => format!("{networks}, no trackers"),
        1 => format!("{networks}, 1 tracker"),
        trackers => format!("{networks}, {trackers} trackers"),
    };
    let (shown, contacts) = (torrent.contacts.named_first(), torrent.contacts.len());
    match contacts {
        0 => tried.push_str(", no peers"),
        _ => {
            write!(tried, ", peers {}", shown.join(" ")).unwrap_or_default();
            if contacts > shown.len() {
                write!(tried, " and {} more", contacts - shown.len()).unwrap_or_default();
            }
        }
    }
    let Seek { dialled, met, offered, .. } = **seek;
    write!(tried, " ({dialled} dialled, {met} answered, {offered} had metadata)")
        .unwrap_or_default();
    tried
}

// ------------------------------------------------------------------------- What a peer says ---

/// A peer asks for a piece of metadata, or answers.
pub(super) fn handle_message(engine: &mut Engine, key: PeerKey, message: MetadataMessage) {
    match message {
        MetadataMessage::Request(piece) => handle_asked(engine, key, piece),
        MetadataMessage::Data { piece, total_len, data } => {
            handle_piece(engine, key, piece, total_len, data);
        }
        MetadataMessage::Reject(piece) => {
            let refused = with_fetch(engine, key, |fetch| fetch.handle_refusal(key, piece));
            if let Some(Err(why)) = refused {
                return hang_up(engine, key, Fault::Theirs, &why);
            }
            ask_idle(engine, key);
        }
        MetadataMessage::Unknown => {}
    }
}

/// What there is, is given, and to each peer not much oftener than it needs; everything else is
/// refused.
fn handle_asked(engine: &mut Engine, key: PeerKey, piece: u32) {
    let upload = engine.settings.upload;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let metainfo = &torrent.context.metainfo;
    let pieces = metadata_pieces(u32::try_from(metainfo.info_bytes().len()).unwrap_or(0));
    let Some(talk) = peer.talk() else { return };
    // Who does not say how it wants to be answered, is not.
    let Some(id) = talk.metadata_id else { return };
    let offered = upload && !metainfo.private() && piece < pieces;
    let given = offered && talk.metadata_given < METADATA_SERVED * pieces;
    talk.metadata_given += u32::from(given);
    if talk.answers.len() >= limits::UPLOADS_MAX {
        let most = limits::UPLOADS_MAX;
        let reason = format!("it asked for more than {most} pieces of metadata and blocks at once");
        return hang_up(engine, key, Fault::Theirs, &reason);
    }
    let word = if given { MetadataWord::Give(piece) } else { MetadataWord::Refuse(piece) };
    talk.answers.push_back(ToPeer::Metadata(id, word));
    exchange::serve(engine, key);
}

/// A peer says that it has so many bytes of metadata.
pub(super) fn handle_offer(engine: &mut Engine, key: PeerKey, len: u32) {
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let Some(seek) = torrent.seek.as_mut().filter(|_| torrent.stage == Stage::Unknown) else {
        return;
    };
    let Some(talk) = peer.talk() else { return };
    if talk.metadata_len.replace(len).is_none() {
        seek.offered += 1;
    }
    if talk.metadata_id.is_none() {
        return;
    }
    let (free, now) = (free_memory(engine), engine.now);
    let offered = with_fetch(engine, key, |fetch| fetch.handle_offer(key, len, free, now));
    match offered {
        Some(Err(why)) => hang_up(engine, key, Fault::Theirs, &why),
        Some(Ok(())) => ask(engine, key),
        None => {}
    }
}

/// How long the metadata of another try may be: all tries hold no more than blocks may, but for one
/// of any length that is alone, and short ones.
fn free_memory(engine: &Engine) -> u64 {
    let free = match engine.metadata_reserved {
        0 => u64::from(METADATA_LEN_MAX),
        reserved => engine.settings.memory.saturating_sub(reserved),
    };
    free.max(METADATA_SHORT)
}

fn handle_piece(engine: &mut Engine, key: PeerKey, piece: u32, total_len: u32, data: Vec<u8>) {
    let arrived = with_fetch(engine, key, |fetch| fetch.handle_piece(key, piece, total_len, data));
    match arrived {
        None => {}
        Some(Err(why)) => hang_up(engine, key, Fault::Theirs, &why),
        Some(Ok(arrival)) => {
            let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else {
                return;
            };
            torrent.meter.heard_at = engine.now;
            if let (Arrival::Whole(len, pieces), Some(torrent_key), Some(seek)) =
                (arrival, peer.torrent, &torrent.seek)
            {
                let wish = Arc::clone(&seek.wish);
                engine.order(Order::Clerk(torrent_key, ToClerk::Check { len, pieces, wish }));
            }
            ask(engine, key);
        }
    }
}

/// A peer is looked at every now and then: whether it owes us something, or has nothing to offer.
/// `false` if it is hung up on.
pub(super) fn handle_sample(engine: &mut Engine, key: PeerKey) -> bool {
    let now = engine.now;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else {
        return true;
    };
    if !torrent.context.is_unknown() {
        return true;
    }
    let Some(talk) = peer.talk() else { return true };
    let (len, idle_for) = (talk.metadata_len, now.saturating_duration_since(talk.met_at));
    let why = match &torrent.seek {
        None => Some("the metadata of its torrent was given up"),
        Some(seek) if seek.fetch.is_overdue(key, now) => {
            Some("it does not send the metadata that it offers")
        }
        Some(seek) if !seek.fetch.knows(key) && idle_for >= METADATA_OFFER_MAX => {
            Some("it has no metadata to offer")
        }
        Some(_) => None,
    };
    if let Some(why) = why {
        hang_up(engine, key, Fault::Nobodys, why);
        return false;
    }
    if let Some(len) = len {
        with_fetch(engine, key, |fetch| fetch.rest_is_over(key));
        handle_offer(engine, key, len);
    }
    true
}

/// A peer goes: what it was asked for is asked of others.
pub(super) fn handle_gone(engine: &mut Engine, key: PeerKey) {
    let (now, mut steps) = (engine.now, std::mem::take(&mut engine.steps));
    with_fetch(engine, key, |fetch| fetch.handle_gone(key, now, &mut steps));
    engine.steps = steps;
    ask_idle(engine, key);
}

/// Asks `key` for as many pieces as it may be asked for at once.
fn ask(engine: &mut Engine, key: PeerKey) {
    let (now, mut steps) = (engine.now, std::mem::take(&mut engine.steps));
    // Bound: limits::METADATA_ASKED_MAX
    for _ in 0..METADATA_ASKED_MAX {
        let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else {
            break;
        };
        let (Some(seek), Some(talk)) = (&mut torrent.seek, peer.talk()) else { break };
        let Some(id) = talk.metadata_id.filter(|_| talk.has_room()) else { break };
        let Some(piece) = seek.fetch.poll_ask(key, now, &mut steps) else { break };
        talk.tell(&mut engine.orders, key, ToPeer::Metadata(id, MetadataWord::Ask(piece)));
    }
    engine.steps = steps;
}

/// Asks some of those that have nothing to do and are about the same torrent as `key`.
fn ask_idle(engine: &mut Engine, key: PeerKey) {
    if let Some(torrent) = engine.peers.get(key.0).and_then(|peer| peer.torrent) {
        ask_idle_of(engine, torrent);
    }
}

fn ask_idle_of(engine: &mut Engine, torrent: TorrentKey) {
    if engine.phase != Phase::Running {
        return;
    }
    let Some(torrent) = engine.torrents.get_mut(torrent.0) else { return };
    let Some(seek) = &mut torrent.seek else { return };
    let idle = seek.fetch.poll_idle();
    // Bound: limits::METADATA_WAKES
    for key in idle {
        engine.steps.step();
        ask(engine, key);
    }
}

/// Does something with the fetch of a peer's torrent, and keeps account of the memory.
fn with_fetch<T>(
    engine: &mut Engine,
    key: PeerKey,
    act: impl FnOnce(&mut Fetch) -> T,
) -> Option<T> {
    let torrent = engine.peers.get(key.0).and_then(|peer| peer.torrent)?;
    with_fetch_of(engine, torrent, act)
}

fn with_fetch_of<T>(
    engine: &mut Engine,
    torrent: TorrentKey,
    act: impl FnOnce(&mut Fetch) -> T,
) -> Option<T> {
    let seek = engine.torrents.get_mut(torrent.0)?.seek.as_mut()?;
    engine.metadata_reserved -= seek.fetch.reserved();
    let done = act(&mut seek.fetch);
    engine.metadata_reserved += seek.fetch.reserved();
    Some(done)
}

// ----------------------------------------------------------------------- What the clerk says ---

pub(super) fn handle_news(engine: &mut Engine, key: TorrentKey, news: ClerkNews) {
    let sought = engine.torrents.get(key.0).is_some_and(|torrent| torrent.stage == Stage::Unknown);
    if !sought || engine.phase != Phase::Running {
        return;
    }
    match news {
        ClerkNews::Wrong { len } => handle_wrong(engine, key, len),
        ClerkNews::Unusable(trouble) => give_up(engine, key, trouble),
        ClerkNews::Saved { name, size, len, path } => {
            let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
            let seconds = engine.now.duration_since(torrent.meter.started_at).as_secs_f64();
            engine.tell(key, TorrentEvent::Metadata { name, size });
            let saved =
                TorrentEvent::Finished { seconds, bytes: len, uploaded: 0, path: path.clone() };
            engine.tell(key, saved);
            engine.tell(key, TorrentEvent::Settled { path });
            forget_fetch(engine, key);
            handlers::storage::stop_downloading(engine, key);
            handlers::storage::end_if_nothing_is_left(engine);
        }
        ClerkNews::Made(new) => handle_made(engine, key, *new),
    }
}

/// The clerk has no room for the pieces of this length: they are fetched again.
pub(super) fn handle_undelivered(engine: &mut Engine, key: TorrentKey, len: u32) {
    let (now, mut steps) = (engine.now, std::mem::take(&mut engine.steps));
    with_fetch_of(engine, key, |fetch| fetch.handle_lost(len, now, &mut steps));
    engine.steps = steps;
    ask_idle_of(engine, key);
}

/// The pieces were not the metadata of the torrent. Whoever sent all of them is guilty.
fn handle_wrong(engine: &mut Engine, key: TorrentKey, len: u32) {
    let (now, mut steps) = (engine.now, std::mem::take(&mut engine.steps));
    let guilty = with_fetch_of(engine, key, |fetch| fetch.handle_wrong(len, now, &mut steps));
    engine.steps = steps;
    let message = "metadata arrived that is not the torrent's, and is fetched again".to_owned();
    engine.tell(key, TorrentEvent::Warning(message));
    if let Some(guilty) = guilty.flatten() {
        bans::ban(engine, guilty, "it sent metadata that is not the torrent's");
    }
    ask_idle_of(engine, key);
}

/// The metadata is here: what stood for the torrent makes room for it, and it begins as any other.
fn handle_made(engine: &mut Engine, key: TorrentKey, new: NewTorrent) {
    forget_fetch(engine, key);
    let sequential = engine.settings.sequential;
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    torrent.make_known(new, sequential);
    let (context, place) = (Arc::clone(&torrent.context), torrent.place.clone());
    let metainfo = Arc::clone(&context.metainfo);
    if metainfo.private() {
        // Whoever was not named came from where a private torrent's peers must not come from.
        torrent.contacts.forget_found();
    }
    let (name, size) = (metainfo.name().to_owned(), metainfo.size());
    engine.tell(key, TorrentEvent::Metadata { name: name.clone(), size });
    engine.tell(key, TorrentEvent::Started { name, size, pieces: metainfo.pieces() });
    engine.order(Order::Storage(key, ToStorage::Open { context, place }));
    if metainfo.private() {
        networks::withdraw(engine, key);
    } else {
        networks::look_after(engine, key, Duration::ZERO);
    }
}

/// A peer's reader has found the metadata: from now on the peer talks about pieces.
pub(super) fn handle_renewed(engine: &mut Engine, key: PeerKey, shared: Arc<PeerShared>) {
    let upload = engine.settings.upload;
    let Some((peer, torrent)) = pair(&mut engine.peers, &mut engine.torrents, key) else { return };
    let private = torrent.context.metainfo.private();
    let contact = peer.contact.and_then(|contact| torrent.contacts.get(contact));
    let named = contact.is_some_and(|contact| contact.named);
    let Some(talk) = peer.talk_or_last() else { return };
    talk.shared = shared;
    let offers = upload && !private && talk.metadata_id.is_some();
    let Some(talk) = peer.talk() else { return };
    if private && !named {
        let why = "the torrent is private, and it was not met by its trackers";
        return hang_up(engine, key, Fault::Ours, why);
    }
    // Its writer wakes up by it; a writer that has orders left looks anyway.
    if talk.has_room() {
        let order = if offers { ToPeer::OfferMetadata } else { ToPeer::Look };
        talk.tell(&mut engine.orders, key, order);
    }
    gossip::handle_renewed(engine, key);
}

/// Nothing more is fetched.
fn forget_fetch(engine: &mut Engine, key: TorrentKey) {
    let Some(torrent) = engine.torrents.get_mut(key.0) else { return };
    if let Some(seek) = torrent.seek.take() {
        engine.metadata_reserved -= seek.fetch.reserved();
    }
}

/// Ends the search for a torrent's metadata.
pub(super) fn give_up(engine: &mut Engine, key: TorrentKey, trouble: Trouble) {
    forget_fetch(engine, key);
    handlers::storage::stop_downloading(engine, key);
    engine.tell(key, TorrentEvent::Error(trouble));
    handlers::storage::end_if_nothing_is_left(engine);
}

/// Nothing came for as long as the user would wait.
pub(super) fn handle_timeout(engine: &mut Engine, key: TorrentKey, timeout: Duration) {
    let Some(torrent) = engine.torrents.get(key.0) else { return };
    let what = torrent.context.metainfo.name().to_owned();
    let (seconds, tried) = (timeout.as_secs(), tried(engine, key));
    let why =
        format!("no metadata arrived for {seconds} s; tried: {tried}; name a peer with --peer");
    give_up(engine, key, Trouble { kind: TroubleKind::Network, what, why });
}
