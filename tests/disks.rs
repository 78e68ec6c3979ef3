//! Disks that are full, read-only or rationed, under the running program: one sentence, the exit
//! code of it, and the same command resumes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::support::rondalla::{self, Share, listening};
use crate::support::{Noise, Running, Scratch, Tree, write_noise};

/// A seeder that runs, of a folder of two files of 8 MiB each, `a` and `b`.
struct Seeder {
    scratch: Scratch,
    torrent: PathBuf,
    source: PathBuf,
    running: Running,
}

impl Seeder {
    fn start() -> Self {
        let scratch = Scratch::new();
        let source = scratch.folder("source").join("tunes");
        let mut noise = Noise::new(3);
        for name in ["a", "b"] {
            write_noise(&source.join(name), 8 << 20, &mut noise);
        }
        let torrent = scratch.path("tunes.torrent");
        rondalla::create(&source, &torrent, &["--piece-length", "64K"]);
        let dir = source.parent().unwrap();
        let share =
            Share { torrent: &torrent, dir, listen: "127.0.0.1:0", peers: &[], options: &[] };
        let running = share.start(&scratch, "seeder", "seed");
        Self { scratch, torrent, source, running }
    }

    /// Downloads into `dir`: how that ended, and what it said of the error.
    fn download(&mut self, name: &str, dir: &Path) -> (Option<i32>, String) {
        let peers = [listening(&mut self.running)];
        let (torrent, listen) = (&self.torrent, "127.0.0.1:0");
        let share = Share { torrent, dir, listen, peers: &peers, options: &["--sequential"] };
        let mut download = share.start(&self.scratch, name, "download");
        let code = download.wait_for_exit().code();
        (code, download.stderr())
    }
}

/// A file system in memory at a folder of its own, which only root can have.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: PathBuf, options: &str) -> Self {
        let mounted = Self(at);
        assert!(mounted.call(&["-t", "tmpfs", "-o", options, "tmpfs"]).success());
        mounted
    }

    fn remount(&self, options: &str) {
        assert!(self.call(&["-o", &format!("remount,{options}")]).success());
    }

    fn call(&self, options: &[&str]) -> ExitStatus {
        Command::new("mount").args(options).arg(&self.0).status().unwrap()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // A mount that stays would be told by the scratch folder, which cannot be removed then.
        Command::new("umount").arg(&self.0).status().ok();
    }
}

#[test]
#[ignore = "needs root, to mount a small tmpfs"]
fn a_full_disk_is_exit_9_and_with_more_room_the_same_command_resumes() {
    let mut seeder = Seeder::start();
    let disk = Tmpfs::mount(seeder.scratch.folder("disk"), "size=6m");
    let (code, said) = seeder.download("leecher", &disk.0);
    assert_eq!(code, Some(9), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("rondalla: ")).collect();
    let [warning, error] = errors[..] else { panic!("{said}") };
    assert!(warning.contains("16 MiB are needed and 6 MiB are free"), "{warning}");
    assert!(error.contains("make room, and the same command resumes"), "{error}");

    disk.remount("size=64m");
    let (code, said) = seeder.download("leecher", &disk.0);
    assert_eq!((code, said.contains("free")), (Some(0), false), "{said}");
    Tree::of(&seeder.source).assert_is_at(&disk.0.join("tunes"));
}

#[test]
#[ignore = "needs root, to mount a tmpfs that is read-only"]
fn a_read_only_folder_is_exit_6() {
    let mut seeder = Seeder::start();
    let disk = Tmpfs::mount(seeder.scratch.folder("disk"), "size=64m,ro");
    let (code, said) = seeder.download("leecher", &disk.0);
    assert_eq!(code, Some(6), "{said}");
    assert_eq!(said.matches("rondalla: ").count(), 1, "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    disk.remount("rw");
    assert_eq!(seeder.download("leecher", &disk.0).0, Some(0));
    // What is complete is neither written nor in need of being written.
    disk.remount("ro");
    assert_eq!(seeder.download("leecher", &disk.0).0, Some(0));
}

#[test]
fn a_limit_of_the_length_of_files_is_told_before_it_ends_the_process() {
    let mut seeder = Seeder::start();
    let dir = seeder.scratch.folder("copy");
    let peer = listening(&mut seeder.running).to_string();
    let mut shell = Command::new("sh");
    // 100 units of 512 or 1024 bytes, as the shell has it: less than a file of 8 MiB in any case.
    shell.args(["-c", "ulimit -f 100; exec \"$0\" \"$@\""]);
    shell.arg(rondalla::command().get_program()).arg("download").arg(&seeder.torrent);
    shell.args([
        "--listen",
        "127.0.0.1:0",
        "--no-chord",
        "--no-dht",
        "--no-lan",
        "--peer",
        &peer,
        "--dir",
    ]);
    shell.arg(&dir).arg("--state").arg(seeder.scratch.folder("state"));
    let mut limited = Running::start(&seeder.scratch, "limited", &mut shell);
    assert_eq!(limited.wait_for_exit().code(), Some(6), "{}", limited.stderr());
    assert!(limited.stderr().contains("ulimit -f"), "{}", limited.stderr());
    assert_eq!(fs::metadata(dir.join("tunes/a")).map_or(0, |found| found.len()), 0);
}
