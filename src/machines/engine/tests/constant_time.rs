//! One script at ten times the peers, the pieces, the torrents and the files: the largest number of
//! steps that each kind of news takes is the same.
//!
//! At its smallest the script already reaches every limit: more peers than levels of rarity, more
//! words of pieces than a scan looks at, more peers waiting than a turn retries.

use super::*;
use crate::formats::mse::skey_hash;
use crate::words::bitfield::words_for;

/// How large the script is.
#[derive(Clone, Copy)]
struct Scale {
    peers: u32,
    pieces: u32,
    torrents: u32,
    files: u32,
    blocks: u32,
}

const SMALL: Scale = Scale { peers: 80, pieces: 70 * 64, torrents: 1, files: 2, blocks: 2 };

/// The largest number of steps by the kind of news.
type Dearest = BTreeMap<&'static str, u32>;

struct Script {
    drive: Drive,
    scale: Scale,
    dearest: Dearest,
}

impl Script {
    fn run(scale: Scale) -> Dearest {
        let memory = 40 * u64::from(scale.blocks * BLOCK_LEN);
        let settings =
            Settings { peers_max: 10_000, memory, goal: Goal::CompleteAndSeed, ..settings() };
        let mut drive = Drive::new(settings);
        drive.checked = false;
        let mut script = Self { drive, scale, dearest: Dearest::new() };
        script.opens();
        script.meets();
        script.trades();
        script.ends();
        script.dearest
    }

    /// Does something and notes what it took.
    fn count<T>(&mut self, kind: &'static str, act: impl FnOnce(&mut Drive) -> T) -> T {
        let done = act(&mut self.drive);
        let steps = self.drive.engine.steps();
        assert!(steps as usize <= limits::STEPS_MAX, "{kind}: {steps} steps");
        let most = self.dearest.entry(kind).or_default();
        *most = steps.max(*most);
        done
    }

    fn opens(&mut self) {
        let contacts: Vec<_> = (1..=64).map(|port| format!("127.0.0.1:{port}")).collect();
        let contacts: Vec<_> = contacts.iter().map(String::as_str).collect();
        for n in 0..self.scale.torrents {
            let torrent = folder(n, self.scale);
            self.count("add", |drive| drive.adds(torrent, &contacts));
            self.count("checking", |drive| drive.storage(n, StorageNews::Checking(1)));
            self.count("opened", |drive| drive.storage(n, StorageNews::Opened));
        }
    }

    fn meets(&mut self) {
        // Those that are dialled do not answer, so that the places for dials are taken.
        let peers: Vec<u32> = (0..self.scale.peers).map(|n| self.meet(n)).collect();
        let words = words_for(self.scale.pieces);
        for peer in &peers {
            let theirs = self.drive.shared(*peer);
            for piece in (0..self.scale.pieces).map(PieceIndex) {
                theirs.theirs.set(piece);
            }
            for first in (0..words).map(|word| PieceIndex(64 * word)) {
                let gained = PeerNews::Gained(Word { first, bits: u64::MAX });
                self.count("gained", |drive| drive.news(*peer, gained));
            }
            self.count("completed", |drive| drive.news(*peer, PeerNews::Completed));
        }
    }

    /// Somebody dials us for the first torrent.
    fn meet(&mut self, n: u32) -> u32 {
        let admit = self.count("accepted", Drive::accepted);
        let peer: u32 = admit.strip_prefix("admit ").unwrap().parse().unwrap();
        let info_hash = self.drive.torrents[0].metainfo.info_hash();
        if n.is_multiple_of(2) {
            self.count("hello", |drive| drive.news(peer, PeerNews::Hello(info_hash)));
        } else {
            let name = skey_hash(info_hash);
            self.count("hello by skey", |drive| drive.news(peer, PeerNews::HelloBySkey(name)));
        }
        let mut id = [1; 20];
        id[..4].copy_from_slice(&n.to_le_bytes());
        let greeting = Greeting { peer_id: PeerId(id), ..Greeting::default() };
        self.count("connected", |drive| drive.greeted(peer, greeting));
        peer
    }

    fn trades(&mut self) {
        let seeder = self.meet(1_000_000);
        let everything = self.drive.shared(seeder);
        (0..self.scale.pieces).map(PieceIndex).for_each(|piece| {
            everything.theirs.set(piece);
        });
        self.count("seeder", |drive| drive.news(seeder, PeerNews::Seeder));
        let found = Word { first: PieceIndex(64), bits: u64::MAX };
        self.count("found", |drive| drive.storage(0, StorageNews::Found(found)));
        let unwanted = Word { first: PieceIndex(128), bits: u64::MAX };
        self.count("unwanted", |drive| drive.storage(0, StorageNews::Unwanted(unwanted)));
        let talkers = self.drive.peers.iter().filter(|(_, peer)| peer.shared.is_some());
        let mut talkers: Vec<u32> = talkers.map(|(peer, _)| *peer).collect();
        self.each("interested", &talkers, || PeerNews::Interested);
        // Those that come last wait for a slot, and their rates are to win one.
        talkers.reverse();
        self.each("unchoked", &talkers, || PeerNews::Unchoked);
        talkers
            .iter()
            .for_each(|peer| drop(self.count("performed", |drive| drive.performs(*peer))));
        self.downloads(&talkers);
        self.waits(Duration::from_secs(1));
        self.each("sample", &talkers, || PeerNews::Sample);
        self.uploads(&talkers);
        self.rejects(&talkers);
        self.each("stalled", &talkers, || PeerNews::Stalled);
        self.waits(Duration::from_secs(60));
        self.each("choked", &talkers, || PeerNews::Choked);
        self.each("not interested", &talkers, || PeerNews::NotInterested);
        self.waits(Duration::from_secs(1));
    }

    /// Everyone asks for a block, and whoever is served for as many as may wait for its writer; then
    /// each takes one back that is not among them.
    fn uploads(&mut self, talkers: &[u32]) {
        let metainfo = Arc::clone(&self.drive.torrents[0].metainfo);
        let block = |n| metainfo.block(PieceIndex(64), n);
        self.each("requested", talkers, || PeerNews::Requested(block(0)));
        let served: Vec<u32> =
            talkers.iter().copied().filter(|peer| self.drive.is_served(*peer)).collect();
        for peer in served {
            while self.drive.talk(peer).answers.len() < limits::UPLOADS_MAX {
                self.each("requested", &[peer], || PeerNews::Requested(block(0)));
            }
        }
        self.each("cancelled", talkers, || PeerNews::Cancelled(block(1)));
    }

    /// Everyone who owes something rejects the first of it.
    fn rejects(&mut self, talkers: &[u32]) {
        for peer in talkers {
            if let Some(block) = self.drive.peers[peer].asked.front().copied() {
                self.count("rejected", |drive| drive.news(*peer, PeerNews::Rejected(block)));
            }
        }
    }

    /// Each of `peers` that is still there tells this.
    fn each(&mut self, kind: &'static str, peers: &[u32], news: impl Fn() -> PeerNews) {
        for peer in peers {
            if !self.drive.peers[peer].hung_up {
                self.count(kind, |drive| drive.news(*peer, news()));
            }
        }
    }

    /// Blocks come until pieces are whole; of these the first is corrupt.
    fn downloads(&mut self, talkers: &[u32]) {
        let asked: Vec<(u32, Block)> = talkers
            .iter()
            .flat_map(|peer| self.drive.peers[peer].asked.iter().map(|block| (*peer, *block)))
            .collect();
        for (peer, block) in &asked {
            let n = block.offset / BLOCK_LEN;
            self.count("block", |drive| drive.sends(*peer, block.piece.0, n));
        }
        let pieces: std::collections::BTreeSet<_> =
            asked.iter().map(|(_, block)| block.piece).collect();
        for (n, piece) in pieces.into_iter().enumerate() {
            let (kind, news) = match n {
                0 => ("corrupt", StorageNews::Corrupt(piece)),
                _ => ("verified", StorageNews::Verified(piece)),
            };
            self.count(kind, |drive| drive.storage(0, news));
            if n == 0 {
                let changed = Word { first: PieceIndex(0), bits: 0b11 };
                let guilty = StorageNews::Guilty(piece, changed);
                self.count("guilty", |drive| drive.storage(0, guilty));
            }
        }
        self.count("settled", |drive| drive.storage(0, StorageNews::Settled));
    }

    /// Time passes, each timer by itself.
    fn waits(&mut self, time: Duration) {
        let until = self.drive.now + time;
        while let Some(due) = self.drive.engine.poll_deadline().filter(|due| *due <= until) {
            self.drive.now = due;
            self.count("time", |drive| {
                drive.engine.handle_time(due);
                drive.orders()
            });
        }
    }

    fn ends(&mut self) {
        let leaving =
            self.drive.peers.iter().find(|(_, peer)| peer.shared.is_some() && !peer.hung_up);
        let leaving = *leaving.unwrap().0;
        for first in (0..words_for(self.scale.pieces)).map(|word| PieceIndex(64 * word)) {
            let lost = PeerNews::Lost(Word { first, bits: u64::MAX });
            self.count("lost", |drive| drive.news(leaving, lost));
        }
        let gone = || PeerNews::Gone(Farewell { reason: String::new(), fault: Fault::Nobodys });
        self.count("gone", |drive| drive.news(leaving, gone()));
        self.count("quit", Drive::quits);
        self.waits(Duration::from_secs(1));
        let there: Vec<u32> = self.drive.peers.keys().copied().collect();
        for peer in there {
            self.count("gone", |drive| drive.news(peer, gone()));
        }
        for n in 0..self.scale.torrents {
            self.count("closed", |drive| drive.storage(n, StorageNews::Closed));
        }
        assert!(self.drive.engine.is_ended());
    }
}

/// Torrent number `n` of so many files.
fn folder(n: u32, scale: Scale) -> Metainfo {
    let piece_len = scale.blocks * BLOCK_LEN;
    let len = u64::from(scale.pieces) * u64::from(piece_len);
    let each = len / u64::from(scale.files);
    let mut lens = vec![each; scale.files as usize];
    lens[0] += len - each * u64::from(scale.files);
    made_up::folder(&n.to_string(), piece_len, &lens)
}

/// Asserts that a script of this scale takes as many steps as the small one.
#[track_caller]
fn check(scale: Scale) {
    let (small, large) = (Script::run(SMALL), Script::run(scale));
    assert_eq!(small, large);
}

#[test]
fn ten_times_the_peers_take_the_same_steps() {
    check(Scale { peers: 10 * SMALL.peers, ..SMALL });
}

#[test]
fn ten_times_the_pieces_take_the_same_steps() {
    check(Scale { pieces: 10 * SMALL.pieces, ..SMALL });
}

#[test]
fn ten_times_the_torrents_and_files_take_the_same_steps() {
    check(Scale { torrents: 10, files: 20, ..SMALL });
}

/// With pieces of one block the most of them are open at once. Up to 16 MiB, the longest that anybody
/// makes without being told to, no turn is dearer than that.
#[test]
fn longer_pieces_take_no_more_steps() {
    let dearest = |blocks| Script::run(Scale { blocks, ..SMALL }).into_values().max().unwrap();
    let shortest = dearest(1);
    for blocks in [64, 256, limits::PIECE_LEN_CHOSEN_MAX / BLOCK_LEN] {
        let steps = dearest(blocks);
        assert!(steps <= shortest, "{blocks} blocks: {steps} steps instead of {shortest}");
    }
}
