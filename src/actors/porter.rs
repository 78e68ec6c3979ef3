//! The porter starts and joins the threads of every peer, so that main does not spend the time.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;
use std::{io, mem};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::actors::clock::now;
use crate::actors::file_error::reason;
use crate::actors::peer::{self, Call, Introduction, Line, Office, Way};
use crate::bus::{Farewell, Fault, Notification, PeerNews, SocketNumber, ToPeer};
use crate::formats::web_seed::WebSeed;
use crate::words::address::Address;
use crate::words::id::PeerKey;
use crate::words::limits;

/// What main orders, with the ends of the channels by which it will reach the peer.
#[derive(Debug)]
pub(crate) enum ToPorter {
    Dial(PeerKey, Address, Introduction, Ends),
    Ask(PeerKey, WebSeed, Introduction, Ends),
    Admit(SocketNumber, PeerKey, Receiver<Introduction>, Ends),
    Refuse(SocketNumber),
    /// Main has claimed this peer's writer from its desk, and it is to go on.
    GoOn(Arc<Line>),
    Reap(PeerKey),
}

/// The peer's ends of what connects it with main.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) line: Arc<Line>,
    pub(crate) orders: Receiver<ToPeer>,
}

/// A socket that the listener accepted.
pub(crate) type Accepted = (TcpStream, SocketAddr);

/// Main's and the listener's ends of the porter. Fields are dropped in order: first the channel,
/// whose end makes the thread end, then the thread is joined.
#[derive(Debug)]
pub(crate) struct PorterHandle {
    pub(crate) orders: Sender<ToPorter>,
    thread: Option<JoinHandle<()>>,
}

impl PorterHandle {
    /// Starts the porter of at most `peers_max` connections. The listener's sockets come on the
    /// channel that is returned.
    pub(crate) fn start(
        office: Arc<Office>,
        peers_max: u32,
    ) -> io::Result<(Self, Sender<Accepted>)> {
        let places = peers_max.saturating_add(limits::PLACES_BESIDE_PEERS) as usize;
        let slots = limits::PORTER_ORDERS_A_PEER * places + limits::PORTER_ORDERS_SPARE;
        let (orders, from_main) = bounded(slots);
        let (sockets, from_listener) = bounded(limits::ACCEPTED_MAX);
        let porter = Porter {
            office,
            waiting: BTreeMap::new(),
            accepted: 0,
            threads: BTreeMap::new(),
            late: Vec::new(),
            places,
            shortage: None,
            told_at: None,
        };
        let thread = Builder::new()
            .name("porter".into())
            .stack_size(limits::stacks::PORTER)
            .spawn(move || porter.run(&from_main, from_listener))?;
        Ok((Self { orders, thread: Some(thread) }, sockets))
    }
}

impl Drop for PorterHandle {
    fn drop(&mut self) {
        let (closed, _) = bounded(0);
        drop(mem::replace(&mut self.orders, closed));
        if let Some(thread) = self.thread.take() {
            // A porter that failed has said so on stderr.
            thread.join().ok();
        }
    }
}

struct Porter {
    office: Arc<Office>,
    /// Accepted sockets about which main has not decided.
    waiting: BTreeMap<SocketNumber, TcpStream>,
    accepted: u64,
    threads: BTreeMap<PeerKey, PeerThreads>,
    /// Threads of writers whose peers are gone. One that waits for a slow disk must not hold up others,
    /// unless they are as many as there may be peers.
    late: Vec<JoinHandle<()>>,
    places: usize,
    /// The system gave no more threads, a short time ago.
    shortage: Option<Shortage>,
    /// When the user was told of that.
    told_at: Option<Instant>,
}

/// The threads of a peer: its reader, and where to find the last one of its writer.
struct PeerThreads {
    reader: JoinHandle<()>,
    line: Arc<Line>,
}

/// For a while no more peers are taken than there were when the system gave no more threads: each
/// new reader would take the thread that the writer of another needs.
#[derive(Clone, Copy)]
struct Shortage {
    peers_max: usize,
    until: Instant,
}

impl Porter {
    /// Works until main drops its end; then joins the threads that are over, and leaves those that
    /// nothing can wake: the ones that connect or resolve a name.
    fn run(mut self, from_main: &Receiver<ToPorter>, from_listener: Receiver<Accepted>) {
        let mut from_listener = from_listener;
        loop {
            select! {
                recv(from_main) -> order => match order {
                    Ok(order) => self.carry_out(order),
                    Err(_) => break,
                },
                recv(from_listener) -> accepted => match accepted {
                    Ok((stream, address)) => self.keep(stream, address),
                    Err(_) => from_listener = crossbeam_channel::never(),
                },
            }
        }
        let over = mem::take(&mut self.threads).into_values().filter(PeerThreads::are_over);
        over.for_each(|threads| self.join(threads));
        self.join_late();
    }

    fn carry_out(&mut self, order: ToPorter) {
        self.join_late();
        match order {
            ToPorter::Dial(peer, to, introduction, ends) => {
                self.start(peer, Way::Out(to, introduction), ends);
            }
            ToPorter::Ask(peer, seed, introduction, ends) => {
                self.start(peer, Way::Web(seed, introduction), ends);
            }
            ToPorter::Admit(socket, peer, introductions, ends) => {
                match self.waiting.remove(&socket) {
                    Some(stream) => {
                        self.start(peer, Way::In(Arc::new(stream), introductions), ends);
                    }
                    None => self.say_gone(peer, "its socket is gone"),
                }
            }
            ToPorter::Refuse(socket) => {
                self.waiting.remove(&socket);
            }
            ToPorter::GoOn(line) => {
                line.go_on();
                self.look_for_shortage(&line);
            }
            ToPorter::Reap(peer) => {
                // Its last words were heard, so the thread is over or about to be.
                self.reap(peer);
            }
        }
    }

    /// Starts a peer's threads. Those of others that are over are joined on the way, in case main's
    /// order to do so did not come through.
    fn start(&mut self, peer: PeerKey, way: Way, ends: Ends) {
        let is_over =
            |(peer, threads): (&PeerKey, &PeerThreads)| threads.are_over().then_some(*peer);
        let over: Vec<PeerKey> = self.threads.iter().filter_map(is_over).collect();
        for peer in over {
            self.reap(peer);
        }
        let shortage = self.shortage.filter(|shortage| now() < shortage.until);
        if shortage.is_some_and(|shortage| self.threads.len() >= shortage.peers_max) {
            return self.say_gone(peer, "the system gave no threads for more peers");
        }
        let Ends { line, orders } = ends;
        let office = Arc::clone(&self.office);
        let call = Call { peer, way, line: Arc::clone(&line), orders, office };
        match peer::start(call) {
            Ok(reader) => {
                self.threads.insert(peer, PeerThreads { reader, line });
            }
            Err(error) => {
                self.say_gone(peer, &format!("no thread for it: {}", reason(&error)));
                self.run_short(&error);
            }
        }
    }

    /// Joins the threads of a peer, of which main has let go.
    fn reap(&mut self, peer: PeerKey) {
        if let Some(threads) = self.threads.remove(&peer) {
            self.join(threads);
        }
    }

    /// The reader has said its last words, so it is over or about to be; the writer is, unless it waits
    /// for the disk. A thread that failed has said so on stderr.
    fn join(&mut self, threads: PeerThreads) {
        threads.reader.join().ok();
        self.late.extend(threads.line.take_writer());
        self.look_for_shortage(&threads.line);
    }

    fn join_late(&mut self) {
        while self.late.len() > self.places {
            self.late.swap_remove(0).join().ok();
        }
        for thread in self.late.extract_if(.., |thread| thread.is_finished()) {
            thread.join().ok();
        }
    }

    fn look_for_shortage(&mut self, line: &Line) {
        if let Some(error) = line.take_shortage() {
            self.run_short(&error);
        }
    }

    /// The system gave no thread: fewer peers are taken for a while, and the user is told.
    fn run_short(&mut self, error: &io::Error) {
        let (peers_max, now) = (self.threads.len().max(1), now());
        self.shortage = Some(Shortage { peers_max, until: now + limits::THREADS_BACK_OFF });
        if self.told_at.is_none_or(|at| now >= at + limits::THREADS_TOLD_EVERY) {
            self.told_at = Some(now);
            let why = reason(error);
            let warning = format!("no thread for more than {peers_max} peers: {why}");
            self.publish(Notification::Warning(warning + "; --max-peers takes fewer"));
        }
    }

    fn say_gone(&self, peer: PeerKey, reason: &str) {
        let farewell = Farewell { reason: reason.to_owned(), fault: Fault::Ours };
        self.publish(Notification::Peer(peer, PeerNews::Gone(farewell)));
    }

    fn keep(&mut self, stream: TcpStream, address: SocketAddr) {
        self.accepted += 1;
        let socket = SocketNumber(self.accepted);
        self.waiting.insert(socket, stream);
        self.publish(Notification::Accepted { socket, address });
    }

    fn publish(&self, notification: Notification) {
        #[expect(clippy::disallowed_methods, reason = "the porter may wait for main")]
        let sent = self.office.notifications.send(notification);
        // If main is gone, so is the need to tell it.
        sent.ok();
    }
}

impl PeerThreads {
    /// Whether the reader has said its last words.
    fn are_over(&self) -> bool {
        self.reader.is_finished()
    }
}
