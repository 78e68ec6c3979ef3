//! The main thread's handlers in a crowd of any size: the steps of the dearest turn of each kind of
//! news. No thread is started and nothing is opened: the engine is told, and its orders are read.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rondalla::bus::{
    Command, Farewell, Fault, NewTorrent, Notification, Order, PeerNews, PeerShared, Place,
    SocketNumber, StorageNews, ToPeer, ToStorage, TorrentContext,
};
use rondalla::formats::metainfo::{Draft, DraftFile, Metainfo};
use rondalla::formats::wire::Reserved;
use rondalla::machines::engine::{Engine, Goal, SeedUntil, Settings};
use rondalla::words::bitfield::{SharedBitfield, Word};
use rondalla::words::id::{Block, PeerId, PeerKey, PieceIndex, TorrentKey};
use rondalla::words::limits::BLOCK_LEN;

const WORDS: u32 = 70;
const PIECES: u32 = 64 * WORDS;
const PIECE_LEN: u32 = 2 * BLOCK_LEN;

/// The most steps by the kind of news.
pub(crate) type Dearest = BTreeMap<&'static str, u32>;

/// So many peers come, tell what they have, send, ask, and go.
pub(crate) fn dearest(peers: u32) -> Dearest {
    let mut script = Script::new();
    let crowd: Vec<_> = (0..peers).map(|n| script.meets(n)).collect();
    script.trades(&crowd);
    for peer in crowd {
        script.leaves(peer);
    }
    script.dearest
}

/// A peer's threads, as far as the engine sees them.
struct Outside {
    shared: Arc<PeerShared>,
    /// Orders that its writer has not reported.
    unperformed: u32,
    asked: VecDeque<Block>,
}

struct Script {
    engine: Engine,
    now: Instant,
    context: Arc<TorrentContext>,
    torrent: Option<TorrentKey>,
    admitted: Option<PeerKey>,
    peers: BTreeMap<PeerKey, Outside>,
    dearest: Dearest,
}

impl Script {
    fn new() -> Self {
        let settings = Settings {
            goal: Goal::CompleteAndSeed,
            stay: false,
            upload: true,
            chord: false,
            mainline: false,
            lan: false,
            pex: true,
            memory: 40 * u64::from(PIECE_LEN),
            peers_max: 10_000,
            timeout: None,
            sequential: false,
            seed_until: SeedUntil::default(),
        };
        let draft = Draft {
            name: b"crowd".to_vec(),
            piece_length: PIECE_LEN,
            files: vec![DraftFile { path: Vec::new(), len: u64::from(PIECES * PIECE_LEN) }],
            hashes: vec![7; 20 * PIECES as usize],
            ..Draft::default()
        };
        let metainfo = Metainfo::parse(&draft.encode()).unwrap();
        let (publisher, context) = TorrentContext::new(metainfo, SharedBitfield::ones(PIECES));
        let now = Instant::now();
        let mut script = Self {
            engine: Engine::new(settings, PeerId([100; 20]), 1, now),
            now,
            context: Arc::clone(&context),
            torrent: None,
            admitted: None,
            peers: BTreeMap::new(),
            dearest: Dearest::new(),
        };
        let new = NewTorrent {
            context,
            publisher,
            place: Place {
                dir: "d".into(),
                state: "s".into(),
                check: false,
                overwrite: false,
                read_only: false,
            },
            peers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            wish: None,
            trackers: Vec::new(),
            key: 7,
        };
        script.tell("add", Notification::Command(Command::Add(Box::new(new))));
        script.storage("opened", StorageNews::Opened);
        script
    }

    fn tell(&mut self, kind: &'static str, notification: Notification) {
        self.engine.handle(self.now, notification);
        self.read(kind);
    }

    fn storage(&mut self, kind: &'static str, news: StorageNews) {
        self.tell(kind, Notification::Storage(self.torrent.unwrap(), news));
    }

    fn peer(&mut self, kind: &'static str, peer: PeerKey, news: PeerNews) {
        self.tell(kind, Notification::Peer(peer, news));
    }

    fn each(&mut self, kind: &'static str, crowd: &[PeerKey], news: impl Fn() -> PeerNews) {
        crowd.iter().for_each(|peer| self.peer(kind, *peer, news()));
    }

    /// Reads what the last turn took, and what it ordered.
    fn read(&mut self, kind: &'static str) {
        let most = self.dearest.entry(kind).or_default();
        *most = self.engine.steps().max(*most);
        while self.engine.poll_event().is_some() {}
        while let Some(order) = self.engine.poll_order() {
            match order {
                Order::Storage(torrent, ToStorage::Open { .. }) => self.torrent = Some(torrent),
                Order::Admit { peer, .. } => self.admitted = Some(peer),
                Order::Peer(peer, to_peer) => {
                    let Some(outside) = self.peers.get_mut(&peer) else { continue };
                    outside.unperformed += 1;
                    if let ToPeer::Request(range) = to_peer {
                        let block = |n| self.context.metainfo.block(range.piece, range.first + n);
                        outside.asked.extend((0..range.count).map(block));
                    }
                }
                Order::Dial { .. }
                | Order::Ask { .. }
                | Order::Refuse(_)
                | Order::Introduce { .. }
                | Order::HangUp(_)
                | Order::Reap(_)
                | Order::Storage(..)
                | Order::Clerk(..)
                | Order::Chord(_)
                | Order::Mainline(_)
                | Order::Lan(_)
                | Order::Usher(..)
                | Order::Tracker(_)
                | Order::End => {}
            }
        }
    }

    /// Somebody dials, shakes hands, and tells word by word that it has everything.
    fn meets(&mut self, n: u32) -> PeerKey {
        let socket = SocketNumber(n.into());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 50_000));
        self.tell("accepted", Notification::Accepted { socket, address });
        let peer = self.admitted.take().unwrap();
        self.peer("hello", peer, PeerNews::Hello(self.context.metainfo.info_hash()));
        let shared = Arc::new(PeerShared::new(PIECES));
        let outside =
            Outside { shared: Arc::clone(&shared), unperformed: 0, asked: VecDeque::new() };
        self.peers.insert(peer, outside);
        let mut id = [1; 20];
        id[..4].copy_from_slice(&n.to_le_bytes());
        let connected = PeerNews::Connected {
            address,
            peer_id: PeerId(id),
            reserved: Reserved::default(),
            allowed_fast: Vec::new(),
            shared: Arc::clone(&shared),
        };
        self.peer("connected", peer, connected);
        for piece in (0..PIECES).map(PieceIndex) {
            shared.theirs.set(piece);
        }
        for word in words() {
            self.peer("gained", peer, PeerNews::Gained(word));
        }
        self.peer("completed", peer, PeerNews::Completed);
        peer
    }

    fn trades(&mut self, crowd: &[PeerKey]) {
        self.each("interested", crowd, || PeerNews::Interested);
        self.each("unchoked", crowd, || PeerNews::Unchoked);
        self.perform(crowd);
        self.blocks(crowd);
        self.waits(Duration::from_secs(1));
        self.each("sample", crowd, || PeerNews::Sample);
        self.perform(crowd);
        let block = self.context.metainfo.block(PieceIndex(0), 0);
        self.each("requested", crowd, || PeerNews::Requested(block));
        self.perform(crowd);
        self.each("cancelled", crowd, || PeerNews::Cancelled(block));
        self.each("stalled", crowd, || PeerNews::Stalled);
        self.waits(Duration::from_secs(60));
        self.each("choked", crowd, || PeerNews::Choked);
        self.each("not interested", crowd, || PeerNews::NotInterested);
    }

    /// All writers have done what they were told.
    fn perform(&mut self, crowd: &[PeerKey]) {
        for peer in crowd {
            let orders = std::mem::take(&mut self.peers.get_mut(peer).unwrap().unperformed);
            self.peer("performed", *peer, PeerNews::Performed { orders, uploaded: 0 });
        }
    }

    /// What is asked for comes, and the pieces are whole and right.
    fn blocks(&mut self, crowd: &[PeerKey]) {
        let mut pieces = std::collections::BTreeSet::new();
        for peer in crowd {
            let outside = self.peers.get_mut(peer).unwrap();
            for block in std::mem::take(&mut outside.asked) {
                assert!(self.peers[peer].shared.credit.take());
                pieces.insert(block.piece);
                self.peer("block", *peer, PeerNews::Block(block, vec![0; block.len as usize]));
            }
        }
        for piece in pieces {
            self.storage("verified", StorageNews::Verified(piece));
        }
    }

    /// Time passes, each timer by itself.
    fn waits(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.engine.poll_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.engine.handle_time(self.now);
            self.read("time");
        }
        self.now = until;
    }

    fn leaves(&mut self, peer: PeerKey) {
        for word in words() {
            self.peer("lost", peer, PeerNews::Lost(word));
        }
        let farewell = Farewell { reason: String::new(), fault: Fault::Nobodys };
        self.peer("gone", peer, PeerNews::Gone(farewell));
    }
}

/// All pieces, as a reader tells of them.
fn words() -> impl Iterator<Item = Word> {
    (0..WORDS).map(|word| Word { first: PieceIndex(64 * word), bits: u64::MAX })
}
