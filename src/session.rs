//! The main loop, and the front door for a program that uses this library.
//!
//! The loop decides nothing: it receives a notification, or reaches the engine's next deadline,
//! lets the engine handle it, and gives the orders that come out to the actors.
//!
//! ```no_run
//! use rondalla::bus::{Event, TorrentEvent};
//! use rondalla::formats::metainfo::Metainfo;
//! use rondalla::session::{Options, Session, Torrent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let metainfo = Metainfo::parse(&std::fs::read("debian.iso.torrent")?)?;
//! let mut session = Session::open(Options::new("state"))?;
//! let mut torrent = Torrent::new(metainfo, "downloads");
//! torrent.peers.push("192.0.2.7:6881".parse()?);
//! session.add(torrent);
//! let events = session.events();
//! // The calling thread is main from now on; another one reads the events.
//! let main = std::thread::Builder::new().name("main".into()).spawn(move || session.run())?;
//! for event in events {
//!     if let Event::Torrent(_, TorrentEvent::Finished { path, .. }) = event {
//!         println!("{}", path.display());
//!     }
//! }
//! main.join().expect("the main loop does not panic");
//! # Ok(())
//! # }
//! ```

pub mod ask;
mod fetch;
mod magnets;
mod names;
mod networks;
mod options;
pub mod scrape;
mod traced;
pub mod tracker;
mod trackers;
mod turns;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::actors::chance::chance;
use crate::actors::clerk::ClerkHandle;
use crate::actors::clock::now;
use crate::actors::events::EventQueue;
use crate::actors::files::FileStore;
use crate::actors::limiter::Limiter;
use crate::actors::listener::{self, ListenerHandle};
use crate::actors::peer::{Introduction, Line, Office};
use crate::actors::porter::{Ends, PorterHandle, ToPorter};
use crate::actors::reactor::ToReactor;
use crate::actors::shelf::Shelf;
use crate::actors::storage::StorageHandle;
use crate::actors::trace::TraceHandle;
use crate::actors::tracker::CrierHandle;
use crate::bus::{Command, Event, Notification, Order, ToPeer};
use crate::formats::client;
use crate::machines::engine::{Engine, Settings};
use crate::words::id::PeerKey;
use crate::words::limits;

use networks::NetworkEnds;
use turns::Turns;

pub use crate::actors::events::Events;
pub use crate::actors::http::NO_HTTPS;
pub use crate::machines::engine::{Goal, SeedUntil};
pub use fetch::fetch;
pub use magnets::{Sought, remembered, save_torrent, selected};
pub use networks::{ChordOptions, MainlineOptions};
pub use options::{Options, Torrent};
pub use trackers::is_spoken;

/// One client: its engine, its actors and their channels.
#[derive(Debug)]
pub struct Session {
    options: Options,
    engine: Engine,
    events: Arc<EventQueue>,
    peers: BTreeMap<PeerKey, PeerEnds>,
    notifications: Receiver<Notification>,
    publisher: Sender<Notification>,
    listener: Option<ListenerHandle>,
    porter: PorterHandle,
    storage: StorageHandle,
    networks: Option<NetworkEnds>,
    clerk: ClerkHandle,
    crier: Option<CrierHandle>,
    trace: Option<TraceHandle>,
    turns: Turns,
}

/// Main's ends of what connects it with a peer's threads.
#[derive(Debug)]
struct PeerEnds {
    orders: Sender<ToPeer>,
    line: Arc<Line>,
    introductions: Option<Sender<Introduction>>,
}

/// What reaches a session that runs, from any thread.
#[derive(Clone, Debug)]
pub struct Remote {
    notifications: Sender<Notification>,
    state: PathBuf,
    goal: Goal,
    trackers: bool,
}

impl Remote {
    /// Lets the session say goodbye, save its state and end. A session that has ended is left
    /// alone.
    pub fn quit(&self) {
        self.publish(Notification::Command(Command::Quit));
    }

    /// Adds a torrent to a session that runs; one that has ended is left alone. What takes time by
    /// the torrent's size is done here, on the calling thread.
    pub fn add(&self, torrent: Torrent) {
        let new = torrent.into_new(&self.state, self.goal, self.trackers, seed());
        self.publish(Notification::Command(Command::Add(Box::new(new))));
    }

    /// Adds a torrent of which a magnet link is known to a session that runs; one that has ended is
    /// left alone.
    pub fn seek(&self, sought: Sought) {
        let new = sought.into_new(&self.state, self.goal, self.trackers, seed());
        self.publish(Notification::Command(Command::Add(Box::new(new))));
    }

    /// Has the user told something, among the session's events.
    pub fn warn(&self, message: String) {
        self.publish(Notification::Warning(message));
    }

    fn publish(&self, notification: Notification) {
        #[expect(clippy::disallowed_methods, reason = "whoever is no actor may wait for main")]
        self.notifications.send(notification).ok();
    }
}

/// Why a session cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// It cannot listen at the address.
    Listen(io::Error),
    /// The system gives no thread of this name.
    Thread(&'static str, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => write!(f, "it cannot listen: {error}"),
            Self::Thread(name, error) => write!(f, "the {name} cannot be started: {error}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen(error) | Self::Thread(_, error) => Some(error),
        }
    }
}

/// For `map_err`: says which thread cannot be started.
fn no_thread(name: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Thread(name, error)
}

impl Session {
    /// Starts the actors.
    ///
    /// # Errors
    /// If the address to listen at is taken, or a thread cannot be started.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let with_udp = options.chord.is_some() || options.mainline.is_some();
        let bound = options.listen.as_ref().map(|listen| listener::bind(listen, with_udp));
        let (listener, datagrams) = bound.transpose().map_err(OpenError::Listen)?.unzip();
        let address = listener.as_ref().map(TcpListener::local_addr).transpose();
        let address = address.map_err(OpenError::Listen)?;
        let (publisher, notifications) = bounded(limits::NOTIFICATIONS_MAX);
        let peer_id = client::our_peer_id(chance());
        let files = Arc::new(FileStore::new(options.files_open_max));
        let shelf = Arc::new(Shelf::new(options.memory));
        let leave_from = options.specific_address();
        let office = Arc::new(Office {
            peer_id,
            port: address.map(|address| address.port()),
            chord: options.chord.is_some(),
            mainline: options.mainline.is_some(),
            pex: options.pex,
            leave_from,
            upload: options.upload,
            encryption: options.encryption,
            files: Arc::clone(&files),
            shelf: Arc::clone(&shelf),
            down: Limiter::new(options.limit_down),
            up: Limiter::new(options.limit_up),
            notifications: publisher.clone(),
        });
        let peers_max = options.peers_max.min(limits::PEERS_MAX);
        let (porter, sockets) =
            PorterHandle::start(office, peers_max).map_err(no_thread("porter"))?;
        let storage = StorageHandle::start(options.memory, files, shelf, publisher.clone())
            .map_err(no_thread("storage"))?;
        let clerk = ClerkHandle::start(publisher.clone()).map_err(no_thread("clerk"))?;
        let listener = listener.map(|listener| ListenerHandle::start(listener, sockets));
        let listener = listener.transpose().map_err(no_thread("listener"))?;
        let settings = Settings {
            goal: options.goal,
            stay: options.stay,
            upload: options.upload,
            chord: options.chord.is_some(),
            mainline: options.mainline.is_some(),
            lan: options.lan && address.is_some(),
            pex: options.pex,
            memory: options.memory,
            peers_max,
            timeout: options.timeout,
            sequential: options.sequential,
            seed_until: options.seed_until,
        };
        let (seed, start) = (seed(), now());
        let at = (address.map(|address| address.port()), datagrams);
        let networks = (with_udp || options.lan)
            .then(|| NetworkEnds::start(at, &options, (seed, chance()), &publisher));
        let networks = networks.transpose().map_err(no_thread("reactor"))?;
        let crier =
            options.trackers.then(|| CrierHandle::start(leave_from, seed, publisher.clone()));
        let crier = crier.transpose().map_err(no_thread("crier"))?;
        let trace = options.trace.clone();
        let trace = trace.map(|file| TraceHandle::start(file, start, publisher.clone()));
        let mut session = Self {
            options,
            engine: Engine::new(settings, peer_id, seed, start),
            events: Arc::new(EventQueue::default()),
            peers: BTreeMap::new(),
            notifications,
            publisher,
            listener,
            porter,
            storage,
            networks,
            clerk,
            crier,
            trace: trace.transpose().map_err(no_thread("trace"))?,
            turns: Turns::default(),
        };
        if let Some(address) = address {
            session.command(Command::Listening(address));
        }
        Ok(session)
    }

    /// Where others reach this session, if it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(ListenerHandle::address)
    }

    /// Adds a torrent. What takes time by its size is done here, on the calling thread.
    pub fn add(&mut self, torrent: Torrent) {
        let Options { state, goal, trackers, .. } = &self.options;
        let new = torrent.into_new(state, *goal, *trackers, seed());
        self.command(Command::Add(Box::new(new)));
    }

    /// Adds a torrent of which a magnet link is known: its metadata is had from peers. That of an
    /// earlier time is [`remembered`].
    pub fn seek(&mut self, sought: Sought) {
        let Options { state, goal, trackers, .. } = &self.options;
        let new = sought.into_new(state, *goal, *trackers, seed());
        self.command(Command::Add(Box::new(new)));
    }

    /// What the user is told. Each event is given to one reader.
    pub fn events(&self) -> Events {
        Events::of(&self.events)
    }

    /// What reaches the session while it runs.
    pub fn remote(&self) -> Remote {
        let Options { state, goal, trackers, .. } = &self.options;
        let (state, goal, trackers) = (state.clone(), *goal, *trackers);
        Remote { notifications: self.publisher.clone(), state, goal, trackers }
    }

    /// The main loop: the calling thread is main until the session is done.
    pub fn run(mut self) {
        let mut ended = now();
        while !self.engine.is_ended() {
            let (news, began) = self.receive(ended);
            let what = news.as_ref().map_or("Timer", names::of_notification);
            if let (Some(trace), Some(news)) = (&mut self.trace, &news) {
                trace.record(traced::heard(news, began));
            }
            match news {
                Some(notification) => self.engine.handle(began, notification),
                None => self.engine.handle_time(began),
            }
            // However many notifications wait, what is due is not late by more than one of them.
            if self.engine.poll_deadline().is_some_and(|due| due <= began) {
                self.engine.handle_time(began);
            }
            self.perform();
            ended = now();
            if let Some(slow) = self.turns.handle_turn(what, began, ended) {
                self.events.push(slow);
            }
        }
        self.end();
    }

    /// The next notification, or `None` at the engine's next deadline, and the time. `ended` is when
    /// the turn before did: whoever need not wait need not read the clock.
    fn receive(&self, ended: Instant) -> (Option<Notification>, Instant) {
        if let Ok(notification) = self.notifications.try_recv() {
            return (Some(notification), ended);
        }
        let news = match self.engine.poll_deadline() {
            Some(deadline) => match self.notifications.recv_deadline(deadline) {
                Ok(notification) => Some(notification),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender ourselves"),
            },
            None => Some(self.notifications.recv().expect("we hold a sender ourselves")),
        };
        (news, now())
    }

    fn command(&mut self, command: Command) {
        let (began, command) = (now(), Notification::Command(command));
        if let Some(trace) = &mut self.trace {
            trace.record(traced::heard(&command, began));
        }
        self.engine.handle(began, command);
        self.perform();
    }

    /// Gives the engine's orders to the actors, and its events to the user.
    fn perform(&mut self) {
        while let Some(order) = self.engine.poll_order() {
            if let Some(trace) = &mut self.trace {
                trace.record(traced::ordered(&order, now()));
            }
            if let Err(order) = self.give(order) {
                self.engine.handle_undelivered(now(), order);
            }
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
    }

    /// Gives one order to its actor, without waiting; hands it back if that is not possible.
    fn give(&mut self, order: Order) -> Result<(), Order> {
        match order {
            Order::Dial { .. }
            | Order::Ask { .. }
            | Order::Admit { .. }
            | Order::Refuse(_)
            | Order::Reap(_) => self.give_to_porter(order),
            Order::Introduce { peer, torrent, ref context } => {
                let ends = self.peers.get_mut(&peer);
                let introductions = ends.and_then(|ends| ends.introductions.take());
                match introductions {
                    Some(sender) => {
                        sender.try_send((torrent, Arc::clone(context))).map_err(|_gone| order)
                    }
                    None => Err(order),
                }
            }
            Order::Peer(peer, to_peer) => {
                let Some(ends) = self.peers.get(&peer) else { return Err(order) };
                if ends.orders.try_send(to_peer).is_err() {
                    return Err(order);
                }
                if ends.line.claim_writer() {
                    // Given back the order ends the connection, so it does not matter that it was given.
                    let go_on = ToPorter::GoOn(Arc::clone(&ends.line));
                    return self.porter.orders.try_send(go_on).map_err(|_full| order);
                }
                Ok(())
            }
            Order::HangUp(peer) => {
                // Whoever waits for an introduction hears that none will come.
                if let Some(ends) = self.peers.get_mut(&peer) {
                    ends.introductions = None;
                    ends.line.hang_up();
                }
                Ok(())
            }
            Order::Storage(torrent, to_storage) => {
                let sent = self.storage.tasks.try_send((torrent, to_storage));
                sent.map_err(|unsent| {
                    let (torrent, to_storage) = unsent.into_inner();
                    Order::Storage(torrent, to_storage)
                })
            }
            Order::Chord(order) => self.give_to_reactor(ToReactor::Chord(order)),
            Order::Mainline(order) => self.give_to_reactor(ToReactor::Mainline(order)),
            Order::Lan(order) => self.give_to_reactor(ToReactor::Lan(order)),
            Order::Usher(network, order) => match &self.networks {
                Some(networks) => {
                    let given = networks.give_usher(network, order);
                    given.map_err(|order| Order::Usher(network, order))
                }
                None => Err(Order::Usher(network, order)),
            },
            Order::Clerk(torrent, to_clerk) => {
                let sent = self.clerk.orders.try_send((torrent, to_clerk));
                sent.map_err(|unsent| {
                    let (torrent, to_clerk) = unsent.into_inner();
                    Order::Clerk(torrent, to_clerk)
                })
            }
            Order::Tracker(order) => match &self.crier {
                Some(crier) => crier.give(order).map_err(Order::Tracker),
                None => Err(Order::Tracker(order)),
            },
            Order::End => Ok(()),
        }
    }

    fn give_to_reactor(&self, order: ToReactor) -> Result<(), Order> {
        let given = match &self.networks {
            Some(networks) => networks.give(order),
            None => Err(order),
        };
        given.map_err(|order| match order {
            ToReactor::Chord(order) => Order::Chord(order),
            ToReactor::Mainline(order) => Order::Mainline(order),
            ToReactor::Lan(order) => Order::Lan(order),
        })
    }

    /// Gives an order that is the porter's; others are not meant, and handed back.
    fn give_to_porter(&mut self, order: Order) -> Result<(), Order> {
        let to_porter = match order {
            Order::Dial { peer, ref to, torrent, ref context } => {
                let introduction = (torrent, Arc::clone(context));
                ToPorter::Dial(peer, to.clone(), introduction, self.connect(peer, None))
            }
            Order::Ask { peer, ref seed, torrent, ref context } => {
                let introduction = (torrent, Arc::clone(context));
                ToPorter::Ask(peer, seed.clone(), introduction, self.connect(peer, None))
            }
            Order::Admit { socket, peer } => {
                let (sender, introductions) = bounded(1);
                let ends = self.connect(peer, Some(sender));
                ToPorter::Admit(socket, peer, introductions, ends)
            }
            Order::Refuse(socket) => ToPorter::Refuse(socket),
            Order::Reap(peer) => {
                self.peers.remove(&peer);
                ToPorter::Reap(peer)
            }
            Order::Introduce { .. }
            | Order::Peer(..)
            | Order::HangUp(_)
            | Order::Storage(..)
            | Order::Clerk(..)
            | Order::Chord(_)
            | Order::Mainline(_)
            | Order::Lan(_)
            | Order::Usher(..)
            | Order::Tracker(_)
            | Order::End => return Err(order),
        };
        self.porter.orders.try_send(to_porter).map_err(|_full| order)
    }

    /// Makes what connects main with a peer's threads.
    fn connect(&mut self, peer: PeerKey, introductions: Option<Sender<Introduction>>) -> Ends {
        let (sender, orders) = bounded(limits::OUTBOX_MAX as usize);
        let line = Arc::new(Line::default());
        let ends = PeerEnds { orders: sender, line: Arc::clone(&line), introductions };
        self.peers.insert(peer, ends);
        Ends { line, orders }
    }

    /// Ends the actors in the order in which they can end: whoever waits for main hears that main
    /// is gone, and whoever waits for a socket that it is closed.
    fn end(self) {
        let Self {
            engine,
            events,
            peers,
            notifications,
            publisher,
            listener,
            porter,
            storage,
            networks,
            clerk,
            crier,
            trace,
            turns,
            options: _,
        } = self;
        peers.values().for_each(|ends| ends.line.hang_up());
        drop((peers, notifications, publisher));
        drop(trace);
        if let Some(networks) = networks {
            networks.end();
        }
        clerk.end();
        drop(crier);
        drop(listener);
        drop(porter);
        if engine.is_closed() {
            drop(storage);
        } else {
            storage.leave();
        }
        events.push(turns.summary());
        events.push(Event::Ended);
    }
}

/// A seed that nobody knows.
fn seed() -> u64 {
    u64::from_le_bytes(chance())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_peers_may_be_allowed() {
        let options = Options { listen: None, peers_max: u32::MAX, ..Options::new("never made") };
        let session = Session::open(options).unwrap();
        session.remote().quit();
        session.run();
    }
}
