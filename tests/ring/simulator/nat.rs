//! Home routers (RFC 4787): what they do to the addresses of datagrams, and which they let in.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How a router behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatKind {
    /// One outer port for all; whoever knows it gets in.
    FullCone,
    /// One outer port for all; those get in to whom something was sent before.
    Restricted,
    /// An outer port for each destination, which alone gets in.
    Symmetric,
}

/// A router forgets a port so long after the last datagram that left through it. RFC 4787 demands two
/// minutes; many have 30 s, most 60 and more.
const FORGETS_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Nat {
    kind: NatKind,
    next_port: u16,
    /// The outer port for a destination, or for all (`None`).
    ports: BTreeMap<Option<SocketAddr>, u16>,
    /// When something last left through a port.
    used: BTreeMap<u16, Duration>,
    /// When something last went from a port to a host.
    sent: BTreeMap<(u16, IpAddr), (Duration, SocketAddr)>,
}

impl Nat {
    pub(crate) fn new(kind: NatKind) -> Self {
        let (ports, used, sent) = Default::default();
        Self { kind, next_port: 20_000, ports, used, sent }
    }

    /// A datagram leaves for `to`. Gives the outer port from which it seems to come.
    pub(crate) fn leave(&mut self, now: Duration, to: SocketAddr) -> u16 {
        let key = (self.kind == NatKind::Symmetric).then_some(to);
        let open = self.ports.get(&key).copied().filter(|port| self.is_open(now, *port));
        let port = open.unwrap_or_else(|| {
            self.forget(now);
            self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
            self.ports.insert(key, self.next_port);
            self.next_port
        });
        self.used.insert(port, now);
        self.sent.insert((port, to.ip()), (now, to));
        port
    }

    /// Whether a datagram from `from` gets in through a port.
    pub(crate) fn admits(&self, now: Duration, from: SocketAddr, port: u16) -> bool {
        let fresh = |at: Duration| now.saturating_sub(at) < FORGETS_AFTER;
        let known = self.sent.get(&(port, from.ip())).filter(|(at, _)| fresh(*at));
        self.is_open(now, port)
            && match self.kind {
                NatKind::FullCone => true,
                NatKind::Restricted => known.is_some(),
                NatKind::Symmetric => known.is_some_and(|(_, to)| *to == from),
            }
    }

    fn is_open(&self, now: Duration, port: u16) -> bool {
        self.used.get(&port).is_some_and(|used| now.saturating_sub(*used) < FORGETS_AFTER)
    }

    fn forget(&mut self, now: Duration) {
        let used = &mut self.used;
        used.retain(|_, used| now.saturating_sub(*used) < FORGETS_AFTER);
        self.ports.retain(|_, port| used.contains_key(port));
        self.sent.retain(|(port, _), _| used.contains_key(port));
    }
}
