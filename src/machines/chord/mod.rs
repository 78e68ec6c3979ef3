//! Chord: the ring of all users, which holds who shares which file.
//!
//! A [`Node`] is a machine: datagrams, orders and the time come in; datagrams and news come out. It
//! has no socket, thread or clock, and all its chance comes from one seed, so that ten thousand of
//! them run in one test and a run can be replayed. What drives it calls, whenever something
//! happens, one of [`handle_datagram`](Node::handle_datagram), [`handle_time`](Node::handle_time)
//! or an order such as [`lookup`](Node::lookup), and then takes what
//! [`poll_transmit`](Node::poll_transmit) and [`poll_news`](Node::poll_news) have for it.
//!
//! A node does not open datagrams that are not for it: who shares its socket with Mainline asks
//! [`is_ours`](crate::formats::krpc::is_ours) first, and IPv4 addresses mapped into IPv6 are folded
//! before they come here.
//!
//! One node is one place on one ring: IPv6 is a second ring, and a host with both runs two nodes
//! (BEP 32 does so for Mainline).
//!
//! Sources: Stoica et al., "Chord" (SIGCOMM 2001; ToN 11(1), 2003) for the ring and the lookup;
//! Zave, "Reasoning about Identifier Spaces: How to Make Chord Correct" (TSE 43(12), 2017) for the
//! rules that keep the ring whole; BEP 5, 42 and 43 for the shape of the datagrams.

mod fingers;
mod keeping;
mod lookup;
mod membership;
mod merging;
pub mod node;
mod rates;
mod requests;
pub mod ring;
mod searching;
mod seen;
mod serve;
mod store;
mod tokens;
mod upkeep;
mod walk;
mod witnesses;

use std::net::SocketAddr;
use std::time::Duration;

use crate::bus::Dropped;
use crate::words::id::InfoHash;
use crate::words::limits::ring as limits;
use crate::words::ring_id::RingId;

pub use crate::formats::krpc::{Family, Sharer};
pub use node::Node;

/// A node of the ring: its address, and its place, which follows from the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// The place.
    pub id: RingId,
    /// Where its datagrams go to and come from.
    pub address: SocketAddr,
}

impl Contact {
    /// The node at `address`.
    pub fn at(address: SocketAddr) -> Self {
        Self { id: RingId::of(address), address }
    }

    /// The node at `address` on a ring of 2^`bits` places.
    pub fn with_bits(address: SocketAddr, bits: u32) -> Self {
        Self { id: RingId::of(address).first_bits(bits), address }
    }
}

/// What a node may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A member of the ring, as soon as others reach it.
    Member,
    /// A client for ever, which asks and announces, and is asked nothing (`ro`, BEP 43).
    Client,
}

/// What a user or a test chooses for a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it may become.
    pub role: Role,
    /// How the ring is built.
    pub shape: Shape,
    /// Whether the limits on the rate of answers hold; a measurement of their speed lifts them.
    pub limited: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { role: Role::Member, shape: Shape::default(), limited: true }
    }
}

/// How a ring is built: ours, or that of the textbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bits of a place (m): 160, and few for class, where a ring has 32 places. Keys keep all theirs.
    pub place_bits: u32,
    /// Length of the successor list (Chord, section 5.3; ToN section IV-E.3: r).
    pub successors: usize,
    /// Nodes before the key that hold its entries, and length of the list of predecessors.
    pub before: usize,
    /// Nodes from the owner on that hold a key's entries.
    pub from: usize,
    /// Bits of a finger's digit: fingers divide the ring by 2^bits, and each part again. `None`: by
    /// 64, in large rings by 128.
    pub finger_bits: Option<u32>,
    /// Contacts of an answer.
    pub contacts: usize,
    /// Whether fingers are chosen by round trip, and a slow answer is not waited for.
    pub quick: bool,
    /// Whether rules R4 and R7 hold, which unwind a ring that winds twice.
    pub heal: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            place_bits: RingId::BITS,
            successors: limits::SUCCESSORS,
            before: limits::REPLICAS_BEFORE,
            from: limits::REPLICAS_FROM,
            finger_bits: None,
            contacts: limits::CONTACTS_ANSWERED,
            quick: true,
            heal: true,
        }
    }
}

impl Shape {
    /// Chord as the textbook has it: fingers at powers of two, one successor, one next hop at a
    /// time, and the owner alone holds a key's entries. For class, and to compare figures.
    pub fn textbook() -> Self {
        Self {
            place_bits: RingId::BITS,
            successors: 1,
            before: 0,
            from: 1,
            finger_bits: Some(1),
            contacts: 1,
            quick: false,
            heal: false,
        }
    }
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What: at most [`limits::DATAGRAM_LEN_SENT`] bytes.
    pub bytes: Vec<u8>,
    /// It is to leave by another port than the node's own: the receiver learns by it whether strangers
    /// reach it, which a router lets pass only to those who can be reached.
    pub aside: bool,
}

/// What a node has to tell whoever ordered it about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It has its place on the ring; others see it under this address.
    Joined(SocketAddr),
    /// It uses the ring without a place on it, since others may not reach it (yet).
    Client,
    /// Nobody answers: it is a ring of one, serves whoever comes, and goes on trying.
    Alone,
    /// Another node has the place that our address gives us: we stay a client. Another port may have
    /// a place that is free.
    PlaceTaken,
    /// So many datagrams had no effect; said once, before [`News::Left`].
    Dropped(Dropped),
    /// It handed over what it held; its socket can be closed.
    Left,
    /// These share the torrent: at most [`limits::FOUND_WORD`] of them, each told once a lookup.
    Found(InfoHash, Vec<Sharer>),
    /// A lookup or an announce is over.
    Finished(InfoHash, Report),
    /// A member that a walk round the ring met, in the order of the ring.
    Member(MemberReport),
    /// The walk is over; whether every member's successor named it as its predecessor.
    Walked {
        /// See above.
        consistent: bool,
    },
}

/// How a lookup or an announce went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Nodes whose answers led one to the next, the last one counted: where that is the owner, it is
    /// one more than the path of the Chord paper, which ends at the node before.
    pub hops: u32,
    /// Requests that were sent.
    pub requests: u32,
    /// Those of them that were sent until the first sharer was found.
    pub requests_first: Option<u32>,
    /// Requests that nobody answered in time.
    pub timeouts: u32,
    /// From the order to the end.
    pub took: Duration,
    /// From the order to the first sharer found.
    pub first_found: Option<Duration>,
    /// Sharers that were found.
    pub found: u32,
    /// The node that is responsible for the key, if it answered.
    pub responsible: Option<SocketAddr>,
    /// Whether one of those that were told of the entry took it, where this was an announce.
    pub stored: bool,
}

/// A member of the ring, as a walk sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberReport {
    /// The member.
    pub contact: Contact,
    /// Its successor: itself in a ring of one.
    pub successor: Contact,
    /// Its predecessor.
    pub predecessor: Option<Contact>,
    /// How many torrents it holds entries of.
    pub keys: u32,
    /// How long its answer took.
    pub round_trip: Duration,
}
