//! One torrent as the storage holds it: its lock, what is verified, what waits for a sync.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::actors::clock::now;
use crate::actors::file_error::trouble;
use crate::actors::files::{Access, FileStore};
use crate::actors::hasher;
use crate::actors::state::State;
use crate::actors::storage::gather::Gathered;
use crate::bus::{Place, StorageNews, TorrentContext, Trouble, TroubleKind};
use crate::formats::metainfo::{File, Metainfo};
use crate::formats::resume::{FileMark, Resume};
use crate::words::bitfield::{Bitfield, Word};
use crate::words::id::{Block, PieceIndex, TorrentKey};
use crate::words::limits::{self, BLOCK_LEN};

/// A torrent that is open.
#[derive(Debug)]
pub(super) struct Held {
    context: Arc<TorrentContext>,
    place: Place,
    state: State,
    /// The files that were there before, and of which nothing is known.
    strangers: BTreeSet<usize>,
    /// Pieces that are verified and synced: what the resume file may claim.
    claimed: Bitfield,
    /// Pieces that are verified and written, but not synced.
    unsynced: Vec<PieceIndex>,
    unsynced_len: u64,
    unsynced_since: Option<Instant>,
    dirty: BTreeSet<usize>,
    gathered: BTreeMap<PieceIndex, Gathered>,
    /// Of pieces that are larger than the memory budget, the blocks that are in the files already.
    in_place: BTreeMap<PieceIndex, Bitfield>,
    /// The hashes of the blocks of pieces that were whole and wrong, until the piece is right.
    suspects: BTreeMap<PieceIndex, Vec<[u8; 20]>>,
    /// What was there is known, and ours: before that there is nothing to remember.
    begun: bool,
    /// The resume file says that we are at work here.
    marked_open: bool,
    given_up: bool,
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
    pub(super) fn open(context: &Arc<TorrentContext>, place: Place) -> Result<Opening, Trouble> {
        let metainfo = &context.metainfo;
        let (state, no_lock) = State::lock(&place, metainfo.info_hash())?;
        let (loaded, not_believed) = match state.load(metainfo) {
            Ok(loaded) => (loaded, None),
            Err(warning) => (None, Some(warning)),
        };
        let marks = state.marks(metainfo);
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
        let held = Self {
            state,
            strangers,
            claimed: trusted.clone(),
            unsynced: Vec::new(),
            unsynced_len: 0,
            unsynced_since: None,
            dirty: BTreeSet::new(),
            gathered: BTreeMap::new(),
            in_place: BTreeMap::new(),
            suspects: BTreeMap::new(),
            begun: false,
            marked_open: false,
            given_up: false,
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

    /// The hashers found these pieces right.
    pub(super) fn handle_checked(&mut self, good: &Bitfield) {
        good.iter().for_each(|piece| {
            self.claimed.set(piece);
        });
    }

    /// What was there is known: makes the empty files, or refuses to touch what is not ours.
    pub(super) fn begin(&mut self, torrent: TorrentKey, files: &FileStore) -> Result<(), Trouble> {
        let metainfo = self.metainfo();
        let is_foreign =
            |file: &usize| !metainfo.pieces_of(*file).any(|n| self.claimed.get(PieceIndex(n)));
        if let Some(&file) = self.strangers.iter().find(|file| is_foreign(file)) {
            let what = self.place.dir.join(&metainfo.files()[file].path).display().to_string();
            let why = "it exists, and no piece of the torrent matches it; use --overwrite, or \
                       another --dir";
            return Err(Trouble { kind: TroubleKind::FileSystem, what, why: why.to_owned() });
        }
        if !self.place.read_only {
            let empty = |(_, file): &(usize, &File)| file.len == 0;
            for (file, _) in metainfo.files().iter().enumerate().filter(empty) {
                if !metainfo.files()[file].pad {
                    files
                        .open(torrent, file, Access::Write)
                        .map_err(|error| self.trouble(&error))?;
                }
            }
        }
        self.begun = true;
        Ok(())
    }

    /// Keeps a block. What there is to tell when its piece is whole, in order.
    pub(super) fn store(
        &mut self,
        torrent: TorrentKey,
        block: Block,
        data: Vec<u8>,
        memory: u64,
        files: &FileStore,
    ) -> Result<Vec<StorageNews>, Trouble> {
        if self.given_up {
            return Ok(Vec::new());
        }
        self.mark_open()?;
        let metainfo = self.metainfo();
        let piece = block.piece;
        if u64::from(metainfo.piece_len(piece)) > memory {
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
        let len = u64::from(metainfo.piece_len(piece));
        let parts = files.parts(torrent, metainfo.piece_offset(piece), len, Access::Write);
        parts.and_then(|parts| whole.write(parts)).map_err(|error| self.trouble(&error))?;
        self.handle_written(piece);
        let mut news = self.guilty(piece, &whole);
        news.push(StorageNews::Verified(piece));
        Ok(news)
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
        let parts = files.parts(torrent, at, u64::from(block.len), Access::Write);
        parts.and_then(|parts| one.write(parts)).map_err(|error| self.trouble(&error))?;
        let none = || Bitfield::zeros(metainfo.blocks(piece));
        let here = self.in_place.entry(piece).or_insert_with(none);
        here.set(PieceIndex(block.offset / BLOCK_LEN));
        if !here.is_full() {
            return Ok(vec![StorageNews::Written(piece)]);
        }
        self.in_place.remove(&piece);
        if !hasher::is_right(&metainfo, &self.place.dir, piece) {
            return Ok(vec![StorageNews::Corrupt(piece)]);
        }
        self.handle_written(piece);
        Ok(vec![StorageNews::Verified(piece)])
    }

    /// The blocks of `piece` that have changed since it was wrong, word by word.
    fn guilty(&mut self, piece: PieceIndex, right: &Gathered) -> Vec<StorageNews> {
        let Some(suspects) = self.suspects.remove(&piece) else { return Vec::new() };
        let mut changed = Bitfield::zeros(self.context.metainfo.blocks(piece));
        for (block, (was, is)) in (0..).zip(suspects.iter().zip(right.block_hashes())) {
            if *was != is {
                changed.set(PieceIndex(block));
            }
        }
        changed.to_words().map(|word| StorageNews::Guilty(piece, word)).collect()
    }

    /// The blocks of `piece` are of no use.
    pub(super) fn forget(&mut self, piece: PieceIndex) {
        self.gathered.remove(&piece);
        self.in_place.remove(&piece);
    }

    /// Nothing more is written.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.gathered.clear();
        self.in_place.clear();
        self.suspects.clear();
    }

    /// When what was written has to be synced at the latest.
    pub(super) fn sync_at(&self) -> Option<Instant> {
        self.unsynced_since.map(|since| since + limits::SYNC_EVERY)
    }

    /// Whether what was written has to be synced.
    pub(super) fn is_sync_due(&self, now: Instant) -> bool {
        self.unsynced_len >= limits::SYNC_LEN || self.sync_at().is_some_and(|due| now >= due)
    }

    /// Syncs what was written; only then does the resume file claim it.
    pub(super) fn sync(&mut self, torrent: TorrentKey, files: &FileStore) -> Result<(), Trouble> {
        self.sync_files(torrent, files).map_err(|error| self.trouble(&error))?;
        self.save(false).map_err(|error| self.state_trouble(&error))
    }

    /// Nothing more will be written: syncs, saves the state as clean, closes the files.
    pub(super) fn settle(&mut self, torrent: TorrentKey, files: &FileStore) -> Result<(), Trouble> {
        self.sync_files(torrent, files).map_err(|error| self.trouble(&error))?;
        files.close(torrent);
        self.save(true).map_err(|error| self.state_trouble(&error))?;
        self.marked_open = false;
        Ok(())
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

    /// Syncs, saves the state as clean, closes. What went wrong is for the user to read: the data
    /// is hashed again next time. Before everything was looked at nothing is saved, since a clean
    /// state vouches for what it does not claim as well: that it is ours, and not right.
    pub(super) fn close(&mut self, torrent: TorrentKey, files: &FileStore) -> Option<String> {
        self.gathered.clear();
        if !self.begun {
            return None;
        }
        let synced = self.sync_files(torrent, files);
        let clean = synced.is_ok();
        let saved = self.save(clean);
        let error = synced.and(saved).err()?;
        Some(format!("{}: the state is not saved: {error}", self.place.state.display()))
    }

    fn handle_written(&mut self, piece: PieceIndex) {
        let metainfo = self.metainfo();
        let len = u64::from(metainfo.piece_len(piece));
        let stretches = metainfo.stretches(metainfo.piece_offset(piece), len);
        self.dirty.extend(stretches.map(|stretch| stretch.file));
        self.unsynced.push(piece);
        self.unsynced_len += len;
        self.unsynced_since.get_or_insert_with(now);
    }

    fn sync_files(&mut self, torrent: TorrentKey, files: &FileStore) -> io::Result<()> {
        let metainfo = self.metainfo();
        for &file in &self.dirty {
            if !metainfo.files()[file].pad {
                files.open(torrent, file, Access::Write)?.sync_data()?;
            }
        }
        self.dirty.clear();
        for piece in self.unsynced.drain(..) {
            self.claimed.set(piece);
        }
        (self.unsynced_len, self.unsynced_since) = (0, None);
        Ok(())
    }

    /// Before the first write the resume file is marked, so that a crash can be told from an exit.
    fn mark_open(&mut self) -> Result<(), Trouble> {
        if !self.marked_open {
            self.save(false).map_err(|error| self.state_trouble(&error))?;
            self.marked_open = true;
        }
        Ok(())
    }

    fn save(&self, clean: bool) -> io::Result<()> {
        let metainfo = self.metainfo();
        self.state.save(&Resume {
            info_hash: metainfo.info_hash(),
            clean,
            pieces: self.claimed.clone(),
            files: self.state.marks(&metainfo),
        })
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        resumable(trouble(&self.place.dir.join(self.context.metainfo.name()), error))
    }

    fn state_trouble(&self, error: &io::Error) -> Trouble {
        resumable(trouble(&self.place.state, error))
    }
}

/// Says what to do about a full disk.
fn resumable(trouble: Trouble) -> Trouble {
    match trouble.kind {
        TroubleKind::NoSpace => {
            let why = format!("{}; make room, and the same command resumes", trouble.why);
            Trouble { why, ..trouble }
        }
        TroubleKind::FileSystem
        | TroubleKind::Network
        | TroubleKind::Interrupted
        | TroubleKind::Other => trouble,
    }
}

/// The pieces that have to be hashed: of a clean state, those that touch a file that has changed
/// since; otherwise all that are not trusted. Never those whose files are too short to hold them.
fn to_check(
    resume: Option<&Resume>,
    trusted: &Bitfield,
    marks: &[Option<FileMark>],
    metainfo: &Metainfo,
) -> Bitfield {
    let clean = resume.filter(|resume| resume.clean);
    let changed = |file: usize| clean.is_none_or(|clean| clean.files[file] != marks[file]);
    let mut to_check = Bitfield::zeros(metainfo.pieces());
    for piece in (0..metainfo.pieces()).map(PieceIndex).filter(|piece| !trusted.get(*piece)) {
        let len = u64::from(metainfo.piece_len(piece));
        let (mut present, mut news) = (true, false);
        for stretch in metainfo.stretches(metainfo.piece_offset(piece), len) {
            if metainfo.files()[stretch.file].pad {
                continue;
            }
            let there = marks[stretch.file].map_or(0, |mark| mark.len);
            present &= there >= stretch.offset + stretch.len;
            news |= changed(stretch.file);
        }
        if present && news {
            to_check.set(piece);
        }
    }
    to_check
}

/// The files that exist, have something in them, and that no state of ours knows.
fn strangers(
    resume: Option<&Resume>,
    marks: &[Option<FileMark>],
    metainfo: &Metainfo,
) -> BTreeSet<usize> {
    let known = |file: usize| resume.is_some_and(|resume| resume.knows(file));
    let strange = |(file, (mark, entry)): &(usize, (&Option<FileMark>, &File))| {
        let has_data = mark.is_some_and(|mark| mark.len > 0);
        has_data && !entry.pad && entry.len > 0 && !known(*file)
    };
    let files = marks.iter().zip(metainfo.files()).enumerate();
    files.filter(strange).map(|(file, _)| file).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use sha1::{Digest, Sha1};

    use super::*;
    use crate::actors::scratch::Scratch;
    use crate::formats::metainfo::{Draft, DraftFile};
    use crate::words::bitfield::SharedBitfield;
    use crate::words::id::Key;

    const TORRENT: TorrentKey = TorrentKey(Key { index: 0, generation: 0 });

    // Files:   t/a: aaaa   t/b: bbbb
    // Pieces:  0           1
    fn torrent() -> Metainfo {
        let file = |name: &str| DraftFile { path: vec![name.as_bytes().to_vec()], len: 4 };
        let draft = Draft {
            name: b"t".to_vec(),
            piece_length: 4,
            files: vec![file("a"), file("b")],
            hashes: [Sha1::digest(b"aaaa"), Sha1::digest(b"bbbb")].concat(),
            ..Draft::default()
        };
        Metainfo::parse(&draft.encode()).unwrap()
    }

    /// A session's look at `t/a` and `t/b`: the files are made, the torrent is opened.
    struct Looking {
        opening: Opening,
        files: FileStore,
    }

    fn look(scratch: &Scratch) -> Looking {
        let place = Place {
            dir: scratch.path().to_owned(),
            state: scratch.path().join("state"),
            check: false,
            overwrite: false,
            read_only: false,
        };
        let (_, context) = TorrentContext::new(torrent(), SharedBitfield::ones(2));
        let files = FileStore::new(4);
        files.add(TORRENT, Arc::clone(&context.metainfo), PathBuf::from(scratch.path()), true);
        Looking { opening: Held::open(&context, place).unwrap(), files }
    }

    fn write(scratch: &Scratch, a: &str, b: &str) {
        fs::create_dir_all(scratch.path().join("t")).unwrap();
        fs::write(scratch.path().join("t/a"), a).unwrap();
        fs::write(scratch.path().join("t/b"), b).unwrap();
    }

    #[test]
    fn who_ends_in_the_middle_of_a_check_checks_again() {
        let scratch = Scratch::new();
        write(&scratch, "aaaa", "bbbb");
        for _ in 0..2 {
            let Looking { opening: Opening { mut held, to_check, .. }, files } = look(&scratch);
            assert_eq!(to_check.ones(), 2);
            assert_eq!(held.close(TORRENT, &files), None);
        }
    }

    #[test]
    fn a_file_that_was_refused_once_is_refused_again() {
        let scratch = Scratch::new();
        write(&scratch, "aaaa", "mine");
        for _ in 0..2 {
            let Looking { opening: Opening { mut held, to_check, .. }, files } = look(&scratch);
            assert_eq!(to_check.ones(), 2);
            let mut good = Bitfield::zeros(2);
            good.set(PieceIndex(0));
            held.handle_checked(&good);
            assert_eq!(held.begin(TORRENT, &files).unwrap_err().kind, TroubleKind::FileSystem);
            held.give_up();
            assert_eq!(held.close(TORRENT, &files), None);
        }
    }

    #[test]
    fn what_was_checked_is_known_the_next_time() {
        let scratch = Scratch::new();
        write(&scratch, "aaaa", "bxbb");
        let Looking { opening: Opening { mut held, to_check, .. }, files } = look(&scratch);
        assert_eq!(to_check.ones(), 2);
        let mut good = Bitfield::zeros(2);
        good.set(PieceIndex(0));
        held.handle_checked(&good);
        held.strangers.clear();
        held.begin(TORRENT, &files).unwrap();
        assert_eq!(held.close(TORRENT, &files), None);
        drop(held);
        let Opening { trusted, to_check, .. } = look(&scratch).opening;
        assert_eq!((trusted.iter().collect::<Vec<_>>(), to_check.ones()), (vec![PieceIndex(0)], 0));
    }
}
