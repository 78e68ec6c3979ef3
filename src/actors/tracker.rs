//! The threads that speak to trackers: the crier, who speaks to those of UDP by itself and starts for
//! each HTTP announce, and for each name of a UDP tracker, a short-lived one.
//!
//! An announce may wait for a name, a connection and an answer for a long time; at the end nobody waits
//! for it.

mod calls;
mod datagrams;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use mio::{Events, Poll, Token, Waker};

use crate::actors::file_error::reason;
use crate::actors::http::{addresses_of, is_own_host};
use crate::bus::Notification;
use crate::bus::trackers::{AnnounceNumber, ToTracker, TrackerFailure, TrackerNews};
use crate::formats::announce::Answer;
use crate::formats::url::Scheme;
use crate::words::address::{Host, is_local};
use crate::words::limits::{stacks, trackers as limits};

use calls::Call;
use datagrams::Datagrams;

/// The token of the waker; the sockets have those below.
const WAKE: Token = Token(usize::MAX);

/// Main's end of the crier: dropped, it ends and joins the crier, and the threads that are over.
#[derive(Debug)]
pub(crate) struct CrierHandle {
    /// `None` only while it is dropped.
    orders: Option<Sender<Box<ToTracker>>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl CrierHandle {
    /// Starts the thread. Announces leave from `leave_from`, unless any address will do; all chance
    /// comes from `seed`.
    ///
    /// # Errors
    /// If the system gives no more descriptors or threads.
    pub(crate) fn start(
        leave_from: Option<IpAddr>,
        seed: u64,
        news: Sender<Notification>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (orders, from_main) = bounded(limits::ORDERS_MAX);
        let (over, from_threads) = bounded(limits::THREADS_MAX);
        let crier = Crier {
            leave_from,
            herald: Herald(news),
            poll,
            waker: Arc::clone(&waker),
            over,
            threads: Vec::new(),
            resolving: 0,
            to_resolve: VecDeque::new(),
            datagrams: Datagrams::new(leave_from, seed),
        };
        let thread = Builder::new()
            .name("crier".into())
            .stack_size(stacks::CRIER)
            .spawn(move || crier.run(&from_main, &from_threads))?;
        Ok(Self { orders: Some(orders), waker, thread: Some(thread) })
    }

    /// Gives an order without waiting; hands it back if there is no room for it.
    pub(crate) fn give(&self, order: Box<ToTracker>) -> Result<(), Box<ToTracker>> {
        let Some(orders) = &self.orders else { return Err(order) };
        orders.try_send(order).map_err(TrySendError::into_inner)?;
        // Were it not woken, it would still see the order at its next deadline.
        self.waker.wake().ok();
        Ok(())
    }
}

impl Drop for CrierHandle {
    fn drop(&mut self) {
        self.orders = None;
        let woken = self.waker.wake();
        if let (Ok(()), Some(thread)) = (woken, self.thread.take()) {
            // A crier that failed has said so on stderr.
            thread.join().ok();
        }
    }
}

/// Who tells main what came of announces.
#[derive(Clone, Debug)]
struct Herald(Sender<Notification>);

impl Herald {
    fn tell(&self, what: TrackerNews) {
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever speaks to trackers may wait for main"
        )]
        let sent = self.0.send(Notification::Tracker(what));
        // If main is gone, so is the need to tell it.
        sent.ok();
    }

    fn tell_failed(&self, number: AnnounceNumber, why: String) {
        self.tell(TrackerNews::Failed(number, TrackerFailure::Unreachable(why)));
    }

    /// Tells of the peers but ourselves. `ours` is where the tracker's answer came to, `theirs` where
    /// from. Who is said to be on this host is believed of a tracker in our own network only.
    fn tell_of_peers(
        &self,
        order: &ToTracker,
        answer: &Answer,
        ours: Option<IpAddr>,
        theirs: IpAddr,
    ) {
        let near = is_local(theirs);
        let is_ours = |peer: &SocketAddr| {
            let own = Some(peer.ip()) == ours || Some(peer.ip()) == answer.seen_as;
            own && peer.port() == order.announce.port
        };
        let peers = answer.peers.iter().copied();
        let peers = peers.filter(|peer| !is_ours(peer) && (near || !is_own_host(peer.ip())));
        let peers: Vec<SocketAddr> = peers.collect();
        for word in peers.chunks(limits::FOUND_WORD) {
            self.tell(TrackerNews::Found(order.number, word.to_vec()));
        }
    }
}

/// What a thread says when it is over.
struct Over {
    place: usize,
    /// The addresses of a name, if that was its work.
    resolved: Option<Resolved>,
}

/// A UDP tracker's announce, and where it goes.
type Resolved = (Box<ToTracker>, Result<Vec<SocketAddr>, String>);

struct Crier {
    leave_from: Option<IpAddr>,
    herald: Herald,
    poll: Poll,
    waker: Arc<Waker>,
    over: Sender<Over>,
    threads: Vec<Option<JoinHandle<()>>>,
    /// Of the threads, those that resolve names, and what waits for such a thread.
    resolving: usize,
    to_resolve: VecDeque<Box<ToTracker>>,
    datagrams: Datagrams,
}

impl Crier {
    /// Works until main drops its end.
    fn run(mut self, from_main: &Receiver<Box<ToTracker>>, from_threads: &Receiver<Over>) {
        let mut events = Events::with_capacity(limits::EVENTS);
        let (running, ended) = bounded(0);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.datagrams.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Nothing of ours is wrong with the poll; to ask it at once again would spin.
                crossbeam_channel::after(limits::BACK_OFF).recv().ok();
            }
            while let Ok(over) = from_threads.try_recv() {
                self.handle_over(over);
            }
            loop {
                match from_main.try_recv() {
                    Ok(order) => self.carry_out(order, &ended),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        // Whoever waits for an answer hears of it; who resolves or connects cannot.
                        drop(running);
                        return from_threads.try_iter().for_each(|over| self.handle_over(over));
                    }
                }
            }
            self.datagrams.turn(&self.herald);
        }
    }

    fn carry_out(&mut self, order: Box<ToTracker>, ended: &Receiver<()>) {
        let url = &order.tracker.url;
        match (url.scheme, &url.host) {
            (Scheme::Udp, Host::Name(_)) => {
                self.to_resolve.push_back(order);
                self.resolve_next();
            }
            (Scheme::Udp, Host::Ip(_) | Host::Any) => {
                let addresses = addresses_of(url);
                self.datagrams.ask(self.poll.registry(), order, addresses, &self.herald);
            }
            (Scheme::Http | Scheme::Https, _) => {
                let (number, leave_from) = (order.number, self.leave_from);
                let (herald, ended) = (self.herald.clone(), ended.clone());
                let call = Call { order: *order, leave_from, herald, ended };
                let call = move || {
                    call.run();
                    None
                };
                self.start(number, call);
            }
        }
    }

    /// Resolves the next names, as far as threads are allowed.
    fn resolve_next(&mut self) {
        while self.resolving < limits::RESOLVERS_MAX
            && let Some(order) = self.to_resolve.pop_front()
        {
            let number = order.number;
            let resolve = move || {
                let addresses = addresses_of(&order.tracker.url);
                Some((order, addresses))
            };
            self.resolving += usize::from(self.start(number, resolve));
        }
    }

    /// Starts a thread for an announce; `false` if the system gives none, of which main is told.
    fn start(
        &mut self,
        number: AnnounceNumber,
        work: impl FnOnce() -> Option<Resolved> + Send + 'static,
    ) -> bool {
        let free = self.threads.iter().position(Option::is_none);
        let place = free.unwrap_or(self.threads.len());
        let (over, waker) = (self.over.clone(), Arc::clone(&self.waker));
        let thread = Builder::new()
            .name(format!("tracker-{place}"))
            .stack_size(stacks::ANNOUNCE)
            .spawn(move || {
                let resolved = work();
                // The channel has a place for each thread that there can be.
                over.try_send(Over { place, resolved }).ok();
                waker.wake().ok();
            });
        match thread {
            Ok(thread) if free.is_some() => self.threads[place] = Some(thread),
            Ok(thread) => self.threads.push(Some(thread)),
            Err(error) => {
                let why = format!("its thread cannot be started: {}", reason(&error));
                self.herald.tell_failed(number, why);
                return false;
            }
        }
        true
    }

    /// A thread is over, and has said all.
    fn handle_over(&mut self, over: Over) {
        if let Some(thread) = self.threads.get_mut(over.place).and_then(Option::take) {
            // One that failed has said so on stderr.
            thread.join().ok();
        }
        if let Some((order, addresses)) = over.resolved {
            self.resolving -= 1;
            self.datagrams.ask(self.poll.registry(), order, addresses, &self.herald);
            self.resolve_next();
        }
    }
}

#[cfg(test)]
mod tests;
