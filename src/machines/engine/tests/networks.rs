//! What the engine wants of the ring, of Mainline and of the local network.

use super::*;
use crate::bus::{ChordNews, MainlineNews, Neighbour, Network, ToChord};
use crate::formats::krpc::Sharer;
use crate::words::priority::priority;

fn on_the_ring() -> Drive {
    let mut drive = Drive::new(Settings { chord: true, ..settings() });
    let listening = Command::Listening("0.0.0.0:6881".parse().unwrap());
    drive.handle(Notification::Command(listening));
    drive
}

fn found(drive: &mut Drive, sharers: &[(&str, bool)]) -> String {
    let info_hash = drive.torrents[0].metainfo.info_hash();
    let sharer = |(address, seeder): &(&str, bool)| Sharer {
        address: address.parse().unwrap(),
        seeder: *seeder,
    };
    let sharers = sharers.iter().map(sharer).collect();
    drive.handle(Notification::Chord(ChordNews::Found(info_hash, sharers)))
}

#[test]
fn a_torrent_is_looked_up_at_once_and_announced_when_it_is_known_what_is_there() {
    let mut drive = on_the_ring();
    script! {
        drive.adds(torrent(1), &[]) => "open",
        drive.waits(Duration::ZERO) => "look up",
        found(&mut drive, &[("192.0.2.1:1", true)]) => "",
        drive.storage(0, StorageNews::Opened) => "dial 0 at 192.0.2.1:1",
        drive.waits(Duration::ZERO) => "announce a leecher at 6881, look up",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle, leave the ring",
    }
}

#[test]
fn who_is_found_is_dialled_once() {
    let mut drive = on_the_ring();
    drive.adds(torrent(1), &["192.0.2.9:9"]);
    drive.storage(0, StorageNews::Opened);
    script! {
        found(&mut drive, &[("192.0.2.1:1", true), ("192.0.2.9:9", true)]) => "dial 1 at 192.0.2.1:1",
        found(&mut drive, &[("192.0.2.1:1", false)]) => "",
    }
}

#[test]
fn whoever_has_everything_dials_no_seeder() {
    let mut drive = on_the_ring();
    drive.adds(torrent(1), &[]);
    drive.storage(0, StorageNews::Found(Word::of(PieceIndex(0))));
    drive.storage(0, StorageNews::Opened);
    script! {
        found(&mut drive, &[("192.0.2.1:1", true), ("192.0.2.2:2", false)]) => "",
    }
}

#[test]
fn a_download_looks_up_ever_later() {
    let mut drive = on_the_ring();
    drive.adds(torrent(1), &[]);
    drive.storage(0, StorageNews::Opened);
    drive.waits(Duration::ZERO);
    let mut lookups = 0;
    for _ in 0..3600 {
        let orders = drive.waits(Duration::from_secs(1));
        lookups += orders.matches("look up").count();
    }
    // After 2 s, 4 s, 8 s, … and then every quarter of an hour.
    assert!((9..=13).contains(&lookups), "{lookups} lookups in an hour");
}

#[test]
fn a_seeder_whom_nobody_can_dial_looks_for_downloads_every_minute() {
    let mut drive = on_the_ring();
    drive.engine.settings.goal = Goal::Seed;
    drive.adds(torrent(1), &[]);
    drive.storage(0, StorageNews::Found(Word::of(PieceIndex(0))));
    drive.storage(0, StorageNews::Opened);
    let lookups_of_an_hour = |drive: &mut Drive| -> usize {
        let orders = (0..3600).map(|_| drive.waits(Duration::from_secs(1)));
        orders.map(|orders| orders.matches("look up").count()).sum()
    };
    let reachable = lookups_of_an_hour(&mut drive);
    assert!((4..=5).contains(&reachable), "{reachable} lookups in an hour");
    drive.handle(Notification::Chord(ChordNews::Client));
    drive.handle(Notification::Chord(ChordNews::Joined("[::]:6881".parse().unwrap())));
    let hidden = lookups_of_an_hour(&mut drive);
    assert!((59..=61).contains(&hidden), "{hidden} lookups in an hour");
}

#[test]
fn what_was_asked_before_the_node_had_joined_is_asked_again() {
    let mut drive = on_the_ring();
    for name in 0..40 {
        drive.adds(made_up::torrent(&name.to_string(), BLOCK_LEN, 1), &[]);
    }
    drive.waits(Duration::ZERO);
    let address = "192.0.2.1:6881".parse().unwrap();
    drive.handle(Notification::Chord(ChordNews::Joined(address)));
    assert_eq!(drive.waits(Duration::ZERO).matches("look up").count(), 40);
}

#[test]
fn an_order_for_which_there_was_no_room_is_given_again() {
    let mut drive = on_the_ring();
    drive.adds(torrent(1), &[]);
    let info_hash = drive.torrents[0].metainfo.info_hash();
    assert_eq!(drive.waits(Duration::ZERO), "look up");
    drive.engine.handle_undelivered(drive.now, Order::Chord(ToChord::Lookup(info_hash)));
    assert_eq!(drive.waits(limits::RETRY_DELAY), "look up");
}

#[test]
fn what_is_refused_again_keeps_its_order() {
    let mut drive = on_the_ring();
    let info_hash = InfoHash([7; 20]);
    let announce = |port| Order::Chord(ToChord::Announce { info_hash, port, seeder: false });
    let ports = 1..=u16::try_from(limits::RETRIES_MAX).unwrap() + 4;
    ports.clone().for_each(|n| drive.engine.handle_undelivered(drive.now, announce(n)));
    drive.now += limits::RETRY_DELAY;
    drive.engine.handle_time(drive.now);
    let given: Vec<Order> = std::iter::from_fn(|| drive.engine.poll_order()).collect();
    assert_eq!(given.len(), limits::RETRIES_MAX);
    given.into_iter().for_each(|order| drive.engine.handle_undelivered(drive.now, order));
    let orders = drive.waits(3 * limits::RETRY_DELAY);
    let expected: Vec<_> = ports.map(|n| format!("announce a leecher at {n}")).collect();
    assert_eq!(orders, expected.join(", "));
}

/// Or who was to be withdrawn would be announced after that, and stay so.
#[test]
fn no_order_overtakes_one_that_is_given_again() {
    let mut drive = on_the_ring();
    drive.adds(torrent(1), &[]);
    let info_hash = drive.torrents[0].metainfo.info_hash();
    drive.storage(0, StorageNews::Opened);
    assert_eq!(drive.waits(Duration::ZERO), "announce a leecher at 6881, look up");
    let announce = Order::Chord(ToChord::Announce { info_hash, port: 1, seeder: false });
    drive.engine.handle_undelivered(drive.now, announce);
    let key = made_up::torrent_key(0);
    crate::machines::engine::networks::withdraw(&mut drive.engine, key);
    assert_eq!(drive.orders(), "");
    assert_eq!(drive.waits(limits::RETRY_DELAY), "announce a leecher at 1, withdraw");
}

fn on_mainline() -> Drive {
    let mut drive = Drive::new(Settings { mainline: true, ..settings() });
    let listening = Command::Listening("0.0.0.0:6881".parse().unwrap());
    drive.handle(Notification::Command(listening));
    drive
}

fn found_on_mainline(drive: &mut Drive, peers: &[&str]) -> String {
    let info_hash = drive.torrents[0].metainfo.info_hash();
    let peers = peers.iter().map(|peer| peer.parse().unwrap()).collect();
    drive.handle(Notification::Mainline(MainlineNews::Found(info_hash, peers)))
}

#[test]
fn mainline_is_asked_as_the_ring_is_and_an_announcement_finds_peers_too() {
    let mut drive = on_mainline();
    script! {
        drive.adds(torrent(1), &[]) => "open",
        drive.waits(Duration::ZERO) => "look up on Mainline",
        drive.storage(0, StorageNews::Opened) => "",
        drive.waits(Duration::ZERO) => "announce 6881 on Mainline",
        found_on_mainline(&mut drive, &["192.0.2.1:1", "192.0.2.1:1"]) => "dial 0 at 192.0.2.1:1",
        drive.handle(Notification::Mainline(MainlineNews::Address("192.0.2.7".parse().unwrap()))) => "",
        found_on_mainline(&mut drive, &["192.0.2.7:6881"]) => "",
        drive.storage(0, StorageNews::Verified(PieceIndex(0))) => "settle, leave Mainline",
    }
}

#[test]
fn both_networks_are_asked_each_when_its_node_has_joined() {
    let mut drive = Drive::new(Settings { chord: true, mainline: true, ..settings() });
    drive.adds(torrent(1), &[]);
    script! {
        drive.waits(Duration::ZERO) => "look up, look up on Mainline",
        drive.handle(Notification::Mainline(MainlineNews::Joined)) => "",
        drive.waits(Duration::ZERO) => "look up on Mainline",
        drive.handle(Notification::Chord(ChordNews::Joined("192.0.2.1:1".parse().unwrap()))) => "",
        drive.waits(Duration::ZERO) => "look up",
    }
}

#[test]
fn a_private_torrent_is_in_no_network() {
    let on = Settings { chord: true, mainline: true, lan: true, ..settings() };
    let mut drive = Drive::new(on);
    drive.handle(Notification::Command(Command::Listening("0.0.0.0:6881".parse().unwrap())));
    drive.adds(made_up::private_torrent("t", BLOCK_LEN, 1), &[]);
    drive.storage(0, StorageNews::Opened);
    for network in [Network::Ring, Network::Mainline] {
        let nodes = vec!["192.0.2.1:1".parse().unwrap()];
        drive.handle(Notification::Entries(network, nodes));
    }
    drive.handle(Notification::Mainline(MainlineNews::Joined));
    // It may have been asked for before it was known to be private.
    let address = "192.0.2.1:1".parse().unwrap();
    let info_hash = drive.torrents[0].metainfo.info_hash();
    let neighbour = Neighbour { info_hash, address, chord: None };
    script! {
        found(&mut drive, &[("192.0.2.1:1", false)]) => "",
        found_on_mainline(&mut drive, &["192.0.2.1:1"]) => "",
        drive.handle(Notification::Lan(neighbour)) => "",
    }
    for _ in 0..100 {
        let orders = drive.waits(Duration::from_secs(10));
        assert_eq!(orders, "");
    }
}

#[test]
fn the_session_ends_when_both_nodes_have_said_goodbye() {
    let mut drive = Drive::new(Settings { chord: true, mainline: true, ..settings() });
    script! {
        drive.handle(Notification::Command(Command::Quit)) => "leave the ring, leave Mainline",
        drive.waits(Duration::ZERO) => "",
        drive.handle(Notification::Chord(ChordNews::Left)) => "",
        drive.handle(Notification::Mainline(MainlineNews::Left)) => "end",
    }
}

#[test]
fn the_local_network_is_told_once_and_a_neighbour_is_dialled_and_a_way_into_the_ring() {
    let mut drive = Drive::new(Settings { lan: true, chord: true, ..settings() });
    drive.handle(Notification::Command(Command::Listening("0.0.0.0:6881".parse().unwrap())));
    drive.adds(torrent(1), &[]);
    drive.waits(Duration::ZERO);
    drive.storage(0, StorageNews::Opened);
    let info_hash = drive.torrents[0].metainfo.info_hash();
    let at = |text: &str| text.parse().unwrap();
    let neighbour =
        Neighbour { info_hash, address: at("192.168.0.7:1"), chord: Some(at("192.168.0.7:2")) };
    let unknown = Neighbour { info_hash: InfoHash([9; 20]), chord: None, ..neighbour };
    script! {
        drive.waits(Duration::ZERO)
            => "announce a leecher at 6881, look up, announce in the local network",
        drive.handle(Notification::Lan(neighbour))
            => "join by [192.168.0.7:2], dial 0 at 192.168.0.7:1",
        drive.handle(Notification::Lan(unknown)) => "",
    }
    let later = drive.waits(Duration::from_secs(4000));
    assert!(!later.contains("local network"), "{later}");
    assert_eq!(drive.quits(), "leave the ring");
}

/// BEP 40: with more found than can be dialled, those of the highest priority are, whatever their order.
#[test]
fn who_is_found_is_dialled_by_priority_where_there_are_too_many() {
    let mut drive = Drive::new(Settings { mainline: true, peers_max: 3, ..settings() });
    drive.handle(Notification::Command(Command::Listening("0.0.0.0:6881".parse().unwrap())));
    let ours: SocketAddr = "123.213.32.10:6881".parse().unwrap();
    drive.handle(Notification::Mainline(MainlineNews::Address(ours.ip())));
    drive.adds(torrent(1), &[]);
    let all: Vec<SocketAddr> = (0..999_u32)
        .map(|n| {
            let [_, _, high, low] = n.to_be_bytes();
            SocketAddr::from(([1 + high, low, 7, 7], 1))
        })
        .collect();
    for word in all.chunks(16) {
        let peers: Vec<String> = word.iter().map(SocketAddr::to_string).collect();
        let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
        found_on_mainline(&mut drive, &peers);
    }
    // While the torrent opens there is room for so many, whoever comes first.
    let orders = drive.storage(0, StorageNews::Opened);
    assert_eq!(orders.matches("dial").count(), 3, "{orders}");
    for word in all.chunks(16) {
        let peers: Vec<String> = word.iter().map(SocketAddr::to_string).collect();
        let peers: Vec<&str> = peers.iter().map(String::as_str).collect();
        found_on_mainline(&mut drive, &peers);
    }
    let mut best = all;
    best.sort_by_key(|at| std::cmp::Reverse(priority(ours, *at)));
    let mut best = best.iter().take(100).map(|at| format!("dial 0 at {at}"));
    let orders = drive.goes(0);
    let dial = orders.split(", ").find(|order| order.starts_with("dial")).unwrap();
    assert!(best.any(|best| best == dial), "{orders}");
}
