//! One bit a piece, read and written 64 at a time.
//!
//! Bit `i` of word `w` is piece `64 w + i`. On the wire the order inside a byte is the reverse
//! (BEP 3: "the high bit in the first byte corresponds to piece index 0"), which only
//! [`word_from_wire`] and [`word_to_wire`] know.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::words::id::PieceIndex;

/// Pieces in a [`Word`].
pub const WORD_BITS: u32 = u64::BITS;

/// Up to 64 neighbouring pieces: the portion in which news about many pieces travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The piece of bit 0, a multiple of 64.
    pub first: PieceIndex,
    /// One bit a piece, the lowest is `first`.
    pub bits: u64,
}

impl Word {
    /// The word that holds only `piece`.
    pub fn of(piece: PieceIndex) -> Self {
        let first = PieceIndex(piece.0 / WORD_BITS * WORD_BITS);
        Self { first, bits: 1 << (piece.0 % WORD_BITS) }
    }

    /// Its pieces, lowest first; at most 64.
    pub fn pieces(self) -> impl Iterator<Item = PieceIndex> {
        let mut bits = self.bits;
        std::iter::from_fn(move || {
            if bits == 0 {
                return None;
            }
            let lowest = bits.trailing_zeros();
            bits &= bits - 1;
            Some(PieceIndex(self.first.0 + lowest))
        })
    }
}

/// The number of words for `pieces` pieces.
pub fn words_for(pieces: u32) -> u32 {
    pieces.div_ceil(WORD_BITS)
}

/// The number of bytes of the BITFIELD message for `pieces` pieces (BEP 3).
pub fn wire_len(pieces: u32) -> usize {
    pieces.div_ceil(8) as usize
}

/// Word `index` of a wire bitfield; bytes past the end count as zero.
pub fn word_from_wire(bytes: &[u8], index: u32) -> u64 {
    let from = index as usize * 8;
    let mut eight = [0; 8];
    for (to, byte) in eight.iter_mut().zip(bytes.get(from..).unwrap_or_default()) {
        *to = *byte;
    }
    u64::from_be_bytes(eight).reverse_bits()
}

/// The eight wire bytes of a word.
pub fn word_to_wire(word: u64) -> [u8; 8] {
    word.reverse_bits().to_be_bytes()
}

/// A bit for each piece, of one thread, with a count of the ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    words: Vec<u64>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// `len` zeros. The memory comes zeroed from the system, so this takes no time by the piece.
    pub fn zeros(len: u32) -> Self {
        Self { words: vec![0; words_for(len) as usize], len, ones: 0 }
    }

    /// The number of bits.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of ones.
    pub fn ones(&self) -> u32 {
        self.ones
    }

    /// Whether every bit is one.
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Whether `piece` is one; pieces past the end are not.
    pub fn get(&self, piece: PieceIndex) -> bool {
        self.word(piece.0 / WORD_BITS) >> (piece.0 % WORD_BITS) & 1 == 1
    }

    /// Makes `piece` one; whether it was zero.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "piece {} of {}", piece.0, self.len);
        let fresh = !self.get(piece);
        self.words[(piece.0 / WORD_BITS) as usize] |= 1 << (piece.0 % WORD_BITS);
        self.ones += u32::from(fresh);
        fresh
    }

    /// Makes `piece` zero; whether it was one.
    pub fn clear(&mut self, piece: PieceIndex) -> bool {
        let was = self.get(piece);
        if was {
            self.words[(piece.0 / WORD_BITS) as usize] &= !(1 << (piece.0 % WORD_BITS));
            self.ones -= 1;
        }
        was
    }

    /// Word `index`; zero past the end.
    pub fn word(&self, index: u32) -> u64 {
        self.words.get(index as usize).copied().unwrap_or(0)
    }

    /// The words that have ones, lowest first. It visits every word.
    pub fn to_words(&self) -> impl Iterator<Item = Word> {
        let word = |index| Word { first: PieceIndex(index * WORD_BITS), bits: self.word(index) };
        (0..words_for(self.len)).map(word).filter(|word| word.bits != 0)
    }

    /// The ones, lowest first. It visits every word.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> {
        self.to_words().flat_map(Word::pieces)
    }

    /// The payload of the BITFIELD message (BEP 3).
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().copied().flat_map(word_to_wire).collect();
        bytes.truncate(wire_len(self.len));
        bytes
    }
}

/// A bit for each piece, written by one thread and read by others.
///
/// Halves of 32 bits, since small hosts have no 64-bit atomics. A reader may see one half of a
/// word before the other: each bit is true by itself, and that is all that is promised.
#[derive(Debug)]
pub struct SharedBitfield {
    halves: Box<[AtomicU32]>,
    len: u32,
    ones: AtomicU32,
    changes: AtomicU32,
}

impl SharedBitfield {
    /// `len` zeros.
    pub fn zeros(len: u32) -> Self {
        let halves = (0..words_for(len) * 2).map(|_| AtomicU32::new(0)).collect();
        Self { halves, len, ones: AtomicU32::new(0), changes: AtomicU32::new(0) }
    }

    /// `len` ones.
    pub fn ones(len: u32) -> Self {
        let this = Self::zeros(len);
        (0..len).for_each(|piece| {
            this.set(PieceIndex(piece));
        });
        this
    }

    /// The number of bits.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of ones.
    pub fn count(&self) -> u32 {
        self.ones.load(Ordering::Acquire)
    }

    /// Whether every bit is one.
    pub fn is_full(&self) -> bool {
        self.count() == self.len
    }

    /// A number that is another one after each change: a reader that saw it need not look again.
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Whether `piece` is one; pieces past the end are not.
    pub fn get(&self, piece: PieceIndex) -> bool {
        let half = self.halves.get((piece.0 / u32::BITS) as usize);
        half.is_some_and(|half| half.load(Ordering::Relaxed) >> (piece.0 % u32::BITS) & 1 == 1)
    }

    /// Makes `piece` one; whether it was zero. Only the one writer calls it.
    pub fn set(&self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "piece {} of {}", piece.0, self.len);
        let bit = 1 << (piece.0 % u32::BITS);
        let old = self.halves[(piece.0 / u32::BITS) as usize].fetch_or(bit, Ordering::Relaxed);
        let fresh = old & bit == 0;
        if fresh {
            self.ones.fetch_add(1, Ordering::Release);
            self.changes.fetch_add(1, Ordering::Release);
        }
        fresh
    }

    /// Makes `piece` zero; whether it was one. Only the one writer calls it.
    pub fn clear(&self, piece: PieceIndex) -> bool {
        assert!(piece.0 < self.len, "piece {} of {}", piece.0, self.len);
        let bit = 1 << (piece.0 % u32::BITS);
        let old = self.halves[(piece.0 / u32::BITS) as usize].fetch_and(!bit, Ordering::Relaxed);
        let was = old & bit != 0;
        if was {
            self.ones.fetch_sub(1, Ordering::Release);
            self.changes.fetch_add(1, Ordering::Release);
        }
        was
    }

    /// Word `index`; zero past the end.
    pub fn word(&self, index: u32) -> u64 {
        let half = |at: usize| {
            self.halves.get(at).map_or(0, |half| u64::from(half.load(Ordering::Relaxed)))
        };
        half(index as usize * 2) | half(index as usize * 2 + 1) << u32::BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of a bit field: one character a piece, `#` for a one.
    fn drawn(picture: &str) -> Bitfield {
        let mut field = Bitfield::zeros(u32::try_from(picture.len()).unwrap());
        for (piece, _) in picture.char_indices().filter(|(_, c)| *c == '#') {
            field.set(PieceIndex(u32::try_from(piece).unwrap()));
        }
        field
    }

    #[test]
    fn the_first_piece_is_the_high_bit_of_the_first_byte() {
        for (picture, wire) in [
            ("", &[][..]),
            ("#", &[0x80]),
            (".......#", &[0x01]),
            ("#.......#", &[0x80, 0x80]),
            ("#.#.#.#.##", &[0xaa, 0xc0]),
        ] {
            let field = drawn(picture);
            assert_eq!(field.to_wire(), wire, "{picture}");
            assert_eq!(word_from_wire(wire, 0), field.word(0), "{picture}");
        }
        let long = drawn(&".".repeat(71).replace('.', "#"));
        assert_eq!(long.to_wire().len(), 9);
        assert_eq!(word_from_wire(&long.to_wire(), 1), 0x7f);
    }

    #[test]
    fn ones_are_counted_and_listed() {
        let mut field = drawn("#..#");
        assert!(!field.set(PieceIndex(0)) && field.set(PieceIndex(1)));
        assert!(field.clear(PieceIndex(3)) && !field.clear(PieceIndex(3)));
        assert_eq!((field.ones(), field.is_full()), (2, false));
        assert_eq!(field.iter().collect::<Vec<_>>(), [PieceIndex(0), PieceIndex(1)]);
        assert!(!field.get(PieceIndex(400)));
    }

    #[test]
    fn a_shared_field_agrees_with_an_owned_one() {
        let shared = SharedBitfield::zeros(100);
        let mut owned = Bitfield::zeros(100);
        for piece in [0, 31, 32, 63, 64, 99, 31].map(PieceIndex) {
            assert_eq!(shared.set(piece), owned.set(piece));
        }
        assert_eq!(shared.clear(PieceIndex(32)), owned.clear(PieceIndex(32)));
        assert_eq!([shared.word(0), shared.word(1)], [owned.word(0), owned.word(1)]);
        assert_eq!(shared.count(), owned.ones());
        assert_eq!(shared.changes(), 7);
        assert!(SharedBitfield::ones(65).is_full());
    }

    #[test]
    fn a_word_lists_its_pieces() {
        let word = Word { first: PieceIndex(64), bits: 1 | 1 << 63 };
        assert_eq!(word.pieces().collect::<Vec<_>>(), [PieceIndex(64), PieceIndex(127)]);
        assert_eq!(Word::of(PieceIndex(127)), Word { first: PieceIndex(64), bits: 1 << 63 });
    }
}
