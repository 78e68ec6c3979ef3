//! What two peers say to each other on one TCP connection (BEP 3, "peer protocol").
//!
//! First each side's [`Handshake`](handshake::Handshake), then [`Message`](message::Message)s,
//! which a [`Decoder`](decoder::Decoder) puts together from whatever bytes have come. All numbers
//! on the wire are big-endian.

pub mod handshake;

use std::fmt;

/// What a peer's bytes got wrong. Nothing that it sends after that can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The first 20 bytes begin no BitTorrent handshake (BEP 3). It may be an encrypted one.
    NotBitTorrent,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBitTorrent => write!(f, "its first bytes are no BitTorrent handshake"),
        }
    }
}

impl std::error::Error for WireError {}
