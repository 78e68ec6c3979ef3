//! The queue of torrents whose data is to be hashed: one at a time, since a disk that two read is
//! slower than one that each reads in turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::actors::disk::Disk;
use crate::actors::hasher::{Check, Checked};
use crate::actors::storage::Outlet;
use crate::actors::storage::held::Held;
use crate::bus::StorageNews;
use crate::words::bitfield::Bitfield;
use crate::words::id::TorrentKey;

/// The torrents that wait for their check, and the one that is checked.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: VecDeque<(TorrentKey, Bitfield)>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    torrent: TorrentKey,
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

/// What the hashers of one check have found; the last of them to end reports it.
#[derive(Debug)]
struct Tally {
    torrent: TorrentKey,
    stopped: AtomicBool,
    done: AtomicU64,
    good: Mutex<Bitfield>,
}

/// The right pieces of a torrent, when its hashers are through.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) torrent: TorrentKey,
    pub(super) good: Bitfield,
}

/// The hashers' hold on their tally: when the last lets go, the storage is told.
#[derive(Debug)]
struct Hold(Arc<Tally>, Sender<Report>);

impl Drop for Hold {
    fn drop(&mut self) {
        let good = std::mem::replace(&mut *self.0.good.lock(), Bitfield::zeros(0));
        let report = Report { torrent: self.0.torrent, good };
        #[expect(clippy::disallowed_methods, reason = "a hasher may wait for the storage")]
        let sent = self.1.send(report);
        // If the storage is gone, so is the need to tell it.
        sent.ok();
    }
}

impl Checks {
    /// `to_check` of `torrent` is to be hashed.
    pub(super) fn enqueue(&mut self, torrent: TorrentKey, to_check: Bitfield) {
        self.waiting.push_back((torrent, to_check));
    }

    /// Starts the next check if none runs.
    pub(super) fn start_next(
        &mut self,
        torrents: &BTreeMap<TorrentKey, Held>,
        disk: &Arc<dyn Disk>,
        outlet: &Outlet,
        reports: &Sender<Report>,
    ) {
        if self.running.is_some() {
            return;
        }
        let Some((torrent, to_check)) = self.waiting.pop_front() else { return };
        let Some(held) = torrents.get(&torrent) else { return };
        let tally = Arc::new(Tally {
            torrent,
            stopped: AtomicBool::new(false),
            done: AtomicU64::new(0),
            good: Mutex::new(Bitfield::zeros(to_check.len())),
        });
        let check = Check::on(Arc::clone(disk), held.metainfo(), held.dir(), to_check);
        let hold = Arc::new(Hold(Arc::clone(&tally), reports.clone()));
        let outlet = outlet.clone();
        let found = move |checked: Checked| {
            let tally = &hold.0;
            let done = tally.done.fetch_add(checked.len, Ordering::Relaxed) + checked.len;
            outlet.publish(torrent, StorageNews::Checking(done));
            if checked.good.bits != 0 {
                let mut good = tally.good.lock();
                checked.good.pieces().for_each(|piece| {
                    good.set(piece);
                });
                drop(good);
                outlet.publish(torrent, StorageNews::Found(checked.good));
            }
            !tally.stopped.load(Ordering::Relaxed)
        };
        // Without a single thread nothing is found, and the hold that is dropped says so.
        let threads = check.start(found).unwrap_or_default();
        self.running = Some(Running { torrent, tally, threads });
    }

    /// The check that ran is over.
    pub(super) fn handle_over(&mut self) {
        if let Some(running) = self.running.take() {
            join(running.threads);
        }
    }

    /// `torrent` need not be checked any more.
    pub(super) fn cancel(&mut self, torrent: TorrentKey) {
        self.waiting.retain(|(waiting, _)| *waiting != torrent);
        if let Some(running) = self.running.as_ref().filter(|running| running.torrent == torrent) {
            running.tally.stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Nothing need be checked any more.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        if let Some(running) = self.running.take() {
            running.tally.stopped.store(true, Ordering::Relaxed);
            join(running.threads);
        }
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    // A hasher that failed has said so on stderr; what it did not find counts as missing.
    threads.into_iter().for_each(|thread| {
        thread.join().ok();
    });
}
