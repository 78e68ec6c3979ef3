//! A disk in memory that keeps what is durable apart from what is only written.
//!
//! It writes a journal of all that is done to it, so a test can run once and then cut the power
//! after each step, with many outcomes. What a power cut may leave, harsher than most disks: of
//! each file, everything up to its last sync; of each page of [`PAGE`] bytes that was written since,
//! the old one, the new one, a mixture of both by sectors of [`SECTOR`] bytes, or, beyond the synced
//! length, garbage; any length that the file had since; a time from then or from now. Of each
//! folder, everything up to its last sync, and any of the files and folders that were made, renamed
//! or removed in it since, each or not. What is made in a folder that is lost is lost with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::TryLockError;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, How, Kind, Reader, Room, Stat, parent};
use crate::formats::resume::Timestamp;
use crate::words::rng::Rng;

/// What is lost or kept as a whole, unless it is torn.
const PAGE: usize = 4096;
/// What is never torn.
const SECTOR: usize = 512;

/// A step that changes the disk, or makes what changed last.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    MakeFolder(PathBuf),
    Make(PathBuf, u64),
    SetLen(u64, usize),
    Write(u64, usize, Vec<u8>),
    Sync(u64),
    SyncFolder(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// What somebody is about to do, for [`FakeDisk::intercept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Stat,
    Open,
    Read,
    Write,
    Sync,
    SyncFolder,
    Rename,
}

/// Looks at each deed before it is done: it may wait, or refuse.
pub(crate) type Interceptor = dyn Fn(Deed, &Path) -> io::Result<()> + Send + Sync;

/// What of the unsynced a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing, but the times are those of the last writes.
    Nothing,
    /// Everything.
    Everything,
    /// Some of it.
    Some,
}

/// The disk; clones are the same one.
#[derive(Clone)]
pub(crate) struct FakeDisk {
    world: Arc<Mutex<World>>,
    interceptor: Arc<Mutex<Option<Arc<Interceptor>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    File(u64),
}

/// A change of a folder.
#[derive(Clone, Debug)]
enum Change {
    Add(PathBuf, Entry),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl Change {
    fn is_in(&self, folder: &Path) -> bool {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path)) = self;
        parent(path) == folder
    }

    fn apply(&self, entries: &mut BTreeMap<PathBuf, Entry>) {
        match self {
            Self::Add(path, entry) => {
                entries.insert(path.clone(), entry.clone());
            }
            Self::Rename(from, to) => {
                if let Some(entry) = entries.remove(from) {
                    entries.insert(to.clone(), entry);
                }
            }
            Self::Remove(path) => {
                entries.remove(path);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Inode {
    data: Vec<u8>,
    modified: i64,
    durable: Vec<u8>,
    durable_modified: i64,
    /// The pages that were written since the last sync, and the lengths that it had.
    pages: BTreeSet<usize>,
    lens: Vec<usize>,
    is_locked: bool,
}

#[derive(Clone, Debug, Default)]
struct World {
    inodes: BTreeMap<u64, Inode>,
    entries: BTreeMap<PathBuf, Entry>,
    durable: BTreeMap<PathBuf, Entry>,
    changes: Vec<Change>,
    journal: Vec<Step>,
    inodes_made: u64,
    clock: i64,
    /// Bytes that can still be written.
    room: Option<usize>,
    has_no_holes: bool,
    file_len_max: Option<u64>,
}

impl FakeDisk {
    /// A disk with nothing on it but `/`.
    pub(crate) fn new() -> Self {
        Self::of(World::default())
    }

    fn of(mut world: World) -> Self {
        for entries in [&mut world.entries, &mut world.durable] {
            entries.insert("/".into(), Entry::Folder);
        }
        let interceptor = Arc::new(Mutex::new(None));
        Self { world: Arc::new(Mutex::new(world)), interceptor }
    }

    /// A disk to which all this was done, by a process that is gone.
    pub(crate) fn after(steps: &[Step]) -> Self {
        let disk = Self::new();
        let mut world = disk.world.lock();
        steps.iter().for_each(|step| world.take(step.clone()));
        drop(world);
        disk
    }

    /// All that was done to it.
    pub(crate) fn journal(&self) -> Vec<Step> {
        self.world.lock().journal.clone()
    }

    /// The same disk after a power cut; this one stays as it is.
    pub(crate) fn cut(&self, outcome: Outcome, rng: &mut Rng) -> Self {
        let world = self.world.lock();
        let mut after = World { clock: world.clock + 1, ..World::default() };
        after.inodes_made = world.inodes_made;
        let mut entries = world.durable.clone();
        for change in &world.changes {
            if is_kept(outcome, rng) {
                change.apply(&mut entries);
            }
        }
        let folders: BTreeSet<PathBuf> = entries
            .iter()
            .filter(|(_, entry)| **entry == Entry::Folder)
            .map(|(path, _)| path.clone())
            .collect();
        entries.retain(|path, _| path.ancestors().skip(1).all(|above| folders.contains(above)));
        for entry in entries.values() {
            if let Entry::File(number) = entry {
                after.inodes.insert(*number, world.inodes[number].cut(outcome, rng));
            }
        }
        after.durable.clone_from(&entries);
        after.entries = entries;
        Self::of(after)
    }

    /// What is never written takes room all the same.
    pub(crate) fn has_no_holes(&self) {
        self.world.lock().has_no_holes = true;
    }

    /// Files may be so long.
    pub(crate) fn set_file_len_max(&self, len: u64) {
        self.world.lock().file_len_max = Some(len);
    }

    /// As many bytes as one likes can be written.
    pub(crate) fn make_room(&self) {
        self.world.lock().room = None;
    }

    /// Nothing is refused any more.
    pub(crate) fn intercept_nothing(&self) {
        *self.interceptor.lock() = None;
    }

    /// So many bytes can still be written.
    pub(crate) fn set_room(&self, bytes: usize) {
        self.world.lock().room = Some(bytes);
    }

    /// `interceptor` looks at all that is done from now on.
    pub(crate) fn intercept(
        &self,
        interceptor: impl Fn(Deed, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) {
        *self.interceptor.lock() = Some(Arc::new(interceptor));
    }

    /// Everything that is there, but for the root.
    pub(crate) fn names(&self) -> Vec<String> {
        let world = self.world.lock();
        world.entries.keys().skip(1).map(|path| path.display().to_string()).collect()
    }

    /// The content of a file; empty if it is not there.
    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let world = self.world.lock();
        world.file(path).map(|number| world.inodes[&number].data.clone()).unwrap_or_default()
    }

    fn before(&self, deed: Deed, path: &Path) -> io::Result<()> {
        let interceptor = self.interceptor.lock().clone();
        interceptor.map_or(Ok(()), |interceptor| interceptor(deed, path))
    }
}

fn is_kept(outcome: Outcome, rng: &mut Rng) -> bool {
    match outcome {
        Outcome::Nothing => false,
        Outcome::Everything => true,
        Outcome::Some => rng.chance(1, 2),
    }
}

impl Inode {
    fn cut(&self, outcome: Outcome, rng: &mut Rng) -> Self {
        let (mut data, mut modified) = (self.durable.clone(), self.modified);
        match outcome {
            Outcome::Nothing => {}
            Outcome::Everything => data.clone_from(&self.data),
            Outcome::Some => {
                let choices = u32::try_from(self.lens.len()).unwrap();
                if choices > 0 && rng.chance(2, 3) {
                    data.resize(self.lens[rng.below(choices) as usize], 0);
                }
                self.pages.iter().for_each(|page| self.cut_page(*page, &mut data, rng));
                if rng.chance(1, 2) {
                    modified = self.durable_modified;
                }
            }
        }
        let durable = data.clone();
        Self { data, durable, modified, durable_modified: modified, ..Self::default() }
    }

    fn cut_page(&self, page: usize, data: &mut [u8], rng: &mut Rng) {
        let (kept, garbage) = (rng.chance(1, 2), rng.chance(1, 8));
        let torn = rng.chance(1, 4);
        for sector in (page * PAGE..(page + 1) * PAGE).step_by(SECTOR) {
            let end = (sector + SECTOR).min(data.len());
            let kept = if torn { rng.chance(1, 2) } else { kept };
            if kept && end > sector {
                let new = end.min(self.data.len()).max(sector);
                data[sector..new].copy_from_slice(&self.data[sector..new]);
            } else if garbage && sector >= self.durable.len() && end > sector {
                rng.fill(&mut data[sector..end]);
            }
        }
    }
}

impl World {
    fn file(&self, path: &Path) -> Option<u64> {
        match self.entries.get(path) {
            Some(Entry::File(number)) => Some(*number),
            Some(Entry::Folder) | None => None,
        }
    }

    fn inode(&mut self, number: u64) -> &mut Inode {
        self.inodes.get_mut(&number).expect("inodes stay")
    }

    /// Does a step, and writes it down.
    fn take(&mut self, step: Step) {
        self.clock += 1;
        let clock = self.clock;
        match &step {
            Step::MakeFolder(path) => self.change(Change::Add(path.clone(), Entry::Folder)),
            Step::Make(path, number) => {
                self.inodes_made = *number;
                let inode = Inode { modified: clock, ..Inode::default() };
                self.inodes.insert(*number, inode);
                self.change(Change::Add(path.clone(), Entry::File(*number)));
            }
            Step::SetLen(number, len) => {
                let inode = self.inode(*number);
                inode.data.resize(*len, 0);
                inode.lens.push(*len);
                inode.modified = clock;
            }
            Step::Write(number, offset, bytes) => {
                let inode = self.inode(*number);
                let end = offset + bytes.len();
                if inode.data.len() < end {
                    inode.data.resize(end, 0);
                    inode.lens.push(end);
                }
                inode.data[*offset..end].copy_from_slice(bytes);
                inode.pages.extend(offset / PAGE..end.div_ceil(PAGE));
                inode.modified = clock;
            }
            Step::Sync(number) => {
                let inode = self.inode(*number);
                inode.durable.clone_from(&inode.data);
                inode.pages.clear();
                inode.lens.clear();
            }
            Step::SyncFolder(path) => {
                for change in self.changes.extract_if(.., |change| change.is_in(path)) {
                    change.apply(&mut self.durable);
                }
            }
            Step::Rename(from, to) => self.change(Change::Rename(from.clone(), to.clone())),
            Step::Remove(path) => self.change(Change::Remove(path.clone())),
        }
        self.journal.push(step);
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.entries);
        self.changes.push(change);
    }

    fn stat(&self, entry: &Entry) -> Stat {
        let (kind, len, secs, inode) = match entry {
            Entry::Folder => (Kind::Folder, 0, 0, 0),
            Entry::File(number) => {
                let inode = &self.inodes[number];
                (Kind::File, inode.data.len() as u64, inode.modified, *number)
            }
        };
        Stat { kind, len, allocated: len, modified: Some(Timestamp { secs, nanos: 0 }), inode }
    }
}

impl fmt::Debug for FakeDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeDisk")
    }
}

impl Disk for FakeDisk {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.before(Deed::Stat, path)?;
        let world = self.world.lock();
        let entry = world.entries.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(world.stat(entry))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        self.stat(path).map(|_| path.to_owned())
    }

    fn make_folder(&self, path: &Path, _: Reader) -> io::Result<()> {
        self.world.lock().take(Step::MakeFolder(path.to_owned()));
        Ok(())
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>> {
        self.before(Deed::Open, path)?;
        let mut world = self.world.lock();
        let number = match (world.entries.get(path), how) {
            (Some(Entry::Folder), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Entry::File(_)), How::Make | How::MakePrivate) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(Entry::File(number)), How::Read | How::Write | How::Lock) => *number,
            (None, How::Read | How::Write) => return Err(io::ErrorKind::NotFound.into()),
            (None, How::Make | How::MakePrivate | How::Lock) => {
                if world.entries.get(parent(path)) != Some(&Entry::Folder) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let number = world.inodes_made + 1;
                world.take(Step::Make(path.to_owned(), number));
                number
            }
        };
        let is_writable = how != How::Read;
        let (disk, path) = (self.clone(), path.to_owned());
        Ok(Arc::new(FakeFile { disk, path, number, is_writable, lock: Mutex::new(false) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Deed::Rename, to)?;
        self.world.lock().take(Step::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world.lock();
        if !world.entries.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.take(Step::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.before(Deed::SyncFolder, path)?;
        self.world.lock().take(Step::SyncFolder(path.to_owned()));
        Ok(())
    }

    fn room(&self, _: &Path) -> io::Result<Room> {
        let world = self.world.lock();
        let free = world.room.map_or(u64::MAX, |room| room as u64);
        Ok(Room { free, has_holes: !world.has_no_holes })
    }

    fn file_len_max(&self) -> u64 {
        self.world.lock().file_len_max.unwrap_or(u64::MAX)
    }
}

struct FakeFile {
    disk: FakeDisk,
    path: PathBuf,
    number: u64,
    is_writable: bool,
    /// Whether it holds the lock.
    lock: Mutex<bool>,
}

impl fmt::Debug for FakeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FakeFile({})", self.path.display())
    }
}

impl FakeFile {
    fn may_write(&self) -> io::Result<()> {
        if self.is_writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl DiskFile for FakeFile {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.disk.world.lock().stat(&Entry::File(self.number)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        self.disk.world.lock().take(Step::SetLen(self.number, usize::try_from(len).unwrap()));
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.before(Deed::Read, &self.path)?;
        let mut world = self.disk.world.lock();
        let offset = usize::try_from(offset).unwrap();
        let there = world.inode(self.number).data.get(offset..offset + buffer.len());
        buffer.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.may_write()?;
        self.disk.before(Deed::Write, &self.path)?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let mut world = self.disk.world.lock();
        if let Some(room) = &mut world.room {
            if *room == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate(*room);
            *room -= bytes.len();
        }
        let written = bytes.len();
        world.take(Step::Write(self.number, usize::try_from(offset).unwrap(), bytes));
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.before(Deed::Sync, &self.path)?;
        self.disk.world.lock().take(Step::Sync(self.number));
        Ok(())
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        let mut world = self.disk.world.lock();
        let inode = world.inode(self.number);
        if inode.is_locked {
            return Err(TryLockError::WouldBlock);
        }
        inode.is_locked = true;
        *self.lock.lock() = true;
        Ok(())
    }
}

impl Drop for FakeFile {
    fn drop(&mut self) {
        if *self.lock.lock() {
            self.disk.world.lock().inode(self.number).is_locked = false;
        }
    }
}
