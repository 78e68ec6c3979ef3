//! What is said of Mainline and of the local network, and which networks there are.

use std::net::{IpAddr, SocketAddr};

use crate::formats::remembered::Remembered;
use crate::words::id::InfoHash;

/// A network in which it is known who shares which torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The Chord ring of rondalla's users.
    Ring,
    /// BitTorrent's public DHT (BEP 5).
    Mainline,
    /// The local network, where everybody hears everybody (BEP 14).
    Lan,
}

/// What our node says about Mainline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MainlineNews {
    /// It has found its neighbours.
    Joined,
    /// Others see it at this address.
    Address(IpAddr),
    /// These share the torrent: at most [`crate::words::limits::mainline::FOUND_MAX`] of them.
    Found(InfoHash, Vec<SocketAddr>),
    /// What is to be remembered for the next start.
    Known(Remembered),
    /// The node is no more: its last word.
    Left,
}

/// What our node of Mainline is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToMainline {
    /// Enter by these, or remember them for when nobody else is known.
    Join(Vec<SocketAddr>),
    /// A peer says that its node is here.
    Meet(SocketAddr),
    /// Say that we share this torrent, and again before it is forgotten; and find who else does.
    Announce {
        /// The torrent.
        info_hash: InfoHash,
        /// Where we take connections.
        port: u16,
    },
    /// Say so no longer.
    Withdraw(InfoHash),
    /// Find who shares this torrent.
    Lookup(InfoHash),
    /// Tell who is to be remembered, and end.
    Leave,
}

/// What the reactor is told about the local network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToLan {
    /// Say that we share this torrent, now and then.
    Announce(InfoHash),
    /// Say so no longer.
    Withdraw(InfoHash),
}

/// Somebody in the local network who shares a torrent of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Where it takes connections.
    pub address: SocketAddr,
    /// Where its node of the ring is, if it has one.
    pub chord: Option<SocketAddr>,
}
