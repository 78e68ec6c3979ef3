//! The thread of a tracker: it blocks in `mio::Poll`, and moves bytes between its sockets and the
//! machine that answers.
//!
//! One request a connection, and a deadline for it, so that whoever sends slowly holds a place for a
//! short time only; when every place is taken, the oldest connection makes room.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::actors::clock::now;
use crate::actors::listener;
use crate::formats::http;
use crate::machines::tracker::{Page, Tracker};
use crate::words::address::{ListenAddress, fold};
use crate::words::limits::trackers as limits;

const WAKE: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);

/// A tracker that listens and does not answer yet.
#[derive(Debug)]
pub(crate) struct TrackerServer {
    poll: Poll,
    /// Its stopper wakes the poll and is gone at once, and a waker that is gone wakes nobody.
    _waker: Arc<Waker>,
    listener: TcpListener,
    sockets: Vec<UdpSocket>,
    tracker: Tracker,
    stopped: Receiver<()>,
    address: SocketAddr,
    connections: BTreeMap<usize, Connection>,
    /// The number of the next connection; those of sockets are below.
    next: usize,
    /// Until then nothing is accepted, since there are no descriptors.
    pause: Option<Instant>,
}

/// Ends a tracker when it is dropped.
#[derive(Debug)]
pub(crate) struct Stopper {
    running: Option<Sender<()>>,
    waker: Arc<Waker>,
}

impl Drop for Stopper {
    fn drop(&mut self) {
        self.running = None;
        self.waker.wake().ok();
    }
}

/// One request.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    from: IpAddr,
    until: Instant,
    held: Vec<u8>,
    /// What is left of the answer.
    answer: Option<Vec<u8>>,
    /// The request was not read to its end, so what still comes must be, or the answer is lost with
    /// the connection.
    drain: bool,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    On,
    Over,
}

impl TrackerServer {
    /// Listens for HTTP and UDP on the first free port of `listen`. Nobody may know the `secret`.
    ///
    /// # Errors
    /// If the port is taken, or the system gives no descriptors.
    pub(crate) fn open(
        listen: &ListenAddress,
        interval: Duration,
        secret: [u8; 20],
    ) -> io::Result<(Self, Stopper)> {
        let (tcp, udp) = listener::bind(listen, true)?;
        let address = tcp.local_addr()?;
        tcp.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut listener = TcpListener::from_std(tcp);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let mut sockets = Vec::new();
        for (place, socket) in udp.into_iter().enumerate() {
            socket.set_nonblocking(true)?;
            let mut socket = UdpSocket::from_std(socket);
            poll.registry().register(&mut socket, Token(place), Interest::READABLE)?;
            sockets.push(socket);
        }
        let (running, stopped) = bounded(0);
        let next = sockets.len();
        let tracker = Tracker::new(interval, secret, now());
        let (connections, pause) = (BTreeMap::new(), None);
        let server = Self {
            poll,
            _waker: Arc::clone(&waker),
            listener,
            sockets,
            tracker,
            stopped,
            address,
            connections,
            next,
            pause,
        };
        Ok((server, Stopper { running: Some(running), waker }))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until its stopper is dropped: the tracker as it is then.
    pub(crate) fn run(mut self) -> Tracker {
        let mut events = Events::with_capacity(limits::SERVER_EVENTS);
        while self.stopped.try_recv() != Err(TryRecvError::Disconnected) {
            if let Err(error) = self.poll.poll(&mut events, self.patience())
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Nothing of ours is wrong with the poll; to ask it at once again would spin.
                crossbeam_channel::after(limits::BACK_OFF).recv().ok();
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    LISTENER => self.accept_all(),
                    Token(place) if place < self.sockets.len() => self.answer_datagrams(place),
                    Token(number) => self.go_on(number),
                }
            }
            if self.pause.is_some_and(|until| until <= now()) {
                self.accept_all();
            }
            self.tracker.handle_time(now());
            self.end_overdue();
        }
        self.tracker
    }

    /// How long nothing has to be done.
    fn patience(&self) -> Option<Duration> {
        // Connections are numbered in the order in which they came, and all have the same time.
        let first = self.connections.first_key_value().map(|(_, connection)| connection.until);
        let due = [first, self.pause, self.tracker.poll_deadline()].into_iter().flatten().min();
        due.map(|due| due.saturating_duration_since(now()))
    }

    fn answer_datagrams(&mut self, place: usize) {
        let mut buffer = [0; limits::DATAGRAM_LEN_MAX];
        let socket = &self.sockets[place];
        // Until there is no more, since the poll tells it only once.
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    let answer = self.tracker.handle_datagram(now(), fold(from), &buffer[..len]);
                    if let Some(answer) = answer {
                        // What the socket does not take is lost, as on the way.
                        socket.send_to(&answer, from).ok();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An ICMP answer to what was sent before; the datagrams behind it are unharmed.
                Err(_) => {}
            }
        }
    }

    fn accept_all(&mut self) {
        self.pause = None;
        loop {
            match self.listener.accept() {
                Ok((stream, from)) => self.take(stream, fold(from).ip()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // Without descriptors `accept` fails at once, again and again.
                    self.pause = Some(now() + limits::BACK_OFF);
                    return;
                }
            }
        }
    }

    fn take(&mut self, mut stream: TcpStream, from: IpAddr) {
        let number = self.next;
        self.next += 1;
        if self.connections.len() >= limits::CONNECTIONS_MAX {
            self.connections.pop_first();
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(number), interest).is_ok() {
            let until = now() + limits::REQUEST_TIMEOUT;
            let held = Vec::new();
            let connection = Connection { stream, from, until, held, answer: None, drain: false };
            self.connections.insert(number, connection);
        }
    }

    /// Something may be read from, or written to, a connection.
    fn go_on(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.go_on(&mut self.tracker) == Going::Over {
            self.connections.remove(&number);
        }
    }

    fn end_overdue(&mut self) {
        let now = now();
        while self.connections.first_entry().is_some_and(|first| first.get().until <= now) {
            self.connections.pop_first();
        }
    }
}

impl Connection {
    fn go_on(&mut self, tracker: &mut Tracker) -> Going {
        if self.answer.is_none() && self.read(tracker) == Going::Over {
            return Going::Over;
        }
        if self.write() == Going::On {
            return Going::On;
        }
        if self.drain { self.read_the_rest() } else { Going::Over }
    }

    /// Reads the request; once it is whole, or never will be, there is an answer.
    fn read(&mut self, tracker: &mut Tracker) -> Going {
        let mut buffer = [0; limits::REQUEST_LEN_MAX];
        loop {
            let len = match self.stream.read(&mut buffer) {
                Ok(0) => return Going::Over,
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Going::On,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Going::Over,
            };
            self.held.extend_from_slice(&buffer[..len]);
            let page = match http::target(&self.held) {
                Ok(None) => continue,
                Ok(Some(target)) => tracker.handle_request(now(), self.from, &target),
                Err(status) => {
                    self.drain = true;
                    Page { status, kind: "text/plain", body: Vec::new() }
                }
            };
            self.answer = Some(http::answer(page.status, page.kind, &page.body));
            self.held = Vec::new();
            return Going::On;
        }
    }

    /// Reads what nobody wants, until the other side has nothing more to say.
    fn read_the_rest(&mut self) -> Going {
        self.stream.shutdown(Shutdown::Write).ok();
        let mut buffer = [0; limits::REQUEST_LEN_MAX];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Going::Over,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Going::On,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Going::Over,
            }
        }
    }

    /// Writes what is left of the answer; it is over when nothing is.
    fn write(&mut self) -> Going {
        let Some(answer) = &mut self.answer else { return Going::On };
        loop {
            if answer.is_empty() {
                return Going::Over;
            }
            match self.stream.write(answer) {
                Ok(0) => return Going::Over,
                Ok(len) => drop(answer.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Going::On,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Going::Over,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as Client;
    use std::thread::Builder;

    use super::*;
    use crate::formats::announce::udp::{Question, Reply};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A tracker on loopback, until the stopper is dropped.
    fn start() -> (SocketAddr, Stopper) {
        let listen: ListenAddress = "127.0.0.1:0".parse().unwrap();
        let interval = Duration::from_secs(1800);
        let (server, stopper) = TrackerServer::open(&listen, interval, [1; 20]).unwrap();
        let address = server.address();
        Builder::new().name("server".into()).spawn(move || drop(server.run())).unwrap();
        (address, stopper)
    }

    /// What is answered to these bytes.
    fn answer_to(address: SocketAddr, request: &[u8]) -> String {
        let mut client = Client::connect(address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(request).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn requests_are_answered_whatever_they_are() {
        let (address, _stopper) = start();
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(2 * limits::REQUEST_LEN_MAX));
        let table = [
            ("GET /stats HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK"),
            ("GET /stats HTTP/1.0\r\n\r\n", "\"torrents\":0"),
            ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
            ("POST /announce HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
            ("\x16\x03\x01 garbage\r\n\r\n", "HTTP/1.1 400 Bad Request"),
            (&long, "HTTP/1.1 414 URI Too Long"),
        ];
        for (request, expected) in table {
            let answer = answer_to(address, request.as_bytes());
            assert!(answer.contains(expected), "{request}: {answer}");
        }
    }

    #[test]
    fn whoever_sends_nothing_makes_room_for_others() {
        let (address, _stopper) = start();
        let mut silent: Vec<Client> = Vec::new();
        for _ in 0..limits::CONNECTIONS_MAX + 8 {
            silent.push(Client::connect(address).unwrap());
        }
        let answer = answer_to(address, b"GET /stats HTTP/1.1\r\n\r\n");
        assert!(answer.contains("200 OK"), "{answer}");
        let mut first = &silent[0];
        first.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(first.read(&mut [0]).unwrap_or(0), 0, "the oldest is closed");
    }

    #[test]
    fn datagrams_come_at_the_same_port() {
        let (address, _stopper) = start();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"garbage", address).unwrap();
        client.send_to(&Question::Connect.encode(0, 5), address).unwrap();
        let mut buffer = [0; 100];
        let (len, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(from, address);
        let reply = Reply::parse(&buffer[..len], from.ip()).unwrap();
        assert!(matches!(reply, (5, Reply::Connected(_))), "{reply:?}");
    }
}
