//! Exchanges with the clients that people use. Each is started on loopback; what arrives is
//! compared to the byte, and nothing else may lie in the folder.
//!
//! `apt-get install aria2 opentracker transmission-daemon transmission-cli python3-libtorrent`, then
//! `cargo test --release -- --ignored interop`.

mod clients;
mod trackers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, free_address, write_noise};
use clients::{Kind, Libtorrent, Role, Share};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is shared.
#[derive(Clone, Copy)]
enum Input {
    /// 100 MiB and one byte, so that the last block is one byte long.
    File,
    /// 200 files in nested folders, of odd and zero sizes.
    Folder,
}

impl Input {
    /// Makes it below `parent`; gives its path.
    fn make(self, parent: &Path) -> PathBuf {
        match self {
            Self::File => {
                let path = parent.join("a hundred MiB.bin");
                write_noise(&path, 100 * 1024 * 1024 + 1, &mut Noise::new(1));
                path
            }
            Self::Folder => {
                let path = parent.join("two hundred files");
                make_folder(&path);
                path
            }
        }
    }
}

/// Sizes around those of a block and of a 4 MiB piece, some zero at the start, amid and at the end.
fn make_folder(root: &Path) {
    let mut noise = Noise::new(2);
    for i in 0..200 {
        let len = match i {
            0 | 99 | 100 | 199 => 0,
            50 => 4 * 1024 * 1024,
            51 => 4 * 1024 * 1024 + 1,
            _ => match noise.number() % 8 {
                0 => 0,
                1 => 1,
                2 => 16 * 1024 - 1,
                3 => 16 * 1024,
                4 => 16 * 1024 + 1,
                5 => 3 * 16 * 1024,
                _ => noise.number() % 200_000,
            },
        };
        let name = format!("{:02}/{}ü/file {i:03}.bin", i / 20, i / 5 % 2);
        write_noise(&root.join(name), len, &mut noise);
    }
}

/// A torrent with its data at one end and an empty folder at the other.
struct Setup {
    scratch: Scratch,
    torrent: PathBuf,
    source: PathBuf,
    data: PathBuf,
    target: PathBuf,
    whole: Tree,
    may_lack_empty_files: bool,
    /// The other client takes nothing but RC4.
    encrypted: bool,
    /// Options of `rondalla`.
    options: &'static [&'static str],
}

impl Setup {
    fn new(input: Input, piece_length: &str) -> Self {
        let scratch = Scratch::new();
        let (source, target) = (scratch.folder("source"), scratch.folder("target"));
        let data = input.make(&source);
        let torrent = scratch.path("it.torrent");
        rondalla::create(&data, &torrent, &["--piece-length", piece_length]);
        let whole = Tree::of(&source);
        let (may_lack_empty_files, encrypted, options) = (false, false, &[][..]);
        Self {
            scratch,
            torrent,
            source,
            data,
            target,
            whole,
            may_lack_empty_files,
            encrypted,
            options,
        }
    }

    /// The share of a client of somebody else.
    fn other(&self, role: Role, ip: IpAddr) -> Share<'_> {
        let dir = match role {
            Role::Seeds => &self.source,
            Role::Leeches => &self.target,
        };
        let listen = free_address(ip);
        let (scratch, torrent, encrypted) = (&self.scratch, &self.torrent, self.encrypted);
        Share { scratch, torrent, dir, listen, role, encrypted, udp_trackers: false, host: None }
    }

    /// Starts `rondalla` in the role that the other client does not have.
    fn rondalla_opposite(&self, role: Role, listen: &str, peers: &[SocketAddr]) -> Running {
        let (dir, subcommand) = match role {
            Role::Seeds => (&self.target, "download"),
            Role::Leeches => (&self.source, "seed"),
        };
        let (torrent, options) = (&self.torrent, self.options);
        let share = rondalla::Share { torrent, dir, listen, peers, options };
        share.start(&self.scratch, "rondalla", subcommand)
    }

    /// Waits for the end of a download to `dir`, which must be told as the contract says.
    fn assert_finishes(&self, rondalla: &mut Running, dir: &Path) {
        let finished = rondalla.wait_for_event("finished");
        let path = Path::new(finished["path"].as_str().expect("finished has a path"));
        let expected = dir.join(self.data.file_name().expect("data has a name"));
        assert_eq!(path.canonicalize().unwrap(), expected.canonicalize().unwrap());
    }

    /// Waits for both ends of an exchange and compares.
    fn assert_exchange(
        &self,
        role: Role,
        mut other: Box<dyn clients::Client>,
        mut rondalla: Running,
    ) {
        match role {
            Role::Seeds => {
                self.assert_finishes(&mut rondalla, &self.target);
                assert!(rondalla.wait_for_exit().success(), "the download did not exit with 0");
            }
            Role::Leeches => {
                other.wait_complete();
                assert!(rondalla.terminate().success(), "the seed did not exit with 0");
            }
        }
        other.stop();
        let without_empty_files = self.whole.without_empty_files();
        if !self.may_lack_empty_files || Tree::of(&self.target) != without_empty_files {
            self.whole.assert_is_at(&self.target);
        }
    }
}

/// The other client listens, rondalla dials.
fn exchange(kind: Kind, role: Role, input: Input, piece_length: &str) {
    exchange_in(Setup::new(input, piece_length), kind, role);
}

fn exchange_in(mut setup: Setup, kind: Kind, role: Role) {
    let share = setup.other(role, LOOPBACK);
    let mut other = kind.start(&share);
    other.wait_ready();
    let rondalla = setup.rondalla_opposite(role, "127.0.0.1:0", &[share.listen]);
    // Transmission 3.00 never makes an empty file.
    setup.may_lack_empty_files = matches!((kind, role), (Kind::Transmission, Role::Leeches));
    setup.assert_exchange(role, other, rondalla);
}

macro_rules! exchanges {
    ($($module:ident: $kind:expr, $role:expr;)*) => {$(
        mod $module {
            use super::{Input, Kind, Role, exchange};

            #[test]
            #[ignore = "needs aria2, Transmission and libtorrent (apt)"]
            fn a_file_in_pieces_of_16_kib() {
                exchange($kind, $role, Input::File, "16KiB");
            }

            #[test]
            #[ignore = "needs aria2, Transmission and libtorrent (apt)"]
            fn a_file_in_pieces_of_4_mib() {
                exchange($kind, $role, Input::File, "4MiB");
            }

            #[test]
            #[ignore = "needs aria2, Transmission and libtorrent (apt)"]
            fn a_folder_in_pieces_of_16_kib() {
                exchange($kind, $role, Input::Folder, "16KiB");
            }

            #[test]
            #[ignore = "needs aria2, Transmission and libtorrent (apt)"]
            fn a_folder_in_pieces_of_4_mib() {
                exchange($kind, $role, Input::Folder, "4MiB");
            }
        }
    )*};
}

exchanges! {
    aria2_seeds: Kind::Aria2, Role::Seeds;
    aria2_leeches: Kind::Aria2, Role::Leeches;
    transmission_seeds: Kind::Transmission, Role::Seeds;
    transmission_leeches: Kind::Transmission, Role::Leeches;
    libtorrent_seeds: Kind::Libtorrent, Role::Seeds;
    libtorrent_leeches: Kind::Libtorrent, Role::Leeches;
}

/// The other client listens, rondalla dials; whoever leeches knows a magnet link alone.
fn exchange_by_magnet(kind: Kind, role: Role) {
    let mut setup = Setup::new(Input::Folder, "16KiB");
    let torrent = setup.torrent.clone();
    let link = rondalla::show(&torrent)["magnet"].as_str().expect("a link").to_owned();
    if role == Role::Leeches {
        setup.torrent = PathBuf::from(&link);
    }
    let share = setup.other(role, LOOPBACK);
    let mut other = kind.start(&share);
    other.wait_ready();
    let peers = [share.listen];
    setup.torrent = if role == Role::Leeches { torrent } else { PathBuf::from(link) };
    let rondalla = setup.rondalla_opposite(role, "127.0.0.1:0", &peers);
    setup.may_lack_empty_files = matches!((kind, role), (Kind::Transmission, Role::Leeches));
    setup.assert_exchange(role, other, rondalla);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_magnet_link_is_resolved_by_aria2() {
    exchange_by_magnet(Kind::Aria2, Role::Seeds);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn aria2_resolves_a_magnet_link_by_us() {
    exchange_by_magnet(Kind::Aria2, Role::Leeches);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_magnet_link_is_resolved_by_transmission() {
    exchange_by_magnet(Kind::Transmission, Role::Seeds);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_magnet_link_is_resolved_by_libtorrent() {
    exchange_by_magnet(Kind::Libtorrent, Role::Seeds);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn libtorrent_resolves_a_magnet_link_by_us() {
    exchange_by_magnet(Kind::Libtorrent, Role::Leeches);
}

/// rondalla listens, libtorrent dials.
fn accept(role: Role, ip: IpAddr) {
    if let Err(error) = TcpListener::bind((ip, 0)) {
        eprintln!("left out, this machine cannot listen on {ip}: {error}");
        return;
    }
    accept_in(&Setup::new(Input::Folder, "64KiB"), role, ip);
}

fn accept_in(setup: &Setup, role: Role, ip: IpAddr) {
    let any_port = SocketAddr::new(ip, 0).to_string();
    let mut rondalla = setup.rondalla_opposite(role, &any_port, &[]);
    let addr = listening(&mut rondalla);
    assert_eq!(addr.ip(), ip, "it listens elsewhere than told");
    rondalla.wait_for_event("checked");
    let other = Libtorrent::start(&setup.other(role, ip), Some(addr));
    setup.assert_exchange(role, Box::new(other), rondalla);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_seeding_libtorrent_dials_us() {
    accept(Role::Seeds, LOOPBACK);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_leeching_libtorrent_dials_us() {
    accept(Role::Leeches, LOOPBACK);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_seeding_libtorrent_dials_us_over_ipv6() {
    accept(Role::Seeds, IpAddr::V6(Ipv6Addr::LOCALHOST));
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_leeching_libtorrent_dials_us_over_ipv6() {
    accept(Role::Leeches, IpAddr::V6(Ipv6Addr::LOCALHOST));
}

/// The other client takes nothing but RC4; rondalla dials it plainly first, then with encryption, or
/// with encryption alone.
fn exchange_encrypted(kind: Kind) {
    for role in [Role::Seeds, Role::Leeches] {
        for options in [&[][..], &["--encryption", "require"]] {
            let setup = Setup::new(Input::Folder, "64KiB");
            exchange_in(Setup { encrypted: true, options, ..setup }, kind, role);
        }
    }
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn aria2_requires_encryption() {
    exchange_encrypted(Kind::Aria2);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn transmission_requires_encryption() {
    exchange_encrypted(Kind::Transmission);
}

#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn libtorrent_requires_encryption() {
    exchange_encrypted(Kind::Libtorrent);
}

/// With encryption alone, or with whatever it likes where rondalla requires it.
#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_libtorrent_that_requires_encryption_dials_us() {
    for role in [Role::Seeds, Role::Leeches] {
        accept_in(&Setup { encrypted: true, ..Setup::new(Input::Folder, "64KiB") }, role, LOOPBACK);
        let options = &["--encryption", "require"];
        accept_in(&Setup { options, ..Setup::new(Input::Folder, "64KiB") }, role, LOOPBACK);
    }
}

/// libtorrent (seed) ← first → aria2 ← second → first: the second never meets the seed.
#[test]
#[ignore = "needs aria2, Transmission and libtorrent (apt)"]
fn a_swarm_of_three_clients() {
    let setup = Setup::new(Input::File, "256KiB");
    let seed_share = setup.other(Role::Seeds, LOOPBACK);
    let mut seed = Kind::Libtorrent.start(&seed_share);
    let aria2_share = setup.other(Role::Leeches, LOOPBACK);
    let mut aria2 = Kind::Aria2.start(&aria2_share);
    seed.wait_ready();
    aria2.wait_ready();

    let leech = |name: &str, peers: &[SocketAddr]| {
        let dir = setup.scratch.folder(name);
        let (torrent, listen) = (&setup.torrent, "127.0.0.1:0");
        // Peers are met by --peer alone, else the second could find the seed.
        let options = &["--seed", "--no-pex"];
        let share = rondalla::Share { torrent, dir: &dir, listen, peers, options };
        (share.start(&setup.scratch, name, "download"), dir)
    };
    let (mut first, first_dir) = leech("first", &[seed_share.listen, aria2_share.listen]);
    let first_listens = listening(&mut first);
    let (mut second, second_dir) = leech("second", &[first_listens, aria2_share.listen]);

    for (leecher, dir) in [(&mut first, &first_dir), (&mut second, &second_dir)] {
        setup.assert_finishes(leecher, dir);
    }
    aria2.wait_complete();
    for leecher in [&mut first, &mut second] {
        assert!(leecher.terminate().success(), "a seeding download did not exit with 0");
    }
    aria2.stop();
    seed.stop();
    for dir in [&first_dir, &second_dir, &setup.target] {
        setup.whole.assert_is_at(dir);
    }
}
