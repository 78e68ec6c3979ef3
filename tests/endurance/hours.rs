//! Long runs: peers that come and go, and nobody who comes.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{MIB, Seeded, between, figures, noise, now, pause, setting, write_odd_files};
use crate::support::{Noise, Running, Scratch, free_address, rondalla, wait_until, write_noise};

/// Downloads that run at once beside the two processes that stay.
const GUESTS: usize = 4;

/// In less than an hour the allocator is still warming: it has up to eight arenas on two cores, of
/// some 300 kB each here, and takes them into use one by one.
const WARMING_KB: u64 = 2_400;

/// What is told of a process once a second.
struct Diary {
    name: &'static str,
    id: u32,
    /// Threads and open files before the first guest came.
    threads: u64,
    files: u64,
    memory_kb: Vec<u64>,
}

impl Diary {
    fn begin(name: &'static str, process: &Running) -> Self {
        let id = process.id();
        let (threads, files) = (figures::threads(id), figures::open_files(id));
        Self { name, id, threads, files, memory_kb: Vec::new() }
    }

    fn note(&mut self) {
        self.memory_kb.push(figures::memory_kb(self.id));
    }

    /// The means of a part of the time, from one share of 30 to another.
    fn mean_kb(&self, from: usize, to: usize) -> u64 {
        let count = self.memory_kb.len();
        let part = &self.memory_kb[count * from / 30..count * to / 30];
        part.iter().sum::<u64>() / part.len() as u64
    }

    /// Panics if the process has grown, once warm, or holds on to what its guests had.
    fn assert_has_not_grown(&self) {
        let means: Vec<u64> = (0..30).map(|part| self.mean_kb(part, part + 1)).collect();
        println!("{}: kB in each thirtieth of the time: {means:?}", self.name);
        let (first, last) = (self.mean_kb(5, 10), self.mean_kb(25, 30));
        let spare = if setting("MINUTES", 1) >= 60 { 0 } else { WARMING_KB };
        assert!(
            last * 100 <= first * 105 + spare * 100,
            "{} grew from {first} to {last} kB",
            self.name
        );
        let at_rest = wait_until(|| {
            let rest = (figures::threads(self.id), figures::open_files(self.id));
            (rest.0 <= self.threads && rest.1 <= self.files).then_some(())
        });
        assert!(at_rest.is_some(), "{} keeps threads or files of who is gone", self.name);
    }
}

/// A download that comes, and goes before or after it is complete.
struct Guest {
    name: String,
    process: Running,
    leaves_at: Instant,
    rudely: bool,
}

impl Guest {
    fn arrive(seeded: &Seeded, name: String, steady: SocketAddr, noise: &mut Noise) -> Self {
        let rate = (between(noise, 1..32) * MIB).to_string();
        let seed = ["--seed"];
        let stays: &[&str] = if noise.number().is_multiple_of(2) { &seed } else { &[] };
        let options = [&["--limit-down", &rate][..], stays].concat();
        let process = seeded.download(&name, &[steady], &options);
        let leaves_at = now() + Duration::from_millis(between(noise, 0..6_000));
        Self { name, process, leaves_at, rudely: noise.number().is_multiple_of(2) }
    }

    /// Whether it is gone by now.
    fn is_gone(&mut self, seeded: &Seeded) -> bool {
        if self.process.is_running() {
            if now() < self.leaves_at {
                return false;
            }
            if self.rudely {
                self.process.kill();
            } else {
                self.process.terminate();
            }
        } else {
            assert!(self.process.wait_for_exit().success(), "{}", self.process.stderr());
            seeded.assert_is_at(&self.name);
        }
        for folder in [&self.name, &format!("{}.state", self.name)] {
            match fs::remove_dir_all(seeded.scratch.path(folder)) {
                // It left before it had made it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.unwrap(),
            }
        }
        true
    }
}

/// `MINUTES` (60 in full, 1 by default) of downloads that come and go, at a seeder and at one who
/// has downloaded and stays: after a sixth of the time neither grows any more.
#[test]
#[ignore = "needs a minute"]
fn peers_that_come_and_go_leave_nothing_behind() {
    let mut noise = noise();
    let make = |path: &Path| write_odd_files(path, 40, 24 * MIB, &mut noise);
    let seeded = Seeded::new(make, "32K", &["-q"]);
    let mut steady = seeded.download("steady", &[], &["-q", "--seed"]);
    let seat = rondalla::listening(&mut steady);
    steady.wait_for_event("finished");
    let mut diaries = [Diary::begin("seeder", &seeded.seeder), Diary::begin("steady", &steady)];

    let start = now();
    let end = start + Duration::from_secs(60 * setting("MINUTES", 1));
    let (mut guests, mut came) = (Vec::<Guest>::new(), 0);
    let mut note_at = start;
    while now() < end {
        pause(Duration::from_millis(100));
        guests.retain_mut(|guest| !guest.is_gone(&seeded));
        if guests.len() < GUESTS {
            came += 1;
            let mut names = (0..=GUESTS).map(|number| format!("guest-{number}"));
            let is_free = |name: &String| guests.iter().all(|guest| guest.name != *name);
            let name = names.find(is_free).expect("one more than guests");
            guests.push(Guest::arrive(&seeded, name, seat, &mut noise));
        }
        if now() >= note_at {
            note_at += Duration::from_secs(1);
            diaries.iter_mut().for_each(Diary::note);
        }
    }
    drop(guests);
    println!("{came} guests came and went");
    diaries.iter().for_each(Diary::assert_has_not_grown);
    assert!(steady.terminate().success(), "{}", steady.stderr());
    seeded.assert_is_at("steady");
}

/// Two processes that are connected and on a ring, and have nothing to give each other, read and
/// write no file, for `IDLE` seconds (600 in full, 60 by default).
#[test]
#[ignore = "needs two minutes"]
fn whoever_is_idle_touches_no_disk() {
    let (scratch, mut noise) = (Scratch::new(), noise());
    let source = scratch.folder("source");
    write_noise(&source.join("it/here"), 8 * MIB, &mut noise);
    write_noise(&source.join("it/missing"), 8 * MIB, &mut noise);
    let torrent = scratch.path("it.torrent");
    rondalla::create(&source.join("it"), &torrent, &[]);
    fs::remove_file(source.join("it/missing")).unwrap();
    let address = free_address(IpAddr::from([127, 0, 0, 1])).to_string();
    let start = |subcommand: &str, name: &str, network: [&str; 2]| {
        // Not `--json`: its progress is written once a second.
        let mut command = rondalla::command();
        command.arg(subcommand).arg(&torrent).arg("-q").args(network);
        command.args(["--no-dht", "--no-lan"]);
        command.arg("--dir").arg(scratch.folder(name));
        command.arg("--state").arg(scratch.path(&format!("{name}.state")));
        Running::start(&scratch, subcommand, &mut command)
    };
    let mut seeder = start("seed", "source", ["--listen", &address]);
    let mut idler = start("download", "copy", ["--peer", &address]);
    idler.wait_for("it has what is there", |_| {
        let [there, here] =
            ["source", "copy"].map(|name| fs::read(scratch.path(name).join("it/here")));
        (there.ok()? == here.ok()?).then_some(())
    });
    // What was written is synced within 30 seconds; from then on there is nothing to do.
    pause(Duration::from_secs(35));

    let idle = setting("IDLE", 60);
    let before = [&seeder, &idler].map(|process| Account::of(process.id()));
    pause(Duration::from_secs(idle));
    for (process, before) in [&mut seeder, &mut idler].into_iter().zip(before) {
        assert!(process.is_running());
        let after = Account::of(process.id());
        let (ticks, read) = (after.ticks - before.ticks, after.read - before.read);
        let wakings = after.wakings.saturating_sub(before.wakings);
        println!("{idle} s: {ticks} ticks, {wakings} wakings, {read} bytes read");
        assert_eq!(after.disk, before.disk, "the disk was written to, or read");
        // Main wakes the thread of the ring for a lookup by eight bytes to an eventfd, ever more
        // rarely. Nothing else is written anywhere.
        let (written, writes) = (after.written - before.written, after.writes - before.writes);
        assert_eq!(written, 8 * writes, "somebody wrote");
        assert!(writes <= 1 + idle / 30, "{writes} lookups");
        // Keep-alives, which are read from the socket by `readv`.
        assert!(read <= 1024, "{read} bytes were read");
        // A tick is 10 ms: at most one in a thousand.
        assert!(ticks <= 1 + idle / 10, "{before:?} {after:?}");
    }
    assert!(seeder.terminate().success());
    assert_eq!(idler.terminate().code(), Some(7));
}

/// What a process has done so far.
#[derive(Debug)]
struct Account {
    /// `read_bytes` and `write_bytes` of `/proc/PID/io`: what was read from the disk, and what is
    /// to be written to it.
    disk: [u64; 2],
    /// `wchar` and `syscw`: bytes written to anything but sockets, and how often.
    written: u64,
    writes: u64,
    /// `rchar`.
    read: u64,
    ticks: u64,
    wakings: u64,
}

impl Account {
    fn of(id: u32) -> Self {
        Self {
            disk: ["read_bytes", "write_bytes"].map(|name| figures::io(id, name)),
            written: figures::io(id, "wchar"),
            writes: figures::io(id, "syscw"),
            read: figures::io(id, "rchar"),
            ticks: figures::ticks(id),
            wakings: figures::wakings(id),
        }
    }
}
