//! Messages by which a torrent's `info` is had from peers (BEP 9): a bencoded dictionary, and in one
//! that answers a piece of the metadata behind it.
//!
//! The metadata is cut into pieces of [`METADATA_PIECE_LEN`] bytes, the last of which is shorter.

use std::fmt;

use crate::words::bencode::{self, Form, Value};
use crate::words::limits::BENCODE_DEPTH_MAX;
use crate::words::limits::metadata::METADATA_PIECE_LEN;

/// The name of the extension in the handshake of BEP 10.
pub const UT_METADATA: &str = "ut_metadata";

/// What a peer says about metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataMessage {
    /// The sender wants this piece.
    Request(u32),
    /// A piece, at most [`METADATA_PIECE_LEN`] bytes.
    Data {
        /// Which, counted from 0.
        piece: u32,
        /// Bytes of all the metadata, as the sender has it; 0 if it did not say.
        total_len: u32,
        /// Its bytes.
        data: Vec<u8>,
    },
    /// The sender will not give this piece.
    Reject(u32),
    /// A kind of message that BEP 9 tells us to ignore.
    Unknown,
}

/// Why a payload is no message about metadata. Its text is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataError {
    /// Its beginning is no bencoded dictionary.
    Bencode {
        /// The byte at which it stops making sense, counted from 0.
        at: usize,
    },
    /// It has no `msg_type`, or no `piece`, or they are no numbers.
    Fields,
    /// A piece of so many bytes.
    Length(usize),
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bencode { at } => {
                write!(f, "its ut_metadata message is not bencoded, from byte {at} on")
            }
            Self::Fields => write!(f, "its ut_metadata message says no piece, or no type"),
            Self::Length(len) => {
                write!(f, "its piece of metadata has {len} bytes; {METADATA_PIECE_LEN} are most")
            }
        }
    }
}

impl std::error::Error for MetadataError {}

impl MetadataMessage {
    /// Reads the payload of an extended message.
    ///
    /// # Errors
    /// If it begins no dictionary, says no piece, or brings more than one.
    pub fn parse(payload: &[u8]) -> Result<Self, MetadataError> {
        let dictionary = bencode::scan_prefix(payload, BENCODE_DEPTH_MAX, Form::Loose)
            .map_err(|error| MetadataError::Bencode { at: error.at })?;
        if !dictionary.is_dictionary() {
            return Err(MetadataError::Bencode { at: 0 });
        }
        let (mut kind, mut piece, mut total_len) = (None, None, 0);
        for (key, value) in dictionary.entries() {
            match key {
                b"msg_type" => kind = value.integer(),
                b"piece" => piece = number(&value),
                b"total_size" => total_len = number(&value).unwrap_or(0),
                _ => {}
            }
        }
        let kind = kind.ok_or(MetadataError::Fields)?;
        if !(0..=2).contains(&kind) {
            return Ok(Self::Unknown);
        }
        let piece = piece.ok_or(MetadataError::Fields)?;
        Ok(match kind {
            0 => Self::Request(piece),
            1 => {
                let data = &payload[dictionary.span().end..];
                if data.is_empty() || data.len() > METADATA_PIECE_LEN as usize {
                    return Err(MetadataError::Length(data.len()));
                }
                Self::Data { piece, total_len, data: data.to_vec() }
            }
            _ => Self::Reject(piece),
        })
    }

    /// Writes the payload of an extended message.
    pub fn emit(&self) -> Vec<u8> {
        match self {
            Self::Request(piece) => format!("d8:msg_typei0e5:piecei{piece}ee").into_bytes(),
            Self::Data { piece, total_len, data } => {
                let head = format!("d8:msg_typei1e5:piecei{piece}e10:total_sizei{total_len}ee");
                [head.as_bytes(), data].concat()
            }
            Self::Reject(piece) => format!("d8:msg_typei2e5:piecei{piece}ee").into_bytes(),
            Self::Unknown => b"d8:msg_typei3ee".to_vec(),
        }
    }
}

/// The pieces of metadata of `len` bytes.
pub fn metadata_pieces(len: u32) -> u32 {
    len.div_ceil(METADATA_PIECE_LEN)
}

/// The length of one piece of metadata of `len` bytes; 0 if there is no such piece.
pub fn metadata_piece_len(len: u32, piece: u32) -> u32 {
    let begin = u64::from(piece) * u64::from(METADATA_PIECE_LEN);
    let rest = u64::from(len).saturating_sub(begin);
    u32::try_from(rest).map_or(METADATA_PIECE_LEN, |rest| rest.min(METADATA_PIECE_LEN))
}

fn number(value: &Value<'_>) -> Option<u32> {
    value.integer().and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(payload: &[u8]) -> Result<MetadataMessage, MetadataError> {
        MetadataMessage::parse(payload)
    }

    #[test]
    fn the_examples_of_bep_9_are_read_and_written() {
        let data = |len: usize| vec![b'x'; len];
        let table = [
            (&b"d8:msg_typei0e5:piecei0ee"[..], MetadataMessage::Request(0)),
            (
                b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx",
                MetadataMessage::Data { piece: 0, total_len: 34256, data: data(8) },
            ),
            (b"d8:msg_typei2e5:piecei0ee", MetadataMessage::Reject(0)),
        ];
        for (payload, message) in table {
            assert_eq!(parse(payload), Ok(message.clone()));
            assert_eq!(message.emit(), payload);
        }
    }

    #[test]
    fn what_is_foreign_is_passed_over() {
        assert_eq!(parse(b"d8:msg_typei7e5:piecei0ee"), Ok(MetadataMessage::Unknown));
        assert_eq!(parse(b"d8:msg_typei-1ee"), Ok(MetadataMessage::Unknown));
        // Unsorted, with a key that nobody knows and bytes behind what needs none.
        let request = parse(b"d5:piecei3e8:msg_typei0e1:z1:aeand more");
        assert_eq!(request, Ok(MetadataMessage::Request(3)));
        let silent = parse(b"d8:msg_typei1e5:piecei1eex");
        let data = b"x".to_vec();
        assert_eq!(silent, Ok(MetadataMessage::Data { piece: 1, total_len: 0, data }));
        assert_eq!(parse(&MetadataMessage::Unknown.emit()), Ok(MetadataMessage::Unknown));
    }

    #[test]
    fn an_error_says_what_is_wrong() {
        let head = &b"d8:msg_typei1e5:piecei0ee"[..];
        let most = METADATA_PIECE_LEN as usize;
        let long = [head, &vec![0; most + 1]].concat();
        for (payload, error) in [
            (&b""[..], MetadataError::Bencode { at: 0 }),
            (b"le", MetadataError::Bencode { at: 0 }),
            (b"d8:msg_type", MetadataError::Bencode { at: 11 }),
            (b"de", MetadataError::Fields),
            (b"d8:msg_typei0ee", MetadataError::Fields),
            (b"d8:msg_typei0e5:piecei-1ee", MetadataError::Fields),
            (b"d8:msg_typei0e5:piecei4294967296ee", MetadataError::Fields),
            (b"d8:msg_type1:05:piecei0ee", MetadataError::Fields),
            (head, MetadataError::Length(0)),
            (&long, MetadataError::Length(most + 1)),
        ] {
            assert_eq!(parse(payload), Err(error), "{}", payload.escape_ascii());
        }
        assert!(parse(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn metadata_is_cut_into_pieces() {
        for (len, pieces, last) in [
            (1, 1, 1),
            (16384, 1, 16384),
            (16385, 2, 1),
            (34256, 3, 1488),
            (u32::MAX, 262_144, 16383),
        ] {
            assert_eq!(metadata_pieces(len), pieces);
            assert_eq!(metadata_piece_len(len, pieces - 1), last);
            assert_eq!(metadata_piece_len(len, pieces), 0);
        }
        assert_eq!(metadata_piece_len(34256, 1), 16384);
        assert_eq!(metadata_piece_len(34256, u32::MAX), 0);
    }
}
