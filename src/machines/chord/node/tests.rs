//! Rings of nodes on a network in memory: a few lines that carry datagrams and let time pass.

mod far;
mod moves;
mod network;
mod pushes;

use std::net::SocketAddr;
use std::time::Duration;

use crate::formats::krpc::{Answer, Body, Message, Query, Token};
use crate::machines::chord::ring::is_between;
use crate::machines::chord::{Contact, News, Role, Settings, Shape, Sharer};
use crate::words::limits::ring as limits;
use network::{Network, hash, place};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn client() -> Settings {
    Settings { role: Role::Client, ..Settings::default() }
}

#[test]
fn a_node_that_knows_nobody_is_a_ring_of_one() {
    let mut network = Network::new(1);
    let me = network.start(place(1), Settings::default(), &[]);
    assert_eq!(network.news(me), [News::Joined(me)]);
    network.announce(me, hash(1), 7000, true);
    network.lookup(me, hash(1));
    network.pass(seconds(5));
    let sharer = Sharer { address: "10.0.0.1:7000".parse().unwrap(), seeder: true };
    let found = network.found(me, hash(1));
    assert_eq!(found, [sharer]);
    network.assert_ideal();
}

#[test]
fn two_nodes_find_each_other_and_what_they_share() {
    let mut network = Network::new(2);
    let first = network.start(place(1), Settings::default(), &[]);
    let second = network.start(place(2), Settings::default(), &[first]);
    network.pass(seconds(20));
    assert!(network.news(second).contains(&News::Joined(second)));
    network.assert_ideal();
    for (n, sharer, asker) in [(1, first, second), (2, second, first), (3, first, first)] {
        network.announce(sharer, hash(n), 7000, false);
        network.pass(seconds(3));
        network.lookup(asker, hash(n));
        network.pass(seconds(3));
        assert_eq!(network.found(asker, hash(n))[0].address.ip(), sharer.ip(), "{n}");
    }
}

#[test]
fn a_ring_of_two_of_which_one_dies_is_a_ring_of_one_that_takes_the_other_back() {
    let mut network = Network::new(3);
    let first = network.start(place(1), Settings::default(), &[]);
    let second = network.start(place(2), Settings::default(), &[first]);
    network.pass(seconds(20));
    network.kill(second);
    network.pass(seconds(60));
    assert!(network.news(first).contains(&News::Alone));
    network.assert_ideal();
    network.start(place(2), Settings::default(), &[first]);
    network.pass(seconds(60));
    network.assert_ideal();
}

#[test]
fn two_that_begin_with_each_other_become_one_ring() {
    let mut network = Network::new(4);
    let [first, second] = [1, 2].map(place);
    network.start(first, Settings::default(), &[second]);
    network.pass(seconds(9));
    assert_eq!(network.news(first), [News::Alone]);
    network.start(second, Settings::default(), &[first]);
    network.pass(seconds(60));
    network.assert_ideal();
}

#[test]
fn who_is_left_alone_while_it_joins_is_a_ring_of_one() {
    let mut network = Network::new(21);
    let first = network.start(place(1), Settings::default(), &[]);
    let second = network.start(place(2), Settings::default(), &[first]);
    network.pass(Duration::from_millis(150));
    network.kill(first);
    network.pass(seconds(120));
    assert_eq!(network.news(second).last(), Some(&News::Alone));
    network.assert_ideal();
}

#[test]
fn three_nodes_are_a_ring_in_any_order() {
    for seed in 0..6 {
        let mut network = Network::new(seed);
        let first = network.start(place(1), Settings::default(), &[]);
        network.start(place(2), Settings::default(), &[first]);
        network.start(place(3), Settings::default(), &[first]);
        network.pass(seconds(60));
        network.assert_ideal();
    }
}

#[test]
fn a_ring_of_twenty_finds_every_torrent_from_everywhere() {
    let mut network = Network::new(5);
    let members = network.grow(20);
    network.assert_ideal();
    for (n, member) in (0_u8..).zip(&members) {
        network.announce(*member, hash(n), 7000, n % 2 == 0);
    }
    network.pass(seconds(10));
    for (n, sharer) in (0_u8..).zip(&members) {
        let asker = members[usize::from(n * 7) % members.len()];
        network.lookup(asker, hash(n));
        network.pass(seconds(4));
        let found = network.found(asker, hash(n));
        assert_eq!(found.len(), 1, "torrent {n}");
        assert_eq!((found[0].address.ip(), found[0].seeder), (sharer.ip(), n % 2 == 0));
        let holders = network.holders(hash(n));
        assert_eq!(holders, limits::REPLICAS_BEFORE + limits::REPLICAS_FROM, "torrent {n}");
    }
}

#[test]
fn when_two_fifths_die_at_once_the_ring_heals_and_nothing_is_lost() {
    let mut network = Network::new(6);
    let members = network.grow(20);
    for (n, member) in (0_u8..).zip(&members[..10]) {
        network.announce(*member, hash(n), 7000, true);
    }
    network.pass(seconds(20));
    for dead in &members[12..] {
        network.kill(*dead);
    }
    network.pass(seconds(60));
    network.assert_ideal();
    for n in 0..10 {
        network.lookup(members[11], hash(n));
        network.pass(seconds(4));
        assert_eq!(network.found(members[11], hash(n)).len(), 1, "torrent {n}");
    }
}

/// Whoever announces does not hear that an owner dies, and says it again after minutes.
#[test]
fn what_is_announced_is_with_several_holders_at_once() {
    let mut network = Network::new(6);
    let members = network.grow(8);
    for n in 0..8 {
        network.announce(members[0], hash(n), 7000, true);
        let arrives = (0..500).find(|_| {
            network.pass(Duration::from_millis(10));
            network.holders(hash(n)) > 0
        });
        assert!(arrives.is_some(), "torrent {n} is held by nobody");
        network.pass(limits::PUSH_DELAY / 2);
        assert!(network.holders(hash(n)) > 1, "torrent {n} has one holder");
        network.pass(limits::PUSH_DELAY);
    }
}

#[test]
fn a_network_that_loses_and_doubles_datagrams_still_makes_one_ring() {
    let mut network = Network::new(7);
    network.lost_percent = 10;
    network.doubled_percent = 5;
    network.grow(12);
    network.pass(seconds(120));
    network.lost_percent = 0;
    // Whoever was taken for dead is suspect for a minute.
    network.pass(limits::SUSPECT_FOR + seconds(120));
    network.assert_ideal();
}

#[test]
fn two_rings_become_one_when_one_member_of_each_is_known() {
    let mut network = Network::new(8);
    let first = network.grow(6);
    let second = network.grow_apart(6, 100);
    assert!(network.is_apart(&first, &second));
    network.hint(first[2], second[3]);
    network.pass(seconds(300));
    network.assert_ideal();
}

#[test]
fn a_ring_that_was_split_becomes_one_again() {
    let mut network = Network::new(9);
    let members = network.grow(12);
    network.pass(seconds(300));
    network.split(&members[..6]);
    network.pass(seconds(300));
    network.heal();
    network.pass(seconds(400));
    network.assert_ideal();
}

/// Its connection was gone, or its host too busy to answer.
#[test]
fn who_is_cut_off_for_a_while_is_back_in_its_ring_soon() {
    for (seed, cut_off) in [(1, 1), (2, 3), (3, 8), (4, 15), (5, 25), (6, 60)] {
        let mut network = Network::new(seed);
        let members = network.grow(6);
        network.split(&members[..1]);
        network.pass(seconds(cut_off));
        network.heal();
        network.pass(seconds(100));
        network.assert_ideal();
    }
}

#[test]
fn a_client_finds_and_shares_and_is_asked_nothing() {
    let mut network = Network::new(10);
    let members = network.grow(8);
    let client = network.start("10.0.9.1:6881".parse().unwrap(), client(), &members[..2]);
    network.pass(seconds(5));
    network.announce(client, hash(1), 7000, false);
    network.pass(seconds(20));
    network.lookup(members[5], hash(1));
    network.lookup(client, hash(1));
    network.pass(seconds(5));
    for asker in [members[5], client] {
        assert_eq!(network.found(asker, hash(1))[0].address.ip(), client.ip());
    }
    assert!(!network.is_named_by_anyone(client));
    network.assert_ideal();
    network.kill(client);
    network.pass(limits::ENTRY_FRESH + seconds(1));
    network.lookup(members[5], hash(1));
    network.pass(seconds(5));
    assert_eq!(network.found(members[5], hash(1)), []);
}

#[test]
fn whoever_dies_is_soon_not_named_any_longer_and_whoever_lives_always_is() {
    let mut network = Network::new(11);
    let members = network.grow(10);
    network.announce(members[3], hash(1), 7000, true);
    network.announce(members[4], hash(1), 7000, true);
    network.pass(seconds(30));
    network.kill(members[3]);
    network.pass(seconds(12 * 60));
    network.lookup(members[8], hash(1));
    network.pass(seconds(5));
    let found = network.found(members[8], hash(1));
    assert_eq!(
        found.iter().map(|sharer| sharer.address.ip()).collect::<Vec<_>>(),
        [members[4].ip()]
    );
}

#[test]
fn whoever_leaves_hands_over_what_it_holds() {
    let mut network = Network::with_shape(12, Shape { before: 0, from: 1, ..Shape::default() });
    let members = network.grow(6);
    for n in 0..30 {
        network.announce(members[0], hash(n), 7000, true);
    }
    network.pass(seconds(20));
    for leaver in &members[1..5] {
        network.leave(*leaver);
        network.pass(seconds(20));
        assert!(network.news(*leaver).contains(&News::Left));
        network.kill(*leaver);
    }
    network.pass(seconds(30));
    network.assert_ideal();
    for n in 0..30 {
        network.lookup(members[5], hash(n));
        network.pass(seconds(2));
        assert_eq!(network.found(members[5], hash(n)).len(), 1, "torrent {n}");
    }
}

#[test]
fn whoever_leaves_takes_along_what_it_shares() {
    let mut network = Network::new(25);
    let members = network.grow(3);
    (0..20).for_each(|n| network.announce(members[2], hash(n), 7000, true));
    network.pass(seconds(20));
    network.leave(members[2]);
    network.pass(seconds(5));
    network.kill(members[2]);
    let held: Vec<_> = (0..20).filter(|n| network.holders(hash(*n)) > 0).collect();
    assert!(held.is_empty(), "there are still entries of {held:?}");
}

#[test]
fn what_is_withdrawn_is_found_no_longer() {
    let mut network = Network::new(13);
    let members = network.grow(6);
    network.announce(members[1], hash(1), 7000, true);
    network.pass(seconds(10));
    network.withdraw(members[1], hash(1));
    network.pass(seconds(10));
    network.lookup(members[4], hash(1));
    network.pass(seconds(5));
    assert_eq!(network.found(members[4], hash(1)), []);
    assert_eq!(network.holders(hash(1)), 0);
}

#[test]
fn a_global_address_is_a_client_until_others_have_pinged_it() {
    let mut network = Network::new(14);
    let at = |n: u8| SocketAddr::from(([20 + n, n, 1, 1], 6881));
    let first = network.start(at(0), Settings::default(), &[]);
    let second = network.start(at(1), Settings::default(), &[first]);
    network.pass(limits::PING_BACK_DELAY / 2);
    assert_eq!(network.news(second), [News::Client]);
    network.pass(limits::PING_BACK_DELAY * 2);
    assert!(network.news(second).contains(&News::Joined(second)));
    network.assert_ideal();
    network.deaf.insert(at(2));
    network.start(at(2), Settings::default(), &[first, second]);
    network.pass(limits::PING_BACK_DELAY * 3);
    assert_eq!(network.news(at(2)), [News::Client], "unasked datagrams do not reach it");
    assert!(!network.is_named_by_anyone(at(2)));
}

#[test]
fn a_private_address_behind_a_router_is_a_member_only_if_strangers_reach_it() {
    let mut network = Network::new(15);
    let members = network.grow(3);
    let inside = SocketAddr::from(([192, 168, 0, 2], 6881));
    let (open, closed) = (place(9), place(10));
    network.deaf.insert(closed);
    for outside in [open, closed] {
        network.start_behind(inside, outside, &members);
    }
    network.pass(seconds(60));
    assert!(network.news(open).contains(&News::Joined(open)));
    assert_eq!(network.news(closed), [News::Client]);
    assert!(!network.is_named_by_anyone(closed));
    network.assert_ideal();
}

#[test]
fn a_wildcard_learns_its_address_from_others() {
    let mut network = Network::new(15);
    let [first, second] = [1, 2].map(place);
    network.start_as(first, "0.0.0.0:6881".parse().unwrap(), &[]);
    network.announce(first, hash(1), 7000, true);
    network.pass(seconds(5));
    network.start_as(second, "0.0.0.0:6881".parse().unwrap(), &[first]);
    network.pass(seconds(60));
    assert_eq!([first, second].map(|it| network.node(it).me().address), [first, second]);
    network.assert_ideal();
    // What was announced before it knew where it is can be found where it is.
    network.lookup(second, hash(1));
    network.pass(seconds(5));
    let found = Sharer { address: SocketAddr::new(first.ip(), 7000), seeder: true };
    assert_eq!(network.found(second, hash(1)), [found]);
}

#[test]
fn the_textbooks_ring_works_too() {
    let mut network = Network::with_shape(16, Shape::textbook());
    let members = network.grow(10);
    network.pass(seconds(120));
    for (n, member) in (0_u8..).zip(&members) {
        network.announce(*member, hash(n), 7000, true);
        network.pass(seconds(5));
        network.lookup(members[usize::from(n) / 2], hash(n));
        network.pass(seconds(5));
        assert_eq!(network.found(members[usize::from(n) / 2], hash(n)).len(), 1, "torrent {n}");
        assert_eq!(network.holders(hash(n)), 1);
    }
}

/// The mean hops, the mean requests and the failures of so many lookups of torrents that are shared.
fn measure(network: &mut Network, members: &[SocketAddr], lookups: u8) -> (f64, f64, u32) {
    let at = |n: usize| members[n * 7919 % members.len()];
    for n in 0..lookups {
        network.announce(at(usize::from(n)), hash(n), 7000, true);
    }
    network.pass(seconds(8));
    let (mut hops, mut requests, mut failures) = (0, 0, 0);
    for n in 0..lookups {
        let asker = at(usize::from(n) + 1000);
        network.lookup(asker, hash(n));
        network.pass(seconds(2));
        failures += u32::from(network.found(asker, hash(n)).is_empty());
        if let Some(News::Finished(_, report)) = network.news(asker).last() {
            hops += report.hops;
            requests += report.requests;
        }
    }
    let mean = |sum: u32| f64::from(sum) / f64::from(lookups);
    (mean(hops), mean(requests), failures)
}

/// The textbook's mean is half of log2 N: 4 for 256 nodes, and 1 where the owner is asked too
/// (Chord, figure 10).
#[test]
fn fingers_at_every_distance_make_lookups_short() {
    for (shape, hops_max) in [(Shape::default(), 2.5), (Shape::textbook(), 5.5)] {
        let mut network = Network::with_shape(20, shape);
        let members = network.settle(256);
        network.assert_ideal();
        let (hops, requests, failures) = measure(&mut network, &members, 24);
        println!("{hops} hops, {requests} requests, {failures} failures");
        assert!(hops < hops_max && failures == 0);
    }
}

#[test]
fn a_quiet_ring_says_little() {
    let mut network = Network::new(22);
    let members = network.settle(40).len();
    network.pass(seconds(300));
    let (bytes, questions) = (network.bytes_sent, network.questions);
    network.pass(seconds(300));
    let each = |count: u64| count as f64 / (300 * members) as f64;
    let (bytes, questions) =
        (each(network.bytes_sent - bytes), each(network.questions - questions));
    println!("{bytes:.1} bytes and {questions:.2} questions a second and node");
    assert!(bytes < 40.0 && questions < 0.3);
    network.assert_ideal();
}

#[test]
fn a_walk_meets_every_member_in_its_order() {
    let mut network = Network::new(17);
    let members = network.grow(9);
    network.pass(seconds(60));
    let asker = network.start("10.0.9.1:6881".parse().unwrap(), client(), &members[..1]);
    network.pass(seconds(1));
    network.walk(asker);
    network.pass(seconds(10));
    let news = network.news(asker);
    let met = news.iter().filter(|news| matches!(news, News::Member(_)));
    assert_eq!(met.count(), 9);
    assert_eq!(news.last(), Some(&News::Walked { consistent: true }));
}

#[test]
fn a_walk_goes_round_every_ring_that_is_known_and_says_that_they_are_not_one() {
    let mut network = Network::new(18);
    let [one, other] = [network.grow_apart(4, 0), network.grow_apart(3, 100)];
    let gone = place(200);
    let asker =
        network.start("10.0.9.1:6881".parse().unwrap(), client(), &[gone, one[1], other[1]]);
    network.pass(seconds(1));
    network.walk(asker);
    network.pass(seconds(10));
    let news = network.news(asker);
    let met = news.iter().filter(|news| matches!(news, News::Member(_)));
    assert_eq!(met.count(), 7);
    assert_eq!(news.last(), Some(&News::Walked { consistent: false }));
}

#[test]
fn an_announce_counts_with_its_token_and_for_its_own_address_alone() {
    let mut network = Network::new(20);
    let at = network.start(place(1), Settings { limited: false, ..Settings::default() }, &[]);
    let [attacker, other]: [SocketAddr; 2] =
        ["8.8.8.8:6881", "9.9.9.9:6881"].map(|text| text.parse().unwrap());
    let announce = |port, token| {
        let query = Query::Announce { info_hash: hash(1), port, seeder: true };
        let body = Body::Query(query, token);
        Message { transaction: 9, seen: Some(at), client: false, body }.encode(0)
    };
    let entries = |network: &Network| network.node(at).entries().collect::<Vec<_>>();
    network.deliver(attacker, at, &announce(1, None));
    network.deliver(attacker, at, &announce(1, Some(Token(*b"made up!"))));
    let [mine, anothers] = [attacker, other].map(|to| network.token(at, to, hash(1)));
    let of_another_key = network.token(at, attacker, hash(2));
    network.deliver(attacker, at, &announce(1, Some(anothers)));
    network.deliver(attacker, at, &announce(1, Some(of_another_key)));
    assert_eq!(entries(&network), []);
    (1..=10_000).for_each(|port| network.deliver(attacker, at, &announce(port, Some(mine))));
    let held = entries(&network);
    assert!(held.len() <= limits::SHARERS_PER_IP, "{held:?}");
    assert!(held.iter().all(|(_, address)| address.ip() == attacker.ip()), "{held:?}");
    network.node(at).check();
}

#[test]
fn a_flood_from_everywhere_takes_no_more_room_and_no_more_answers() {
    let mut network = Network::new(21);
    let at = network.grow(3)[0];
    let questions = network::questions(at);
    let before = network.bytes_sent;
    for n in 0..20_000_u32 {
        let from = SocketAddr::from((std::net::Ipv4Addr::from(0x0b00_0000 + n * 7919), 7));
        let (_, question) = &questions[n as usize % questions.len()];
        network.deliver(from, at, question);
    }
    network.node(at).check();
    let sent = network.bytes_sent - before;
    assert!(sent <= u64::from(limits::ANSWER_BURST), "{sent} bytes in answer to a flood");
    network.pass(seconds(60));
    network.assert_ideal();
}

#[test]
fn what_is_dropped_is_counted() {
    let mut network = Network::new(19);
    let members = network.grow(2);
    let at = members[0];
    let before = network.node(at).dropped();
    let stranger = place(77);
    let answer = |transaction| {
        let body = Body::Answer(Answer::Done);
        Message { transaction, seen: Some(at), client: false, body }.encode(0)
    };
    let deep = [vec![b'l'; 700], vec![b'e'; 700]].concat();
    let unreadable = [&b"d1:ci1e"[..], b"", &[0; 1501], &deep, b"d1:ci1e1:t4:aaaa1:y1:xe"];
    for bytes in unreadable {
        network.deliver(stranger, at, bytes);
    }
    // Nobody was asked under this number, or whoever was asked is somebody else.
    network.deliver(members[1], at, &answer(0xffff_ffff));
    network.deliver(stranger, at, &answer(1));
    let dropped = network.node(at).dropped();
    assert_eq!(dropped.unreadable - before.unreadable, unreadable.len() as u64);
    assert_eq!((dropped.unasked - before.unasked, dropped.too_many), (2, 0));
    // A global source has its rate.
    let global: SocketAddr = "8.8.8.8:6881".parse().unwrap();
    let ping = network::questions(at)[0].1.clone();
    (0..1000).for_each(|_| network.deliver(global, at, &ping));
    assert!((900..1000).contains(&network.node(at).dropped().too_many));
}

#[test]
fn the_same_seed_gives_the_same_ring_twice() {
    let run = |seed| {
        let mut network = Network::new(seed);
        network.lost_percent = 5;
        network.grow(8);
        network.pass(seconds(60));
        network.carried
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn noise_never_panics_and_no_answer_is_much_longer_than_its_question() {
    let mut network = Network::new(18);
    let members = network.grow(8);
    for last in 0..200 {
        let sharer = format!("10.0.8.{last}:6881").parse().unwrap();
        network.plant(members[0], hash(1), sharer);
    }
    network.assault(members[0], 30_000);
}

/// How fast one node answers, with the limits lifted: the reactor has this thread to itself.
#[test]
#[ignore = "needs a release build to say anything"]
#[expect(clippy::disallowed_methods, reason = "real time is measured")]
fn answers_a_second() {
    let settings = Settings { limited: false, ..Settings::default() };
    let mut network = Network::with_settings(23, settings);
    let members = network.settle(1000);
    for last in 0..100 {
        network.plant(members[0], hash(1), format!("10.0.8.{last}:6881").parse().unwrap());
    }
    for (name, question) in network::questions(members[0]) {
        let (mut count, begun) = (0_u32, std::time::Instant::now());
        while begun.elapsed() < seconds(1) {
            for _ in 0..100 {
                count += u32::from(network.answers(members[0], &question));
            }
        }
        println!("{name}: {count} answers a second");
        assert!(count > 0);
    }
}

#[test]
fn hints_without_end_put_off_no_stabilisation() {
    let mut network = Network::new(8);
    let members = network.grow(6);
    let (me, head) = (network.node(members[0]).me(), network.node(members[0]).successors()[0]);
    network.kill(head.address);
    let nobody = (100..=250).map(place).find(|it| is_between(me, Contact::at(*it), head)).unwrap();
    let body = Body::Query(Query::Hint(nobody), None);
    let said = Message { transaction: 9, seen: None, client: false, body }.encode(0);
    for _ in 0..180 {
        network.deliver(nobody, me.address, &said);
        network.pass(seconds(1) / 3);
    }
    assert!(!network.node(me.address).successors().contains(&head));
}
