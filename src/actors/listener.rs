//! The listener accepts connections and hands them to the porter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{Builder, JoinHandle};
use std::{io, iter, mem};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use socket2::{Domain, Protocol, Socket, Type};

use crate::actors::porter::Accepted;
use crate::actors::reactor;
use crate::words::address::{ListenAddress, fold};
use crate::words::limits;

/// Binds the first free port of `listen`: for IPv6 and IPv4 by one socket, or for IPv4 alone where
/// there is no IPv6. With `udp`, the port must be free for datagrams as well.
pub(crate) fn bind(listen: &ListenAddress, udp: bool) -> io::Result<(TcpListener, Vec<UdpSocket>)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    // Any port that the system gives for TCP may be taken for UDP.
    let tries = if *listen.ports.end() == 0 { limits::ANY_PORT_TRIES } else { 1 };
    for port in listen.ports.clone().flat_map(|port| iter::repeat_n(port, tries)) {
        match bind_both(listen.ip, port, udp) {
            Ok(bound) => return Ok(bound),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn bind_both(
    ip: Option<IpAddr>,
    port: u16,
    udp: bool,
) -> io::Result<(TcpListener, Vec<UdpSocket>)> {
    let listener = bind_port(ip, port)?;
    let sockets = if udp { reactor::bind(listener.local_addr()?)? } else { Vec::new() };
    Ok((listener, sockets))
}

fn bind_port(ip: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match ip {
        Some(ip) => bind_one(SocketAddr::new(ip, port)),
        None => bind_one((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                return Err(error);
            }
            bind_one((Ipv4Addr::UNSPECIFIED, port).into())
        }),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 as well, whatever the system's default.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A port whose old connections linger is free; one that somebody listens on is not.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}

/// Main's end of the listener: dropped, it ends the thread and joins it.
#[derive(Debug)]
pub(crate) struct ListenerHandle {
    stop: Sender<()>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl ListenerHandle {
    /// Starts the thread that accepts on `listener`.
    pub(crate) fn start(listener: TcpListener, sockets: Sender<Accepted>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = bounded(0);
        let thread = Builder::new()
            .name("listener".into())
            .stack_size(limits::stacks::LISTENER)
            .spawn(move || accept_all(&listener, &sockets, &stopped))?;
        Ok(Self { stop, address, thread: Some(thread) })
    }

    /// Where it accepts.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ListenerHandle {
    fn drop(&mut self) {
        let (closed, _) = bounded(0);
        drop(mem::replace(&mut self.stop, closed));
        // Nothing wakes `accept` but a connection.
        let woken = TcpStream::connect_timeout(&reachable(self.address), limits::WAKE_TIMEOUT);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            thread.join().ok();
        }
    }
}

/// The address at which this machine reaches its own listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = match address.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let ip = if address.ip().is_unspecified() { loopback } else { address.ip() };
    SocketAddr::new(ip, address.port())
}

fn accept_all(listener: &TcpListener, sockets: &Sender<Accepted>, stopped: &Receiver<()>) {
    loop {
        let accepted = listener.accept();
        if stopped.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
        match accepted {
            Ok((stream, address)) =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the listener may wait for the porter"
                )]
                if sockets.send((stream, fold(address))).is_err() {
                    return;
                }
            }
            // Without descriptors `accept` fails at once, again and again; whatever else fails is
            // over with the connection that failed.
            Err(_) => match stopped.recv_timeout(limits::ACCEPT_BACK_OFF) {
                Err(RecvTimeoutError::Timeout) | Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            },
        }
    }
}
