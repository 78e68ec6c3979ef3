//! Chord's ring in the simulator: whether it holds what is announced, whether it heals, and its
//! figures against those of the papers and of Kademlia.

use std::net::SocketAddr;
use std::time::Duration;

use rondalla::machines::chord::{Contact, Node, Settings, Shape};
use rondalla::words::id::InfoHash;
use rondalla::words::limits::ring as limits;
use rondalla::words::ring_id::RingId;
use rondalla::words::rng::Rng;

use super::scenario::{Costs, HOUR, MINUTE, SECOND, Scenario, comes_to_rest};
use super::simulator::MemberId;
use super::simulator::figures::Figures;
use super::simulator::internet::{Addresses, Internet, Weather};
use super::with_seeds;

#[test]
fn the_ring_comes_to_hold_what_a_central_tracker_holds() {
    with_seeds(|seed| {
        let scenario = comes_to_rest::<Node>(seed);
        // Whoever is behind a router may have a place as well, for as long as that lets others in.
        let internet = &scenario.world.internet;
        let is_open = |it: &&Contact| !internet.is_behind_router(it.address);
        let members = scenario.world.machines().filter(|(_, it)| it.machine.is_member());
        let mut ring: Vec<_> =
            members.map(|(_, it)| it.machine.me()).filter(|it| is_open(&it)).collect();
        ring.sort_unstable();
        assert!(ring.len() > 10, "{} of 40 have a place", ring.len());
        for (_, member) in scenario.world.machines() {
            let node = &member.machine;
            if let Some(at) = ring.iter().position(|it| *it == node.me()) {
                let next = &ring[(at + 1) % ring.len()];
                assert_eq!(node.successors().iter().find(is_open), Some(next));
            }
        }
    });
}

/// A ring that has been quiet for long.
pub(super) fn settled(n: usize, shape: Shape, weather: Weather, seed: u64) -> Scenario<Node> {
    let mut scenario = Scenario::<Node>::new(weather, Addresses::Laboratory, seed);
    let settings = Settings { shape, ..Settings::default() };
    for _ in 0..n {
        let settings = settings.clone();
        scenario.appear_as(None, None, |at, seed, now| Node::new(settings, at, seed, now));
    }
    let members: Vec<_> = members(&scenario).into_iter().map(|(contact, _)| contact).collect();
    let ids: Vec<_> = scenario.world.members().collect();
    for id in ids {
        let host = scenario.world.host(id);
        scenario.world.tell(id, |member, internet| {
            let trip = |other: Contact| {
                let other = internet.host_at(other.address).expect("it is there");
                internet.round_trip(host, other)
            };
            member.machine.settle(&members, trip);
        });
    }
    scenario
}

/// The members in the order of the ring.
pub(super) fn members(scenario: &Scenario<Node>) -> Vec<(Contact, MemberId)> {
    let machines = scenario.world.machines();
    let honest = machines.filter(|(_, member)| member.is_honest());
    let mut all: Vec<_> = honest.map(|(id, member)| (member.machine.me(), id)).collect();
    all.sort_unstable();
    all
}

/// Whose the place is.
pub(super) fn owner(members: &[(Contact, MemberId)], place: RingId) -> SocketAddr {
    let at = members.partition_point(|(contact, _)| contact.id < place);
    members[at % members.len()].0.address
}

/// How many members have not all of their neighbours right: the next of each, and the one before.
pub(super) fn misplaced(scenario: &Scenario<Node>) -> usize {
    let members = members(scenario);
    let wrong = (0..members.len()).filter(|at| {
        let (contact, id) = members[*at];
        let node = &scenario.world.machine(id).expect("it is there").machine;
        let next = members[(at + 1) % members.len()].0;
        let before = members[(at + members.len() - 1) % members.len()].0;
        contact != next
            && (node.successors().first() != Some(&next) || node.predecessor() != Some(before))
    });
    wrong.count()
}

/// How many members have another list than all those who come next.
fn with_wrong_lists(scenario: &Scenario<Node>) -> usize {
    let members = members(scenario);
    let wrong = members.iter().enumerate().filter(|(at, (_, id))| {
        let node = &scenario.world.machine(*id).expect("it is there").machine;
        let next = (1..members.len()).map(|n| members[(at + n) % members.len()].0);
        !next.take(limits::SUCCESSORS).eq(node.successors().iter().copied())
    });
    wrong.count()
}

/// Lets time pass, at most so much, until `is_done`; how much it was.
fn pass_until(
    scenario: &mut Scenario<Node>,
    step: Duration,
    max: Duration,
    is_done: impl Fn(&Scenario<Node>) -> bool,
) -> Duration {
    let mut passed = Duration::ZERO;
    while !is_done(scenario) && passed < max {
        scenario.pass(step);
        passed += step;
    }
    passed
}

/// Many lookups of places nobody announced, from those who are there, all begun at once; and how
/// many named another owner than the one who lives.
fn lookups(scenario: &mut Scenario<Node>, count: usize) -> (Costs, usize) {
    let members = members(scenario);
    let mut asked = Vec::new();
    for n in 0..count {
        let (_, id) = members[n % members.len()];
        let info_hash = scenario.some_info_hash();
        scenario.lookup(id, info_hash);
        asked.push((id, info_hash));
    }
    scenario.pass(MINUTE);
    let mut costs = Costs::default();
    let mut wrong = 0;
    for asked in asked {
        let report = scenario.ended.get(&asked);
        costs.add(report);
        let place = RingId::from(asked.1);
        let named = report.and_then(|report| report.responsible);
        let right = owner(&members, place);
        wrong += usize::from(named != Some(right));
    }
    (costs, wrong)
}

fn base_2(successors: usize) -> Shape {
    Shape { successors, contacts: 8, ..Shape::textbook() }
}

/// SIGCOMM 2001, figure 10: the path is half the logarithm of the ring.
#[test]
#[ignore = "needs a minute"]
fn figures_of_the_textbook() {
    let mut scenario = settled(4096, Shape::textbook(), Weather::fair(), 1);
    let (costs, wrong) = lookups(&mut scenario, 8192);
    // The published path ends at the node before the key; ours asks the owner, too.
    let (mean, p99) = (costs.hops.mean() - 1.0, costs.hops.at(0.99) - 1.0);
    let of_six = costs.hops.share(7.0, 8.0);
    println!(
        "base 2, one successor, N 4096: {mean:.2} hops (p99 {p99:.0}, six {of_six:.3} of all), wrong {wrong}"
    );
    assert!((mean - 5.9).abs() <= 0.2);
    assert_eq!(wrong, 0);
}

/// ToN 2003, table II: N = 1000, r = 20, a share of all dies and nobody knows. Paths and timeouts are
/// at most those published, and no lookup names another owner than the one who lives.
#[test]
#[ignore = "needs a minute"]
fn figures_of_mass_failure() {
    let published = [
        (0, 3.84, 0.0),
        (10, 4.03, 0.60),
        (20, 4.22, 1.17),
        (30, 4.44, 2.02),
        (40, 4.69, 3.23),
        (50, 5.09, 5.10),
    ];
    for (dead, hops, timeouts) in published {
        let mut scenario = settled(1000, base_2(20), Weather::fair(), 2);
        let mut ids: Vec<_> = scenario.world.members().collect();
        scenario.rng.shuffle(&mut ids);
        ids.drain(..10 * dead).for_each(|id| scenario.crash(id));
        let (costs, wrong) = lookups(&mut scenario, 4000);
        println!(
            "r 20, {dead:2} % dead: {:.2} hops (published {hops:.2}), {:.2} timeouts \
             (published {timeouts:.2}), wrong {wrong}",
            costs.hops.mean(),
            costs.timeouts.mean(),
        );
        if dead == 0 {
            assert!((costs.hops.mean() - hops).abs() <= 0.1);
        }
        assert!(costs.hops.mean() <= hops + 0.1 && costs.timeouts.mean() <= timeouts);
        assert_eq!(wrong, 0);
    }
}

/// What `get_peers` costs in a ring of 10,000, beside Kademlia's row.
#[test]
#[ignore = "needs minutes"]
fn figures_of_get_peers_in_ten_thousand_nodes() {
    for dead in [0, 20] {
        let costs = costs(10_000, dead, 3000, 1);
        println!("{}", costs.row(&format!("Chord, {dead} % dead")));
        assert_eq!(costs.failed, 0);
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|share| costs.first.at(share));
        let requests = costs.requests_first.mean();
        match dead {
            0 => assert!(requests <= 2.5 && p50 <= 150.0 && p99 <= 400.0),
            _ => assert!(requests <= 4.0 && p50 <= 220.0 && p90 <= 480.0 && p99 <= 800.0),
        }
    }
}

fn costs(n: usize, dead: usize, lookups: usize, seed: u64) -> Costs {
    let mut scenario = settled(n, Shape::default(), Weather::fair(), seed);
    let info_hashes: Vec<_> = (0..500).map(|_| scenario.some_info_hash()).collect();
    for info_hash in &info_hashes {
        let id = scenario.anyone();
        scenario.announce(id, *info_hash);
    }
    scenario.pass(MINUTE);
    let mut ids: Vec<_> = scenario.world.members().collect();
    scenario.rng.shuffle(&mut ids);
    let gone = ids.len() * dead / 100;
    ids.drain(..gone).for_each(|id| scenario.crash(id));
    let mut asked = Vec::new();
    for (id, info_hash) in ids.iter().zip(info_hashes.iter().cycle()).take(lookups) {
        scenario.lookup(*id, *info_hash);
        asked.push((*id, *info_hash));
        scenario.pass(SECOND / 1000);
    }
    scenario.pass(20 * SECOND);
    let mut costs = Costs::default();
    for asked in asked {
        costs.add(scenario.ended.get(&asked));
    }
    costs
}

#[test]
fn lookups_in_a_settled_ring_cost_little() {
    let costs = costs(300, 0, 200, 1);
    println!("{}", costs.row("Chord, 300"));
    assert_eq!(costs.failed, 0);
    let is_cheap = costs.requests_first.mean() < 2.5 && costs.requests.mean() < 5.0;
    assert!(is_cheap, "{}", costs.row("300 nodes"));
}

/// What a member sends when nobody looks for anything.
#[test]
#[ignore = "needs a minute"]
fn figures_of_an_idle_ring() {
    let mut scenario = settled(1000, Shape::default(), Weather::fair(), 3);
    scenario.pass(30 * MINUTE);
    scenario.world.forget_traffic();
    let before = scenario.world.events();
    scenario.pass(HOUR);
    let ids: Vec<_> = scenario.world.members().collect();
    let traffic = ids.iter().map(|id| scenario.world.traffic(*id));
    let (sent, bytes) = traffic.fold((0, 0), |(s, b), t| (s + t.sent, b + t.bytes));
    let each = |n: u64| n as f64 / ids.len() as f64 / 3600.0;
    println!(
        "Chord, 1000 idle members: {:.3} datagrams/s, {:.1} B/s out each; {} events an hour",
        each(sent),
        each(bytes),
        scenario.world.events() - before
    );
    assert!(each(bytes) <= 40.0 && each(sent) <= 0.6);
}

/// A ring of which half has just died, and what was announced to it.
fn halved(seed: u64) -> (Scenario<Node>, Vec<InfoHash>) {
    let mut scenario = settled(1000, Shape::default(), Weather::fair(), seed);
    let info_hashes: Vec<_> = (0..1000).map(|_| scenario.some_info_hash()).collect();
    let mut ids: Vec<_> = scenario.world.members().collect();
    scenario.rng.shuffle(&mut ids);
    let (dying, living) = ids.split_at(500);
    for (info_hash, id) in info_hashes.iter().zip(living.iter().cycle()) {
        scenario.announce(*id, *info_hash);
    }
    scenario.pass(MINUTE);
    dying.iter().for_each(|id| scenario.crash(*id));
    (scenario, info_hashes)
}

/// Half of a thousand die at once: an entry is lost if all its eight holders were among them.
#[test]
#[ignore = "needs a minute"]
fn figures_when_half_the_ring_dies() {
    let (mut lost, mut all) = (0, 0);
    for seed in 0..8 {
        let (mut scenario, _) = halved(seed);
        let (costs, wrong) = lookups(&mut scenario, 2000);
        let (hops, timeouts) = (costs.hops.mean(), costs.timeouts.mean());
        println!(
            "half of 1000 died just now: {hops:.2} hops, {timeouts:.2} timeouts, {wrong} wrong"
        );
        assert_eq!(wrong, 0, "of 2000");
        let (mut scenario, info_hashes) = halved(seed);
        let held = scenario.held();
        lost += info_hashes.iter().filter(|hash| held.peers(**hash).is_none()).count();
        all += info_hashes.len();
        let is_healed = |scenario: &Scenario<Node>| misplaced(scenario) == 0;
        let healed = pass_until(&mut scenario, SECOND, 5 * MINUTE, is_healed);
        let is_whole = |scenario: &Scenario<Node>| with_wrong_lists(scenario) == 0;
        let whole = healed + pass_until(&mut scenario, SECOND, 5 * MINUTE, is_whole);
        let (_, wrong) = lookups(&mut scenario, 2000);
        println!(
            "half of 1000 die: ideal after {} s, all lists whole after {} s, then {wrong} wrong",
            healed.as_secs(),
            whole.as_secs()
        );
        assert!(whole <= MINUTE);
        assert_eq!(wrong, 0, "of 2000");
    }
    let share = lost as f64 / all as f64;
    println!("{lost} of {all} entries lost, {:.2} of 2^-8", share * 256.0);
    assert!(share < 1.5 / 256.0);
}

/// Two rings of 500 become one when the network that parted them heals.
#[test]
#[ignore = "needs a minute"]
fn figures_of_two_rings_that_merge() {
    let mut scenario = settled(1000, Shape::default(), Weather::fair(), 5);
    scenario.pass(10 * MINUTE);
    let ids: Vec<_> = scenario.world.members().collect();
    for id in ids.iter().filter(|id| **id % 2 == 0) {
        let host = scenario.world.host(*id);
        scenario.world.internet.set_side(host, 1);
    }
    scenario.pass(30 * MINUTE);
    let apart = misplaced(&scenario);
    scenario.world.internet.heal();
    let is_one = |scenario: &Scenario<Node>| misplaced(scenario) == 0;
    let after = pass_until(&mut scenario, 10 * SECOND, HOUR, is_one);
    let is_whole = |scenario: &Scenario<Node>| with_wrong_lists(scenario) == 0;
    let whole = after + pass_until(&mut scenario, 10 * SECOND, HOUR, is_whole);
    println!(
        "two rings of 500 ({apart} of 1000 misplaced): one ring after {} s, all lists whole after {} s",
        after.as_secs(),
        whole.as_secs()
    );
    assert!(apart > 500, "they were two rings");
    assert!(after <= 5 * MINUTE && whole <= 5 * MINUTE);
}

/// SIGCOMM 2001, figure 8: how evenly the ring is shared out.
#[test]
fn the_load_is_shared_out_as_published() {
    let mut internet = Internet::new(Weather::fair(), Addresses::Laboratory, 8);
    let hosts: Vec<_> = (0..10_000).map(|_| internet.add_host(None)).collect();
    let mut members: Vec<_> =
        hosts.into_iter().map(|host| (Contact::at(internet.address(host)), host)).collect();
    members.sort_unstable();
    let mut rng = Rng::new(9);
    let mut keys = vec![0_u32; members.len()];
    for _ in 0..500_000 {
        let mut place = [0; 20];
        rng.fill(&mut place);
        let at = members.partition_point(|(contact, _)| contact.id < RingId(place));
        keys[at % members.len()] += 1;
    }
    let keys: Figures = keys.into_iter().map(f64::from).collect();
    let [p99, max] = [0.99, 1.0].map(|share| keys.at(share) / keys.mean());
    println!("load: p99 {p99:.1}, max {max:.1} of the mean (published 4.6 and 9.1)");
    assert!((4.2..5.0).contains(&p99) && (7.0..14.0).contains(&max));
}
