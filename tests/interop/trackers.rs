//! Swarms that meet through trackers alone: opentracker and ours, by HTTP and by UDP. Debian's
//! opentracker answers for listed torrents only, so the torrent is made first.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LOOPBACK;
use super::clients::{Client, Kind, Role, Share};
use crate::support::hosts::{self, Switch};
use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, free_address, write_noise};

/// A tracker that answers both HTTP and UDP.
#[derive(Clone, Copy, Debug)]
enum Tracker {
    Opentracker,
    Rondalla,
}

impl Tracker {
    fn start(self, scratch: &Scratch, at: &Host, info_hash: &str) -> (Running, SocketAddr) {
        match self {
            Self::Rondalla => {
                let mut command = rondalla::command();
                let listen = format!("{}:0", at.ip);
                command.args(["tracker", "--json", "--listen", &listen]);
                let mut tracker = Running::start(scratch, "tracker", &mut at.run(command));
                let listens = listening(&mut tracker);
                (tracker, listens)
            }
            Self::Opentracker => {
                let folder = scratch.folder("opentracker");
                // It gives up being root, and must still see its folder.
                for path in folder.ancestors().take(2) {
                    let all = std::fs::Permissions::from_mode(0o755);
                    std::fs::set_permissions(path, all).unwrap();
                }
                std::fs::write(folder.join("whitelist"), format!("{info_hash}\n")).unwrap();
                let listen = at.address();
                let (ip, port) = (listen.ip().to_string(), listen.port().to_string());
                let mut command = Command::new("opentracker");
                command.args(["-i", &ip, "-p", &port, "-P", &port, "-u", "nobody"]);
                command.arg("-d").arg(&folder).args(["-w", "whitelist"]);
                let mut tracker = Running::start(scratch, "opentracker", &mut at.run(command));
                // The sockets of the network that the process is in.
                let sockets = format!("/proc/{}/net/tcp", tracker.id());
                let port = format!(":{:04X} 00000000:0000 0A", listen.port());
                tracker.wait_for("it listens", |_| {
                    let sockets = std::fs::read_to_string(&sockets).unwrap_or_default();
                    sockets.contains(&port).then_some(())
                });
                (tracker, listen)
            }
        }
    }
}

/// Where somebody is: on loopback with all others, or a host with an address of its own.
struct Host {
    name: Option<String>,
    ip: IpAddr,
}

impl Host {
    fn run(&self, command: Command) -> Command {
        match &self.name {
            Some(name) => hosts::on(name, &command),
            None => command,
        }
    }

    /// An address at which nobody listens yet.
    fn address(&self) -> SocketAddr {
        match self.name {
            Some(_) => SocketAddr::new(self.ip, 6881),
            None => free_address(self.ip),
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
    switch: Option<Switch>,
    _tracker: Running,
}

/// The next free place.
fn place(switch: Option<&Switch>) -> Host {
    match switch.map(Switch::host) {
        Some(host) => Host { name: Some(host.name), ip: host.ip },
        None => Host { name: None, ip: LOOPBACK },
    }
}

impl Meeting {
    fn new(tracker: Tracker, scheme: &str, switch: Option<Switch>) -> Self {
        let scratch = Scratch::new();
        let source = scratch.folder("source");
        let data = source.join("it.bin");
        // Large enough that nobody is done before the others have come.
        write_noise(&data, 16 * 1024 * 1024 + 1, &mut Noise::new(3));
        let torrent = scratch.path("it.torrent");
        let made = rondalla::create(&data, &torrent, &["--piece-length", "64KiB"]);
        let info_hash = made["infohash"].as_str().expect("create tells the info-hash");
        let (_tracker, at) = tracker.start(&scratch, &place(switch.as_ref()), info_hash);
        let url = format!("{scheme}://{at}/announce");
        let options = ["--piece-length", "64KiB", "--overwrite", "--tracker", &url];
        let again = rondalla::create(&data, &torrent, &options);
        assert_eq!(again["infohash"], info_hash, "trackers are beside what is hashed");
        let (whole, udp) = (Tree::of(&source), scheme == "udp");
        Self { scratch, torrent, source, whole, udp, switch, _tracker }
    }

    fn rondalla(&self, name: &str, subcommand: &str, dir: &Path, options: &[&str]) -> Running {
        let options = [&["--no-pex"], options].concat();
        let host = place(self.switch.as_ref());
        let listen = format!("{}:0", host.ip);
        let (torrent, peers) = (&self.torrent, &[]);
        let share = rondalla::Share { torrent, dir, listen: &listen, peers, options: &options };
        let mut command = host.run(share.command(&self.scratch, name, subcommand));
        let mut rondalla = Running::start(&self.scratch, name, &mut command);
        let told = rondalla.wait_for_event("tracker");
        assert_eq!(told["state"], "announced", "{told}");
        rondalla
    }

    fn other(&self, kind: Kind, role: Role, dir: &Path) -> Box<dyn Client> {
        let host = place(self.switch.as_ref());
        kind.start(&Share {
            scratch: &self.scratch,
            torrent: &self.torrent,
            dir,
            listen: host.address(),
            role,
            encrypted: false,
            udp_trackers: self.udp,
            host: host.name.as_deref(),
        })
    }

    /// We seed, all others and one more of us download: each has something from us.
    fn we_seed(&self, others: &[(Kind, &str)]) {
        let mut seed = self.rondalla("seed", "seed", &self.source, &["--limit-up", "20M"]);
        let folder = |name: &str| self.scratch.folder(&format!("to {name}"));
        let dirs: Vec<_> = others.iter().map(|(_, name)| folder(name)).collect();
        let begin =
            |((kind, _), dir): (&(Kind, &str), &PathBuf)| self.other(*kind, Role::Leeches, dir);
        let mut leeches: Vec<_> = others.iter().zip(&dirs).map(begin).collect();
        let last = folder("rondalla");
        let mut ours = self.rondalla("leech", "download", &last, &[]);
        leeches.iter_mut().for_each(|leech| leech.wait_complete());
        assert!(ours.wait_for_exit().success(), "the download did not exit with 0");
        leeches.iter_mut().for_each(|leech| leech.stop());
        assert!(seed.terminate().success(), "the seed did not exit with 0");
        dirs.iter().chain([&last]).for_each(|dir| self.whole.assert_is_at(dir));
        for client in others.iter().map(|(_, name)| *name).chain(["rondalla"]) {
            let gave = seed.events().iter().any(|event| {
                let theirs = event["client"].as_str().unwrap_or_default().to_lowercase();
                theirs.contains(client) && event["uploaded"].as_u64().is_some_and(|sent| sent > 0)
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

const ON_LOOPBACK: [(Kind, &str); 2] = [(Kind::Libtorrent, "libtorrent"), (Kind::Aria2, "aria2")];

/// Transmission never dials 127.0.0.0/8, nor two peers of one address.
const ON_HOSTS: [(Kind, &str); 3] =
    [(Kind::Transmission, "transmission"), ON_LOOPBACK[0], ON_LOOPBACK[1]];

fn meet(tracker: Tracker, scheme: &str) {
    meet_in(&Meeting::new(tracker, scheme, None), &ON_LOOPBACK);
}

/// The same on hosts with addresses of their own, and with Transmission: the tracker, the seed and four
/// leeches, and then a seed and a leech three times.
fn meet_on_hosts(tracker: Tracker, scheme: &str) {
    meet_in(&Meeting::new(tracker, scheme, Some(Switch::new(12))), &ON_HOSTS);
}

fn meet_in(meeting: &Meeting, others: &[(Kind, &str)]) {
    meeting.we_seed(others);
    others.iter().for_each(|(kind, name)| meeting.it_seeds(*kind, name));
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

#[test]
#[ignore = "needs root, iproute2, opentracker, aria2, Transmission and libtorrent (apt)"]
fn hosts_meet_through_opentracker_by_http() {
    meet_on_hosts(Tracker::Opentracker, "http");
}

#[test]
#[ignore = "needs root, iproute2, opentracker, aria2, Transmission and libtorrent (apt)"]
fn hosts_meet_through_opentracker_by_udp() {
    meet_on_hosts(Tracker::Opentracker, "udp");
}

#[test]
#[ignore = "needs root, iproute2, aria2, Transmission and libtorrent (apt)"]
fn hosts_meet_through_our_tracker_by_http() {
    meet_on_hosts(Tracker::Rondalla, "http");
}

#[test]
#[ignore = "needs root, iproute2, aria2, Transmission and libtorrent (apt)"]
fn hosts_meet_through_our_tracker_by_udp() {
    meet_on_hosts(Tracker::Rondalla, "udp");
}
