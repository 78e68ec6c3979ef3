//! The program over a long time, at large sizes and among bad company: real processes, real
//! sockets, real disks. What is asserted are bytes, counts, exit codes and what `/proc` tells;
//! never how long something took.
//!
//! Each test has a short default that CI affords. The variable that makes it longer stands in its
//! documentation; `cargo test --release -- --ignored endurance` runs them all. What a test
//! measures it prints: add `--nocapture`.

/// Peers that send garbage, stop in the middle, or never read.
mod company;

/// As many peers as a process can have, and many processes among themselves.
mod crowd;

/// Peers that are threads of the test.
mod fakes;

/// What Linux tells of a process.
mod figures;

/// Long runs: peers that come and go, and nobody who comes.
mod hours;

/// Torrents that are large, or have many pieces or files, and many torrents.
mod sizes;

/// A disk that stands still, and a peer that never reads, in the middle of others.
mod stalls;

/// Processes that are killed, or asked to end, at any moment.
mod kills;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ::rondalla::formats::metainfo::Metainfo;

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, number, write_noise};

const MIB: u64 = 1024 * 1024;

/// The number in the environment variable `name`.
fn setting(name: &str, default: u64) -> u64 {
    number(name).unwrap_or(default)
}

/// A seed of chance, printed: `SEED` sets it again.
fn noise() -> Noise {
    let seed = setting("SEED", u64::from(std::process::id()));
    println!("SEED={seed}");
    Noise::new(seed)
}

#[expect(clippy::disallowed_methods, reason = "another process is given its time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "another process is given its time")]
fn now() -> Instant {
    Instant::now()
}

/// A number from `range`, about as likely as each other.
fn between(noise: &mut Noise, range: std::ops::Range<u64>) -> u64 {
    range.start + noise.number() % (range.end - range.start)
}

/// Where whoever may have any port listens.
const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// `rondalla SUBCOMMAND` of `torrents` that dials `peers`. Its state is beside the folder `dir`.
fn command(
    subcommand: &str,
    listen: SocketAddr,
    torrents: &[&Path],
    dir: &Path,
    peers: &[SocketAddr],
) -> Command {
    let mut command = rondalla::command();
    command.arg(subcommand).args(torrents).args(["--listen", &listen.to_string(), "--json"]);
    command
        .args(["--no-chord", "--no-dht", "--no-lan", "--state"])
        .arg(dir.with_extension("state"));
    for peer in peers {
        command.args(["--peer", &peer.to_string()]);
    }
    command
}

/// Made-up data, its torrent, and a process that seeds it.
struct Seeded {
    scratch: Scratch,
    /// The folder that has the data in it.
    source: PathBuf,
    torrent: PathBuf,
    metainfo: Metainfo,
    seeder: Running,
    address: SocketAddr,
}

impl Seeded {
    /// Seeds what `make` makes: the file or folder at the path that it is given.
    fn new(make: impl FnOnce(&Path), piece_len: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        make(&source.join("it"));
        let torrent = scratch.path("it.torrent");
        rondalla::create(&source.join("it"), &torrent, &["--piece-length", piece_len, "--no-date"]);
        let metainfo = Metainfo::parse(&fs::read(&torrent).unwrap()).unwrap();
        let state = scratch.path("seeder");
        let mut seed = command("seed", ANYWHERE, &[&torrent], &state, &[]);
        seed.arg("--dir").arg(&source).args(options);
        let mut seeder = Running::start(&scratch, "seeder", &mut seed);
        let address = listening(&mut seeder);
        seeder.wait_for_event("checked");
        Self { scratch, source, torrent, metainfo, seeder, address }
    }

    /// Starts the seeder once more, after it has ended, at its address.
    fn seed_again(&mut self) {
        let state = self.scratch.path("seeder");
        let mut seed = command("seed", self.address, &[&self.torrent], &state, &[]);
        seed.arg("--dir").arg(&self.source);
        self.seeder = Running::start(&self.scratch, "seeder", &mut seed);
        self.seeder.wait_for_event("checked");
    }

    /// Starts a download into the folder `name` from the seeder and `peers`.
    fn download(&self, name: &str, peers: &[SocketAddr], options: &[&str]) -> Running {
        let mut download = self.download_command(name, peers);
        Running::start(&self.scratch, name, download.args(options))
    }

    fn download_command(&self, name: &str, peers: &[SocketAddr]) -> Command {
        let peers = [&[self.address], peers].concat();
        let dir = self.scratch.path(name);
        let mut download = command("download", ANYWHERE, &[&self.torrent], &dir, &peers);
        download.arg("--dir").arg(&dir);
        download
    }

    /// Panics unless the folder `name` holds the data and nothing else.
    fn assert_is_at(&self, name: &str) {
        Tree::of(&self.source).assert_is_at(&self.scratch.path(name));
    }
}

/// A folder of `files` files of odd sizes, of which some are empty and some nested, `len` bytes in
/// all.
fn write_odd_files(root: &Path, files: u64, len: u64, noise: &mut Noise) {
    let mut left = len;
    for file in 0..files {
        let mean = left / (files - file);
        let len = match noise.number() % 8 {
            0 => 0,
            1 => between(noise, 0..100),
            _ => between(noise, 0..2 * mean + 1),
        };
        let len = if file + 1 == files { left } else { len.min(left) };
        let folder = root.join(format!("{}", file % 7)).join(format!("{}", file % 3));
        write_noise(&folder.join(format!("file-{file}")), len, noise);
        left -= len;
    }
}
