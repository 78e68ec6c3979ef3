//! The storage on a disk that stalls: what waits for it, and what does not.

#![expect(clippy::wildcard_enum_match_arm, reason = "other steps write nothing")]

use parking_lot::{Condvar, Mutex};

use super::power::Process;
use super::*;
use crate::actors::disk::fake::{Deed, FakeDisk, Step};
use crate::actors::files::Access;

/// Holds up some deeds until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    is_open: bool,
    waiting: u32,
}

impl Gate {
    /// Holds up every `deed` below `folder`.
    fn hold(&self, disk: &FakeDisk, deed: Deed, folder: &'static str) {
        let gate = self.clone();
        disk.intercept(move |done, path| {
            if done == deed && path.starts_with(folder) {
                let (state, changed) = &*gate.0;
                let mut state = state.lock();
                state.waiting += 1;
                changed.notify_all();
                changed.wait_while(&mut state, |state| !state.is_open);
            }
            Ok(())
        });
    }

    /// Waits until somebody is held up.
    fn wait_for_one(&self) {
        let (state, changed) = &*self.0;
        changed.wait_while(&mut state.lock(), |state| state.waiting == 0);
    }

    fn open(&self) {
        self.0.0.lock().is_open = true;
        self.0.1.notify_all();
    }
}

fn bounds(sync_len: u64) -> Bounds {
    Bounds { memory: MEMORY, sync_every: limits::SYNC_EVERY, sync_len }
}

#[test]
fn a_disk_that_stalls_holds_up_neither_orders_nor_reading() {
    let (disk, gate) = (FakeDisk::new(), Gate::default());
    let process = Process::start(&disk, bounds(limits::SYNC_LEN));
    process.open().unwrap();
    process.download([0]);
    gate.hold(&disk, Deed::Write, "/home/d");
    process.store(3);
    gate.wait_for_one();
    // Orders go into their channel, and files are read, while the storage waits for the disk.
    (4..10).for_each(|piece| process.store(piece));
    let file = process.files.open(made_up::torrent_key(0), 0, Access::Read).unwrap();
    let mut read = vec![0; PIECE_LEN as usize];
    file.read_at(&mut read, 0).unwrap();
    assert!(read == power::bytes()[..PIECE_LEN as usize]);
    assert!(process.news.is_empty(), "a piece is verified when it is written");
    gate.open();
    process.wait_for(7);
    process.close();
}

#[test]
fn what_waits_for_the_disk_is_written_together() {
    let (disk, gate) = (FakeDisk::new(), Gate::default());
    let process = Process::start(&disk, bounds(limits::SYNC_LEN));
    process.open().unwrap();
    gate.hold(&disk, Deed::Write, "/home/d");
    process.store(0);
    gate.wait_for_one();
    (1..8).for_each(|piece| process.store(piece));
    gate.open();
    process.wait_for(8);
    let journal = disk.journal();
    let is_data = |number: u64| {
        journal.iter().any(|step| {
            matches!(step, Step::Make(path, made) if *made == number && path.starts_with("/home/d"))
        })
    };
    let written = journal.iter().filter_map(|step| match step {
        Step::Write(number, _, bytes) if is_data(*number) => Some(bytes.len() as u64),
        _ => None,
    });
    let len = u64::from(PIECE_LEN);
    let parts = process.context.metainfo.stretches(len, 7 * len).map(|stretch| stretch.len);
    assert_eq!(written.collect::<Vec<_>>(), [len].into_iter().chain(parts).collect::<Vec<_>>());
    process.close();
}

#[test]
fn a_sync_that_stalls_lets_as_much_again_be_written() {
    let (disk, gate) = (FakeDisk::new(), Gate::default());
    let process = Process::start(&disk, bounds(2 * u64::from(PIECE_LEN)));
    process.open().unwrap();
    process.download([0]);
    gate.hold(&disk, Deed::Sync, "/home/d");
    process.download([1]);
    gate.wait_for_one();
    process.download([2]);
    process.download([3]);
    // Those are two pieces that are synced and two that are not: the next has to wait.
    process.store(4);
    process.let_it_look_twice();
    gate.open();
    process.wait_for(1);
    process.close();
}

#[test]
fn a_torrent_is_settled_and_closed_when_its_sync_is_through() {
    for order in [ToStorage::Settle, ToStorage::Close] {
        let (disk, gate) = (FakeDisk::new(), Gate::default());
        let process = Process::start(&disk, bounds(limits::SYNC_LEN));
        process.open().unwrap();
        process.download(0..10);
        gate.hold(&disk, Deed::Sync, "/home/d");
        process.order(order);
        gate.wait_for_one();
        assert!(process.news.is_empty());
        gate.open();
        let news = process.next();
        assert!(matches!(news, StorageNews::Settled | StorageNews::Closed), "{news:?}");
    }
}
