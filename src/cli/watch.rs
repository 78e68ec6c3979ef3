//! `--watch DIR`: a thread of its own looks into a folder every few seconds and starts the torrents
//! that are put there, each once. It writes nothing, and reads a file only when it is new or has
//! changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};
use std::time::{Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::actors::clock::now;
use crate::cli::failure::Failure;
use crate::cli::source::{self, Found};
use crate::cli::transfer::Added;
use crate::formats::path::shown;
use crate::session::Remote;
use crate::words::id::InfoHash;
use crate::words::limits;

/// What becomes of a torrent or a link that is found.
pub(super) type MakeTorrent = Box<dyn Fn(Found) -> Result<Option<Added>, Failure> + Send>;

/// The thread that looks; dropped, it ends and is joined.
#[derive(Debug)]
pub(super) struct WatcherHandle {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl WatcherHandle {
    /// Starts to look into `dir`. The torrents in `started` are running already.
    pub(super) fn start(
        dir: PathBuf,
        remote: Remote,
        started: BTreeSet<InfoHash>,
        make: MakeTorrent,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded(0);
        let watcher =
            Watcher { dir, remote, started, make, folder: Folder::default(), unreadable: false };
        let builder = Builder::new().name("watcher".into()).stack_size(limits::stacks::WATCHER);
        let thread = builder.spawn(move || watcher.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for WatcherHandle {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A watcher that failed has said so on stderr.
            thread.join().ok();
        }
    }
}

struct Watcher {
    dir: PathBuf,
    remote: Remote,
    started: BTreeSet<InfoHash>,
    make: MakeTorrent,
    folder: Folder,
    /// The user knows that the folder cannot be read.
    unreadable: bool,
}

impl Watcher {
    fn run(mut self, stopped: &Receiver<()>) {
        loop {
            self.look();
            match stopped.recv_timeout(limits::WATCH_EVERY) {
                Err(RecvTimeoutError::Timeout) | Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self) {
        let found = match list(&self.dir) {
            Ok(found) => found,
            Err(error) => {
                if !std::mem::replace(&mut self.unreadable, true) {
                    self.warn(&Failure::file(shown(&self.dir), &error));
                }
                return;
            }
        };
        self.unreadable = false;
        let dir = &self.dir;
        for finding in self.folder.look(found, now(), |name| read(&dir.join(name))) {
            match finding {
                Finding::Source(found) => self.start(found),
                Finding::Bad(failure) => self.warn(&failure),
            }
        }
    }

    fn start(&mut self, found: Found) {
        if !self.started.insert(found.info_hash()) {
            return;
        }
        match (self.make)(found) {
            Ok(None) => {}
            Ok(Some(Added::Known(torrent))) => self.remote.add(*torrent),
            Ok(Some(Added::Sought(sought))) => self.remote.seek(*sought),
            Err(failure) => self.warn(&failure),
        }
    }

    fn warn(&self, failure: &Failure) {
        self.remote.warn(format!("--watch: {}: {}", failure.what, failure.why));
    }
}

/// Whether `dir` can be watched at all.
///
/// # Errors
/// If it cannot be read.
pub(super) fn look_at(dir: &Path) -> Result<(), Failure> {
    list(dir).map(drop).map_err(|error| Failure::file(shown(dir), &error))
}

/// How a file looks from the outside: whoever writes to it changes that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

/// The torrents and magnet files in `dir`, of which a session takes no more than so many.
fn list(dir: &Path) -> io::Result<BTreeMap<OsString, Stamp>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name();
        if !is_of_kind(&name, "torrent") && !is_of_kind(&name, "magnet") {
            continue;
        }
        // What is no file, such as a pipe, could keep whoever reads it waiting for ever.
        let Ok(about) = fs::metadata(entry.path()) else { continue };
        if about.is_file() {
            found.insert(name, Stamp { len: about.len(), modified: about.modified().ok() });
        }
        if found.len() >= limits::TORRENTS_MAX as usize {
            break;
        }
    }
    Ok(found)
}

fn is_of_kind(name: &OsStr, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn read(path: &Path) -> Result<Found, Failure> {
    if is_of_kind(path.as_os_str(), "magnet") {
        source::read_link(path).map(Box::new).map(Found::Magnet)
    } else {
        source::read_file(path).map(Box::new).map(Found::Torrent)
    }
}

/// What is known of the files of a folder.
#[derive(Debug, Default)]
struct Folder(BTreeMap<OsString, Known>);

#[derive(Clone, Copy, Debug)]
enum Known {
    /// It is no torrent, but perhaps will be: somebody may be writing it. It has looked so since
    /// then.
    Unread(Stamp, Instant),
    /// It was a torrent, or nobody has written to it for long. It is not read again until it looks
    /// different.
    Settled(Stamp),
}

/// What was found in a file.
enum Finding {
    Source(Found),
    Bad(Failure),
}

impl Folder {
    /// Reads whatever was `found` and is new or has changed, and once more what has been still for
    /// [`limits::WATCH_STILL`].
    fn look(
        &mut self,
        found: BTreeMap<OsString, Stamp>,
        now: Instant,
        read: impl Fn(&OsStr) -> Result<Found, Failure>,
    ) -> Vec<Finding> {
        self.0.retain(|name, _| found.contains_key(name));
        let mut findings = Vec::new();
        for (name, stamp) in found {
            let is_still = match self.0.get(&name) {
                Some(Known::Settled(before)) if *before == stamp => continue,
                Some(Known::Unread(before, since)) if *before == stamp => {
                    if now < *since + limits::WATCH_STILL {
                        continue;
                    }
                    true
                }
                Some(Known::Settled(_) | Known::Unread(..)) | None => false,
            };
            let known = match read(&name) {
                Ok(found) => {
                    findings.push(Finding::Source(found));
                    Known::Settled(stamp)
                }
                Err(failure) if is_still => {
                    findings.push(Finding::Bad(failure));
                    Known::Settled(stamp)
                }
                Err(_) => Known::Unread(stamp, now),
            };
            self.0.insert(name, known);
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;
    use crate::cli::failure::Exit;
    use crate::machines::made_up;

    /// A folder whose files are named with their lengths. One of 100 bytes or more is a torrent.
    struct Picture {
        folder: Folder,
        start: Instant,
    }

    impl Picture {
        fn new() -> Self {
            Self { folder: Folder::default(), start: now() }
        }

        /// What is read, and found, when the folder looks so after `seconds`.
        fn at(&mut self, seconds: u64, files: &[(&str, u64)]) -> String {
            let found = files
                .iter()
                .map(|(name, len)| (OsString::from(*name), Stamp { len: *len, modified: None }));
            let lens: BTreeMap<_, _> = files.iter().copied().collect();
            let reads = RefCell::new(Vec::new());
            let read = |name: &OsStr| {
                let name = name.to_str().unwrap();
                reads.borrow_mut().push(format!("reads {name}"));
                if lens[name] >= 100 {
                    let torrent = made_up::torrent(name, 16_384, 16_384);
                    return Ok(Found::Torrent(Box::new(torrent)));
                }
                Err(Failure { exit: Exit::NotATorrent, what: name.into(), why: "short".into() })
            };
            let now = self.start + Duration::from_secs(seconds);
            let findings = self.folder.look(found.collect(), now, read);
            let findings = findings.into_iter().map(|finding| match finding {
                Finding::Source(Found::Torrent(metainfo)) => format!("starts {}", metainfo.name()),
                Finding::Source(Found::Magnet(magnet)) => format!("seeks {}", magnet.info_hash),
                Finding::Bad(failure) => failure.to_string(),
            });
            reads.into_inner().into_iter().chain(findings).collect::<Vec<_>>().join(", ")
        }
    }

    #[test]
    fn a_torrent_is_started_once_and_again_if_it_is_replaced() {
        let mut picture = Picture::new();
        assert_eq!(picture.at(0, &[("a", 100)]), "reads a, starts a");
        assert_eq!(picture.at(2, &[("a", 100), ("b", 100)]), "reads b, starts b");
        assert_eq!(picture.at(900, &[("a", 100), ("b", 100)]), "");
        assert_eq!(picture.at(902, &[("a", 101), ("b", 100)]), "reads a, starts a");
        assert_eq!(picture.at(904, &[("b", 100)]), "");
        assert_eq!(picture.folder.0.len(), 1, "what is gone is forgotten");
    }

    #[test]
    fn a_file_that_grows_is_read_until_it_is_whole() {
        let mut picture = Picture::new();
        assert_eq!(picture.at(0, &[("a", 10)]), "reads a");
        assert_eq!(picture.at(2, &[("a", 10)]), "");
        assert_eq!(picture.at(4, &[("a", 90)]), "reads a");
        assert_eq!(picture.at(6, &[("a", 100)]), "reads a, starts a");
        assert_eq!(picture.at(60, &[("a", 100)]), "");
    }

    #[test]
    fn a_file_that_stays_bad_is_warned_of_once() {
        let still = limits::WATCH_STILL.as_secs();
        let mut picture = Picture::new();
        assert_eq!(picture.at(0, &[("a", 10)]), "reads a");
        assert_eq!(picture.at(still - 1, &[("a", 10)]), "");
        assert_eq!(picture.at(still, &[("a", 10)]), "reads a, a: short");
        assert_eq!(picture.at(still + 100, &[("a", 10)]), "");
        assert_eq!(picture.at(still + 102, &[("a", 100)]), "reads a, starts a");
    }

    #[test]
    fn kinds_are_told_by_their_names() {
        let table = [
            ("a.torrent", true),
            ("a.b.TORRENT", true),
            ("a.torrent.part", false),
            (".torrent", false),
            ("torrent", false),
        ];
        for (name, expected) in table {
            assert_eq!(is_of_kind(OsStr::new(name), "torrent"), expected, "{name}");
        }
    }
}
