//! Main's ends of the ring: the reactor, which drives our nodes, and the usher, who leads them in.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use crossbeam_channel::Sender;

use crate::actors::clock;
use crate::actors::reactor::{Outlet, ReactorHandle};
use crate::actors::usher::UsherHandle;
use crate::bus::{ChordNews, Notification, ToChord, ToUsher};
use crate::machines::chord::{News, Role, Settings};
use crate::words::address::Address;

/// How a session takes part in the ring.
#[derive(Clone, Debug, Default)]
pub struct ChordOptions {
    /// Nodes by which to enter it, beside those that were met before.
    pub join: Vec<Address>,
    /// How many times as fast the ring's time passes in this process, from the first session that
    /// says so on; for tests.
    pub clock_rate: Option<u32>,
}

/// Main's ends of the ring.
#[derive(Debug)]
pub(super) struct ChordEnds {
    reactor: ReactorHandle,
    usher: UsherHandle,
}

impl ChordEnds {
    /// Starts the reactor with a node on each of `sockets`, and the usher.
    pub(super) fn start(
        sockets: Vec<UdpSocket>,
        role: Role,
        options: &ChordOptions,
        state: &Path,
        seed: u64,
        publisher: &Sender<Notification>,
    ) -> io::Result<Self> {
        if let Some(rate) = options.clock_rate {
            clock::hurry(rate);
        }
        let settings = Settings { role, ..Settings::default() };
        let outlet = Outlet { news: publisher.clone(), words: to_notification, known };
        let reactor = ReactorHandle::start(sockets, &settings, seed, outlet)?;
        let (entry_points, state) = (options.join.clone(), state.to_owned());
        let news = publisher.clone();
        let usher = UsherHandle::start(entry_points, state, news, Notification::Entries)?;
        Ok(Self { reactor, usher })
    }

    /// Gives the reactor an order; hands it back if there is no room for it.
    pub(super) fn give(&self, order: ToChord) -> Result<(), ToChord> {
        self.reactor.give(order)
    }

    /// Gives the usher an order; hands it back if there is no room for it.
    pub(super) fn give_usher(&self, order: ToUsher) -> Result<(), ToUsher> {
        self.usher.orders.try_send(order).map_err(|unsent| unsent.into_inner())
    }

    /// Ends both threads.
    pub(super) fn end(self) {
        drop(self.reactor);
        self.usher.end();
    }
}

fn known(nodes: Vec<SocketAddr>) -> Option<Notification> {
    (!nodes.is_empty()).then_some(Notification::Chord(ChordNews::Known(nodes)))
}

fn to_notification(news: News) -> Option<Notification> {
    let news = match news {
        News::Joined(address) => ChordNews::Joined(address),
        News::Client | News::PlaceTaken => ChordNews::Client,
        News::Alone => ChordNews::Alone,
        News::Dropped(dropped) => ChordNews::Discarded(dropped),
        News::Left => ChordNews::Left,
        News::Found(info_hash, sharers) => ChordNews::Found(info_hash, sharers),
        News::Finished(..) | News::Member(_) | News::Walked { .. } => return None,
    };
    Some(Notification::Chord(news))
}

/// The ports of UDP for a session that listens nowhere: any, and others cannot reach it.
pub(super) fn any_ports() -> io::Result<Vec<UdpSocket>> {
    let v4 = UdpSocket::bind(SocketAddr::from(([0; 4], 0)))?;
    // A host without IPv6 has one ring less.
    let v6 = UdpSocket::bind(SocketAddr::from(([0_u16; 8], 0)));
    Ok(std::iter::once(v4).chain(v6).collect())
}
