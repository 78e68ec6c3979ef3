//! Processes that meet through trackers alone: `rondalla tracker`, and some that do not behave.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::bounded;
use serde_json::Value;

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, wait_until, write_noise};

/// A tracker of our own, on loopback.
pub(crate) fn tracker(scratch: &Scratch) -> (Running, SocketAddr) {
    let mut command = rondalla::command();
    command.args(["tracker", "--listen", "127.0.0.1:0", "--json"]);
    let mut tracker = Running::start(scratch, "tracker", &mut command);
    let address = listening(&mut tracker);
    (tracker, address)
}

/// `rondalla seed` or `download` of torrents, met by trackers only.
fn share(scratch: &Scratch, name: &str, arguments: &[&str], torrents: &[PathBuf]) -> Running {
    let mut command = rondalla::command();
    command.args(arguments).args(torrents);
    command.args(["--listen", "127.0.0.1:0", "--json"]);
    command.args(["--no-chord", "--no-lan", "--no-dht", "--no-pex"]);
    command.arg("--dir").arg(scratch.folder(name));
    command.arg("--state").arg(scratch.path(&format!("{name}.state")));
    Running::start(scratch, name, &mut command)
}

/// A torrent of one file, whose data is in the folder `seeder`.
fn tune(scratch: &Scratch, name: &str, options: &[&str]) -> PathBuf {
    let source = scratch.folder("seeder").join(name);
    write_noise(&source, 300_000, &mut Noise::new(1));
    let torrent = scratch.path(&format!("{name}.torrent"));
    rondalla::create(&source, &torrent, options);
    torrent
}

/// What `/stats` of a tracker says.
fn stats(tracker: SocketAddr) -> Value {
    let mut stream = TcpStream::connect(tracker).unwrap();
    stream.write_all(b"GET /stats HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer.split("\r\n\r\n").nth(1).expect("a head and a body");
    serde_json::from_str(body).unwrap()
}

fn meets_through(scheme: &str, options: &[&str]) {
    let scratch = Scratch::new();
    let (mut tracker, at) = tracker(&scratch);
    let url = format!("{scheme}://{at}/announce");
    let named = [&["--tracker", &url], options].concat();
    let torrent = tune(&scratch, "tune.bin", &named);
    let mut seeder = share(&scratch, "seeder", &["seed"], std::slice::from_ref(&torrent));
    let told = seeder.wait_for_event("tracker");
    assert_eq!(told["state"], "announced", "{told}");
    let mut leecher = share(&scratch, "leecher", &["download"], &[torrent]);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    let [here, there] = ["leecher", "seeder"].map(|name| scratch.path(name).join("tune.bin"));
    assert!(fs::read(here).unwrap() == fs::read(there).unwrap());
    // The leecher has said goodbye.
    let left = wait_until(|| (stats(at)["peers"] == 1).then_some(stats(at))).expect("one is left");
    assert_eq!((&left["torrents"], &left["seeders"]), (&1.into(), &1.into()), "{left}");
    assert_eq!(seeder.terminate().code(), Some(0));
    let none = wait_until(|| (stats(at)["peers"] == 0).then_some(()));
    assert!(none.is_some(), "the seeder says goodbye: {}", stats(at));
    assert_eq!(tracker.terminate().code(), Some(0));
}

#[test]
fn a_download_finds_the_seeder_through_an_http_tracker() {
    meets_through("http", &[]);
}

#[test]
fn a_download_finds_the_seeder_through_a_udp_tracker() {
    meets_through("udp", &[]);
}

#[test]
fn a_private_torrent_is_met_through_its_tracker() {
    meets_through("http", &["--private"]);
}

#[test]
fn a_link_that_names_a_tracker_alone_is_enough() {
    let scratch = Scratch::new();
    let (_tracker, at) = tracker(&scratch);
    let torrent = tune(&scratch, "tune.bin", &["--tracker", &format!("http://{at}/announce")]);
    let mut seeder = share(&scratch, "seeder", &["seed"], std::slice::from_ref(&torrent));
    seeder.wait_for_event("tracker");
    let shown = rondalla::command().args(["show", "--json"]).arg(&torrent).output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let link = shown["magnet"].as_str().expect("a link");
    assert!(link.contains("&tr=") && !link.contains("x.pe="), "{link}");
    let mut leecher = share(&scratch, "leecher", &["download", link], &[]);
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    let [here, there] = ["leecher", "seeder"].map(|name| scratch.path(name).join("tune.bin"));
    assert!(fs::read(here).unwrap() == fs::read(there).unwrap());
}

#[test]
fn a_tracker_may_be_named_beside_the_torrents_own_or_not_at_all() {
    let scratch = Scratch::new();
    let (_tracker, at) = tracker(&scratch);
    let torrent = [tune(&scratch, "tune.bin", &[])];
    let url = format!("http://{at}/announce");
    let mut seeder = share(&scratch, "seeder", &["seed", "--tracker", &url], &torrent);
    seeder.wait_for_event("tracker");
    assert_eq!(stats(at)["seeders"], 1);
    let without = ["download", "--no-trackers", "--tracker", &url, "--timeout", "1"];
    let mut leecher = share(&scratch, "leecher", &without, &torrent);
    assert_eq!(leecher.wait_for_exit().code(), Some(5));
    assert_eq!(stats(at)["announces"], 1);
}

#[test]
fn a_tracker_that_refuses_is_told_of_and_scrapes_are_shown() {
    let scratch = Scratch::new();
    let (_tracker, at) = tracker(&scratch);
    let url = format!("http://{at}/announce");
    let torrent = tune(&scratch, "tune.bin", &["--tracker", &url]);
    let gone = format!("http://{at}/elsewhere");
    let options = ["seed", "--tracker", &gone];
    let mut seeder = share(&scratch, "seeder", &options, std::slice::from_ref(&torrent));
    let warning = seeder.wait_for_event("warning");
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("/elsewhere") && message.contains("404"), "{message}");
    wait_until(|| (stats(at)["seeders"] == 1).then_some(())).expect("the seeder announces");
    let mut show = rondalla::command();
    let shown = show.arg("show").arg("--scrape").arg(&torrent).arg("--json").output().unwrap();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["scrape"][0]["url"], url.as_str(), "{shown}");
    assert_eq!(shown["scrape"][0]["seeders"], 1, "{shown}");
}

/// A tracker that takes connections and never answers, until the process ends.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let accept = move || {
        let mut held = Vec::new();
        held.extend(listener.incoming());
    };
    Builder::new().name("silent".into()).spawn(accept).unwrap();
    address
}

/// What is shared where many are.
const TORRENTS: usize = 100;

/// A tracker that answers each announce when half a minute is over.
fn slow() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = bounded(4 * TORRENTS);
    let accept = move || {
        for stream in listener.incoming().flatten() {
            let when = crossbeam_channel::after(Duration::from_secs(30));
            if sender.try_send((when, stream)).is_err() {
                return;
            }
        }
    };
    let answer = move || {
        for (when, mut stream) in asked {
            when.recv().unwrap();
            let body = "d8:intervali1800e5:peers0:e";
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            // Whoever asked may be gone.
            let mut question = [0; 4096];
            if stream.read(&mut question).is_ok_and(|len| len > 0) {
                stream.write_all((head + body).as_bytes()).ok();
            }
        }
    };
    Builder::new().name("slow".into()).spawn(accept).unwrap();
    Builder::new().name("slow answers".into()).spawn(answer).unwrap();
    address
}

/// The threads of a process that have to do with trackers.
fn tracker_threads(id: u32) -> usize {
    let tasks = Path::new("/proc").join(id.to_string()).join("task");
    let names = fs::read_dir(tasks).unwrap().filter_map(|task| {
        let name = fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        Some(name.trim_end().to_owned())
    });
    names.filter(|name| name == "crier" || name.starts_with("tracker-")).count()
}

/// One of the trackers refuses connections, one never answers, and one is good: in one tier, and each
/// in its own.
#[test]
fn a_hundred_torrents_announce_whatever_their_other_trackers_do() {
    let scratch = Scratch::new();
    let (_tracker, good) = tracker(&scratch);
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let [dead, silent, good_url] =
        [dead, silent(), good].map(|address| format!("http://{address}/announce"));
    let tier = format!("{dead},{silent},{good_url}");
    let torrents: Vec<PathBuf> = (0..TORRENTS)
        .map(|n| {
            let tiers = ["--tracker", &dead, "--tracker", &silent, "--tracker", &good_url];
            let tiers = if n % 2 == 0 { &tiers[..] } else { &["--tracker", &tier] };
            tune(&scratch, &format!("tune {n}.bin"), tiers)
        })
        .collect();
    let mut seeder = share(&scratch, "seeder", &["seed"], &torrents);
    let mut most = 0;
    let all = wait_until(|| {
        most = most.max(tracker_threads(seeder.id()));
        (stats(good)["torrents"] == TORRENTS).then_some(())
    });
    assert!(all.is_some(), "{}", stats(good));
    assert!((2..=32).contains(&most), "{most} threads");
    // A process that does not end in time is ended with another code.
    assert_eq!(seeder.terminate().code(), Some(0), "{}", seeder.stderr());
}

/// One of the trackers takes connections and never answers, one answers after half a minute, and one
/// is good: half of the torrents have them in one tier, half each in its own.
#[test]
#[ignore = "needs half a minute, in which a tracker does not answer"]
fn a_hundred_torrents_announce_beside_a_dead_tracker_and_a_slow_one() {
    let scratch = Scratch::new();
    let (_tracker, good) = tracker(&scratch);
    let [dead, slow, good_url] =
        [silent(), slow(), good].map(|address| format!("http://{address}/announce"));
    let tier = format!("{dead},{slow},{good_url}");
    let torrents: Vec<PathBuf> = (0..TORRENTS)
        .map(|n| {
            let tiers = ["--tracker", &dead, "--tracker", &slow, "--tracker", &good_url];
            let tiers = if n % 2 == 0 { &tiers[..] } else { &["--tracker", &tier] };
            tune(&scratch, &format!("tune {n}.bin"), tiers)
        })
        .collect();
    let mut seeder = share(&scratch, "seeder", &["seed"], &torrents);
    let mut most = 0;
    let mut look = |seeder: &Running| most = most.max(tracker_threads(seeder.id()));
    seeder.wait_for("the good tracker knows a hundred torrents", |seeder| {
        look(seeder);
        (stats(good)["torrents"] == TORRENTS).then_some(())
    });
    seeder.wait_for("the slow tracker has answered", |seeder| {
        look(seeder);
        let is_it = |event: &Value| event["url"] == slow.as_str() && event["state"] == "announced";
        seeder.events().iter().any(is_it).then_some(())
    });
    assert!((2..=32).contains(&most), "{most} threads");
    // Dead and slow ones are being waited for; a process that does not end within five seconds ends with
    // another code.
    assert!(tracker_threads(seeder.id()) > 1);
    assert_eq!(seeder.interrupt().code(), Some(0), "{}", seeder.stderr());
}
