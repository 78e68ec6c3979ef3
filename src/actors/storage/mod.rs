//! The storage: one thread that gathers blocks into pieces, hashes them and writes them.
//!
//! A piece reaches its files whole and verified, in one go with its neighbours as long as more is
//! waiting. (One that is larger than the memory budget is written block by block and read back to
//! be hashed.) Another thread syncs what was written and claims it in the resume file. What is
//! already there when a torrent opens is hashed by hasher threads, one torrent at a time, while this
//! thread goes on.

mod check;
mod gather;
mod held;
mod survey;
mod syncer;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::actors::clock::now;
use crate::actors::files::FileStore;
use crate::actors::shelf::Shelf;
use crate::bus::{Notification, Place, StorageNews, ToStorage, TorrentContext, Trouble};
use crate::words::bitfield::Bitfield;
use crate::words::id::{Block, TorrentKey};
use crate::words::limits;

use check::{Checks, Report};
use held::{End, Held, Opening};
use syncer::{Synced, Syncer};

/// Main's order about a torrent.
pub(crate) type Task = (TorrentKey, ToStorage);

/// Main's end of the storage: dropped, it ends the thread and joins it.
#[derive(Debug)]
pub(crate) struct StorageHandle {
    pub(crate) tasks: Sender<Task>,
    thread: Option<JoinHandle<()>>,
}

impl StorageHandle {
    /// Starts the thread. `memory` is the budget of the blocks that wait for it, so its channel is
    /// never full.
    pub(crate) fn start(
        memory: u64,
        files: Arc<FileStore>,
        shelf: Arc<Shelf>,
        notifications: Sender<Notification>,
    ) -> io::Result<Self> {
        let (sync_every, sync_len) = (limits::SYNC_EVERY, limits::SYNC_LEN);
        Self::start_within(Bounds { memory, sync_every, sync_len }, files, shelf, notifications)
    }

    fn start_within(
        bounds: Bounds,
        files: Arc<FileStore>,
        shelf: Arc<Shelf>,
        notifications: Sender<Notification>,
    ) -> io::Result<Self> {
        let memory = bounds.memory;
        let blocks = usize::try_from(memory / u64::from(limits::BLOCK_LEN)).unwrap_or(usize::MAX);
        let slots = blocks.min(limits::STORAGE_TASKS_MAX) + limits::STORAGE_TASKS_SPARE;
        let (tasks, from_main) = bounded(slots);
        let storage = Storage {
            bounds,
            syncer: Syncer::start(Arc::clone(&files))?,
            files,
            shelf,
            outlet: Outlet(notifications),
            torrents: BTreeMap::new(),
            whole: BTreeSet::new(),
            checks: Checks::default(),
        };
        let thread = Builder::new()
            .name("storage".into())
            .stack_size(limits::stacks::STORAGE)
            .spawn(move || storage.run(&from_main))?;
        Ok(Self { tasks, thread: Some(thread) })
    }
}

impl StorageHandle {
    /// Lets go of a storage that does not answer: it ends with the process.
    pub(crate) fn leave(mut self) {
        self.thread = None;
    }
}

impl Drop for StorageHandle {
    fn drop(&mut self) {
        let (closed, _) = bounded(0);
        drop(mem::replace(&mut self.tasks, closed));
        if let Some(thread) = self.thread.take() {
            // A storage that failed has said so on stderr.
            thread.join().ok();
        }
    }
}

/// The channel to main.
#[derive(Clone, Debug)]
struct Outlet(Sender<Notification>);

impl Outlet {
    fn publish(&self, torrent: TorrentKey, news: StorageNews) {
        #[expect(clippy::disallowed_methods, reason = "the disk may wait for main")]
        let sent = self.0.send(Notification::Storage(torrent, news));
        // If main is gone, so is the need to tell it.
        sent.ok();
    }

    /// Tells which pieces are right, word by word.
    fn publish_found(&self, torrent: TorrentKey, pieces: &Bitfield) {
        pieces.to_words().for_each(|word| self.publish(torrent, StorageNews::Found(word)));
    }
}

/// How much may wait, and for how long.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Bytes of blocks that are not written.
    memory: u64,
    /// What was written is synced after so long,
    sync_every: Duration,
    /// or when it is so much; as much again may be written while the syncer is at work.
    sync_len: u64,
}

struct Storage {
    bounds: Bounds,
    files: Arc<FileStore>,
    /// Takes the buffers of what is written.
    shelf: Arc<Shelf>,
    outlet: Outlet,
    torrents: BTreeMap<TorrentKey, Held>,
    /// The torrents that have pieces to be written.
    whole: BTreeSet<TorrentKey>,
    checks: Checks,
    syncer: Syncer,
}

impl Storage {
    /// Works until main drops its end.
    fn run(mut self, from_main: &Receiver<Task>) {
        let (report, reports) = bounded(1);
        loop {
            select! {
                recv(from_main) -> task => match task {
                    Ok((torrent, order)) => self.carry_out(torrent, order),
                    Err(_) => break,
                },
                recv(reports) -> done => {
                    if let Ok(done) = done {
                        self.handle_checked(done);
                    }
                }
                recv(self.syncer.reports) -> synced => {
                    if let Ok(synced) = synced {
                        self.handle_synced(synced);
                    }
                }
                // Nothing has come for long: the memory is for others.
                default(self.until_due()) => self.shelf.clear(),
            }
            self.write_and_sync(from_main.is_empty());
            self.checks.start_next(&self.torrents, self.files.disk(), &self.outlet, &report);
        }
        self.checks.stop();
        self.torrents.keys().copied().collect::<Vec<_>>().into_iter().for_each(|torrent| {
            self.close(torrent);
        });
        loop {
            self.write_and_sync(true);
            if !self.syncer.is_busy() {
                break;
            }
            let Ok(synced) = self.syncer.reports.recv() else { break };
            self.handle_synced(synced);
        }
    }

    fn carry_out(&mut self, torrent: TorrentKey, order: ToStorage) {
        match order {
            ToStorage::Open { context, place } => self.open(torrent, &context, place),
            ToStorage::Store(block, data) => self.store(torrent, block, data),
            ToStorage::Forget(piece) => {
                if let Some(held) = self.torrents.get_mut(&torrent) {
                    held.forget(piece);
                }
                self.outlet.publish(torrent, StorageNews::Forgotten(piece));
            }
            ToStorage::Settle => self.end(torrent, End::Settle),
            ToStorage::Close => self.close(torrent),
        }
    }

    fn open(&mut self, torrent: TorrentKey, context: &Arc<TorrentContext>, place: Place) {
        let (metainfo, dir) = (Arc::clone(&context.metainfo), place.dir.clone());
        self.files.add(torrent, metainfo, dir, !place.read_only);
        match Held::open(self.files.disk(), context, place) {
            Ok(Opening { held, trusted, to_check, warnings }) => {
                for warning in warnings {
                    self.outlet.publish(torrent, StorageNews::Warned(warning));
                }
                for word in held.unwanted() {
                    self.outlet.publish(torrent, StorageNews::Unwanted(word));
                }
                self.outlet.publish_found(torrent, &trusted);
                self.torrents.insert(torrent, held);
                if to_check.ones() > 0 {
                    self.checks.enqueue(torrent, to_check);
                } else {
                    self.begin(torrent);
                }
            }
            Err(trouble) => self.fail(torrent, trouble),
        }
    }

    /// All that was there has been looked at.
    fn handle_checked(&mut self, report: Report) {
        let Report { torrent, good } = report;
        self.checks.handle_over();
        if let Some(held) = self.torrents.get_mut(&torrent) {
            held.handle_checked(&good);
            self.begin(torrent);
        }
    }

    fn begin(&mut self, torrent: TorrentKey) {
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        match held.begin(torrent, &self.files) {
            Ok(news) => {
                let news = news.into_iter().chain([StorageNews::Opened]);
                news.for_each(|news| self.outlet.publish(torrent, news));
            }
            Err(trouble) => self.fail(torrent, trouble),
        }
    }

    fn store(&mut self, torrent: TorrentKey, block: Block, data: Vec<u8>) {
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        match held.store(torrent, block, data, &self.bounds, &self.files) {
            Ok(news) => news.into_iter().for_each(|news| self.outlet.publish(torrent, news)),
            Err(trouble) => return self.fail(torrent, trouble),
        }
        if held.whole_len() > 0 {
            self.whole.insert(torrent);
        }
    }

    /// Bytes of pieces that are verified and wait to be written.
    fn whole_len(&self) -> u64 {
        self.whole
            .iter()
            .filter_map(|torrent| self.torrents.get(torrent))
            .map(Held::whole_len)
            .sum()
    }

    /// Writes what has waited long enough for its neighbours, and has it synced when it is due.
    fn write_and_sync(&mut self, is_idle: bool) {
        loop {
            if is_idle || self.whole_len() >= limits::WRITE_LEN.min(self.bounds.memory / 4) {
                self.write_whole();
            }
            let Some(torrent) = self.start_next_sync() else { return };
            self.store_held_back(torrent);
        }
    }

    /// There may be room again for the blocks that were held back.
    fn store_held_back(&mut self, torrent: TorrentKey) {
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        for (block, data) in held.take_held_back() {
            self.store(torrent, block, data);
        }
    }

    fn write_whole(&mut self) {
        while let Some(torrent) = self.whole.pop_first() {
            self.write_whole_of(torrent);
        }
    }

    fn write_whole_of(&mut self, torrent: TorrentKey) {
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        let (news, result) = held.write_whole(torrent, &self.files, &self.shelf);
        news.into_iter().for_each(|news| self.outlet.publish(torrent, news));
        if let Err(trouble) = result {
            self.fail(torrent, trouble);
        }
    }

    fn close(&mut self, torrent: TorrentKey) {
        self.checks.cancel(torrent);
        if self.torrents.contains_key(&torrent) {
            self.end(torrent, End::Close);
        } else {
            self.handle_closed(torrent);
        }
    }

    /// Nothing more will be written; the syncer's report says when all is synced and saved.
    fn end(&mut self, torrent: TorrentKey, end: End) {
        self.write_whole_of(torrent);
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        if held.end(end) {
            return;
        }
        if end == End::Close {
            self.handle_closed(torrent);
        } else if held.handle_settled() {
            self.outlet.publish(torrent, StorageNews::Settled);
        }
    }

    fn handle_closed(&mut self, torrent: TorrentKey) {
        self.torrents.remove(&torrent);
        self.files.remove(torrent);
        self.outlet.publish(torrent, StorageNews::Closed);
    }

    /// The syncer is through with a torrent.
    fn handle_synced(&mut self, synced: Synced) {
        self.syncer.handle_report();
        let Synced { torrent, result } = synced;
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        match (held.handle_synced(result.is_ok()), result) {
            (Some(End::Settle), Ok(())) => self.outlet.publish(torrent, StorageNews::Settled),
            (Some(End::Close), result) => {
                if let Err(Trouble { what, why, .. }) = result {
                    // The data is hashed again next time.
                    let warning = format!("{what}: {why}; the state is not saved");
                    self.outlet.publish(torrent, StorageNews::Warned(warning));
                }
                return self.handle_closed(torrent);
            }
            (Some(End::Settle) | None, Err(trouble)) => self.fail(torrent, trouble),
            (None, Ok(())) => self.store_held_back(torrent),
        }
        let Some(held) = self.torrents.get(&torrent) else { return };
        if held.is_to_end() == Some(End::Close) && !held.has_to_sync() {
            self.handle_closed(torrent);
        }
    }

    fn fail(&mut self, torrent: TorrentKey, trouble: Trouble) {
        if let Some(held) = self.torrents.get_mut(&torrent) {
            held.give_up();
        }
        self.outlet.publish(torrent, StorageNews::Failed(trouble));
    }

    /// How long nothing has to be done by itself.
    fn until_due(&self) -> Duration {
        self.checks.until_retry().unwrap_or(Duration::MAX).min(self.until_sync())
    }

    /// How long nothing has to be synced.
    fn until_sync(&self) -> Duration {
        if self.syncer.is_busy() {
            // Its report comes first.
            return limits::SYNC_EVERY;
        }
        let due = self.torrents.values().filter_map(|held| held.sync_at(&self.bounds)).min();
        due.map_or(limits::SYNC_EVERY, |due| due.saturating_duration_since(now()))
    }

    /// Gives the syncer its next job, and says for which torrent: they take turns.
    fn start_next_sync(&mut self) -> Option<TorrentKey> {
        if self.syncer.is_busy() {
            return None;
        }
        let (time, bounds) = (now(), self.bounds);
        let after = self.syncer.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut torrents = self.torrents.range_mut((after, Bound::Unbounded));
        let next = torrents.find_map(|(torrent, held)| held.next_job(*torrent, time, &bounds));
        let next = next.or_else(|| {
            let mut torrents = self.torrents.iter_mut();
            torrents.find_map(|(torrent, held)| held.next_job(*torrent, time, &bounds))
        });
        let job = next?;
        self.syncer.give(job);
        self.syncer.last
    }
}

#[cfg(test)]
mod tests;
