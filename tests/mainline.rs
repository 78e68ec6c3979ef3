//! Processes that meet through Mainline, BitTorrent's public DHT: no peer is named, there is no tracker
//! and no ring. The network is one of their own, on loopback.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::rondalla::{self, assert_same_tune, listening, tune};
use crate::support::{Running, Scratch, free_address, wait_until};

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

fn nobody() -> SocketAddr {
    free_address(Ipv4Addr::LOCALHOST.into())
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
    let (torrent, _) = tune(&scratch, &[]);
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
    assert_same_tune(&scratch, "leecher");
    let remembered = fs::read_to_string(scratch.path("leecher.state").join("mainline.nodes"));
    let id = kept_id(&scratch, "leecher").expect("its node has an id");
    assert_eq!(remembered.unwrap(), format!("ipv4 {id}\n{at}\n"));
    wait_until_joined(&mut seeder);
    assert_eq!(seeder.terminate().code(), Some(0));
}

/// The id that is kept in the state of `name` for the next start.
fn kept_id(scratch: &Scratch, name: &str) -> Option<String> {
    let path = scratch.path(&format!("{name}.state")).join("mainline.nodes");
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix("ipv4 ")).map(str::to_owned)
}

/// The id with which the node at `to` answers a ping (BEP 5).
fn ask_for_id(to: SocketAddr) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let answer = wait_until(|| {
        let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        socket.send_to(ping, to).unwrap();
        let mut buffer = [0; 1500];
        let (len, from) = socket.recv_from(&mut buffer).ok()?;
        (from == to).then(|| buffer[..len].to_vec())
    });
    let answer = answer.expect("the node answers");
    let before = b"1:rd2:id20:";
    let at = answer.windows(before.len()).position(|window| window == before);
    let id = &answer[at.expect("it says its id") + before.len()..][..20];
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_node_has_the_id_of_its_last_start_unless_another_process_has_it() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    scratch.folder("other");
    let (mut other, router) = share(&scratch, "other", "seed", &torrent, nobody());
    other.wait_for_event("checked");
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, router);
    wait_until_joined(&mut seeder);
    let id = ask_for_id(at);
    assert_eq!(seeder.terminate().code(), Some(0));
    assert_eq!(kept_id(&scratch, "seeder"), Some(id.clone()));

    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, router);
    assert_eq!(ask_for_id(at), id);
    // A second process with the same state: no two nodes may have one id.
    let mut second = rondalla::command();
    second.arg("download").arg(&torrent).args(["--listen", "127.0.0.1:0", "--json"]);
    second.args(["--no-chord", "--no-lan", "--no-pex", "--no-trackers", "--timeout", "600"]);
    second.args(["--dht-router", &nobody().to_string(), "--dir"]).arg(scratch.folder("second"));
    second.args(["--seed", "--state"]).arg(scratch.path("seeder.state"));
    let mut second = Running::start(&scratch, "second", &mut second);
    assert_ne!(ask_for_id(listening(&mut second)), id);
    second.kill();
    assert_eq!(seeder.terminate().code(), Some(0));

    // What is no list of nodes is warned of, and begun anew.
    let path = scratch.path("seeder.state").join("mainline.nodes");
    fs::write(&path, format!("ipv4 {id}\nno node\n")).unwrap();
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, router);
    let warning = seeder.wait_for_event("warning")["message"].to_string();
    assert!(warning.contains(&format!("{}: line 2", path.display())), "{warning}");
    wait_until_joined(&mut seeder);
    let new = ask_for_id(at);
    assert_ne!(new, id);
    assert_eq!(seeder.terminate().code(), Some(0));
    assert_eq!(kept_id(&scratch, "seeder"), Some(new));
}

#[test]
fn a_private_torrent_is_not_on_mainline() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &["--private"]);
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
    let (torrent, _) = tune(&scratch, &[]);
    let mut dht = Dht::start(&scratch, &torrent, &scratch.path("seeder"), "seeds");
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, dht.entry);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_same_tune(&scratch, "leecher");
    dht.process.end_of_input();
}

/// One of the thirty downloads; it finds us by the DHT.
#[test]
#[ignore = "needs python3-libtorrent (apt)"]
fn among_thirty_nodes_of_libtorrent_we_are_found_by_the_one_that_downloads() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let mut dht = Dht::start(&scratch, &torrent, &scratch.folder("leecher"), "leeches");
    let (mut seeder, _) = share(&scratch, "seeder", "seed", &torrent, dht.entry);
    wait_until_joined(&mut seeder);
    dht.process.wait_for_event("complete");
    assert_same_tune(&scratch, "leecher");
    dht.process.end_of_input();
    assert_eq!(seeder.terminate().code(), Some(0));
}
