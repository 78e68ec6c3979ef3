//! The reactor: one thread that blocks in `mio::Poll` and drives what lives on datagrams: the nodes of
//! the ring, one for each family of addresses, the node of Mainline, which serves both, and what is said
//! and heard in the local network, which has sockets of its own.
//!
//! Ring and Mainline share the port at which we listen; a datagram of the ring says so. Whichever of
//! them is turned off has no node here, and there is no reactor where nothing is on.
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
use crate::actors::lan::{self as actors_lan, LanSockets, Mouths};
use crate::bus::{Neighbour, ToChord, ToLan, ToMainline};
use crate::formats::krpc;
use crate::formats::mainline::Want;
use crate::formats::remembered::Remembered;
use crate::machines::{chord, kademlia, lan};
use crate::words::address::fold;
use crate::words::limits;
use crate::words::limits::ring;

/// The token of the waker; a socket's is its place among the posts.
const WAKE: Token = Token(usize::MAX);

/// Main's end of the reactor: dropped, it ends the thread and joins it.
#[derive(Debug)]
pub(crate) struct ReactorHandle {
    /// `None` only while it is dropped.
    orders: Option<Sender<ToReactor>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// What the reactor drives.
#[derive(Debug, Default)]
pub(crate) struct Driven {
    /// The sockets at our port, one for each family of addresses.
    pub(crate) sockets: Vec<std::net::UdpSocket>,
    /// A node of the ring on each of them.
    pub(crate) chord: Option<chord::Settings>,
    /// A node of Mainline on all of them; its families are those of the sockets.
    pub(crate) mainline: Option<kademlia::Settings>,
    /// What is said in the local network.
    pub(crate) lan: Option<lan::Settings>,
    /// The one address that connections are taken at, if the user named one: only its network is
    /// spoken to.
    pub(crate) address: Option<IpAddr>,
    /// From this comes all chance, though no secret.
    pub(crate) seed: u64,
}

/// An order, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ToReactor {
    Chord(ToChord),
    Mainline(ToMainline),
    Lan(ToLan),
}

/// What the reactor has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Chord(chord::News),
    /// Nodes of the ring that are worth being remembered for the next start.
    ChordKnown(Vec<SocketAddr>),
    Mainline(kademlia::News),
    /// What is worth it of Mainline.
    MainlineKnown(Remembered),
    /// The node of Mainline has nothing more to say.
    MainlineLeft,
    Lan(Neighbour),
}

/// Who hears what is found, and in which words; `None`: it is nothing to them.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    pub(crate) news: Sender<T>,
    pub(crate) words: fn(Finding) -> Option<T>,
}

impl ReactorHandle {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no more descriptors or threads.
    pub(crate) fn start<T: Send + 'static>(driven: Driven, outlet: Outlet<T>) -> io::Result<Self> {
        let Driven { sockets, chord, mainline, lan, address, seed } = driven;
        let own_posts = sockets.len();
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (mut posts, mut rings, mut families) = (Vec::new(), Vec::new(), Want::default());
        let mut register = |socket: std::net::UdpSocket| {
            socket.set_nonblocking(true)?;
            let (address, mut socket) = (socket.local_addr()?, UdpSocket::from_std(socket));
            let token = Token(posts.len());
            poll.registry().register(&mut socket, token, Interest::READABLE)?;
            posts.push(Post { socket, is_v4: address.is_ipv4(), readable: true });
            io::Result::Ok(address)
        };
        for (place, socket) in (0..).zip(sockets) {
            let address = register(socket)?;
            families.v4 |= address.is_ipv4();
            families.v6 |= address.is_ipv6();
            if let Some(settings) = &chord {
                let seed = seed.wrapping_add(place);
                let node = chord::Node::new(settings.clone(), address, seed, now());
                rings.push(Ring { node, look_at: now(), left: false });
            }
        }
        let mainline = mainline.map(|settings| {
            let settings = kademlia::Settings { families, ..settings };
            kademlia::Node::new(settings, seed.wrapping_sub(1), now())
        });
        let lan = match lan {
            Some(settings) => {
                let LanSockets { ears, mouths } = actors_lan::open(address);
                for ear in ears {
                    register(ear)?;
                }
                let machine = lan::Lan::new(settings, seed.wrapping_sub(2), now());
                Some(Local { machine, mouths })
            }
            None => None,
        };
        let known_at = now() + ring::REMEMBER_EVERY;
        let (orders, from_main) = bounded(ring::ORDERS_MAX);
        let reactor = Reactor {
            posts,
            rings,
            mainline,
            lan,
            own_posts,
            poll,
            from_main,
            outlet,
            news: VecDeque::new(),
            known_at,
            left: false,
        };
        let thread = Builder::new()
            .name("reactor".into())
            .stack_size(limits::stacks::REACTOR)
            .spawn(move || reactor.run())?;
        Ok(Self { orders: Some(orders), waker, thread: Some(thread) })
    }

    /// Gives an order without waiting; hands it back if there is no room for it.
    pub(crate) fn give(&self, order: ToReactor) -> Result<(), ToReactor> {
        let Some(orders) = &self.orders else { return Err(order) };
        orders.try_send(order).map_err(TrySendError::into_inner)?;
        // Were it not woken, it would still see the order at its next deadline.
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

/// A socket.
#[derive(Debug)]
struct Post {
    socket: UdpSocket,
    is_v4: bool,
    /// There may be datagrams that were not read: the poll tells it only once.
    readable: bool,
}

/// A node of the ring, on the post of the same place.
#[derive(Debug)]
struct Ring {
    node: chord::Node,
    /// Before this it is not asked again whether this host has moved.
    look_at: Instant,
    left: bool,
}

/// What is said in the local network, and whereby.
#[derive(Debug)]
struct Local {
    machine: lan::Lan,
    mouths: Mouths,
}

struct Reactor<T> {
    /// Those at our port, and then those that hear the local network.
    posts: Vec<Post>,
    own_posts: usize,
    /// One for each post at our port, or none at all.
    rings: Vec<Ring>,
    mainline: Option<kademlia::Node>,
    lan: Option<Local>,
    poll: Poll,
    from_main: Receiver<ToReactor>,
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
            (0..self.posts.len()).for_each(|place| self.read(place));
            self.rings.iter_mut().for_each(Ring::look_for_move);
            self.handle_time();
            self.send();
            if self.known_at <= now() {
                self.known_at = now() + ring::REMEMBER_EVERY;
                self.tell_known_of_ring();
                self.tell_known_of_mainline();
            }
            self.tell();
        }
    }

    /// How long nothing has to be done: until a node's next deadline.
    fn patience(&self) -> Option<Duration> {
        if self.posts.iter().any(|post| post.readable) {
            return Some(Duration::ZERO);
        }
        let now = now();
        let again = (!self.news.is_empty()).then_some(now + ring::BACK_OFF);
        let rings = self.rings.iter().filter_map(|ring| ring.node.poll_deadline());
        let mainline = self.mainline.iter().map(kademlia::Node::poll_deadline);
        let lan = self.lan.iter().filter_map(|lan| lan.machine.poll_deadline());
        let due = rings.chain(mainline).chain(lan).chain(again).chain([self.known_at]).min();
        due.map(|due| due.saturating_duration_since(now))
    }

    // -------------------------------------------------------------------------- What comes in ---

    /// Carries out main's orders, a bounded number of them; `false` if main is gone.
    fn take_orders(&mut self) -> bool {
        for _ in 0..ring::ORDERS_MAX {
            match self.from_main.try_recv() {
                Ok(ToReactor::Chord(order)) => {
                    if order == ToChord::Leave {
                        self.tell_known_of_ring();
                    }
                    for (ring, post) in self.rings.iter_mut().zip(&self.posts) {
                        ring.carry_out(post, &order);
                    }
                }
                Ok(ToReactor::Mainline(order)) => self.carry_out(order),
                Ok(ToReactor::Lan(order)) => {
                    let Some(Local { machine, .. }) = &mut self.lan else { continue };
                    match order {
                        ToLan::Announce(info_hash) => machine.announce(now(), info_hash),
                        ToLan::Withdraw(info_hash) => machine.withdraw(info_hash),
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn carry_out(&mut self, order: ToMainline) {
        let now = now();
        let Some(node) = &mut self.mainline else { return };
        match order {
            ToMainline::Join(addresses) => node.join(now, &addresses),
            ToMainline::Meet(address) => node.hear_of(now, address),
            // Whom there is no room for is tried again when the engine looks next.
            ToMainline::Lookup(info_hash) => {
                node.lookup(now, info_hash);
            }
            ToMainline::Announce { info_hash, port } => {
                node.announce(now, info_hash, Some(port));
            }
            ToMainline::Withdraw(info_hash) => node.withdraw(info_hash),
            ToMainline::Leave => {
                self.tell_known_of_mainline();
                self.mainline = None;
                self.say(Finding::MainlineLeft);
            }
        }
    }

    /// Reads what has come to a post, a bounded number of datagrams.
    fn read(&mut self, place: usize) {
        let mut buffer = [0; ring::DATAGRAM_LEN_READ];
        let post = &mut self.posts[place];
        for _ in 0..ring::DATAGRAMS_A_TURN {
            if !post.readable {
                return;
            }
            match post.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    let (bytes, from) = (&buffer[..len], fold(from));
                    if place >= self.own_posts {
                        if let Some(Local { machine, .. }) = &mut self.lan {
                            machine.handle_datagram(now(), from, bytes);
                        }
                    } else if !krpc::is_ours(bytes) {
                        if let Some(node) = &mut self.mainline {
                            node.handle_datagram(now(), from, bytes);
                        }
                    } else if let Some(ring) = self.rings.get_mut(place) {
                        ring.node.handle_datagram(now(), from, bytes);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => post.readable = false,
                // An ICMP answer to what was sent before; the datagrams behind it are unharmed.
                Err(_) => {}
            }
        }
    }

    /// Does what is due.
    fn handle_time(&mut self) {
        let now = now();
        for Ring { node, .. } in &mut self.rings {
            if node.poll_deadline().is_some_and(|due| due <= now) {
                node.handle_time(now);
            }
        }
        if let Some(node) = self.mainline.as_mut().filter(|node| node.poll_deadline() <= now) {
            node.handle_time(now);
        }
        if let Some(Local { machine, .. }) = &mut self.lan {
            machine.handle_time(now);
        }
    }

    // ------------------------------------------------------------------------- What goes out ---

    /// Sends what followed from it. What a socket does not take now is lost, as on the way; who asked
    /// asks again.
    fn send(&mut self) {
        for (ring, post) in self.rings.iter_mut().zip(&self.posts) {
            while let Some(transmit) = ring.node.poll_transmit() {
                if transmit.aside {
                    post.send_aside(&transmit.bytes, transmit.to).ok();
                } else {
                    post.socket.send_to(&transmit.bytes, transmit.to).ok();
                }
            }
        }
        if let Some(Local { machine, mouths }) = &mut self.lan {
            while let Some(announcement) = machine.poll_announcement() {
                mouths.say(&announcement);
            }
        }
        let Some(node) = &mut self.mainline else { return };
        while let Some(transmit) = node.poll_transmit() {
            let own = &self.posts[..self.own_posts];
            let post = own.iter().find(|post| post.is_v4 == transmit.to.is_ipv4());
            if let Some(post) = post {
                post.socket.send_to(&transmit.bytes, transmit.to).ok();
            }
        }
    }

    /// Tells which nodes of the ring are worth being remembered.
    fn tell_known_of_ring(&mut self) {
        let share = ring::ENTRY_POINTS_MAX / self.rings.len().max(1);
        let of_each = self.rings.iter().map(|ring| ring.node.contacts());
        let known = of_each.flat_map(|contacts| contacts.into_iter().take(share)).collect();
        self.say(Finding::ChordKnown(known));
    }

    /// The same of Mainline: half of them of each family, where there are two.
    fn tell_known_of_mainline(&mut self) {
        let Some(node) = &self.mainline else { return };
        let share = ring::ENTRY_POINTS_MAX / self.own_posts.max(1);
        let of = |is_v4: bool| {
            let contacts = node.contacts().map(|contact| contact.address);
            contacts.filter(move |address| address.is_ipv4() == is_v4).take(share)
        };
        let nodes = of(true).chain(of(false)).collect();
        let ids = [node.id(false), node.id(true)];
        self.say(Finding::MainlineKnown(Remembered { ids, nodes }));
    }

    /// Who does not keep up misses peers, which the next lookup finds again, and of the rest the oldest.
    fn say(&mut self, finding: Finding) {
        if self.news.len() >= ring::NEWS_KEPT {
            self.tell_on();
        }
        let comes_again = matches!(
            finding,
            Finding::Chord(chord::News::Found(..))
                | Finding::Mainline(kademlia::News::Found(..))
                | Finding::Lan(_)
        );
        if comes_again && self.news.len() >= ring::NEWS_KEPT {
            return;
        }
        if self.news.len() >= 2 * ring::NEWS_KEPT {
            self.news.pop_front();
        }
        self.news.extend((self.outlet.words)(finding));
    }

    /// Tells what the nodes have found out, as far as there is room.
    fn tell(&mut self) {
        for place in 0..self.rings.len() {
            while let Some(news) = self.rings[place].node.poll_news() {
                // The last word is said when every node has said it.
                if news == chord::News::Left {
                    self.rings[place].left = true;
                } else {
                    self.say(Finding::Chord(news));
                }
            }
        }
        if !self.left && !self.rings.is_empty() && self.rings.iter().all(|ring| ring.left) {
            self.left = true;
            self.say(Finding::Chord(chord::News::Left));
        }
        while let Some(news) = self.mainline.as_mut().and_then(kademlia::Node::poll_news) {
            if matches!(news, kademlia::News::Joined | kademlia::News::Address(_)) {
                self.known_at = self.known_at.min(now() + ring::REMEMBER_SOON);
            }
            self.say(Finding::Mainline(news));
        }
        while let Some(news) = self.lan.as_mut().and_then(|lan| lan.machine.poll_news()) {
            self.say(Finding::Lan(news));
        }
        self.tell_on();
    }

    fn tell_on(&mut self) {
        while let Some(news) = self.news.pop_front() {
            match self.outlet.news.try_send(news) {
                Ok(()) => {}
                Err(TrySendError::Full(news)) => return self.news.push_front(news),
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }
}

impl Post {
    /// Sends from any other port of the same address.
    fn send_aside(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let from = SocketAddr::new(self.socket.local_addr()?.ip(), 0);
        let socket = std::net::UdpSocket::bind(from)?;
        socket.set_nonblocking(true)?;
        socket.send_to(bytes, to).map(drop)
    }
}

impl Ring {
    /// Others see the node at another address than before: if this host has lost the one and has the
    /// other, it has moved, and need not wait for what the majority will say.
    fn look_for_move(&mut self) {
        let now = now();
        if let Some(seen) = self.node.seen_at()
            && now >= self.look_at
        {
            self.look_at = now + ring::STABILISE_MIN;
            let before = self.node.me().address;
            let is_lost = seen == before || !is_of_this_host(before.ip());
            if is_lost && is_of_this_host(seen.ip()) {
                self.node.move_here(now, seen);
            }
        }
    }

    fn carry_out(&mut self, post: &Post, order: &ToChord) {
        let now = now();
        match order {
            ToChord::Join(addresses) => {
                let same = addresses.iter().filter(|address| address.is_ipv4() == post.is_v4);
                let same: Vec<SocketAddr> = same.copied().collect();
                for address in &same {
                    if let Some(own) = own_address_towards(*address, &post.socket) {
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

/// Whether an interface of this host has the address, or it is a wildcard.
fn is_of_this_host(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
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
