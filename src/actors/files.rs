//! The bounded cache of open files, shared by the storage and the peers' writers.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::formats::metainfo::Metainfo;
use crate::words::id::TorrentKey;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Reading; the file is not made.
    Read,
    /// Reading and writing; the file is made, and lengthened to its due size.
    Write,
}

/// Part of a torrent's data: so many bytes of a file, or zeros that are in no file (BEP 47).
#[derive(Debug)]
pub(crate) struct FilePart {
    /// The file; `None` for zeros.
    pub(crate) file: Option<Arc<File>>,
    /// Where the part begins in the file.
    pub(crate) offset: u64,
    /// Its length.
    pub(crate) len: u64,
}

impl FilePart {
    /// Appends the bytes of the part to `buffer`. A file that is too short is an error.
    pub(crate) fn read_to_end_of(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let start = buffer.len();
        let len = usize::try_from(self.len).map_err(io::Error::other)?;
        buffer.resize(start + len, 0);
        match &self.file {
            Some(file) => file.read_exact_at(&mut buffer[start..], self.offset),
            None => Ok(()),
        }
    }
}

/// The open files of all torrents, the least recently used closed first.
#[derive(Debug)]
pub(crate) struct FileStore {
    files_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    torrents: BTreeMap<TorrentKey, Arc<Folder>>,
    open: BTreeMap<(TorrentKey, usize), OpenFile>,
    by_use: BTreeMap<u64, (TorrentKey, usize)>,
    uses: u64,
}

#[derive(Debug)]
struct Folder {
    metainfo: Arc<Metainfo>,
    dir: PathBuf,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<File>,
    access: Access,
    used: u64,
}

impl FileStore {
    /// A cache of at most `files_max` open files.
    pub(crate) fn new(files_max: usize) -> Self {
        Self { files_max, state: Mutex::default() }
    }

    /// The files of `torrent` are below `dir`.
    pub(crate) fn add(&self, torrent: TorrentKey, metainfo: Arc<Metainfo>, dir: PathBuf) {
        self.state.lock().torrents.insert(torrent, Arc::new(Folder { metainfo, dir }));
    }

    /// Closes the files of `torrent`.
    pub(crate) fn remove(&self, torrent: TorrentKey) {
        let mut state = self.state.lock();
        state.torrents.remove(&torrent);
        state.open.retain(|(of, _), _| *of != torrent);
        state.by_use.retain(|_, (of, _)| *of != torrent);
    }

    /// The parts of `len` bytes at `offset` of a torrent, opened for `access`.
    pub(crate) fn parts(
        &self,
        torrent: TorrentKey,
        offset: u64,
        len: u64,
        access: Access,
    ) -> io::Result<Vec<FilePart>> {
        let folder = self.folder(torrent)?;
        let stretches = folder.metainfo.stretches(offset, len);
        let part = stretches.map(|stretch| {
            let pad = folder.metainfo.files()[stretch.file].pad;
            let file = if pad { None } else { Some(self.open(torrent, stretch.file, access)?) };
            Ok(FilePart { file, offset: stretch.offset, len: stretch.len })
        });
        part.collect()
    }

    /// File number `file` of `torrent`, opened for `access`.
    pub(crate) fn open(
        &self,
        torrent: TorrentKey,
        file: usize,
        access: Access,
    ) -> io::Result<Arc<File>> {
        if let Some(open) = self.state.lock().use_open(torrent, file, access) {
            return Ok(open);
        }
        let folder = self.folder(torrent)?;
        let due = &folder.metainfo.files()[file];
        let path = folder.dir.join(&due.path);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let opened = match access {
            Access::Read => File::open(&path).map_err(named)?,
            Access::Write => {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).map_err(named)?;
                }
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false);
                let opened = options.open(&path).map_err(named)?;
                if opened.metadata().map_err(named)?.len() < due.len {
                    opened.set_len(due.len).map_err(named)?;
                }
                opened
            }
        };
        let opened = Arc::new(opened);
        self.state.lock().keep(torrent, file, &opened, access, self.files_max);
        Ok(opened)
    }

    fn folder(&self, torrent: TorrentKey) -> io::Result<Arc<Folder>> {
        let folder = self.state.lock().torrents.get(&torrent).cloned();
        folder.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the torrent is closed"))
    }
}

impl State {
    fn use_open(&mut self, torrent: TorrentKey, file: usize, access: Access) -> Option<Arc<File>> {
        let open = self.open.get_mut(&(torrent, file)).filter(|open| open.access >= access)?;
        self.uses += 1;
        self.by_use.remove(&open.used);
        self.by_use.insert(self.uses, (torrent, file));
        open.used = self.uses;
        Some(Arc::clone(&open.file))
    }

    fn keep(
        &mut self,
        torrent: TorrentKey,
        file: usize,
        opened: &Arc<File>,
        access: Access,
        files_max: usize,
    ) {
        self.uses += 1;
        let open = OpenFile { file: Arc::clone(opened), access, used: self.uses };
        if let Some(old) = self.open.insert((torrent, file), open) {
            self.by_use.remove(&old.used);
        }
        self.by_use.insert(self.uses, (torrent, file));
        while self.open.len() > files_max {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.open.remove(&oldest);
        }
    }
}
