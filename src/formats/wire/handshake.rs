//! The handshake: 68 bytes that each side sends first (BEP 3).
//!
//! It is read in two stages. The side that was dialled must look the info-hash up before it knows
//! the peer id, which some peers send only after they have seen our answer.

use crate::formats::wire::WireError;
use crate::words::id::{InfoHash, PeerId};

/// Bytes of a whole handshake.
pub const HANDSHAKE_LEN: usize = 68;

/// Bytes of its first stage, up to the info-hash.
pub const HANDSHAKE_HEAD_LEN: usize = 48;

/// How it begins: the length of the protocol's name, and the name.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// The eight reserved bytes: which extensions a side understands. Unknown bits are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// Whether the extension protocol is understood (BEP 10).
    pub fn extension(self) -> bool {
        self.0[5] & 0x10 != 0
    }

    /// Whether the fast extension is understood (BEP 6).
    pub fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// Whether there is a node of the Mainline DHT (BEP 5).
    pub fn dht(self) -> bool {
        self.0[7] & 0x01 != 0
    }

    /// The same, and the extension protocol (BEP 10).
    #[must_use]
    pub fn with_extension(mut self) -> Self {
        self.0[5] |= 0x10;
        self
    }

    /// The same, and the fast extension (BEP 6).
    #[must_use]
    pub fn with_fast(mut self) -> Self {
        self.0[7] |= 0x04;
        self
    }

    /// The same, and a node of the Mainline DHT (BEP 5).
    #[must_use]
    pub fn with_dht(mut self) -> Self {
        self.0[7] |= 0x01;
        self
    }
}

/// What a side says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Which extensions it understands.
    pub reserved: Reserved,
    /// The torrent that it wants to speak of.
    pub info_hash: InfoHash,
    /// How it names itself.
    pub peer_id: PeerId,
}

/// The first stage of a [`Handshake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeHead {
    /// Which extensions the side understands.
    pub reserved: Reserved,
    /// The torrent that it wants to speak of.
    pub info_hash: InfoHash,
}

impl Handshake {
    /// Reads all 68 bytes.
    pub fn parse(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Self, WireError> {
        let (head, peer_id) = bytes.split_at(HANDSHAKE_HEAD_LEN);
        let head = head.first_chunk().expect("it was split there");
        let HandshakeHead { reserved, info_hash } = HandshakeHead::parse(head)?;
        Ok(Self { reserved, info_hash, peer_id: PeerId(field(peer_id)) })
    }

    /// Writes all 68 bytes.
    pub fn emit(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        bytes[..20].copy_from_slice(PROTOCOL);
        bytes[20..28].copy_from_slice(&self.reserved.0);
        bytes[28..48].copy_from_slice(&self.info_hash.0);
        bytes[48..].copy_from_slice(&self.peer_id.0);
        bytes
    }
}

impl HandshakeHead {
    /// Reads the first 48 bytes.
    pub fn parse(bytes: &[u8; HANDSHAKE_HEAD_LEN]) -> Result<Self, WireError> {
        check_protocol(bytes)?;
        let reserved = Reserved(field(&bytes[20..28]));
        Ok(Self { reserved, info_hash: InfoHash(field(&bytes[28..48])) })
    }
}

/// Gathers a handshake from whatever chunks it comes in, and not one byte more.
///
/// Read into [`space`](Self::space), say how much came with [`filled`](Self::filled), then look
/// whether [`head`](Self::head) or [`handshake`](Self::handshake) is there.
#[derive(Clone, Debug)]
pub struct HandshakeDecoder {
    bytes: [u8; HANDSHAKE_LEN],
    len: usize,
}

impl HandshakeDecoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self { bytes: [0; HANDSHAKE_LEN], len: 0 }
    }

    /// The bytes that have come so far.
    pub fn received(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The first stage, once 48 bytes are there. Wrong first bytes are an error as soon as they
    /// come, be it one.
    pub fn head(&self) -> Result<Option<HandshakeHead>, WireError> {
        check_protocol(self.received())?;
        self.received().first_chunk().map(HandshakeHead::parse).transpose()
    }

    /// The whole, once 68 bytes are there.
    pub fn handshake(&self) -> Result<Option<Handshake>, WireError> {
        check_protocol(self.received())?;
        self.received().first_chunk().map(Handshake::parse).transpose()
    }

    /// Where the next bytes go. Empty once the handshake is whole.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[self.len..]
    }

    /// Takes in that `n` bytes were read into [`space`](Self::space).
    ///
    /// # Panics
    ///
    /// If `n` is more than there was space for.
    pub fn filled(&mut self, n: usize) {
        assert!(n <= HANDSHAKE_LEN - self.len, "more bytes than there was space for");
        self.len += n;
    }
}

impl Default for HandshakeDecoder {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether `bytes`, as far as they go, begin as a handshake does.
fn check_protocol(bytes: &[u8]) -> Result<(), WireError> {
    let same = bytes.iter().zip(PROTOCOL).all(|(byte, expected)| byte == expected);
    if same { Ok(()) } else { Err(WireError::NotBitTorrent) }
}

/// A field of `N` bytes.
fn field<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice was cut to the field's length")
}

#[cfg(test)]
mod tests {
    use super::*;

    static BYTES: &[u8; 68] = b"\x13BitTorrent protocol\
        \x00\x00\x00\x00\x00\x10\x00\x05\
        AAAAAAAAAABBBBBBBBBB\
        -TR4060-abcdefghijkl";

    fn handshake() -> Handshake {
        Handshake {
            reserved: Reserved::default().with_extension().with_fast().with_dht(),
            info_hash: InfoHash(*b"AAAAAAAAAABBBBBBBBBB"),
            peer_id: PeerId(*b"-TR4060-abcdefghijkl"),
        }
    }

    #[test]
    fn construct_and_deconstruct() {
        assert_eq!(&handshake().emit(), BYTES);
        assert_eq!(Handshake::parse(BYTES), Ok(handshake()));
    }

    #[test]
    fn each_extension_has_its_bit() {
        let none = Reserved::default();
        for (reserved, extension, fast, dht) in [
            (none, false, false, false),
            (none.with_extension(), true, false, false),
            (none.with_fast(), false, true, false),
            (none.with_dht(), false, false, true),
            (Reserved([0xff; 8]), true, true, true),
        ] {
            let seen = (reserved.extension(), reserved.fast(), reserved.dht());
            assert_eq!(seen, (extension, fast, dht), "{reserved:?}");
        }
    }

    #[test]
    fn the_stages_come_with_their_bytes() {
        for chunk in [1, 5, 19, 48, 68] {
            let mut decoder = HandshakeDecoder::new();
            let mut rest = &BYTES[..];
            while !rest.is_empty() {
                let n = chunk.min(rest.len());
                decoder.space()[..n].copy_from_slice(&rest[..n]);
                decoder.filled(n);
                rest = &rest[n..];
                let seen = decoder.received().len();
                assert_eq!(decoder.head().unwrap().is_some(), seen >= 48);
                assert_eq!(decoder.handshake().unwrap().is_some(), seen == 68);
            }
            let head = decoder.head().unwrap().unwrap();
            assert_eq!(head.info_hash, handshake().info_hash);
            assert_eq!(head.reserved, handshake().reserved);
            assert_eq!(decoder.handshake(), Ok(Some(handshake())));
            assert!(decoder.space().is_empty());
        }
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_byte() {
        for wrong in 0..20 {
            let mut decoder = HandshakeDecoder::new();
            for (at, byte) in BYTES[..=wrong].iter().enumerate() {
                assert_eq!(decoder.head(), Ok(None));
                decoder.space()[0] = byte ^ u8::from(at == wrong);
                decoder.filled(1);
            }
            assert_eq!(decoder.head(), Err(WireError::NotBitTorrent));
            assert_eq!(decoder.handshake(), Err(WireError::NotBitTorrent));
        }
    }
}
