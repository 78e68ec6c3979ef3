//! As many peers as a process can have, and many processes among themselves.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{MIB, Seeded, between, command, figures, noise, pause, setting};
use crate::hostile::{BITFIELD, INTERESTED, PIECE, UNCHOKE, handshake, message, request};
use crate::support::rondalla::listening;
use crate::support::{Noise, Running, free_address, wait_until, write_noise};

/// Descriptors of a process beside those of its peers.
const DESCRIPTORS_SPARE: u64 = 300;

/// A thread and a socket that may dial the seeder at any moment.
const DIALS: u64 = 1;

/// The message id of BEP 3.
const NOT_INTERESTED: u8 = 3;

/// Peers of the crowd that want something, and fetch a block when they may.
const CURIOUS: u64 = 40;

/// One of the crowd.
struct Idler {
    stream: TcpStream,
    curious: bool,
}

impl Idler {
    /// Shakes hands, and says that it has nothing.
    fn meet(address: SocketAddr, infohash: &[u8; 20], pieces: u32, number: u64) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        let peer_id = format!("-XX0000-{number:012}");
        stream.write_all(&handshake(infohash, peer_id.as_bytes().try_into().unwrap())).unwrap();
        let nothing = vec![0; pieces.div_ceil(8) as usize];
        stream.write_all(&message(BITFIELD, &nothing)).unwrap();
        let curious = number < CURIOUS;
        if curious {
            stream.write_all(&message(INTERESTED, &[])).unwrap();
        }
        stream.read_exact(&mut [0; 68]).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, curious }
    }

    /// Fetches a block of the first piece as it is unchoked; whether it has it now. Who is choked
    /// again before it is served asks again when it may.
    fn fetch(&mut self) -> bool {
        // What is there is read, and nothing is waited for but the rest of a message.
        while self.stream.peek(&mut [0]).is_ok() {
            match self.receive().0 {
                UNCHOKE => self.stream.write_all(&request(0, 0, 16 * 1024)).unwrap(),
                PIECE => {
                    // Its slot is for the next.
                    self.stream.write_all(&message(NOT_INTERESTED, &[])).unwrap();
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let (mut bytes, mut filled) = (vec![0; len], 0);
        let whole = wait_until(|| {
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) if filled < len => panic!("it was hung up on"),
                Ok(n) => filled += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            (filled == len).then_some(())
        });
        assert!(whole.is_some(), "the rest of a message does not come");
        bytes
    }

    fn keep_alive(&mut self) {
        self.stream.write_all(&[0; 4]).unwrap();
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        loop {
            let len = u32::from_be_bytes(self.read(4).try_into().expect("4 bytes"));
            let mut payload = self.read(len as usize);
            if !payload.is_empty() {
                return (payload.remove(0), payload);
            }
        }
    }
}

/// Raises the limit of open files of this process and of those that it starts.
fn allow_descriptors(count: u64) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &std::process::id().to_string(), &format!("--nofile={count}:")]);
    assert!(prlimit.status().unwrap().success(), "{prlimit:?}");
}

/// `PEERS` (2,000 in full, 600 by default) connections to one process, which downloads from one of
/// them, is idle among them for `IDLE` seconds (60 in full, 15 by default), and sees them all go.
#[test]
#[ignore = "needs thousands of descriptors and threads"]
fn a_crowd_of_idle_peers_costs_little_and_leaves_nothing() {
    let (count, mut noise) = (setting("PEERS", 600), noise());
    allow_descriptors(count + DESCRIPTORS_SPARE);
    let make = |path: &Path| write_noise(path, 32 * MIB, &mut noise);
    let mut seeded = Seeded::new(make, "64K", &["-q"]);
    assert!(seeded.seeder.terminate().success());
    let (infohash, pieces) = (seeded.metainfo.info_hash().0, seeded.metainfo.pieces());
    seeded.address = free_address(IpAddr::from([127, 0, 0, 1]));

    let mut node = seeded.download_command("node", &[]);
    node.args(["--seed", "--max-peers", &(count + 10).to_string()]);
    // glibc gives threads heaps of their own, whose remains grow from crowd to crowd by less and less;
    // in one heap it shows whether anything of ours does.
    node.env("MALLOC_ARENA_MAX", "1");
    let mut node = Running::start(&seeded.scratch, "node", &mut node);
    let id = node.id();
    let address = listening(&mut node);
    node.wait_for_event("checked");
    let look = || [figures::memory_kb(id), figures::threads(id), figures::open_files(id)];
    let before = look();
    let mut crowd: Vec<_> =
        (0..count).map(|number| Idler::meet(address, &infohash, pieces, number)).collect();
    let all_here = wait_until(|| (figures::threads(id) >= 2 * count).then_some(()));
    assert!(all_here.is_some(), "{} threads for {count} peers", figures::threads(id));
    let among = look();
    let each = (among[0] - before[0]) * 1024 / count;
    println!("{count} peers: {each} bytes of memory each, {} threads in all", among[1]);
    assert!(among[2] <= before[2] + count + DIALS, "more than a descriptor each");

    // Everything comes through the crowd, which is told of every piece.
    crowd.iter_mut().for_each(Idler::keep_alive);
    seeded.seed_again();
    node.wait_for_event("finished");
    seeded.assert_is_at("node");
    crowd.iter_mut().for_each(Idler::keep_alive);
    let fetched = wait_until(|| {
        let curious = crowd.iter_mut().filter(|idler| idler.curious);
        curious.for_each(|idler| idler.curious = !idler.fetch());
        crowd.iter().all(|idler| !idler.curious).then_some(())
    });
    assert!(fetched.is_some(), "somebody is never unchoked");
    crowd.iter_mut().for_each(Idler::keep_alive);
    let mut other = seeded.download("other", &[address], &[]);
    assert!(other.wait_for_exit().success(), "{}", other.stderr());
    seeded.assert_is_at("other");

    // Whoever has nothing to say comes to rest.
    let most = before[1] + count + CURIOUS + DIALS;
    let rests = wait_until(|| (figures::threads(id) <= most).then_some(()));
    assert!(rests.is_some(), "{} threads for {count} idle peers", figures::threads(id));
    crowd.iter_mut().for_each(Idler::keep_alive);
    let (idle, ticks, wakings) = (setting("IDLE", 15), figures::ticks(id), figures::wakings(id));
    pause(Duration::from_secs(idle));
    let (ticks, wakings) =
        (figures::ticks(id) - ticks, figures::wakings(id).saturating_sub(wakings));
    println!("{idle} s among {count} idle peers: {ticks} ticks, {wakings} wakings");
    let among_idle = figures::memory_kb(id);
    drop(crowd);
    let after = assert_rests(id, before);

    // Crowds that come after it need no more than one another: what is kept is used again. Now that
    // everything is here, those who want nothing have one thread each.
    let another = || {
        let crowd: Vec<_> =
            (0..count).map(|number| Idler::meet(address, &infohash, pieces, number)).collect();
        let (among, threads) = (figures::memory_kb(id), figures::threads(id));
        assert!((count..=most).contains(&threads), "{threads} threads for {count} peers");
        drop(crowd);
        (among, assert_rests(id, before))
    };
    let (second, third) = (another(), another());
    println!(
        "kB before, among and after them: {} {among_idle} {after}, again: {second:?}, again: {third:?}",
        before[0]
    );
    assert!(third.0 * 100 <= second.0 * 105, "the third crowd took more than the second");
    assert!(node.terminate().success(), "{}", node.stderr());
}

/// Waits for the threads and descriptors of whoever is gone to go too; the memory in kB then.
fn assert_rests(id: u32, before: [u64; 3]) -> u64 {
    let mut now = before;
    let rests = wait_until(|| {
        now = [figures::memory_kb(id), figures::threads(id), figures::open_files(id)];
        // A file of the torrent stays open.
        (now[1] <= before[1] + DIALS && now[2] <= before[2] + 1 + DIALS).then_some(())
    });
    assert!(rests.is_some(), "threads or descriptors stay: {before:?}, now {now:?}");
    now[0]
}

/// `SWARM` processes (20 in full, 12 by default), each of which dials four others, and `KILLS` (60
/// in full, 15 by default) of them at random moments: all become complete.
#[test]
#[ignore = "needs half a minute, and 1 GB of disk"]
fn a_swarm_survives_any_kills() {
    let (count, kills) = (setting("SWARM", 12), setting("KILLS", 15));
    let mut noise = noise();
    let make = |path: &Path| super::write_odd_files(path, 50, 32 * MIB, &mut noise);
    let mut seeded = Seeded::new(make, "64K", &["--limit-up", "20M"]);
    let ip = IpAddr::from([127, 0, 0, 1]);
    let addresses: Vec<_> = (0..count).map(|_| free_address(ip)).collect();
    let numbers = 0..addresses.len();
    let mut members: Vec<_> =
        numbers.map(|number| Member::new(&seeded, &addresses, number, &mut noise)).collect();
    for _ in 0..kills {
        pause(Duration::from_millis(between(&mut noise, 50..600)));
        let whom = index(&mut noise, members.len());
        members[whom].kill(&seeded);
    }
    for member in &mut members {
        member.process.wait_for_event("finished");
    }
    for mut member in members {
        assert!(member.process.terminate().success(), "{}", member.process.stderr());
        seeded.assert_is_at(&member.name);
    }
    assert!(seeded.seeder.terminate().success());
}

/// A member of a swarm that is killed now and then.
struct Member {
    name: String,
    command: Command,
    process: Running,
}

impl Member {
    fn new(seeded: &Seeded, addresses: &[SocketAddr], number: usize, noise: &mut Noise) -> Self {
        let name = format!("member-{number}");
        let dir = seeded.scratch.path(&name);
        let mut others = |_| addresses[index(noise, addresses.len())];
        let mut peers: Vec<_> = (0..4).map(&mut others).collect();
        // One in three meets the seeder; the others have what it gives from each other.
        if number.is_multiple_of(3) {
            peers[0] = seeded.address;
        }
        let listen = addresses[number];
        let mut command = command("download", listen, &[&seeded.torrent], &dir, &peers);
        command.arg("--dir").arg(&dir).args(["--seed", "--limit-down", "4M"]);
        let process = Running::start(&seeded.scratch, &name, &mut command);
        Self { name, command, process }
    }

    /// Kills it, and starts it again with the same command.
    fn kill(&mut self, seeded: &Seeded) {
        self.process.kill();
        self.process = Running::start(&seeded.scratch, &self.name, &mut self.command);
    }
}

/// A random index of `len` things.
fn index(noise: &mut Noise, len: usize) -> usize {
    usize::try_from(between(noise, 0..len as u64)).expect("below len")
}
