//! Which bytes of a torrent belong to which piece, block and file.
//!
//! A torrent's bytes are those of its files, one after the other. Pieces cut them into equal
//! lengths, blocks cut the pieces; the last of each is shorter.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use super::Metainfo;
use crate::words::bitfield::SharedBitfield;
use crate::words::id::{Block, PieceIndex};
use crate::words::limits::BLOCK_LEN;

/// Bytes that lie together in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The file, as an index into [`Metainfo::files`].
    pub file: usize,
    /// Where they begin in the file.
    pub offset: u64,
    /// How many they are, at least one.
    pub len: u64,
}

impl Metainfo {
    /// The number of pieces; 0 if the torrent has no bytes.
    pub fn pieces(&self) -> u32 {
        u32::try_from(self.hashes.len() / 20).expect("PIECES_MAX fits")
    }

    /// The length of a piece in bytes; 0 if there is no such piece.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let rest = self.len.saturating_sub(self.piece_offset(piece));
        u32::try_from(rest).map_or(self.piece_length, |rest| rest.min(self.piece_length))
    }

    /// Where a piece begins in the torrent.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// The SHA-1 of a piece, which must exist.
    pub fn piece_hash(&self, piece: PieceIndex) -> [u8; 20] {
        let (hashes, _) = self.info[self.hashes.clone()].as_chunks();
        hashes[piece.slot()]
    }

    /// The number of blocks of a piece; 0 if there is no such piece.
    pub fn blocks(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// Block `n` of a piece, counted from 0; its length is 0 if there is no such block.
    pub fn block(&self, piece: PieceIndex, n: u32) -> Block {
        let offset = n.saturating_mul(BLOCK_LEN);
        let len = self.piece_len(piece).saturating_sub(offset).min(BLOCK_LEN);
        Block { piece, offset, len }
    }

    /// Whether a block, as long as it may be, has bytes and all of them lie inside its piece.
    pub fn holds(&self, block: Block) -> bool {
        let end = block.offset.checked_add(block.len);
        block.len > 0 && end.is_some_and(|end| end <= self.piece_len(block.piece))
    }

    /// Where the `len` bytes from `offset` on lie, file by file in ascending order. What is beyond
    /// the end is left out, and so are files without bytes. Finding the first takes O(log files).
    pub fn stretches(&self, offset: u64, len: u64) -> impl Iterator<Item = Stretch> {
        let end = offset.saturating_add(len).min(self.len);
        let first = self.files.partition_point(|file| file.offset + file.len <= offset);
        let files = self.files.iter().enumerate().skip(first);
        let reached = files.take_while(move |(_, file)| file.offset < end);
        reached.filter_map(move |(index, file)| {
            let from = offset.max(file.offset);
            let to = end.min(file.offset + file.len);
            let len = to.checked_sub(from).filter(|len| *len > 0)?;
            Some(Stretch { file: index, offset: from - file.offset, len })
        })
    }

    /// The files with these numbers, as indices into [`files`](Self::files): counted from 1, without
    /// pad files, which have none.
    pub fn files_numbered(&self, numbers: &[RangeInclusive<u32>]) -> BTreeSet<usize> {
        let files = self.files.iter().enumerate().filter(|(_, file)| !file.pad);
        let is_meant = |number| numbers.iter().any(|range| range.contains(&number));
        (1..).zip(files).filter(|(number, _)| is_meant(*number)).map(|(_, (at, _))| at).collect()
    }

    /// The files with these indices that are no pad files (BEP 53).
    pub fn files_indexed(&self, indices: &[RangeInclusive<u32>]) -> BTreeSet<usize> {
        let is_meant = |index| indices.iter().any(|range| range.contains(&index));
        let files = (0..).zip(self.files.iter().enumerate());
        let meant = files.filter(|(index, (_, file))| !file.pad && is_meant(*index));
        meant.map(|(_, (at, _))| at).collect()
    }

    /// The pieces that hold bytes of `files`, given by their index.
    pub fn pieces_of_files(&self, files: &BTreeSet<usize>) -> SharedBitfield {
        let wanted = SharedBitfield::zeros(self.pieces());
        let known = files.iter().filter(|file| **file < self.files().len());
        for piece in known.flat_map(|file| self.pieces_of(*file)) {
            wanted.set(PieceIndex(piece));
        }
        wanted
    }

    /// The pieces that hold bytes of a file, which must exist; none if the file is empty.
    pub fn pieces_of(&self, file: usize) -> Range<u32> {
        let file = &self.files[file];
        let piece_length = u64::from(self.piece_length);
        let index = |piece: u64| u32::try_from(piece).expect("every byte lies in a piece");
        let first = index(file.offset / piece_length);
        if file.len == 0 {
            return first..first;
        }
        first..index((file.offset + file.len).div_ceil(piece_length))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, DraftFile};
    use super::*;

    /// Offset, length, and per stretch the file, the offset in it and the length.
    type Row<'a> = (u64, u64, &'a [(usize, u64, u64)]);

    fn torrent(piece_length: u32, lens: &[u64]) -> Metainfo {
        let len: u64 = lens.iter().sum();
        let pieces = usize::try_from(len.div_ceil(u64::from(piece_length))).unwrap();
        let file =
            |(n, &len): (usize, &u64)| DraftFile { path: vec![format!("{n}").into_bytes()], len };
        let draft = Draft {
            name: b"t".to_vec(),
            piece_length,
            files: lens.iter().enumerate().map(file).collect(),
            hashes: (0..pieces).flat_map(|n| [u8::try_from(n % 256).unwrap(); 20]).collect(),
            ..Draft::default()
        };
        Metainfo::parse(&draft.encode()).unwrap()
    }

    #[test]
    fn the_last_piece_and_the_last_block_are_shorter() {
        // piece length, length; then the length of each piece; then those of the last one's blocks
        let table: [(u32, u64, &[u32], &[u32]); 9] = [
            (16384, 0, &[], &[]),
            (16384, 1, &[1], &[1]),
            (16384, 16384, &[16384], &[16384]),
            (16384, 16385, &[16384, 1], &[1]),
            (32768, 32768 + 16384, &[32768, 16384], &[16384]),
            (32768, 65535, &[32768, 32767], &[16384, 16383]),
            (1, 3, &[1, 1, 1], &[1]),
            (20000, 40000, &[20000, 20000], &[16384, 3616]),
            (20000, 59999, &[20000, 20000, 19999], &[16384, 3615]),
        ];
        for (piece_length, len, pieces, blocks) in table {
            let torrent = torrent(piece_length, &[len]);
            let found: Vec<u32> =
                (0..torrent.pieces()).map(|n| torrent.piece_len(PieceIndex(n))).collect();
            assert_eq!(found, pieces);
            let last = PieceIndex(torrent.pieces().saturating_sub(1));
            let found: Vec<u32> =
                (0..torrent.blocks(last)).map(|n| torrent.block(last, n).len).collect();
            assert_eq!(found, blocks);
            assert_eq!(torrent.piece_len(PieceIndex(torrent.pieces())), 0);
            assert_eq!(torrent.piece_len(PieceIndex(u32::MAX)), 0);
            assert_eq!(torrent.block(last, torrent.blocks(last)).len, 0);
            assert_eq!(torrent.block(last, u32::MAX).len, 0);
        }
    }

    #[test]
    fn a_piece_has_its_own_hash() {
        let torrent = torrent(16384, &[3 * 16384]);
        assert_eq!(torrent.piece_hash(PieceIndex(2)), [2; 20]);
        assert_eq!(torrent.piece_offset(PieceIndex(2)), 32768);
    }

    #[test]
    fn only_blocks_inside_their_piece_are_held() {
        let torrent = torrent(20000, &[39_999]);
        let table = [
            (0, 0, 16384, true),
            (0, 16384, 3616, true),
            (0, 16384, 3617, false),
            (0, 1, 1, true),
            (0, 0, 0, false),
            (1, 0, 19_999, true),
            (1, 0, 20_000, false),
            (1, 19_998, 1, true),
            (1, 19_999, 1, false),
            (2, 0, 1, false),
            (u32::MAX, 0, 1, false),
            (0, u32::MAX, 1, false),
            (0, 1, u32::MAX, false),
        ];
        for (piece, offset, len, held) in table {
            let block = Block { piece: PieceIndex(piece), offset, len };
            assert_eq!(torrent.holds(block), held, "{block:?}");
        }
    }

    #[test]
    fn stretches_cross_files() {
        // Files:   0: 0..3   1: 3..3   2: 3..4   3: 4..4   4: 4..10   5: 10..10
        // Pieces:  0: 0..4   1: 4..8   2: 8..10
        let torrent = torrent(4, &[3, 0, 1, 0, 6, 0]);
        let table: [Row<'_>; 11] = [
            (0, 10, &[(0, 0, 3), (2, 0, 1), (4, 0, 6)]),
            (0, 4, &[(0, 0, 3), (2, 0, 1)]),
            (4, 4, &[(4, 0, 4)]),
            (8, 2, &[(4, 4, 2)]),
            (2, 3, &[(0, 2, 1), (2, 0, 1), (4, 0, 1)]),
            (3, 1, &[(2, 0, 1)]),
            (3, 0, &[]),
            (9, 100, &[(4, 5, 1)]),
            (10, 1, &[]),
            (u64::MAX, 1, &[]),
            (1, u64::MAX, &[(0, 1, 2), (2, 0, 1), (4, 0, 6)]),
        ];
        for (offset, len, wanted) in table {
            let found: Vec<_> = torrent
                .stretches(offset, len)
                .map(|stretch| (stretch.file, stretch.offset, stretch.len))
                .collect();
            assert_eq!(found, wanted, "{offset} {len}");
        }
        let pieces: Vec<_> = (0..6).map(|file| torrent.pieces_of(file)).collect();
        assert_eq!(pieces, [0..1, 0..0, 0..1, 1..1, 1..3, 2..2]);
    }

    #[test]
    fn stretches_of_all_pieces_are_the_files() {
        let lens = [5, 0, 1, 16, 0, 0, 3, 7, 33, 1];
        for piece_length in 1..70 {
            let torrent = torrent(piece_length, &lens);
            let mut written = [0; 10];
            for n in 0..torrent.pieces() {
                let piece = PieceIndex(n);
                let (offset, len) = (torrent.piece_offset(piece), torrent.piece_len(piece));
                for stretch in torrent.stretches(offset, u64::from(len)) {
                    assert_eq!(stretch.offset, written[stretch.file]);
                    assert!(torrent.pieces_of(stretch.file).contains(&n));
                    written[stretch.file] += stretch.len;
                }
            }
            assert_eq!(written, lens);
        }
    }
}
