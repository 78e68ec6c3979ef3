//! Swarms of real engines and conversations on one thread, each from one seed.
//!
//! Everything between them is simulated: the network, the disks, the clock, and the threads, which
//! keep the contracts of the real ones. From the seed come the torrents, the members, what their
//! paths are like, and what goes wrong. After each turn the engine's invariants hold; in the end
//! every honest member has every byte.
//!
//! - `cargo test simulation`: the same seeds each time.
//! - `SEED=7 cargo test simulation`: one of them, to replay what failed.
//! - `SEEDS=10000 cargo test --release simulation`: so many that nobody has seen.

mod churn;
mod clock;
mod disk;
mod garbage;
mod line;
mod mailbox;
mod network;
mod plan;
mod process;
mod scene;
mod speaker;
mod world;

use crate::support::{attempt, number, seeds};

/// How many seeds a plain `cargo test` tries.
const SEEDS: u64 = 150;

/// The tests that replay a seed.
const NAME: &str = "simulation";

#[test]
fn everyone_honest_becomes_complete() {
    for seed in seeds(SEEDS) {
        attempt(NAME, seed, world::run);
    }
}

#[test]
fn of_ten_peers_the_three_that_send_garbage_are_banned_and_no_other() {
    let (mut banned, mut swarms) = (0, 0);
    let few = if number("SEEDS").is_some() { usize::MAX } else { 40 };
    for seed in seeds(SEEDS).take(few) {
        banned += attempt(NAME, seed, garbage::run);
        swarms += 1;
    }
    assert!(swarms < 10 || banned * 10 > 3 * swarms * 9, "{banned} are banned in {swarms} swarms");
}

#[test]
fn others_go_on_while_one_reads_nothing_and_ones_disk_stalls() {
    for seed in seeds(SEEDS).take(3) {
        attempt(NAME, seed, churn::others_go_on);
    }
}

#[test]
fn two_hours_of_churn_leave_nothing_behind() {
    churn::leaves_nothing_behind(1, 2);
}

#[test]
#[ignore = "needs minutes"]
fn a_day_of_churn_leaves_nothing_behind() {
    churn::leaves_nothing_behind(2, 24);
}

#[test]
fn a_seed_gives_the_same_swarm_twice() {
    let once: Vec<_> = (0..5).map(world::run).collect();
    let again: Vec<_> = (0..5).map(world::run).collect();
    assert_eq!(once, again);
    assert_ne!(once[0].1, once[1].1, "the transcript says something");
}
