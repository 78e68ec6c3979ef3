//! Main's ends of the ring, of Mainline and of the local network: the reactor, which drives our nodes,
//! and the ushers, who lead them in.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use crossbeam_channel::Sender;

use super::Options;
use crate::actors::clock;
use crate::actors::reactor::{Driven, Finding, Outlet, ReactorHandle, ToReactor};
use crate::actors::usher::{Book, UsherHandle, Word};
use crate::bus::{ChordNews, MainlineNews, Network, Notification, ToUsher};
use crate::formats::mainline::Want;
use crate::machines::chord::{self, Role};
use crate::machines::{kademlia, lan};
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

/// How a session takes part in Mainline.
#[derive(Clone, Debug, Default)]
pub struct MainlineOptions {
    /// Nodes by which to enter it, beside those that were met before and those that torrents name.
    pub routers: Vec<Address>,
}

impl MainlineOptions {
    /// By the nodes that other clients begin with as well: libtorrent's, Transmission's, and two of
    /// BitTorrent, Inc.
    pub fn well_known() -> Self {
        const ROUTERS: [&str; 4] = [
            "dht.libtorrent.org:25401",
            "dht.transmissionbt.com:6881",
            "router.bittorrent.com:6881",
            "router.utorrent.com:6881",
        ];
        let address = |router: &str| router.parse().expect("each is a host and a port");
        Self { routers: ROUTERS.map(address).to_vec() }
    }
}

/// Main's ends of the networks.
#[derive(Debug)]
pub(super) struct NetworkEnds {
    reactor: ReactorHandle,
    /// Of the ring, and of Mainline.
    ushers: [Option<UsherHandle>; 2],
}

impl NetworkEnds {
    /// Starts the reactor with a node for each network that is on, and their ushers. `port` and
    /// `sockets` are those where we listen; `None`: we do not, and others cannot ask our nodes.
    pub(super) fn start(
        (port, sockets): (Option<u16>, Option<Vec<UdpSocket>>),
        options: &Options,
        (seed, secret): (u64, [u8; 20]),
        publisher: &Sender<Notification>,
    ) -> io::Result<Self> {
        if let Some(rate) = options.chord.as_ref().and_then(|ring| ring.clock_rate) {
            clock::hurry(rate);
        }
        let listens = sockets.is_some();
        let role = if listens { Role::Member } else { Role::Client };
        let ring = chord::Settings { role, ..chord::Settings::default() };
        let state = &options.state;
        let book_of_ring = options.chord.as_ref().map(|_| Book::of_ring(state));
        let book_of_mainline = options.mainline.as_ref().map(|_| Book::of_mainline(state));
        let mainline = kademlia::Settings {
            families: Want::default(),
            ids: book_of_mainline.as_ref().map_or([None, None], Book::ids),
            read_only: !listens,
            secret,
        };
        let driven = Driven {
            sockets: match sockets {
                Some(sockets) => sockets,
                None if options.chord.is_some() || options.mainline.is_some() => any_ports()?,
                None => Vec::new(),
            },
            chord: options.chord.is_some().then_some(ring),
            mainline: options.mainline.is_some().then_some(mainline),
            address: options.specific_address(),
            lan: port
                .filter(|_| options.lan)
                .map(|port| lan::Settings { port, chord: options.chord.is_some().then_some(port) }),
            seed,
        };
        let outlet = Outlet { news: publisher.clone(), words: to_notification };
        let reactor = ReactorHandle::start(driven, outlet)?;
        let usher = |book, entry_points: Option<&Vec<Address>>, publish| {
            let entry_points = entry_points.cloned().unwrap_or_default();
            UsherHandle::start(book, entry_points, publisher.clone(), publish)
        };
        let joins = options.chord.as_ref().map(|ring| &ring.join);
        let of_ring = book_of_ring.map(|book| usher(book, joins, into_ring));
        let routers = options.mainline.as_ref().map(|mainline| &mainline.routers);
        let of_mainline = book_of_mainline.map(|book| usher(book, routers, into_mainline));
        Ok(Self { reactor, ushers: [of_ring.transpose()?, of_mainline.transpose()?] })
    }

    /// Gives the reactor an order; hands it back if there is no room for it.
    pub(super) fn give(&self, order: ToReactor) -> Result<(), ToReactor> {
        self.reactor.give(order)
    }

    /// Gives an usher an order; hands it back if there is no room for it.
    pub(super) fn give_usher(&self, network: Network, order: ToUsher) -> Result<(), ToUsher> {
        match self.ushers.get(network as usize) {
            Some(Some(usher)) => usher.orders.try_send(order).map_err(|unsent| unsent.into_inner()),
            Some(None) | None => Err(order),
        }
    }

    /// Ends the threads.
    pub(super) fn end(self) {
        drop(self.reactor);
        UsherHandle::end_all(self.ushers.into_iter().flatten());
    }
}

fn into_ring(word: Word) -> Notification {
    into(Network::Ring, word)
}

fn into_mainline(word: Word) -> Notification {
    into(Network::Mainline, word)
}

fn into(network: Network, word: Word) -> Notification {
    match word {
        Word::Nodes(nodes) => Notification::Entries(network, nodes),
        Word::Warning(message) => Notification::Warning(message),
    }
}

fn to_notification(finding: Finding) -> Option<Notification> {
    match finding {
        Finding::Chord(news) => of_ring(news).map(Notification::Chord),
        Finding::ChordKnown(nodes) => {
            (!nodes.is_empty()).then_some(Notification::Chord(ChordNews::Known(nodes)))
        }
        Finding::Mainline(news) => of_mainline(news).map(Notification::Mainline),
        Finding::MainlineKnown(known) => {
            (!known.nodes.is_empty()).then_some(Notification::Mainline(MainlineNews::Known(known)))
        }
        Finding::Lan(neighbour) => Some(Notification::Lan(neighbour)),
        Finding::MainlineLeft => Some(Notification::Mainline(MainlineNews::Left)),
    }
}

fn of_ring(news: chord::News) -> Option<ChordNews> {
    Some(match news {
        chord::News::Joined(address) => ChordNews::Joined(address),
        chord::News::Client | chord::News::PlaceTaken => ChordNews::Client,
        chord::News::Alone => ChordNews::Alone,
        chord::News::Dropped(dropped) => ChordNews::Discarded(dropped),
        chord::News::Left => ChordNews::Left,
        chord::News::Found(info_hash, sharers) => ChordNews::Found(info_hash, sharers),
        chord::News::Finished(..) | chord::News::Member(_) | chord::News::Walked { .. } => {
            return None;
        }
    })
}

fn of_mainline(news: kademlia::News) -> Option<MainlineNews> {
    Some(match news {
        kademlia::News::Joined => MainlineNews::Joined,
        kademlia::News::Address(ip) => MainlineNews::Address(ip),
        kademlia::News::Found(info_hash, peers) => MainlineNews::Found(info_hash, peers),
        kademlia::News::Ended(..) => return None,
    })
}

/// The ports of UDP for a session that listens nowhere: any, and others cannot reach it.
pub(super) fn any_ports() -> io::Result<Vec<UdpSocket>> {
    let v4 = UdpSocket::bind(SocketAddr::from(([0; 4], 0)))?;
    // A host without IPv6 has one ring less.
    let v6 = UdpSocket::bind(SocketAddr::from(([0_u16; 8], 0)));
    Ok(std::iter::once(v4).chain(v6).collect())
}
