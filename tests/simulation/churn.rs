//! Long and busy lives: members come and go for hours, and some are in others' way.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rondalla::machines::engine::Goal;
use rondalla::words::limits::{self, BLOCK_LEN};
use rondalla::words::rng::Rng;

use super::network::Path;
use super::plan::{Chances, Fault, Manner, Member, Plan, Shape};
use super::world::World;

const HOUR: u64 = 3600;

fn address(index: usize) -> SocketAddr {
    (Ipv4Addr::new(11, 0, 0, u8::try_from(index).unwrap()), 6881).into()
}

fn member(index: usize, members: usize, torrents: Vec<usize>) -> Member {
    Member {
        address: address(index),
        manner: Manner::Honest,
        goal: if index == 0 { Goal::Seed } else { Goal::CompleteAndSeed },
        upload: true,
        fast: index.is_multiple_of(2),
        by_link: false,
        sequential: false,
        seed_time: None,
        memory: 1 << 20,
        notifications: limits::NOTIFICATIONS_MAX,
        turn: Duration::from_micros(5),
        disk_latency: Duration::from_micros(200),
        check_time: Duration::ZERO,
        starts_at: Duration::ZERO,
        torrents,
        contacts: (0..members).filter(|other| *other != index).map(address).collect(),
        path: Path { delay: Duration::from_millis(10), bandwidth: 200_000, window: 64_000 },
    }
}

fn shape(number: u32, blocks: u32, pieces: u32, rng: &mut Rng) -> Arc<Shape> {
    Shape::new(number, blocks * pieces * BLOCK_LEN, blocks * BLOCK_LEN, rng)
}

/// Members: one that seeds two of three torrents, one that stays and never has the third, one that
/// says it has all of that and sends garbage, and five that are replaced, crash, leave, or lose
/// their connections, one a minute.
fn churning(rng: &mut Rng, hours: u64) -> Plan {
    let shapes = vec![shape(0, 2, 20, rng), shape(1, 8, 6, rng), shape(2, 2, 30, rng)];
    let mut members: Vec<_> = (0..8).map(|index| member(index, 8, vec![0, 1, 2])).collect();
    members[0].torrents = vec![0, 1];
    (members[2].manner, members[2].goal, members[2].torrents) = (Manner::Liar, Goal::Seed, vec![2]);
    let mut faults = Vec::new();
    for minute in 1..60 * hours {
        let at = Duration::from_secs(60 * minute + u64::from(rng.below(60)));
        let (member, back_after) = (3 + rng.below(5) as usize, Duration::from_secs(5));
        let fault = match rng.below(8) {
            0..4 => Fault::Replace { member },
            4 => Fault::Crash { member, power_cut: rng.chance(1, 2), back_after },
            5 => Fault::Leave { member, back_after },
            _ => Fault::Cut { nth: rng.next_u64(), silently: rng.chance(1, 2) },
        };
        faults.push((at, fault));
    }
    let calm_at = Duration::from_secs((hours + 1) * HOUR);
    Plan { shapes, members, chances: Chances::default(), faults, calm_at }
}

/// After hours of churn the tables of those who stayed are no larger than within the first hour,
/// but for those of whom something is remembered: these have a limit.
pub(super) fn leaves_nothing_behind(seed: u64, hours: u64) {
    let mut rng = Rng::new(seed);
    let mut world = World::of(churning(&mut rng, hours), rng);
    world.lasts_long();
    let mut most: Vec<BTreeMap<(usize, &str), usize>> = Vec::new();
    for _ in 0..hours {
        let mut hour = BTreeMap::new();
        for _ in 0..60 {
            world.run_for(Duration::from_secs(60));
            for member in [0, 1] {
                for (table, entries) in world.footprint_of(member) {
                    let most = hour.entry((member, table)).or_insert(0);
                    *most = entries.max(*most);
                }
            }
        }
        most.push(hour);
    }
    let (first, last) = (&most[0], most.last().expect("there was an hour"));
    for (&(member, table), &entries) in last {
        let at_first = first.get(&(member, table)).copied().unwrap_or_default();
        let bound = match table {
            "departed" => limits::DEPARTED_MAX,
            "contacts" => limits::CONTACTS_MAX + limits::FOUND_A_WAY,
            // Who comes and goes is not always at the same place.
            _ => at_first + at_first / 4 + 8,
        };
        assert!(entries <= bound, "{table} of member {member}: {at_first}, then {entries}");
    }
    assert_eq!(world.pieces_of(1), 26, "it stayed all the time, and has what there is to have");
}

/// A seeder and five leechers: one reads nothing from some message on, and the disk of another
/// stalls for ten seconds. How many pieces the other three have when it goes on again.
fn exchanged(seed: u64, disturbed: bool) -> u32 {
    let mut rng = Rng::new(seed);
    let shapes = vec![shape(0, 4, 400, &mut rng)];
    let mut members: Vec<_> = (0..6).map(|index| member(index, 6, vec![0])).collect();
    let stall = Fault::Stall { member: 5, time: Duration::from_secs(10) };
    let mut faults = vec![(Duration::from_secs(5), stall)];
    if disturbed {
        members[4].manner = Manner::Deaf(20 + rng.below(40));
    } else {
        // Two fewer are there to be served, and to serve.
        members[4].torrents = vec![0];
        members[4].starts_at = Duration::from_secs(100);
        faults.clear();
    }
    let calm_at = Duration::from_secs(200);
    let plan = Plan { shapes, members, chances: Chances::default(), faults, calm_at };
    let mut world = World::of(plan, rng);
    world.run_for(Duration::from_secs(15));
    (1..4).map(|member| world.pieces_of(member)).sum()
}

/// The others have as much after it as if the one had not come and the other's disk were well, less
/// what these two would have passed on.
pub(super) fn others_go_on(seed: u64) {
    let (alone, disturbed) = (exchanged(seed, false), exchanged(seed, true));
    assert!(disturbed >= alone * 2 / 3, "{disturbed} pieces instead of {alone}");
    assert!(alone > 60, "there is something to compare: {alone}");
}
