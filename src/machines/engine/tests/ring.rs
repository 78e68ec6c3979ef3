//! What the engine wants of the ring.

use super::*;
use crate::bus::{ChordNews, ToChord};
use crate::formats::krpc::Sharer;

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
    let now = drive.now;
    drive.engine.handle_undelivered(now, Order::Chord(ToChord::Lookup(info_hash)));
    drive.waits(Duration::ZERO);
    assert_eq!(drive.waits(limits::RETRY_DELAY), "look up");
}
