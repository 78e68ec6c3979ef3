//! Indices and identifiers, each a type of its own, so that none can stand in for another.

use std::fmt;

/// A piece of one torrent, counted from 0 (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(pub u32);

impl PieceIndex {
    /// The same number as an index into a slice.
    pub fn slot(self) -> usize {
        self.0 as usize
    }
}

/// A block: part of a piece, the unit of requests (BEP 3, "peer messages").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece it belongs to.
    pub piece: PieceIndex,
    /// Where it begins in the piece, in bytes.
    pub offset: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// The 20 bytes that name a torrent: the SHA-1 of the raw bytes of `info` (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

/// The name by which an encrypted handshake asks for a torrent: the SHA-1 of `req2` and the info-hash
/// (Message Stream Encryption).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkeyHash(pub [u8; 20]);

/// The 20 bytes by which a client names itself in its handshake (BEP 3; client codes: BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl fmt::Display for PeerId {
    /// Printable bytes as they are, others as `.`, since the bytes come from a stranger.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| {
            let shown = if byte.is_ascii_graphic() { char::from(byte) } else { '.' };
            write!(f, "{shown}")
        })
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// A place in a [`Slab`](crate::words::slab::Slab), with the generation that guards against the
/// place's next tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place.
    pub index: u32,
    /// How often the place had been let before.
    pub generation: u32,
}

/// One connection to a peer, from dialling or accepting to the end of its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub Key);

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.index)
    }
}

/// One torrent of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentKey(pub Key);

/// Neighbouring blocks of one piece, counted in blocks: the form in which requests travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The piece.
    pub piece: PieceIndex,
    /// The first block's number in the piece.
    pub first: u32,
    /// How many blocks.
    pub count: u32,
}
