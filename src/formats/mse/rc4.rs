//! The stream cipher RC4, as Message Stream Encryption wants it. It is long broken as a cipher; it
//! still makes noise.

use std::fmt;

/// Bytes that are thrown away before the first is used.
const DISCARDED: usize = 1024;

/// One direction of a connection, wherever it is.
#[derive(Clone)]
pub struct Rc4 {
    /// Boxed, so that whatever holds a cipher, or may, is small on a thread's stack.
    state: Box<[u8; 256]>,
    i: u8,
    j: u8,
}

impl Rc4 {
    /// The cipher of a stream: without its first [`DISCARDED`] bytes, by which the key could be
    /// guessed.
    pub(super) fn for_stream(key: &[u8]) -> Self {
        let mut cipher = Self::new(key);
        (0..DISCARDED / 64).for_each(|_| cipher.apply(&mut [0; 64]));
        cipher
    }

    fn new(key: &[u8]) -> Self {
        let mut state = Box::new([0; 256]);
        (0..=255).zip(state.iter_mut()).for_each(|(n, place)| *place = n);
        let mut j = 0_u8;
        for (i, byte) in (0..256).zip(key.iter().cycle()) {
            j = j.wrapping_add(state[i]).wrapping_add(*byte);
            state.swap(i, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    /// Hides `bytes`, or shows them again: the next of the stream.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let Self { state, i, j } = self;
        for byte in bytes {
            *i = i.wrapping_add(1);
            let a = state[usize::from(*i)];
            *j = j.wrapping_add(a);
            let b = state[usize::from(*j)];
            (state[usize::from(*i)], state[usize::from(*j)]) = (b, a);
            *byte ^= state[usize::from(a.wrapping_add(b))];
        }
    }

    /// [`apply`](Self::apply) to an array.
    pub(super) fn applied<const N: usize>(&mut self, mut bytes: [u8; N]) -> [u8; N] {
        self.apply(&mut bytes);
        bytes
    }
}

impl fmt::Debug for Rc4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rc4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6229, section 2, for keys of 40 and of 128 bits: at the beginning, and behind what is
    /// thrown away.
    #[test]
    fn the_published_vectors() {
        let key: [u8; 16] = std::array::from_fn(|n| u8::try_from(n + 1).unwrap());
        let table: [(&[u8], [u8; 16], [u8; 16]); 2] = [
            (
                &key[..5],
                *b"\xb2\x39\x63\x05\xf0\x3d\xc0\x27\xcc\xc3\x52\x4a\x0a\x11\x18\xa8",
                *b"\x30\xab\xbc\xc7\xc2\x0b\x01\x60\x9f\x23\xee\x2d\x5f\x6b\xb7\xdf",
            ),
            (
                &key,
                *b"\x9a\xc7\xcc\x9a\x60\x9d\x1e\xf7\xb2\x93\x28\x99\xcd\xe4\x1b\x97",
                *b"\xbd\xf0\x32\x4e\x60\x83\xdc\xc6\xd3\xce\xdd\x3c\xa8\xc5\x3c\x16",
            ),
        ];
        for (key, first, behind) in table {
            assert_eq!(Rc4::new(key).applied([0; 16]), first);
            assert_eq!(Rc4::for_stream(key).applied([0; 16]), behind);
        }
    }

    #[test]
    fn what_is_hidden_in_one_piece_is_shown_in_many() {
        let mut hidden = *b"a rondalla plays without a conductor";
        let mut cipher = Rc4::for_stream(b"key");
        let mut other = cipher.clone();
        cipher.apply(&mut hidden);
        assert!(!hidden.starts_with(b"a rondalla"));
        hidden.chunks_mut(5).for_each(|part| other.apply(part));
        assert_eq!(&hidden, b"a rondalla plays without a conductor");
    }
}
