//! The ring's datagrams: bencoded dictionaries in the manner of KRPC (BEP 5), told from Mainline's
//! by `c` = 1. REPORT.md, "The datagrams", describes them field by field for whoever writes another
//! implementation.
//!
//! A [`Message`] is a query, an answer or an error. [`parse`] takes nothing that is longer, deeper
//! or richer in keys than the limits say, and what it gives is checked: ports are not 0, lists
//! have bounds, addresses are of the ring's family. [`Message::encode`] writes canonical bencode,
//! so `parse(encode(x)) == x`.

mod encode;
mod parse;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::words::id::InfoHash;
use crate::words::ring_id::RingId;

pub use parse::{Unreadable, is_ours, parse};

/// Which ring: IPv4's or IPv6's (a host with both is a member of two; BEP 32 does so too).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Contacts of 6 bytes.
    V4,
    /// Contacts of 18 bytes.
    V6,
}

impl Family {
    /// The ring that `address` belongs to.
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of an IP address and a port (BEP 5, "compact IP-address/port info").
    pub fn contact_len(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }
}

/// A datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `t`: the asker's number for the question, given back in the answer.
    pub transaction: u32,
    /// `ip`: the address to which this was sent, so that its receiver learns how it is seen (BEP 42
    /// has it in answers only).
    pub seen: Option<SocketAddr>,
    /// `ro`: the sender has no place on the ring and is not to be asked (BEP 43).
    pub client: bool,
    /// What it says.
    pub body: Body,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `y` = `q`: a question, with the receiver's token if the asker has one: it shows that the
    /// asker is where it says it is.
    Query(Query, Option<Token>),
    /// `y` = `r`: an answer.
    Answer(Answer),
    /// `y` = `e`: a refusal.
    Error(Refusal),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// `ping`: are you there; and, with an info-hash, do you still share this? ([`Answer::Shares`])
    Ping(Option<InfoHash>),
    /// `get_state`: who is next to you? ([`Answer::State`], or [`Answer::Same`] if it still is what
    /// `digest` says.)
    GetState {
        /// Of the state as the asker has it from before.
        digest: Option<Digest>,
        /// The asker takes the receiver for its successor: this is a `rectify` too, with the nodes
        /// before the asker, the nearest first.
        rectify: Option<Vec<SocketAddr>>,
    },
    /// `rectify` (Zave; Chord calls it notify): I am before you, and these are before me, the
    /// nearest first.
    Rectify(Vec<SocketAddr>),
    /// `find_node`: who is at or after this place? ([`Answer::Route`])
    FindNode(RingId),
    /// `get_peers`: the same for an info-hash, and who shares it. ([`Answer::Route`])
    GetPeers(InfoHash),
    /// `announce`: I share this, and take connections at this port of the address that this comes
    /// from. Needs a token.
    Announce {
        /// What is shared.
        info_hash: InfoHash,
        /// Where connections are taken.
        port: u16,
        /// Whether the sender has all of it.
        seeder: bool,
    },
    /// `withdraw`: I no longer share this. Needs a token.
    Withdraw {
        /// What is no longer shared.
        info_hash: InfoHash,
        /// The port under which it was announced.
        port: u16,
    },
    /// `hint`: ask this node, it may be your neighbour.
    Hint(SocketAddr),
    /// `leave`: I am about to go.
    Leave,
    /// `push`: hold these entries too. Needs a token.
    Push(Vec<Entries>),
    /// `ping_back`: ping me in a while, so that I know whether I can be reached.
    PingBack,
}

/// An answer. Which question it answers, its receiver knows by the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, or done.
    Done,
    /// To a `ping` with an info-hash: whether it is still shared here, and whether all of it.
    Shares {
        /// It is.
        shared: bool,
        /// All of it.
        seeder: bool,
    },
    /// To `get_state`: what you know is still so.
    Same {
        /// For pushes.
        token: Token,
    },
    /// To `get_state`.
    State(State, Token),
    /// To `find_node` and `get_peers`.
    Route(Route),
}

/// Who is next to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The node before it.
    pub predecessor: Option<SocketAddr>,
    /// The nodes after it, the nearest first.
    pub successors: Vec<SocketAddr>,
    /// The nodes before its predecessor, the nearest first.
    pub before: Vec<SocketAddr>,
    /// How many nodes it takes the ring to have.
    pub nodes: u32,
    /// How many torrents it holds entries of.
    pub keys: u32,
}

/// The way to a key, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Nodes nearer to the key.
    pub nodes: Vec<SocketAddr>,
    /// The node that is responsible for the key, where the one that answers knows: its own
    /// successor, or itself.
    pub owner: Option<SocketAddr>,
    /// Some of those who share the torrent.
    pub sharers: Vec<Sharer>,
    /// For an announce of this key, or another look at it.
    pub token: Option<Token>,
}

/// Somebody who shares a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sharer {
    /// Where it takes connections (TCP).
    pub address: SocketAddr,
    /// Whether it has the whole torrent.
    pub seeder: bool,
}

/// The entries of one torrent, as one holder gives them to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who shares it, and how long ago that was last proved, in seconds.
    pub sharers: Vec<(Sharer, u16)>,
}

/// Shows that its bearer gets what is sent to its address (BEP 5, "tokens").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub [u8; 8]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Eight bytes that stand for a [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 8]);

/// Why a query was refused (BEP 5, "errors").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 202: no room.
    Full,
    /// 203: a token is missing, wrong or too old.
    Token,
    /// 204: no such method.
    Unknown,
    /// Any other code.
    Other(i64),
}

impl Refusal {
    /// The number on the wire.
    pub fn code(self) -> i64 {
        match self {
            Self::Full => 202,
            Self::Token => 203,
            Self::Unknown => 204,
            Self::Other(code) => code,
        }
    }
}

/// Appends the compact form of `address`, in network byte order.
pub fn put_contact(address: SocketAddr, out: &mut Vec<u8>) {
    match address.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(address.port().to_be_bytes());
}

/// The address whose compact form `bytes` is: 6 or 18 of them, with a port that is not 0.
pub fn contact(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk()?;
    let ip: IpAddr = match ip.len() {
        4 => Ipv4Addr::from(*ip.first_chunk::<4>()?).into(),
        16 => Ipv6Addr::from(*ip.first_chunk::<16>()?).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes(*port);
    (port != 0 && !ip.is_unspecified() && !ip.is_multicast()).then(|| SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests;
