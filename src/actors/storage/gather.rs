//! The blocks of one piece, until it is whole.

use std::io::{self, IoSlice};

use sha1::{Digest, Sha1};

use crate::actors::disk::write_all_at;
use crate::actors::file_part::FilePart;
use crate::words::bitfield::Bitfield;
use crate::words::id::{Block, PieceIndex};
use crate::words::limits::BLOCK_LEN;

/// A piece in the making.
#[derive(Debug)]
pub(super) struct Gathered {
    blocks: Vec<Vec<u8>>,
    missing: u32,
}

impl Gathered {
    /// A piece of `blocks` blocks, none of them here.
    pub(super) fn new(blocks: u32) -> Self {
        Self { blocks: vec![Vec::new(); blocks as usize], missing: blocks }
    }

    /// Keeps a block; whether the piece is whole now. One that is here already is dropped.
    pub(super) fn keep(&mut self, block: Block, data: Vec<u8>) -> bool {
        let place = &mut self.blocks[(block.offset / BLOCK_LEN) as usize];
        if place.is_empty() && !data.is_empty() {
            *place = data;
            self.missing -= 1;
        }
        self.missing == 0
    }

    /// Its blocks' buffers, once they are of no other use.
    pub(super) fn into_buffers(self) -> Vec<Vec<u8>> {
        self.blocks
    }

    /// The SHA-1 of the whole piece.
    pub(super) fn hash(&self) -> [u8; 20] {
        let mut hash = Sha1::new();
        self.blocks.iter().for_each(|block| hash.update(block));
        hash.finalize().into()
    }

    /// The SHA-1 of each block.
    pub(super) fn block_hashes(&self) -> Vec<[u8; 20]> {
        self.blocks.iter().map(|block| Sha1::digest(block).into()).collect()
    }
}

/// Writes whole pieces that lie one behind the other to the files that they cover, one file
/// after the other.
pub(super) fn write(
    pieces: &[Gathered],
    parts: impl Iterator<Item = io::Result<FilePart>>,
) -> io::Result<()> {
    let mut rest = pieces.iter().flat_map(|piece| &piece.blocks).map(Vec::as_slice);
    let mut block: &[u8] = &[];
    for part in parts {
        let part = part?;
        let mut left = usize::try_from(part.len).map_err(io::Error::other)?;
        let mut slices = Vec::new();
        while left > 0 {
            if block.is_empty() {
                block = rest.next().ok_or(io::ErrorKind::UnexpectedEof)?;
            }
            let (here, beyond) = block.split_at(left.min(block.len()));
            slices.push(IoSlice::new(here));
            (left, block) = (left - here.len(), beyond);
        }
        if let Some(file) = &part.file {
            write_all_at(&**file, &mut slices, part.offset)?;
        }
    }
    Ok(())
}

/// The blocks whose hashes differ.
pub(super) fn changed(was: &[[u8; 20]], is: &[[u8; 20]]) -> Bitfield {
    let mut changed = Bitfield::zeros(u32::try_from(was.len()).expect("pieces have few blocks"));
    for (block, _) in (0..).zip(was.iter().zip(is)).filter(|(_, (was, is))| was != is) {
        changed.set(PieceIndex(block));
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::actors::disk::DiskFile;

    #[test]
    fn a_piece_is_cut_at_the_borders_of_files() {
        let piece: Vec<u8> =
            (0..40_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let mut gathered = Gathered::new(3);
        let blocks: Vec<_> = piece.chunks(BLOCK_LEN as usize).collect();
        for (n, whole) in [(2, false), (0, false), (0, false), (1, true)] {
            let block = Block {
                piece: PieceIndex(0),
                offset: n * BLOCK_LEN,
                len: u32::try_from(blocks[n as usize].len()).unwrap(),
            };
            assert_eq!(gathered.keep(block, blocks[n as usize].to_vec()), whole);
        }
        assert_eq!(gathered.hash(), <[u8; 20]>::from(Sha1::digest(&piece)));

        let dir = std::env::temp_dir().join(format!("rondalla-gather-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = |name: &str| {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            let file: Arc<dyn DiskFile> = Arc::new(options.open(dir.join(name)).unwrap());
            Some(file)
        };
        let part = |file, offset, len| FilePart { file, offset, len };
        let parts = [
            part(file("a"), 5, 16_000),
            part(None, 0, 1_000),
            part(file("b"), 0, 1),
            part(file("c"), 0, 22_999),
        ];
        write(&[gathered], parts.into_iter().map(Ok)).unwrap();
        assert_eq!(std::fs::read(dir.join("a")).unwrap()[5..], piece[..16_000]);
        assert_eq!(std::fs::read(dir.join("b")).unwrap(), piece[17_000..17_001]);
        assert_eq!(std::fs::read(dir.join("c")).unwrap(), piece[17_001..]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
