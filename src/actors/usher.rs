//! The usher finds the ways into a network, the ring or Mainline: it resolves the names of entry
//! points, and remembers the nodes that were met for the next start. Names and files take time, for
//! which neither main nor the reactor may wait; and each network has an usher of its own, so that
//! names which nobody resolves keep us out of one alone.
//!
//! Nothing ends a thread that resolves a name: the system's resolver takes as long as it takes. At
//! the end an usher is given a moment, in which one that writes its file is through, and then left;
//! it ends with the process. All ushers have that moment together.

use std::fs::TryLockError;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::actors::clock::now;
use crate::actors::disk::{Disk, DiskFile, How, Reader, SystemDisk, make_folders};
use crate::actors::state::{read_at_most, replace};
use crate::bus::ToUsher;
use crate::formats::path::shown;
use crate::formats::remembered::Remembered;
use crate::words::address::{Address, Host, fold};
use crate::words::limits;
use crate::words::limits::ring;
use crate::words::node_id::NodeId;

/// What an usher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// By these the network may be entered.
    Nodes(Vec<SocketAddr>),
    /// Something for the user to know.
    Warning(String),
}

/// The file in the state folder in which a network's nodes are remembered.
#[derive(Debug)]
pub(crate) struct Book {
    state: PathBuf,
    path: PathBuf,
    /// What stood there.
    remembered: Remembered,
    warning: Option<String>,
    /// Another process has it, and writes there.
    is_taken: bool,
    /// Held, not used: the lock ends when it is closed, however this process ends.
    _lock: Option<Arc<dyn DiskFile>>,
}

impl Book {
    /// That of the ring. Its nodes have their ids from their addresses, so any number of processes may
    /// share it, and the last one that writes is right.
    pub(crate) fn of_ring(state: &Path) -> Self {
        Self::open(state, "ring.nodes", None)
    }

    /// That of Mainline, where no two nodes may have one id: of processes with one state folder, the
    /// first has the id and the file, and the others read in it whom they may ask.
    pub(crate) fn of_mainline(state: &Path) -> Self {
        // Where no folder can be made there is no id to be kept.
        make_folders(&SystemDisk, state, Reader::User).ok();
        let lock = SystemDisk.open(&state.join("mainline.lock"), How::Lock).ok();
        let mut book = Self::open(state, "mainline.nodes", lock);
        if book.is_taken {
            book.remembered.ids = [None, None];
        }
        book
    }

    fn open(state: &Path, name: &str, lock: Option<Arc<dyn DiskFile>>) -> Self {
        let path = state.join(name);
        // Where there are no locks, nobody is kept away.
        let is_taken = lock
            .as_ref()
            .is_some_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        let (remembered, warning) = match read(&path) {
            Ok(remembered) => (remembered, None),
            Err(why) => {
                let why = format!("{}: {why}; it is begun anew", shown(&path));
                (Remembered::default(), Some(why))
            }
        };
        Self { state: state.to_owned(), path, remembered, warning, is_taken, _lock: lock }
    }

    /// The ids that our node of Mainline had, of IPv4 and of IPv6.
    pub(crate) fn ids(&self) -> [Option<NodeId>; 2] {
        self.remembered.ids
    }

    fn write(&self, remembered: &Remembered) -> io::Result<()> {
        if remembered.nodes.is_empty() || self.is_taken {
            return Ok(());
        }
        let text = remembered.emit();
        let old = read_at_most(&SystemDisk, &self.path, ring::REMEMBERED_LEN_MAX);
        if old.is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        make_folders(&SystemDisk, &self.state, Reader::User)?;
        replace(&SystemDisk, &self.path, text.as_bytes())
    }
}

/// What stands in the file; nothing if there is none.
fn read(path: &Path) -> Result<Remembered, String> {
    let bytes = match read_at_most(&SystemDisk, path, ring::REMEMBERED_LEN_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Remembered::default()),
        Err(error) => return Err(error.to_string()),
    };
    if bytes.len() > ring::REMEMBERED_LEN_MAX {
        return Err("it is too long".into());
    }
    Remembered::parse(&bytes).map_err(|damaged| damaged.to_string())
}

/// Main's end of an usher: dropped, it ends the thread; [`end_all`](Self::end_all) waits for that too.
#[derive(Debug)]
pub(crate) struct UsherHandle {
    pub(crate) orders: Sender<ToUsher>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl UsherHandle {
    /// Starts the thread. What it publishes is made of its words by `publish`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start<T: Send + 'static>(
        book: Book,
        entry_points: Vec<Address>,
        news: Sender<T>,
        publish: fn(Word) -> T,
    ) -> io::Result<Self> {
        let (orders, from_main) = bounded(ring::USHER_ORDERS_MAX);
        let usher = Usher { entry_points, book, news, publish };
        let (alive, ended) = bounded::<()>(0);
        let thread = Builder::new().name("usher".into()).stack_size(limits::stacks::USHER).spawn(
            move || {
                usher.run(&from_main);
                drop(alive);
            },
        )?;
        Ok(Self { orders, ended, thread })
    }

    /// Lets them end, and waits for each unless it resolves a name, which nothing can end.
    pub(crate) fn end_all(ushers: impl IntoIterator<Item = Self>) {
        let waited_for = |Self { orders, ended, thread }: Self| {
            drop(orders);
            (ended, thread)
        };
        let ushers: Vec<_> = ushers.into_iter().map(waited_for).collect();
        let deadline = now() + limits::USHER_ENDING;
        for (ended, thread) in ushers {
            if ended.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected) {
                // An usher that failed has said so on stderr.
                thread.join().ok();
            }
        }
    }
}

struct Usher<T> {
    /// Those that are not resolved yet.
    entry_points: Vec<Address>,
    book: Book,
    news: Sender<T>,
    publish: fn(Word) -> T,
}

impl<T> Usher<T> {
    /// Works until main drops its end.
    fn run(mut self, from_main: &Receiver<ToUsher>) {
        if let Some(warning) = self.book.warning.take() {
            self.say(Word::Warning(warning));
        }
        let mut remembered = std::mem::take(&mut self.book.remembered.nodes);
        let is_name = |entry: &Address| matches!(entry.host, Host::Name(_));
        if !remembered.is_empty() && self.entry_points.iter().any(is_name) {
            // Whoever was met before need not wait for names.
            self.tell(std::mem::take(&mut remembered));
        }
        // Those that the user named come first. The first word is said even if it is empty: whoever
        // knows nobody begins a ring.
        let mut known = self.resolve();
        known.extend(remembered);
        self.tell(known);
        let mut delay = ring::RESOLVE_AGAIN;
        loop {
            let order = if self.entry_points.is_empty() {
                from_main.recv().map_err(|_gone| RecvTimeoutError::Disconnected)
            } else {
                from_main.recv_timeout(delay)
            };
            match order {
                // Who cannot be written down is met again by the entry points.
                Ok(ToUsher::Remember(known)) => self.book.write(&known).unwrap_or_default(),
                Ok(ToUsher::Resolve(entry_points)) => {
                    let room = ring::UNRESOLVED_MAX.saturating_sub(self.entry_points.len());
                    self.entry_points.extend(entry_points.into_iter().take(room));
                }
                Err(RecvTimeoutError::Timeout) => delay = (delay * 2).min(ring::RESOLVE_AGAIN_MAX),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let found = self.resolve();
            if !found.is_empty() {
                self.tell(found);
            }
        }
    }

    /// Resolves what is not resolved yet.
    fn resolve(&mut self) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        self.entry_points.retain(|entry_point| match addresses_of(entry_point) {
            Ok(addresses) => {
                found.extend(addresses);
                false
            }
            Err(_) => true,
        });
        found
    }

    /// Tells at most as many as a node takes at once.
    fn tell(&self, mut nodes: Vec<SocketAddr>) {
        nodes.truncate(ring::ENTRY_POINTS_MAX);
        self.say(Word::Nodes(nodes));
    }

    fn say(&self, word: Word) {
        #[expect(clippy::disallowed_methods, reason = "the usher may wait for main")]
        let sent = self.news.send((self.publish)(word));
        // If main is gone, so is the need to tell it.
        sent.ok();
    }
}

/// The addresses of an entry point, at most [`limits::ADDRESSES_MAX`].
fn addresses_of(entry_point: &Address) -> io::Result<Vec<SocketAddr>> {
    let port = entry_point.port;
    Ok(match &entry_point.host {
        Host::Any => vec![
            SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
        ],
        Host::Ip(ip) => vec![(*ip, port).into()],
        Host::Name(name) => {
            (&**name, port).to_socket_addrs()?.map(fold).take(limits::ADDRESSES_MAX).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;
    use crate::actors::scratch::Scratch;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn start(book: Book, entry_points: &[&str]) -> (UsherHandle, Receiver<Word>) {
        let (news, heard) = bounded(4);
        let entry_points = entry_points.iter().map(|text| text.parse().unwrap()).collect();
        (UsherHandle::start(book, entry_points, news, |word| word).unwrap(), heard)
    }

    fn nodes<const N: usize>(nodes: [&str; N]) -> Vec<SocketAddr> {
        nodes.map(|node| node.parse().unwrap()).to_vec()
    }

    /// Ends the usher; what it was told to remember is written then.
    fn end(usher: UsherHandle, heard: &Receiver<Word>) {
        UsherHandle::end_all([usher]);
        // The thread lets go of its end when it has written.
        while heard.recv_timeout(PATIENCE).is_ok() {}
    }

    #[test]
    fn entry_points_are_told_and_nodes_are_remembered() {
        let scratch = Scratch::new();
        let state = scratch.path().join("state");
        let met = nodes(["192.0.2.1:6881", "[2001:db8::1]:1"]);
        let (usher, heard) = start(Book::of_ring(&state), &["127.0.0.1:7000"]);
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(Word::Nodes(nodes(["127.0.0.1:7000"]))));
        let known = met.clone().into();
        usher.orders.send_timeout(ToUsher::Remember(known), PATIENCE).unwrap();
        end(usher, &heard);
        let (_usher, heard) = start(Book::of_ring(&state), &[]);
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(Word::Nodes(met)));
    }

    #[test]
    fn ids_are_kept_and_are_those_of_one_process() {
        let scratch = Scratch::new();
        let state = scratch.path().join("state");
        let book = Book::of_mainline(&state);
        assert_eq!(book.ids(), [None, None]);
        let (usher, heard) = start(book, &[]);
        let ids = [Some(NodeId([1; 20])), Some(NodeId([2; 20]))];
        let first = Remembered { ids, nodes: nodes(["192.0.2.1:1"]) };
        // Who knows nobody remembers nothing, and forgets nothing.
        let nobody = Remembered { ids, nodes: Vec::new() };
        for known in [first.clone(), nobody] {
            usher.orders.send_timeout(ToUsher::Remember(known), PATIENCE).unwrap();
        }
        end(usher, &heard);
        let kept = Book::of_mainline(&state);
        assert_eq!(kept.ids(), ids);

        // Another process has the file now: the nodes are for everybody, the ids are not.
        let second = Book::of_mainline(&state);
        assert_eq!(second.ids(), [None, None]);
        let (usher, heard) = start(second, &[]);
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(Word::Nodes(first.nodes.clone())));
        let other =
            Remembered { ids: [Some(NodeId([3; 20])), None], nodes: nodes(["192.0.2.3:3"]) };
        usher.orders.send_timeout(ToUsher::Remember(other), PATIENCE).unwrap();
        end(usher, &heard);
        drop(kept);
        assert_eq!(Book::of_mainline(&state).remembered, first);
    }

    #[test]
    fn a_file_that_is_no_list_of_nodes_is_warned_of_and_begun_anew() {
        let scratch = Scratch::new();
        let state = scratch.path().join("state");
        fs::create_dir_all(&state).unwrap();
        let id = NodeId([5; 20]);
        let long = "192.0.2.1:1\n".repeat(ring::REMEMBERED_LEN_MAX);
        let table = [
            (format!("ipv4 {id}\n192.0.2.1:1\nnonsense\n"), "line 3 is no node and no id"),
            (format!("ipv4 {id}\nipv4 {id}\n"), "line 2"),
            ("192.0.2.1:0\n".into(), "line 1"),
            (long, "it is too long"),
        ];
        for (text, why) in table {
            for (name, book) in [
                ("ring.nodes", Book::of_ring as fn(&Path) -> Book),
                ("mainline.nodes", Book::of_mainline),
            ] {
                let path = state.join(name);
                fs::write(&path, &text).unwrap();
                let book = book(&state);
                assert_eq!(book.ids(), [None, None], "{text}");
                let (usher, heard) = start(book, &[]);
                let Ok(Word::Warning(warning)) = heard.recv_timeout(PATIENCE) else {
                    panic!("{name}: nobody is warned of {text}");
                };
                assert!(warning.starts_with(&format!("{}: ", path.display())), "{warning}");
                assert!(warning.contains(why), "{warning}");
                assert_eq!(heard.recv_timeout(PATIENCE), Ok(Word::Nodes(Vec::new())));
                let known = Remembered { ids: [Some(id), None], nodes: nodes(["192.0.2.9:9"]) };
                usher.orders.send_timeout(ToUsher::Remember(known.clone()), PATIENCE).unwrap();
                end(usher, &heard);
                assert_eq!(read(&path), Ok(known));
            }
        }
    }

    #[test]
    fn what_is_no_file_is_warned_of() {
        let scratch = Scratch::new();
        let state = scratch.path().join("state");
        fs::create_dir_all(state.join("ring.nodes")).unwrap();
        let warning = Book::of_ring(&state).warning.expect("a folder is no list of nodes");
        assert!(warning.contains("ring.nodes"), "{warning}");
    }
}
