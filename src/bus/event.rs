//! What the user is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::bus::Dropped;
use crate::formats::announce;
use crate::words::id::{InfoHash, PieceIndex};

/// What the user is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first of all: other peers can reach us here.
    Listening(SocketAddr),
    /// About one torrent.
    Torrent(InfoHash, TorrentEvent),
    /// A connection ended before it was known what it was about.
    Stranger {
        /// Its address.
        address: String,
        /// Why it ended.
        reason: String,
    },
    /// How our node of the ring stands.
    Ring(RingState),
    /// Our node of Mainline has found its neighbours.
    Mainline,
    /// Something that the user should know and that is not about one torrent.
    Warning(String),
    /// This turn of the main thread took longer than [`TURN_SLOW`](crate::words::limits::TURN_SLOW).
    SlowTurn {
        /// The notification that it handled.
        what: &'static str,
        /// How long it took.
        took: Duration,
    },
    /// The turns of the main thread, at the end.
    Turns {
        /// How many there were.
        count: u64,
        /// How long each half, 99 of 100 and 999 of 1000 of them took at most, to a quarter.
        within: [Duration; 3],
        /// How long the slowest took.
        slowest: Duration,
        /// The notification that it handled.
        what: &'static str,
    },
    /// The session's last word.
    Ended,
}

/// How our node of the ring stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingState {
    /// It has its place on the ring, under this address.
    Joined(SocketAddr),
    /// It uses the ring without a place on it.
    Client,
    /// Nobody answers; it goes on trying.
    Alone,
    /// It is about to go; so many datagrams had no effect.
    Dropped(Dropped),
}

/// What the user is told about a torrent.
#[derive(Clone, Debug, PartialEq)]
pub enum TorrentEvent {
    /// It was accepted.
    Started {
        /// Its name.
        name: String,
        /// Bytes, pads left out.
        size: u64,
        /// Pieces.
        pieces: u32,
    },
    /// It was accepted, and its metadata is being looked for.
    Sought {
        /// The name by which its link calls it, or its info-hash.
        name: String,
    },
    /// Its metadata is here.
    Metadata {
        /// Its name.
        name: String,
        /// Bytes, pads left out.
        size: u64,
    },
    /// What was already there is being hashed.
    Checking {
        /// Bytes looked at.
        done: u64,
        /// Bytes to look at.
        size: u64,
    },
    /// It is ready to serve.
    Checked {
        /// Right pieces.
        good: u32,
        /// All pieces.
        pieces: u32,
    },
    /// How it goes, once a second.
    Progress(Progress),
    /// A peer came, or went, and why.
    Peer {
        /// Its address, as far as known.
        address: String,
        /// What happened.
        state: PeerState,
        /// Its client, or empty.
        client: String,
    },
    /// A tracker answered, or did not.
    Tracker {
        /// Its URL, without what may be secret.
        tracker: String,
        /// What happened.
        state: TrackerState,
    },
    /// A piece was verified and written.
    Piece(PieceIndex),
    /// Every wanted piece is verified and written.
    Finished {
        /// From start to end.
        seconds: f64,
        /// Bytes downloaded by this process.
        bytes: u64,
        /// Bytes uploaded by this process.
        uploaded: u64,
        /// The file or folder.
        path: PathBuf,
    },
    /// It is complete, its data is synced and its files are closed.
    Settled {
        /// The file or folder.
        path: PathBuf,
    },
    /// Something that the user should know.
    Warning(String),
    /// Something that ends this torrent.
    Error(Trouble),
}

/// What happened to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The handshakes are done.
    Connected,
    /// It is gone.
    Gone {
        /// Why.
        reason: String,
        /// Bytes of blocks that came from it.
        downloaded: u64,
        /// Bytes of blocks that it got from us.
        uploaded: u64,
    },
}

/// What a tracker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerState {
    /// It answered.
    Answered {
        /// What it was told beside the numbers.
        event: Option<announce::Event>,
        /// Peers that it named.
        peers: usize,
        /// How many share the torrent, as far as it says so.
        counts: announce::Counts,
        /// When it is told again, unless something happens before.
        again: Duration,
    },
    /// It did not, and why.
    Failed(String),
}

/// How a torrent goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Bytes verified and written.
    pub done: u64,
    /// Bytes in all.
    pub size: u64,
    /// Bytes a second that arrive.
    pub down: u64,
    /// Bytes a second that leave.
    pub up: u64,
    /// Bytes uploaded by this process.
    pub uploaded: u64,
    /// Connected peers.
    pub peers: u32,
    /// Those of them that have everything.
    pub seeders: u32,
    /// Seconds to go, if anything arrives.
    pub eta: Option<u64>,
}

/// Something that ends a torrent: one sentence, and its kind, which is the exit
/// code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The kind.
    pub kind: TroubleKind,
    /// The file or address at fault.
    pub what: String,
    /// What is wrong with it, and what to do.
    pub why: String,
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// Nothing came in time, or an address cannot be used.
    Network,
    /// A file cannot be read or written, or is somebody else's.
    FileSystem,
    /// The disk is full.
    NoSpace,
    /// Stopped before it was done.
    Interrupted,
    /// What came is no torrent that this program reads.
    NotATorrent,
    /// An option asks for what is not there.
    Usage,
    /// Anything else.
    Other,
}
