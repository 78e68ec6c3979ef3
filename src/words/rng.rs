//! Random numbers from a seed, so that every run can be replayed.
//!
//! The generator is xoshiro256** by Blackman and Vigna, its state filled by their splitmix64. It is
//! fast and even, and not for secrets: whoever sees some outputs can compute the next.

/// A generator of random numbers. Equal seeds give equal numbers, on every machine.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The generator that `seed` stands for. Any seed is as good as any other.
    pub fn new(mut seed: u64) -> Self {
        Self { state: std::array::from_fn(|_| splitmix(&mut seed)) }
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number from 0 to `n - 1`. No number is likelier than another by more than 2^-32 of its
    /// chance, in one step whatever `n` is (Lemire's multiplication, without his rejection).
    ///
    /// # Panics
    ///
    /// If `n` is 0: there is no such number.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "a number below 0 was asked for");
        let product = u128::from(self.next_u64()) * u128::from(n);
        u32::try_from(product >> 64).expect("the upper half is below n, a u32")
    }

    /// True in `numerator` of `denominator` cases: never for 0, always from `denominator` on.
    ///
    /// # Panics
    ///
    /// If `denominator` is 0.
    pub fn chance(&mut self, numerator: u32, denominator: u32) -> bool {
        self.below(denominator) < numerator
    }

    /// Fills `bytes` with random ones.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Puts `items` in random order (Fisher and Yates). The longest slice is 2^32 - 1.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for unplaced in (2..=items.len()).rev() {
            let n = u32::try_from(unplaced).expect("nobody shuffles more than a u32 counts");
            items.swap(unplaced - 1, self.below(n) as usize);
        }
    }
}

/// The next output of splitmix64: it turns similar seeds into states that share nothing.
fn splitmix(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_gives_the_same_numbers() {
        let mut seed = 1_234_567;
        let split = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!(split.map(|_| splitmix(&mut seed)), split);

        let mut rng = Rng { state: [1, 2, 3, 4] };
        let numbers = [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240];
        assert_eq!(numbers.map(|_| rng.next_u64()), numbers);

        let mut rng = Rng::new(42);
        let numbers = [1_546_998_764_402_558_742, 6_990_951_692_964_543_102];
        assert_eq!(numbers.map(|_| rng.next_u64()), numbers);
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        for n in [1_u32, 2, 3, 7, 100] {
            let mut rng = Rng::new(u64::from(n));
            let mut counts = vec![0_u32; n as usize];
            (0..n * 1000).for_each(|_| counts[rng.below(n) as usize] += 1);
            // The standard deviation is below 32: six of them either way.
            assert!(counts.iter().all(|count| (810..=1190).contains(count)), "{counts:?}");
        }
        assert!(Rng::new(0).below(u32::MAX) > 0);
    }

    #[test]
    fn chances_are_kept() {
        let mut rng = Rng::new(7);
        let mut hits = |numerator| (0..8000).filter(|_| rng.chance(numerator, 8)).count();
        assert_eq!((hits(0), hits(8), hits(9)), (0, 8000, 8000));
        assert!((800..1200).contains(&hits(1)));
    }

    #[test]
    fn every_byte_is_filled() {
        for len in [0, 1, 7, 8, 9, 20] {
            let mut seen = vec![0; len];
            let mut rng = Rng::new(3);
            for _ in 0..16 {
                let mut bytes = vec![0; len];
                rng.fill(&mut bytes);
                seen.iter_mut().zip(bytes).for_each(|(seen, byte)| *seen |= byte);
            }
            assert!(seen.iter().all(|&seen| seen != 0), "{seen:?}");
        }
    }

    #[test]
    fn each_order_is_as_likely() {
        let mut rng = Rng::new(11);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..6000 {
            let mut items = ['a', 'b', 'c'];
            rng.shuffle(&mut items);
            *counts.entry(items).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (800..1200).contains(count)), "{counts:?}");
        rng.shuffle::<u8>(&mut []);
    }
}
