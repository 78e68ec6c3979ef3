//! The engine alone: notifications go in, and what comes out is read as a transcript. After each
//! turn all invariants are checked, and no writer's channel is ever overfull.

/// What happens, line by line, and all that is ordered after it.
macro_rules! script {
    ($($happens:expr => $ordered:expr),* $(,)?) => {
        $(
            let ordered = $happens;
            assert_eq!(ordered, $ordered, "after {}", stringify!($happens));
        )*
    };
}

#[cfg(test)]
mod bans;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod constant_time;
#[cfg(test)]
mod crowds;
#[cfg(test)]
mod endgame;
#[cfg(test)]
mod fast;
#[cfg(test)]
mod gossip;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod networks;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod seeding;
#[cfg(test)]
mod trackers;
#[cfg(test)]
mod web_seeds;

use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::bus::trackers::{ToTracker, Tracker};
use crate::bus::{
    Command, Farewell, Fault, NewTorrent, PeerNews, PeerShared, PeerState, Place, SocketNumber,
    StorageNews, ToChord, ToClerk, ToLan, ToMainline, ToPeer, ToStorage, ToUsher, TorrentContext,
    TrackerState,
};
use crate::formats::metainfo::Metainfo;
use crate::formats::web_seed::WebSeed;
use crate::formats::wire::Reserved;
use crate::machines::made_up;
use crate::words::bitfield::{SharedBitfield, Word};
use crate::words::id::{Block, PieceIndex};
use crate::words::limits::BLOCK_LEN;

/// Our own peer id; that of the peer in place `n` is `[n; 20]`.
const OURS: PeerId = PeerId([100; 20]);

/// An engine, its time, and what it has been told and has ordered.
struct Drive {
    engine: Engine,
    now: Instant,
    /// The latest tenant of each place for peers.
    peers: BTreeMap<u32, Outside>,
    torrents: Vec<Arc<TorrentContext>>,
    /// The trackers of the torrent that is added next.
    trackers: Vec<Vec<Arc<Tracker>>>,
    /// The announces that are under way, oldest first.
    announces: VecDeque<ToTracker>,
    /// The web seeds of the torrent that is added next.
    web_seeds: Vec<WebSeed>,
    sockets: u64,
    /// The blocks of each piece that the storage holds.
    stored: BTreeMap<PieceIndex, u32>,
    /// Invariants are checked after each turn; it takes time by the size of everything.
    checked: bool,
}

/// A peer's threads, as far as the engine sees them.
#[derive(Debug)]
struct Outside {
    key: PeerKey,
    shared: Option<Arc<PeerShared>>,
    /// It knows the fast extension, as we do.
    fast: bool,
    /// Orders in its writer's channel, or carried out and not reported.
    unperformed: u32,
    /// What it was asked for and has not sent.
    asked: VecDeque<Block>,
    hung_up: bool,
}

/// How a peer introduces itself.
#[derive(Clone, Copy)]
struct Greeting {
    ip: &'static str,
    peer_id: PeerId,
    reserved: Reserved,
    /// The pieces that it was told it may ask for while we choke it.
    allowed_fast: &'static str,
}

impl Default for Greeting {
    fn default() -> Self {
        let (peer_id, reserved) = (PeerId([0; 20]), Reserved::default());
        Self { ip: "127.0.0.1", peer_id, reserved, allowed_fast: "" }
    }
}

fn settings() -> Settings {
    Settings {
        goal: Goal::Complete,
        stay: false,
        upload: true,
        chord: false,
        mainline: false,
        lan: false,
        pex: true,
        memory: limits::MEMORY_DEFAULT,
        peers_max: 100,
        timeout: None,
        sequential: false,
        seed_until: SeedUntil::default(),
    }
}

impl Drive {
    fn new(settings: Settings) -> Self {
        let start = made_up::start();
        Self {
            engine: Engine::new(settings, OURS, 1, start),
            now: start,
            peers: BTreeMap::new(),
            torrents: Vec::new(),
            trackers: Vec::new(),
            announces: VecDeque::new(),
            web_seeds: Vec::new(),
            sockets: 0,
            stored: BTreeMap::new(),
            checked: true,
        }
    }

    /// An engine with one opened torrent of so many pieces of two blocks, without any of them.
    fn downloading(settings: Settings, pieces: u32) -> Self {
        let mut drive = Self::new(settings);
        drive.adds(torrent(pieces), &[]);
        drive.storage(0, StorageNews::Opened);
        drive.events();
        drive
    }

    /// Something happens: the orders that it leads to.
    fn handle(&mut self, notification: Notification) -> String {
        self.engine.handle(self.now, notification);
        self.orders()
    }

    fn adds(&mut self, metainfo: Metainfo, contacts: &[&str]) -> String {
        let each = match self.engine.settings.goal {
            Goal::Seed => ".",
            Goal::Complete | Goal::CompleteAndSeed => "#",
        };
        let wanted = each.repeat(metainfo.pieces() as usize);
        self.adds_wanting(metainfo, contacts, &wanted)
    }

    /// The user adds a torrent and selects files that are in these pieces.
    fn adds_wanting(&mut self, metainfo: Metainfo, contacts: &[&str], wanted: &str) -> String {
        let wanted = made_up::shared(wanted);
        let (publisher, context) = TorrentContext::new(metainfo, wanted);
        let place = Place {
            dir: "d".into(),
            state: "s".into(),
            check: false,
            overwrite: false,
            read_only: false,
        };
        let peers = contacts.iter().map(|address| address.parse().unwrap()).collect();
        self.torrents.push(Arc::clone(&context));
        let (nodes, trackers) = (Vec::new(), std::mem::take(&mut self.trackers));
        let web_seeds = std::mem::take(&mut self.web_seeds);
        let (wish, key) = (None, 7);
        let new =
            NewTorrent { context, publisher, place, peers, web_seeds, nodes, trackers, key, wish };
        self.handle(Notification::Command(Command::Add(Box::new(new))))
    }

    fn quits(&mut self) -> String {
        self.handle(Notification::Command(Command::Quit))
    }

    fn storage(&mut self, torrent: u32, news: StorageNews) -> String {
        if let StorageNews::Verified(piece) | StorageNews::Corrupt(piece) = &news {
            self.stored.remove(piece);
        }
        self.handle(Notification::Storage(made_up::torrent_key(torrent), news))
    }

    /// Time passes, timer by timer.
    fn waits(&mut self, time: Duration) -> String {
        let until = self.now + time;
        let mut orders = Vec::new();
        while let Some(due) = self.engine.poll_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.engine.handle_time(self.now);
            orders.push(self.orders());
        }
        self.now = until;
        orders.retain(|orders| !orders.is_empty());
        orders.join(", ")
    }

    /// Somebody dials us.
    fn accepted(&mut self) -> String {
        self.accepted_from("127.0.0.1")
    }

    fn accepted_from(&mut self, ip: &str) -> String {
        self.sockets += 1;
        let socket = SocketNumber(self.sockets);
        let address = SocketAddr::new(ip.parse().unwrap(), 50_000);
        self.handle(Notification::Accepted { socket, address })
    }

    /// Somebody dials us and names the torrent.
    fn accepts(&mut self, torrent: usize) -> u32 {
        let admit = self.accepted();
        let peer = admit.strip_prefix("admit ").unwrap().parse().unwrap();
        let info_hash = self.torrents[torrent].metainfo.info_hash();
        assert_eq!(self.news(peer, PeerNews::Hello(info_hash)), format!("introduce {peer}"));
        peer
    }

    /// The handshakes with a peer of the first torrent are done, and its id is `[id; 20]`.
    fn connected(&mut self, peer: u32, id: u8) -> String {
        self.greeted(peer, Greeting { peer_id: PeerId([id; 20]), ..Greeting::default() })
    }

    fn greeted(&mut self, peer: u32, greeting: Greeting) -> String {
        let pieces = self.torrents[0].metainfo.pieces();
        let theirs = SharedBitfield::zeros(pieces);
        let shared = Arc::new(PeerShared::of(theirs));
        self.peers.get_mut(&peer).unwrap().shared = Some(Arc::clone(&shared));
        let Greeting { ip, peer_id, reserved, allowed_fast } = greeting;
        let address = SocketAddr::new(ip.parse().unwrap(), 1);
        let allowed_fast = made_up::pieces(allowed_fast).collect();
        self.news(peer, PeerNews::Connected { address, peer_id, reserved, allowed_fast, shared })
    }

    /// Somebody dials us for the first torrent, shakes hands, and has these pieces.
    fn joins(&mut self, picture: &str) -> u32 {
        let peer = self.accepts(0);
        self.connected(peer, u8::try_from(peer).unwrap());
        self.has(peer, picture);
        peer
    }

    /// The same with the fast extension; it may ask for the pieces of `allowed` while it is choked.
    fn joins_fast(&mut self, picture: &str, allowed: &'static str) -> u32 {
        let peer = self.accepts(0);
        let peer_id = PeerId([u8::try_from(peer).unwrap(); 20]);
        let reserved = Reserved::default().with_fast();
        let greeting = Greeting { peer_id, reserved, allowed_fast: allowed, ..Greeting::default() };
        self.greeted(peer, greeting);
        self.has(peer, picture);
        peer
    }

    fn news(&mut self, peer: u32, news: PeerNews) -> String {
        let outside = self.peers.get_mut(&peer).unwrap();
        let key = outside.key;
        if let PeerNews::Connected { reserved, .. } = &news {
            outside.fast = reserved.fast();
        } else if let PeerNews::Performed { orders, .. } = &news {
            outside.unperformed -= orders;
        } else if let PeerNews::Block(block, _) | PeerNews::Rejected(block) = &news {
            outside.asked.retain(|asked| asked != block);
        } else if matches!(news, PeerNews::Choked) && !outside.fast {
            outside.asked.clear();
        } else if matches!(news, PeerNews::Gone(_)) {
            self.peers.remove(&peer);
        }
        self.handle(Notification::Peer(key, news))
    }

    /// A peer tells of these pieces, one by one.
    fn has(&mut self, peer: u32, picture: &str) -> String {
        let shared = self.shared(peer);
        let mut ordered = Vec::new();
        for piece in made_up::pieces(picture).filter(|piece| shared.theirs.set(*piece)) {
            ordered.push(self.news(peer, PeerNews::Gained(Word::of(piece))));
        }
        ordered.retain(|orders| !orders.is_empty());
        ordered.join(", ")
    }

    /// A peer sends a block, as far as its credit goes.
    fn sends(&mut self, peer: u32, piece: u32, n: u32) -> String {
        assert!(self.shared(peer).credit.take(), "its reader would hang up");
        let block = self.block(piece, n);
        self.news(peer, PeerNews::Block(block, vec![0; block.len as usize]))
    }

    /// A peer rejects a block, as far as its credit goes.
    fn rejects(&mut self, peer: u32, piece: u32, n: u32) -> String {
        assert!(self.shared(peer).credit.take(), "its reader would say nothing");
        self.news(peer, PeerNews::Rejected(self.block(piece, n)))
    }

    /// A peer asks for a block.
    fn requests(&mut self, peer: u32, piece: u32, n: u32) -> String {
        self.news(peer, PeerNews::Requested(self.block(piece, n)))
    }

    /// Block `n` of a piece of the first torrent.
    fn block(&self, piece: u32, n: u32) -> Block {
        self.torrents[0].metainfo.block(PieceIndex(piece), n)
    }

    /// Its writer has done all that it was told.
    fn performs(&mut self, peer: u32) -> String {
        let orders = self.peers[&peer].unperformed;
        self.news(peer, PeerNews::Performed { orders, uploaded: 0 })
    }

    /// Its threads take back what it had, and end.
    fn goes(&mut self, peer: u32) -> String {
        if let Some(shared) = self.peers[&peer].shared.clone() {
            made_up::words(&shared.theirs)
                .for_each(|word| drop(self.news(peer, PeerNews::Lost(word))));
        }
        let farewell = Farewell { reason: "it left".into(), fault: Fault::Nobodys };
        self.news(peer, PeerNews::Gone(farewell))
    }

    fn shared(&self, peer: u32) -> Arc<PeerShared> {
        Arc::clone(self.peers[&peer].shared.as_ref().unwrap())
    }

    /// What the engine knows of a peer that talks.
    fn talk(&mut self, peer: u32) -> &mut peer::Talk {
        self.engine.peers.get_mut(self.peers[&peer].key.0).and_then(Peer::talk).unwrap()
    }

    /// Whether a peer of the first torrent holds a slot.
    fn is_served(&self, peer: u32) -> bool {
        let torrent = self.engine.torrents.get(made_up::torrent_key(0).0).unwrap();
        torrent.choker.is_unchoked(self.peers[&peer].key)
    }

    /// The orders since the last look, drawn.
    fn orders(&mut self) -> String {
        let mut drawn = Vec::new();
        while let Some(order) = self.engine.poll_order() {
            self.note(&order);
            drawn.push(draw_order(&order));
        }
        if self.checked {
            self.engine.check();
        }
        drawn.join(", ")
    }

    fn note(&mut self, order: &Order) {
        match order {
            Order::Storage(_, ToStorage::Store(block, _)) => {
                let blocks = self.stored.entry(block.piece).or_default();
                *blocks += 1;
                let len = self.torrents[0].metainfo.blocks(block.piece);
                assert!(*blocks <= len, "a block is stored once");
            }
            Order::Storage(_, ToStorage::Forget(piece)) => {
                self.stored.remove(piece);
            }
            Order::Dial { peer, .. } | Order::Ask { peer, .. } | Order::Admit { peer, .. } => {
                let outside = Outside {
                    key: *peer,
                    shared: None,
                    fast: false,
                    unperformed: 0,
                    asked: VecDeque::new(),
                    hung_up: false,
                };
                assert!(self.peers.insert(peer.0.index, outside).is_none(), "the place was free");
            }
            Order::Peer(peer, to_peer) => {
                let outside = self.peers.get_mut(&peer.0.index).unwrap();
                assert_eq!(outside.key, *peer);
                outside.unperformed += 1;
                assert!(outside.unperformed <= limits::OUTBOX_MAX, "{order:?}");
                if let ToPeer::Request(range) = to_peer {
                    let at = self.engine.peers.get(peer.0).and_then(|peer| peer.torrent);
                    let at = at.map_or(0, |torrent| torrent.0.index as usize);
                    let blocks = (0..range.count).map(|n| {
                        let metainfo = &self.torrents[at].metainfo;
                        metainfo.block(range.piece, range.first + n)
                    });
                    outside.asked.extend(blocks);
                }
            }
            Order::Tracker(order) => self.announces.push_back((**order).clone()),
            Order::HangUp(peer) => {
                if let Some(outside) = self.peers.get_mut(&peer.0.index) {
                    outside.hung_up = true;
                }
            }
            Order::Refuse(_)
            | Order::Introduce { .. }
            | Order::Reap(_)
            | Order::Storage(..)
            | Order::Clerk(..)
            | Order::Chord(_)
            | Order::Mainline(_)
            | Order::Lan(_)
            | Order::Usher(..)
            | Order::End => {}
        }
    }

    /// What the user was told since the last look, drawn; progress is left out.
    fn events(&mut self) -> String {
        let events = std::iter::from_fn(|| self.engine.poll_event());
        events.filter_map(|event| draw_event(&event)).collect::<Vec<_>>().join(", ")
    }
}

/// A torrent of so many pieces of two blocks.
fn torrent(pieces: u32) -> Metainfo {
    made_up::torrent("t", 2 * BLOCK_LEN, u64::from(pieces) * 2 * u64::from(BLOCK_LEN))
}

fn draw_order(order: &Order) -> String {
    let block = |block: &Block| format!("{}:{}", block.piece.0, block.offset / BLOCK_LEN);
    match order {
        Order::Ask { peer, seed, .. } => format!("ask {peer} at {seed}"),
        Order::Dial { peer, to, .. } => format!("dial {peer} at {to}"),
        Order::Admit { peer, .. } => format!("admit {peer}"),
        Order::Refuse(_) => "refuse".into(),
        Order::Introduce { peer, .. } => format!("introduce {peer}"),
        Order::HangUp(peer) => format!("hang up {peer}"),
        Order::Reap(peer) => format!("reap {peer}"),
        Order::End => "end".into(),
        Order::Peer(peer, ToPeer::Request(range)) => {
            format!("ask {peer} for {}:{}+{}", range.piece.0, range.first, range.count)
        }
        Order::Peer(peer, ToPeer::Cancel(n)) => format!("cancel {} of {peer}", block(n)),
        Order::Peer(peer, ToPeer::Choke) => format!("choke {peer}"),
        Order::Peer(peer, ToPeer::Unchoke) => format!("unchoke {peer}"),
        Order::Peer(peer, ToPeer::Upload(n)) => format!("upload {} to {peer}", block(n)),
        Order::Peer(peer, ToPeer::Withdraw(n)) => format!("withdraw {} of {peer}", block(n)),
        Order::Peer(peer, ToPeer::Reject(n)) => format!("reject {} of {peer}", block(n)),
        Order::Peer(peer, ToPeer::Exchange { id, .. }) => format!("exchange with {peer} as {id}"),
        Order::Peer(peer, ToPeer::Look) => format!("let {peer} look"),
        Order::Peer(peer, ToPeer::Metadata(id, word)) => {
            let word = format!("{word:?}").to_lowercase();
            format!("metadata {word} to {peer} as {id}")
        }
        Order::Storage(_, ToStorage::Open { .. }) => "open".into(),
        Order::Storage(_, ToStorage::Store(n, _)) => format!("store {}", block(n)),
        Order::Storage(_, ToStorage::Forget(piece)) => format!("forget {}", piece.0),
        Order::Storage(_, ToStorage::Settle) => "settle".into(),
        Order::Storage(_, ToStorage::Close) => "close".into(),
        Order::Peer(peer, ToPeer::OfferMetadata) => format!("offer {peer} the metadata"),
        Order::Clerk(_, ToClerk::Check { len, pieces, .. }) => {
            assert_eq!(pieces.concat().len(), *len as usize);
            format!("check {len}")
        }
        Order::Chord(ToChord::Join(nodes)) => format!("join by {nodes:?}"),
        Order::Chord(ToChord::Announce { port, seeder, .. }) => {
            format!("announce {} at {port}", if *seeder { "a seeder" } else { "a leecher" })
        }
        Order::Chord(ToChord::Withdraw(_)) => "withdraw".into(),
        Order::Chord(ToChord::Lookup(_)) => "look up".into(),
        Order::Chord(ToChord::Walk) => "walk".into(),
        Order::Chord(ToChord::Leave) => "leave the ring".into(),
        Order::Tracker(order) => {
            let event = order.announce.event.map(|event| format!("{event} ")).unwrap_or_default();
            format!("tell {event}to {}", order.tracker)
        }
        Order::Mainline(ToMainline::Join(nodes)) => format!("join Mainline by {nodes:?}"),
        Order::Mainline(ToMainline::Meet(node)) => format!("meet {node}"),
        Order::Mainline(ToMainline::Announce { port, .. }) => {
            format!("announce {port} on Mainline")
        }
        Order::Mainline(ToMainline::Withdraw(_)) => "withdraw from Mainline".into(),
        Order::Mainline(ToMainline::Lookup(_)) => "look up on Mainline".into(),
        Order::Mainline(ToMainline::Leave) => "leave Mainline".into(),
        Order::Lan(ToLan::Announce(_)) => "announce in the local network".into(),
        Order::Lan(ToLan::Withdraw(_)) => "withdraw from the local network".into(),
        Order::Usher(_, ToUsher::Resolve(nodes)) => format!("resolve {} nodes", nodes.len()),
        Order::Usher(_, ToUsher::Remember(known)) => {
            format!("remember {} nodes", known.nodes.len())
        }
    }
}

fn draw_event(event: &Event) -> Option<String> {
    let Event::Torrent(_, event) = event else { return Some(format!("{event:?}")) };
    Some(match event {
        TorrentEvent::Progress(_) => return None,
        TorrentEvent::Sought { name } => format!("sought {name}"),
        TorrentEvent::Metadata { name, size } => format!("metadata of {name}, {size}"),
        TorrentEvent::Started { pieces, .. } => format!("started {pieces}"),
        TorrentEvent::Checking { done, size } => format!("checking {done}/{size}"),
        TorrentEvent::Checked { good, pieces } => format!("checked {good}/{pieces}"),
        TorrentEvent::Peer { address, state: PeerState::Connected, .. } => {
            format!("{address} connected")
        }
        TorrentEvent::Peer { state: PeerState::Gone { reason, .. }, .. } => {
            format!("gone: {reason}")
        }
        TorrentEvent::Tracker { state: TrackerState::Failed(why), tracker } => {
            format!("{tracker} failed: {why}")
        }
        TorrentEvent::Tracker { tracker, .. } => format!("{tracker} answered"),
        TorrentEvent::Piece(piece) => format!("piece {}", piece.0),
        TorrentEvent::Finished { bytes, uploaded, .. } => format!("finished {bytes}/{uploaded}"),
        TorrentEvent::Settled { .. } => "settled".into(),
        TorrentEvent::Warning(message) => format!("warning: {message}"),
        TorrentEvent::Error(trouble) => format!("error: {}: {}", trouble.what, trouble.why),
    })
}
