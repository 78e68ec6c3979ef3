//! Seeds of chance: which of them a test tries, and how one that fails is replayed.

use std::env;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

/// The number in the environment variable `name`, if it is set.
pub(crate) fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

/// `SEED` alone or the `SEEDS` from it on; without it `SEEDS` that nobody has seen; without either
/// the first `usual` ones.
pub(crate) fn seeds(usual: u64) -> Range<u64> {
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), count) => seed..seed + count.unwrap_or(1),
        (None, Some(count)) => {
            // Short enough to be typed.
            let base = RandomState::new().hash_one("seeds") >> 24;
            println!("the seeds are {base} and the {count} after it");
            base..base + count
        }
        (None, None) => 0..usual,
    }
}

/// Runs `test` with a seed; if it fails, says how to replay it by the tests called `name`.
pub(crate) fn attempt<T>(name: &'static str, seed: u64, test: impl FnOnce(u64) -> T) -> T {
    let _replay = Replay { name, seed };
    test(seed)
}

struct Replay {
    name: &'static str,
    seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEED={} cargo test {}", self.seed, self.name);
        }
    }
}
