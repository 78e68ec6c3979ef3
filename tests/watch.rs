//! `--watch`: torrents that are put into a folder while the program runs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, write_noise};

/// A folder to watch, and a seeder of two torrents, `a` and `b`.
struct Watch {
    scratch: Scratch,
    source: PathBuf,
    folder: PathBuf,
    _seeder: Running,
    peer: String,
}

impl Watch {
    fn new() -> Self {
        let scratch = Scratch::new();
        let (source, folder) = (scratch.folder("source"), scratch.folder("folder"));
        let mut noise = Noise::new(1);
        for name in ["a", "b"] {
            write_noise(&source.join(name), 100_000, &mut noise);
            rondalla::create(&source.join(name), &scratch.path(&format!("{name}.torrent")), &[]);
        }
        let mut command = rondalla::command();
        command.arg("seed").args(["a", "b"].map(|name| scratch.path(&format!("{name}.torrent"))));
        command
            .args(["--listen", "127.0.0.1:0", "--no-dht", "--no-lan", "--json"])
            .arg("--dir")
            .arg(&source);
        command.arg("--state").arg(scratch.path("seeder-state"));
        let mut seeder = Running::start(&scratch, "seeder", &mut command);
        let peer = listening(&mut seeder).to_string();
        Self { scratch, source, folder, _seeder: seeder, peer }
    }

    fn command(&self) -> Command {
        let mut command = rondalla::command();
        command.arg("download").args(["--listen", "127.0.0.1:0", "--no-dht", "--no-lan", "--json"]);
        command.arg("--watch").arg(&self.folder).args(["--peer", &self.peer]);
        command.arg("--dir").arg(self.scratch.path("copy"));
        command.arg("--state").arg(self.scratch.path("state"));
        command
    }

    fn torrent(&self, name: &str) -> Vec<u8> {
        fs::read(self.scratch.path(&format!("{name}.torrent"))).unwrap()
    }

    /// Waits until the torrent of this name is complete.
    fn wait_for(&self, running: &mut Running, name: &str) {
        running.wait_for(&format!("{name} is complete"), |running| {
            let events = running.events();
            let started = events.iter().find(|event| event["name"] == name)?;
            let of_it = |event: &&Value| {
                event["event"] == "finished" && event["infohash"] == started["infohash"]
            };
            events.iter().find(of_it).map(|_| ())
        });
        let (here, there) = (self.scratch.path("copy").join(name), self.source.join(name));
        assert_eq!(fs::read(here).unwrap(), fs::read(there).unwrap());
    }
}

#[test]
fn what_is_put_into_a_watched_folder_is_downloaded() {
    let watch = Watch::new();
    fs::write(watch.folder.join("one.torrent"), watch.torrent("a")).unwrap();
    let mut running = Running::start(&watch.scratch, "watcher", &mut watch.command());
    watch.wait_for(&mut running, "a");
    // The same torrent under another name is not started again.
    fs::write(watch.folder.join("other.torrent"), watch.torrent("a")).unwrap();
    // One that is not whole yet is left until it is.
    let whole = watch.torrent("b");
    fs::write(watch.folder.join("two.torrent"), &whole[..whole.len() / 2]).unwrap();
    fs::write(watch.folder.join("link.magnet"), "magnet:?xt=urn:btih:1").unwrap();
    let stderr = |running: &Running| running.stderr().contains("link.magnet").then_some(());
    running.wait_for("the link is refused", stderr);
    fs::write(watch.folder.join("two.torrent"), &whole).unwrap();
    watch.wait_for(&mut running, "b");
    // A torrent goes on without its file.
    fs::remove_file(watch.folder.join("one.torrent")).unwrap();
    assert!(running.is_running(), "it goes on when all are complete");
    assert_eq!(running.terminate().code(), Some(0), "{}", running.stderr());
    let events = running.events();
    assert_eq!(events.iter().filter(|event| event["event"] == "started").count(), 2);
    assert!(!events.iter().any(|event| event["event"] == "error"), "{events:?}");
    Tree::of(&watch.source).assert_is_at(&watch.scratch.path("copy"));
}

#[test]
fn a_folder_that_is_not_there_cannot_be_watched() {
    let watch = Watch::new();
    fs::remove_dir(&watch.folder).unwrap();
    let output = watch.command().output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains(&*watch.folder.to_string_lossy()), "{stderr}");
}

#[test]
fn a_torrent_of_a_watched_folder_that_is_not_done_at_the_end_is_told() {
    let watch = Watch::new();
    fs::write(watch.folder.join("one.torrent"), watch.torrent("a")).unwrap();
    let mut command = watch.command();
    command.args(["--limit-down", "1K"]);
    let mut running = Running::start(&watch.scratch, "watcher", &mut command);
    running.wait_for_event("checked");
    assert_eq!(running.terminate().code(), Some(7), "{}", running.stderr());
}
