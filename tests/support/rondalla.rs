//! The program under test, driven by its command line alone.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use super::{Noise, Running, Scratch, write_noise};

/// The program that cargo built for these tests.
pub(crate) fn command() -> Command {
    let program = std::env::var_os("CARGO_BIN_EXE_rondalla");
    Command::new(program.expect("cargo says where it built the program"))
}

/// Makes `torrent` from `source`; gives what `create --json` says.
pub(crate) fn create(source: &Path, torrent: &Path, options: &[&str]) -> Value {
    let mut create = command();
    create.arg("create").arg(source).arg("-o").arg(torrent).args(options).arg("--json");
    json(create)
}

/// A torrent of one file, whose data is in the folder `seeder`, and its info-hash.
pub(crate) fn tune(scratch: &Scratch, options: &[&str]) -> (PathBuf, String) {
    let source = scratch.folder("seeder").join("tune.bin");
    write_noise(&source, 300_000, &mut Noise::new(1));
    let torrent = scratch.path("tune.torrent");
    let made = create(&source, &torrent, options);
    (torrent, made["infohash"].as_str().unwrap().to_owned())
}

/// The folder `name` holds the same file of [`tune`] as the folder `seeder`.
pub(crate) fn assert_same_tune(scratch: &Scratch, name: &str) {
    let [here, there] = [name, "seeder"].map(|name| scratch.path(name).join("tune.bin"));
    assert!(fs::read(here).unwrap() == fs::read(there).unwrap());
}

/// What `show --json` says of `torrent`.
pub(crate) fn show(torrent: &Path) -> Value {
    let mut show = command();
    show.arg("show").arg(torrent).arg("--json");
    json(show)
}

fn json(mut command: Command) -> Value {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let errors = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?} ended with {status}: {errors}");
    serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// A `download` or `seed` of one torrent, which meets nobody but the peers it is given.
pub(crate) struct Share<'a> {
    pub(crate) torrent: &'a Path,
    pub(crate) dir: &'a Path,
    /// An `ADDR` of the command line.
    pub(crate) listen: &'a str,
    /// The peers to dial.
    pub(crate) peers: &'a [SocketAddr],
    pub(crate) options: &'a [&'a str],
}

impl Share<'_> {
    /// Starts `rondalla SUBCOMMAND`; `name` is for its outputs and its state.
    pub(crate) fn start(&self, scratch: &Scratch, name: &str, subcommand: &str) -> Running {
        Running::start(scratch, name, &mut self.command(scratch, name, subcommand))
    }

    /// `rondalla SUBCOMMAND`, whose state is `name`'s.
    pub(crate) fn command(&self, scratch: &Scratch, name: &str, subcommand: &str) -> Command {
        let mut command = command();
        command.arg(subcommand).arg(self.torrent).arg("-d").arg(self.dir);
        command.args(["--listen", self.listen, "--no-chord", "--no-dht", "--no-lan", "--json"]);
        command.arg("--state").arg(scratch.folder(&format!("{name}.state")));
        for peer in self.peers {
            command.args(["--peer", &peer.to_string()]);
        }
        command.args(self.options);
        command
    }
}

/// Waits for the address on which `rondalla` says, first of all, that it listens.
pub(crate) fn listening(rondalla: &mut Running) -> SocketAddr {
    let event = rondalla.wait_for_event("listening");
    assert_eq!(rondalla.events()[0], event, "listening is not said first of all");
    let addr = event["addr"].as_str().expect("listening has an addr");
    addr.parse().unwrap_or_else(|error| panic!("listening on {addr}: {error}"))
}
