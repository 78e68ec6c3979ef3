//! The storage on a disk that loses its power, after every single step of a download.
//!
//! The download runs once; its steps are played again up to each one, and what a power cut may
//! leave then is opened anew: nothing that is wrong may be believed, nothing that was claimed may be
//! lost, little has to be fetched again, and the download completes.

#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else is told is a failure")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::actors::disk::fake::{Deed, FakeDisk, Outcome, Step};
use crate::formats::metainfo::{Draft, DraftFile};
use crate::formats::resume::Resume;
use crate::words::rng::Rng;

use sha1::{Digest, Sha1};

pub(super) const PIECES: u32 = 10;
const FILES: [(&str, u64); 5] = [
    ("a", 70_000),
    ("new/b", 100_001),
    ("new/er/c", 2 * PIECE_LEN as u64 - 1),
    ("new/empty", 0),
    ("z", 327_000 - 70_000 - 100_001 - (2 * PIECE_LEN as u64 - 1)),
];

pub(super) fn bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| made_up::data(327_000))
}

fn torrent() -> Metainfo {
    static TORRENT: OnceLock<Metainfo> = OnceLock::new();
    TORRENT.get_or_init(make_torrent).clone()
}

fn make_torrent() -> Metainfo {
    let file = |(path, len): &(&str, u64)| DraftFile {
        path: path.split('/').map(|name| name.as_bytes().to_vec()).collect(),
        len: *len,
    };
    let hashes = bytes().chunks(PIECE_LEN as usize).flat_map(Sha1::digest).collect();
    let draft = Draft {
        name: b"t".to_vec(),
        piece_length: PIECE_LEN,
        files: FILES.iter().map(file).collect(),
        hashes,
        ..Draft::default()
    };
    Metainfo::parse(&draft.encode()).unwrap()
}

/// What a download may hold back, and how many pieces it may lose.
#[derive(Clone, Copy)]
struct Way {
    bounds: Bounds,
    lost_max: usize,
}

/// Piece by piece, each synced; many in one go; in place, since the memory takes no whole piece.
fn ways() -> [Way; 3] {
    let len = u64::from(PIECE_LEN);
    // The last piece, which is the shortest, is enough for a sync.
    let one = 327_000 % len;
    let way = |memory, sync_len, lost_max| Way {
        bounds: Bounds { memory, sync_every: limits::SYNC_EVERY, sync_len },
        lost_max,
    };
    [way(4 * len, one, 2), way(64 * len, 4 * len, PIECES as usize), way(len / 2, one, 2)]
}

/// A storage thread on a fake disk.
pub(super) struct Process {
    disk: FakeDisk,
    pub(super) files: Arc<FileStore>,
    storage: StorageHandle,
    pub(super) news: Receiver<Notification>,
    pub(super) context: Arc<TorrentContext>,
}

impl Process {
    pub(super) fn start(disk: &FakeDisk, bounds: Bounds) -> Self {
        let (sender, news) = bounded(1024);
        let files = Arc::new(FileStore::on(Arc::new(disk.clone()), 2));
        let storage =
            StorageHandle::start_within(bounds, Arc::clone(&files), Arc::default(), sender)
                .unwrap();
        let (_, context) = TorrentContext::new(torrent(), SharedBitfield::ones(PIECES));
        Self { disk: disk.clone(), files, storage, news, context }
    }

    pub(super) fn order(&self, order: ToStorage) {
        self.storage.tasks.try_send((made_up::torrent_key(0), order)).unwrap();
    }

    pub(super) fn next(&self) -> StorageNews {
        let next = self.news.recv_deadline(now() + Duration::from_secs(30)).unwrap();
        let Notification::Storage(_, news) = next else { panic!("{next:?}") };
        news
    }

    /// The pieces that are believed, or found right; or what the user would be told instead.
    pub(super) fn open(&self) -> Result<BTreeSet<u32>, String> {
        self.open_with(&[])
    }

    /// The same; this is told as well.
    pub(super) fn open_with(&self, also: &[&str]) -> Result<BTreeSet<u32>, String> {
        let mut also = also.iter();
        let (dir, state) = ("/home/d".into(), "/home/s".into());
        let place = Place { dir, state, check: false, overwrite: false, read_only: false };
        self.order(ToStorage::Open { context: Arc::clone(&self.context), place });
        let mut found = BTreeSet::new();
        loop {
            match self.next() {
                StorageNews::Found(word) => found.extend(word.pieces().map(|piece| piece.0)),
                StorageNews::Checking(_) => {}
                StorageNews::Opened => {
                    assert_eq!(also.next(), None);
                    return Ok(found);
                }
                other @ StorageNews::InOrder => {
                    assert_eq!(also.next(), Some(&format!("{other:?}").as_str()));
                }
                StorageNews::Warned(warning) => return Err(warning),
                StorageNews::Failed(trouble) => return Err(trouble.why),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Stores these pieces, and waits until they are written.
    pub(super) fn download(&self, pieces: impl IntoIterator<Item = u32>) {
        let pieces = pieces.into_iter().inspect(|piece| self.store(*piece));
        self.wait_for(pieces.count());
    }

    /// Stores the blocks of a piece.
    pub(super) fn store(&self, piece: u32) {
        let (piece, metainfo) = (PieceIndex(piece), &self.context.metainfo);
        for block in (0..metainfo.blocks(piece)).map(|n| metainfo.block(piece, n)) {
            let at = (piece.0 * PIECE_LEN + block.offset) as usize;
            let data = bytes()[at..at + block.len as usize].to_vec();
            self.order(ToStorage::Store(block, data));
        }
    }

    /// Waits until so many pieces are verified.
    pub(super) fn wait_for(&self, pieces: usize) {
        let mut verified = 0;
        while verified < pieces {
            match self.next() {
                StorageNews::Verified(_) => verified += 1,
                StorageNews::Written(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until all that was ordered is carried out, and the storage has found nothing to do:
    /// it says at once that a torrent which it does not know is closed.
    pub(super) fn let_it_look_twice(&self) {
        let unknown = made_up::torrent_key(1);
        for _ in 0..2 {
            self.storage.tasks.try_send((unknown, ToStorage::Close)).unwrap();
            let news = self.news.recv_deadline(now() + Duration::from_secs(30)).unwrap();
            assert!(matches!(news, Notification::Storage(torrent, _) if torrent == unknown));
        }
    }

    pub(super) fn close(self) {
        self.order(ToStorage::Close);
        let news = self.next();
        assert!(matches!(news, StorageNews::Closed), "{news:?}");
    }
}

/// The pieces that are right on the disk.
pub(super) fn right(disk: &FakeDisk) -> BTreeSet<u32> {
    let mut content = Vec::new();
    for (path, len) in FILES {
        let mut file = disk.read(&Path::new("/home/d/t").join(path));
        // What is not there is something else than what should be.
        let missing = usize::try_from(len).unwrap().saturating_sub(file.len());
        file.extend(vec![0; missing]);
        content.extend(file);
    }
    let expected = bytes();
    let pieces = content.chunks(PIECE_LEN as usize).zip(expected.chunks(PIECE_LEN as usize));
    (0..).zip(pieces).filter(|(_, (is, due))| is == due).map(|(piece, _)| piece).collect()
}

/// The pieces that the resume file claims.
pub(super) fn claimed(disk: &FakeDisk) -> BTreeSet<u32> {
    let names = disk.names();
    let Some(path) = names.iter().find(|name| name.ends_with(".resume")) else {
        return BTreeSet::new();
    };
    let resume = Resume::parse(&disk.read(Path::new(path)), PIECES, FILES.len());
    resume.map_or(BTreeSet::new(), |resume| resume.pieces.iter().map(|piece| piece.0).collect())
}

/// The steps of a whole download.
fn downloaded(bounds: Bounds, rng: &mut Rng) -> Vec<Step> {
    let disk = FakeDisk::new();
    let process = Process::start(&disk, bounds);
    assert_eq!(process.open(), Ok(BTreeSet::new()));
    let mut pieces: Vec<u32> = (0..PIECES).collect();
    rng.shuffle(&mut pieces);
    process.download(pieces);
    process.close();
    disk.journal()
}

/// What is wrong with a disk whose power was cut, and where nothing but `claimed` is sure.
fn complaints(
    after: &FakeDisk,
    written: &BTreeSet<u32>,
    claimed: &BTreeSet<u32>,
    way: Way,
) -> Vec<String> {
    let right = right(after);
    let process = Process::start(after, way.bounds);
    let found = match process.open() {
        Ok(found) => found,
        Err(told) => return vec![told],
    };
    let mut complaints = Vec::new();
    if !found.is_subset(&right) {
        complaints.push(format!("{found:?} are believed, {right:?} are right"));
    }
    if !claimed.is_subset(&found) {
        complaints.push(format!("{claimed:?} were claimed, {found:?} are found"));
    }
    let lost: Vec<_> = written.difference(&found).collect();
    if lost.len() > way.lost_max {
        complaints.push(format!("{lost:?} have to be fetched again"));
    }
    if complaints.is_empty() {
        process.download((0..PIECES).filter(|piece| !found.contains(piece)));
        let disk = process.disk.clone();
        process.close();
        if self::right(&disk).len() != PIECES as usize {
            complaints.push("the download does not complete".to_owned());
        }
    }
    complaints
}

/// What is wrong after a power cut, after each of these steps.
fn complaints_of_all(steps: &[Step], way: Way, rng: &mut Rng) -> Vec<String> {
    let outcomes = [Outcome::Nothing, Outcome::Some, Outcome::Some];
    let mut all = Vec::new();
    for cut in 0..=steps.len() {
        let before = FakeDisk::after(&steps[..cut]);
        let written = right(&before);
        let claimed = claimed(&before.cut(Outcome::Nothing, rng));
        for outcome in outcomes {
            let found = complaints(&before.cut(outcome, rng), &written, &claimed, way);
            all.extend(found.into_iter().map(|it| format!("cut {cut}, {outcome:?}: {it}")));
        }
    }
    all
}

#[test]
fn a_power_cut_after_any_step_costs_what_was_not_synced() {
    let mut rng = Rng::new(1);
    for way in ways() {
        let steps = downloaded(way.bounds, &mut rng);
        assert!(steps.len() > 40, "{}", steps.len());
        let complaints = complaints_of_all(&steps, way, &mut rng);
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

/// The test above sees each kind of sync that is left out.
#[test]
fn without_its_syncs_a_download_is_lost() {
    let mut rng = Rng::new(2);
    let way = ways()[0];
    let steps = downloaded(way.bounds, &mut rng);
    let is_file = |step: &Step| matches!(step, Step::Sync(_));
    let is_folder = |step: &Step| matches!(step, Step::SyncFolder(_));
    let is_data_folder =
        |step: &Step| matches!(step, Step::SyncFolder(path) if path.ends_with("t"));
    let left_out: [&dyn Fn(&Step) -> bool; 3] = [&is_file, &is_folder, &is_data_folder];
    for left_out in left_out {
        let steps: Vec<Step> = steps.iter().filter(|step| !left_out(step)).cloned().collect();
        assert!(!complaints_of_all(&steps, way, &mut rng).is_empty());
    }
}

/// What a killed process wrote is in memory alone: whoever finds it right syncs it before claiming.
#[test]
fn what_a_killed_process_wrote_survives_a_power_cut_after_the_next() {
    let mut rng = Rng::new(3);
    let way = ways()[0];
    let steps = downloaded(way.bounds, &mut rng);
    for killed in 0..=steps.len() {
        let disk = FakeDisk::after(&steps[..killed]);
        let process = Process::start(&disk, way.bounds);
        let found = process.open().unwrap();
        assert!(found.is_subset(&right(&disk)));
        process.close();
        for outcome in [Outcome::Nothing, Outcome::Everything, Outcome::Some] {
            let complaints = complaints(&disk.cut(outcome, &mut rng), &found, &found, way);
            assert!(complaints.is_empty(), "killed after {killed}: {complaints:?}");
        }
    }
}

#[test]
fn a_complete_torrent_is_resumed_without_reading_its_data() {
    let mut rng = Rng::new(4);
    let way = ways()[1];
    let disk = FakeDisk::after(&downloaded(way.bounds, &mut rng)).cut(Outcome::Nothing, &mut rng);
    let looks = AtomicUsize::new(0);
    disk.intercept(move |deed, path| {
        if path.starts_with("/home/d/t") {
            assert_eq!(deed, Deed::Stat, "{}", path.display());
            let looks = looks.fetch_add(1, Ordering::Relaxed);
            assert!(looks < FILES.len(), "each file is looked at once");
        }
        Ok(())
    });
    let process = Process::start(&disk, way.bounds);
    assert_eq!(process.open().unwrap().len(), PIECES as usize);
    process.order(ToStorage::Settle);
    assert!(matches!(process.next(), StorageNews::Settled));
    process.close();
    assert!(disk.journal().is_empty(), "{:?}", disk.journal());
}
