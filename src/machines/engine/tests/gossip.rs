//! Peer exchange: who is listed, who is told, and whom of those that peers name we dial.

use super::*;
use crate::formats::krpc::Sharer;
use crate::formats::wire::{ExtensionHandshake, UT_PEX};
use crate::words::id::Key;
use crate::words::swarm_log::SwarmReader;

fn extended(port: Option<u16>, id: u8) -> PeerNews {
    let extensions = [(UT_PEX.to_owned(), id)].into();
    PeerNews::Extended(Box::new(ExtensionHandshake { port, extensions, ..Default::default() }))
}

fn exchanged(sharers: &[(&str, bool)]) -> PeerNews {
    let sharer = |(address, seeder): &(&str, bool)| Sharer {
        address: address.parse().unwrap(),
        seeder: *seeder,
    };
    PeerNews::Exchanged(sharers.iter().map(sharer).collect())
}

/// Whom a newcomer would be told of, as `address` or `address s` of a seeder.
fn listed(drive: &Drive) -> Vec<String> {
    let nobody = PeerKey(Key { index: 999, generation: 0 });
    let mut reader = SwarmReader::new(Arc::clone(&drive.torrents[0].swarm), nobody, true);
    let added = reader.changes().added.into_iter();
    added.map(|(at, kind)| format!("{at}{}", if kind.seeder { " s" } else { "" })).collect()
}

#[test]
fn who_understands_it_is_told_and_whose_address_is_known_is_listed() {
    let mut drive = Drive::downloading(settings(), 4);
    let peer = drive.joins("....");
    assert_eq!(listed(&drive), [""; 0], "nobody knows where it listens");
    script! {
        drive.news(peer, extended(Some(7), 3)) => "exchange with 0 as 3",
        drive.news(peer, extended(Some(8), 3)) => "",
        drive.news(peer, extended(None, 0)) => "",
    }
    assert_eq!(listed(&drive), ["127.0.0.1:7"]);
    drive.news(peer, PeerNews::Completed);
    assert_eq!(listed(&drive), ["127.0.0.1:7 s"]);
    drive.goes(peer);
    assert_eq!(listed(&drive), [""; 0]);
}

#[test]
fn whom_we_dialled_is_listed_under_the_address_that_we_dialled() {
    let mut drive = Drive::new(settings());
    drive.adds(torrent(4), &["127.0.0.1:1"]);
    assert_eq!(drive.storage(0, StorageNews::Opened), "dial 0 at 127.0.0.1:1");
    drive.connected(0, 9);
    assert_eq!(listed(&drive), ["127.0.0.1:1"]);
    drive.goes(0);
    assert_eq!(listed(&drive), [""; 0]);
}

#[test]
fn a_web_seed_is_nobody_to_be_told_of() {
    let mut drive = Drive::new(settings());
    drive.web_seeds = vec![WebSeed::parse("http://h/").unwrap()];
    drive.adds(torrent(4), &[]);
    assert_eq!(drive.storage(0, StorageNews::Opened), "ask 0 at http://h/");
    drive.connected(0, 9);
    assert_eq!(listed(&drive), [""; 0]);
}

#[test]
fn whom_a_peer_names_is_dialled_once_if_it_may_name_it() {
    let mut drive = Drive::downloading(settings(), 4);
    let local = drive.joins("....");
    script! {
        drive.news(local, exchanged(&[("127.0.0.1:5", false), ("127.0.0.1:5", true)]))
            => "dial 1 at 127.0.0.1:5",
        drive.news(local, exchanged(&[("0.0.0.0:5", false), ("239.0.0.1:5", false)])) => "",
    }
    let stranger = drive.accepts(0);
    let peer_id = PeerId([77; 20]);
    drive.greeted(stranger, Greeting { ip: "8.8.8.8", peer_id, ..Greeting::default() });
    script! {
        drive.news(stranger, exchanged(&[("127.0.0.1:6", false), ("192.168.1.1:80", true)])) => "",
        drive.news(stranger, exchanged(&[("9.9.9.9:9", false)])) => "dial 3 at 9.9.9.9:9",
    }
}

#[test]
fn a_flood_of_names_fills_the_room_for_hearsay_and_no_more() {
    let mut drive = Drive::downloading(Settings { peers_max: 5, ..settings() }, 4);
    let peer = drive.joins("....");
    for n in 0..200 {
        let names: Vec<_> = (0..16).map(|m| format!("127.1.{n}.{m}:1")).collect();
        let names: Vec<_> = names.iter().map(|name| (name.as_str(), false)).collect();
        drive.news(peer, exchanged(&names));
    }
    let known = drive.engine.torrents.at(0).unwrap().1.contacts.len();
    assert_eq!((known, drive.engine.dials.len()[0]), (limits::FOUND_A_WAY, 1));
}

#[test]
fn of_a_private_torrent_and_where_it_is_turned_off_nobody_is_told_anything() {
    let mut private = Drive::new(settings());
    private.adds(made_up::private_torrent("t", BLOCK_LEN, 1), &[]);
    private.storage(0, StorageNews::Opened);
    let off = Drive::downloading(Settings { pex: false, ..settings() }, 1);
    for mut drive in [private, off] {
        let peer = drive.joins(".");
        assert_eq!(drive.news(peer, extended(Some(7), 3)), "");
        assert_eq!(listed(&drive), [""; 0]);
    }
}

#[test]
fn who_takes_a_piece_back_is_no_seeder_any_more() {
    let mut drive = Drive::downloading(settings(), 2);
    let peer = drive.joins("..");
    drive.news(peer, PeerNews::Seeder);
    assert!(drive.talk(peer).seeder);
    drive.news(peer, PeerNews::Incomplete);
    assert!(!drive.talk(peer).seeder);
    drive.has(peer, "#.");
    drive.goes(peer);
}
