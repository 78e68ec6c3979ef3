//! Rings of whole processes that are killed, moved, left alone and brought together.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::meeting::{ask, json, node, share, start, wait_until_member};
use crate::support::rondalla::{self, assert_same_tune, listening, tune};
use crate::support::{Noise, Running, Scratch, free_address, wait_until, write_noise};

/// The members that a walk meets, if they are one ring.
fn members(scratch: &Scratch, join: SocketAddr) -> Option<Vec<String>> {
    let walk = json(&ask(scratch, &["ring"], join));
    let members = walk["members"].as_array()?.iter();
    let addresses = members.map(|member| member["addr"].as_str().unwrap().to_owned()).collect();
    (walk["consistent"] == true).then_some(addresses)
}

fn wait_for_ring(scratch: &Scratch, join: SocketAddr, count: usize) -> Vec<String> {
    let ring = wait_until(|| members(scratch, join).filter(|members| members.len() == count));
    ring.unwrap_or_else(|| panic!("{join} is in no ring of {count}"))
}

#[test]
fn a_ring_of_three_survives_the_node_that_all_joined_through() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let (mut first, entry) = node(&scratch, "first", None);
    wait_until_member(&mut first);
    let (_second, second_at) = node(&scratch, "second", Some(entry));
    let (mut seeder, _) = share(&scratch, "seeder", "seed", &torrent, Some(entry));
    seeder.wait_for_event("checked");
    wait_for_ring(&scratch, second_at, 3);
    first.kill();
    wait_for_ring(&scratch, second_at, 2);
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, Some(second_at));
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_same_tune(&scratch, "leecher");
}

#[test]
fn a_seeder_that_is_killed_and_starts_elsewhere_is_found_anew() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let (mut first, entry) = node(&scratch, "first", None);
    wait_until_member(&mut first);
    let (mut seeder, _) = share(&scratch, "seeder", "seed", &torrent, Some(entry));
    seeder.wait_for_event("checked");
    let mut download = rondalla::command();
    download.arg("download").arg(&torrent).args(["--listen", "127.0.0.1:0", "--json"]);
    download.args(["--limit-down", "20K", "--dir"]).arg(scratch.path("leecher"));
    download.arg("--state").arg(scratch.path("leecher.state"));
    let (mut leecher, _) = start(&scratch, "leecher", download, Some(entry));
    leecher.wait_for("data arrives", |leecher| {
        let some = |event: &Value| event["event"] == "progress" && event["done"] != 0;
        leecher.events().iter().any(some).then_some(())
    });
    seeder.kill();
    fs::create_dir_all(scratch.path("elsewhere")).unwrap();
    fs::copy(scratch.path("seeder/tune.bin"), scratch.path("elsewhere/tune.bin")).unwrap();
    let (_again, _) = share(&scratch, "elsewhere", "seed", &torrent, Some(entry));
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_same_tune(&scratch, "leecher");
}

#[test]
fn whoever_joins_nobody_warns_and_goes_on_trying() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let nobody = free_address(Ipv4Addr::LOCALHOST.into());
    let (mut alone, at) = node(&scratch, "alone", Some(nobody));
    let (mut leecher, _) = share(&scratch, "leecher", "download", &torrent, Some(nobody));
    for running in [&mut alone, &mut leecher] {
        let warning = running.wait_for_event("warning");
        let message = warning["message"].as_str().unwrap();
        assert!(message.starts_with("the ring: no node answers yet"), "{message}");
    }
    // Now somebody is there.
    let mut seed = rondalla::command();
    seed.arg("seed").arg(&torrent).args(["--listen", &nobody.to_string(), "--json"]);
    seed.arg("--dir").arg(scratch.path("seeder"));
    seed.arg("--state").arg(scratch.path("seeder.state"));
    let (_seeder, _) = start(&scratch, "seeder", seed, None);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    wait_for_ring(&scratch, at, 2);
}

#[test]
fn nodes_that_were_met_before_are_a_way_back() {
    let scratch = Scratch::new();
    let (mut first, entry) = node(&scratch, "first", None);
    wait_until_member(&mut first);
    let (mut second, _) = node(&scratch, "second", Some(entry));
    wait_for_ring(&scratch, entry, 2);
    assert_eq!(second.terminate().code(), Some(0));
    wait_for_ring(&scratch, entry, 1);
    let (_second, _) = node(&scratch, "second", None);
    wait_for_ring(&scratch, entry, 2);
}

#[test]
fn a_peer_is_a_way_into_its_ring() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let (mut seeder, at) = share(&scratch, "seeder", "seed", &torrent, None);
    seeder.wait_for_event("checked");
    let mut download = rondalla::command();
    download.arg("download").arg(&torrent).args(["--listen", "127.0.0.1:0", "--json", "--seed"]);
    download.arg("--dir").arg(scratch.path("leecher")).args(["--peer", &at.to_string()]);
    download.arg("--state").arg(scratch.path("leecher.state"));
    let (mut leecher, _) = start(&scratch, "leecher", download, None);
    leecher.wait_for_event("finished");
    wait_for_ring(&scratch, at, 2);
}

#[test]
fn a_host_with_both_families_is_on_both_rings() {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("there is no IPv6 here");
        return;
    }
    let scratch = Scratch::new();
    let (torrent, info_hash) = tune(&scratch, &[]);
    let mut both = rondalla::command();
    both.args(["node", "--listen", ":0", "--json", "--state"]).arg(scratch.path("first.state"));
    let mut first = Running::start(&scratch, "first", &mut both);
    let port = listening(&mut first).port();
    let (v4, v6) = (SocketAddr::from(([127, 0, 0, 1], port)), format!("[::1]:{port}"));
    let v6: SocketAddr = v6.parse().unwrap();
    let mut seed = rondalla::command();
    seed.arg("seed").arg(&torrent).args(["--listen", ":0", "--json", "--join", &v4.to_string()]);
    seed.arg("--dir").arg(scratch.path("seeder")).arg("--state").arg(scratch.path("seeder.state"));
    let (mut seeder, _) = start(&scratch, "seeder", seed, Some(v6));
    seeder.wait_for_event("checked");
    for join in [v4, v6] {
        let ring = wait_for_ring(&scratch, join, 2);
        assert!(ring.contains(&join.to_string()), "{ring:?}");
        let found = wait_until(|| {
            let found = json(&ask(&scratch, &["lookup", &info_hash], join));
            let addr: SocketAddr = found["peers"][0]["addr"].as_str()?.parse().unwrap();
            (addr.is_ipv6() == join.is_ipv6()).then_some(())
        });
        assert!(found.is_some(), "nobody is found through {join}");
    }
    let (mut leecher, _) = share_v6(&scratch, &torrent, v6);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_same_tune(&scratch, "leecher");
}

fn share_v6(scratch: &Scratch, torrent: &Path, join: SocketAddr) -> (Running, SocketAddr) {
    let mut download = rondalla::command();
    download.arg("download").arg(torrent).args(["--listen", "[::1]:0", "--json", "--dir"]);
    download.arg(scratch.path("leecher")).arg("--state").arg(scratch.path("leecher.state"));
    start(scratch, "leecher", download, Some(join))
}

/// So many processes share a torrent each, and the ring's time passes `rate` times as fast. A third
/// of them is killed; the others are found; a quarter of an hour of the ring's time later nobody dead
/// is named any longer.
#[expect(clippy::disallowed_methods, reason = "real time has to pass")]
fn kill_a_third(n: usize, rate: u32, until_forgotten: bool) {
    let scratch = Scratch::new();
    let mut sharers: Vec<(Running, SocketAddr, String)> = Vec::new();
    for at in 0..n {
        let name = format!("sharer-{at}");
        let source = scratch.folder(&name).join("tune.bin");
        write_noise(&source, 20_000, &mut Noise::new(at as u64));
        let torrent = scratch.path(&format!("{name}.torrent"));
        let made = rondalla::create(&source, &torrent, &[]);
        let mut seed = rondalla::command();
        seed.arg("seed").arg(&torrent).args(["--listen", "127.0.0.1:0", "--json"]);
        seed.args(["--clock-rate", &rate.to_string(), "--dir"]).arg(scratch.path(&name));
        seed.arg("--state").arg(scratch.path(&format!("{name}.state")));
        let known = sharers.first().map(|(_, address, _)| *address);
        let (mut running, address) = start(&scratch, &name, seed, known);
        running.wait_for_event("checked");
        wait_until_member(&mut running);
        sharers.push((running, address, made["infohash"].as_str().unwrap().to_owned()));
    }
    wait_for_ring(&scratch, sharers[n - 1].1, n);
    let asker = sharers[n - 1].1;
    let is_named = |info_hash: &str, address: SocketAddr| {
        let found = json(&ask(&scratch, &["lookup", info_hash], asker));
        let peers = found["peers"].as_array().unwrap();
        peers.iter().any(|peer| peer["addr"] == address.to_string())
    };
    for (_, address, info_hash) in &sharers {
        let found = wait_until(|| is_named(info_hash, *address).then_some(()));
        assert!(found.is_some(), "{address} is not found before anybody is killed");
    }
    let killed = Instant::now();
    let alive = sharers.split_off(n / 3);
    let dead = std::mem::replace(&mut sharers, alive).into_iter();
    let dead: Vec<_> = dead.map(|(mut it, at, hash)| (it.kill(), at, hash)).collect();
    for (_, address, info_hash) in &sharers {
        let found = wait_until(|| is_named(info_hash, *address).then_some(()));
        assert!(found.is_some(), "{address} lives and is not found");
    }
    wait_for_ring(&scratch, asker, n - n / 3);
    if !until_forgotten {
        return;
    }
    let over =
        wait_until(|| (killed.elapsed() > Duration::from_secs(15 * 60) / rate).then_some(()));
    over.expect("the rate is such that it is not long");
    for (_, address, info_hash) in &dead {
        assert!(!is_named(info_hash, *address), "{address} is dead and is named");
    }
    for (_, address, info_hash) in &sharers {
        assert!(is_named(info_hash, *address), "{address} lives and is not named at the end");
    }
}

#[test]
fn of_six_processes_two_are_killed_and_the_others_are_found() {
    kill_a_third(6, 1, false);
}

#[test]
#[ignore = "needs two minutes"]
fn of_twenty_processes_a_third_is_killed_and_the_others_are_found() {
    kill_a_third(20, 10, true);
}
