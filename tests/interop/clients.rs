//! How each of the other clients is started on loopback, and how it says that it is ready or done.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::{Running, Scratch, free_address, hosts};

/// A client of somebody else.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Aria2,
    Transmission,
    Libtorrent,
}

/// Whether a client has the data from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Seeds,
    Leeches,
}

/// What a client shares, and where it listens.
pub(crate) struct Share<'a> {
    pub(crate) scratch: &'a Scratch,
    pub(crate) torrent: &'a Path,
    pub(crate) dir: &'a Path,
    pub(crate) listen: SocketAddr,
    pub(crate) role: Role,
    /// Nothing but RC4 is taken.
    pub(crate) encrypted: bool,
    /// The torrent has a UDP tracker, for which aria2 uses the socket of its DHT.
    pub(crate) udp_trackers: bool,
    /// On which host; `None`: this one.
    pub(crate) host: Option<&'a str>,
}

/// The program where the share is.
fn there(host: Option<&str>, program: Command) -> Command {
    match host {
        Some(host) => hosts::on(host, &program),
        None => program,
    }
}

/// A started client. It is killed with this value; ended by `stop` it has written all it has.
pub(crate) trait Client {
    /// Waits until it has looked at its folder and would take a handshake.
    fn wait_ready(&mut self);

    /// Waits until it says that all is there and verified.
    fn wait_complete(&mut self);

    /// Ends it the way its users do.
    fn stop(&mut self);
}

impl Kind {
    pub(crate) fn start(self, share: &Share<'_>) -> Box<dyn Client> {
        match self {
            Self::Aria2 => Box::new(Aria2::start(share)),
            Self::Transmission => Box::new(Transmission::start(share)),
            Self::Libtorrent => Box::new(Libtorrent::start(share, None)),
        }
    }
}

/// aria2 takes no peer's address from anybody but a tracker, so it is always the one dialled.
struct Aria2 {
    process: Running,
    role: Role,
}

impl Aria2 {
    fn start(share: &Share<'_>) -> Self {
        let mut command = Command::new("aria2c");
        command.args(["--no-conf", "--enable-dht6=false"]);
        command.arg(format!("--enable-dht={}", share.udp_trackers));
        command.arg(format!("--dht-listen-port={}", share.listen.port()));
        command.arg(format!("--dht-file-path={}", share.scratch.path("dht.dat").display()));
        command.args(["--bt-enable-lpd=false", "--file-allocation=none", "--summary-interval=0"]);
        command.args(["--show-console-readout=false", "--console-log-level=notice"]);
        command.arg(format!("--stop-with-process={}", std::process::id()));
        command.arg(format!("--interface={}", share.listen.ip()));
        command.arg(format!("--listen-port={}", share.listen.port()));
        command.arg(format!("--dir={}", share.dir.display()));
        if share.encrypted {
            command.args(["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]);
        }
        match share.role {
            Role::Seeds => command.args(["--check-integrity=true", "--seed-ratio=0.0"]),
            Role::Leeches => command.arg("--seed-time=0"),
        };
        command.arg(share.torrent);
        let process = Running::start(share.scratch, "aria2", &mut there(share.host, command));
        Self { process, role: share.role }
    }
}

impl Client for Aria2 {
    fn wait_ready(&mut self) {
        // It listens before it has verified.
        let sign = match self.role {
            Role::Seeds => "Verification finished successfully",
            Role::Leeches => "listening on TCP port",
        };
        self.process.wait_for(sign, |aria2| aria2.stdout().contains(sign).then_some(()));
    }

    fn wait_complete(&mut self) {
        let status = self.process.wait_for_exit();
        assert!(status.success(), "aria2 ended with {status}");
    }

    fn stop(&mut self) {
        if self.process.is_running() {
            self.process.terminate();
        }
    }
}

/// Transmission 3.00 never dials 127.0.0.0/8, so it is always the one dialled.
struct Transmission {
    process: Running,
    rpc: SocketAddr,
    host: Option<String>,
}

impl Transmission {
    fn start(share: &Share<'_>) -> Self {
        let rpc = free_address("127.0.0.1".parse().expect("an address"));
        let config = share.scratch.folder(&format!("transmission at {}", share.listen.ip()));
        let settings = json!({
            "rpc-bind-address": rpc.ip(), "rpc-port": rpc.port(),
            "rpc-authentication-required": false, "rpc-host-whitelist-enabled": false,
            "bind-address-ipv4": share.listen.ip(), "bind-address-ipv6": "::1",
            "peer-port": share.listen.port(), "port-forwarding-enabled": false,
            "dht-enabled": false, "lpd-enabled": false, "utp-enabled": false,
            "download-dir": share.dir, "encryption": if share.encrypted { 2 } else { 1 },
        });
        std::fs::write(config.join("settings.json"), settings.to_string()).unwrap();
        let mut daemon = Command::new("transmission-daemon");
        daemon.arg("--foreground").arg("--config-dir").arg(&config);
        let host = share.host.map(str::to_owned);
        let remote = |arguments: &[&str]| remote(host.as_deref(), rpc, arguments);
        let mut daemon = there(share.host, daemon);
        let mut process = Running::start(share.scratch, "transmission", &mut daemon);
        process.wait_for("an answer to transmission-remote", |_| {
            remote(&["--session-info"]).status.success().then_some(())
        });
        let torrent = share.torrent.to_str().expect("our paths are UTF-8");
        let add = remote(&["--add", torrent]);
        assert!(add.status.success(), "transmission-remote --add: {add:?}");
        Self { process, rpc, host }
    }

    /// Waits until the text that describes the only torrent meets `condition`.
    fn wait_for(&mut self, what: &str, condition: impl Fn(&str) -> bool) {
        let (host, rpc) = (self.host.as_deref(), self.rpc);
        self.process.wait_for(what, |_| {
            let output = remote(host, rpc, &["--torrent", "1", "--info"]);
            let info = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!info.contains("Error: "), "Transmission gave up: {info}");
            condition(&info).then_some(())
        });
    }
}

fn remote(host: Option<&str>, rpc: SocketAddr, arguments: &[&str]) -> Output {
    let mut remote = Command::new("transmission-remote");
    remote.arg(rpc.to_string()).args(arguments);
    there(host, remote).output().unwrap()
}

impl Client for Transmission {
    fn wait_ready(&mut self) {
        // It refuses every handshake while it verifies, even an empty folder.
        let ready = ["State: Idle", "State: Seeding", "State: Downloading"];
        self.wait_for("the end of its check", |info| ready.iter().any(|r| info.contains(r)));
    }

    fn wait_complete(&mut self) {
        self.wait_for("all pieces", |info| info.contains("Percent Done: 100%"));
    }

    fn stop(&mut self) {
        self.process.terminate();
    }
}

/// libtorrent by way of its Python binding. It is dialled like the others, unless told to dial.
pub(crate) struct Libtorrent {
    process: Running,
}

impl Libtorrent {
    pub(crate) fn start(share: &Share<'_>, dial: Option<SocketAddr>) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/libtorrent_peer.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg("--torrent").arg(share.torrent).arg("--dir").arg(share.dir);
        command.args(["--listen", &share.listen.to_string()]);
        if share.encrypted {
            command.arg("--encrypted");
        }
        if let Some(peer) = dial {
            command.args(["--dial", &peer.to_string()]);
        }
        let mut command = there(share.host, command);
        Self { process: Running::start(share.scratch, "libtorrent", &mut command) }
    }
}

impl Client for Libtorrent {
    fn wait_ready(&mut self) {
        self.process.wait_for_event("checked");
    }

    fn wait_complete(&mut self) {
        self.process.wait_for_event("complete");
    }

    fn stop(&mut self) {
        self.process.end_of_input();
    }
}
