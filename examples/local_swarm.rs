//! A swarm in one process that finds itself: eight clients on loopback, of which one has the data and
//! each knows one node of the Chord ring. No tracker, and nobody is told whom to dial.
//!
//! Run it with `cargo run --release --example local_swarm [MIB]`.

#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use rondalla::bus::{Event, PeerState, TorrentEvent};
use rondalla::formats::metainfo::{Draft, DraftFile, Metainfo};
use rondalla::session::{ChordOptions, Goal, Options, Remote, Session, Torrent};
use rondalla::words::address::Address;
use rondalla::words::rng::Rng;
use sha1::{Digest, Sha1};

const LEECHERS: usize = 7;
const PIECE_LEN: u32 = 256 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(64), |mib| mib.parse())?;
    let scratch = std::env::temp_dir().join(format!("rondalla-swarm-{}", std::process::id()));
    let outcome = swarm(&scratch, mib);
    fs::remove_dir_all(&scratch)?;
    outcome
}

fn swarm(scratch: &Path, mib: usize) -> Result<(), Box<dyn Error>> {
    let mut data = vec![0; mib << 20];
    Rng::new(1).fill(&mut data);
    fs::create_dir_all(scratch.join("seeder"))?;
    fs::write(scratch.join("seeder/tune.bin"), &data)?;
    let metainfo = describe("tune.bin", &data)?;
    println!("{mib} MiB in {} pieces, info-hash {}", metainfo.pieces(), metainfo.info_hash());

    // The seeder begins the ring, and each of the others knows this one node of it.
    let seeder = start(scratch.join("seeder"), &metainfo, Goal::Seed, None)?;
    let leechers = (0..LEECHERS)
        .map(|n| {
            let dir = scratch.join(format!("leecher-{n}"));
            start(dir, &metainfo, Goal::CompleteAndSeed, Some(&seeder.address))
        })
        .collect::<Result<Vec<_>, _>>()?;

    for leecher in leechers {
        let (met, seconds) =
            leecher.reader.join().map_err(|_panic| "a reader of events failed")??;
        let same = fs::read(leecher.dir.join("tune.bin"))? == data;
        let name = leecher.dir.display();
        println!(
            "{name}: first peer after {met:.2} s, complete after {seconds:.2} s, equal: {same}"
        );
        leecher.remote.quit();
        leecher.main.join().map_err(|_panic| "a main loop failed")?;
        if !same {
            return Err("the bytes differ".into());
        }
    }
    seeder.remote.quit();
    seeder.main.join().map_err(|_panic| "a main loop failed")?;
    println!("all {LEECHERS} leechers are equal to the seeder");
    Ok(())
}

/// The torrent of one file that holds `data`.
fn describe(name: &str, data: &[u8]) -> Result<Metainfo, Box<dyn Error>> {
    let hash = |piece: &[u8]| <[u8; 20]>::from(Sha1::digest(piece));
    let draft = Draft {
        name: name.into(),
        piece_length: PIECE_LEN,
        files: vec![DraftFile { path: Vec::new(), len: data.len() as u64 }],
        hashes: data.chunks(PIECE_LEN as usize).flat_map(hash).collect(),
        ..Draft::default()
    };
    Ok(Metainfo::parse(&draft.encode())?)
}

/// A session that runs: its main loop on one thread, whoever reads its events on another.
struct Running {
    address: Address,
    dir: PathBuf,
    remote: Remote,
    main: JoinHandle<()>,
    /// Seconds until the first peer was met, and until everything was there.
    reader: JoinHandle<Result<(f64, f64), String>>,
}

fn start(
    dir: PathBuf,
    metainfo: &Metainfo,
    goal: Goal,
    knows: Option<&Address>,
) -> Result<Running, Box<dyn Error>> {
    let (began, listen) = (now(), Some("127.0.0.1:0".parse()?));
    let join = knows.into_iter().cloned().collect();
    let chord = Some(ChordOptions { join, ..ChordOptions::default() });
    let options = Options { listen, goal, chord, ..Options::new(dir.join("state")) };
    let mut session = Session::open(options)?;
    session.add(Torrent::new(metainfo.clone(), &dir));
    let address = session.address().expect("it listens").to_string().parse()?;

    let (remote, events) = (session.remote(), session.events());
    let reader = Builder::new().name("reader".into()).spawn(move || {
        let mut met = None;
        for event in events {
            if let Event::Torrent(_, TorrentEvent::Peer { state: PeerState::Connected, .. }) = event
            {
                met.get_or_insert_with(|| began.elapsed().as_secs_f64());
            }
            if let Event::Torrent(_, TorrentEvent::Finished { .. }) = event {
                return Ok((met.unwrap_or_default(), began.elapsed().as_secs_f64()));
            }
            if let Event::Torrent(_, TorrentEvent::Error(trouble)) = event {
                return Err(format!("{}: {}", trouble.what, trouble.why));
            }
        }
        Err("it ended before it was complete".to_owned())
    })?;
    let main = Builder::new().name("main".into()).spawn(move || session.run())?;
    Ok(Running { address, dir, remote, main, reader })
}

#[expect(clippy::disallowed_methods, reason = "real time is measured")]
fn now() -> Instant {
    Instant::now()
}
