//! The cache on real folders: what is opened, made, refused and closed again.

use std::fs::{self, File};
use std::io::IoSlice;
use std::path::PathBuf;

use super::*;
use crate::actors::disk::write_all_at;
use crate::actors::scratch::Scratch;
use crate::formats::metainfo::{Draft, DraftFile};
use crate::words::id::Key;

const FIRST: TorrentKey = TorrentKey(Key { index: 0, generation: 0 });
const SECOND: TorrentKey = TorrentKey(Key { index: 1, generation: 0 });

/// Files by their components and lengths, below `t`.
fn torrent(files: &[(&str, u64)]) -> Arc<Metainfo> {
    let file = |&(path, len): &(&str, u64)| DraftFile {
        path: path.split('/').map(|name| name.as_bytes().to_vec()).collect(),
        len,
    };
    let len: u64 = files.iter().map(|(_, len)| len).sum();
    let draft = Draft {
        name: b"t".to_vec(),
        piece_length: 16384,
        files: files.iter().map(file).collect(),
        hashes: vec![7; usize::try_from(len.div_ceil(16384)).unwrap() * 20],
        ..Draft::default()
    };
    Arc::new(Metainfo::parse(&draft.encode()).unwrap())
}

/// A store of at most three files with one writable torrent, whose folder is `t`.
fn store(scratch: &Scratch, files: &[(&str, u64)]) -> (FileStore, PathBuf) {
    let store = FileStore::new(3);
    store.add(FIRST, torrent(files), scratch.path().to_owned(), true);
    (store, scratch.path().join("t"))
}

fn write(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all_at(file, &mut [IoSlice::new(bytes)], offset)
}

impl FileStore {
    /// The open files, the least recently used first; both maps must agree.
    fn check(&self) -> Vec<usize> {
        let cache = self.cache.lock();
        assert!(cache.open.len() <= self.files_max);
        assert_eq!(cache.open.len(), cache.by_use.len());
        for (used, slot) in &cache.by_use {
            assert_eq!(cache.open[slot].used, *used);
            assert!(cache.folders.contains_key(&slot.0));
        }
        cache.by_use.values().map(|(_, file)| *file).collect()
    }
}

#[test]
fn the_least_recently_used_is_closed() {
    let scratch = Scratch::new();
    let files = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1)];
    let (store, _) = store(&scratch, &files);
    let table: [(usize, &[usize]); 8] = [
        (0, &[0]),
        (1, &[0, 1]),
        (2, &[0, 1, 2]),
        (0, &[1, 2, 0]),
        (3, &[2, 0, 3]),
        (3, &[2, 0, 3]),
        (2, &[0, 3, 2]),
        (4, &[3, 2, 4]),
    ];
    let mut last = None;
    for (file, open) in table {
        let opened = store.open(FIRST, file, Access::Write).unwrap();
        assert_eq!(store.check(), open);
        let again = store.open(FIRST, file, Access::Read).unwrap();
        assert!(Arc::ptr_eq(&opened, &again));
        last = Some(opened);
    }
    // Who was given a file may use it after it was closed here.
    for file in 0..3 {
        store.open(FIRST, file, Access::Read).unwrap();
    }
    let last = last.unwrap();
    assert_eq!(Arc::strong_count(&last), 1);
    write(&*last, b"x", 0).unwrap();
}

#[test]
fn ten_thousand_files_need_few_descriptors() {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..10_000).map(|n| format!("{}/{n}", n % 100)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let store = FileStore::new(128);
    store.add(FIRST, torrent(&files), scratch.path().to_owned(), true);
    for file in 0..files.len() {
        let open = store.open(FIRST, file, Access::Write).unwrap();
        write(&*open, &[u8::try_from(file % 251).unwrap()], 0).unwrap();
        if file % 1_000 == 999 {
            assert_eq!(store.check(), (file - 127..=file).collect::<Vec<_>>());
            assert_eq!(descriptors_below(scratch.path()).unwrap_or(128), 128);
        }
    }
    for file in (0..files.len()).step_by(7) {
        let mut byte = [0];
        store.open(FIRST, file, Access::Read).unwrap().read_at(&mut byte, 0).unwrap();
        assert_eq!(usize::from(byte[0]), file % 251);
    }
    for part in store.parts(FIRST, 0, 500, Access::Read).unwrap() {
        let part = part.unwrap();
        assert!(descriptors_below(scratch.path()).unwrap_or(0) <= 129, "{part:?}");
    }
    store.remove(FIRST);
    assert_eq!(descriptors_below(scratch.path()).unwrap_or(0), 0);
}

/// The descriptors of this process that lead to files below `dir`, where the system tells.
fn descriptors_below(dir: &Path) -> Option<usize> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    let leads_there = |entry: &io::Result<fs::DirEntry>| {
        let target = entry.as_ref().ok().and_then(|entry| fs::read_link(entry.path()).ok());
        target.is_some_and(|target| target.starts_with(dir))
    };
    Some(entries.filter(leads_there).count())
}

#[test]
fn writing_makes_files_and_never_cuts_them() {
    let scratch = Scratch::new();
    let due = [("new/er/a", 5_000_000), ("short", 4), ("long", 4), ("empty", 0)];
    let (store, dir) = store(&scratch, &due);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("short"), "12").unwrap();
    fs::write(dir.join("long"), "123456").unwrap();
    store.own(FIRST, Ours { files: [1, 2].into(), ..Ours::default() });
    for file in 0..due.len() {
        store.open(FIRST, file, Access::Write).unwrap();
    }
    assert_eq!(fs::metadata(dir.join("new/er/a")).unwrap().len(), 5_000_000);
    assert_eq!(fs::read(dir.join("short")).unwrap(), b"12\0\0");
    assert_eq!(fs::read(dir.join("long")).unwrap(), b"123456");
    assert_eq!(fs::read(dir.join("empty")).unwrap(), b"");
}

#[test]
fn reading_makes_nothing() {
    let scratch = Scratch::new();
    let (store, dir) = store(&scratch, &[("new/a", 5), ("short", 4)]);
    let missing = store.open(FIRST, 0, Access::Read).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    assert!(missing.to_string().contains("t/new/a: "), "{missing}");
    assert!(!dir.exists());

    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("short"), "12").unwrap();
    let short = store.open(FIRST, 1, Access::Read).unwrap();
    assert_eq!(short.stat().unwrap().len, 2);
    write(&*short, b"x", 0).unwrap_err();
}

#[test]
fn a_file_open_for_reading_is_replaced_when_it_is_to_be_written() {
    let scratch = Scratch::new();
    let (store, dir) = store(&scratch, &[("a", 3)]);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), "abc").unwrap();
    store.own(FIRST, Ours { files: [0].into(), ..Ours::default() });
    let reader = store.open(FIRST, 0, Access::Read).unwrap();
    let writer = store.open(FIRST, 0, Access::Write).unwrap();
    assert!(!Arc::ptr_eq(&reader, &writer));
    write(&*writer, b"x", 1).unwrap();
    let both = store.open(FIRST, 0, Access::Read).unwrap();
    assert!(Arc::ptr_eq(&both, &writer));
    assert_eq!((store.check(), Arc::strong_count(&reader)), (vec![0], 1));
    assert_eq!(fs::read(dir.join("a")).unwrap(), b"axc");
}

#[test]
fn a_torrent_that_is_only_read_is_not_written() {
    let scratch = Scratch::new();
    let store = FileStore::new(3);
    store.add(FIRST, torrent(&[("a", 3)]), scratch.path().to_owned(), false);
    let refused = store.open(FIRST, 0, Access::Write).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    assert!(!scratch.path().join("t").exists());
}

#[test]
fn what_is_no_regular_file_is_refused_and_never_waited_for() {
    let scratch = Scratch::new();
    let files = [("folder", 1), ("pipe", 1), ("device", 1), ("loop", 1), ("file/below", 1)];
    let (store, dir) = store(&scratch, &files);
    fs::create_dir_all(dir.join("folder")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(dir.join("pipe")).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", dir.join("device")).unwrap();
    std::os::unix::fs::symlink("loop", dir.join("loop")).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    for (file, (name, _)) in files.iter().enumerate() {
        for access in [Access::Read, Access::Write] {
            let error = store.open(FIRST, file, access).unwrap_err().to_string();
            assert!(error.contains(&format!("t/{name}: ")), "{error}");
        }
    }
    assert_eq!(store.check(), [0; 0]);
}

#[test]
fn a_removed_torrent_is_closed_and_others_are_not() {
    let scratch = Scratch::new();
    let (store, _) = store(&scratch, &[("a", 1), ("b", 1)]);
    store.add(SECOND, torrent(&[("c", 1)]), scratch.path().to_owned(), true);
    let a = store.open(FIRST, 0, Access::Write).unwrap();
    let c = store.open(SECOND, 0, Access::Write).unwrap();
    store.open(FIRST, 1, Access::Write).unwrap();
    store.remove(FIRST);
    assert_eq!((Arc::strong_count(&a), Arc::strong_count(&c)), (1, 2));
    assert_eq!(store.check(), [0]);
    for access in [Access::Read, Access::Write] {
        let closed = store.open(FIRST, 0, access).unwrap_err();
        assert_eq!(closed.to_string(), "the torrent is closed");
    }
    assert!(store.parts(FIRST, 0, 1, Access::Read).is_err());
    store.remove(FIRST);
}

#[test]
fn parts_are_files_and_zeros() {
    let scratch = Scratch::new();
    // aaaa__bb: the pad is in no file.
    let files = [("a", 4), ("_____padding_file_0_____", 2), ("b", 2)];
    let (store, dir) = store(&scratch, &files);
    let parts = store.parts(FIRST, 3, 4, Access::Write).unwrap();
    let parts: Vec<FilePart> = parts.map(Result::unwrap).collect();
    let shown: Vec<_> =
        parts.iter().map(|part| (part.file.is_some(), part.offset, part.len)).collect();
    assert_eq!(shown, [(true, 3, 1), (false, 0, 2), (true, 0, 1)]);

    fs::write(dir.join("a"), "1234").unwrap();
    fs::write(dir.join("b"), "78").unwrap();
    let mut buffer = b">".to_vec();
    parts.iter().for_each(|part| part.read_to_end_of(&mut buffer).unwrap());
    assert_eq!(buffer, b">4\0\x007");
    fs::write(dir.join("a"), "12").unwrap();
    parts[0].read_to_end_of(&mut buffer).unwrap_err();
    for (offset, len) in [(8, 1), (u64::MAX, u64::MAX), (0, 0)] {
        assert_eq!(store.parts(FIRST, offset, len, Access::Read).unwrap().count(), 0);
    }
    for file in [1, 3, usize::MAX] {
        let none = store.open(FIRST, file, Access::Read).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn without_descriptors_all_are_closed_and_it_tries_again() {
    let scratch = Scratch::new();
    let (store, dir) = store(&scratch, &[("a", 1), ("b", 1)]);
    let fails = |number: i32| {
        store.open(FIRST, 0, Access::Write).unwrap();
        let kept = store.open(FIRST, 1, Access::Write).unwrap();
        let tries = std::cell::Cell::new(0);
        let opened = store.with_room(|| {
            tries.set(tries.get() + 1);
            match tries.get() {
                1 => Err(io::Error::from_raw_os_error(number)),
                _ => File::open(dir.join("a")),
            }
        });
        kept.stat().unwrap();
        (tries.get(), opened.is_ok(), store.check())
    };
    assert_eq!(fails(24), (2, true, vec![]));
    assert_eq!(fails(23), (2, true, vec![]));
    assert_eq!(fails(13), (1, false, vec![0, 1]));
    let always = || Err::<(), _>(io::Error::from_raw_os_error(24));
    assert_eq!(store.with_room(always).unwrap_err().raw_os_error(), Some(24));
}

#[test]
fn many_threads_share_it() {
    let scratch = Scratch::new();
    let names: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 8)).collect();
    let (store, dir) = store(&scratch, &files);
    store.add(SECOND, torrent(&files), scratch.path().join("second"), true);
    let anything = Ours { overwrite: true, ..Ours::default() };
    [FIRST, SECOND].into_iter().for_each(|torrent| store.own(torrent, anything.clone()));
    // Each thread writes its own byte of every file; meanwhile another torrent goes.
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let store = &store;
            scope.spawn(move || {
                for file in (0..8).cycle().skip(thread.into()).take(400) {
                    let open = store.open(FIRST, file, Access::Write).unwrap();
                    write(&*open, &[b'0' + thread], thread.into()).unwrap();
                    if let Err(error) = store.open(SECOND, file, Access::Write) {
                        assert_eq!(error.to_string(), "the torrent is closed");
                    }
                    store.check();
                }
                if thread == 0 {
                    store.remove(SECOND);
                }
            });
        }
    });
    assert!(store.check().len() <= 3);
    for name in &names {
        assert_eq!(fs::read(dir.join(name)).unwrap(), b"01234567");
    }
    assert!(store.open(SECOND, 0, Access::Read).is_err());
}
