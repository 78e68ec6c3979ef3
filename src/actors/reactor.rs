//! The reactor: one thread that blocks in `mio::Poll` and drives the nodes of the ring, one for each
//! family of addresses.
//!
//! It waits for nobody: a datagram that a socket does not take is lost, as datagrams are, and news
//! for which main's channel has no room are kept for the next turn, a bounded number of them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use crate::actors::clock::{ring_now as now, ring_wait};
use crate::bus::ToChord;
use crate::machines::chord::{News, Node, Settings};
use crate::words::address::fold;
use crate::words::limits;
use crate::words::limits::ring;

/// The token of the waker; a socket's is its place among the nodes.
const WAKE: Token = Token(usize::MAX);

/// Main's end of the reactor: dropped, it ends the thread and joins it.
#[derive(Debug)]
pub(crate) struct ReactorHandle {
    /// `None` only while it is dropped.
    orders: Option<Sender<ToChord>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl ReactorHandle {
    /// Starts the thread, with a node of the ring on each of `sockets`. All their chance comes from
    /// `seed`.
    ///
    /// # Errors
    /// If the system gives no more descriptors or threads.
    pub(crate) fn start<T: Send + 'static>(
        sockets: Vec<std::net::UdpSocket>,
        settings: &Settings,
        seed: u64,
        outlet: Outlet<T>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut posts = Vec::new();
        for (place, socket) in (0..).zip(sockets) {
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            let mut socket = UdpSocket::from_std(socket);
            poll.registry().register(&mut socket, Token(place), Interest::READABLE)?;
            let seed = seed.wrapping_add(place as u64);
            let node = Node::new(settings.clone(), address, seed, now());
            posts.push(Post { node, socket, readable: true, left: false });
        }
        let known_at = now() + ring::REMEMBER_EVERY;
        let (orders, from_main) = bounded(ring::ORDERS_MAX);
        let reactor = Reactor {
            posts,
            poll,
            from_main,
            outlet,
            news: VecDeque::new(),
            known_at,
            left: false,
        };
        let thread = Builder::new()
            .name("chord".into())
            .stack_size(limits::REACTOR_STACK)
            .spawn(move || reactor.run())?;
        Ok(Self { orders: Some(orders), waker, thread: Some(thread) })
    }

    /// Gives an order without waiting; hands it back if there is no room for it.
    pub(crate) fn give(&self, order: ToChord) -> Result<(), ToChord> {
        let Some(orders) = &self.orders else { return Err(order) };
        orders.try_send(order).map_err(TrySendError::into_inner)?;
        // Were it not woken, it would still see the order at its node's next deadline.
        self.waker.wake().ok();
        Ok(())
    }
}

impl Drop for ReactorHandle {
    fn drop(&mut self) {
        self.orders = None;
        let woken = self.waker.wake();
        if let (Ok(()), Some(thread)) = (woken, self.thread.take()) {
            // A reactor that failed has said so on stderr.
            thread.join().ok();
        }
    }
}

/// Who hears the news, and in which words; `None`: it is nothing to them.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    pub(crate) news: Sender<T>,
    pub(crate) words: fn(News) -> Option<T>,
    /// The same for nodes to be remembered for the next start.
    pub(crate) known: fn(Vec<SocketAddr>) -> Option<T>,
}

/// A node and its socket.
#[derive(Debug)]
struct Post {
    node: Node,
    socket: UdpSocket,
    /// There may be datagrams that were not read: the poll tells it only once.
    readable: bool,
    left: bool,
}

struct Reactor<T> {
    posts: Vec<Post>,
    poll: Poll,
    from_main: Receiver<ToChord>,
    outlet: Outlet<T>,
    /// What the outlet has had no room for.
    news: VecDeque<T>,
    /// When to tell again which nodes are worth being remembered.
    known_at: Instant,
    left: bool,
}

impl<T> Reactor<T> {
    /// Works until main drops its end.
    fn run(mut self) {
        let mut events = Events::with_capacity(ring::EVENTS);
        loop {
            if let Err(error) = self.poll.poll(&mut events, self.patience().map(ring_wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Nothing of ours is wrong with the poll; to ask it at once again would spin.
                crossbeam_channel::after(ring::BACK_OFF).recv().ok();
            }
            for event in &events {
                if let Some(post) = self.posts.get_mut(event.token().0) {
                    post.readable = true;
                }
            }
            if !self.take_orders() {
                return;
            }
            for post in &mut self.posts {
                post.turn();
            }
            if self.known_at <= now() {
                self.tell_known();
            }
            self.tell();
        }
    }

    /// Tells which nodes are worth being remembered.
    fn tell_known(&mut self) {
        self.known_at = now() + ring::REMEMBER_EVERY;
        let share = ring::ENTRY_POINTS_MAX / self.posts.len().max(1);
        let of_each = self.posts.iter().map(|post| post.node.contacts());
        let known = of_each.flat_map(|contacts| contacts.into_iter().take(share)).collect();
        self.news.extend((self.outlet.known)(known));
    }

    /// How long nothing has to be done: until a node's next deadline.
    fn patience(&self) -> Option<Duration> {
        let now = now();
        let again = (!self.news.is_empty()).then_some(ring::BACK_OFF);
        let known = self.known_at.saturating_duration_since(now);
        let nodes = self.posts.iter().filter_map(|post| post.patience(now));
        nodes.chain(again).chain([known]).min()
    }

    /// Tells what the nodes have found out, as far as there is room.
    fn tell(&mut self) {
        for post in &mut self.posts {
            while let Some(news) = post.node.poll_news() {
                // The last word is said when every node has said it.
                post.left |= news == News::Left;
                if news != News::Left {
                    self.news.extend((self.outlet.words)(news));
                }
            }
        }
        if !self.left && self.posts.iter().all(|post| post.left) {
            self.left = true;
            self.news.extend((self.outlet.words)(News::Left));
        }
        // Who does not keep up misses the oldest, which the next lookup finds again.
        let excess = self.news.len().saturating_sub(ring::NEWS_KEPT);
        self.news.drain(..excess);
        while let Some(news) = self.news.pop_front() {
            match self.outlet.news.try_send(news) {
                Ok(()) => {}
                Err(TrySendError::Full(news)) => return self.news.push_front(news),
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }

    /// Carries out main's orders, a bounded number of them; `false` if main is gone.
    fn take_orders(&mut self) -> bool {
        for _ in 0..ring::ORDERS_MAX {
            match self.from_main.try_recv() {
                Ok(order) => {
                    if order == ToChord::Leave {
                        self.tell_known();
                    }
                    self.posts.iter_mut().for_each(|post| post.carry_out(&order));
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }
}

impl Post {
    fn patience(&self, now: Instant) -> Option<Duration> {
        if self.readable {
            return Some(Duration::ZERO);
        }
        self.node.poll_deadline().map(|due| due.saturating_duration_since(now))
    }

    fn carry_out(&mut self, order: &ToChord) {
        let now = now();
        match order {
            ToChord::Join(addresses) => {
                let ours = self.socket.local_addr().is_ok_and(|ours| ours.is_ipv4());
                let same = addresses.iter().filter(|address| address.is_ipv4() == ours);
                let same: Vec<SocketAddr> = same.copied().collect();
                for address in &same {
                    if let Some(own) = own_address_towards(*address, &self.socket) {
                        self.node.add_own_address(own);
                    }
                }
                self.node.join(now, &same);
            }
            ToChord::Lookup(info_hash) => self.node.lookup(now, *info_hash),
            ToChord::Announce { info_hash, port, seeder } => {
                self.node.announce(now, *info_hash, *port, *seeder);
            }
            ToChord::Withdraw(info_hash) => self.node.withdraw(now, *info_hash),
            ToChord::Walk => self.node.walk(now),
            ToChord::Leave => self.node.leave(now),
        }
    }

    /// Reads what has come, a bounded number of datagrams, does what is due, and sends what follows
    /// from it.
    fn turn(&mut self) {
        self.read();
        let now = now();
        if self.node.poll_deadline().is_some_and(|due| due <= now) {
            self.node.handle_time(now);
        }
        self.send();
    }

    fn read(&mut self) {
        let mut buffer = [0; ring::DATAGRAM_LEN_READ];
        for _ in 0..ring::DATAGRAMS_A_TURN {
            if !self.readable {
                return;
            }
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => self.node.handle_datagram(now(), fold(from), &buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                // An ICMP answer to what was sent before; the datagrams behind it are unharmed.
                Err(_) => {}
            }
        }
    }

    fn send(&mut self) {
        while let Some(transmit) = self.node.poll_transmit() {
            // What the socket does not take now is lost, as on the way; who asked asks again.
            if transmit.aside {
                self.send_aside(&transmit.bytes, transmit.to).ok();
            } else {
                self.socket.send_to(&transmit.bytes, transmit.to).ok();
            }
        }
    }

    /// Sends from any other port of the same address.
    fn send_aside(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let from = SocketAddr::new(self.socket.local_addr()?.ip(), 0);
        let socket = std::net::UdpSocket::bind(from)?;
        socket.set_nonblocking(true)?;
        socket.send_to(bytes, to).map(drop)
    }
}

/// The address under which `to` would see datagrams of `socket`, were there no router between that
/// changes it: that of the interface by which they leave. Nothing is sent.
fn own_address_towards(to: SocketAddr, socket: &UdpSocket) -> Option<SocketAddr> {
    let port = socket.local_addr().ok()?.port();
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let probe = std::net::UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    probe.connect(to).ok()?;
    Some(SocketAddr::new(probe.local_addr().ok()?.ip(), port))
}

/// Binds UDP to the port at which `tcp` listens: of a wildcard of IPv6, one socket for each family,
/// since answers must leave by the address that they were asked at.
///
/// # Errors
/// If the port is taken, or the system refuses.
pub(crate) fn bind(tcp: SocketAddr) -> io::Result<Vec<std::net::UdpSocket>> {
    let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), tcp.port());
    if tcp.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        Ok(vec![bind_one(v4)?, bind_one(tcp)?])
    } else {
        Ok(vec![bind_one(tcp)?])
    }
}

fn bind_one(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests;
