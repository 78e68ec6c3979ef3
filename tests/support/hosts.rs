//! Hosts that are network namespaces: programs on them have addresses of their own. Needs root and
//! iproute2.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The program on a host.
pub(crate) fn on(host: &str, program: &Command) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host]).arg(program.get_program());
    command.args(program.get_args());
    command
}

pub(crate) fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("there is iproute2");
    assert!(status.success(), "ip {arguments:?}");
}

/// A number for the names of hosts, that no other test of this process has.
pub(crate) fn name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("rondalla-{}-{number}-{what}", std::process::id())
}

/// Adds the namespace of a host that knows nobody but itself.
pub(crate) fn add(host: &str) {
    ip(&["netns", "add", host]);
    ip(&["-n", host, "link", "set", "lo", "up"]);
}

/// Removes it; what is not there need not be removed.
pub(crate) fn remove(host: &str) {
    Command::new("ip").args(["netns", "del", host]).status().ok();
}

/// A host on a switch.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
}

/// Hosts on one switch, which no other network has to do with; gone when it is dropped.
pub(crate) struct Switch {
    name: String,
    hosts: Vec<Host>,
    taken: Cell<usize>,
}

impl Switch {
    pub(crate) fn new(ports: u8) -> Self {
        let mut switch = Self { name: name("switch"), hosts: Vec::new(), taken: Cell::new(0) };
        add(&switch.name);
        ip(&["-n", &switch.name, "link", "add", "name", "bridge", "up", "type", "bridge"]);
        for number in 1..=ports {
            let host = Host { name: name("host"), ip: Ipv4Addr::new(10, 79, 0, number).into() };
            add(&host.name);
            switch.plug_in(&format!("port{number}"), &host);
            switch.hosts.push(host);
        }
        switch
    }

    fn plug_in(&self, port: &str, host: &Host) {
        let (switch, name) = (&self.name, &host.name);
        let cable = ["type", "veth", "peer", "name", "cable", "netns", name];
        ip(&[&["-n", switch, "link", "add", port], &cable[..]].concat());
        ip(&["-n", switch, "link", "set", port, "up", "master", "bridge"]);
        ip(&["-n", name, "addr", "add", &format!("{}/24", host.ip), "dev", "cable"]);
        ip(&["-n", name, "link", "set", "cable", "up"]);
    }

    /// The next host that is free.
    pub(crate) fn host(&self) -> Host {
        let next = self.taken.get();
        self.taken.set(next + 1);
        self.hosts.get(next).expect("there are ports enough").clone()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.hosts.iter().for_each(|host| remove(&host.name));
        remove(&self.name);
    }
}
