//! The handshake: what its stages say, whatever the chunks.

use rondalla::formats::wire::handshake::{HANDSHAKE_HEAD_LEN, HANDSHAKE_LEN};
use rondalla::formats::wire::{Handshake, HandshakeDecoder, HandshakeHead, WireError};

/// The first byte is the length of the chunks; the others come over the wire.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&chunk, bytes)) = bytes.split_first() else { return };
    let (head, whole, used) = decode(bytes, usize::from(chunk).max(1));
    for chunk in [1, HANDSHAKE_HEAD_LEN, HANDSHAKE_LEN] {
        assert_eq!(decode(bytes, chunk), (head, whole, used), "chunks of {chunk}");
    }
    assert_eq!(used, bytes.len().min(HANDSHAKE_LEN), "not a byte beyond the handshake is taken");
    let name = &b"\x13BitTorrent protocol"[..];
    let begins_right = bytes.iter().zip(name).all(|(byte, expected)| byte == expected);
    assert_eq!(head.is_ok(), begins_right);
    assert_eq!(whole.is_ok(), begins_right);
    if let Ok(head) = head {
        assert_eq!(head.is_some(), bytes.len() >= HANDSHAKE_HEAD_LEN);
    }
    if let Ok(whole) = whole {
        assert_eq!(whole.is_some(), bytes.len() >= HANDSHAKE_LEN);
    }
    if let Ok(Some(handshake)) = whole {
        assert_eq!(handshake.emit()[..], bytes[..HANDSHAKE_LEN]);
        assert_eq!(Handshake::parse(&handshake.emit()), Ok(handshake));
        let Handshake { reserved, info_hash, peer_id } = handshake;
        assert_eq!(head, Ok(Some(HandshakeHead { reserved, info_hash })));
        let all = reserved.with_dht().with_extension().with_fast();
        assert!(all.dht() && all.extension() && all.fast());
        assert!(!peer_id.to_string().contains(char::is_control));
    }
}

type Decoded =
    (Result<Option<HandshakeHead>, WireError>, Result<Option<Handshake>, WireError>, usize);

/// What has been heard when all chunks have come, and how many bytes were taken.
fn decode(bytes: &[u8], chunk: usize) -> Decoded {
    let mut decoder = HandshakeDecoder::new();
    let mut wrong = false;
    for chunk in bytes.chunks(chunk) {
        let space = decoder.space();
        let n = chunk.len().min(space.len());
        space[..n].copy_from_slice(&chunk[..n]);
        decoder.filled(n);
        assert!(!wrong || decoder.head().is_err(), "an error is final");
        wrong = decoder.head().is_err();
        assert_eq!(wrong, decoder.handshake().is_err());
    }
    assert_eq!(decoder.received(), &bytes[..decoder.received().len()]);
    (decoder.head(), decoder.handshake(), decoder.received().len())
}
