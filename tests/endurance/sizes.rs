//! Torrents that are large, or have many pieces or files, and many torrents.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{ANYWHERE, MIB, Seeded, command, figures, noise, setting, write_odd_files};
use crate::support::{Running, Scratch, Tree, rondalla, wait_until, write_noise};

/// Threads of a process beside its peers' two each: main, porter, listener, storage, hashers,
/// console, signals, and what may come.
const THREADS_SPARE: u64 = 16;

/// The event of this kind that was told last.
fn last(process: &Running, event: &str) -> Value {
    let mut events = process.events();
    let at = events.iter().rposition(|one| one["event"] == event);
    at.map_or_else(|| panic!("no {event}: {}", process.stderr()), |at| events.swap_remove(at))
}

/// Panics unless a process that began with everything has known so without hashing.
fn assert_touched_nothing(process: &Running) {
    assert_eq!(last(process, "checked")["good"], last(process, "checked")["pieces"]);
    assert!(process.events().iter().all(|event| event["event"] != "checking"), "it was hashed");
}

/// A torrent of `GIB` (10 in full, and once 100; 1 by default) of nothing but zeros, in a file
/// without a byte on the disk.
#[test]
#[ignore = "needs minutes for more than a few GiB"]
fn a_complete_torrent_is_resumed_without_a_look_at_its_data() {
    let (scratch, size) = (Scratch::new(), setting("GIB", 1) * 1024 * MIB);
    let (torrent, dir) = (scratch.path("it.torrent"), scratch.folder("dir"));
    File::create(dir.join("it")).unwrap().set_len(size).unwrap();
    rondalla::create(&dir.join("it"), &torrent, &["--no-date"]);
    let run = |subcommand: &str| {
        let mut run = command(subcommand, ANYWHERE, &[&torrent], &dir, &[]);
        run.arg("--dir").arg(&dir);
        run
    };
    let mut verify = rondalla::command();
    let verified = verify.arg("verify").arg(&torrent).arg("--dir").arg(&dir).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");

    // Nobody gives it anything, so it ends only if everything is found right.
    let found = run("download").output().unwrap();
    assert!(found.status.success(), "{found:?}");

    let little = 64 * 1024 + 4 * fs::metadata(&torrent).unwrap().len();
    for (subcommand, option) in [("seed", "-v"), ("download", "--seed")] {
        let mut process = Running::start(&scratch, "again", run(subcommand).arg(option));
        process.wait_for_event("checked");
        assert_touched_nothing(&process);
        let read = figures::io(process.id(), "rchar");
        println!("{subcommand} of {size} bytes read {read}");
        assert!(read < little, "{subcommand} read {read} bytes");
        assert!(process.terminate().success());
    }

    let mut check = Running::start(&scratch, "check", run("seed").args(["-q", "--check"]));
    let mut read = 0;
    while read < size {
        // However long it takes in all, it may not stop.
        let more = wait_until(|| Some(figures::io(check.id(), "rchar")).filter(|now| *now > read));
        read = more.unwrap_or_else(|| panic!("--check ends at byte {read} of {size}"));
    }
    let checked = check.wait_for_event("checked");
    assert_eq!(checked["good"], checked["pieces"]);
    assert!(check.terminate().success());
}

/// `PIECES` of 16 KiB (100,000 in full, 20,000 by default), each with its number in it.
#[test]
#[ignore = "needs 200 MB of disk, in full 4 GB"]
fn a_torrent_of_many_pieces_is_fetched_and_resumed() {
    const PIECE_LEN: u64 = 16 * 1024;
    let pieces = setting("PIECES", 20_000);
    let make = |path: &Path| {
        let file = File::create(path).unwrap();
        file.set_len(pieces * PIECE_LEN).unwrap();
        for piece in 0..pieces {
            file.write_all_at(&(piece + 1).to_le_bytes(), piece * PIECE_LEN).unwrap();
        }
    };
    let seeded = Seeded::new(make, "16K", &["-q"]);
    assert_eq!(u64::from(seeded.metainfo.pieces()), pieces);
    fetch_in_two_lives(&seeded, None);
}

/// `FILES` (10,000 in full and by default) of odd sizes, with no more than 256 descriptors.
#[test]
#[ignore = "needs 400 MB of disk"]
fn a_torrent_of_many_files_is_fetched_and_resumed_with_few_descriptors() {
    let (files, mut noise) = (setting("FILES", 10_000), noise());
    let make = |path: &Path| write_odd_files(path, files, files * 16 * 1024, &mut noise);
    let mut seeded = Seeded::new(make, "64K", &["-q"]);
    assert_eq!(seeded.metainfo.files().len() as u64, files);
    assert!(seeded.seeder.terminate().success());
    let mut seed = command("seed", ANYWHERE, &[&seeded.torrent], &seeded.scratch.path("few"), &[]);
    seed.arg("--dir").arg(&seeded.source);
    seeded.seeder = Running::start(&seeded.scratch, "few", &mut with_descriptors(256, &seed));
    seeded.address = rondalla::listening(&mut seeded.seeder);
    seeded.seeder.wait_for_event("checked");
    fetch_in_two_lives(&seeded, Some(256));
}

/// Downloads, is killed in the middle, goes on, and finds everything known afterwards.
fn fetch_in_two_lives(seeded: &Seeded, descriptors: Option<u32>) {
    let start = |options: &[&str]| {
        let mut download = seeded.download_command("copy", &[]);
        download.args(options);
        let mut download = match descriptors {
            Some(descriptors) => with_descriptors(descriptors, &download),
            None => download,
        };
        Running::start(&seeded.scratch, "copy", &mut download)
    };
    let size = seeded.metainfo.len();
    let mut first = start(&["--limit-down", &(size / 8).to_string()]);
    first.wait_for("a quarter is there", |process| {
        let events = process.events();
        let done = events.iter().filter_map(|event| event["done"].as_u64()).max();
        done.filter(|done| *done >= size / 4)
    });
    println!("{} kB in memory", figures::memory_kb(first.id()));
    first.kill();

    let mut second = start(&[]);
    assert!(second.wait_for_exit().success(), "{}", second.stderr());
    let fetched = last(&second, "finished")["bytes"].as_u64().unwrap();
    println!("{size} bytes; {fetched} after the kill");
    assert!(fetched <= size - size / 4, "what was there is fetched again");
    seeded.assert_is_at("copy");

    let mut third = start(&[]);
    assert!(third.wait_for_exit().success(), "{}", third.stderr());
    assert_touched_nothing(&third);
    assert_eq!(last(&third, "finished")["bytes"], 0);
}

/// The same command with at most so many open files.
fn with_descriptors(files: u32, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &files.to_string()]);
    limited.arg(command.get_program()).args(command.get_args());
    limited
}

/// `TORRENTS` (100 in full and by default), of which the first has `LARGE` MiB (256 in full, 64 by
/// default) and the others up to 200 kB, between two processes.
#[test]
#[ignore = "needs 200 MB of disk"]
fn a_hundred_torrents_are_exchanged_by_two_processes() {
    let (count, large, mut noise) = (setting("TORRENTS", 100), setting("LARGE", 64), noise());
    let scratch = Scratch::new();
    let (source, copy) = (scratch.folder("source"), scratch.path("copy"));
    let mut torrents = Vec::new();
    for number in 0..count {
        let len = if number == 0 { large * MIB } else { noise.number() % 200_000 };
        let path = source.join(format!("it-{number}"));
        write_noise(&path, len, &mut noise);
        torrents.push(scratch.path(&format!("it-{number}.torrent")));
        rondalla::create(&path, torrents.last().unwrap(), &["--piece-length", "16K"]);
    }
    let torrents: Vec<&Path> = torrents.iter().map(|torrent| torrent.as_path()).collect();
    let tell = |process: &Running, event: &str| {
        process.events().iter().filter(|one| one["event"] == event).count() as u64
    };

    let mut seed = command("seed", ANYWHERE, &torrents, &source, &[]);
    let mut seeder = Running::start(&scratch, "seeder", seed.arg("--dir").arg(&source));
    let address = rondalla::listening(&mut seeder);
    seeder.wait_for("all is checked", |seeder| (tell(seeder, "checked") == count).then_some(()));
    for life in 0..2 {
        let mut download = command("download", ANYWHERE, &torrents, &copy, &[address]);
        download.arg("--dir").arg(&copy).arg("--seed");
        let mut process = Running::start(&scratch, "copy", &mut download);
        let (id, mut threads, mut memory) = (process.id(), 0, 0);
        process.wait_for("all is here", |process| {
            threads = threads.max(figures::threads(id));
            memory = memory.max(figures::memory_kb(id));
            (tell(process, "finished") == count).then_some(())
        });
        println!("life {life}: {count} torrents with {threads} threads in {memory} kB at most");
        assert!(threads <= 2 * count + THREADS_SPARE, "{threads} threads");
        if life == 1 {
            assert_eq!(tell(&process, "checking"), 0, "something was hashed");
            assert_eq!(last(&process, "finished")["bytes"], 0);
        }
        assert!(process.terminate().success(), "{}", process.stderr());
        Tree::of(&source).assert_is_at(&copy);
    }
    assert!(seeder.terminate().success(), "{}", seeder.stderr());
}
