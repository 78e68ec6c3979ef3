//! What two peers say to each other on one TCP connection (BEP 3, "peer protocol").
//!
//! First each side's [`Handshake`], then [`Message`]s, which a [`Decoder`] puts together from
//! whatever bytes have come. All numbers on the wire are big-endian.

pub mod decoder;
pub mod extension;
pub mod handshake;
pub mod message;
pub mod metadata;
pub mod pex;

pub use decoder::Decoder;
pub use extension::{
    EXTENSION_HANDSHAKE, ExtensionHandshake, LT_DONTHAVE, OUR_LT_DONTHAVE, OUR_UT_METADATA,
};
pub use handshake::{Handshake, HandshakeDecoder, HandshakeHead, Reserved};
pub use message::{Message, PieceHeader};
pub use metadata::{MetadataMessage, UT_METADATA};
pub use pex::{OUR_UT_PEX, PeerExchange, PexFlags, UT_PEX};

use std::fmt;

/// What a peer's bytes got wrong. Nothing that it sends after that can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The first 20 bytes begin no BitTorrent handshake (BEP 3). It may be an encrypted one.
    NotBitTorrent,
    /// A message of a length that its kind cannot have.
    Length {
        /// The kind, as BEP 3, 6 or 10 name it.
        message: &'static str,
        /// The length prefix: all bytes of the message but the four of the prefix.
        found: u32,
        /// The smallest that it may be.
        least: u32,
        /// The largest that it may be.
        most: u32,
    },
    /// An extension handshake that is not bencoded (BEP 10).
    Bencode {
        /// The byte at which it stops making sense, counted from 0.
        at: usize,
    },
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBitTorrent => write!(f, "its first bytes are no BitTorrent handshake"),
            Self::Length { message, found, least, most } => {
                write!(f, "its {message} message has length {found}; ")?;
                let (word, bound) = if found < least { ("least", least) } else { ("most", most) };
                write!(f, "the {word} is {bound}")
            }
            Self::Bencode { at } => {
                write!(f, "its extension handshake is not bencoded, from byte {at} on")
            }
        }
    }
}

impl std::error::Error for WireError {}
