//! The bounded cache of open files, shared by the storage and the peers' writers.
//!
//! What is trusted: the folder that the user chose and whatever stands in it. A symbolic link
//! there is followed, since only the user can have put it there: no torrent brings one along, for
//! a link in a torrent is a pad, and pads are never made. A torrent's paths climb nowhere
//! ([`safe_path`](crate::formats::path::safe_path)). Only regular files are opened, because a
//! named pipe would block its thread for ever and a device do what it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::actors::disk::{
    Disk, DiskFile, How, Reader, SystemDisk, make_folders, open_regular, parent,
};
use crate::actors::file_error::FileError;
use crate::actors::file_part::FilePart;
use crate::formats::metainfo::{Metainfo, Stretch};
use crate::words::id::TorrentKey;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Reading; the file is not made.
    Read,
    /// Reading and writing; the file is made if it never was there, and lengthened to its due size.
    Write,
}

/// The open files of all torrents, the least recently used closed first.
///
/// A file that was closed here lives on in the hands of whoever was given it, so a process has as
/// many descriptors for data as the cache holds, and one more for each thread at work on a file.
/// What was written through a file is synced through any later one of the same path.
#[derive(Debug)]
pub(crate) struct FileStore {
    disk: Arc<dyn Disk>,
    files_max: usize,
    cache: Mutex<Cache>,
}

impl FileStore {
    /// A cache of at most `files_max` open files.
    pub(crate) fn new(files_max: usize) -> Self {
        Self::on(Arc::new(SystemDisk), files_max)
    }

    /// The same, on this disk.
    pub(crate) fn on(disk: Arc<dyn Disk>, files_max: usize) -> Self {
        Self { disk, files_max, cache: Mutex::default() }
    }

    /// The disk that the files are on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The files of `torrent` are below `dir`; they are made and written only if `writable`.
    pub(crate) fn add(
        &self,
        torrent: TorrentKey,
        metainfo: Arc<Metainfo>,
        dir: PathBuf,
        writable: bool,
    ) {
        let folder = Arc::new(Folder { metainfo, dir, writable });
        self.cache.lock().folders.insert(torrent, folder);
    }

    /// What is known of the files of `torrent` before any is written.
    pub(crate) fn own(&self, torrent: TorrentKey, ours: Ours) {
        self.cache.lock().ours.insert(torrent, ours);
    }

    /// Closes the files of `torrent`; none is opened from now on.
    pub(crate) fn remove(&self, torrent: TorrentKey) {
        let closed = self.cache.lock().remove(torrent);
        drop(closed);
    }

    /// Closes the files of `torrent`; they are opened again when they are needed.
    pub(crate) fn close(&self, torrent: TorrentKey) {
        let closed = self.cache.lock().close(torrent);
        drop(closed);
    }

    /// The parts of `len` bytes at `offset` of a torrent, each opened for `access` when its turn
    /// comes: a piece may reach across more files than a process can have open.
    ///
    /// # Errors
    /// If the torrent was removed; of each part, as [`open`](Self::open).
    pub(crate) fn parts(
        &self,
        torrent: TorrentKey,
        offset: u64,
        len: u64,
        access: Access,
    ) -> io::Result<impl Iterator<Item = io::Result<FilePart>>> {
        let metainfo = Arc::clone(&self.cache.lock().folder(torrent)?.metainfo);
        let (mut at, end) = (offset, offset.saturating_add(len));
        Ok(std::iter::from_fn(move || {
            let Stretch { file, offset, len } = metainfo.stretches(at, end - at).next()?;
            at += len;
            if metainfo.files()[file].pad {
                return Some(Ok(FilePart { file: None, offset, len }));
            }
            let open = self.open(torrent, file, access);
            Some(open.map(|file| FilePart { file: Some(file), offset, len }))
        }))
    }

    /// File number `file` of `torrent`, opened for `access`. For writing, folders and the file
    /// are made, once, and a file that is too short gets its due length without taking space;
    /// nothing is ever cut.
    ///
    /// # Errors
    /// With the path, if the system refuses or the path is no regular file, if a file to be written
    /// is gone, or somebody else's has come in its place; if the torrent was removed, has no such
    /// file, or is not to be written.
    pub(crate) fn open(
        &self,
        torrent: TorrentKey,
        file: usize,
        access: Access,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let (folder, presence, grow) = {
            let mut cache = self.cache.lock();
            if let Some(open) = cache.take((torrent, file), access) {
                return Ok(open);
            }
            let grow = cache.ours.get(&torrent).is_some_and(|ours| ours.grow);
            (cache.folder(torrent)?, cache.presence(torrent, file), grow)
        };
        // Others use the cache meanwhile, and one of them may open the same file.
        let (path, len) = folder.place_of(file)?;
        let due = Due { len, grow, presence };
        let opened = self.with_room(|| folder.open(&*self.disk, &path, access, due));
        let opened = opened.map_err(FileError::about(&path))?;
        // Files are dropped after the lock, which comes last: closing them may take time.
        let mut closed = Vec::new();
        let mut cache = self.cache.lock();
        // Nothing is kept for a torrent that was removed meanwhile: nobody would close it.
        cache.folder(torrent)?;
        if access == Access::Write {
            cache.ours.entry(torrent).or_default().files.insert(file);
        }
        if let Some(open) = cache.take((torrent, file), access) {
            return Ok(open);
        }
        closed.extend(cache.put((torrent, file), Arc::clone(&opened), access));
        while cache.open.len() > self.files_max {
            closed.extend(cache.put_out());
        }
        Ok(opened)
    }

    /// Opens; if the process has no descriptors left, a second time with those of all files that
    /// nobody is using. Sockets come and go, and a torrent must not fail for them.
    fn with_room<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(error) if is_out_of_descriptors(&error) => {
                let closed = self.cache.lock().put_out_all();
                drop(closed);
                open()
            }
            opened => opened,
        }
    }
}

/// A torrent, and the number of one of its files.
type Slot = (TorrentKey, usize);

/// `open` and `by_use` hold the same slots; `by_use` has the least recently used first.
#[derive(Debug, Default)]
struct Cache {
    folders: BTreeMap<TorrentKey, Arc<Folder>>,
    ours: BTreeMap<TorrentKey, Ours>,
    open: BTreeMap<Slot, OpenFile>,
    by_use: BTreeMap<u64, Slot>,
    uses: u64,
}

/// What is known of the files of a torrent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ours {
    /// Those that were there at its beginning, or were made since, and may be written. Whatever
    /// else is found in their places later is somebody else's.
    pub(crate) files: BTreeSet<usize>,
    /// It may be written all the same.
    pub(crate) overwrite: bool,
    /// They are not lengthened beforehand, since that would take room and time at once.
    pub(crate) grow: bool,
}

/// What a file that is to be written should be.
#[derive(Clone, Copy, Debug)]
struct Due {
    presence: Presence,
    len: u64,
    /// It gets its length as it is written.
    grow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// There: it was, or was made.
    There,
    /// Not there.
    Missing,
    /// There or not: whatever is may be overwritten.
    Either,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<dyn DiskFile>,
    access: Access,
    used: u64,
}

impl Cache {
    fn folder(&self, torrent: TorrentKey) -> io::Result<Arc<Folder>> {
        let folder = self.folders.get(&torrent).cloned();
        folder.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the torrent is closed"))
    }

    fn presence(&self, torrent: TorrentKey, file: usize) -> Presence {
        match self.ours.get(&torrent) {
            Some(ours) if ours.files.contains(&file) => Presence::There,
            Some(Ours { overwrite: true, .. }) => Presence::Either,
            Some(_) | None => Presence::Missing,
        }
    }

    /// The open file, if it is good for `access`; it is the most recently used then.
    fn take(&mut self, slot: Slot, access: Access) -> Option<Arc<dyn DiskFile>> {
        let open = self.open.get_mut(&slot).filter(|open| open.access >= access)?;
        self.uses += 1;
        self.by_use.remove(&open.used);
        self.by_use.insert(self.uses, slot);
        open.used = self.uses;
        Some(Arc::clone(&open.file))
    }

    /// Keeps a file; the one that it replaces is to be dropped without the lock.
    fn put(&mut self, slot: Slot, file: Arc<dyn DiskFile>, access: Access) -> Option<OpenFile> {
        self.uses += 1;
        self.by_use.insert(self.uses, slot);
        let old = self.open.insert(slot, OpenFile { file, access, used: self.uses });
        if let Some(old) = &old {
            self.by_use.remove(&old.used);
        }
        old
    }

    /// Takes out the least recently used file.
    fn put_out(&mut self) -> Option<OpenFile> {
        let (_, slot) = self.by_use.pop_first()?;
        self.open.remove(&slot)
    }

    fn put_out_all(&mut self) -> BTreeMap<Slot, OpenFile> {
        self.by_use.clear();
        std::mem::take(&mut self.open)
    }

    fn remove(&mut self, torrent: TorrentKey) -> Vec<OpenFile> {
        self.folders.remove(&torrent);
        self.ours.remove(&torrent);
        self.close(torrent)
    }

    fn close(&mut self, torrent: TorrentKey) -> Vec<OpenFile> {
        let slots = self.open.range((torrent, 0)..=(torrent, usize::MAX));
        let slots: Vec<Slot> = slots.map(|(slot, _)| *slot).collect();
        let closed: Vec<OpenFile> =
            slots.iter().filter_map(|slot| self.open.remove(slot)).collect();
        for open in &closed {
            self.by_use.remove(&open.used);
        }
        closed
    }
}

/// Where a torrent's files are.
#[derive(Debug)]
struct Folder {
    metainfo: Arc<Metainfo>,
    dir: PathBuf,
    writable: bool,
}

impl Folder {
    /// The path of a file and its due length.
    fn place_of(&self, file: usize) -> io::Result<(PathBuf, u64)> {
        let due = self.metainfo.files().get(file).filter(|due| !due.pad);
        let due = due.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the torrent has no such file")
        })?;
        Ok((self.dir.join(&due.path), due.len))
    }

    fn open(
        &self,
        disk: &dyn Disk,
        path: &Path,
        access: Access,
        due: Due,
    ) -> io::Result<Arc<dyn DiskFile>> {
        match access {
            Access::Read => open_regular(disk, path, How::Read),
            Access::Write if self.writable => open_or_make(disk, path, due),
            Access::Write => {
                let why = "the torrent is only read";
                Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
            }
        }
    }
}

fn open_or_make(disk: &dyn Disk, path: &Path, due: Due) -> io::Result<Arc<dyn DiskFile>> {
    if due.len > disk.file_len_max() {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LONG));
    }
    let file = if due.presence == Presence::There {
        open_regular(disk, path, How::Write)?
    } else {
        make_folders(disk, parent(path), Reader::Anyone)?;
        match open_regular(disk, path, How::Make) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = open_regular(disk, path, How::Write)?;
                if due.presence == Presence::Missing && file.stat()?.len > 0 {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, FOREIGN));
                }
                file
            }
            made => made?,
        }
    };
    if !due.grow && file.stat()?.len < due.len {
        file.set_len(due.len)?;
    }
    Ok(file)
}

const TOO_LONG: &str =
    "this process may not write files of its length; raise the limit (ulimit -f)";

const FOREIGN: &str = "somebody else's file came in its place; use --overwrite, or another --dir";

/// Whether the process (EMFILE) or the system (ENFILE) has no descriptors left; the numbers are the
/// same on every Unix.
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
mod tests;
