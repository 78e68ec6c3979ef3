//! The storage: one thread that gathers blocks into pieces, hashes them and writes them.
//!
//! A piece reaches its files whole and verified, in one go. (One that is larger than the memory
//! budget is written block by block and read back to be hashed.) What is already there when a
//! torrent opens is hashed by hasher threads, one torrent at a time, while this thread goes on.

mod check;
mod gather;
mod held;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::actors::clock::now;
use crate::actors::files::FileStore;
use crate::bus::{Notification, Place, StorageNews, ToStorage, TorrentContext, Trouble};
use crate::words::bitfield::Bitfield;
use crate::words::id::{Block, TorrentKey};
use crate::words::limits;

use check::{Checks, Report};
use held::{Held, Opening};

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
        notifications: Sender<Notification>,
    ) -> io::Result<Self> {
        let blocks = usize::try_from(memory / u64::from(limits::BLOCK_LEN)).unwrap_or(usize::MAX);
        let slots = blocks.min(limits::STORAGE_TASKS_MAX) + limits::STORAGE_TASKS_SPARE;
        let (tasks, from_main) = bounded(slots);
        let storage = Storage {
            memory,
            files,
            outlet: Outlet(notifications),
            torrents: BTreeMap::new(),
            checks: Checks::default(),
        };
        let thread = Builder::new()
            .name("storage".into())
            .stack_size(limits::STORAGE_STACK)
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

struct Storage {
    memory: u64,
    files: Arc<FileStore>,
    outlet: Outlet,
    torrents: BTreeMap<TorrentKey, Held>,
    checks: Checks,
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
                default(self.until_sync()) => {}
            }
            self.sync_what_is_due();
            self.checks.start_next(&self.torrents, &self.outlet, &report);
        }
        self.checks.stop();
        for (torrent, mut held) in mem::take(&mut self.torrents) {
            held.close(torrent, &self.files);
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
            }
            ToStorage::Settle => self.settle(torrent),
            ToStorage::Close => self.close(torrent),
        }
    }

    fn open(&mut self, torrent: TorrentKey, context: &Arc<TorrentContext>, place: Place) {
        let (metainfo, dir) = (Arc::clone(&context.metainfo), place.dir.clone());
        self.files.add(torrent, metainfo, dir, !place.read_only);
        match Held::open(context, place) {
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
            Ok(()) => self.outlet.publish(torrent, StorageNews::Opened),
            Err(trouble) => self.fail(torrent, trouble),
        }
    }

    fn store(&mut self, torrent: TorrentKey, block: Block, data: Vec<u8>) {
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        match held.store(torrent, block, data, self.memory, &self.files) {
            Ok(news) => news.into_iter().for_each(|news| self.outlet.publish(torrent, news)),
            Err(trouble) => self.fail(torrent, trouble),
        }
    }

    fn settle(&mut self, torrent: TorrentKey) {
        let Some(held) = self.torrents.get_mut(&torrent) else { return };
        match held.settle(torrent, &self.files) {
            Ok(()) => self.outlet.publish(torrent, StorageNews::Settled),
            Err(trouble) => self.fail(torrent, trouble),
        }
    }

    fn close(&mut self, torrent: TorrentKey) {
        self.checks.cancel(torrent);
        if let Some(mut held) = self.torrents.remove(&torrent)
            && let Some(warning) = held.close(torrent, &self.files)
        {
            self.outlet.publish(torrent, StorageNews::Warned(warning));
        }
        self.files.remove(torrent);
        self.outlet.publish(torrent, StorageNews::Closed);
    }

    fn fail(&mut self, torrent: TorrentKey, trouble: Trouble) {
        if let Some(held) = self.torrents.get_mut(&torrent) {
            held.give_up();
        }
        self.outlet.publish(torrent, StorageNews::Failed(trouble));
    }

    /// How long nothing has to be synced.
    fn until_sync(&self) -> Duration {
        let due = self.torrents.values().filter_map(Held::sync_at).min();
        due.map_or(limits::SYNC_EVERY, |due| due.saturating_duration_since(now()))
    }

    fn sync_what_is_due(&mut self) {
        let time = now();
        for (torrent, held) in &mut self.torrents {
            if held.is_sync_due(time)
                && let Err(trouble) = held.sync(*torrent, &self.files)
            {
                held.give_up();
                self.outlet.publish(*torrent, StorageNews::Failed(trouble));
            }
        }
    }
}

#[cfg(test)]
mod tests;
