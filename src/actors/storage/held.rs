//! One torrent as the storage holds it: its lock, what is verified, what waits to be written and
//! what to be synced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use std::{io, mem};

use crate::actors::clock::now;
use crate::actors::disk::{Disk, DiskFile};
use crate::actors::file_error::trouble;
use crate::actors::files::{Access, FileStore, Ours};
use crate::actors::hasher;
use crate::actors::shelf::Shelf;
use crate::actors::state::State;
use crate::actors::storage::Bounds;
use crate::actors::storage::gather::{self, Gathered};
use crate::actors::storage::survey::{lack_of_room, missing_len, room_taken, strangers, to_check};
use crate::actors::storage::syncer::Job;
use crate::bus::{Place, StorageNews, TorrentContext, Trouble, TroubleKind};
use crate::formats::metainfo::{File, Metainfo};
use crate::words::bitfield::{Bitfield, Word};
use crate::words::id::{Block, PieceIndex, TorrentKey};
use crate::words::limits::{self, BLOCK_LEN};

/// A torrent that is open.
#[derive(Debug)]
pub(super) struct Held {
    context: Arc<TorrentContext>,
    place: Place,
    state: Arc<State>,
    /// Held, not used, while something is downloaded.
    data_lock: Option<Arc<dyn DiskFile>>,
    /// The files that were there before, and those of them of which nothing is known.
    existing: BTreeSet<usize>,
    strangers: BTreeSet<usize>,
    /// Pieces that are verified and synced: what the resume file may claim.
    claimed: Bitfield,
    /// What is verified and in its files, but not synced.
    unsynced: Batch,
    /// What the syncer is at work on.
    syncing: Option<Syncing>,
    /// Files whose names are synced.
    named: BTreeSet<usize>,
    mark: Mark,
    /// There is nothing to save.
    is_saved: bool,
    /// Blocks that wait until the state is marked, or until there is less to sync.
    held_back: VecDeque<(Block, Vec<u8>)>,
    gathered: BTreeMap<PieceIndex, Gathered>,
    /// Pieces that are verified and wait to be written.
    whole: BTreeMap<PieceIndex, Gathered>,
    whole_len: u64,
    /// Of pieces that are larger than the memory budget, the blocks that are in the files already.
    in_place: BTreeMap<PieceIndex, Bitfield>,
    /// The hashes of the blocks of pieces that were whole and wrong, until the piece is right.
    suspects: BTreeMap<PieceIndex, Vec<[u8; 20]>>,
    /// What was there is known, and ours: before that there is nothing to remember.
    begun: bool,
    /// Nothing more is written.
    given_up: bool,
    /// A sync failed. Nothing more is claimed: a second sync can succeed without what the first one
    /// lost.
    doubtful: bool,
    /// What is to be done when all is written.
    end: Option<End>,
}

/// Pieces that wait to be claimed.
#[derive(Debug, Default)]
struct Batch {
    pieces: Vec<PieceIndex>,
    /// The files that they are in.
    files: BTreeSet<usize>,
    len: u64,
    since: Option<Instant>,
}

/// A job of the syncer.
#[derive(Debug)]
struct Syncing {
    batch: Batch,
    clean: bool,
    end: Option<End>,
}

/// What the resume file on the disk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// That nobody is at work here.
    Clean,
    /// The same, and the syncer is to change it.
    Wanted,
    /// That we are: a crash can be told from an exit.
    Open,
}

/// Why a torrent is no longer written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is complete.
    Settle,
    /// It is closed.
    Close,
}

/// A torrent that was just opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) held: Held,
    /// The pieces that the resume file vouches for.
    pub(super) trusted: Bitfield,
    /// The pieces that have to be hashed.
    pub(super) to_check: Bitfield,
    pub(super) warnings: Vec<String>,
}

impl Held {
    /// Locks a torrent's state and finds what of its data is known.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        context: &Arc<TorrentContext>,
        place: Place,
    ) -> Result<Opening, Trouble> {
        let metainfo = &context.metainfo;
        let (state, no_lock) = State::lock(disk, &place, metainfo.info_hash())?;
        let marks = state.marks(metainfo);
        let (loaded, not_believed) = match state.load(metainfo, &marks) {
            Ok(loaded) => (loaded, None),
            Err(warning) => (None, Some(warning)),
        };
        let (resume, trusted) = loaded.unzip();
        let strangers = if place.overwrite || place.read_only {
            BTreeSet::new()
        } else {
            strangers(resume.as_ref(), &marks, metainfo)
        };
        let believed = resume.as_ref().filter(|_| !place.check);
        let trusted =
            trusted.filter(|_| !place.check).unwrap_or_else(|| Bitfield::zeros(metainfo.pieces()));
        let to_check = to_check(believed, &trusted, &marks, metainfo);
        let is_as_saved = believed.is_some_and(|resume| resume.clean && resume.pieces == trusted);
        let is_there = |file: &usize| marks[*file].is_some();
        let held = Self {
            state: Arc::new(state),
            data_lock: None,
            existing: (0..marks.len()).filter(is_there).collect(),
            strangers,
            claimed: trusted.clone(),
            unsynced: Batch::default(),
            syncing: None,
            named: BTreeSet::new(),
            mark: Mark::Clean,
            is_saved: is_as_saved && to_check.ones() == 0,
            held_back: VecDeque::new(),
            gathered: BTreeMap::new(),
            whole: BTreeMap::new(),
            whole_len: 0,
            in_place: BTreeMap::new(),
            suspects: BTreeMap::new(),
            begun: false,
            given_up: false,
            doubtful: false,
            end: None,
            place,
            context: Arc::clone(context),
        };
        let warnings = no_lock.into_iter().chain(not_believed).collect();
        Ok(Opening { held, trusted, to_check, warnings })
    }

    pub(super) fn metainfo(&self) -> Arc<Metainfo> {
        Arc::clone(&self.context.metainfo)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.place.dir
    }

    /// The hashers found these pieces right. They may be in memory alone, written by a process that
    /// was killed, so they are synced before they are claimed.
    pub(super) fn handle_checked(&mut self, good: &Bitfield) {
        good.iter().for_each(|piece| self.handle_written(piece));
    }

    /// What was there is known: makes the empty files, or refuses to touch what is not ours. What
    /// there is to tell before the torrent begins.
    pub(super) fn begin(
        &mut self,
        torrent: TorrentKey,
        files: &FileStore,
    ) -> Result<Vec<StorageNews>, Trouble> {
        let metainfo = self.metainfo();
        let mut good = self.claimed.clone();
        self.unsynced.pieces.iter().for_each(|piece| {
            good.set(*piece);
        });
        let is_foreign = |file: &usize| !metainfo.pieces_of(*file).any(|n| good.get(PieceIndex(n)));
        if let Some(&file) = self.strangers.iter().find(|file| is_foreign(file)) {
            let what = self.place.dir.join(&metainfo.files()[file].path).display().to_string();
            let why = "it exists, and no piece of the torrent matches it; use --overwrite, or \
                       another --dir";
            return Err(Trouble { kind: TroubleKind::FileSystem, what, why: why.to_owned() });
        }
        let missing = missing_len(&self.context, &good);
        if missing > 0 && !self.place.read_only {
            self.lock_data()?;
        }
        let room = files.disk().room(&self.place.dir).ok();
        let room = room.filter(|_| missing > 0 && !self.place.read_only);
        let ours = Ours {
            files: self.existing.clone(),
            overwrite: self.place.overwrite,
            grow: room.is_some_and(|room| !room.has_holes),
        };
        let mut news: Vec<_> = ours.grow.then_some(StorageNews::InOrder).into_iter().collect();
        files.own(torrent, ours);
        if let Some(room) = room {
            let taken = room_taken(&**files.disk(), &metainfo, &self.place.dir);
            let needed = missing.min(self.context.wanted_len.saturating_sub(taken));
            news.extend(lack_of_room(&self.place.dir, needed, room).map(StorageNews::Warned));
        }
        if !self.place.read_only {
            let empty = |(number, file): &(usize, &File)| {
                file.len == 0 && !file.pad && !self.existing.contains(number)
            };
            for (file, _) in metainfo.files().iter().enumerate().filter(empty) {
                files.open(torrent, file, Access::Write).map_err(|error| self.trouble(&error))?;
            }
        }
        self.begun = true;
        Ok(news)
    }

    /// Keeps a block. What there is to tell, in order; of a whole piece that is right, when it is
    /// written.
    pub(super) fn store(
        &mut self,
        torrent: TorrentKey,
        block: Block,
        data: Vec<u8>,
        bounds: &Bounds,
        files: &FileStore,
    ) -> Result<Vec<StorageNews>, Trouble> {
        if self.given_up || self.end.is_some() {
            return Ok(Vec::new());
        }
        if self.mark == Mark::Clean {
            (self.mark, self.is_saved) = (Mark::Wanted, false);
        }
        // What is written and not synced stays below twice `sync_len`.
        let has_much = self.unsynced.len + self.whole_len >= bounds.sync_len;
        if self.mark == Mark::Wanted || has_much {
            self.held_back.push_back((block, data));
            return Ok(Vec::new());
        }
        let metainfo = self.metainfo();
        let piece = block.piece;
        if u64::from(metainfo.piece_len(piece)) > bounds.memory {
            return self.store_in_place(torrent, block, data, files);
        }
        let new = || Gathered::new(metainfo.blocks(piece));
        if !self.gathered.entry(piece).or_insert_with(new).keep(block, data) {
            return Ok(Vec::new());
        }
        let whole = self.gathered.remove(&piece).expect("it was kept above");
        if whole.hash() != metainfo.piece_hash(piece) {
            if self.suspects.len() < limits::SUSPECTS_MAX {
                self.suspects.entry(piece).or_insert_with(|| whole.block_hashes());
            }
            return Ok(vec![StorageNews::Corrupt(piece)]);
        }
        self.whole_len += u64::from(metainfo.piece_len(piece));
        self.whole.insert(piece, whole);
        Ok(Vec::new())
    }

    /// The blocks that may go on now.
    pub(super) fn take_held_back(&mut self) -> VecDeque<(Block, Vec<u8>)> {
        mem::take(&mut self.held_back)
    }

    /// Bytes of pieces that are verified and wait to be written.
    pub(super) fn whole_len(&self) -> u64 {
        self.whole_len
    }

    /// Writes the pieces that are whole, neighbours in one go. What there is to tell, in order, of
    /// those that are written.
    pub(super) fn write_whole(
        &mut self,
        torrent: TorrentKey,
        files: &FileStore,
        shelf: &Shelf,
    ) -> (Vec<StorageNews>, Result<(), Trouble>) {
        let mut news = Vec::new();
        self.whole_len = 0;
        while let Some((first, run)) = take_run(&mut self.whole) {
            let metainfo = self.metainfo();
            let last = PieceIndex(first.0 + u32::try_from(run.len()).expect("pieces fit") - 1);
            let begin = metainfo.piece_offset(first);
            let len = metainfo.piece_offset(last) + u64::from(metainfo.piece_len(last)) - begin;
            let parts = files.parts(torrent, begin, len, Access::Write);
            if let Err(error) = parts.and_then(|parts| gather::write(&run, parts)) {
                return (news, Err(self.trouble(&error)));
            }
            if let Err(trouble) = self.lock_data() {
                return (news, Err(trouble));
            }
            for (piece, whole) in (first.0..).map(PieceIndex).zip(&run) {
                self.handle_written(piece);
                news.extend(self.guilty(piece, || whole.block_hashes()));
                news.push(StorageNews::Verified(piece));
            }
            shelf.give_back(run.into_iter().flat_map(Gathered::into_buffers));
        }
        (news, Ok(()))
    }

    /// Writes a block of a piece that is larger than the memory budget where it belongs; the whole
    /// piece is read back to be hashed.
    fn store_in_place(
        &mut self,
        torrent: TorrentKey,
        block: Block,
        data: Vec<u8>,
        files: &FileStore,
    ) -> Result<Vec<StorageNews>, Trouble> {
        let metainfo = self.metainfo();
        let piece = block.piece;
        let at = metainfo.piece_offset(piece) + u64::from(block.offset);
        let mut one = Gathered::new(1);
        one.keep(Block { offset: 0, ..block }, data);
        let one = [one];
        let parts = files.parts(torrent, at, u64::from(block.len), Access::Write);
        parts.and_then(|parts| gather::write(&one, parts)).map_err(|error| self.trouble(&error))?;
        self.lock_data()?;
        let none = || Bitfield::zeros(metainfo.blocks(piece));
        let here = self.in_place.entry(piece).or_insert_with(none);
        here.set(PieceIndex(block.offset / BLOCK_LEN));
        if !here.is_full() {
            return Ok(vec![StorageNews::Written(piece)]);
        }
        self.in_place.remove(&piece);
        let disk = &**files.disk();
        if !hasher::is_right(disk, &metainfo, &self.place.dir, piece) {
            if self.suspects.len() < limits::SUSPECTS_MAX {
                let hashes = || hasher::block_hashes(disk, &metainfo, &self.place.dir, piece);
                self.suspects.entry(piece).or_insert_with(hashes);
            }
            return Ok(vec![StorageNews::Corrupt(piece)]);
        }
        self.handle_written(piece);
        let dir = self.place.dir.clone();
        let mut news = self.guilty(piece, || hasher::block_hashes(disk, &metainfo, &dir, piece));
        news.push(StorageNews::Verified(piece));
        Ok(news)
    }

    /// The blocks of `piece` that have changed since it was wrong, word by word.
    fn guilty(
        &mut self,
        piece: PieceIndex,
        right: impl FnOnce() -> Vec<[u8; 20]>,
    ) -> Vec<StorageNews> {
        let Some(suspects) = self.suspects.remove(&piece) else { return Vec::new() };
        let changed = gather::changed(&suspects, &right());
        changed.to_words().map(|word| StorageNews::Guilty(piece, word)).collect()
    }

    /// The blocks of `piece` are of no use.
    pub(super) fn forget(&mut self, piece: PieceIndex) {
        self.held_back.retain(|(block, _)| block.piece != piece);
        self.gathered.remove(&piece);
        self.in_place.remove(&piece);
    }

    /// Nothing more is written.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.held_back.clear();
        self.gathered.clear();
        self.whole.clear();
        self.whole_len = 0;
        self.in_place.clear();
        self.suspects.clear();
    }

    /// When what was written has to be synced at the latest.
    pub(super) fn sync_at(&self, bounds: &Bounds) -> Option<Instant> {
        let since = self.unsynced.since.filter(|_| self.has_to_sync())?;
        Some(since + bounds.sync_every)
    }

    /// Nothing more will be written: when all is synced and saved, the syncer's next report says so.
    /// `false` if there is nothing to wait for. Before everything was looked at nothing is saved,
    /// since a clean state vouches for what it does not claim as well: that it is ours, and not
    /// right.
    pub(super) fn end(&mut self, end: End) -> bool {
        self.held_back.clear();
        self.gathered.clear();
        self.in_place.clear();
        self.end = Some(end);
        self.has_to_sync()
    }

    /// Whether the syncer is or will be at work, before the end.
    pub(super) fn has_to_sync(&self) -> bool {
        self.syncing.is_some() || (self.begun && !self.doubtful && !self.is_saved)
    }

    /// What the syncer is to do now, if anything.
    pub(super) fn next_job(
        &mut self,
        torrent: TorrentKey,
        now: Instant,
        bounds: &Bounds,
    ) -> Option<Job> {
        let is_due = self.unsynced.len >= bounds.sync_len
            || self.sync_at(bounds).is_some_and(|due| now >= due)
            || self.mark == Mark::Wanted
            || self.end.is_some();
        if self.syncing.is_some() || !self.has_to_sync() || !is_due {
            return None;
        }
        let batch = mem::take(&mut self.unsynced);
        let mut claims = self.claimed.clone();
        batch.pieces.iter().for_each(|piece| {
            claims.set(*piece);
        });
        let files = batch.files.clone();
        let fresh = files.difference(&self.named).copied().collect();
        let clean = self.mark == Mark::Clean || self.end.is_some();
        self.syncing = Some(Syncing { batch, clean, end: self.end });
        Some(Job {
            torrent,
            metainfo: self.metainfo(),
            place: self.place.clone(),
            state: Arc::clone(&self.state),
            files,
            fresh,
            claims,
            clean,
        })
    }

    /// The syncer is through. What it was to end, if so.
    pub(super) fn handle_synced(&mut self, is_good: bool) -> Option<End> {
        let Syncing { batch, clean, end } = self.syncing.take().expect("it was asked to");
        if !is_good {
            self.doubtful = true;
            self.unsynced = Batch::default();
            return end;
        }
        batch.pieces.iter().for_each(|piece| {
            self.claimed.set(*piece);
        });
        self.named.extend(batch.files);
        if !clean {
            self.mark = Mark::Open;
        } else if end.is_some() || self.mark == Mark::Clean {
            if end.is_some() {
                self.data_lock = None;
            }
            self.mark = Mark::Clean;
            self.is_saved = self.unsynced.pieces.is_empty();
        }
        if end == Some(End::Settle) && self.end == end {
            self.end = None;
        }
        end
    }

    /// It is complete, and all of that is saved.
    pub(super) fn handle_settled(&mut self) -> bool {
        let is_settled = self.is_saved && self.end == Some(End::Settle);
        if is_settled {
            self.end = None;
        }
        is_settled
    }

    /// What it still waits for, if it was to end.
    pub(super) fn is_to_end(&self) -> Option<End> {
        self.end
    }

    /// The pieces that no selected file is in, word by word. Whoever only seeds selects nothing.
    pub(super) fn unwanted(&self) -> Vec<Word> {
        let mut unwanted = Bitfield::zeros(self.context.metainfo.pieces());
        let all = if self.place.read_only { 0 } else { unwanted.len() };
        for piece in (0..all).map(PieceIndex).filter(|piece| !self.context.wanted.get(*piece)) {
            unwanted.set(piece);
        }
        unwanted.to_words().collect()
    }

    /// What is written is ours alone, from the first byte on that makes its file.
    fn lock_data(&mut self) -> Result<(), Trouble> {
        if self.data_lock.is_none() {
            let first = self.context.metainfo.files().first();
            let root = first.and_then(|file| file.path.iter().next());
            self.data_lock = root.map_or(Ok(None), |root| self.state.lock_data(root))?;
        }
        Ok(())
    }

    fn handle_written(&mut self, piece: PieceIndex) {
        let metainfo = self.metainfo();
        let len = u64::from(metainfo.piece_len(piece));
        let stretches = metainfo.stretches(metainfo.piece_offset(piece), len);
        let files = stretches.map(|stretch| stretch.file);
        self.unsynced.files.extend(files.filter(|file| !metainfo.files()[*file].pad));
        self.unsynced.pieces.push(piece);
        self.unsynced.len += len;
        self.unsynced.since.get_or_insert_with(now);
        self.is_saved = false;
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        trouble(&self.place.dir.join(self.context.metainfo.root()), error)
    }
}

/// The first of the pieces and those that follow it without a gap.
fn take_run(whole: &mut BTreeMap<PieceIndex, Gathered>) -> Option<(PieceIndex, Vec<Gathered>)> {
    let (first, piece) = whole.pop_first()?;
    let mut run = vec![piece];
    for next in (first.0 + 1..).map(PieceIndex) {
        let Some(piece) = whole.remove(&next) else { break };
        run.push(piece);
    }
    Some((first, run))
}

#[cfg(test)]
mod tests;
