//! The two threads of one peer: one that blocks on TCP and publishes, one that writes.
//!
//! The reader never writes (but for the handshake and a short greeting behind it, which the socket takes
//! at once), the writer never reads: two clients that both block in `write` would otherwise wait for each
//! other for ever. The reader makes the connection and the writer, whose thread lasts only while there
//! is something to say (see [`writer`]); the reader's last words are `Gone`. Main then lets go of the
//! writer's channel, which ends the writer, and the porter joins both.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use crate::actors::clock::now;
use crate::actors::file_error::reason;
use crate::actors::files::FileStore;
use crate::actors::limiter::Limiter;
use crate::actors::messenger::{Breakdown, HangUp, Messenger};
use crate::actors::shelf::Shelf;
use crate::bus::{Farewell, Fault, Notification, PeerNews, PeerShared, ToPeer, TorrentContext};
use crate::formats::allowed_fast::allowed_fast;
use crate::formats::client;
use crate::formats::mse::Encryption;
use crate::formats::web_seed::WebSeed;
use crate::formats::wire::{
    EXTENSION_HANDSHAKE, ExtensionHandshake, Handshake, LT_DONTHAVE, Message, OUR_LT_DONTHAVE,
    OUR_UT_METADATA, OUR_UT_PEX, UT_METADATA, UT_PEX,
};
use crate::machines::conversation::{Inbound, Outbound};
use crate::words::address::Address;
use crate::words::id::{PeerId, PeerKey, PieceIndex, TorrentKey};
use crate::words::limits;

mod meeting;
mod writer;

use meeting::Met;
use writer::{Desk, Writer};

/// What the threads of all peers know.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) peer_id: PeerId,
    /// The port where we listen, told in the extension handshake.
    pub(crate) port: Option<u16>,
    /// Whether a node of the ring is at the same port.
    pub(crate) chord: bool,
    /// Whether a node of Mainline is there, which others can ask.
    pub(crate) mainline: bool,
    /// Whether peers tell us whom they are connected to, and we them.
    pub(crate) pex: bool,
    /// The address that connections leave from, unless it is a wildcard.
    pub(crate) leave_from: Option<IpAddr>,
    /// Whether we serve anybody.
    pub(crate) upload: bool,
    /// Whether connections are encrypted.
    pub(crate) encryption: Encryption,
    pub(crate) files: Arc<FileStore>,
    /// Buffers for the blocks that come.
    pub(crate) shelf: Arc<Shelf>,
    /// The bucket of what arrives.
    pub(crate) down: Limiter,
    /// The bucket of what leaves.
    pub(crate) up: Limiter,
    pub(crate) notifications: Sender<Notification>,
}

/// One peer's threads to be.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) peer: PeerKey,
    pub(crate) way: Way,
    pub(crate) line: Arc<Line>,
    pub(crate) orders: Receiver<ToPeer>,
    pub(crate) office: Arc<Office>,
}

/// A torrent as main introduces it to a peer's threads.
pub(crate) type Introduction = (TorrentKey, Arc<TorrentContext>);

/// Who dials whom.
#[derive(Debug)]
pub(crate) enum Way {
    /// We dial it, for this torrent.
    Out(Address, Introduction),
    /// We ask it by HTTP, for this torrent.
    Web(WebSeed, Introduction),
    /// It dialled us, on this socket; main says which torrent it means.
    In(Arc<TcpStream>, Receiver<Introduction>),
}

/// The end of a connection that main and both threads can pull: before there is a connection,
/// while there is one, and after.
#[derive(Debug, Default)]
pub(crate) struct Line {
    state: Mutex<LineState>,
    /// Why the writer ended it.
    farewell: Mutex<Option<Farewell>>,
    /// Where the writer is while it has no thread.
    desk: Desk,
}

#[derive(Debug, Default)]
enum LineState {
    #[default]
    Idle,
    Open(Arc<dyn HangUp>),
    Ended,
}

impl Line {
    /// There is a connection now; it is ended at once if the line has been hung up before.
    fn open(&self, connection: Arc<dyn HangUp>) {
        let mut state = self.state.lock();
        match *state {
            LineState::Ended => connection.hang_up(),
            LineState::Idle | LineState::Open(_) => *state = LineState::Open(connection),
        }
    }

    /// Whether it was hung up.
    fn is_ended(&self) -> bool {
        matches!(*self.state.lock(), LineState::Ended)
    }

    /// Whether the writer rests, and the caller is to see to it that it goes on, now that there is an
    /// order for it. Waits for nobody.
    pub(crate) fn claim_writer(&self) -> bool {
        self.desk.claim()
    }

    /// Starts a thread for the writer that was claimed; without one the connection ends.
    pub(crate) fn go_on(&self) {
        if let Err(farewell) = self.desk.go_on() {
            *self.farewell.lock() = Some(farewell);
            self.hang_up();
        }
    }

    /// The last thread of the writer, of which main has let go.
    pub(crate) fn take_writer(&self) -> Option<JoinHandle<()>> {
        self.desk.take_thread()
    }

    /// Why the system gave the writer no thread, if that is how it ended; told once.
    pub(crate) fn take_shortage(&self) -> Option<io::Error> {
        self.desk.take_shortage()
    }

    /// Ends the connection, or the one that is being made, without waiting.
    pub(crate) fn hang_up(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), LineState::Ended);
        if let LineState::Open(connection) = state {
            connection.hang_up();
        }
    }
}

/// Starts the reader of a peer.
pub(crate) fn start(call: Call) -> io::Result<JoinHandle<()>> {
    let name = format!("peer-{}-in", call.peer);
    Builder::new().name(name).stack_size(limits::stacks::PEER).spawn(move || {
        let mut last_words = LastWords::of(&call);
        let Call { peer, way, line, orders, office } = call;
        last_words.farewell = Reader { peer, line, orders, office }.run(way);
    })
}

/// What a peer's threads say in the end, even if the reader fails: without it main would keep the
/// peer for ever.
struct LastWords {
    peer: PeerKey,
    notifications: Sender<Notification>,
    line: Arc<Line>,
    farewell: Farewell,
}

impl LastWords {
    fn of(call: &Call) -> Self {
        Self {
            peer: call.peer,
            notifications: call.office.notifications.clone(),
            line: Arc::clone(&call.line),
            farewell: ours("its thread failed"),
        }
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        self.line.hang_up();
        // Whoever lies down from now on sees that the line has ended.
        self.line.desk.clear();
        let gone = PeerNews::Gone(self.farewell.clone());
        // If main is gone, so is the need to tell it.
        publish(&self.notifications, self.peer, gone).ok();
    }
}

/// Main is gone; so should we be.
#[derive(Debug)]
struct MainIsGone;

fn publish(
    notifications: &Sender<Notification>,
    peer: PeerKey,
    news: PeerNews,
) -> Result<(), MainIsGone> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a peer may wait for main; main waits for nobody"
    )]
    notifications.send(Notification::Peer(peer, news)).map_err(|_gone| MainIsGone)
}

fn nobodys(reason: impl fmt::Display) -> Farewell {
    Farewell { reason: reason.to_string(), fault: Fault::Nobodys }
}

/// The system could not make, or keep, the connection.
fn lost(error: &io::Error) -> Farewell {
    nobodys(reason(error))
}

fn theirs(reason: impl fmt::Display) -> Farewell {
    Farewell { reason: reason.to_string(), fault: Fault::Theirs }
}

fn ours(reason: impl fmt::Display) -> Farewell {
    Farewell { reason: reason.to_string(), fault: Fault::Ours }
}

impl From<MainIsGone> for Farewell {
    fn from(_: MainIsGone) -> Self {
        ours("the session ended")
    }
}

/// The reader: connecting, the handshakes, then whatever the peer says.
struct Reader {
    peer: PeerKey,
    line: Arc<Line>,
    orders: Receiver<ToPeer>,
    office: Arc<Office>,
}

/// What a connection begins with once its handshakes are done, and what main is told of it.
struct Begun {
    inbound: Box<Inbound>,
    outbound: Box<Outbound>,
    connected: PeerNews,
}

/// Each step of a reader has a function of its own: its room on the stack is the next one's as well,
/// and a page that was touched stays with the thread for as long as the peer does. That of an idle
/// peer has two.
impl Reader {
    fn run(self, way: Way) -> Farewell {
        let met = match self.meet(way) {
            Ok(met) => met,
            Err(farewell) => return farewell,
        };
        let Met { mut messenger, address, greeting, introduction: (torrent, context) } = met;
        // The metadata may have come while the handshakes were under way.
        let context = context.successor().cloned().unwrap_or(context);
        let extension = greeting.reserved.extension().then(|| self.our_extensions(&context));
        let Begun { mut inbound, outbound, connected } =
            self.begin(address, &greeting, context, extension);
        let mut writer = Writer::new(&self, torrent, outbound, messenger.split());
        let greeted = writer.greet();
        if let Err(gone) = self.publish(connected) {
            return gone.into();
        }
        let begun = greeted.and_then(|()| self.line.desk.begin(writer));
        let Err(heard) = begun.and_then(|()| self.listen(messenger.as_mut(), &mut inbound));
        self.line.hang_up();
        let farewell = self.line.farewell.lock().take().unwrap_or(heard);
        for word in inbound.take_back() {
            if let Err(gone) = self.publish(PeerNews::Lost(word)) {
                return gone.into();
            }
        }
        farewell
    }

    #[inline(never)]
    fn begin(
        &self,
        address: SocketAddr,
        greeting: &Handshake,
        context: Arc<TorrentContext>,
        extension: Option<Message>,
    ) -> Begun {
        let shared = Arc::new(PeerShared::new(context.metainfo.pieces()));
        let fast = greeting.reserved.fast();
        let allowed_fast = if fast { self.allowed_fast(address, &context) } else { Vec::new() };
        let allowed = allowed_fast.iter().copied().map(Message::AllowedFast);
        let node = self.node_port(&context).filter(|_| greeting.reserved.dht()).map(Message::Port);
        let greetings = extension.into_iter().chain(allowed).chain(node).collect();
        let inbound = Inbound::new(Arc::clone(&context), Arc::clone(&shared), fast, now());
        let mut inbound = Box::new(inbound);
        if self.office.pex {
            inbound.listen_to_gossip(now());
        }
        let outbound = Outbound::new(context, Arc::clone(&shared), fast, greetings, now());
        let connected = PeerNews::Connected {
            address,
            peer_id: greeting.peer_id,
            reserved: greeting.reserved,
            allowed_fast,
            shared,
        };
        Begun { inbound, outbound: Box::new(outbound), connected }
    }

    /// Publishes what the peer says, until it ends.
    #[inline(never)]
    fn listen(
        &self,
        messenger: &mut dyn Messenger,
        inbound: &mut Inbound,
    ) -> Result<Infallible, Farewell> {
        let pieces = inbound.pieces_max();
        loop {
            let message = messenger.receive(pieces, inbound.poll_deadline()).map_err(broken)?;
            if let Some(message) = message {
                if let Message::Piece { data, .. } = &message {
                    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    self.office.down.wait_for(len, || self.line.is_ended());
                }
                inbound.handle_message(message, now()).map_err(theirs)?;
            }
            inbound.handle_time(now()).map_err(theirs)?;
            while let Some(news) = inbound.poll_news() {
                self.publish(news)?;
            }
            if self.line.desk.claim_due(now()) {
                self.line.desk.go_on()?;
            }
        }
    }

    /// Where our node of Mainline is, for a peer of this torrent; of a private one nobody is told
    /// (BEP 27).
    fn node_port(&self, context: &TorrentContext) -> Option<u16> {
        self.office.port.filter(|_| self.office.mainline && !context.metainfo.private())
    }

    /// The pieces that a peer may ask for while it is choked, if it may ask for any.
    fn allowed_fast(&self, address: SocketAddr, context: &TorrentContext) -> Vec<PieceIndex> {
        if !self.office.upload || context.is_unknown() {
            return Vec::new();
        }
        let (info_hash, pieces) = (context.metainfo.info_hash(), context.metainfo.pieces());
        allowed_fast(address.ip(), info_hash, pieces, limits::ALLOWED_FAST_GIVEN)
    }

    #[inline(never)]
    fn our_extensions(&self, context: &TorrentContext) -> Message {
        let mut extensions = BTreeMap::from([(LT_DONTHAVE.to_owned(), OUR_LT_DONTHAVE)]);
        if self.office.pex && !context.metainfo.private() {
            extensions.insert(UT_PEX.to_owned(), OUR_UT_PEX);
        }
        let metainfo = &context.metainfo;
        // The metadata of a private torrent is its members' business, as libtorrent has it.
        let metadata = (!metainfo.private()).then(|| (UT_METADATA.to_owned(), OUR_UT_METADATA));
        let metadata_len = u32::try_from(metainfo.info_bytes().len()).ok().filter(|len| *len > 0);
        let metadata_len = metadata_len.filter(|_| metadata.is_some() && self.office.upload);
        extensions.extend(metadata);
        let handshake = ExtensionHandshake {
            extensions,
            metadata_len,
            chord: self.office.port.filter(|_| self.office.chord && !metainfo.private()),
            port: self.office.port,
            requests_max: u32::try_from(limits::UPLOADS_MAX).ok(),
            client: Some(client::our_name()),
            upload_only: (!context.is_unknown() && context.wanted.count() == 0).then_some(true),
            ..ExtensionHandshake::default()
        };
        Message::Extended { id: EXTENSION_HANDSHAKE, payload: handshake.emit() }
    }

    fn publish(&self, news: PeerNews) -> Result<(), MainIsGone> {
        publish(&self.office.notifications, self.peer, news)
    }
}

fn broken(breakdown: Breakdown) -> Farewell {
    match breakdown {
        Breakdown::Closed | Breakdown::Broken(_) => nobodys(breakdown),
        Breakdown::Web { for_good: false, .. } => nobodys(breakdown),
        Breakdown::Wire(_) | Breakdown::Mse(_) | Breakdown::Web { .. } => theirs(breakdown),
    }
}

#[cfg(test)]
mod tests;
