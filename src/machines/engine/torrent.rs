//! One torrent as main sees it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::bus::{NewTorrent, Place, Progress, TorrentContext};
use crate::machines::choker::Choker;
use crate::machines::engine::SeedUntil;
use crate::machines::engine::contacts::Contacts;
use crate::machines::engine::metadata::Seek;
use crate::machines::engine::networks::InNetwork;
use crate::machines::engine::trackers::Trackers;
use crate::machines::picker::Picker;
use crate::words::address::is_local;
use crate::words::bitfield::Bitfield;
use crate::words::have_log::Publisher;
use crate::words::id::{InfoHash, PeerId, PeerKey, PieceIndex};
use crate::words::limits;
use crate::words::swarm_log::Chronicler;

/// A torrent.
#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) context: Arc<TorrentContext>,
    pub(super) place: Place,
    pub(super) picker: Picker,
    pub(super) choker: Choker,
    /// Whom to dial.
    pub(super) contacts: Contacts,
    /// The connections whose handshakes are done, by peer id and [`neighbourhood`].
    pub(super) peer_ids: BTreeMap<(PeerId, IpAddr), PeerKey>,
    /// How many of them talk, by the network that they are in.
    pub(super) networks: BTreeMap<IpAddr, u32>,
    pub(super) stage: Stage,
    /// Connected peers that have everything.
    pub(super) seeders: u32,
    pub(super) meter: Meter,
    /// Which trackers are told of it, and when.
    pub(super) trackers: Trackers,
    /// Tells the writers who comes and goes.
    pub(super) chronicler: Chronicler,
    /// Who is told of it in which network, and when.
    pub(super) in_networks: [InNetwork; 3],
    /// The search for its metadata, while it is unknown.
    pub(super) seek: Option<Box<Seek>>,
    /// Its contacts are dialled as they are found.
    pub(super) dials_begun: bool,
    publisher: Publisher,
    have: Bitfield,
}

/// How far a torrent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its info-hash alone is known, and its metadata is looked for.
    Unknown,
    /// What is already there is being looked at.
    Opening,
    /// Some pieces are missing.
    Downloading,
    /// Nothing more is wanted.
    Complete,
    /// The disk refused, or nothing arrived: what is there is still served.
    GivenUp,
    /// It was seeded as long as the user wished.
    Seeded,
}

/// What has come and gone, and how fast.
#[derive(Debug)]
pub(super) struct Meter {
    pub(super) started_at: Instant,
    /// When the last block arrived that we had asked for.
    pub(super) heard_at: Instant,
    /// When nothing was missing any more.
    pub(super) completed_at: Option<Instant>,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    /// Bytes of verified pieces, pads included.
    done: u64,
    down: Rate,
    up: Rate,
}

/// Bytes a second, smoothed over some seconds.
#[derive(Debug)]
struct Rate {
    at: Instant,
    total: u64,
    rate: f64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self { at: now, total: 0, rate: 0.0 }
    }

    fn measure(&mut self, total: u64, now: Instant) -> f64 {
        let seconds = now.duration_since(self.at).as_secs_f64();
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
            let latest = (total - self.total) as f64 / seconds;
            // A second's rate counts a third: five seconds ago weigh little.
            let weight = if self.rate == 0.0 { 1.0 } else { 1.0 / 3.0 };
            self.rate += (latest - self.rate) * weight;
            (self.at, self.total) = (now, total);
        }
        self.rate
    }
}

impl Torrent {
    pub(super) fn new(new: NewTorrent, sequential: bool, now: Instant) -> Self {
        let NewTorrent {
            context,
            publisher,
            place,
            peers,
            web_seeds,
            nodes: _,
            trackers,
            key,
            wish,
        } = new;
        Self {
            picker: Picker::new(Arc::clone(&context.metainfo), sequential),
            choker: Choker::default(),
            contacts: Contacts::new(peers, web_seeds),
            peer_ids: BTreeMap::new(),
            networks: BTreeMap::new(),
            stage: if wish.is_some() { Stage::Unknown } else { Stage::Opening },
            seek: wish.map(|wish| Box::new(Seek::new(wish))),
            dials_begun: false,
            seeders: 0,
            meter: Meter {
                started_at: now,
                heard_at: now,
                completed_at: None,
                downloaded: 0,
                uploaded: 0,
                done: 0,
                down: Rate::new(now),
                up: Rate::new(now),
            },
            trackers: Trackers::new(trackers, key),
            chronicler: Chronicler::new(Arc::clone(&context.swarm)),
            in_networks: Default::default(),
            publisher,
            have: Bitfield::zeros(context.metainfo.pieces()),
            place,
            context,
        }
    }

    /// Its metadata is here: what stood for it makes room, and it is as if it was added now, but
    /// for whom it has met.
    pub(super) fn make_known(&mut self, new: NewTorrent, sequential: bool) {
        // Its trackers know it already.
        let NewTorrent { context, publisher, place, web_seeds, .. } = new;
        self.contacts.handle_web_seeds(web_seeds);
        self.picker = Picker::new(Arc::clone(&context.metainfo), sequential);
        self.have = Bitfield::zeros(context.metainfo.pieces());
        self.context.make_room_for(&context);
        self.chronicler = Chronicler::new(Arc::clone(&context.swarm));
        self.stage = Stage::Opening;
        (self.context, self.publisher, self.place) = (context, publisher, place);
    }

    pub(super) fn info_hash(&self) -> InfoHash {
        self.context.metainfo.info_hash()
    }

    /// Bytes of the pieces that are not here.
    pub(super) fn missing(&self) -> u64 {
        self.context.metainfo.len().saturating_sub(self.meter.done)
    }

    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        self.have.get(piece)
    }

    pub(super) fn good(&self) -> u32 {
        self.have.ones()
    }

    /// The blocks of the pieces that a peer may ask for while it is choked.
    pub(super) fn blocks_of(&self, pieces: &[PieceIndex]) -> u32 {
        // Bound: limits::ALLOWED_FAST_GIVEN
        pieces.iter().map(|piece| self.context.metainfo.blocks(*piece)).sum()
    }

    /// A peer of `network` talks. `false` if there are enough of them.
    pub(super) fn take_in(&mut self, network: IpAddr) -> bool {
        let talking = self.networks.entry(network).or_default();
        let enough = !is_local(network) && *talking >= limits::PEERS_A_NETWORK;
        *talking += u32::from(!enough);
        !enough
    }

    /// A peer of `network` talks no longer.
    pub(super) fn let_out(&mut self, network: IpAddr) {
        if let Entry::Occupied(mut talking) = self.networks.entry(network) {
            *talking.get_mut() -= 1;
            if *talking.get() == 0 {
                talking.remove();
            }
        }
    }

    /// Whether its peers may be told of one another: not before it is known that it is not private
    /// (BEP 27).
    pub(super) fn is_known_to_be_open(&self) -> bool {
        !self.context.is_unknown() && !self.context.metainfo.private()
    }

    /// The number of connected peers.
    pub(super) fn peers(&self) -> u32 {
        u32::try_from(self.peer_ids.len()).unwrap_or(u32::MAX)
    }

    /// We have `piece`: tells everyone by one append. `false` if we had it before.
    pub(super) fn gain(&mut self, piece: PieceIndex) -> bool {
        if !self.have.set(piece) {
            return false;
        }
        self.publisher.publish(piece);
        self.context.wanted.clear(piece);
        self.meter.done += u64::from(self.context.metainfo.piece_len(piece));
        true
    }

    /// No piece will be published any more: writers need not look.
    pub(super) fn stop_growing(&self) {
        self.context.growing.store(false, Ordering::Release);
    }

    /// Whether it is neither complete nor given up.
    pub(super) fn is_unfinished(&self) -> bool {
        matches!(self.stage, Stage::Unknown | Stage::Opening | Stage::Downloading)
    }

    /// Whether nothing that we want is missing.
    pub(super) fn is_all_there(&self) -> bool {
        self.context.wanted.count() == 0
    }

    /// Whether it was seeded as long as the user wished.
    pub(super) fn is_seeded(&self, until: SeedUntil, now: Instant) -> bool {
        let Some(completed_at) = self.meter.completed_at else { return false };
        #[expect(clippy::cast_precision_loss, reason = "a ratio that a person chose")]
        let ratio = self.meter.uploaded as f64 / self.context.metainfo.size().max(1) as f64;
        until.ratio.is_some_and(|wanted| ratio >= wanted)
            || until.time.is_some_and(|time| now >= completed_at + time)
    }

    pub(super) fn progress(&mut self, now: Instant) -> Progress {
        let size = match self.context.wanted_len {
            // Whoever only seeds wants nothing, and shows what there is.
            0 => self.context.metainfo.size(),
            wanted => wanted.min(self.context.metainfo.size()),
        };
        let all_there = self.context.wanted_len > 0 && self.is_all_there();
        let meter = &mut self.meter;
        let down = meter.down.measure(meter.downloaded, now);
        let up = meter.up.measure(meter.uploaded, now);
        let done = if self.have.is_full() || all_there { size } else { meter.done.min(size) };
        #[expect(clippy::cast_precision_loss, reason = "an estimate for people to read")]
        let eta = (down >= 1.0).then(|| whole((size - done) as f64 / down));
        Progress {
            done,
            size,
            down: whole(down),
            up: whole(up),
            uploaded: meter.uploaded,
            peers: self.peers(),
            seeders: self.seeders,
            eta,
        }
    }

    /// Asserts every invariant; O(pieces), for tests.
    pub(super) fn check(&self) {
        self.picker.check();
        assert_eq!(self.seek.is_some(), self.stage == Stage::Unknown);
        if let Some(seek) = &self.seek {
            seek.fetch.check();
        }
        self.choker.check();
        self.contacts.check();
        let wanted = &self.context.wanted;
        // Bound: none; for tests.
        for piece in (0..self.have.len()).map(PieceIndex) {
            assert!(!(self.has(piece) && wanted.get(piece)), "{piece:?} is here and wanted");
        }
        assert_eq!(self.context.have_log.len(), self.have.ones());
    }
}

/// The whole number nearest to `value`, which is not negative.
fn whole(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates and times are not negative, and the cast saturates"
    )]
    let whole = value.round() as u64;
    whole
}
