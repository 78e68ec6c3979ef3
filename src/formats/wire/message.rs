//! The messages after the handshake (BEP 3, "peer messages"; BEP 5, 6 and 10 add some).
//!
//! A message is a length prefix of four bytes, an id, and fields. `Head` knows for each id how
//! long it may be and what its fields are; the [`decoder`](crate::formats::wire::decoder) knows
//! nothing of ids, and gathers bytes.

use crate::formats::wire::WireError;
use crate::words::id::{Block, PieceIndex};
use crate::words::limits::{BLOCK_LEN, EXTENDED_LEN_MAX};

/// The ids, by the BEP that assigns them.
mod id {
    // BEP 3.
    pub(super) const CHOKE: u8 = 0;
    pub(super) const UNCHOKE: u8 = 1;
    pub(super) const INTERESTED: u8 = 2;
    pub(super) const NOT_INTERESTED: u8 = 3;
    pub(super) const HAVE: u8 = 4;
    pub(super) const BITFIELD: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const PIECE: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    // BEP 5.
    pub(super) const PORT: u8 = 9;
    // BEP 6.
    pub(super) const SUGGEST: u8 = 13;
    pub(super) const HAVE_ALL: u8 = 14;
    pub(super) const HAVE_NONE: u8 = 15;
    pub(super) const REJECT: u8 = 16;
    pub(super) const ALLOWED_FAST: u8 = 17;
    // BEP 10.
    pub(super) const EXTENDED: u8 = 20;
}

/// What a peer says. Indices and offsets are as they came: whether the torrent has such a piece is
/// for the reader to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Nothing, to show that the connection is alive.
    KeepAlive,
    /// No more requests will be answered.
    Choke,
    /// Requests will be answered.
    Unchoke,
    /// The sender wants pieces that the other side has.
    Interested,
    /// The sender wants nothing that the other side has.
    NotInterested,
    /// The sender has this piece.
    Have(PieceIndex),
    /// The pieces that the sender has, the first in the highest bit of the first byte. At most as
    /// many bytes as the torrent needs; the reader checks that it is that many, and the spare bits.
    Bitfield(Vec<u8>),
    /// The sender wants this block. It may be of any length.
    Request(Block),
    /// A block: 1 to [`BLOCK_LEN`] bytes.
    Piece {
        /// The piece that it is part of.
        piece: PieceIndex,
        /// Where it begins in the piece, in bytes.
        offset: u32,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// The sender wants this block no longer.
    Cancel(Block),
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// The sender would like to be asked for this piece (BEP 6).
    Suggest(PieceIndex),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// This request will not be answered (BEP 6).
    Reject(Block),
    /// This piece may be requested while choked (BEP 6).
    AllowedFast(PieceIndex),
    /// A message of an extension (BEP 10).
    Extended {
        /// 0 for the extension handshake, else the id that the receiver gave to the extension.
        id: u8,
        /// What follows the id.
        payload: Vec<u8>,
    },
    /// A message that no BEP above knows. Its payload is dropped.
    Unknown {
        /// Its id.
        id: u8,
    },
}

impl Message {
    /// Appends the message to `out` as it goes over the wire.
    ///
    /// # Panics
    ///
    /// If a payload is longer than a length prefix can say.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Self::KeepAlive => out.extend([0; 4]),
            Self::Choke => put(out, id::CHOKE, &[]),
            Self::Unchoke => put(out, id::UNCHOKE, &[]),
            Self::Interested => put(out, id::INTERESTED, &[]),
            Self::NotInterested => put(out, id::NOT_INTERESTED, &[]),
            Self::Have(piece) => put(out, id::HAVE, &piece.0.to_be_bytes()),
            Self::Bitfield(bits) => put(out, id::BITFIELD, bits),
            Self::Request(block) => put(out, id::REQUEST, &block_bytes(*block)),
            Self::Piece { piece, offset, data } => {
                let (piece, offset, len) = (*piece, *offset, length(data.len()));
                out.extend(PieceHeader(Block { piece, offset, len }).emit());
                out.extend(data);
            }
            Self::Cancel(block) => put(out, id::CANCEL, &block_bytes(*block)),
            Self::Port(port) => put(out, id::PORT, &port.to_be_bytes()),
            Self::Suggest(piece) => put(out, id::SUGGEST, &piece.0.to_be_bytes()),
            Self::HaveAll => put(out, id::HAVE_ALL, &[]),
            Self::HaveNone => put(out, id::HAVE_NONE, &[]),
            Self::Reject(block) => put(out, id::REJECT, &block_bytes(*block)),
            Self::AllowedFast(piece) => put(out, id::ALLOWED_FAST, &piece.0.to_be_bytes()),
            Self::Extended { id, payload } => {
                out.extend(length(payload.len() + 2).to_be_bytes());
                out.extend([id::EXTENDED, *id]);
                out.extend(payload);
            }
            Self::Unknown { id } => put(out, *id, &[]),
        }
    }
}

/// What stands before a block's bytes in a piece message, for a block that is sent straight from
/// its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHeader(pub Block);

impl PieceHeader {
    /// The 13 bytes that go before the block's own.
    ///
    /// # Panics
    ///
    /// If the block is longer than a length prefix can say.
    pub fn emit(self) -> [u8; 13] {
        let Block { piece, offset, len } = self.0;
        let prefix = len.checked_add(9).expect("a block is far shorter than 4 GiB");
        let mut bytes = [0; 13];
        bytes[..4].copy_from_slice(&prefix.to_be_bytes());
        bytes[4] = id::PIECE;
        bytes[5..9].copy_from_slice(&piece.0.to_be_bytes());
        bytes[9..].copy_from_slice(&offset.to_be_bytes());
        bytes
    }
}

/// Appends a message of this id and payload.
fn put(out: &mut Vec<u8>, id: u8, payload: &[u8]) {
    out.extend(length(payload.len() + 1).to_be_bytes());
    out.push(id);
    out.extend(payload);
}

/// A length as a prefix says it.
fn length(len: usize) -> u32 {
    u32::try_from(len).expect("a message is far shorter than 4 GiB")
}

/// The fields of a request, a cancel and a reject.
fn block_bytes(block: Block) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&block.piece.0.to_be_bytes());
    bytes[4..8].copy_from_slice(&block.offset.to_be_bytes());
    bytes[8..].copy_from_slice(&block.len.to_be_bytes());
    bytes
}

/// What the first bytes of a message tell.
#[derive(Debug)]
pub(super) enum Head {
    /// The message, which is whole.
    Whole(Message),
    /// A message whose body follows.
    Body {
        /// What the body is.
        kind: BodyKind,
        /// The body's length in bytes.
        len: u32,
    },
    /// A message of an unknown kind, whose payload is to be dropped.
    Unknown {
        /// Its id.
        id: u8,
        /// The payload's length in bytes.
        len: u32,
    },
}

/// The messages that have a body of any length, with the fields before it.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyKind {
    Bitfield,
    Piece { piece: PieceIndex, offset: u32 },
    Extended { id: u8 },
}

impl BodyKind {
    /// The message with this body.
    pub(super) fn message(self, body: Vec<u8>) -> Message {
        match self {
            Self::Bitfield => Message::Bitfield(body),
            Self::Piece { piece, offset } => Message::Piece { piece, offset, data: body },
            Self::Extended { id } => Message::Extended { id, payload: body },
        }
    }
}

impl Head {
    /// Reads the head of the message that begins `bytes`: how many bytes it takes, and what it
    /// tells; nothing if there are too few. A torrent of `pieces` pieces bounds the bitfield.
    pub(super) fn parse(bytes: &[u8], pieces: u32) -> Result<Option<(usize, Self)>, WireError> {
        let Some((prefix, message)) = bytes.split_first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes(*prefix);
        if len == 0 {
            return Ok(Some((4, Self::Whole(Message::KeepAlive))));
        }
        let Some((&id, fields)) = message.split_first() else { return Ok(None) };
        let layout = Layout::of(id, pieces);
        layout.check(len)?;
        let Some(fields) = fields.get(..layout.fields as usize) else { return Ok(None) };
        let head = Self::of(id, fields, len - 1 - layout.fields);
        Ok(Some((5 + fields.len(), head)))
    }

    /// The head of message `id` with these fields, which its layout has measured, and `len` bytes
    /// after them.
    fn of(id: u8, fields: &[u8], len: u32) -> Self {
        let whole = match id {
            id::CHOKE => Message::Choke,
            id::UNCHOKE => Message::Unchoke,
            id::INTERESTED => Message::Interested,
            id::NOT_INTERESTED => Message::NotInterested,
            id::HAVE => Message::Have(piece(fields)),
            id::BITFIELD => return Self::Body { kind: BodyKind::Bitfield, len },
            id::REQUEST => Message::Request(block(fields)),
            id::PIECE => {
                let kind = BodyKind::Piece { piece: piece(fields), offset: word(fields, 4) };
                return Self::Body { kind, len };
            }
            id::CANCEL => Message::Cancel(block(fields)),
            id::PORT => Message::Port(u16::from_be_bytes([fields[0], fields[1]])),
            id::SUGGEST => Message::Suggest(piece(fields)),
            id::HAVE_ALL => Message::HaveAll,
            id::HAVE_NONE => Message::HaveNone,
            id::REJECT => Message::Reject(block(fields)),
            id::ALLOWED_FAST => Message::AllowedFast(piece(fields)),
            id::EXTENDED => {
                return Self::Body { kind: BodyKind::Extended { id: fields[0] }, len };
            }
            _ => return Self::Unknown { id, len },
        };
        Self::Whole(whole)
    }
}

/// How long a kind of message is. Lengths are as the prefix counts them: the id is in them.
struct Layout {
    name: &'static str,
    /// Bytes of the fields between the id and the body.
    fields: u32,
    least: u32,
    most: u32,
}

impl Layout {
    /// The layout of message `id`, in a torrent of `pieces` pieces.
    fn of(id: u8, pieces: u32) -> Self {
        match id {
            id::CHOKE => Self::fixed("choke", 0),
            id::UNCHOKE => Self::fixed("unchoke", 0),
            id::INTERESTED => Self::fixed("interested", 0),
            id::NOT_INTERESTED => Self::fixed("not interested", 0),
            id::HAVE => Self::fixed("have", 4),
            id::BITFIELD => Self::with_body("bitfield", 0, 0, pieces.div_ceil(8)),
            id::REQUEST => Self::fixed("request", 12),
            id::PIECE => Self::with_body("piece", 8, 1, BLOCK_LEN),
            id::CANCEL => Self::fixed("cancel", 12),
            id::PORT => Self::fixed("port", 2),
            id::SUGGEST => Self::fixed("suggest piece", 4),
            id::HAVE_ALL => Self::fixed("have all", 0),
            id::HAVE_NONE => Self::fixed("have none", 0),
            id::REJECT => Self::fixed("reject request", 12),
            id::ALLOWED_FAST => Self::fixed("allowed fast", 4),
            id::EXTENDED => Self::with_body("extended", 1, 0, EXTENDED_LEN_MAX),
            _ => Self::with_body("unknown", 0, 0, EXTENDED_LEN_MAX),
        }
    }

    fn fixed(name: &'static str, fields: u32) -> Self {
        Self::with_body(name, fields, 0, 0)
    }

    /// A message with a body of `least` to `most` bytes.
    fn with_body(name: &'static str, fields: u32, least: u32, most: u32) -> Self {
        let head = 1 + fields;
        Self { name, fields, least: head + least, most: head + most }
    }

    fn check(&self, found: u32) -> Result<(), WireError> {
        let Self { name: message, fields: _, least, most } = *self;
        if (least..=most).contains(&found) {
            return Ok(());
        }
        Err(WireError::Length { message, found, least, most })
    }
}

/// The number that begins at byte `at`.
fn word(fields: &[u8], at: usize) -> u32 {
    let bytes = fields[at..].first_chunk().expect("the layout counts this field");
    u32::from_be_bytes(*bytes)
}

fn piece(fields: &[u8]) -> PieceIndex {
    PieceIndex(word(fields, 0))
}

fn block(fields: &[u8]) -> Block {
    Block { piece: piece(fields), offset: word(fields, 4), len: word(fields, 8) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::wire::decoder::Decoder;

    fn asked() -> Block {
        Block { piece: PieceIndex(1), offset: 0x4000, len: 0x2000 }
    }

    /// Every message with its bytes.
    fn table() -> Vec<(Message, &'static [u8])> {
        let data = vec![0xaa, 0xbb];
        let payload = b"d1:md1:xi3eee".to_vec();
        vec![
            (Message::KeepAlive, b"\0\0\0\0"),
            (Message::Choke, b"\0\0\0\x01\0"),
            (Message::Unchoke, b"\0\0\0\x01\x01"),
            (Message::Interested, b"\0\0\0\x01\x02"),
            (Message::NotInterested, b"\0\0\0\x01\x03"),
            (Message::Have(PieceIndex(0x0102_0304)), b"\0\0\0\x05\x04\x01\x02\x03\x04"),
            (Message::Bitfield(vec![0xf0, 0x80]), b"\0\0\0\x03\x05\xf0\x80"),
            (Message::Request(asked()), b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x20\0"),
            (
                Message::Piece { piece: PieceIndex(9), offset: 0x4000, data },
                b"\0\0\0\x0b\x07\0\0\0\x09\0\0\x40\0\xaa\xbb",
            ),
            (Message::Cancel(asked()), b"\0\0\0\x0d\x08\0\0\0\x01\0\0\x40\0\0\0\x20\0"),
            (Message::Port(6881), b"\0\0\0\x03\x09\x1a\xe1"),
            (Message::Suggest(PieceIndex(7)), b"\0\0\0\x05\x0d\0\0\0\x07"),
            (Message::HaveAll, b"\0\0\0\x01\x0e"),
            (Message::HaveNone, b"\0\0\0\x01\x0f"),
            (Message::Reject(asked()), b"\0\0\0\x0d\x10\0\0\0\x01\0\0\x40\0\0\0\x20\0"),
            (Message::AllowedFast(PieceIndex(7)), b"\0\0\0\x05\x11\0\0\0\x07"),
            (Message::Extended { id: 0, payload }, b"\0\0\0\x0f\x14\0d1:md1:xi3eee"),
            (Message::Extended { id: 3, payload: vec![] }, b"\0\0\0\x02\x14\x03"),
            (Message::Unknown { id: 21 }, b"\0\0\0\x01\x15"),
        ]
    }

    /// What a decoder for a torrent of 16 pieces says to `bytes`.
    fn decode(bytes: &[u8]) -> Result<Option<Message>, WireError> {
        let mut decoder = Decoder::new(16);
        decoder.spaces()[1][..bytes.len()].copy_from_slice(bytes);
        decoder.filled(bytes.len());
        decoder.poll_message()
    }

    #[test]
    fn construct() {
        for (message, bytes) in table() {
            let mut out = vec![0xcc];
            message.emit(&mut out);
            assert_eq!(out[1..], *bytes, "{message:?}");
        }
    }

    #[test]
    fn deconstruct() {
        for (message, bytes) in table() {
            assert_eq!(decode(bytes), Ok(Some(message.clone())), "{message:?}");
            for short in 0..bytes.len() {
                assert_eq!(decode(&bytes[..short]), Ok(None), "{message:?}");
            }
        }
    }

    #[test]
    fn a_header_is_a_piece_message_without_its_bytes() {
        let header = PieceHeader(Block { piece: PieceIndex(9), offset: 0x4000, len: 2 });
        assert_eq!(header.emit(), *b"\0\0\0\x0b\x07\0\0\0\x09\0\0\x40\0");
    }

    #[test]
    fn a_wrong_length_names_the_message_and_the_bound() {
        for (id, found, text) in [
            (id::CHOKE, 2, "choke message has length 2; the most is 1"),
            (id::HAVE, 4, "have message has length 4; the least is 5"),
            (id::HAVE, 6, "have message has length 6; the most is 5"),
            (id::BITFIELD, 4, "bitfield message has length 4; the most is 3"),
            (id::REQUEST, 12, "request message has length 12; the least is 13"),
            (id::PIECE, 9, "piece message has length 9; the least is 10"),
            (id::PIECE, 16394, "piece message has length 16394; the most is 16393"),
            (id::CANCEL, 14, "cancel message has length 14; the most is 13"),
            (id::PORT, 2, "port message has length 2; the least is 3"),
            (id::SUGGEST, 4, "suggest piece message has length 4; the least is 5"),
            (id::HAVE_ALL, 2, "have all message has length 2; the most is 1"),
            (id::REJECT, 12, "reject request message has length 12; the least is 13"),
            (id::ALLOWED_FAST, 6, "allowed fast message has length 6; the most is 5"),
            (id::EXTENDED, 1, "extended message has length 1; the least is 2"),
            (id::EXTENDED, 65539, "extended message has length 65539; the most is 65538"),
            (0x20, u32::MAX, "unknown message has length 4294967295; the most is 65537"),
        ] {
            let [a, b, c, d] = found.to_be_bytes();
            let error = decode(&[a, b, c, d, id]).unwrap_err();
            assert_eq!(error.to_string(), format!("its {text}"));
        }
    }
}
