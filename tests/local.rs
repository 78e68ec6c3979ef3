//! Clients that find each other in the local network (BEP 14), where nobody is named and there is
//! neither a tracker nor a DHT: two hosts that are network namespaces with a cable between them.

use std::path::Path;
use std::process::Command;

use crate::meeting::wait_until_member;
use crate::support::hosts::{self, ip};
use crate::support::rondalla::{self, assert_same_tune, tune};
use crate::support::{Running, Scratch};

/// Two hosts; gone when it is dropped.
struct Cable {
    hosts: [String; 2],
}

impl Cable {
    /// `addresses` of the two ends, with the length of their network.
    fn lay(addresses: [&str; 2]) -> Self {
        let hosts = ["a", "b"].map(hosts::name);
        let [a, b] = &hosts;
        let cable = Self { hosts: hosts.clone() };
        hosts.iter().for_each(|host| hosts::add(host));
        ip(&["-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b]);
        for (host, address) in hosts.iter().zip(addresses) {
            // Whoever waits until an address of IPv6 is known to be nobody else's waits for a second.
            let options: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            ip(&[&["-n", host, "addr", "add", address, "dev", "cable"], options].concat());
            ip(&["-n", host, "link", "set", "cable", "up"]);
        }
        cable
    }

    /// A program on one of the hosts.
    fn on(&self, end: usize, program: &Command) -> Command {
        hosts::on(&self.hosts[end], program)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.hosts.iter().for_each(|host| hosts::remove(host));
    }
}

fn share(scratch: &Scratch, name: &str, subcommand: &str, torrent: &Path) -> Command {
    let mut command = rondalla::command();
    command.arg(subcommand).arg(torrent).args(["--listen", ":0", "--json", "--no-dht"]);
    command.arg("--dir").arg(scratch.folder(name));
    command.arg("--state").arg(scratch.path(&format!("{name}.state")));
    command
}

fn two_of_us(addresses: [&str; 2]) {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let cable = Cable::lay(addresses);
    let seeder = cable.on(0, &share(&scratch, "seeder", "seed", &torrent));
    let mut seeder = Running::start(&scratch, "seeder", &mut { seeder });
    seeder.wait_for_event("checked");
    let leecher = cable.on(1, &share(&scratch, "leecher", "download", &torrent));
    let mut leecher = Running::start(&scratch, "leecher", &mut { leecher });
    assert_eq!(leecher.wait_for_exit().code(), Some(0), "{}", leecher.stderr());
    assert_same_tune(&scratch, "leecher");
    // Nobody named a node of the ring either.
    wait_until_member(&mut seeder);
}

#[test]
#[ignore = "needs root and iproute2 (apt)"]
fn two_of_us_find_each_other_over_ipv4() {
    two_of_us(["10.77.0.1/24", "10.77.0.2/24"]);
}

#[test]
#[ignore = "needs root and iproute2 (apt)"]
fn two_of_us_find_each_other_over_ipv6() {
    two_of_us(["fd77::1/64", "fd77::2/64"]);
}

#[test]
#[ignore = "needs root, iproute2 and python3-libtorrent (apt)"]
fn libtorrent_and_we_find_each_other() {
    let scratch = Scratch::new();
    let (torrent, _) = tune(&scratch, &[]);
    let cable = Cable::lay(["10.78.0.1/24", "10.78.0.2/24"]);
    let seeder = cable.on(0, &share(&scratch, "seeder", "seed", &torrent));
    let mut seeder = Running::start(&scratch, "seeder", &mut { seeder });
    seeder.wait_for_event("checked");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/libtorrent_peer.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg("--torrent").arg(&torrent).arg("--dir").arg(scratch.folder("leecher"));
    command.args(["--listen", "10.78.0.2:6881", "--lsd"]);
    let mut other = Running::start(&scratch, "libtorrent", &mut cable.on(1, &command));
    other.wait_for_event("complete");
    assert_same_tune(&scratch, "leecher");
}
