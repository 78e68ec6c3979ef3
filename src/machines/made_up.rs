//! What the tests of machines and actors share: torrents out of nothing, and pictures.

use std::time::Instant;

use sha1::{Digest, Sha1};

use crate::formats::metainfo::{Draft, DraftFile, Metainfo};
use crate::words::bitfield::{SharedBitfield, WORD_BITS, Word, words_for};
use crate::words::id::{Key, PeerKey, PieceIndex, TorrentKey};
use crate::words::rng::Rng;

/// A torrent of one file with the name `name`, whose hashes fit no data.
pub(crate) fn torrent(name: &str, piece_length: u32, len: u64) -> Metainfo {
    let pieces = usize::try_from(len.div_ceil(u64::from(piece_length))).unwrap();
    one_file(name, piece_length, len, vec![7; pieces * 20])
}

/// The same, private (BEP 27).
pub(crate) fn private_torrent(name: &str, piece_length: u32, len: u64) -> Metainfo {
    let pieces = usize::try_from(len.div_ceil(u64::from(piece_length))).unwrap();
    let draft = Draft {
        name: name.as_bytes().to_vec(),
        piece_length,
        files: vec![DraftFile { path: Vec::new(), len }],
        hashes: vec![7; pieces * 20],
        private: true,
        ..Draft::default()
    };
    Metainfo::parse(&draft.encode()).unwrap()
}

/// The torrent of a file with the name `name` and the content `data`.
pub(crate) fn torrent_of(name: &str, piece_length: u32, data: &[u8]) -> Metainfo {
    let hashes = data.chunks(piece_length as usize).flat_map(Sha1::digest).collect();
    one_file(name, piece_length, data.len() as u64, hashes)
}

fn one_file(name: &str, piece_length: u32, len: u64, hashes: Vec<u8>) -> Metainfo {
    let files = vec![DraftFile { path: Vec::new(), len }];
    let name = name.as_bytes().to_vec();
    let draft = Draft { name, piece_length, files, hashes, ..Draft::default() };
    Metainfo::parse(&draft.encode()).unwrap()
}

/// A time to begin with: `Instant` cannot be made up, so tests add to this one.
pub(crate) fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "no test depends on what it says")]
    Instant::now()
}

/// `len` bytes, always the same.
pub(crate) fn data(len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    Rng::new(6881).fill(&mut data);
    data
}

/// The pieces of a picture: one character a piece, `#` for one that is there.
pub(crate) fn pieces(picture: &str) -> impl Iterator<Item = PieceIndex> {
    (0..).zip(picture.chars()).filter(|(_, c)| *c == '#').map(|(piece, _)| PieceIndex(piece))
}

/// A picture as the bit field that threads share.
pub(crate) fn shared(picture: &str) -> SharedBitfield {
    let field = SharedBitfield::zeros(u32::try_from(picture.len()).unwrap());
    pieces(picture).for_each(|piece| {
        field.set(piece);
    });
    field
}

/// The words of `field` in which something is.
pub(crate) fn words(field: &SharedBitfield) -> impl Iterator<Item = Word> {
    let word = |n| Word { first: PieceIndex(n * WORD_BITS), bits: field.word(n) };
    (0..words_for(field.len())).map(word).filter(|word| word.bits != 0)
}

/// The peer of this number, the first in its place.
pub(crate) fn peer(index: u32) -> PeerKey {
    PeerKey(Key { index, generation: 0 })
}

/// The torrent of this number.
pub(crate) fn torrent_key(index: u32) -> TorrentKey {
    TorrentKey(Key { index, generation: 0 })
}

/// A torrent of a folder with the name `name` and files of these lengths, whose hashes fit no data.
pub(crate) fn folder(name: &str, piece_length: u32, lens: &[u64]) -> Metainfo {
    let len: u64 = lens.iter().sum();
    let pieces = usize::try_from(len.div_ceil(u64::from(piece_length))).unwrap();
    many_files(name, piece_length, lens, vec![7; pieces * 20])
}

/// The torrent of a folder with the name `name` and files of these lengths, `data` in all. Their
/// names are their numbers.
pub(crate) fn folder_of(name: &str, piece_length: u32, lens: &[u64], data: &[u8]) -> Metainfo {
    let hashes = data.chunks(piece_length as usize).flat_map(Sha1::digest).collect();
    many_files(name, piece_length, lens, hashes)
}

fn many_files(name: &str, piece_length: u32, lens: &[u64], hashes: Vec<u8>) -> Metainfo {
    let file =
        |(n, len): (usize, &u64)| DraftFile { path: vec![n.to_string().into_bytes()], len: *len };
    let files = lens.iter().enumerate().map(file).collect();
    let name = name.as_bytes().to_vec();
    let draft = Draft { name, piece_length, files, hashes, ..Draft::default() };
    Metainfo::parse(&draft.encode()).unwrap()
}
