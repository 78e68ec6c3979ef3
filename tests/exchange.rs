//! Peers that are met through other peers (BEP 11): nobody names them, and there is neither a tracker
//! nor a network.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::rondalla::{Share, assert_same_tune, listening, tune};
use crate::support::{Running, Scratch, free_address};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn share(
    scratch: &Scratch,
    name: &str,
    subcommand: &str,
    torrent: &Path,
    (peers, options): (&[SocketAddr], &[&str]),
) -> (Running, SocketAddr) {
    let dir = scratch.folder(name);
    let share = Share { torrent, dir: &dir, listen: "127.0.0.1:0", peers, options };
    let mut running = share.start(scratch, name, subcommand);
    let at = listening(&mut running);
    (running, at)
}

fn wait_until_connected(running: &mut Running, at: SocketAddr) {
    let is_there = |event: &Value| event["addr"] == at.to_string();
    wait_until_a_peer(running, &format!("a connection to {at}"), is_there);
}

/// Waits until a connected peer is such a one.
fn wait_until_a_peer(running: &mut Running, what: &str, is_such: impl Fn(&Value) -> bool) {
    running.wait_for(what, |running| {
        let connected = |event: &&Value| event["event"] == "peer" && event["state"] == "connected";
        running.events().iter().filter(connected).any(&is_such).then_some(())
    });
}

/// The middle one has nothing and uploads nothing: all that it can give is a name.
#[test]
fn a_peer_that_only_the_other_knows_is_met() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, (&[], &[]));
    seeder.wait_for_event("checked");
    let (mut middle, named) =
        share(&scratch, "middle", "seed", &torrent, (&[at], &["--no-upload"]));
    wait_until_connected(&mut middle, at);
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, (&[named], &[]));
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_same_tune(&scratch, "leecher");
}

/// Whoever is told of the leecher may dial it, so it is the middle one that must tell nothing.
#[test]
fn who_does_without_it_meets_nobody() {
    for (made, given) in [(&["--private"][..], &[][..]), (&[], &["--no-pex"])] {
        let scratch = Scratch::new();
        let (torrent, _) = tune(&scratch, made);
        let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, (&[], &[]));
        seeder.wait_for_event("checked");
        let (mut middle, named) = share(
            &scratch,
            "middle",
            "seed",
            &torrent,
            (&[at], &[given, &["--no-upload"]].concat()),
        );
        wait_until_connected(&mut middle, at);
        let (mut leecher, _) =
            share(&scratch, "leecher", "download", &torrent, (&[named], &["--timeout", "8"]));
        assert_eq!(leecher.wait_for_exit().code(), Some(5), "{}", leecher.stderr());
    }
}

/// libtorrent, which is dialled and dials nobody unless told to.
fn libtorrent(
    scratch: &Scratch,
    name: &str,
    torrent: &Path,
    dial: Option<SocketAddr>,
) -> (Running, SocketAddr) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/libtorrent_peer.py");
    let listen = free_address(LOOPBACK);
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg("--torrent").arg(torrent).arg("--dir").arg(scratch.folder(name));
    command.args(["--listen", &listen.to_string()]);
    if let Some(peer) = dial {
        command.args(["--dial", &peer.to_string()]);
    }
    let mut process = Running::start(scratch, name, &mut command);
    process.wait_for_event("checked");
    (process, listen)
}

/// rondalla (has nothing) <- libtorrent (has nothing) <- rondalla (uploads nothing): the last one hears
/// of the first. Nobody has anything to give, so all stay.
#[test]
#[ignore = "needs python3-libtorrent (apt)"]
fn a_peer_that_only_libtorrent_knows_reaches_us() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let (mut first, at) = share(&scratch, "first", "download", &torrent, (&[], &[]));
    let (_middle, named) = libtorrent(&scratch, "middle", &torrent, Some(at));
    wait_until_client_is_there(&mut first, "libtorrent");
    let (mut other, _) = share(&scratch, "seeder", "seed", &torrent, (&[named], &["--no-upload"]));
    // Both hear of each other, so either may have dialled the connection that is kept.
    wait_until_client_is_there(&mut other, "rondalla");
    assert_eq!(other.terminate().code(), Some(0));
}

fn wait_until_client_is_there(running: &mut Running, client: &str) {
    let is_such =
        |event: &Value| event["client"].as_str().is_some_and(|theirs| theirs.starts_with(client));
    wait_until_a_peer(running, &format!("{client} is there"), is_such);
}

/// libtorrent (downloads) -> rondalla (uploads nothing) -> rondalla (seeds): libtorrent hears of the
/// last one, and has its file from there.
#[test]
#[ignore = "needs python3-libtorrent (apt)"]
fn a_peer_that_only_we_know_reaches_libtorrent() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, (&[], &[]));
    seeder.wait_for_event("checked");
    let (mut middle, named) =
        share(&scratch, "middle", "seed", &torrent, (&[at], &["--no-upload"]));
    wait_until_connected(&mut middle, at);
    let (mut other, _) = libtorrent(&scratch, "other", &torrent, Some(named));
    other.wait_for_event("complete");
    assert_same_tune(&scratch, "other");
}
