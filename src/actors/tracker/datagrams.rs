//! UDP trackers on sockets of their own, driven by their machine.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

use super::Herald;
use crate::actors::clock::now;
use crate::bus::trackers::{ToTracker, TrackerFailure, TrackerNews};
use crate::formats::announce::udp::Question;
use crate::formats::announce::{Answer, Refusal};
use crate::machines::udp_trackers::{News, UdpTrackers, answer_of};
use crate::words::address::fold;
use crate::words::limits::trackers as limits;

/// The sockets of both families, bound when the first tracker needs them.
pub(super) struct Datagrams {
    leave_from: Option<IpAddr>,
    sockets: Vec<UdpSocket>,
    bound: bool,
    trackers: UdpTrackers,
    asked: BTreeMap<u64, Asked>,
}

/// An announce that is under way.
struct Asked {
    order: Box<ToTracker>,
    outcome: Option<Result<Answer, Refusal>>,
}

impl Datagrams {
    /// Without sockets yet. All chance comes from `seed`.
    pub(super) fn new(leave_from: Option<IpAddr>, seed: u64) -> Self {
        let (sockets, asked) = (Vec::new(), BTreeMap::new());
        Self { leave_from, sockets, bound: false, trackers: UdpTrackers::new(seed), asked }
    }

    /// How long nothing has to be done.
    pub(super) fn patience(&self) -> Option<Duration> {
        let due = self.trackers.poll_deadline();
        due.map(|due| due.saturating_duration_since(now()))
    }

    /// Announces to a tracker that has these addresses.
    pub(super) fn ask(
        &mut self,
        registry: &Registry,
        order: Box<ToTracker>,
        addresses: Result<Vec<SocketAddr>, String>,
        herald: &Herald,
    ) {
        let addresses = match addresses {
            Ok(addresses) => addresses,
            Err(why) => return herald.tell_failed(order.number, why),
        };
        if !self.bound
            && let Err(error) = self.bind(registry)
        {
            let why = format!("its socket cannot be bound: {error}");
            return herald.tell_failed(order.number, why);
        }
        let url = match order.tracker.url.target.as_str() {
            "/" => Vec::new(),
            target => target.as_bytes().to_vec(),
        };
        let question = Question::Announce(Box::new(order.announce.clone()), url);
        let number = order.number.0;
        let of_use = |to: &SocketAddr| self.socket_of(to.ip()).is_some();
        let addresses: Vec<SocketAddr> = addresses.into_iter().filter(of_use).collect();
        self.asked.insert(number, Asked { order, outcome: None });
        self.trackers.ask(now(), number, &addresses, &question);
    }

    /// Binds a socket of each family, or of that of the address to leave from. A host may have one
    /// family only.
    fn bind(&mut self, registry: &Registry) -> io::Result<()> {
        let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let addresses = self.leave_from.map_or_else(|| all.to_vec(), |ip| vec![ip]);
        let mut failed = None;
        for (place, ip) in addresses.into_iter().enumerate() {
            match UdpSocket::bind(SocketAddr::new(ip, 0)) {
                Ok(mut socket) => {
                    registry.register(&mut socket, Token(place), Interest::READABLE)?;
                    self.sockets.push(socket);
                }
                Err(error) => failed = Some(error),
            }
        }
        self.bound = !self.sockets.is_empty();
        match failed {
            Some(error) if !self.bound => Err(error),
            _ => Ok(()),
        }
    }

    fn socket_of(&self, to: IpAddr) -> Option<&UdpSocket> {
        let fits = |socket: &&UdpSocket| {
            socket.local_addr().is_ok_and(|local| local.is_ipv4() == to.is_ipv4())
        };
        self.sockets.iter().find(fits)
    }

    /// Reads what has come, does what is due, sends and tells what follows from it.
    pub(super) fn turn(&mut self, herald: &Herald) {
        self.read();
        self.trackers.handle_time(now());
        while let Some(transmit) = self.trackers.poll_transmit() {
            // What a socket does not take is lost, as on the way; it is sent again.
            if let Some(socket) = self.socket_of(transmit.to.ip()) {
                socket.send_to(&transmit.bytes, transmit.to).ok();
            }
        }
        while let Some(news) = self.trackers.poll_news() {
            self.tell(news, herald);
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; limits::DATAGRAM_LEN_MAX];
        for socket in &self.sockets {
            // Until there is no more, since the poll tells it only once. Whoever floods us holds up
            // nobody else but trackers.
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((len, from)) => {
                        self.trackers.handle_datagram(now(), fold(from), &buffer[..len]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // An ICMP answer to what was sent before; the datagrams behind it are unharmed.
                    Err(_) => {}
                }
            }
        }
    }

    fn tell(&mut self, news: News, herald: &Herald) {
        match news {
            News::Replied(number, theirs, reply) => {
                let Some(asked) = self.asked.get_mut(&number) else { return };
                let outcome = answer_of(reply);
                if let Ok(answer) = &outcome {
                    herald.tell_of_peers(&asked.order, answer, own_address(theirs), theirs);
                }
                // One answer is enough, and better than a refusal.
                if !matches!(asked.outcome, Some(Ok(_))) {
                    asked.outcome = Some(outcome);
                }
            }
            News::Over(number, outcome) => {
                let Some(Asked { order, outcome: replied }) = self.asked.remove(&number) else {
                    return;
                };
                let number = order.number;
                herald.tell(match (replied, outcome) {
                    (Some(Ok(answer)), _) => TrackerNews::Answered(number, Box::new(answer)),
                    (Some(Err(refusal)), _) => {
                        TrackerNews::Failed(number, TrackerFailure::Refused(refusal))
                    }
                    (None, outcome) => {
                        let why = outcome.err().unwrap_or_default();
                        TrackerNews::Failed(number, TrackerFailure::Unreachable(why))
                    }
                });
            }
        }
    }
}

/// The address of ours from which datagrams to `to` leave. Nothing is sent.
fn own_address(to: IpAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = std::net::UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    // Any port will do.
    probe.connect(SocketAddr::new(to, 9)).ok()?;
    probe.local_addr().ok().map(|local| local.ip())
}
