//! Processes that meet through the ring: no peer is named, and there is no tracker.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::rondalla::{self, assert_same_tune, listening, tune};
use crate::support::{Running, Scratch, wait_until};

/// A node of the ring that runs alone.
pub(crate) fn node(
    scratch: &Scratch,
    name: &str,
    join: Option<SocketAddr>,
) -> (Running, SocketAddr) {
    let mut command = rondalla::command();
    command.args(["node", "--listen", "127.0.0.1:0", "--json"]);
    command.arg("--state").arg(scratch.path(&format!("{name}.state")));
    start(scratch, name, command, join)
}

/// `rondalla seed` or `download` of a torrent, on the ring.
pub(crate) fn share(
    scratch: &Scratch,
    name: &str,
    subcommand: &str,
    torrent: &Path,
    join: Option<SocketAddr>,
) -> (Running, SocketAddr) {
    let mut command = rondalla::command();
    command.arg(subcommand).arg(torrent).args(["--listen", "127.0.0.1:0", "--json"]);
    command.arg("--dir").arg(scratch.path(name));
    command.arg("--state").arg(scratch.path(&format!("{name}.state")));
    start(scratch, name, command, join)
}

pub(crate) fn start(
    scratch: &Scratch,
    name: &str,
    mut command: Command,
    join: Option<SocketAddr>,
) -> (Running, SocketAddr) {
    if let Some(join) = join {
        command.args(["--join", &join.to_string()]);
    }
    // In the local network it would meet the rings of tests that run at the same time.
    command.args(["--no-dht", "--no-lan"]);
    let mut running = Running::start(scratch, name, &mut command);
    let address = listening(&mut running);
    (running, address)
}

pub(crate) fn wait_until_member(running: &mut Running) {
    running.wait_for("it is a member", |running| {
        let is_member = |event: &Value| event["event"] == "ring" && event["state"] == "member";
        running.events().iter().any(is_member).then_some(())
    });
}

/// What `lookup` or `ring` says, asked through `join`.
pub(crate) fn ask(scratch: &Scratch, arguments: &[&str], join: SocketAddr) -> Output {
    let mut command = rondalla::command();
    command.args(arguments).args(["--json", "--join", &join.to_string()]);
    command.arg("--state").arg(scratch.path("asker.state"));
    command.output().unwrap()
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    })
}

/// What was answered, if the command succeeded: on a busy machine it may not the first time.
fn answer(output: &Output) -> Option<Value> {
    output.status.success().then(|| json(output))
}

#[test]
fn a_download_finds_the_seeder_through_the_ring() {
    let scratch = Scratch::new();
    let (torrent, info_hash) = tune(&scratch, &[]);
    let (mut first, entry) = node(&scratch, "first", None);
    wait_until_member(&mut first);
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, Some(entry));
    seeder.wait_for_event("checked");
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, Some(entry));
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_same_tune(&scratch, "leecher");

    let found = wait_until(|| {
        let found = answer(&ask(&scratch, &["lookup", &info_hash], entry))?;
        let peers = found["peers"].as_array()?.clone();
        peers.iter().any(|peer| peer["addr"] == at.to_string()).then_some(found)
    });
    let found = found.expect("the seeder is found by lookup");
    assert_eq!(found["infohash"], info_hash.as_str());
    assert!(found["hops"].as_u64().unwrap() > 0, "{found}");

    let svg = scratch.path("ring.svg");
    let walk = wait_until(|| {
        let walk = answer(&ask(&scratch, &["ring", "--svg", svg.to_str()?], entry))?;
        let members = walk["members"].as_array()?;
        let is_there = |addr: SocketAddr| members.iter().any(|m| m["addr"] == addr.to_string());
        (is_there(entry) && is_there(at)).then_some(())
    });
    assert!(walk.is_some(), "the members are not found");
    assert!(fs::read_to_string(svg).unwrap().contains(&entry.to_string()));
}

#[test]
fn the_torrent_itself_names_a_way_into_the_ring() {
    let scratch = Scratch::new();
    let (mut first, entry) = node(&scratch, "first", None);
    wait_until_member(&mut first);
    let (torrent, _) = tune(&scratch, &["--node", &entry.to_string()]);
    let (mut seeder, _) = share(&scratch, "seeder", "seed", &torrent, None);
    seeder.wait_for_event("checked");
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, None);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
}

#[test]
fn a_private_torrent_is_not_on_the_ring() {
    let scratch = Scratch::new();
    let (torrent, info_hash) = tune(&scratch, &["--private"]);
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, None);
    seeder.wait_for_event("checked");
    wait_until_member(&mut seeder);
    let output = ask(&scratch, &["lookup", &info_hash], at);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(json(&output)["peers"], Value::Array(Vec::new()));
}

#[test]
fn who_asks_nobody_is_told_so() {
    let scratch = Scratch::new();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = nobody.local_addr().unwrap();
    let info_hash = "0123456789abcdef0123456789abcdef01234567";
    for arguments in [&["lookup", info_hash, "--timeout", "1"][..], &["ring", "--timeout", "1"]] {
        let output = ask(&scratch, arguments, nobody);
        assert_eq!(output.status.code(), Some(5), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with(&format!("rondalla: --join {nobody}: no node answered")),
            "{said}"
        );
    }
}

#[test]
fn a_magnet_link_finds_its_metadata_through_the_ring() {
    let scratch = Scratch::new();
    let (torrent, info_hash) = tune(&scratch, &[]);
    let (_node, join) = node(&scratch, "node", None);
    let (mut seeder, _) = share(&scratch, "seeder", "seed", &torrent, Some(join));
    wait_until_member(&mut seeder);
    let link = PathBuf::from(format!("magnet:?xt=urn:btih:{info_hash}"));
    let (mut leecher, _) = share(&scratch, "leecher", "download", &link, Some(join));
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    let [here, there] = ["leecher", "seeder"].map(|name| scratch.path(name).join("tune.bin"));
    assert_eq!(fs::read(here).unwrap(), fs::read(there).unwrap());
}
