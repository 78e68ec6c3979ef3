//! The messages of one peer: the decoder over any chunks, the extension handshake, and what is
//! made of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rondalla::bus::{PeerNews, PeerShared, TorrentContext};
use rondalla::formats::metainfo::{Draft, DraftFile, Metainfo};
use rondalla::formats::wire::{Decoder, ExtensionHandshake, Message, WireError};
use rondalla::machines::conversation::Inbound;
use rondalla::words::bitfield::{Bitfield, SharedBitfield};
use rondalla::words::id::{Block, PieceIndex};
use rondalla::words::limits::{
    ALLOWED_FAST_MAX, BLOCK_LEN, CLIENT_NAME_LEN_MAX, DECODER_BUFFER_LEN, EXTENDED_LEN_MAX,
    EXTENSION_NAME_LEN_MAX, EXTENSIONS_MAX, REQUEST_LEN_MAX,
};
use rondalla::words::rng::Rng;

/// Bytes of a piece of the torrent that is spoken of: a block and a half.
const PIECE_LEN: u32 = BLOCK_LEN + BLOCK_LEN / 2;

type Decoded = (Vec<Message>, Option<WireError>);

/// Of the first four bytes, one is the number of pieces, one the credit in blocks, one the lengths
/// of the chunks, and of the fourth the lowest bit says whether the fast extension was agreed on;
/// the others come over the wire.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&[pieces, credit, chunks, flags], bytes)) = bytes.split_first_chunk() else { return };
    let pieces = u32::from(pieces) + 1;
    let decoded = decode(bytes, pieces, usize::MAX, &mut Rng::new(0));
    let chunk_max = usize::from(chunks) * usize::from(chunks) + 1;
    let mut rng = Rng::new(chunks.into());
    let again = decode(bytes, pieces, chunk_max, &mut rng);
    assert!(again == decoded, "chunks of at most {chunk_max} give the same");
    check_bytes(bytes, &decoded, pieces);
    for message in &decoded.0 {
        if let Message::Extended { payload, .. } = message {
            check_extensions(payload);
        }
    }
    Hearing::new(pieces, credit.into(), flags & 1 != 0).hear(decoded.0);
}

/// Feeds all of `bytes` in chunks of random lengths up to `chunk_max`.
fn decode(bytes: &[u8], pieces: u32, chunk_max: usize, rng: &mut Rng) -> Decoded {
    let mut decoder = Decoder::new(pieces);
    let (mut messages, mut rest, mut fed) = (Vec::new(), bytes, 0);
    loop {
        loop {
            match decoder.poll_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.poll_message(), Err(error), "an error is final");
                    return (messages, Some(error));
                }
            }
        }
        if rest.is_empty() {
            return (messages, None);
        }
        let chunk = match u32::try_from(chunk_max) {
            Ok(most) => rest.len().min(1 + rng.below(most) as usize),
            Err(_) => rest.len(),
        };
        let spaces = decoder.spaces();
        let room: usize = spaces.iter().map(|space| space.len()).sum();
        assert!(room > 0, "there is always room for more");
        let most = fed.max(BLOCK_LEN as usize) + DECODER_BUFFER_LEN;
        assert!(room <= most, "{room} bytes of room after {fed} bytes");
        let mut taken = 0;
        for space in spaces {
            let n = space.len().min(chunk - taken);
            space[..n].copy_from_slice(&rest[taken..taken + n]);
            taken += n;
        }
        decoder.filled(taken);
        fed += taken;
        rest = &rest[taken..];
    }
}

/// What was read is written again as it was.
fn check_bytes(bytes: &[u8], (messages, error): &Decoded, pieces: u32) {
    let mut out = Vec::new();
    for message in messages {
        let start = out.len();
        message.emit(&mut out);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others are of one length")]
        match message {
            Message::Piece { data, .. } => assert!((1..=BLOCK_LEN as usize).contains(&data.len())),
            Message::Bitfield(bits) => assert!(bits.len() <= pieces.div_ceil(8) as usize),
            Message::Extended { payload, .. } => {
                assert!(payload.len() <= EXTENDED_LEN_MAX as usize);
            }
            // The payload of an unknown message is dropped: here it is put back.
            Message::Unknown { .. } => {
                let (prefix, _) = bytes[start..].split_first_chunk().expect("its head has come");
                let end = start + 4 + u32::from_be_bytes(*prefix) as usize;
                out.truncate(start);
                out.extend(&bytes[start..end.min(bytes.len())]);
            }
            _ => {}
        }
    }
    assert!(bytes.starts_with(&out), "what was read is written as it was");
    let left = bytes.len() - out.len();
    let longest = 14 + pieces.div_ceil(8).max(EXTENDED_LEN_MAX) as usize;
    assert!(error.is_some() || left < longest, "{left} bytes wait for the end of a message");
    if let Some(error) = error {
        assert!(!error.to_string().contains(char::is_control));
        let again = decode(&bytes[out.len()..], pieces, usize::MAX, &mut Rng::new(0));
        assert!(again == (Vec::new(), Some(*error)), "the message at fault alone gives the error");
    }
}

fn check_extensions(payload: &[u8]) {
    let handshake = match ExtensionHandshake::parse(payload) {
        Ok(handshake) => handshake,
        Err(error) => return assert!(!error.to_string().contains(char::is_control)),
    };
    let client = handshake.client.as_deref().unwrap_or_default();
    assert!(client.chars().count() <= CLIENT_NAME_LEN_MAX && !client.contains(char::is_control));
    assert!(handshake.extensions.len() <= EXTENSIONS_MAX);
    assert!(handshake.extensions.keys().all(|name| name.len() <= EXTENSION_NAME_LEN_MAX));
    assert!(handshake.port != Some(0) && handshake.metadata_len != Some(0));
    assert!(handshake.your_ip.is_none_or(|ip| ip == ip.to_canonical()));
    let bytes = handshake.emit();
    assert_eq!(ExtensionHandshake::parse(&bytes).as_ref(), Ok(&handshake));
    assert_eq!(ExtensionHandshake::parse(&bytes).map(|same| same.emit()), Ok(bytes));
}

/// The machine of the peer's reader, and what must be true of its news.
struct Hearing {
    inbound: Inbound,
    shared: Arc<PeerShared>,
    metainfo: Arc<Metainfo>,
    credit: u32,
    allowed_fast: usize,
    gained: Bitfield,
    is_seeder: bool,
    is_complete: bool,
    now: Instant,
}

impl Hearing {
    #[expect(clippy::disallowed_methods, reason = "nothing depends on what the clock says")]
    fn new(pieces: u32, credit: u32, fast: bool) -> Self {
        let theirs = SharedBitfield::zeros(pieces);
        let shared = Arc::new(PeerShared::of(theirs));
        shared.credit.grant(credit);
        let (_, context) = TorrentContext::new(torrent(pieces), SharedBitfield::ones(pieces));
        let (now, metainfo) = (Instant::now(), Arc::clone(&context.metainfo));
        let inbound = Inbound::new(context, Arc::clone(&shared), fast, now);
        let gained = Bitfield::zeros(pieces);
        let (is_seeder, is_complete) = (false, false);
        let allowed_fast = 0;
        Self {
            inbound,
            shared,
            metainfo,
            credit,
            allowed_fast,
            gained,
            is_seeder,
            is_complete,
            now,
        }
    }

    fn hear(mut self, messages: Vec<Message>) {
        for message in messages {
            self.now += Duration::from_secs(7);
            let heard = self.inbound.handle_message(message, self.now);
            let heard = heard.and_then(|()| self.inbound.handle_time(self.now));
            if let Err(violation) = heard {
                assert!(!violation.to_string().contains(char::is_control));
                break;
            }
            assert!(self.inbound.poll_deadline() > self.now, "there is time to wait");
            while let Some(news) = self.inbound.poll_news() {
                self.learn(news);
            }
            assert_eq!(self.shared.theirs.is_full(), self.is_complete, "whoever has all said so");
        }
        // When it goes, main takes back exactly what it was told.
        let mut left = self.gained.clone();
        for word in self.inbound.take_back() {
            assert!(!self.is_seeder && word.pieces().all(|piece| left.clear(piece)));
        }
        assert!(left.ones() == 0, "nothing that was told is kept");
    }

    fn learn(&mut self, news: PeerNews) {
        let in_torrent = |block: Block| self.metainfo.holds(block);
        #[expect(clippy::wildcard_enum_match_arm, reason = "the others promise nothing")]
        match news {
            PeerNews::Gained(word) => {
                assert!(!self.is_seeder && word.bits != 0);
                assert!(word.pieces().all(|piece| self.gained.set(piece)), "a piece comes once");
            }
            PeerNews::Seeder => {
                assert!(!self.is_seeder && self.gained.ones() == 0);
                (self.is_seeder, self.is_complete) = (true, true);
            }
            PeerNews::Completed => {
                assert!(!self.is_complete && self.gained.is_full());
                self.is_complete = true;
            }
            PeerNews::Requested(block) | PeerNews::Cancelled(block) => {
                assert!(in_torrent(block) && block.len <= REQUEST_LEN_MAX);
            }
            PeerNews::Block(block, data) => {
                assert!(in_torrent(block) && data.len() == block.len as usize);
                assert_eq!(self.metainfo.block(block.piece, block.offset / BLOCK_LEN), block);
                self.credit = self.credit.checked_sub(1).expect("a block takes a credit");
            }
            PeerNews::Rejected(_) => {
                self.credit = self.credit.checked_sub(1).expect("a reject takes a credit");
            }
            PeerNews::AllowedFast(piece) => {
                self.allowed_fast += 1;
                assert!(piece.0 < self.metainfo.pieces() && self.allowed_fast <= ALLOWED_FAST_MAX);
            }
            _ => {}
        }
    }
}

fn torrent(pieces: u32) -> Metainfo {
    let draft = Draft {
        name: b"t".to_vec(),
        piece_length: PIECE_LEN,
        files: vec![DraftFile {
            path: Vec::new(),
            len: u64::from(pieces) * u64::from(PIECE_LEN) - 1,
        }],
        hashes: vec![7; 20 * PieceIndex(pieces).slot()],
        ..Draft::default()
    };
    Metainfo::parse(&draft.encode()).expect("a torrent as any other")
}
