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
mod hostile;
mod kademlia;
mod network;
mod scenario;
pub(crate) mod simulator;
mod sizes;

use crate::support::{attempt, number, seeds};

/// How many seeds a plain `cargo test` tries.
const SEEDS: u64 = 2;

/// Tries all seeds.
fn with_seeds(test: impl Fn(u64)) {
    for seed in seeds(SEEDS) {
        attempt("ring", seed, &test);
    }
}
