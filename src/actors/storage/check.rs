//! The queue of torrents whose data is to be hashed: one at a time, since a disk that two read is
//! slower than one that each reads in turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use crate::actors::clock::now;
use crate::actors::disk::Disk;
use crate::actors::file_error::reason;
use crate::actors::hasher::{Check, Checked};
use crate::actors::storage::Outlet;
use crate::actors::storage::held::Held;
use crate::bus::StorageNews;
use crate::words::bitfield::Bitfield;
use crate::words::id::TorrentKey;
use crate::words::limits;

/// The torrents that wait for their check, and the one that is checked.
#[derive(Debug, Default)]
pub(super) struct Checks {
    waiting: VecDeque<(TorrentKey, Bitfield)>,
    running: Option<Running>,
    /// There was no thread for the first that waits: it is tried again then.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Running {
    torrent: TorrentKey,
    check: Arc<Check>,
    threads: Vec<JoinHandle<()>>,
}

/// What the hashers of one check have found; the last of them to end reports it.
#[derive(Debug)]
struct Tally {
    torrent: TorrentKey,
    /// No thread could be started: there is nothing to report.
    void: AtomicBool,
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
        if self.0.void.load(Ordering::Relaxed) {
            return;
        }
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
        if self.running.is_some() || self.retry_at.is_some_and(|at| now() < at) {
            return;
        }
        let Some((torrent, to_check)) = self.waiting.pop_front() else { return };
        let Some(held) = torrents.get(&torrent) else { return };
        let tally = Arc::new(Tally {
            torrent,
            void: AtomicBool::new(false),
            done: AtomicU64::new(0),
            good: Mutex::new(Bitfield::zeros(to_check.len())),
        });
        let check = Check::on(Arc::clone(disk), held.metainfo(), held.dir(), to_check.clone());
        let hold = Arc::new(Hold(Arc::clone(&tally), reports.clone()));
        let told = outlet.clone();
        let found = move |checked: Checked| {
            let tally = &hold.0;
            let done = tally.done.fetch_add(checked.len, Ordering::Relaxed) + checked.len;
            told.publish(torrent, StorageNews::Checking(done));
            if checked.good.bits != 0 {
                let mut good = tally.good.lock();
                checked.good.pieces().for_each(|piece| {
                    good.set(piece);
                });
                drop(good);
                told.publish(torrent, StorageNews::Found(checked.good));
            }
            true
        };
        match check.start(&found) {
            Ok(threads) => {
                self.retry_at = None;
                self.running = Some(Running { torrent, check, threads });
            }
            Err(error) => {
                tally.void.store(true, Ordering::Relaxed);
                if self.retry_at.is_none() {
                    let why = format!(
                        "there is no thread to check what is there ({}): it is tried again",
                        reason(&error)
                    );
                    outlet.publish(torrent, StorageNews::Warned(why));
                }
                self.retry_at = Some(now() + limits::CHECK_BACK_OFF);
                self.waiting.push_front((torrent, to_check));
            }
        }
    }

    /// How long nothing has to be tried again.
    pub(super) fn until_retry(&self) -> Option<Duration> {
        let at = self.retry_at.filter(|_| self.running.is_none() && !self.waiting.is_empty())?;
        Some(at.saturating_duration_since(now()))
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
            running.check.stop();
        }
    }

    /// Nothing need be checked any more.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        if let Some(running) = self.running.take() {
            running.check.stop();
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
