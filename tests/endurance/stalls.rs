//! One whose disk stands still, and one that never reads, in the middle of others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::fakes::NeverReads;
use super::{ANYWHERE, MIB, Seeded, command, noise, pause};
use crate::support::{Running, Scratch, Tree, write_noise};

/// How long the disk stands still.
const STALL: Duration = Duration::from_secs(10);

/// A file system in a file of its own, which can be frozen: whoever writes to it then waits.
struct Disk(PathBuf);

impl Disk {
    fn mount(scratch: &Scratch) -> Self {
        let (image, folder) = (scratch.path("disk.ext4"), scratch.folder("disk"));
        File::create(&image).unwrap().set_len(128 * MIB).unwrap();
        call(Command::new("mkfs.ext4").arg("-q").arg(&image));
        call(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&folder));
        Self(folder)
    }

    fn freeze(&self) {
        call(Command::new("fsfreeze").arg("--freeze").arg(&self.0));
    }

    fn thaw(&self) {
        call(Command::new("fsfreeze").arg("--unfreeze").arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // After a failure it may be frozen, and in use by who waits for it.
        Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).output().ok();
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

/// A download onto such a disk. Fields are dropped in order: the process may wait for the disk.
struct Held {
    disk: Disk,
    process: Running,
}

impl Held {
    fn start(seeded: &Seeded) -> Self {
        let disk = Disk::mount(&seeded.scratch);
        let dir = seeded.scratch.path("held");
        let mut download =
            command("download", ANYWHERE, &[&seeded.torrent], &dir, &[seeded.address]);
        download.arg("--dir").arg(disk.0.join("copy")).args(["-v", "--limit-down", "4M"]);
        let mut process = Running::start(&seeded.scratch, "held", &mut download);
        process.wait_for_event("piece");
        Self { disk, process }
    }
}

fn call(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn last(process: &Running, event: &str) -> Option<Value> {
    process.events().into_iter().rfind(|one| one["event"] == event)
}

fn count(process: &Running, event: &str) -> usize {
    process.events().iter().filter(|one| one["event"] == event).count()
}

fn told_turns(name: &str, process: &Running) {
    let turns = last(process, "turns").expect("it tells them with -v");
    println!("{name}: the slowest of {} turns took {} s", turns["count"], turns["slowest"]);
}

/// Two downloads at 8 MiB a second, at once: how many seconds each took.
fn fetch_twice(seeded: &Seeded, names: [&str; 2]) -> [Value; 2] {
    let start = |name| seeded.download(name, &[], &["-v", "--limit-down", "8M"]);
    let mut processes = names.map(start);
    let seconds = processes.each_mut().map(|process| {
        assert!(process.wait_for_exit().success(), "{}", process.stderr());
        last(process, "finished").expect("it is complete")["seconds"].clone()
    });
    for (name, process) in names.iter().zip(&processes) {
        seeded.assert_is_at(name);
        told_turns(name, process);
    }
    seconds
}

/// While one peer reads nothing and the disk of another is frozen, two others become complete, and
/// the one whose disk it is still tells its progress. What is printed are their seconds with and
/// without company, and the slowest turns of all.
#[test]
#[ignore = "needs root, a loop device and ext4"]
fn a_frozen_disk_and_a_peer_that_never_reads_hold_up_nobody_else() {
    let mut noise = noise();
    let make = |path: &Path| write_noise(path, 48 * MIB, &mut noise);
    let mut seeded = Seeded::new(make, "64K", &["-v"]);
    println!("alone: {:?} s", fetch_twice(&seeded, ["one", "two"]));

    let mut held = Held::start(&seeded);
    let _deaf = NeverReads::dial(seeded.address, seeded.metainfo.info_hash().0, 1);
    held.disk.freeze();
    let told = count(&held.process, "progress");
    println!("in company: {:?} s", fetch_twice(&seeded, ["three", "four"]));
    pause(STALL);
    assert!(last(&held.process, "finished").is_none(), "its disk does not stand still");
    assert!(
        count(&held.process, "progress") > told + 5,
        "it says nothing while its disk stands still"
    );
    held.disk.thaw();

    assert!(held.process.wait_for_exit().success(), "{}", held.process.stderr());
    Tree::of(&seeded.source).assert_is_at(&held.disk.0.join("copy"));
    told_turns("held", &held.process);
    assert!(seeded.seeder.terminate().success());
    told_turns("seeder", &seeded.seeder);
}
