//! Torrents by magnet link between processes of the program: metadata comes from peers (BEP 9).

mod liar;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, free_address, write_noise};
use liar::Lie;

/// A folder of three files, and its torrent; the metadata has several pieces.
struct Setup {
    scratch: Scratch,
    source: PathBuf,
    torrent: PathBuf,
    info_hash: String,
}

impl Setup {
    fn new() -> Self {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        let mut noise = Noise::new(1);
        for (name, len) in [("a", 40_000), ("b", 30_000_000), ("c", 50_000)] {
            write_noise(&source.join("tunes").join(name), len, &mut noise);
        }
        let torrent = scratch.path("tunes.torrent");
        let made = rondalla::create(&source.join("tunes"), &torrent, &["--piece-length", "16K"]);
        let info_hash = made["infohash"].as_str().unwrap().to_owned();
        Self { scratch, source, torrent, info_hash }
    }

    /// A seeder that has the torrent.
    fn seeder(&self, options: &[&str]) -> (Running, SocketAddr) {
        let mut command = rondalla::command();
        command.arg("seed").arg(&self.torrent).args(["--listen", "127.0.0.1:0", "--json"]);
        command.args(["--no-dht", "--no-lan"]);
        command.arg("--dir").arg(&self.source).args(options);
        command.arg("--state").arg(self.scratch.path("seeder.state"));
        let mut seeder = Running::start(&self.scratch, "seeder", &mut command);
        let address = listening(&mut seeder);
        seeder.wait_for_event("checked");
        (seeder, address)
    }

    /// `rondalla download` of `link`, to a folder of this name.
    fn download(&self, link: &str, name: &str, options: &[&str]) -> Command {
        let mut command = rondalla::command();
        command
            .arg("download")
            .arg(link)
            .args(["--no-chord", "--no-dht", "--no-lan"])
            .args(options);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.arg("--dir").arg(self.scratch.path(name));
        command.arg("--state").arg(self.scratch.path(&format!("{name}.state")));
        command
    }

    fn link(&self, rest: &str) -> String {
        format!("magnet:?xt=urn:btih:{}{rest}", self.info_hash)
    }
}

fn code(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_link_is_enough_and_the_next_start_needs_no_peer() {
    let setup = Setup::new();
    let (mut seeder, address) = setup.seeder(&[]);
    let link = setup.link(&format!("&dn=what+they+say&x.pe={address}"));
    let mut command = setup.download(&link, "copy", &["--json"]);
    let mut leecher = Running::start(&setup.scratch, "leecher", &mut command);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    Tree::of(&setup.source).assert_is_at(&setup.scratch.path("copy"));
    let events = leecher.events();
    let place = |name: &str| events.iter().position(|event| event["event"] == name);
    let metadata = &events[place("metadata").expect("it is told")];
    assert_eq!((&metadata["name"], &metadata["size"]), (&"tunes".into(), &30_090_000.into()));
    assert_eq!(metadata["infohash"], *setup.info_hash);
    assert!(place("metadata") < place("started") && place("started") < place("finished"));
    seeder.terminate();

    // By another spelling, with nobody there.
    let output = setup.download(&setup.info_hash.to_uppercase(), "copy", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", code(&output).1);
    let path = setup.scratch.path("copy").join("tunes");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", path.display()));
}

#[test]
fn whoever_dials_us_may_bring_the_metadata() {
    let setup = Setup::new();
    let here = free_address([127, 0, 0, 1].into());
    let mut command = setup.download(
        &base32(&setup.info_hash),
        "copy",
        &["--json", "--listen", &here.to_string()],
    );
    let mut leecher = Running::start(&setup.scratch, "leecher", &mut command);
    listening(&mut leecher);
    let (_seeder, _) = setup.seeder(&["--peer", &here.to_string(), "--no-chord"]);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    Tree::of(&setup.source).assert_is_at(&setup.scratch.path("copy"));
    // The connection that brought the metadata brought the data.
    let peers = leecher.events().into_iter().filter(|event| event["state"] == "connected");
    assert_eq!(peers.count(), 1, "{:?}", leecher.events());
}

/// The info-hash in the other spelling (RFC 4648).
fn base32(hex: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bits: String = (0..40).step_by(2).map(|at| format!("{:08b}", byte(at))).collect();
    let digit = |bits: &str| usize::from_str_radix(bits, 2).unwrap();
    let digits = (0..160).step_by(5).map(|at| digit(&bits[at..at + 5]));
    digits.map(|digit| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[digit])).collect()
}

#[test]
fn a_link_may_select_files() {
    let setup = Setup::new();
    let (_seeder, address) = setup.seeder(&[]);
    let link = setup.link(&format!("&so=0,2&x.pe={address}"));
    let output = setup.download(&link, "copy", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", code(&output).1);
    let len = |name: &str| fs::read(setup.scratch.path("copy/tunes").join(name)).ok();
    let source = |name: &str| fs::read(setup.source.join("tunes").join(name)).ok();
    assert_eq!((len("a"), len("c")), (source("a"), source("c")));
    assert_ne!(len("b"), source("b"));

    let link = setup.link(&format!("&so=3&x.pe={address}"));
    let (status, stderr) = code(&setup.download(&link, "none", &[]).output().unwrap());
    assert_eq!(status, Some(4), "{stderr}");
    assert!(stderr.contains("its \"so\" names no file of the torrent"), "{stderr}");
    // What the user says counts more. (The metadata is here by now.)
    let (status, stderr) =
        code(&setup.download(&link, "none", &["--select", "9"]).output().unwrap());
    assert_eq!(status, Some(2), "{stderr}");
    assert!(stderr.contains("--select: tunes has no such file"), "{stderr}");
}

#[test]
fn the_metadata_alone_is_saved_once() {
    let setup = Setup::new();
    let (mut seeder, address) = setup.seeder(&[]);
    let rest = format!("&tr=udp://127.0.0.1:1/a&ws=http://127.0.0.1:1/&x.pe={address}");
    let link = setup.link(&rest);
    let only = |link: &str, options: &[&str]| {
        let options = [&["--metadata-only"], options].concat();
        setup.download(link, "copy", &options).output().unwrap()
    };
    let output = only(&link, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", code(&output).1);
    let path = setup.scratch.path("copy").join("tunes.torrent");
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", path.display()));
    let shown = rondalla::show(&path);
    assert_eq!(shown["infohash"], *setup.info_hash);
    assert_eq!(shown["trackers"][0][0], "udp://127.0.0.1:1/a");
    assert_eq!(shown["web_seeds"][0], "http://127.0.0.1:1/");
    assert!(!setup.scratch.path("copy").join("tunes").exists(), "nothing else is downloaded");
    seeder.terminate();

    let (status, stderr) = code(&only(&link, &[]));
    assert_eq!(status, Some(6));
    assert!(stderr.contains("tunes.torrent: it exists already; --overwrite"), "{stderr}");
    fs::write(&path, "somebody else's").unwrap();
    let output = only(&link, &["--overwrite", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", code(&output).1);
    let event: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&event["event"], &event["infohash"]),
        (&"finished".into(), &(*setup.info_hash).into())
    );
    assert_eq!(rondalla::show(&path)["infohash"], *setup.info_hash);
}

#[test]
fn a_link_that_finds_nobody_says_what_was_tried() {
    let setup = Setup::new();
    let nobody = free_address([127, 0, 0, 1].into());
    let link = setup.link(&format!("&dn=song&x.pe={nobody}"));
    let output = setup.download(&link, "copy", &["--timeout", "2", "-q"]).output().unwrap();
    let (status, stderr) = code(&output);
    assert_eq!(status, Some(5), "{stderr}");
    let line = stderr.lines().last().unwrap();
    let begin = "rondalla: song: no metadata arrived for 2 s; tried: no ring, ";
    assert!(line.starts_with(begin), "{stderr}");
    assert!(line.contains(&format!("peers {nobody} (")) && line.contains("--peer"), "{stderr}");
}

#[test]
fn what_is_wrong_with_a_link_is_named() {
    let setup = Setup::new();
    let table = [
        ("magnet:?dn=x".to_owned(), "it has no \"xt=urn:btih:\""),
        ("magnet:?xt=urn:btih:abc".to_owned(), "its info-hash is neither 40 hex nor 32 base32"),
        ("magnet:?xt=urn:btmh:1220ab".to_owned(), "it names a v2-only torrent"),
        ("magnet:".to_owned(), "it does not begin with \"magnet:?\""),
        (setup.link("&so=1-"), "its \"so\" is not a list"),
        (setup.link("&tr=tracker"), "its \"tr\" is no URL"),
        (setup.link("&ws=/tmp/x"), "its \"ws\" is no URL"),
        (setup.link("&x.pe=127.0.0.1"), "its \"x.pe\" is no peer's HOST:PORT"),
    ];
    for (link, why) in table {
        let (status, stderr) = code(&setup.download(&link, "copy", &[]).output().unwrap());
        assert_eq!(status, Some(4), "{link}: {stderr}");
        assert!(stderr.contains(&format!("{link}: {why}")), "{stderr}");
    }
}

#[test]
fn links_in_a_watched_folder_are_taken() {
    let setup = Setup::new();
    let (_seeder, address) = setup.seeder(&[]);
    let folder = setup.scratch.folder("folder");
    fs::write(folder.join("it.magnet"), format!("\n{}\n", setup.link(""))).unwrap();
    let mut command = rondalla::command();
    command.args(["download", "--listen", "127.0.0.1:0", "--json"]);
    command.args(["--no-chord", "--no-dht", "--no-lan"]);
    command.arg("--watch").arg(&folder).args(["--peer", &address.to_string()]);
    command.arg("--dir").arg(setup.scratch.path("copy"));
    command.arg("--state").arg(setup.scratch.path("state"));
    let mut running = Running::start(&setup.scratch, "watcher", &mut command);
    running.wait_for_event("finished");
    Tree::of(&setup.source).assert_is_at(&setup.scratch.path("copy"));
    assert_eq!(running.terminate().code(), Some(0), "{}", running.stderr());
}

#[test]
fn whoever_lies_about_metadata_ends_alone_and_the_honest_one_is_heard() {
    let setup = Setup::new();
    let torrent = fs::read(&setup.torrent).unwrap();
    let info = torrent.windows(6).position(|window| window == b"4:info").unwrap() + 6;
    // Nothing stands behind `info` but the end.
    let len = u32::try_from(torrent.len() - 1 - info).unwrap();
    let lies = [
        (Lie::Len(1 << 31), "is longer than 16 MiB"),
        (Lie::Len(len - 1), "it sent metadata that is not the torrent's"),
        (Lie::Garbage, "it sent metadata that is not the torrent's"),
        (Lie::Short, "of metadata has 1 bytes, not"),
        (Lie::Twice, "which nobody asked for"),
        (Lie::Unasked, "which nobody asked for"),
        (Lie::Refusal, "it refuses the metadata that it offered"),
        (Lie::Noise, "its ut_metadata message is not bencoded"),
    ];
    let here = free_address([127, 0, 0, 1].into());
    let mut command =
        setup.download(&setup.info_hash, "copy", &["--json", "--listen", &here.to_string()]);
    let lies =
        (0..).zip(lies).map(|(number, (lie, why))| (liar::start(lie, number, len), lie, why));
    let mut lies: Vec<_> = lies.collect();
    for (address, ..) in &lies {
        command.args(["--peer", &address.to_string()]);
    }
    for idle in [Lie::Silence, Lie::Len(0)] {
        command.args(["--peer", &liar::start(idle, 100, len).to_string()]);
    }
    let mut leecher = Running::start(&setup.scratch, "leecher", &mut command);
    leecher.wait_for("every lie is found out", |leecher| {
        let events = leecher.events();
        lies.retain(|(address, _, why)| {
            !events.iter().any(|event| {
                let reason = event["reason"].as_str().unwrap_or_default();
                event["addr"] == *address.to_string() && reason.contains(why)
            })
        });
        lies.is_empty().then_some(())
    });
    let (_seeder, _) = setup.seeder(&["--peer", &here.to_string(), "--no-chord"]);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    Tree::of(&setup.source).assert_is_at(&setup.scratch.path("copy"));
}
