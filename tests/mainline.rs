//! Processes that meet through Mainline, BitTorrent's public DHT: no peer is named, there is no tracker
//! and no ring. The network is one of their own, on loopback.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, free_address, write_noise};

/// `rondalla seed` or `download` of a torrent, on Mainline alone.
fn share(
    scratch: &Scratch,
    name: &str,
    subcommand: &str,
    torrent: &Path,
    router: SocketAddr,
) -> (Running, SocketAddr) {
    let mut command = rondalla::command();
    command.arg(subcommand).arg(torrent).args(["--listen", "127.0.0.1:0", "--json"]);
    command.args(["--no-chord", "--no-lan", "--no-pex", "--no-trackers"]);
    command.args(["--dht-router", &router.to_string()]);
    command.arg("--dir").arg(scratch.path(name));
    command.arg("--state").arg(scratch.path(&format!("{name}.state")));
    let mut running = Running::start(scratch, name, &mut command);
    let address = listening(&mut running);
    (running, address)
}

/// A torrent of one file, whose data is in the folder `seeder`.
fn tune(scratch: &Scratch, options: &[&str]) -> PathBuf {
    let source = scratch.folder("seeder").join("tune.bin");
    write_noise(&source, 300_000, &mut Noise::new(1));
    let torrent = scratch.path("tune.torrent");
    rondalla::create(&source, &torrent, options);
    torrent
}

fn assert_equal(scratch: &Scratch) {
    let [here, there] = ["leecher", "seeder"].map(|name| scratch.path(name).join("tune.bin"));
    assert!(fs::read(here).unwrap() == fs::read(there).unwrap());
}

fn nobody() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn wait_until_joined(running: &mut Running) {
    let is_joined = |event: &Value| event["event"] == "dht" && event["state"] == "joined";
    running.wait_for("its node has joined", |running| {
        running.events().iter().any(is_joined).then_some(())
    });
}

#[test]
fn a_download_finds_the_seeder_through_mainline_and_remembers_who_was_met() {
    let scratch = Scratch::new();
    let torrent = tune(&scratch, &[]);
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, nobody());
    seeder.wait_for_event("checked");
    // What is no datagram of Mainline, nor of anything, harms nobody.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for garbage in
        [&b""[..], b"d", b"d1:ci1ee", b"d1:y1:qe", &[0xff; 1400], b"BT-SEARCH * HTTP/1.1"]
    {
        stranger.send_to(garbage, at).unwrap();
    }
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, at);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_equal(&scratch);
    let remembered = fs::read_to_string(scratch.path("leecher.state").join("mainline.nodes"));
    assert_eq!(remembered.unwrap(), format!("{at}\n"));
    wait_until_joined(&mut seeder);
    assert_eq!(seeder.terminate().code(), Some(0));
}

#[test]
fn a_private_torrent_is_not_on_mainline() {
    let scratch = Scratch::new();
    let torrent = tune(&scratch, &["--private"]);
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, nobody());
    seeder.wait_for_event("checked");
    let mut download = rondalla::command();
    download.arg("download").arg(&torrent).args(["--listen", "127.0.0.1:0", "--no-chord"]);
    download.args(["--no-lan", "--dht-router", &at.to_string(), "--timeout", "3", "--dir"]);
    download.arg(scratch.folder("leecher")).arg("--state").arg(scratch.path("leecher.state"));
    let output = download.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Some thirty nodes of libtorrent, in one process.
struct Dht {
    process: Running,
    entry: SocketAddr,
}

impl Dht {
    fn start(scratch: &Scratch, torrent: &Path, dir: &Path, role: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/libtorrent_dht.py");
        let first = free_address("127.0.0.1".parse().unwrap());
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).args(["--nodes", "30", "--first", &first.port().to_string()]);
        command.arg("--torrent").arg(torrent).arg("--dir").arg(dir).args(["--role", role]);
        let mut process = Running::start(scratch, "libtorrent", &mut command);
        let ready = process.wait_for_event("ready");
        assert!(ready["nodes"].as_u64().unwrap() >= 30, "{ready}");
        Self { process, entry: first }
    }
}

/// One of the thirty seeds; we find it by the DHT.
#[test]
#[ignore = "needs python3-libtorrent (apt)"]
fn among_thirty_nodes_of_libtorrent_we_find_the_one_that_seeds() {
    let scratch = Scratch::new();
    let torrent = tune(&scratch, &[]);
    let mut dht = Dht::start(&scratch, &torrent, &scratch.path("seeder"), "seeds");
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, dht.entry);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_equal(&scratch);
    dht.process.end_of_input();
}

/// One of the thirty downloads; it finds us by the DHT.
#[test]
#[ignore = "needs python3-libtorrent (apt)"]
fn among_thirty_nodes_of_libtorrent_we_are_found_by_the_one_that_downloads() {
    let scratch = Scratch::new();
    let torrent = tune(&scratch, &[]);
    let mut dht = Dht::start(&scratch, &torrent, &scratch.folder("leecher"), "leeches");
    let (mut seeder, _) = share(&scratch, "seeder", "seed", &torrent, dht.entry);
    wait_until_joined(&mut seeder);
    dht.process.wait_for_event("complete");
    assert_equal(&scratch);
    dht.process.end_of_input();
    assert_eq!(seeder.terminate().code(), Some(0));
}
