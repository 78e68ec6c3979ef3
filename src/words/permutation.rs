//! A permutation that begins as the identity without taking time to.

/// A permutation of `0..n`. Entry `i` is kept as `value ^ i`, so the zeroed memory that the system
/// hands out already is the identity, and a torrent of any size starts in constant time.
#[derive(Debug)]
pub struct Permutation(Vec<u32>);

impl Permutation {
    /// The identity on `0..len`.
    pub fn identity(len: u32) -> Self {
        Self(vec![0; len as usize])
    }

    /// What stands at `index`.
    pub fn get(&self, index: u32) -> u32 {
        self.0[index as usize] ^ index
    }

    /// Puts `value` at `index`.
    pub fn set(&mut self, index: u32, value: u32) {
        self.0[index as usize] = value ^ index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_as_the_identity() {
        let mut permutation = Permutation::identity(4);
        assert_eq!([0, 1, 2, 3].map(|index| permutation.get(index)), [0, 1, 2, 3]);
        permutation.set(0, 3);
        permutation.set(3, 0);
        assert_eq!([0, 1, 2, 3].map(|index| permutation.get(index)), [3, 1, 2, 0]);
    }
}
