//! The usher finds the ways into a network, the ring or Mainline: it resolves the names of entry
//! points, and remembers the nodes that were met for the next start. Names and files take time, for
//! which neither main nor the reactor may wait; and each network has an usher of its own, so that
//! names which nobody resolves keep us out of one alone.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::actors::disk::{Reader, SystemDisk, make_folders};
use crate::actors::state::{read_at_most, replace};
use crate::bus::ToUsher;
use crate::words::address::{Address, Host, fold};
use crate::words::limits;
use crate::words::limits::ring;

/// The names of the files in the state folder, one address a line.
pub(crate) const RING_FILE: &str = "ring.nodes";
/// See [`RING_FILE`].
pub(crate) const MAINLINE_FILE: &str = "mainline.nodes";

/// Main's end of the usher: dropped, it ends the thread. It is not joined, since nothing wakes a
/// thread that resolves a name.
#[derive(Debug)]
pub(crate) struct UsherHandle {
    pub(crate) orders: Sender<ToUsher>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl UsherHandle {
    /// Starts the thread, whose file in `state` is `file`. What it publishes is made of addresses by
    /// `publish`.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start<T: Send + 'static>(
        file: &str,
        entry_points: Vec<Address>,
        state: PathBuf,
        news: Sender<T>,
        publish: fn(Vec<SocketAddr>) -> T,
    ) -> io::Result<Self> {
        let (orders, from_main) = bounded(ring::USHER_ORDERS_MAX);
        let usher = Usher { entry_points, path: state.join(file), state, news, publish };
        let (alive, ended) = bounded::<()>(0);
        let thread = Builder::new().name("usher".into()).stack_size(limits::USHER_STACK).spawn(
            move || {
                usher.run(&from_main);
                drop(alive);
            },
        )?;
        Ok(Self { orders, ended, thread })
    }

    /// Lets it end, and waits for it unless it resolves a name, which nothing can end.
    pub(crate) fn end(self) {
        drop(self.orders);
        let over = self.ended.recv_timeout(limits::USHER_ENDING);
        if over == Err(RecvTimeoutError::Disconnected) {
            // An usher that failed has said so on stderr.
            self.thread.join().ok();
        }
    }
}

struct Usher<T> {
    /// Those that are not resolved yet.
    entry_points: Vec<Address>,
    state: PathBuf,
    path: PathBuf,
    news: Sender<T>,
    publish: fn(Vec<SocketAddr>) -> T,
}

impl<T> Usher<T> {
    /// Works until main drops its end.
    fn run(mut self, from_main: &Receiver<ToUsher>) {
        let mut remembered = self.remembered();
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
                Ok(ToUsher::Remember(nodes)) => self.remember(&nodes).unwrap_or_default(),
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
        #[expect(clippy::disallowed_methods, reason = "the usher may wait for main")]
        let sent = self.news.send((self.publish)(nodes));
        // If main is gone, so is the need to tell it.
        sent.ok();
    }

    /// The nodes of the last time; none if there is no such file, or no use in it.
    fn remembered(&self) -> Vec<SocketAddr> {
        let bytes =
            read_at_most(&SystemDisk, &self.path, ring::REMEMBERED_LEN_MAX).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        let nodes = text.lines().filter_map(|line| line.parse().ok()).map(fold);
        nodes.filter(|node| node.port() > 0).take(ring::ENTRY_POINTS_MAX).collect()
    }

    fn remember(&self, nodes: &[SocketAddr]) -> io::Result<()> {
        if nodes.is_empty() {
            return Ok(());
        }
        let text: String = nodes.iter().map(|node| format!("{node}\n")).collect();
        let old = read_at_most(&SystemDisk, &self.path, ring::REMEMBERED_LEN_MAX);
        if old.is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        make_folders(&SystemDisk, &self.state, Reader::User)?;
        replace(&SystemDisk, &self.path, text.as_bytes())
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

    fn start(scratch: &Scratch, entry_points: &[&str]) -> (UsherHandle, Receiver<Vec<SocketAddr>>) {
        let (news, heard) = bounded(4);
        let entry_points = entry_points.iter().map(|text| text.parse().unwrap()).collect();
        let state = scratch.path().join("state");
        let usher = UsherHandle::start(RING_FILE, entry_points, state, news, |nodes| nodes);
        (usher.unwrap(), heard)
    }

    #[test]
    fn entry_points_are_told_and_nodes_are_remembered() {
        let scratch = Scratch::new();
        let nodes: Vec<SocketAddr> =
            ["192.0.2.1:6881", "[2001:db8::1]:1"].map(|text| text.parse().unwrap()).to_vec();
        let (usher, heard) = start(&scratch, &["127.0.0.1:7000"]);
        let first: Vec<SocketAddr> = vec!["127.0.0.1:7000".parse().unwrap()];
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(first));
        usher.orders.send_timeout(ToUsher::Remember(nodes.clone()), PATIENCE).unwrap();
        usher.end();
        // The thread lets go of its end when it has written.
        assert!(heard.recv_timeout(PATIENCE).is_err());
        let (_usher, heard) = start(&scratch, &[]);
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(nodes));
    }

    #[test]
    fn what_is_no_list_of_nodes_is_passed_over() {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path().join("state")).unwrap();
        let text =
            "nonsense\n127.0.0.1:0\n127.0.0.1:5\n\n::ffff:127.0.0.1:6\n[::ffff:127.0.0.1]:7\n";
        fs::write(scratch.path().join("state").join(RING_FILE), text).unwrap();
        let (_usher, heard) = start(&scratch, &[]);
        let nodes = ["127.0.0.1:5", "127.0.0.1:7"].map(|text| text.parse().unwrap());
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(nodes.to_vec()));
    }
}
