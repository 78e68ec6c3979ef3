//! Swarms that meet through trackers alone: opentracker and ours, by HTTP and by UDP. Debian's
//! opentracker answers for listed torrents only, so the torrent is made first.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LOOPBACK;
use super::clients::{Client, Kind, Role, Share};
use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, free_address, wait_until, write_noise};

/// A tracker that answers both HTTP and UDP.
#[derive(Clone, Copy, Debug)]
enum Tracker {
    Opentracker,
    Rondalla,
}

impl Tracker {
    fn start(self, scratch: &Scratch, at: SocketAddr, info_hash: &str) -> Running {
        let (ip, port) = (at.ip().to_string(), at.port().to_string());
        match self {
            Self::Rondalla => {
                let mut command = rondalla::command();
                command.args(["tracker", "--json", "--listen", &at.to_string()]);
                let mut tracker = Running::start(scratch, "tracker", &mut command);
                assert_eq!(listening(&mut tracker), at);
                tracker
            }
            Self::Opentracker => {
                let folder = scratch.folder("opentracker");
                // It gives up being root, and must still see its folder.
                for path in folder.ancestors().take(2) {
                    let all = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(path, all).unwrap();
                }
                std::fs::write(folder.join("whitelist"), format!("{info_hash}\n")).unwrap();
                let mut command = Command::new("opentracker");
                command.args(["-i", &ip, "-p", &port, "-P", &port, "-u", "nobody"]);
                command.arg("-d").arg(&folder).args(["-w", "whitelist"]);
                let tracker = Running::start(scratch, "opentracker", &mut command);
                let listens = || std::net::TcpStream::connect(at).ok().map(drop);
                assert!(wait_until(listens).is_some(), "opentracker does not listen");
                tracker
            }
        }
    }
}

/// What a swarm shares, and by which tracker it meets.
struct Meeting {
    scratch: Scratch,
    torrent: PathBuf,
    source: PathBuf,
    whole: Tree,
    udp: bool,
    _tracker: Running,
}

impl Meeting {
    fn new(tracker: Tracker, scheme: &str) -> Self {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        // Large enough that nobody is done before the others have come.
        write_noise(&source.join("it.bin"), 16 * 1024 * 1024 + 1, &mut Noise::new(3));
        let at = free_address(LOOPBACK);
        let torrent = scratch.path("it.torrent");
        let url = format!("{scheme}://{at}/announce");
        let options = ["--tracker", &url, "--piece-length", "64KiB"];
        let made = rondalla::create(&source.join("it.bin"), &torrent, &options);
        let info_hash = made["infohash"].as_str().expect("create tells the info-hash");
        let _tracker = tracker.start(&scratch, at, info_hash);
        let (whole, udp) = (Tree::of(&source), scheme == "udp");
        Self { scratch, torrent, source, whole, udp, _tracker }
    }

    fn rondalla(&self, name: &str, subcommand: &str, dir: &Path, options: &[&str]) -> Running {
        let options = [&["--no-pex"], options].concat();
        let (torrent, listen, peers) = (&self.torrent, "127.0.0.1:0", &[]);
        let share = rondalla::Share { torrent, dir, listen, peers, options: &options };
        let mut rondalla = share.start(&self.scratch, name, subcommand);
        let told = rondalla.wait_for_event("tracker");
        assert_eq!(told["state"], "announced", "{told}");
        rondalla
    }

    fn other(&self, kind: Kind, role: Role, dir: &Path) -> Box<dyn Client> {
        let listen = free_address(LOOPBACK);
        let (scratch, torrent) = (&self.scratch, self.torrent.as_path());
        kind.start(&Share {
            scratch,
            torrent,
            dir,
            listen,
            role,
            encrypted: false,
            udp_trackers: self.udp,
        })
    }

    /// We seed, all others and one more of us download: each has something from us.
    fn we_seed(&self) {
        let mut seed = self.rondalla("seed", "seed", &self.source, &["--limit-up", "20M"]);
        let dirs = ["aria2", "libtorrent", "ours"].map(|name| self.scratch.folder(name));
        let mut aria2 = self.other(Kind::Aria2, Role::Leeches, &dirs[0]);
        let mut libtorrent = self.other(Kind::Libtorrent, Role::Leeches, &dirs[1]);
        let mut ours = self.rondalla("leech", "download", &dirs[2], &[]);
        aria2.wait_complete();
        libtorrent.wait_complete();
        assert!(ours.wait_for_exit().success(), "the download did not exit with 0");
        aria2.stop();
        libtorrent.stop();
        assert!(seed.terminate().success(), "the seed did not exit with 0");
        dirs.iter().for_each(|dir| self.whole.assert_is_at(dir));
        for client in ["aria2", "libtorrent", "rondalla"] {
            let gave = seed.events().iter().any(|event| {
                let theirs = event["client"].as_str().is_some_and(|name| name.contains(client));
                theirs && event["uploaded"].as_u64().is_some_and(|bytes| bytes > 0)
            });
            assert!(gave, "{client} has nothing from us");
        }
    }

    /// Another client seeds, and we download from it, since there is nobody else.
    fn it_seeds(&self, kind: Kind, name: &str) {
        let mut seed = self.other(kind, Role::Seeds, &self.source);
        seed.wait_ready();
        let dir = self.scratch.folder(&format!("from {name}"));
        let mut leech = self.rondalla(&format!("leech of {name}"), "download", &dir, &[]);
        assert!(leech.wait_for_exit().success(), "the download did not exit with 0");
        seed.stop();
        self.whole.assert_is_at(&dir);
    }
}

fn meet(tracker: Tracker, scheme: &str) {
    let meeting = Meeting::new(tracker, scheme);
    meeting.we_seed();
    meeting.it_seeds(Kind::Libtorrent, "libtorrent");
    meeting.it_seeds(Kind::Aria2, "aria2");
}

#[test]
#[ignore = "needs opentracker, aria2 and libtorrent (apt)"]
fn swarms_meet_through_opentracker_by_http() {
    meet(Tracker::Opentracker, "http");
}

#[test]
#[ignore = "needs opentracker, aria2 and libtorrent (apt)"]
fn swarms_meet_through_opentracker_by_udp() {
    meet(Tracker::Opentracker, "udp");
}

#[test]
#[ignore = "needs aria2 and libtorrent (apt)"]
fn swarms_meet_through_our_tracker_by_http() {
    meet(Tracker::Rondalla, "http");
}

#[test]
#[ignore = "needs aria2 and libtorrent (apt)"]
fn swarms_meet_through_our_tracker_by_udp() {
    meet(Tracker::Rondalla, "udp");
}
