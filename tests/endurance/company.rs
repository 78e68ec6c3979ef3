//! Bad company: peers that send garbage, stop in the middle, or never read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::fakes::{FakeSeed, Manner, NeverReads};
use super::{ANYWHERE, MIB, Seeded, command, noise};
use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, wait_until, write_noise};

const CORRUPT: &str = "it sent corrupt data";

/// Why peers went, by their addresses.
fn farewells(process: &Running) -> BTreeMap<SocketAddr, BTreeSet<String>> {
    let mut farewells = BTreeMap::<SocketAddr, BTreeSet<String>>::new();
    for event in process.events() {
        if let (Some(addr), Some(reason)) = (event["addr"].as_str(), event["reason"].as_str()) {
            farewells.entry(addr.parse().unwrap()).or_default().insert(reason.to_owned());
        }
    }
    farewells
}

/// Data, its torrent, and no seeder.
struct Unseeded {
    scratch: Scratch,
    torrent: std::path::PathBuf,
    infohash: [u8; 20],
    data: Vec<u8>,
    piece_len: usize,
}

impl Unseeded {
    fn new(len: usize, piece_len: usize) -> Self {
        let scratch = Scratch::new();
        let data = Noise::new(7).bytes(len);
        let source = scratch.folder("source").join("it");
        fs::write(&source, &data).unwrap();
        let torrent = scratch.path("it.torrent");
        let made = rondalla::create(&source, &torrent, &["--piece-length", &piece_len.to_string()]);
        let infohash = crate::hostile::from_hex(made["infohash"].as_str().unwrap());
        Self { scratch, torrent, infohash, data, piece_len }
    }

    fn fake(&self, number: u8, manner: Manner) -> FakeSeed {
        FakeSeed::start(number, manner, self.infohash, &self.data, self.piece_len)
    }

    fn download(&self, peers: &[SocketAddr], options: &[&str]) -> Running {
        let dir = self.scratch.path("copy");
        let mut download = command("download", ANYWHERE, &[&self.torrent], &dir, peers);
        Running::start(&self.scratch, "copy", download.arg("--dir").arg(&dir).args(options))
    }

    fn assert_is_here(&self) {
        let copy = fs::read(self.scratch.path("copy/it")).unwrap();
        assert!(copy == self.data, "the copy is different");
    }
}

/// Ten seeds, three of which send nothing but garbage.
#[test]
#[ignore = "needs ten seconds"]
fn of_ten_peers_the_three_that_send_garbage_are_banned() {
    assert_eq!(banned_of_three(Manner::Honest, 64 * 1024, "16M"), 3);
}

/// The same with pieces that are written in place, since the memory does not hold one. It holds so
/// few blocks that whoever is asked first may be asked for most of them.
#[test]
#[ignore = "needs ten seconds"]
fn who_sends_garbage_is_banned_for_pieces_beyond_the_memory_too() {
    assert!(banned_of_three(Manner::HonestAndLate, 256 * 1024, "128K") > 0);
}

/// Downloads from ten seeds, three of which send garbage; how many of these are banned. Nobody else
/// may be.
fn banned_of_three(others: Manner, piece_len: usize, memory: &str) -> usize {
    let unseeded = Unseeded::new(8 * 1024 * 1024 + 5, piece_len);
    let manner = |number| if number % 3 == 1 { Manner::Garbage } else { others };
    let fakes: Vec<_> = (0..10).map(|number| unseeded.fake(number, manner(number))).collect();
    let peers: Vec<_> = fakes.iter().map(|fake| fake.address).collect();
    let mut download = unseeded.download(&peers, &["--memory", memory]);
    assert!(download.wait_for_exit().success(), "{}", download.stderr());
    unseeded.assert_is_here();
    let (farewells, mut guilty) = (farewells(&download), 0);
    for (number, fake) in (0..10).zip(&fakes) {
        let reasons = farewells.get(&fake.address);
        let banned = reasons.is_some_and(|reasons| reasons.contains(CORRUPT));
        println!("{number} gave {} blocks, banned: {banned}", fake.blocks());
        assert!(!banned || manner(number) == Manner::Garbage, "{number}: {farewells:?}");
        guilty += usize::from(banned);
    }
    guilty
}

/// One that begins a block and does not end it, beside one that is honest.
#[test]
#[ignore = "needs half a minute"]
fn a_block_that_is_never_ended_is_fetched_elsewhere() {
    let unseeded = Unseeded::new(4 * 1024 * 1024, 64 * 1024);
    let stalled = unseeded.fake(0, Manner::HalfABlock);
    let honest = unseeded.fake(1, Manner::Honest);
    let mut download = unseeded.download(&[stalled.address, honest.address], &[]);
    assert!(download.wait_for_exit().success(), "{}", download.stderr());
    unseeded.assert_is_here();
    assert_eq!(stalled.blocks(), 1, "it was never asked");
}

/// A seeder that is stopped as a whole, in the middle, beside one that goes on.
#[test]
#[ignore = "needs half a minute"]
fn a_seeder_that_is_stopped_holds_nobody_up() {
    let mut noise = noise();
    let make = |path: &Path| write_noise(path, 24 * MIB, &mut noise);
    let mut seeded = Seeded::new(make, "64K", &[]);
    let dir = seeded.scratch.path("second");
    let mut second = command("seed", ANYWHERE, &[&seeded.torrent], &dir, &[]);
    let mut second =
        Running::start(&seeded.scratch, "second", second.arg("--dir").arg(&seeded.source));
    let address = listening(&mut second);
    second.wait_for_event("checked");
    let mut download = seeded.download("copy", &[address], &["--limit-down", "8M"]);
    download.wait_for("some of it is here", |download| {
        let events = download.events();
        let done = events.iter().filter_map(|event| event["done"].as_u64()).max();
        done.filter(|done| *done > 4 * MIB)
    });
    signal(&second, "STOP");
    assert!(download.wait_for_exit().success(), "{}", download.stderr());
    seeded.assert_is_at("copy");
    signal(&second, "CONT");
    assert!(second.terminate().success(), "{}", second.stderr());
    assert!(seeded.seeder.terminate().success());
}

fn signal(process: &Running, name: &str) {
    let kill = format!("kill -{name} {}", process.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
}

/// Peers that ask a seeder for everything and never read a byte of it.
#[test]
#[ignore = "needs two or three minutes"]
fn peers_that_never_read_are_hung_up_on_and_hold_nobody_up() {
    let mut noise = noise();
    let make = |path: &Path| write_noise(path, 24 * MIB, &mut noise);
    let mut seeded = Seeded::new(make, "64K", &["-v"]);
    let infohash = seeded.metainfo.info_hash().0;
    let deaf: Vec<_> =
        (0..3).map(|number| NeverReads::dial(seeded.address, infohash, number)).collect();
    for name in ["one", "two"] {
        let mut download = seeded.download(name, &[], &[]);
        assert!(download.wait_for_exit().success(), "{}", download.stderr());
        seeded.assert_is_at(name);
    }
    // The kernel may take some more for them now and then; their silence ends that.
    let are_gone = || {
        let farewells = farewells(&seeded.seeder);
        deaf.iter().all(|deaf| farewells.contains_key(&deaf.address)).then_some(())
    };
    assert!((0..2).any(|_| wait_until(are_gone).is_some()), "who never reads stays for ever");
    assert!(seeded.seeder.terminate().success());
}
