//! Any news in any order that the actors can give: every invariant holds after each, no writer's
//! channel is ever overfull, and in the end the session ends.

use super::*;
use crate::formats::mse::skey_hash;
use crate::formats::wire::ExtensionHandshake;
use crate::words::rng::Rng;

const PIECES: u32 = 70;

struct Chance {
    drive: Drive,
    rng: Rng,
    /// Peers that said at once that they have everything: they take nothing back.
    seeders: Vec<PeerKey>,
    /// Pieces that were corrupt and are not right yet.
    spoilt: Vec<PieceIndex>,
}

impl Chance {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let memory = u64::from(2 * BLOCK_LEN) * u64::from(1 + rng.below(8));
        let settings = Settings { memory, peers_max: 8, goal: Goal::CompleteAndSeed, ..settings() };
        let mut drive = Drive::new(settings);
        drive.adds(torrent(PIECES), &["127.0.0.1:1", "127.0.0.1:2"]);
        // One of eight pieces is there, or all but those, so that an endgame comes soon.
        let few = rng.next_u64() & rng.next_u64() & rng.next_u64();
        let bits = if rng.chance(1, 2) { few } else { !few };
        drive.storage(0, StorageNews::Found(Word { first: PieceIndex(0), bits }));
        drive.storage(0, StorageNews::Opened);
        Self { drive, rng, seeders: Vec::new(), spoilt: Vec::new() }
    }

    fn step(&mut self) {
        match self.rng.below(40) {
            0 => drop(self.drive.accepted()),
            1..5 => drop(self.drive.waits(Duration::from_millis(self.rng.next_u64() % 2_000))),
            5..9 => self.disk_works(),
            _ => self.someone_speaks(),
        }
        self.drive.events();
    }

    /// A piece that is whole is verified, or found corrupt.
    fn disk_works(&mut self) {
        let whole = self.drive.stored.iter().find(|(_, blocks)| **blocks == 2);
        let Some(piece) = whole.map(|(piece, _)| *piece) else { return };
        self.drive.stored.remove(&piece);
        if self.rng.chance(1, 4) {
            self.spoilt.push(piece);
            self.drive.storage(0, StorageNews::Corrupt(piece));
            return;
        }
        if self.spoilt.contains(&piece) {
            self.spoilt.retain(|spoilt| *spoilt != piece);
            let bits = self.rng.next_u64() & 0b11;
            let changed = Word { first: PieceIndex(0), bits };
            self.drive.storage(0, StorageNews::Guilty(piece, changed));
        }
        self.drive.storage(0, StorageNews::Verified(piece));
    }

    fn someone_speaks(&mut self) {
        let index = self.rng.below(self.drive.engine.peers.places().max(1));
        let Some(peer) = self.drive.peers.get(&index) else { return };
        match (peer.hung_up, &peer.shared) {
            (true, None) => self.ends(index),
            // What it said before it noticed is still to come.
            (true, Some(_)) if self.rng.chance(1, 3) => self.ends(index),
            (false, None) => self.greets(index),
            (_, Some(shared)) => {
                let shared = Arc::clone(shared);
                self.talks(index, &shared);
            }
        }
    }

    fn greets(&mut self, peer: u32) {
        let key = self.drive.peers[&peer].key;
        if self.rng.chance(1, 5) {
            return self.ends(peer);
        }
        let place = self.drive.engine.peers.get(key.0).unwrap();
        if place.torrent.is_none() {
            let ours = self.drive.torrents[0].metainfo.info_hash();
            let named = if self.rng.chance(1, 8) { InfoHash([3; 20]) } else { ours };
            let encrypted = self.rng.chance(1, 3);
            let by_skey = || PeerNews::HelloBySkey(skey_hash(named));
            let hello = if encrypted { by_skey() } else { PeerNews::Hello(named) };
            self.drive.news(peer, hello);
        } else {
            // Few ids, so that some are the same, and one is our own; and few addresses, so that
            // those who are banned come back.
            let peer_id =
                PeerId([[1, 2, 3, 100, 101, 102, 103, 104][self.rng.below(8) as usize]; 20]);
            let ip = ["127.0.0.1", "10.0.0.1", "10.0.0.2", "192.0.2.1"][self.rng.below(4) as usize];
            let (reserved, allowed_fast) = match self.rng.chance(1, 2) {
                true => (Reserved::default().with_fast(), "##.#"),
                false => (Reserved::default(), ""),
            };
            self.drive.greeted(peer, Greeting { ip, peer_id, reserved, allowed_fast });
        }
    }

    fn talks(&mut self, peer: u32, shared: &PeerShared) {
        let piece = PieceIndex(self.rng.below(PIECES));
        let block = self.drive.torrents[0].metainfo.block(piece, self.rng.below(2));
        let is_seeder = self.seeders.contains(&self.drive.peers[&peer].key);
        let news = match self.rng.below(40) {
            0..8 if !is_seeder => match shared.theirs.set(piece) {
                true => PeerNews::Gained(Word::of(piece)),
                false => return,
            },
            8 if shared.theirs.count() == 0 => {
                (0..PIECES).map(PieceIndex).for_each(|piece| {
                    shared.theirs.set(piece);
                });
                self.seeders.push(self.drive.peers[&peer].key);
                PeerNews::Seeder
            }
            9 if shared.theirs.is_full() => PeerNews::Completed,
            10 => PeerNews::Choked,
            11..15 => PeerNews::Unchoked,
            15..17 => PeerNews::Interested,
            17 => PeerNews::NotInterested,
            18..22 => PeerNews::Requested(block),
            22 => PeerNews::Cancelled(block),
            23 => PeerNews::Stalled,
            24 => PeerNews::Sample,
            25 => return self.ends(peer),
            // Its reader lets through no more than so many.
            29 if self.may_allow(peer) => PeerNews::AllowedFast(piece),
            30..32 if self.drive.peers[&peer].fast && shared.credit.take() => {
                let owed = self.drive.peers[&peer].asked.front().copied();
                PeerNews::Rejected(owed.unwrap_or(block))
            }
            32 => {
                let upload_only = Some(self.rng.chance(1, 4));
                let handshake = ExtensionHandshake { upload_only, ..Default::default() };
                PeerNews::Extended(Box::new(handshake))
            }
            26..29 => {
                let orders = self.rng.below(self.drive.peers[&peer].unperformed + 1);
                PeerNews::Performed { orders, uploaded: u64::from(orders) }
            }
            _ => return self.sends(peer, shared),
        };
        self.drive.news(peer, news);
    }

    fn may_allow(&mut self, peer: u32) -> bool {
        let key = self.drive.peers[&peer].key;
        let talk = self.drive.engine.peers.get_mut(key.0).and_then(Peer::talk);
        talk.is_some_and(|talk| talk.fast && talk.allowed_by_it.len() < limits::ALLOWED_FAST_MAX)
    }

    /// A block that it was asked for, now or before a choke, or any other.
    fn sends(&mut self, peer: u32, shared: &PeerShared) {
        if !shared.credit.take() {
            return;
        }
        let asked = &self.drive.peers[&peer].asked;
        let metainfo = &self.drive.torrents[0].metainfo;
        let any = metainfo.block(PieceIndex(self.rng.below(PIECES)), self.rng.below(2));
        let block = asked.front().copied().filter(|_| self.rng.chance(9, 10)).unwrap_or(any);
        self.drive.news(peer, PeerNews::Block(block, vec![0; 1]));
    }

    fn ends(&mut self, peer: u32) {
        let outside = &self.drive.peers[&peer];
        if self.seeders.contains(&outside.key) {
            let farewell = Farewell { reason: "it left".into(), fault: Fault::Nobodys };
            self.drive.news(peer, PeerNews::Gone(farewell));
        } else {
            self.drive.goes(peer);
        }
    }

    /// The user quits, everyone says the last word, and nothing is left.
    fn finish(mut self) {
        self.drive.quits();
        let mut ordered = self.drive.waits(Duration::ZERO);
        while let Some(peer) = self.drive.peers.keys().next().copied() {
            self.ends(peer);
        }
        ordered += &self.drive.storage(0, StorageNews::Closed);
        assert!(ordered.ends_with("end"), "{ordered}");
        let engine = &self.drive.engine;
        assert!(engine.is_ended() && engine.is_closed() && engine.peers.is_empty());
        let torrent = engine.torrents.get(made_up::torrent_key(0).0).unwrap();
        assert_eq!((torrent.seeders, torrent.picker.seeders(), torrent.peers()), (0, 0, 0));
        for piece in (0..PIECES).map(PieceIndex) {
            assert_eq!(torrent.picker.copies(piece), 0, "what was told is taken back");
        }
    }
}

#[test]
fn any_news_keeps_the_invariants() {
    for seed in 0..40 {
        let mut chance = Chance::new(seed);
        (0..1_500).for_each(|_| chance.step());
        chance.finish();
    }
}

#[test]
fn every_writers_channel_holds_what_the_engine_orders() {
    // Nothing is performed: whatever a peer says, its channel is never overfull, and whoever makes
    // us say too much is hung up.
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let mut drive = Drive::downloading(settings(), PIECES);
        drive.storage(0, StorageNews::Verified(PieceIndex(0)));
        let peer = drive.accepts(0);
        drive.connected(peer, 1);
        let ours = drive.torrents[0].metainfo.block(PieceIndex(0), 0);
        let mut seeder = false;
        for _ in 0..400 {
            let news = match rng.below(8) {
                0..2 => PeerNews::Interested,
                2..4 => PeerNews::NotInterested,
                4 => PeerNews::Requested(ours),
                5 => PeerNews::Unchoked,
                6 => PeerNews::Choked,
                _ if !std::mem::replace(&mut seeder, true) => PeerNews::Seeder,
                _ => PeerNews::Cancelled(ours),
            };
            drive.news(peer, news);
            if drive.peers[&peer].hung_up {
                break;
            }
        }
        assert!(drive.peers[&peer].hung_up, "seed {seed}");
    }
}
