//! A small client of HTTP/1.1: one answer to one request, within bounds of time, length and redirects.
//!
//! It resolves names and connects by itself, so that where it goes can be judged by the address and
//! not by a name, which may mean another address the next moment.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::actors::clock::now;
use crate::actors::file_error::{is_time_out, reason};
use crate::formats::http::{self, Head};
use crate::formats::url::{Scheme, Url};
use crate::words::address::{Host, fold, is_local};
use crate::words::limits;
use crate::words::limits::trackers;

mod connection;
#[cfg_attr(not(feature = "https"), path = "http/no_tls.rs")]
mod tls;

pub(crate) use connection::{Connection, is_spoken};

/// What a build without TLS says of a server that wants it.
pub const NO_HTTPS: &str = "this build speaks no HTTPS: build it with --features https";

/// How a request is made.
pub(crate) struct Manner<'a> {
    /// When it has to be over.
    pub(crate) deadline: Instant,
    /// Longest body of an answer.
    pub(crate) body_max: usize,
    /// The address that the connection leaves from, unless any will do.
    pub(crate) leave_from: Option<IpAddr>,
    /// Whether a URL may be asked at an address, or why not. It may be a redirect's.
    pub(crate) judge: &'a dyn Fn(&Url, IpAddr) -> Result<(), String>,
    /// Whether nobody waits for the answer any more.
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Our end of the connection, and theirs.
    pub(crate) ours: SocketAddr,
    pub(crate) theirs: SocketAddr,
}

/// The addresses of a URL's host, at most [`limits::ADDRESSES_MAX`].
pub(crate) fn addresses_of(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let addresses = match &url.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, url.port)],
        Host::Name(name) => {
            let found = (&**name, url.port).to_socket_addrs();
            let found = found.map_err(|_error| "its name cannot be resolved".to_owned())?;
            found.map(fold).take(limits::ADDRESSES_MAX).collect()
        }
        Host::Any => Vec::new(),
    };
    if addresses.is_empty() { Err("its name has no address".to_owned()) } else { Ok(addresses) }
}

/// Fetches `url` from the first of `addresses` that can be reached. Redirects are followed, but from
/// a public address never to a local one.
pub(crate) fn get(
    url: &Url,
    addresses: &[SocketAddr],
    manner: &Manner<'_>,
) -> Result<Fetched, String> {
    let mut url = url.clone();
    let mut addresses = addresses.to_vec();
    let mut public = false;
    for _ in 0..=trackers::HTTP_REDIRECTS_MAX {
        let (mut connection, theirs) = connect_first(&url, &addresses, public, manner)?;
        public |= !is_local(theirs.ip());
        let (head, mut fetched) = exchange(&url, &mut connection, theirs, manner)?;
        let location = head.location.filter(|_| matches!(head.status, 301..=303 | 307 | 308));
        let Some(location) = location else {
            fetched.status = head.status;
            return Ok(fetched);
        };
        let next = url.join(&location).map_err(|error| format!("it redirects, but {error}"))?;
        if next.scheme == Scheme::Udp || url.scheme == Scheme::Https && next.scheme != url.scheme {
            return Err(format!("it redirects to {}, which is not followed", next.scheme));
        }
        addresses = addresses_of(&next)?;
        url = next;
    }
    Err("it redirects in circles".to_owned())
}

/// Connects to the first of the addresses that may be asked and can be reached.
pub(super) fn connect_first(
    url: &Url,
    addresses: &[SocketAddr],
    public: bool,
    manner: &Manner<'_>,
) -> Result<(Connection, SocketAddr), String> {
    if !is_spoken(url.scheme) {
        return Err(NO_HTTPS.to_owned());
    }
    let mut why = "it has no address that connections may leave for".to_owned();
    for address in addresses {
        if public && is_local(address.ip()) {
            return Err("it redirects from a public address to a local one".to_owned());
        }
        (manner.judge)(url, address.ip())?;
        match connect(*address, manner) {
            Ok(stream) => {
                let plain = Connection::plain(stream);
                let connection = match url.scheme {
                    Scheme::Https => tls::shake_hands(url, plain, manner)?,
                    Scheme::Http | Scheme::Udp => plain,
                };
                return Ok((connection, *address));
            }
            Err(error) => why = reason(&error),
        }
    }
    Err(why)
}

fn connect(address: SocketAddr, manner: &Manner<'_>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(ip) = manner.leave_from {
        if ip.is_ipv4() != address.is_ipv4() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    let left = left(manner)?.min(limits::CONNECT_TIMEOUT);
    socket.connect_timeout(&address.into(), left)?;
    Ok(socket.into())
}

/// How much time is left.
fn left(manner: &Manner<'_>) -> io::Result<Duration> {
    let left = manner.deadline.saturating_duration_since(now());
    if left < limits::READ_TIMEOUT_MIN || (manner.is_over)() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// One request and its answer.
fn exchange(
    url: &Url,
    connection: &mut Connection,
    theirs: SocketAddr,
    manner: &Manner<'_>,
) -> Result<(Head, Fetched), String> {
    let failed = |error: io::Error| {
        if is_time_out(&error) { "it does not answer".to_owned() } else { reason(&error) }
    };
    let ours = fold(connection.socket().local_addr().map_err(failed)?);
    let left_now = left(manner).map_err(failed)?;
    connection.send(&http::request(url, ""), left_now).map_err(failed)?;
    let mut held = Vec::new();
    let mut head = loop {
        match http::head(&held).map_err(|error| error.to_string())? {
            // What may come before the answer itself (RFC 9110, section 15.2).
            Some((head, len)) if matches!(head.status, 100..=199) => drop(held.drain(..len)),
            Some((head, len)) => {
                held.drain(..len);
                break head;
            }
            None if read_more(connection, &mut held, manner).map_err(failed)? => {}
            None => return Err("its answer ends early".to_owned()),
        }
    };
    let mut body = Vec::new();
    let mut more = true;
    while !head.body.is_whole() {
        let (done, bytes) = head.body.read(&held).map_err(|error| error.to_string())?;
        if body.len() + bytes.len() > manner.body_max {
            return Err(format!("its answer is longer than {} bytes", manner.body_max));
        }
        body.extend_from_slice(bytes);
        held.drain(..done);
        if done > 0 {
            continue;
        }
        if !more {
            break;
        }
        more = read_more(connection, &mut held, manner).map_err(failed)?;
    }
    if !more && !head.body.is_whole() && head.body != http::Body::UntilEnd {
        return Err("its answer ends early".to_owned());
    }
    let status = head.status;
    Ok((head, Fetched { status, body, ours, theirs }))
}

/// Reads what has come, at most [`trackers::HTTP_READ_LEN`] bytes; `false` at the end.
fn read_more(
    connection: &mut Connection,
    held: &mut Vec<u8>,
    manner: &Manner<'_>,
) -> io::Result<bool> {
    let mut buffer = [0; trackers::HTTP_READ_LEN];
    loop {
        // `left` says when the time is over.
        let patience = left(manner)?.min(trackers::HTTP_WAIT_MAX);
        if let Some(len) = connection.receive(&mut buffer, patience)? {
            held.extend_from_slice(&buffer[..len]);
            return Ok(len > 0);
        }
    }
}

/// Whether the address is this host's own: whoever names it makes us ask ourselves.
pub(crate) fn is_own_host(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip == Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(ip) => ip.is_loopback() || ip == Ipv6Addr::UNSPECIFIED,
    }
}
