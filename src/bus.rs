//! All that the threads say to one another, and no logic.
//!
//! - [`Notification`]: what happened. A secondary thread publishes it on *the* channel, and the
//!   main thread receives it.
//! - [`Order`]: what to do. The main thread gives it to one actor, on that actor's own channel,
//!   and never waits.
//! - [`Event`]: what the user is told (`bus/event.rs`). The command line and a library's user
//!   subscribe to it.
//!
//! Whoever has read this file knows the program.

mod event;
mod metadata;
mod networks;
pub mod trackers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crate::formats::krpc::Sharer;
use crate::formats::metainfo::Metainfo;
use crate::formats::remembered::Remembered;
use crate::formats::web_seed::WebSeed;
use crate::formats::wire::{ExtensionHandshake, MetadataMessage, Reserved};
use crate::words::address::Address;
use crate::words::bitfield::{SharedBitfield, Word};
use crate::words::have_log::{HaveLog, Publisher};
use crate::words::id::{
    Block, BlockRange, InfoHash, PeerId, PeerKey, PieceIndex, SkeyHash, TorrentKey,
};
use crate::words::limits;
use crate::words::swarm_log::SwarmLog;

pub use event::{
    Event, PeerState, Progress, RingState, TorrentEvent, TrackerState, Trouble, TroubleKind,
};
pub use metadata::{ClerkNews, MetadataWord, Select, ToClerk, Wish};
pub use networks::{MainlineNews, Neighbour, Network, ToLan, ToMainline};
use trackers::{ToTracker, Tracker, TrackerNews};

// ------------------------------------------------------------------------------ Notification ---

/// What happened: published by a secondary thread, handled by the main thread in constant time.
#[derive(Debug)]
pub enum Notification {
    /// From one peer's threads.
    Peer(PeerKey, PeerNews),
    /// From the porter: somebody dialled us, and waits to be admitted.
    Accepted {
        /// The number under which the porter keeps the socket.
        socket: SocketNumber,
        /// Where it comes from, IPv4-mapped addresses folded to IPv4.
        address: SocketAddr,
    },
    /// From the storage or a hasher, about one torrent.
    Storage(TorrentKey, StorageNews),
    /// Something that the user should know, from whoever has nobody else to tell.
    Warning(String),
    /// From the clerk, about the metadata of a torrent that is sought.
    Clerk(TorrentKey, ClerkNews),
    /// From the reactor, about the ring.
    Chord(ChordNews),
    /// From whoever speaks to trackers.
    Tracker(TrackerNews),
    /// From the reactor, about Mainline.
    Mainline(MainlineNews),
    /// From the reactor: somebody in the local network shares a torrent of ours.
    Lan(Neighbour),
    /// From a network's usher: nodes by which it may be entered.
    Entries(Network, Vec<SocketAddr>),
    /// From the user, or a signal.
    Command(Command),
}

/// A socket that the porter keeps until it is told what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketNumber(pub u64);

/// What a peer's threads say of it. Everything that grows with the torrent is cut into [`Word`]s.
#[derive(Debug)]
pub enum PeerNews {
    /// One that dialled us names its torrent; it waits for [`Order::Introduce`].
    Hello(InfoHash),
    /// One that dialled us and wants encryption names its torrent so; it waits for
    /// [`Order::Introduce`].
    HelloBySkey(SkeyHash),
    /// The handshakes are done; its writer takes orders from now on.
    Connected {
        /// The address at the other end.
        address: SocketAddr,
        /// How it names itself.
        peer_id: PeerId,
        /// The extensions that it knows.
        reserved: Reserved,
        /// The pieces that it was told it may ask for while we choke it (BEP 6).
        allowed_fast: Vec<PieceIndex>,
        /// What its threads and main share.
        shared: Arc<PeerShared>,
    },
    /// It has these pieces, not told before.
    Gained(Word),
    /// It is gone, and these pieces with it: what `Gained` told is taken back.
    Lost(Word),
    /// It has every piece and said so at once: none of them was or will be told one by one.
    Seeder,
    /// It has every piece now, after the `Gained` that told the last.
    Completed,
    /// It will not serve us until it says otherwise. Without the fast extension it forgets what we
    /// asked; with it, it rejects that block by block.
    Choked,
    /// It will serve us.
    Unchoked,
    /// It wants what we have.
    Interested,
    /// It no longer does.
    NotInterested,
    /// It asks for this block.
    Requested(Block),
    /// It no longer wants this block.
    Cancelled(Block),
    /// It will not send this block, for which it was asked (BEP 6).
    Rejected(Block),
    /// We may ask for this piece while it chokes us (BEP 6).
    AllowedFast(PieceIndex),
    /// It sent this block, for which it had credit.
    Block(Block, Vec<u8>),
    /// Its node of Mainline is at this port (BEP 5); told once.
    Node(u16),
    /// It is connected to these (BEP 11): at most [`limits::ring::FOUND_WORD`] of them.
    Exchanged(Vec<Sharer>),
    /// It has no longer every piece (BEP 54): what it has is told in words from now on.
    Incomplete,
    /// The extension handshake (BEP 10).
    Extended(Box<ExtensionHandshake>),
    /// It asks for a piece of metadata (BEP 9), or answers.
    Metadata(MetadataMessage),
    /// Its reader has found the torrent's metadata: what it says of pieces follows, and this is what
    /// its threads and main share from now on.
    Renewed(Arc<PeerShared>),
    /// It owes us blocks and has sent none for [`limits::STALL_AFTER`].
    Stalled,
    /// [`limits::SAMPLE_EVERY`] has passed since the last one: time to measure its rates.
    Sample,
    /// Its writer has carried out orders: room for as many more.
    Performed {
        /// How many orders.
        orders: u32,
        /// Bytes of blocks that were sent.
        uploaded: u64,
    },
    /// Its threads' last words, with the reason.
    Gone(Farewell),
}

/// Why a connection ended: one sentence, and whether the peer is to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The reason, shown at `-v`.
    pub reason: String,
    /// Who ended it.
    pub fault: Fault,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The network, or the other side's own wish.
    Nobodys,
    /// We did, and not for something that it did wrong.
    Ours,
    /// It broke the protocol: dialling it again soon is of no use.
    Theirs,
    /// We had dialled ourselves: not to be done again.
    Ourselves,
}

/// What the storage, or a hasher that checks what is already there, says about a torrent.
#[derive(Debug)]
pub enum StorageNews {
    /// So many bytes have been looked at.
    Checking(u64),
    /// These pieces are on the disk and right.
    Found(Word),
    /// These pieces are not wanted: no selected file is in them.
    Unwanted(Word),
    /// Its files can only grow from their beginning on: the pieces are best asked for in their order.
    InOrder,
    /// All that was there has been looked at: the torrent can begin.
    Opened,
    /// A block of this piece, which is larger than the memory budget, is in its file.
    Written(PieceIndex),
    /// The piece is right and written.
    Verified(PieceIndex),
    /// The piece is whole and wrong; its blocks are forgotten.
    Corrupt(PieceIndex),
    /// Of this piece, which is right now and was wrong before, these blocks (counted as the bits of
    /// a word are) have changed. It comes before `Verified`.
    Guilty(PieceIndex, Word),
    /// The blocks of this piece are forgotten, as was ordered.
    Forgotten(PieceIndex),
    /// The disk refused; nothing more is written for this torrent.
    Failed(Trouble),
    /// Something that the user should know and nobody has to act on.
    Warned(String),
    /// Everything that was downloaded is synced, and the files are closed.
    Settled,
    /// Everything is synced, the state is saved, the files are closed: the torrent's last word.
    Closed,
}

/// What our node says about the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChordNews {
    /// The node has its place on the ring; others see it under this address.
    Joined(SocketAddr),
    /// It uses the ring without a place on it, since others may not reach it (yet).
    Client,
    /// No node answers: it is a ring of one, and goes on trying.
    Alone,
    /// These share the torrent: at most [`limits::ring::FOUND_WORD`] of them.
    Found(InfoHash, Vec<Sharer>),
    /// Nodes by which the ring can be entered again, to be remembered: at most
    /// [`limits::ring::ENTRY_POINTS_MAX`].
    Known(Vec<SocketAddr>),
    /// How many datagrams a node dropped; said once, before the last word.
    Discarded(Dropped),
    /// The node has said goodbye: its last word.
    Left,
}

/// Datagrams that a node of the ring dropped without an effect, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Malformed, cut, nested too deeply, too long, or of another family of addresses.
    pub unreadable: u64,
    /// Answers to what nobody had asked, or from somebody else than who was asked, or too late.
    pub unasked: u64,
    /// Questions beyond what one source may ask.
    pub too_many: u64,
}

/// What the user wants.
#[derive(Debug)]
pub enum Command {
    /// Start a torrent.
    Add(Box<NewTorrent>),
    /// The listener takes connections at this address.
    Listening(SocketAddr),
    /// Say goodbye, save the state, end.
    Quit,
}

/// A torrent that is to be started. Whatever takes time by its size was made on the thread that
/// asked.
#[derive(Debug)]
pub struct NewTorrent {
    /// What its peers' threads need to know.
    pub context: Arc<TorrentContext>,
    /// The one that tells them what we have.
    pub publisher: Publisher,
    /// Where its data is kept.
    pub place: Place,
    /// Peers that the user named: dialled at once, and again while they are down.
    pub peers: Vec<Address>,
    /// Servers that have its files.
    pub web_seeds: Vec<WebSeed>,
    /// Nodes by which the networks can be entered, as its maker named them.
    pub nodes: Vec<(Network, Vec<Address>)>,
    /// What is to become of it when its metadata is here; `None`: it is here. Until then `context`
    /// is [unknown](TorrentContext::unknown).
    pub wish: Option<Arc<Wish>>,
    /// Its trackers in tiers (BEP 12): of each, one is enough.
    pub trackers: Vec<Vec<Arc<Tracker>>>,
    /// A number by which trackers know us when our address changes (BEP 7).
    pub key: u32,
}

/// Where a torrent's data and state are kept, and how much of it is trusted.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder that holds the torrent's file or folder.
    pub dir: PathBuf,
    /// The folder of resume files and locks.
    pub state: PathBuf,
    /// Hash everything, whatever a resume file says.
    pub check: bool,
    /// Use existing files although no piece of them matches.
    pub overwrite: bool,
    /// Only offer what is there: missing files are not made.
    pub read_only: bool,
}

/// What every thread that works for a torrent knows of it.
#[derive(Debug)]
pub struct TorrentContext {
    /// Its description.
    pub metainfo: Arc<Metainfo>,
    /// The verified pieces, in order: subscribe to it.
    pub have_log: Arc<HaveLog>,
    /// The pieces that we lack and want: written by main, read by the peers' writers.
    pub wanted: SharedBitfield,
    /// Bytes of the pieces that were wanted when the torrent was added.
    pub wanted_len: u64,
    /// Whether pieces may still be found or downloaded: as long as that is so, writers look at the
    /// log by themselves. Main clears it after the last piece is published.
    pub growing: AtomicBool,
    /// Who of its peers came and went: written by main, read by the peers' writers.
    pub swarm: Arc<SwarmLog>,
    /// How many writers look at the log: the more, the longer each waits between two looks.
    pub writers: AtomicU32,
    /// What comes in place of this, once the metadata is here; `None`: it is here.
    successor: Option<OnceLock<Arc<Self>>>,
}

impl TorrentContext {
    /// A torrent of which nothing is verified. It takes time by the number of pieces, so it is made
    /// on the thread that adds the torrent.
    pub fn new(metainfo: Metainfo, wanted: SharedBitfield) -> (Publisher, Arc<Self>) {
        let (publisher, have_log) = HaveLog::new(metainfo.pieces());
        let piece_len = |piece| u64::from(metainfo.piece_len(PieceIndex(piece)));
        let wanted_len = (0..metainfo.pieces())
            .filter(|piece| wanted.get(PieceIndex(*piece)))
            .map(piece_len)
            .sum();
        let metainfo = Arc::new(metainfo);
        let (growing, writers) = (AtomicBool::new(true), AtomicU32::new(0));
        let swarm = Arc::default();
        let successor = None;
        let context =
            Self { metainfo, have_log, wanted, wanted_len, growing, swarm, writers, successor };
        (publisher, Arc::new(context))
    }

    /// What stands for a torrent whose metadata is not here: [`Metainfo::unknown`].
    pub fn unknown(metainfo: Metainfo) -> (Publisher, Arc<Self>) {
        let (publisher, have_log) = HaveLog::new(0);
        let context = Self {
            metainfo: Arc::new(metainfo),
            have_log,
            wanted: SharedBitfield::zeros(0),
            wanted_len: 0,
            growing: AtomicBool::new(false),
            swarm: Arc::default(),
            writers: AtomicU32::new(0),
            successor: Some(OnceLock::new()),
        };
        (publisher, Arc::new(context))
    }

    /// Whether this stands for a torrent whose metadata is, or was, not here.
    pub fn is_unknown(&self) -> bool {
        self.successor.is_some()
    }

    /// What has come in place of this.
    pub fn successor(&self) -> Option<&Arc<Self>> {
        self.successor.as_ref()?.get()
    }

    /// The metadata is here: `known` comes in place of this, once.
    pub fn make_room_for(&self, known: &Arc<Self>) {
        if let Some(successor) = &self.successor {
            successor.set(Arc::clone(known)).ok();
        }
    }
}

/// What a peer's reader, its writer and main share.
#[derive(Debug)]
pub struct PeerShared {
    /// The pieces that the peer has: written by its reader.
    pub theirs: SharedBitfield,
    /// The blocks that it may send.
    pub credit: Credit,
    /// What comes in place of this, once the torrent's metadata is here.
    pub renewal: OnceLock<Renewal>,
}

/// What a peer's reader hands to its writer when the torrent's metadata is here.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The torrent, whose pieces are known now.
    pub context: Arc<TorrentContext>,
    /// What is shared from now on.
    pub shared: Arc<PeerShared>,
}

impl PeerShared {
    /// What is shared of a peer that is known to have nothing yet of so many pieces.
    pub fn new(pieces: u32) -> Self {
        Self::of(SharedBitfield::zeros(pieces))
    }

    /// What is shared of a peer that has these pieces.
    pub fn of(theirs: SharedBitfield) -> Self {
        Self { theirs, credit: Credit::default(), renewal: OnceLock::new() }
    }
}

/// How many blocks a peer may send: main grants them with each request, the reader takes one before
/// it accepts a block. So the bytes in flight are bounded before main has seen them.
#[derive(Debug, Default)]
pub struct Credit(AtomicU32);

impl Credit {
    /// Grants `blocks` more, up to [`limits::CREDIT_MAX`].
    pub fn grant(&self, blocks: u32) {
        let add = |credit: u32| Some(credit.saturating_add(blocks).min(limits::CREDIT_MAX));
        // An update that never declines cannot fail.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok();
    }

    /// Takes one; `false` if there is none.
    pub fn take(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |credit| credit.checked_sub(1))
            .is_ok()
    }

    /// Whether the peer owes us a block.
    pub fn is_owed(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

// ------------------------------------------------------------------------------------- Order ---

/// What to do: given by the main thread to one actor, in constant time.
#[derive(Debug)]
pub enum Order {
    /// To the porter: start the threads that dial a peer.
    Dial {
        /// The peer's name from now on.
        peer: PeerKey,
        /// Whom to dial; names are resolved by the peer's own thread.
        to: Address,
        /// The torrent that we want to talk about.
        torrent: TorrentKey,
        /// What there is to know of it.
        context: Arc<TorrentContext>,
    },
    /// To the porter: start the threads that ask a web seed.
    Ask {
        /// Its name from now on.
        peer: PeerKey,
        /// Whom to ask.
        seed: WebSeed,
        /// The torrent whose files it has.
        torrent: TorrentKey,
        /// What there is to know of it.
        context: Arc<TorrentContext>,
    },
    /// To the porter: start the threads of a peer that dialled us.
    Admit {
        /// Its socket.
        socket: SocketNumber,
        /// The peer's name from now on.
        peer: PeerKey,
    },
    /// To the porter: close this socket.
    Refuse(SocketNumber),
    /// To a peer's reader: the torrent that it named in [`PeerNews::Hello`] or
    /// [`PeerNews::HelloBySkey`].
    Introduce {
        /// The peer.
        peer: PeerKey,
        /// Its torrent.
        torrent: TorrentKey,
        /// What there is to know of it.
        context: Arc<TorrentContext>,
    },
    /// To a peer's writer.
    Peer(PeerKey, ToPeer),
    /// End this connection; both its threads wake up and say their last words.
    HangUp(PeerKey),
    /// To the porter: this peer's threads have said [`PeerNews::Gone`], join them.
    Reap(PeerKey),
    /// To the storage.
    Storage(TorrentKey, ToStorage),
    /// To the clerk, about a torrent that is sought.
    Clerk(TorrentKey, ToClerk),
    /// To the reactor, about the ring.
    Chord(ToChord),
    /// To the reactor, about Mainline.
    Mainline(ToMainline),
    /// To the reactor, about the local network.
    Lan(ToLan),
    /// To a network's usher.
    Usher(Network, ToUsher),
    /// To the crier: announce to a tracker.
    Tracker(Box<ToTracker>),
    /// To the main loop: there is nothing left to do.
    End,
}

/// What a peer's writer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToPeer {
    /// Ask for these blocks.
    Request(BlockRange),
    /// Take back the request for this block.
    Cancel(Block),
    /// Serve it no longer.
    Choke,
    /// Serve it.
    Unchoke,
    /// Send it this block.
    Upload(Block),
    /// Do not send this block after all.
    Withdraw(Block),
    /// Tell it that it will not get this block (BEP 6).
    Reject(Block),
    /// Look at the shared bit fields: it may have become interesting.
    Look,
    /// Tell it who comes and goes (BEP 11).
    Exchange {
        /// Under which number it wants to be told.
        id: u8,
        /// Who it is, since it is not told of itself.
        peer: PeerKey,
        /// It is in our local network: only there others of that network are told of.
        near: bool,
    },
    /// Say this about metadata (BEP 9), as the extended message of its number.
    Metadata(u8, MetadataWord),
    /// Say that the metadata is here now, and may be asked for.
    OfferMetadata,
}

/// What the storage is told about a torrent.
#[derive(Debug)]
pub enum ToStorage {
    /// Lock it, open its files, and tell what is already there.
    Open {
        /// What there is to know of it.
        context: Arc<TorrentContext>,
        /// Where to keep it.
        place: Place,
    },
    /// Keep this block until its piece is whole; then hash it and write it.
    Store(Block, Vec<u8>),
    /// Forget the blocks of this piece, and say so: it may be asked for again then.
    Forget(PieceIndex),
    /// Nothing more will be written: forget what is not whole, sync, save the state, close the files;
    /// they may be read again.
    Settle,
    /// Sync, save the state, close the files.
    Close,
}

/// What our node of the ring is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToChord {
    /// Enter the ring by these, or remember them for when it is lost.
    Join(Vec<SocketAddr>),
    /// Say on the ring that we share this torrent, and again before it is forgotten.
    Announce {
        /// The torrent.
        info_hash: InfoHash,
        /// Where we take connections.
        port: u16,
        /// Whether we have all of it.
        seeder: bool,
    },
    /// Say that we no longer share this torrent.
    Withdraw(InfoHash),
    /// Find who shares this torrent.
    Lookup(InfoHash),
    /// Walk round the ring, to see who is on it.
    Walk,
    /// Say goodbye to the ring.
    Leave,
}

/// What an usher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToUsher {
    /// The network may be entered by these, once their names are resolved.
    Resolve(Vec<Address>),
    /// Remember these nodes for the next start.
    Remember(Remembered),
}
