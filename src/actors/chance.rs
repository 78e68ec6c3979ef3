//! Chance that nobody can guess: where it comes from for everyone who needs some.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;

/// Bytes of chance from the system. Where it has no `/dev/urandom`, by way of the seeds that it gives
/// to hash maps.
pub(crate) fn chance<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if read.is_err() {
        for part in bytes.chunks_mut(8) {
            let eight = RandomState::new().hash_one(N).to_le_bytes();
            part.copy_from_slice(&eight[..part.len()]);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let (one, other) = (chance::<20>(), chance::<20>());
        assert_ne!(one, other);
        assert!(one.chunks(4).all(|part| part != [0; 4]), "nothing is left out: {one:?}");
    }
}
