//! Addresses as people write them: `HOST:PORT`, `IP:PORT`, `[IPv6]:PORT`, `:PORT` or `PORT`.
//!
//! Nothing is resolved here: that takes time, and is left to secondary threads.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::words::limits::{HOST_LEN_MAX, LISTEN_PORTS};
use crate::words::units::Unparsable;

/// Where to, without the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// None was written.
    Any,
    /// An IP address, an IPv4-mapped IPv6 address folded to IPv4.
    Ip(IpAddr),
    /// A name to resolve, or an IPv6 address with a zone (`fe80::1%eth0`, RFC 4007), whose number
    /// the resolver knows as well.
    Name(Box<str>),
}

/// A host and a port, as the contract's ADDR.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Where to.
    pub host: Host,
    /// The port; 0 where the text says so.
    pub port: u16,
}

impl FromStr for Address {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let (host, port) = split(text)?;
        Ok(Self { host: host.parse()?, port: number(port)? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<SocketAddr> for Address {
    /// A link-local address keeps its zone, without which it cannot be dialled.
    fn from(address: SocketAddr) -> Self {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() > 0 && v6.ip().is_unicast_link_local() => {
                Host::Name(format!("{}%{}", v6.ip(), v6.scope_id()).into())
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => Host::Ip(address.ip()),
        };
        Self { host, port: address.port() }
    }
}

impl FromStr for Host {
    type Err = Unparsable;

    /// Reads what stands before the port's colon: an IPv6 address in brackets, or nothing.
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        if text.is_empty() {
            return Ok(Self::Any);
        }
        if let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return v6(inside);
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        name(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) if name.contains(':') => write!(f, "[{name}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Where to listen: the first free port of `ports`, on one address of this machine or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address; `None`: all, of IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    /// The ports to try, in this order; `0..=0`: any.
    pub ports: RangeInclusive<u16>,
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self { ip: None, ports: LISTEN_PORTS }
    }
}

impl FromStr for ListenAddress {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        const RANGE: Unparsable =
            Unparsable("a range of ports goes up and begins above 0: :6881-6889");
        let (host, ports) = split(text)?;
        let ip = match host.parse()? {
            Host::Any => None,
            Host::Ip(ip) => Some(ip),
            Host::Name(_) => {
                return Err(Unparsable(
                    "listening needs an IP address of this machine without a zone, \
                     not a name: 127.0.0.1:6881",
                ));
            }
        };
        let Some((first, last)) = ports.split_once('-') else {
            let port = number(ports)?;
            return Ok(Self { ip, ports: port..=port });
        };
        let ports = number(first)?..=number(last)?;
        if ports.is_empty() || *ports.start() == 0 {
            return Err(RANGE);
        }
        Ok(Self { ip, ports })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.ports.start(), self.ports.end());
        let host = self.ip.map_or(Host::Any, Host::Ip);
        write!(f, "{host}:{first}")?;
        if first == last { Ok(()) } else { write!(f, "-{last}") }
    }
}

/// The same address with IPv4 as IPv4: a dual-stack socket reports `::ffff:a.b.c.d` (RFC 4291,
/// section 2.5.5.2), which would make two of one peer.
pub fn fold(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Whether the address is loopback, private or link-local (RFC 1918, 3927, 4193, 4291): it means
/// something on this host or network only, and many hosts, or many clients of one, may be behind it.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Whether who is at `by` may tell us to turn to `named`. A stranger on the Internet may not name
/// hosts of our own network, nor one of our network this host itself: we would knock where the
/// stranger cannot. What is no host's address nobody may name.
pub fn may_name(by: IpAddr, named: IpAddr) -> bool {
    let (by, named) = (by.to_canonical(), named.to_canonical());
    let is_hosts = match named {
        IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_multicast() && ip.octets()[0] != 0,
        IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
    };
    is_hosts && (by.is_loopback() || !named.is_loopback()) && (is_local(by) || !is_local(named))
}

/// What one customer of a network has, as a rule: an IPv4 address, or a /64 of IPv6 (RFC 6177).
pub fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Where two that show one peer id are one peer: its [`network`], or everything that is local. From
/// elsewhere an id proves nothing, for everybody in a swarm has read everybody's.
pub fn neighbourhood(ip: IpAddr) -> IpAddr {
    if is_local(ip) { Ipv4Addr::UNSPECIFIED.into() } else { network(ip) }
}

/// Host and port: the text before and after the last colon that is not in brackets. A text of
/// digits alone (and the dash of a range) is a port.
fn split(text: &str) -> Result<(&str, &str), Unparsable> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '-') {
        return Ok(("", text));
    }
    let port_missing = Unparsable("the port is missing: write HOST:PORT, such as example.org:6881");
    if text.ends_with(']') {
        return Err(port_missing);
    }
    let (host, port) = text.rsplit_once(':').ok_or(port_missing)?;
    if host.contains(':') && !host.starts_with('[') && !host.contains('/') {
        return Err(Unparsable("an IPv6 address stands in brackets: [::1]:6881"));
    }
    Ok((host, port))
}

fn number(text: &str) -> Result<u16, Unparsable> {
    const PORT: Unparsable = Unparsable("the port must be a number from 0 to 65535");
    if !text.chars().all(|c| c.is_ascii_digit()) {
        return Err(PORT);
    }
    text.parse().ok().ok_or(PORT)
}

fn v6(text: &str) -> Result<Host, Unparsable> {
    const V6: Unparsable = Unparsable("only an IPv6 address stands in brackets: [::1]:6881");
    if let Some((ip, zone)) = text.split_once('%') {
        let zone_fits = !zone.is_empty()
            && zone.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        ip.parse::<Ipv6Addr>().ok().filter(|_| zone_fits).ok_or(V6)?;
        return short(text);
    }
    let ip: Ipv6Addr = text.parse().ok().ok_or(V6)?;
    Ok(Host::Ip(IpAddr::V6(ip).to_canonical()))
}

fn name(text: &str) -> Result<Host, Unparsable> {
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(Unparsable("an IPv4 address is four numbers from 0 to 255: 192.0.2.1:6881"));
    }
    // Names beyond ASCII are the resolver's to judge (RFC 5890).
    if !text.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)) {
        return Err(Unparsable("a host's name has letters, digits, dots and dashes only"));
    }
    short(text)
}

fn short(text: &str) -> Result<Host, Unparsable> {
    if text.len() > HOST_LEN_MAX {
        return Err(Unparsable("a host's name has at most 253 characters"));
    }
    Ok(Host::Name(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        Host::Name(name.into())
    }

    fn ip(text: &str) -> Host {
        Host::Ip(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_read_and_shown() {
        let table = [
            ("example.org:6881", host("example.org"), 6881, "example.org:6881"),
            ("my_host:1", host("my_host"), 1, "my_host:1"),
            ("bücher.example:1", host("bücher.example"), 1, "bücher.example:1"),
            ("192.0.2.1:65535", ip("192.0.2.1"), 65535, "192.0.2.1:65535"),
            ("[2001:DB8::1]:80", ip("2001:db8::1"), 80, "[2001:db8::1]:80"),
            ("[::ffff:192.0.2.1]:80", ip("192.0.2.1"), 80, "192.0.2.1:80"),
            ("[fe80::1%eth0]:80", host("fe80::1%eth0"), 80, "[fe80::1%eth0]:80"),
            ("[fe80::1%2]:80", host("fe80::1%2"), 80, "[fe80::1%2]:80"),
            (":6881", Host::Any, 6881, ":6881"),
            ("6881", Host::Any, 6881, ":6881"),
            ("0", Host::Any, 0, ":0"),
        ];
        for (text, host, port, shown) in table {
            let address: Address = text.parse().unwrap();
            assert_eq!(address, Address { host, port }, "{text}");
            assert_eq!(address.to_string(), shown);
            assert_eq!(shown.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_says_what_would_be() {
        let long = format!("{}:1", "a".repeat(HOST_LEN_MAX + 1));
        let table = [
            ("", "port is missing"),
            ("example.org", "port is missing"),
            ("[::1]", "port is missing"),
            ("example.org:", "from 0 to 65535"),
            ("example.org:65536", "from 0 to 65535"),
            ("example.org:+1", "from 0 to 65535"),
            ("example.org:1-2", "from 0 to 65535"),
            ("99999", "from 0 to 65535"),
            ("::1:6881", "in brackets"),
            ("[::1:6881", "letters, digits"),
            ("[192.0.2.1]:1", "only an IPv6 address"),
            ("[fe80::1%]:1", "only an IPv6 address"),
            ("[fe80::1%a b]:1", "only an IPv6 address"),
            ("[example.org]:1", "only an IPv6 address"),
            ("256.0.0.1:1", "four numbers"),
            ("1.2.3:1", "four numbers"),
            ("a b:1", "letters, digits"),
            ("a\n:1", "letters, digits"),
            ("user@example.org:1", "letters, digits"),
            ("http://example.org:1", "letters, digits"),
            (&long, "at most 253"),
        ];
        for (text, expected) in table {
            let Unparsable(why) = text.parse::<Address>().unwrap_err();
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn listening_takes_a_range_of_ports() {
        let loopback = Some("127.0.0.1".parse().unwrap());
        let table = [
            (":6881-6889", None, 6881..=6889, ":6881-6889"),
            ("6881-6889", None, 6881..=6889, ":6881-6889"),
            ("7000-7000", None, 7000..=7000, ":7000"),
            (":0", None, 0..=0, ":0"),
            ("127.0.0.1:7000-7010", loopback, 7000..=7010, "127.0.0.1:7000-7010"),
            ("[::]:1", Some("::".parse().unwrap()), 1..=1, "[::]:1"),
        ];
        for (text, ip, ports, shown) in table {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address, ListenAddress { ip, ports }, "{text}");
            assert_eq!(address.to_string(), shown);
        }
        assert_eq!(ListenAddress::default().to_string(), ":6881-6889");
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused() {
        let table = [
            ("localhost:1", "not a name"),
            ("[fe80::1%2]:1", "not a name"),
            (":6889-6881", "goes up"),
            (":0-5", "above 0"),
            (":1-", "from 0 to 65535"),
            ("-", "from 0 to 65535"),
            (":1-2-3", "from 0 to 65535"),
            ("127.0.0.1", "port is missing"),
        ];
        for (text, expected) in table {
            let Err(Unparsable(why)) = text.parse::<ListenAddress>() else {
                panic!("{text} was taken");
            };
            assert!(why.contains(expected), "{text}: {why}");
        }
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_64_bits() {
        let table = [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ];
        for (ip, wanted) in table {
            assert_eq!(network(ip.parse().unwrap()), wanted.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn a_link_local_address_keeps_its_zone() {
        let table = [
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ];
        for (address, shown) in table {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(Address::from(address).to_string(), shown);
        }
    }

    #[test]
    fn mapped_addresses_are_folded() {
        let table = [
            ("[::ffff:192.0.2.1]:80", "192.0.2.1:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[fe80::1%3]:80", "[fe80::1%3]:80"),
            ("[::1]:80", "[::1]:80"),
        ];
        for (address, folded) in table {
            assert_eq!(fold(address.parse().unwrap()).to_string(), folded);
        }
    }

    #[test]
    fn nobody_may_name_what_is_nearer_than_itself() {
        let table = [
            ("8.8.8.8", "1.2.3.4", true),
            ("8.8.8.8", "2001:db8::1", true),
            ("8.8.8.8", "10.0.0.1", false),
            ("8.8.8.8", "127.0.0.1", false),
            ("8.8.8.8", "::ffff:127.0.0.1", false),
            ("2001:db8::1", "fe80::1", false),
            ("10.0.0.1", "10.0.0.2", true),
            ("10.0.0.1", "1.2.3.4", true),
            ("10.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.2", true),
            ("::ffff:127.0.0.1", "::1", true),
            ("127.0.0.1", "0.0.0.0", false),
            ("127.0.0.1", "255.255.255.255", false),
            ("127.0.0.1", "239.192.152.143", false),
            ("127.0.0.1", "::", false),
            ("127.0.0.1", "ff02::1", false),
        ];
        for (by, named, may) in table {
            assert_eq!(may_name(by.parse().unwrap(), named.parse().unwrap()), may, "{by} {named}");
        }
    }

    #[test]
    fn local_addresses_are_told_from_global_ones() {
        let local = ["127.0.0.5", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.0.9", "::1"];
        let local_v6 = ["fe80::1", "febf::1", "fd00::1", "fc00::1", "::ffff:10.0.0.1"];
        for ip in local.into_iter().chain(local_v6) {
            assert!(is_local(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.2.3.4", "172.32.0.1", "192.169.0.1", "2001:db8::1", "fec0::1"] {
            assert!(!is_local(ip.parse().unwrap()), "{ip}");
        }
    }
}
