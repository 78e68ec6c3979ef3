//! The datagrams of Mainline, BitTorrent's public DHT: KRPC of BEP 5, with both address families
//! (BEP 32), the receiver's own address (BEP 42) and nodes that only ask (BEP 43).
//!
//! Each datagram is one bencoded dictionary. `y` says whether it is a query (`q`), a reply (`r`) or
//! an error (`e`); `t` is chosen by who asks and repeated by who answers. What is a stranger's word
//! is checked here once: whatever comes out of [`Datagram::parse`] has ids of 20 bytes, ports above
//! 0, addresses of their family, and no more of anything than fits into a datagram.

mod emit;
mod parse;

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::words::bencode;
use crate::words::id::InfoHash;
use crate::words::limits::mainline as limits;
use crate::words::node_id::NodeId;

/// A datagram, with what all kinds have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// `t`: by it an answer is known.
    pub transaction: Transaction,
    /// `ro`: the sender asks and does not answer (BEP 43).
    pub read_only: bool,
    /// `ip`: the address from which the sender sees the receiver (BEP 42).
    pub your_address: Option<SocketAddr>,
    /// What it says.
    pub body: Body,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A query, and the id of who asks.
    Query(NodeId, Query),
    /// An answer. It does not say to what.
    Reply(Reply),
    /// A query could not be answered: a code, and a text of which nothing but the length is known.
    Error(ErrorCode, String),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// `ping`: are you there?
    Ping,
    /// `find_node`: whom do you know near `target`?
    FindNode {
        /// A place in the space of ids.
        target: NodeId,
        /// Of which families.
        want: Want,
    },
    /// `get_peers`: who shares this torrent? Those who know nobody say who is nearer.
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// Of which families the nodes shall be.
        want: Want,
    },
    /// `announce_peer`: who asks shares this torrent.
    AnnouncePeer {
        /// The torrent.
        info_hash: InfoHash,
        /// On which port; `None` (`implied_port`): the one from which the query comes.
        port: Option<u16>,
        /// What the receiver gave this sender in reply to `get_peers`.
        token: Token,
    },
    /// Something else. Those that name a target are answered as `find_node` is, which lets new
    /// queries find their way past old nodes.
    Unknown(Option<NodeId>),
}

/// `want`: the families of the nodes that are asked for (BEP 32). Neither: that of the datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// `n4`: addresses of IPv4.
    pub v4: bool,
    /// `n6`: addresses of IPv6.
    pub v6: bool,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The id of who answers.
    pub id: NodeId,
    /// `nodes` and `nodes6`: nodes near what was asked for.
    pub nodes: Vec<Contact>,
    /// `values`: peers that share the torrent.
    pub peers: Vec<SocketAddr>,
    /// `token`: proves, when it comes back, that its sender gets datagrams at its address.
    pub token: Option<Token>,
}

impl Reply {
    /// A reply that says nothing but who answers.
    pub fn empty(id: NodeId) -> Self {
        Self { id, nodes: Vec::new(), peers: Vec::new(), token: None }
    }
}

/// A node and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contact {
    /// Its id.
    pub id: NodeId,
    /// Its address, with a port above 0.
    pub address: SocketAddr,
}

/// Why a query could not be answered (BEP 5, "errors").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode(pub i64);

impl ErrorCode {
    /// Something that has no code of its own.
    pub const GENERIC: Self = Self(201);
    /// A malformed datagram, invalid arguments, or a bad token.
    pub const PROTOCOL: Self = Self(203);
    /// No such query.
    pub const METHOD_UNKNOWN: Self = Self(204);
}

/// The bytes of `t`: those of a stranger are repeated as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Transaction {
    len: u8,
    bytes: [u8; limits::TRANSACTION_LEN_MAX],
}

impl Transaction {
    /// The transaction of these bytes, unless they are too many.
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; limits::TRANSACTION_LEN_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { len: u8::try_from(text.len()).ok()?, bytes })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len.into()]
    }
}

impl From<u32> for Transaction {
    fn from(number: u32) -> Self {
        Self::new(&number.to_be_bytes()).expect("four bytes are not too many")
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction({})", self.as_bytes().escape_ascii())
    }
}

/// A token: whoever made it knows it again, nobody else can read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub Box<[u8]>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.0.escape_ascii())
    }
}

/// Why a datagram is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramError {
    /// It is longer than any that one host sends another unbroken.
    TooLong(usize),
    /// It is not bencode.
    Bencode(bencode::Error),
    /// What stands under this key is missing, of a wrong kind or out of its range.
    Invalid(&'static str),
    /// It is a query with this wrong in it; who sent it can be told.
    InvalidQuery(Transaction, &'static str),
}

impl fmt::Display for DatagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(len) => write!(f, "it has {len} bytes"),
            Self::Bencode(error) => write!(f, "it is not bencode: {error}"),
            Self::Invalid(key) => write!(f, "its \"{key}\" is invalid"),
            Self::InvalidQuery(_, key) => write!(f, "\"{key}\" of its query is invalid"),
        }
    }
}

impl std::error::Error for DatagramError {}

/// Bytes of an address on the wire: 6, or 18.
const V4_LEN: usize = 6;
const V6_LEN: usize = 18;

/// Bytes of an id on the wire.
const ID_LEN: usize = 20;

/// Reads an address in network order, an IP address and a port: 6 bytes or 18. Port 0 is none.
pub fn compact_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let v4 = || <[u8; 4]>::try_from(ip).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(ip).map(IpAddr::from);
    let ip = v4().or_else(|_| v6()).ok()?;
    (port != 0).then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests;
