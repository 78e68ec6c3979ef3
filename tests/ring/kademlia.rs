//! Kademlia in the simulator: whether it holds what is announced, and the figures that Chord's are
//! compared with.

use std::net::SocketAddr;

use rondalla::formats::mainline::Contact;
use rondalla::machines::kademlia::Node;
use rondalla::words::node_id::NodeId;

use super::scenario::{Costs, HOUR, MINUTE, SECOND, Scenario, comes_to_rest};
use super::simulator::internet::{Addresses, Weather};
use super::with_seeds;

#[test]
fn kademlia_comes_to_hold_what_a_central_tracker_holds() {
    with_seeds(|seed| drop(comes_to_rest::<Node>(seed)));
}

/// A network that has been there for long: everybody's table is filled from everybody.
pub(super) fn settled(n: usize, seed: u64) -> Scenario<Node> {
    let mut scenario = Scenario::<Node>::new(Weather::fair(), Addresses::Global, seed);
    let ids: Vec<_> = (0..n).map(|_| scenario.appear(None, None)).collect();
    let contact = |id| {
        let address: SocketAddr = scenario.world.address(id);
        let node = &scenario.world.machine(id).expect("it is there").machine;
        Contact { id: node.id(false).expect("it has one"), address }
    };
    let mut contacts: Vec<_> = ids.iter().map(|id| contact(*id)).collect();
    contacts.sort_unstable();
    for id in ids {
        let Scenario { world, rng, .. } = &mut scenario;
        let own = world.machine(id).expect("it is there").machine.id(false).expect("it has one");
        // Those who share so many bits with us stand side by side.
        let sharing = |bits: usize| {
            let first = contacts.partition_point(|c| c.id < own && c.id.shared_bits(own) < bits);
            let last = contacts.partition_point(|c| c.id <= own || c.id.shared_bits(own) >= bits);
            first..last
        };
        let mut known: Vec<Contact> = Vec::new();
        for bits in 0..160 {
            let (all, nearer) = (sharing(bits), sharing(bits + 1));
            let beside = [&contacts[all.start..nearer.start], &contacts[nearer.end..all.end]];
            let len = beside[0].len() + beside[1].len();
            for _ in 0..(2 * len).min(16) {
                let nth = rng.below(u32::try_from(len).expect("they can be counted")) as usize;
                known
                    .push(*beside[0].get(nth).unwrap_or_else(|| &beside[1][nth - beside[0].len()]));
            }
            if nearer.len() <= 1 {
                break;
            }
        }
        world.order(id, |member, now| {
            member.machine.restore(now, known);
            member.machine.join(now, &[]);
        });
    }
    scenario
}

/// The cost of lookups in a network of `n` of which a share is dead and nobody knows.
fn costs(n: usize, dead: u32, lookups: usize, seed: u64) -> Costs {
    let mut scenario = settled(n, seed);
    scenario.pass(4 * MINUTE);
    let info_hashes: Vec<_> = (0..500).map(|_| scenario.some_info_hash()).collect();
    for info_hash in &info_hashes {
        let id = scenario.anyone();
        scenario.announce(id, *info_hash);
    }
    scenario.pass(MINUTE);
    let mut ids: Vec<_> = scenario.world.members().collect();
    scenario.rng.shuffle(&mut ids);
    let gone = ids.len() * dead as usize / 100;
    ids.drain(..gone).for_each(|id| scenario.crash(id));
    let mut asked = Vec::new();
    for (id, info_hash) in ids.iter().zip(info_hashes.iter().cycle()).take(lookups) {
        scenario.lookup(*id, *info_hash);
        asked.push((*id, *info_hash));
        scenario.pass(SECOND / 100);
    }
    scenario.pass(20 * SECOND);
    let mut costs = Costs::default();
    // What the asker holds itself costs nothing, and is not counted.
    for asked in asked {
        let report = scenario.ended.get(&asked);
        if report.is_none_or(|report| report.hops > 0 || report.first.is_none()) {
            costs.add(report);
        }
    }
    costs
}

#[test]
fn lookups_of_kademlia_cost_what_is_known_of_them() {
    let costs = costs(300, 0, 200, 1);
    println!("{}", costs.row("Kademlia k8 α4, 300"));
    assert_eq!(costs.failed, 0);
    assert!((8.0..16.0).contains(&costs.requests.mean()), "{}", costs.row("300 nodes"));
}

/// The row of `get_peers` among 10,000 nodes, for the comparison with Chord.
#[test]
#[ignore = "needs minutes"]
fn figures_of_kademlia_in_ten_thousand_nodes() {
    for dead in [0, 20] {
        let costs = costs(10_000, dead, 3000, 1);
        println!("{}", costs.row(&format!("Kademlia k8 α4, {dead} % dead")));
        assert_eq!(costs.failed, 0);
        assert!((12.0..20.0).contains(&costs.requests.mean()));
    }
}

/// What a node sends when nobody looks for anything.
#[test]
#[ignore = "needs minutes"]
fn figures_of_kademlia_idle() {
    let mut scenario = settled(1000, 2);
    scenario.pass(30 * MINUTE);
    scenario.world.forget_traffic();
    let before = scenario.world.events();
    scenario.pass(HOUR);
    let ids: Vec<_> = scenario.world.members().collect();
    let traffic = ids.iter().map(|id| scenario.world.traffic(*id));
    let (sent, bytes) = traffic.fold((0, 0), |(s, b), t| (s + t.sent, b + t.bytes));
    let each = |n: u64| n as f64 / ids.len() as f64 / 3600.0;
    println!(
        "Kademlia, 1000 idle nodes: {:.3} datagrams/s, {:.1} B/s out each; {} events an hour",
        each(sent),
        each(bytes),
        scenario.world.events() - before
    );
    assert!(each(bytes) < 400.0);
}

/// An id is a place, so a contact's bucket is a run of the sorted ids.
#[test]
fn a_settled_table_has_whom_it_should() {
    let scenario = settled(400, 3);
    for (_, member) in scenario.world.machines() {
        let own: NodeId = member.machine.id(false).unwrap();
        let contacts: Vec<_> = member.machine.contacts().collect();
        let far = contacts.iter().filter(|contact| contact.id.shared_bits(own) == 0).count();
        assert_eq!(far, 8, "half of all nodes share a bucket");
        assert!((24..72).contains(&contacts.len()), "{} contacts", contacts.len());
        member.machine.check();
    }
}
