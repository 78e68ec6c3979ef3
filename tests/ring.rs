//! Distributed trackers on a simulated network, each run from one seed: Chord's ring, and beside it
//! Kademlia, which everybody knows.
//!
//! A central tracker hears of every announcement as well: when the network has come to rest, all
//! nodes together hold what it holds, no more and no less.
//!
//! - `cargo test ring`: the same seeds each time.
//! - `SEED=7 cargo test ring`: one of them, to replay what failed.
//! - `SEEDS=100 cargo test --release ring`: so many that nobody has seen.
//! - `cargo test --release ring -- --ignored --nocapture --test-threads 1`: the figures of REPORT.md.

mod central;
mod chord;
mod churn;
mod kademlia;
mod network;
mod scenario;
pub(crate) mod simulator;
mod sizes;

use std::env;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

/// How many seeds a plain `cargo test` tries.
const SEEDS: u64 = 2;

/// Says how to replay a seed that fails.
struct Attempt(u64);

impl Drop for Attempt {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEED={} cargo test ring", self.0);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
}

fn seeds() -> Range<u64> {
    match (number("SEED"), number("SEEDS")) {
        (Some(seed), count) => seed..seed + count.unwrap_or(1),
        (None, Some(count)) => {
            // Short enough to be typed.
            let base = RandomState::new().hash_one("ring") >> 24;
            println!("the seeds are {base} and the {count} after it");
            base..base + count
        }
        (None, None) => 0..SEEDS,
    }
}

/// Tries all seeds.
fn with_seeds(attempt: impl Fn(u64)) {
    for seed in seeds() {
        let guard = Attempt(seed);
        attempt(seed);
        drop(guard);
    }
}
