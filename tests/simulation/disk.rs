//! The storage as main knows it: orders in, news out, each after a while; and the disk under it,
//! which outlives its process and forgets what was not synced.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rondalla::bus::{Notification, StorageNews, ToStorage, TorrentContext, Trouble, TroubleKind};
use rondalla::words::bitfield::Bitfield;
use rondalla::words::id::{Block, InfoHash, PieceIndex, TorrentKey};
use rondalla::words::limits::{self, BLOCK_LEN};
use rondalla::words::rng::Rng;

use super::clock::{Actor, Alarm, Clock, Life};
use super::mailbox::Mailbox;
use super::plan::Shape;

/// One torrent's files on one member's disk.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) shape: Arc<Shape>,
    data: Vec<u8>,
    /// Pieces that the resume file claims: verified, written and synced.
    claimed: Bitfield,
    /// Pieces that are verified and written.
    written: Bitfield,
    unsynced_since: Option<Duration>,
    /// Bytes that may still be written before the disk is full.
    room: u64,
}

impl Files {
    pub(super) fn empty(shape: &Arc<Shape>) -> Self {
        let none = Bitfield::zeros(shape.metainfo.pieces());
        Self {
            data: vec![0; shape.data.len()],
            shape: Arc::clone(shape),
            claimed: none.clone(),
            written: none,
            unsynced_since: None,
            room: u64::MAX,
        }
    }

    pub(super) fn full(shape: &Arc<Shape>) -> Self {
        let mut files = Self::empty(shape);
        files.data.clone_from(&shape.data);
        files.claim_all();
        files
    }

    /// Garbage that is claimed to be the torrent.
    pub(super) fn lying(shape: &Arc<Shape>) -> Self {
        let mut files = Self::empty(shape);
        files.claim_all();
        files
    }

    pub(super) fn set_room(&mut self, room: u64) {
        self.room = room;
    }

    /// Whether everything is there, and as it should be.
    pub(super) fn is_complete(&self) -> bool {
        self.data == self.shape.data
    }

    /// Whether the next start believes that everything is there.
    pub(super) fn is_claimed(&self) -> bool {
        self.claimed.is_full()
    }

    /// The pieces that are verified, for a failure's message.
    pub(super) fn picture(&self) -> String {
        let pieces = (0..self.written.len()).map(PieceIndex);
        pieces.map(|piece| if self.written.get(piece) { '#' } else { '.' }).collect()
    }

    /// The bytes of a block that a peer was promised.
    pub(super) fn read(&self, block: Block) -> &[u8] {
        assert!(self.written.get(block.piece), "{block:?} is served and not there");
        &self.data[self.shape.bytes_of(block)]
    }

    fn claim_all(&mut self) {
        for piece in (0..self.claimed.len()).map(PieceIndex) {
            self.claimed.set(piece);
            self.written.set(piece);
        }
    }

    /// The process is gone. With its machine, what was not synced is there or not, by chance.
    pub(super) fn crash(&mut self, power_cut: bool, rng: &mut Rng) {
        for piece in (0..self.written.len()).map(PieceIndex) {
            if self.claimed.get(piece) || !self.written.clear(piece) {
                continue;
            }
            if power_cut && rng.chance(1, 2) {
                let bytes = self.shape.bytes_of_piece(piece);
                let torn =
                    bytes.start + rng.below(1 + u32::try_from(bytes.len()).unwrap()) as usize;
                self.data[torn..bytes.end].fill(0);
            }
        }
        self.unsynced_since = None;
    }

    fn is_right(&self, piece: PieceIndex) -> bool {
        let bytes = self.shape.bytes_of_piece(piece);
        self.data[bytes.clone()] == self.shape.data[bytes]
    }

    /// The pieces that are right and were not known to be: they are from now on.
    fn check(&mut self) -> Bitfield {
        let mut fresh = Bitfield::zeros(self.claimed.len());
        let pieces = (0..fresh.len()).map(PieceIndex);
        for piece in pieces.filter(|piece| !self.claimed.get(*piece) && self.is_right(*piece)) {
            fresh.set(piece);
        }
        for piece in fresh.iter() {
            self.written.set(piece);
            self.claimed.set(piece);
        }
        fresh
    }

    fn sync(&mut self) {
        self.claimed.clone_from(&self.written);
        self.unsynced_since = None;
    }
}

/// A member's whole disk.
pub(super) type Disk = BTreeMap<InfoHash, Files>;

/// How fast a storage works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    /// For each order.
    pub(super) latency: Duration,
    /// To look at what is there when a torrent is opened.
    pub(super) check: Duration,
}

/// The storage's thread.
#[derive(Debug)]
pub(super) struct Storage {
    memory: u64,
    slots: usize,
    speed: Speed,
    tasks: VecDeque<(TorrentKey, ToStorage)>,
    /// The first task is done then.
    busy_until: Option<Duration>,
    stalled_until: Duration,
    open: BTreeMap<TorrentKey, Held>,
    news: VecDeque<Notification>,
    alarm: Alarm,
    life: Life,
}

/// A torrent that is open.
#[derive(Debug)]
struct Held {
    info_hash: InfoHash,
    context: Arc<TorrentContext>,
    /// Until when it is looked at.
    check: Option<Duration>,
    gathered: BTreeMap<PieceIndex, BTreeMap<u32, Vec<u8>>>,
    /// The blocks of pieces that were whole and wrong.
    suspects: BTreeMap<PieceIndex, Vec<Vec<u8>>>,
    given_up: bool,
}

impl Storage {
    pub(super) fn new(life: Life, memory: u64, speed: Speed) -> Self {
        let blocks = usize::try_from(memory / u64::from(BLOCK_LEN)).unwrap();
        Self {
            memory,
            slots: blocks.min(limits::STORAGE_TASKS_MAX) + limits::STORAGE_TASKS_SPARE,
            speed,
            tasks: VecDeque::new(),
            busy_until: None,
            stalled_until: Duration::ZERO,
            open: BTreeMap::new(),
            news: VecDeque::new(),
            alarm: Alarm::default(),
            life,
        }
    }

    /// Main's order. Its channel has slots for all that the budget allows, so it is never full.
    pub(super) fn order(&mut self, clock: &mut Clock, torrent: TorrentKey, order: ToStorage) {
        assert!(self.tasks.len() < self.slots, "the storage's channel is full");
        self.tasks.push_back((torrent, order));
        if self.busy_until.is_none() {
            self.begin(clock);
        }
    }

    /// The disk does nothing for a while.
    pub(super) fn stall(&mut self, clock: &mut Clock, until: Duration) {
        self.stalled_until = until;
        self.wake_at(clock, until);
    }

    fn begin(&mut self, clock: &mut Clock) {
        let until = clock.now() + self.speed.latency;
        self.busy_until = Some(until);
        self.wake_at(clock, until);
    }

    fn wake_at(&mut self, clock: &mut Clock, at: Duration) {
        self.alarm.set(clock, at, self.life, Actor::Storage);
    }

    /// Works as far as time allows.
    pub(super) fn run(&mut self, clock: &mut Clock, mailbox: &mut Mailbox, disk: &mut Disk) {
        self.alarm.rings(clock);
        loop {
            while let Some(news) = self.news.pop_front() {
                if let Err(news) = mailbox.publish(clock, Actor::Storage, news) {
                    return self.news.push_front(news);
                }
            }
            if clock.now() < self.stalled_until {
                return self.wake_at(clock, self.stalled_until);
            }
            self.finish_checks(clock, disk);
            if !self.news.is_empty() {
                continue;
            }
            match self.busy_until {
                Some(until) if clock.now() >= until => {
                    self.busy_until = None;
                    let (torrent, order) = self.tasks.pop_front().expect("it is being done");
                    self.carry_out(clock, disk, torrent, order);
                    if !self.tasks.is_empty() {
                        self.begin(clock);
                    }
                }
                Some(until) => return self.wake_at(clock, until),
                None => break,
            }
        }
        self.sync_what_is_due(clock, disk);
    }

    /// At the end: whatever is ordered is done, and all is synced.
    pub(super) fn end(mut self, clock: &mut Clock, disk: &mut Disk) {
        while let Some((torrent, order)) = self.tasks.pop_front() {
            self.carry_out(clock, disk, torrent, order);
        }
        for held in self.open.values() {
            disk.get_mut(&held.info_hash).expect("it is open").sync();
        }
    }

    fn sync_what_is_due(&mut self, clock: &mut Clock, disk: &mut Disk) {
        let mut next = None;
        for held in self.open.values() {
            let files = disk.get_mut(&held.info_hash).expect("it is open");
            let due = files.unsynced_since.map(|since| since + limits::SYNC_EVERY);
            match due {
                Some(due) if due <= clock.now() => files.sync(),
                Some(due) => next = Some(next.map_or(due, |next: Duration| next.min(due))),
                None => {}
            }
        }
        if let Some(next) = next {
            self.wake_at(clock, next);
        }
    }

    fn tell(&mut self, torrent: TorrentKey, news: StorageNews) {
        self.news.push_back(Notification::Storage(torrent, news));
    }

    fn carry_out(
        &mut self,
        clock: &mut Clock,
        disk: &mut Disk,
        torrent: TorrentKey,
        order: ToStorage,
    ) {
        match order {
            ToStorage::Open { context, place: _ } => self.open(clock, disk, torrent, context),
            ToStorage::Store(block, data) => self.store(clock, disk, torrent, block, data),
            ToStorage::Forget(piece) => {
                if let Some(held) = self.open.get_mut(&torrent) {
                    held.gathered.remove(&piece);
                }
                self.tell(torrent, StorageNews::Forgotten(piece));
            }
            ToStorage::Settle => {
                if let Some(held) = self.open.get_mut(&torrent) {
                    held.gathered.clear();
                    disk.get_mut(&held.info_hash).expect("it is open").sync();
                }
                self.tell(torrent, StorageNews::Settled);
            }
            ToStorage::Close => {
                if let Some(held) = self.open.remove(&torrent) {
                    disk.get_mut(&held.info_hash).expect("it is open").sync();
                }
                self.tell(torrent, StorageNews::Closed);
            }
        }
    }

    /// What is claimed is told at once; the rest is hashed meanwhile.
    fn open(
        &mut self,
        clock: &mut Clock,
        disk: &Disk,
        torrent: TorrentKey,
        context: Arc<TorrentContext>,
    ) {
        let info_hash = context.metainfo.info_hash();
        let files = disk.get(&info_hash).expect("a member's disk has a place for its torrents");
        for word in files.claimed.to_words() {
            self.tell(torrent, StorageNews::Found(word));
        }
        let due = clock.now() + self.speed.check;
        let (gathered, suspects) = (BTreeMap::new(), BTreeMap::new());
        let check = Some(due);
        let held = Held { info_hash, context, check, gathered, suspects, given_up: false };
        self.open.insert(torrent, held);
        self.wake_at(clock, due);
    }

    /// The checks that are through.
    fn finish_checks(&mut self, clock: &mut Clock, disk: &mut Disk) {
        let due = |held: &Held| held.check.is_some_and(|due| due <= clock.now());
        while let Some((&torrent, held)) = self.open.iter_mut().find(|(_, held)| due(held)) {
            held.check = None;
            let len = held.context.metainfo.len();
            let files = disk.get_mut(&held.info_hash).expect("it is open");
            let fresh = files.check();
            for word in fresh.to_words() {
                self.tell(torrent, StorageNews::Found(word));
            }
            if fresh.ones() > 0 {
                self.tell(torrent, StorageNews::Checking(len));
            }
            self.tell(torrent, StorageNews::Opened);
        }
        if let Some(next) = self.open.values().filter_map(|held| held.check).min() {
            self.wake_at(clock, next);
        }
    }

    fn store(
        &mut self,
        clock: &Clock,
        disk: &mut Disk,
        torrent: TorrentKey,
        block: Block,
        data: Vec<u8>,
    ) {
        let held = self.open.get_mut(&torrent).expect("only open torrents get blocks");
        if held.given_up {
            return;
        }
        let files = disk.get_mut(&held.info_hash).expect("it is open");
        let piece = block.piece;
        assert!(!files.written.get(piece), "{block:?} is stored after its piece was verified");
        assert_eq!(block.len as usize, data.len());
        let Some(room) = files.room.checked_sub(u64::from(block.len)) else {
            held.given_up = true;
            held.gathered.clear();
            let (what, why) = (held.context.metainfo.name().to_owned(), "it is full".to_owned());
            let trouble = Trouble { kind: TroubleKind::NoSpace, what, why };
            return self.tell(torrent, StorageNews::Failed(trouble));
        };
        files.room = room;
        let in_place = u64::from(held.context.metainfo.piece_len(piece)) > self.memory;
        let gathered = held.gathered.entry(piece).or_default();
        let data = if in_place {
            files.data[files.shape.bytes_of(block)].copy_from_slice(&data);
            Vec::new()
        } else {
            data
        };
        let twice = gathered.insert(block.offset, data);
        assert!(twice.is_none(), "{block:?} is stored twice");
        if gathered.len() < held.context.metainfo.blocks(piece) as usize {
            if in_place {
                self.tell(torrent, StorageNews::Written(piece));
            }
            return self.check();
        }
        let whole = held.gathered.remove(&piece).expect("it was just gathered");
        let bytes = files.shape.bytes_of_piece(piece);
        let blocks: Vec<_> = if in_place {
            files.data[bytes.clone()].chunks(BLOCK_LEN as usize).map(<[u8]>::to_vec).collect()
        } else {
            whole.into_values().collect()
        };
        let right = blocks.concat() == files.shape.data[bytes.clone()];
        if right {
            files.data[bytes].copy_from_slice(&blocks.concat());
            let suspects = held.suspects.remove(&piece).unwrap_or_default();
            let mut changed = Bitfield::zeros(held.context.metainfo.blocks(piece));
            for (n, _) in (0..).zip(&suspects).zip(&blocks).filter(|((_, was), is)| was != is) {
                changed.set(PieceIndex(n.0));
            }
            for word in changed.to_words() {
                self.tell(torrent, StorageNews::Guilty(piece, word));
            }
        } else if held.suspects.len() < limits::SUSPECTS_MAX {
            held.suspects.entry(piece).or_insert(blocks);
        }
        self.tell_verified(clock, disk, torrent, piece, right);
    }

    fn tell_verified(
        &mut self,
        clock: &Clock,
        disk: &mut Disk,
        torrent: TorrentKey,
        piece: PieceIndex,
        right: bool,
    ) {
        if right {
            let files = disk.get_mut(&self.open[&torrent].info_hash).expect("it is open");
            files.written.set(piece);
            files.unsynced_since.get_or_insert_with(|| clock.now());
        }
        let news = if right { StorageNews::Verified(piece) } else { StorageNews::Corrupt(piece) };
        self.tell(torrent, news);
    }

    /// What is gathered, and what waits to be, fits into the budget.
    fn check(&self) {
        let gathered = self.open.values().flat_map(|held| held.gathered.values());
        let bytes = gathered.flat_map(BTreeMap::values).map(Vec::len).sum::<usize>() as u64;
        let memory = self.memory;
        assert!(bytes <= memory, "{bytes} bytes are gathered, and {memory} may be");
    }
}
