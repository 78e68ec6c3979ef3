//! The syncer: one thread that waits until what was written lasts, and then claims it. A disk that
//! takes its time holds up this thread, and the storage only when it has as much again to sync.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::actors::disk::parent;
use crate::actors::file_error::{FileError, trouble};
use crate::actors::files::{Access, FileStore};
use crate::actors::state::State;
use crate::bus::{Place, Trouble};
use crate::formats::metainfo::Metainfo;
use crate::formats::resume::Resume;
use crate::words::bitfield::Bitfield;
use crate::words::id::TorrentKey;
use crate::words::limits;

/// What is to be synced, and claimed then.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) torrent: TorrentKey,
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) place: Place,
    pub(super) state: Arc<State>,
    /// The files that were written, or found right.
    pub(super) files: BTreeSet<usize>,
    /// Those of them whose names may be as new as they are.
    pub(super) fresh: BTreeSet<usize>,
    /// The pieces that the resume file claims afterwards.
    pub(super) claims: Bitfield,
    /// Nothing is written from now on: the files are closed, and the resume file says so.
    pub(super) clean: bool,
}

/// How a job went.
#[derive(Debug)]
pub(super) struct Synced {
    pub(super) torrent: TorrentKey,
    pub(super) result: Result<(), Trouble>,
}

/// The storage's end of the syncer: dropped, it ends the thread and joins it.
#[derive(Debug)]
pub(super) struct Syncer {
    jobs: Option<Sender<Job>>,
    pub(super) reports: Receiver<Synced>,
    is_busy: bool,
    /// The one whose turn was last.
    pub(super) last: Option<TorrentKey>,
    /// The thread, and an end of its channel, which thus outlives it.
    thread: Option<(JoinHandle<()>, Sender<Synced>)>,
}

impl Syncer {
    /// Starts the thread.
    pub(super) fn start(files: Arc<FileStore>) -> io::Result<Self> {
        let (jobs, from_storage) = bounded::<Job>(1);
        let (sender, reports) = bounded(1);
        let report = sender.clone();
        let thread = Builder::new()
            .name("syncer".into())
            .stack_size(limits::stacks::SYNCER)
            .spawn(move || {
                for job in from_storage {
                    let synced = Synced { torrent: job.torrent, result: carry_out(&job, &files) };
                    // The lock goes when the storage lets go of its state, not a moment later.
                    drop(job);
                    #[expect(clippy::disallowed_methods, reason = "it may wait for the storage")]
                    let sent = report.send(synced);
                    if sent.is_err() {
                        return;
                    }
                }
            })?;
        let thread = Some((thread, sender));
        Ok(Self { jobs: Some(jobs), reports, is_busy: false, last: None, thread })
    }

    /// Whether it works: it takes one job at a time.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Gives it a job.
    pub(super) fn give(&mut self, job: Job) {
        assert!(!self.is_busy, "one job at a time");
        self.last = Some(job.torrent);
        self.is_busy = true;
        let jobs = self.jobs.as_ref().expect("it is there until the syncer is dropped");
        // It takes nothing only if it failed, and has said so on stderr.
        jobs.try_send(job).ok();
    }

    /// It has reported.
    pub(super) fn handle_report(&mut self) {
        self.is_busy = false;
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some((thread, _)) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Syncs what the job names; then, and only then, the resume file claims it.
pub(super) fn carry_out(job: &Job, files: &FileStore) -> Result<(), Trouble> {
    let Job { metainfo, place, state, .. } = job;
    // Others write meanwhile: the marks are as old as what is synced, so that no file that is cut
    // off in between seems older than its mark.
    let marks = (!job.clean).then(|| state.marks(metainfo));
    let data = place.dir.join(metainfo.root());
    sync(job, files).map_err(|error| trouble(&data, &error))?;
    if job.clean {
        files.close(job.torrent);
    }
    let resume = Resume {
        info_hash: metainfo.info_hash(),
        clean: job.clean,
        pieces: job.claims.clone(),
        files: marks.unwrap_or_else(|| state.marks(metainfo)),
    };
    state.save(&resume).map_err(|error| trouble(&place.state, &error))
}

/// Syncs the files, and the folders in which they and their folders stand.
fn sync(job: &Job, files: &FileStore) -> io::Result<()> {
    let disk = files.disk();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for &file in &job.files {
        let path = job.place.dir.join(&job.metainfo.files()[file].path);
        let open = files.open(job.torrent, file, Access::Read)?;
        // What lasts must be what the path leads to.
        let is_there = disk.stat(&path).and_then(|there| Ok((there, open.stat()?)));
        let synced = open.sync().and(is_there).and_then(|(there, open)| {
            let replaced = || io::Error::other("another file came in its place meanwhile");
            if there.inode == open.inode { Ok(()) } else { Err(replaced()) }
        });
        synced.map_err(FileError::about(&path))?;
        if job.fresh.contains(&file) {
            // Up to the folder in which `dir` itself stands.
            let above = path.ancestors().skip(1);
            folders.extend(
                above.take_while(|folder| folder.starts_with(&job.place.dir)).map(Into::into),
            );
            folders.insert(parent(&job.place.dir).to_owned());
        }
    }
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { ".".into() } else { folder };
        disk.sync_folder(&folder).map_err(FileError::about(&folder))?;
    }
    Ok(())
}
