//! How a peer's reader comes to a connection: it dials or is dialled, with encryption or without, and
//! shakes hands.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Introduction, Reader, Way, lost, nobodys, ours, theirs};
use crate::actors::clock::now;
use crate::actors::messenger::web::WebMessenger;
use crate::actors::messenger::{Breakdown, Messenger, TcpMessenger, mse};
use crate::bus::{Farewell, PeerNews, TorrentContext};
use crate::formats::mse::Encryption;
use crate::formats::web_seed::WebSeed;
use crate::formats::wire::{Handshake, Reserved, WireError};
use crate::words::address::{Address, Host, fold};
use crate::words::limits;

/// A connection whose handshakes are done.
pub(super) struct Met {
    pub(super) messenger: Box<dyn Messenger>,
    pub(super) address: SocketAddr,
    pub(super) greeting: Handshake,
    pub(super) introduction: Introduction,
}

impl Reader {
    /// Makes the connection, or takes the one that was made, and shakes hands.
    pub(super) fn meet(&self, way: Way) -> Result<Met, Farewell> {
        match way {
            Way::Out(to, introduction) => self.dial(&to, introduction),
            Way::Web(seed, introduction) => Ok(self.ask(seed, introduction)),
            Way::In(stream, introductions) => self.answer(stream, &introductions),
        }
    }

    /// A web seed is asked when there is something to ask for. It has no address of its own: each
    /// file of it may be at another.
    #[inline(never)]
    fn ask(&self, seed: WebSeed, introduction: Introduction) -> Met {
        let metainfo = Arc::clone(&introduction.1.metainfo);
        let messenger = WebMessenger::new(seed, metainfo, self.office.leave_from);
        self.line.open(messenger.line());
        let (greeting, address) = (messenger.greeting(), (Ipv4Addr::LOCALHOST, 0).into());
        Met { messenger: Box::new(messenger), address, greeting, introduction }
    }

    /// Dials, without encryption if that may be. Whoever wants nothing but encryption hangs up on
    /// what is none, so it is dialled once more with it.
    #[inline(never)]
    fn dial(&self, to: &Address, introduction: Introduction) -> Result<Met, Farewell> {
        match self.office.encryption {
            Encryption::Require => {}
            Encryption::Prefer => match self.dial_plainly(to, introduction.clone())? {
                Ok(met) => return Ok(met),
                Err(breakdown) if breakdown.is_closed() && !self.line.is_ended() => {}
                Err(breakdown) => return Err(nobodys(breakdown)),
            },
            Encryption::Off => {
                return self.dial_plainly(to, introduction)?.map_err(nobodys);
            }
        }
        let (tcp, address) = self.connect(to)?;
        let handshake = self.our_handshake(&introduction.1);
        let deadline = now() + limits::HANDSHAKE_TIMEOUT;
        let messenger = mse::dial(&tcp, self.office.encryption, &handshake, deadline);
        let mut messenger = messenger.map_err(nobodys)?.ok_or_else(unanswered)?;
        let greeting = messenger.receive_greeting(deadline).map_err(nobodys)?;
        self.met(messenger, address, greeting, introduction)
    }

    /// Dials without encryption; the inner error is why the other side's handshake was not heard.
    #[inline(never)]
    fn dial_plainly(
        &self,
        to: &Address,
        introduction: Introduction,
    ) -> Result<Result<Met, Breakdown>, Farewell> {
        let (mut messenger, address) = self.connect(to)?;
        let handshake = self.our_handshake(&introduction.1);
        if let Err(error) = messenger.greet(&handshake) {
            return Ok(Err(Breakdown::Broken(error)));
        }
        match messenger.receive_greeting(now() + limits::HANDSHAKE_TIMEOUT) {
            Ok(greeting) => self.met(Box::new(messenger), address, greeting, introduction).map(Ok),
            Err(breakdown) => Ok(Err(breakdown)),
        }
    }

    fn connect(&self, to: &Address) -> Result<(TcpMessenger, SocketAddr), Farewell> {
        let leave_from = self.office.leave_from;
        let (stream, address) = connect(to, leave_from).map_err(|error| lost(&error))?;
        let messenger = TcpMessenger::new(stream).map_err(|error| lost(&error))?;
        let messenger = messenger.with_buffers(&self.office.shelf);
        self.line.open(messenger.line());
        Ok((messenger, address))
    }

    /// Whom we dialled has answered, or not in time.
    fn met(
        &self,
        messenger: Box<dyn Messenger>,
        address: SocketAddr,
        greeting: Option<Handshake>,
        introduction: Introduction,
    ) -> Result<Met, Farewell> {
        let greeting = greeting.ok_or_else(unanswered)?;
        if greeting.info_hash != introduction.1.metainfo.info_hash() {
            return Err(theirs("it answered with another torrent"));
        }
        Ok(Met { messenger, address, greeting, introduction })
    }

    #[inline(never)]
    fn answer(
        &self,
        stream: Arc<TcpStream>,
        introductions: &Receiver<Introduction>,
    ) -> Result<Met, Farewell> {
        let address = stream.peer_addr().map(fold).map_err(|error| lost(&error))?;
        let messenger = TcpMessenger::new(stream).map_err(|error| lost(&error))?;
        let mut messenger = messenger.with_buffers(&self.office.shelf);
        self.line.open(messenger.line());
        let deadline = now() + limits::HANDSHAKE_TIMEOUT;
        let encryption = self.office.encryption;
        let (mut messenger, introduction) = match messenger.receive_head(deadline) {
            Err(Breakdown::Wire(WireError::NotBitTorrent)) if encryption != Encryption::Off => {
                self.answer_encrypted(&messenger, introductions, deadline)?
            }
            Ok(Some(_)) if encryption == Encryption::Require => {
                return Err(nobodys("it is not encrypted, as --encryption require wants it"));
            }
            head => {
                let head = head.map_err(nobodys)?.ok_or_else(silent)?;
                self.publish(PeerNews::Hello(head.info_hash))?;
                let messenger: Box<dyn Messenger> = Box::new(messenger);
                (messenger, introduced(introductions)?)
            }
        };
        messenger.greet(&self.our_handshake(&introduction.1)).map_err(|error| lost(&error))?;
        let greeting = messenger.receive_greeting(deadline).map_err(nobodys)?.ok_or_else(silent)?;
        Ok(Met { messenger, address, greeting, introduction })
    }

    /// Goes on with somebody who does not begin as BitTorrent does.
    #[inline(never)]
    fn answer_encrypted(
        &self,
        plain: &TcpMessenger,
        introductions: &Receiver<Introduction>,
        deadline: Instant,
    ) -> Result<(Box<dyn Messenger>, Introduction), Farewell> {
        let answer = mse::Answer::instead_of(plain, self.office.encryption);
        let mut answer = answer.map_err(nobodys)?;
        let name = answer.receive_torrent(deadline).map_err(nobodys)?;
        self.publish(PeerNews::HelloBySkey(name.ok_or_else(silent)?))?;
        let introduction = introduced(introductions)?;
        let info_hash = introduction.1.metainfo.info_hash();
        let messenger = answer.agree(info_hash, deadline).map_err(nobodys)?;
        let mut messenger = messenger.ok_or_else(silent)?;
        let head = messenger.receive_head(deadline).map_err(nobodys)?;
        if head.ok_or_else(silent)?.info_hash != info_hash {
            return Err(theirs("it wants one torrent under the name of another"));
        }
        Ok((messenger, introduction))
    }

    fn our_handshake(&self, context: &TorrentContext) -> Handshake {
        let reserved = Reserved::default().with_extension().with_fast();
        let has_node = self.node_port(context).is_some();
        let reserved = if has_node { reserved.with_dht() } else { reserved };
        let info_hash = context.metainfo.info_hash();
        Handshake { reserved, info_hash, peer_id: self.office.peer_id }
    }
}

fn silent() -> Farewell {
    nobodys("it did not finish its handshake")
}

fn unanswered() -> Farewell {
    nobodys("it did not answer the handshake")
}

/// Main answers whoever says hello, or hangs up; if it ends, the channel does.
fn introduced(introductions: &Receiver<Introduction>) -> Result<Introduction, Farewell> {
    introductions.recv().map_err(|_gone| ours("its torrent is not here"))
}

/// Connects to `to`, trying each address of a name.
fn connect(to: &Address, leave_from: Option<IpAddr>) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolve(to)? {
        let address = fold(address);
        match connect_one(address, leave_from) {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn resolve(to: &Address) -> io::Result<Vec<SocketAddr>> {
    let port = to.port;
    match &to.host {
        Host::Any => {
            Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
        }
        Host::Ip(ip) => Ok(vec![(*ip, port).into()]),
        Host::Name(name) => {
            Ok((&**name, port).to_socket_addrs()?.take(limits::ADDRESSES_MAX).collect())
        }
    }
}

fn connect_one(address: SocketAddr, leave_from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(ip) = leave_from.filter(|ip| ip.is_ipv4() == address.is_ipv4()) {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    socket.connect_timeout(&address.into(), limits::CONNECT_TIMEOUT)?;
    Ok(socket.into())
}
