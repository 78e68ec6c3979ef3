//! The blocks of one piece, until it is whole.

use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom, Write};

use sha1::{Digest, Sha1};

use crate::actors::file_part::FilePart;
use crate::words::id::Block;
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

    /// Writes the whole piece to the files that it covers.
    pub(super) fn write(
        &self,
        parts: impl Iterator<Item = io::Result<FilePart>>,
    ) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> =
            self.blocks.iter().map(|block| IoSlice::new(block)).collect();
        let mut slices = &mut slices[..];
        for part in parts {
            let part = part?;
            let len = usize::try_from(part.len).map_err(io::Error::other)?;
            match &part.file {
                Some(file) => write_slices(file, part.offset, &mut slices, len)?,
                None => IoSlice::advance_slices(&mut slices, len),
            }
        }
        Ok(())
    }
}

/// Writes the first `len` bytes of `slices` at `offset`, and steps over them.
///
/// Only the storage writes, and readers read at offsets of their own, so the file's cursor is free
/// to be used: a whole piece goes to the system in one call.
fn write_slices(
    mut file: &File,
    offset: u64,
    slices: &mut &mut [IoSlice<'_>],
    len: usize,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    let mut left = len;
    while left > 0 {
        let whole = whole_slices(slices, left);
        let written = if whole > 0 {
            file.write_vectored(&slices[..whole])
        } else {
            file.write(&slices[0][..left])
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                left -= n;
                IoSlice::advance_slices(slices, n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many slices at the head lie wholly within `len` bytes.
fn whole_slices(slices: &[IoSlice<'_>], len: usize) -> usize {
    let mut sum = 0;
    slices
        .iter()
        .take_while(|slice| {
            sum += slice.len();
            sum <= len
        })
        .count()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::words::id::PieceIndex;

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
            Some(Arc::new(options.open(dir.join(name)).unwrap()))
        };
        let part = |file, offset, len| FilePart { file, offset, len };
        let parts = [
            part(file("a"), 5, 16_000),
            part(None, 0, 1_000),
            part(file("b"), 0, 1),
            part(file("c"), 0, 22_999),
        ];
        gathered.write(parts.into_iter().map(Ok)).unwrap();
        assert_eq!(std::fs::read(dir.join("a")).unwrap()[5..], piece[..16_000]);
        assert_eq!(std::fs::read(dir.join("b")).unwrap(), piece[17_000..17_001]);
        assert_eq!(std::fs::read(dir.join("c")).unwrap(), piece[17_001..]);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
