//! A central tracker, for those who want one: `rondalla tracker`, and programs that run one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::actors::tracker_server::{Stopper, TrackerServer};
use crate::session::chance;
use crate::words::address::ListenAddress;

pub use crate::machines::swarms::Held;
pub use crate::machines::tracker::Counters;

/// A tracker that listens.
#[derive(Debug)]
pub struct Tracker(TrackerServer);

/// Ends a tracker when it is dropped.
#[derive(Debug)]
pub struct Stop {
    _stopper: Stopper,
}

impl Tracker {
    /// Listens for HTTP and UDP on the first free port of `listen`. Clients are to announce each
    /// `interval`.
    ///
    /// # Errors
    /// If the port is taken, or the system gives no descriptors.
    pub fn open(listen: &ListenAddress, interval: Duration) -> io::Result<(Self, Stop)> {
        let (server, stopper) = TrackerServer::open(listen, interval, chance())?;
        Ok((Self(server), Stop { _stopper: stopper }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Answers until [`Stop`] is dropped: what it holds then, and what it was asked.
    pub fn run(self) -> (Held, Counters) {
        self.0.run().stats()
    }
}
