//! Torrents: what a `.torrent` file says (BEP 3), checked once, so that nobody checks it again.
//!
//! [`Metainfo::parse`] reads, [`Draft::encode`] writes, and `geometry` answers which bytes belong
//! to which piece, block and file. Torrents of version 1 and the version 1 part of hybrids are
//! read. What `info` says must be right; what a torrent says beside it (trackers, comment) is
//! advice, of which the unreadable is left out.

mod encode;
mod geometry;
mod parse;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::formats::path::PathError;
use crate::words::bencode;
use crate::words::id::InfoHash;
use crate::words::limits::{FILES_MAX, PIECE_LEN_MAX, PIECES_MAX, TORRENT_LEN_MAX};

pub use encode::{Draft, DraftFile, piece_length_for};
pub use geometry::Stretch;

/// A torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    info: Vec<u8>,
    info_hash: InfoHash,
    name: String,
    piece_length: u32,
    hashes: Range<usize>,
    files: Vec<File>,
    is_single_file: bool,
    len: u64,
    size: u64,
    private: bool,
    source: Option<String>,
    advice: Advice,
}

/// A file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it belongs, below the folder that the user chose. In a torrent of many files the
    /// first component is the torrent's name. It climbs nowhere, and no other file has it.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// Where it begins in the torrent, in bytes.
    pub offset: u64,
    /// Whether it exists in the torrent only: zeros that fill a piece (BEP 47), or a symbolic
    /// link, which is never made. Its path is not to be used.
    pub pad: bool,
}

/// What stands beside `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Advice {
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    chord_nodes: Vec<(String, u16)>,
    nodes: Vec<(String, u16)>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
}

impl Metainfo {
    /// What names the torrent: the SHA-1 of the raw bytes of `info`.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// The name as people are told of it: text, whatever bytes the torrent has there, and without
    /// control characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file, or the folder of the files, below the folder that the user chose: one component,
    /// the same as [`name`](Self::name) unless the torrent has bytes there that are not UTF-8.
    pub fn root(&self) -> &Path {
        // Only an unknown one has no files.
        let first = self.files.first().and_then(|file| file.path.iter().next());
        first.map_or_else(|| Path::new(&self.name), Path::new)
    }

    /// All bytes that pieces are made of, those of pad files included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the torrent has no bytes, which is legal.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of all files but pad files: what a user downloads.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The length in bytes of every piece but the last.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// The files in the order of their bytes, pad files among them.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Whether the torrent is one file, without a folder of its own.
    pub fn is_single_file(&self) -> bool {
        self.is_single_file
    }

    /// Whether peers may come from the torrent's trackers only (BEP 27).
    pub fn private(&self) -> bool {
        self.private
    }

    /// The trackers' URLs in tiers (BEP 12).
    pub fn trackers(&self) -> &[Vec<String>] {
        &self.advice.trackers
    }

    /// URLs that serve the same bytes by HTTP (BEP 19).
    pub fn web_seeds(&self) -> &[String] {
        &self.advice.web_seeds
    }

    /// Hosts and ports by which to enter the Chord ring: the torrent's key `chord nodes`, in the form
    /// of BEP 5's `nodes`.
    pub fn chord_nodes(&self) -> &[(String, u16)] {
        &self.advice.chord_nodes
    }

    /// Hosts and ports by which to enter Mainline (BEP 5, "torrent file extensions").
    pub fn nodes(&self) -> &[(String, u16)] {
        &self.advice.nodes
    }

    /// The maker's comment, as a stranger wrote it: to be escaped before a terminal sees it.
    pub fn comment(&self) -> Option<&str> {
        self.advice.comment.as_deref()
    }

    /// The program that made the torrent; to be escaped like [`comment`](Self::comment).
    pub fn created_by(&self) -> Option<&str> {
        self.advice.created_by.as_deref()
    }

    /// When the torrent was made, in seconds since 1970.
    pub fn creation_date(&self) -> Option<i64> {
        self.advice.creation_date
    }

    /// `source` inside `info`, by which private trackers make torrents of the same data differ;
    /// to be escaped like [`comment`](Self::comment).
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The raw bytes of `info`, which `ut_metadata` (BEP 9) hands out.
    pub fn info_bytes(&self) -> &[u8] {
        &self.info
    }
}

/// Why bytes are no torrent that this program reads. Its text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetainfoError {
    /// More than [`TORRENT_LEN_MAX`] bytes.
    TooLong,
    /// The bytes are not bencode.
    Bencode(bencode::Error),
    /// The bytes are bencode, but no dictionary.
    NoDictionary,
    /// This key is missing.
    Missing(&'static str),
    /// The value of this key is of a wrong kind or out of its range.
    Invalid(&'static str),
    /// A torrent of BEP 52 without a part of version 1.
    V2Only,
    /// A piece is longer than [`PIECE_LEN_MAX`].
    PieceLength(i64),
    /// `pieces` has so many hashes, but the files need so many.
    Pieces {
        /// The hashes in `pieces`.
        found: u64,
        /// The pieces that the files have.
        needed: u64,
    },
    /// More than [`FILES_MAX`] files.
    TooManyFiles,
    /// More than [`PIECES_MAX`] pieces.
    TooManyPieces,
    /// The lengths of the files add up to more than any file system holds.
    TooLarge,
    /// A path that cannot be made safe.
    Path(PathError),
}

impl fmt::Display for MetainfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it is longer than {} MiB", TORRENT_LEN_MAX >> 20),
            Self::Bencode(error) => write!(f, "it is no torrent: {error}"),
            Self::NoDictionary => write!(f, "it is bencode, but not a dictionary"),
            Self::Missing(key) => write!(f, "it has no \"{key}\""),
            Self::Invalid(key) => write!(f, "its \"{key}\" is invalid"),
            Self::V2Only => {
                write!(f, "a v2-only torrent (BEP 52), which this version cannot read")
            }
            Self::PieceLength(len) => {
                write!(f, "its pieces are {len} bytes long; 1 to {PIECE_LEN_MAX} are possible")
            }
            Self::Pieces { found, needed } => {
                write!(f, "it has the hashes of {found} pieces, but its files need {needed}")
            }
            Self::TooManyFiles => write!(f, "it has more than {FILES_MAX} files"),
            Self::TooManyPieces => write!(f, "it has more than {PIECES_MAX} pieces"),
            Self::TooLarge => write!(f, "its files are larger than any disk"),
            Self::Path(error) => write!(f, "it has {error}"),
        }
    }
}

impl std::error::Error for MetainfoError {}

impl From<bencode::Error> for MetainfoError {
    fn from(error: bencode::Error) -> Self {
        Self::Bencode(error)
    }
}

impl From<PathError> for MetainfoError {
    fn from(error: PathError) -> Self {
        Self::Path(error)
    }
}
