//! The sockets of local service discovery (BEP 14): one that hears each group, and one for each
//! interface that speaks to it. The reactor drives them.
//!
//! Where the system does not tell its interfaces (`/proc/net`, of Linux), the one that it takes by
//! itself is used. What cannot be had is left out: a host without IPv6, or without any network, hears
//! nobody.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::formats::lsd::{Announcement, GROUP_V4, GROUP_V6, PORT};
use crate::words::limits::lan as limits;

/// What hears and what speaks.
#[derive(Debug, Default)]
pub(crate) struct LanSockets {
    pub(crate) ears: Vec<UdpSocket>,
    pub(crate) mouths: Mouths,
}

/// A socket for each interface and family.
#[derive(Debug, Default)]
pub(crate) struct Mouths(Vec<(UdpSocket, SocketAddr)>);

impl Mouths {
    /// Says it in all networks. What a network does not take is lost, as datagrams are.
    pub(crate) fn say(&self, announcement: &Announcement) {
        for (socket, group) in &self.0 {
            socket.send_to(&announcement.emit(*group), group).ok();
        }
    }
}

/// Opens as many sockets as the host has use for: on the interface that has the address `at`, or on all.
/// Nobody else reaches a host at its loopback address.
pub(crate) fn open(at: Option<IpAddr>) -> LanSockets {
    let (of_v4, of_v6) = match at {
        None => (addresses_v4(), indices_v6(|_| true)),
        Some(at) if at.is_loopback() => return LanSockets::default(),
        Some(IpAddr::V4(at)) => (vec![at], Vec::new()),
        Some(IpAddr::V6(at)) => (Vec::new(), indices_v6(|own| own == at)),
    };
    let mut sockets = LanSockets::default();
    let heard = ear(GROUP_V4.into(), |socket| {
        some(of_v4.iter().map(|own| socket.join_multicast_v4(&GROUP_V4, own)))
    });
    if let Ok(ear) = heard {
        sockets.ears.push(ear);
        sockets.mouths.0.extend(of_v4.iter().filter_map(|own| mouth_v4(*own).ok()));
    }
    let heard = ear(GROUP_V6.into(), |socket| {
        some(of_v6.iter().map(|index| socket.join_multicast_v6(&GROUP_V6, *index)))
    });
    if let Ok(ear) = heard {
        sockets.ears.push(ear);
        sockets.mouths.0.extend(of_v6.iter().filter_map(|index| mouth_v6(*index).ok()));
    }
    sockets
}

/// Of several tries one must do.
fn some(tries: impl Iterator<Item = io::Result<()>>) -> io::Result<()> {
    let mut last = Err(io::ErrorKind::NotFound.into());
    for tried in tries {
        if last.is_err() {
            last = tried;
        }
    }
    last
}

/// The socket that hears a group. Several programs of a host hear it, so they share the port; and
/// what does not come to the group is not heard, where a socket can be bound to it.
fn ear(group: IpAddr, join: impl FnOnce(&Socket) -> io::Result<()>) -> io::Result<UdpSocket> {
    let group = SocketAddr::new(group, PORT);
    let any: IpAddr =
        if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    if group.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    let bound = if cfg!(target_os = "linux") { group } else { SocketAddr::new(any, PORT) };
    socket.bind(&bound.into())?;
    join(&socket)?;
    Ok(socket.into())
}

fn mouth_v4(own: Ipv4Addr) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&SocketAddr::new(own.into(), 0).into())?;
    socket.set_multicast_if_v4(&own)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), SocketAddr::new(GROUP_V4.into(), PORT)))
}

fn mouth_v6(index: u32) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0).into())?;
    socket.set_multicast_if_v6(index)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), SocketAddr::new(GROUP_V6.into(), PORT)))
}

/// Our addresses of IPv4, one for each interface; the unspecified one stands for the interface that
/// the system takes.
fn addresses_v4() -> Vec<Ipv4Addr> {
    let table = table("/proc/net/dev");
    let names = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    let others = names.filter(|name| *name != "lo").take(limits::INTERFACES_MAX);
    let own: Vec<_> = others.filter_map(|name| address_v4(name).ok()).collect();
    if own.is_empty() { vec![Ipv4Addr::UNSPECIFIED] } else { own }
}

/// The address from which a datagram to the group would leave by this interface. Nothing is sent.
#[cfg(target_os = "linux")]
fn address_v4(interface: &str) -> io::Result<Ipv4Addr> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.connect(&SocketAddr::new(GROUP_V4.into(), PORT).into())?;
    let own = socket.local_addr()?.as_socket_ipv4().map(|own| *own.ip());
    own.filter(|own| !own.is_unspecified()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Other systems do not tell.
#[cfg(not(target_os = "linux"))]
fn address_v4(_: &str) -> io::Result<Ipv4Addr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The numbers of the interfaces that have such an address of IPv6; 0 stands for the one that the
/// system takes.
fn indices_v6(is_such: impl Fn(Ipv6Addr) -> bool) -> Vec<u32> {
    let table = table("/proc/net/if_inet6");
    // An address, the number, and three more numbers before the name.
    let index = |line: &str| {
        let mut words = line.split_whitespace();
        let own = u128::from_str_radix(words.next()?, 16).ok()?;
        let index = u32::from_str_radix(words.next()?, 16).ok()?;
        let is_loopback = words.next_back() == Some("lo");
        (!is_loopback && is_such(own.into())).then_some(index)
    };
    let mut indices: Vec<_> = table.lines().filter_map(index).collect();
    indices.sort_unstable();
    indices.dedup();
    indices.truncate(limits::INTERFACES_MAX);
    if table.is_empty() { vec![0] } else { indices }
}

/// A table of the system; empty where there is none.
fn table(path: &str) -> String {
    let mut text = String::new();
    let file = File::open(path).map(|file| file.take(limits::TABLE_LEN_MAX));
    let read = file.and_then(|mut file| file.read_to_string(&mut text));
    if read.is_err() {
        text.clear();
    }
    text
}
