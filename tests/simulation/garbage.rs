//! One leecher and ten seeders, of which three send garbage.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rondalla::machines::engine::Goal;
use rondalla::words::limits::{self, BLOCK_LEN};
use rondalla::words::rng::Rng;

use super::network::Path;
use super::plan::{Chances, Manner, Member, Plan, Shape};
use super::world::World;

/// Seven honest ones, and three that send garbage.
const MANNERS: [Manner; 10] = [
    Manner::Honest,
    Manner::Honest,
    Manner::Honest,
    Manner::Honest,
    Manner::Honest,
    Manner::Honest,
    Manner::Honest,
    Manner::Liar,
    Manner::Liar,
    Manner::Liar,
];

/// How large pieces are, and the leecher's memory.
struct Scale {
    blocks: u32,
    pieces: u32,
    memory: u64,
}

/// Pieces that fit into memory, few and many at once; and pieces that are written in place.
const SCALES: [Scale; 4] = [
    Scale { blocks: 2, pieces: 200, memory: limits::MEMORY_DEFAULT },
    Scale { blocks: 16, pieces: 30, memory: 1 << 20 },
    Scale { blocks: 64, pieces: 8, memory: 512 << 10 },
    Scale { blocks: 128, pieces: 5, memory: 1 << 20 },
];

fn address(index: usize) -> SocketAddr {
    let last = u8::try_from(index).unwrap();
    (Ipv4Addr::new(11, 0, 0, last), 6881).into()
}

fn plan(scale: &Scale, rng: &mut Rng) -> Plan {
    let piece_length = scale.blocks * BLOCK_LEN;
    let shape = Shape::new(0, scale.pieces * piece_length - 100, piece_length, rng);
    let manners = [&[Manner::Honest], &MANNERS[..]].concat();
    let member = |(index, manner): (usize, &Manner)| Member {
        address: address(index),
        manner: *manner,
        goal: if index == 0 { Goal::CompleteAndSeed } else { Goal::Seed },
        upload: true,
        fast: rng.chance(1, 2),
        by_link: false,
        sequential: false,
        seed_time: None,
        memory: scale.memory,
        notifications: limits::NOTIFICATIONS_MAX,
        turn: Duration::from_micros(5),
        disk_latency: Duration::from_micros(u64::from(20 + rng.below(2_000))),
        check_time: Duration::ZERO,
        starts_at: Duration::ZERO,
        torrents: vec![0],
        contacts: if index == 0 { (1..manners.len()).map(address).collect() } else { Vec::new() },
        // Alike, so that each sends something before others have sent all.
        path: Path {
            delay: Duration::from_micros(500 << rng.below(6)),
            bandwidth: 1_000_000 << rng.below(2),
            window: 32_000 << rng.below(4),
        },
    };
    let members = manners.iter().enumerate().map(member).collect();
    let (shapes, faults) = (vec![shape], Vec::new());
    Plan { shapes, members, chances: Chances::default(), faults, calm_at: Duration::ZERO }
}

/// Runs the swarm of a seed, in which whoever sent garbage is banned and nobody else. How many that
/// are: mostly all three, but one may be too slow to send anything in time.
pub(super) fn run(seed: u64) -> usize {
    let mut rng = Rng::new(seed);
    let scale = &SCALES[usize::try_from(seed).unwrap() % SCALES.len()];
    let plan = plan(scale, &mut rng);
    let mut world = World::of(plan, rng);
    world.run_until_complete();
    // The last of them is known by the last piece, and its last words are still to come.
    world.run_for(Duration::from_secs(1));
    let (banned, mut guilty) = world.banned_by(0);
    guilty.retain(|sender| (8..=10).any(|index| *sender == address(index)));
    assert_eq!(banned, guilty);
    world.end();
    banned.len()
}
