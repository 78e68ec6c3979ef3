//! What is said of metadata (BEP 9): of torrents of which the info-hash alone is known.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use crate::bus::{NewTorrent, Place, Trouble};
use crate::words::id::InfoHash;

/// What the clerk says about the metadata of a torrent that is sought.
#[derive(Debug)]
pub enum ClerkNews {
    /// The pieces of this length are not what the info-hash stands for.
    Wrong {
        /// Bytes of all of them.
        len: u32,
    },
    /// They are, but no torrent can be made of them.
    Unusable(Trouble),
    /// They are right: the torrent, to begin as any other.
    Made(Box<NewTorrent>),
    /// They are right, and saved as the user wished, which is all that was asked for.
    Saved {
        /// The torrent's name.
        name: String,
        /// Its bytes, pads left out.
        size: u64,
        /// Bytes of the metadata.
        len: u64,
        /// The file.
        path: PathBuf,
    },
}

/// What is to become of a torrent of which the info-hash alone is known.
#[derive(Debug)]
pub struct Wish {
    /// Its info-hash.
    pub info_hash: InfoHash,
    /// The trackers that its link names.
    pub trackers: Vec<String>,
    /// The web seeds that its link names.
    pub web_seeds: Vec<String>,
    /// Where its data is kept.
    pub place: Place,
    /// The files to download.
    pub select: Select,
    /// Save it as a file, and no more.
    pub save_only: bool,
}

/// Which files of a torrent are wanted, before it is known which there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// All of them.
    All,
    /// These, by their numbers from 1, as the user wrote them.
    Numbers(Vec<RangeInclusive<u32>>),
    /// These, by their indices from 0, as a magnet link has them (BEP 53).
    Indices(Vec<RangeInclusive<u32>>),
}

/// What there is to say about a piece of metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataWord {
    /// Ask for this piece.
    Ask(u32),
    /// Send this piece.
    Give(u32),
    /// Say that it will not get this piece.
    Refuse(u32),
}

/// What the clerk is told.
#[derive(Debug)]
pub enum ToClerk {
    /// See whether these pieces are the metadata of the torrent, and do what is wished.
    Check {
        /// Bytes of all of them.
        len: u32,
        /// The pieces, in their order.
        pieces: Vec<Vec<u8>>,
        /// What is to become of the torrent.
        wish: Arc<Wish>,
    },
}
