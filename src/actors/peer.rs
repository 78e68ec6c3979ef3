//! The two threads of one peer: one that blocks on TCP and publishes, one that writes.
//!
//! The reader never writes (but for the handshake, which an empty socket always takes), the writer
//! never reads: two clients that both block in `write` would otherwise wait for each other for ever.
//! The reader makes the connection and starts the writer; its last words are `Gone`. Main then lets
//! go of the writer's channel, which ends the writer, and the porter joins both.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use parking_lot::Mutex;

use crate::actors::clock::now;
use crate::actors::file_error::{is_time_out, reason};
use crate::actors::files::{Access, FileStore};
use crate::actors::limiter::Limiter;
use crate::actors::messenger::{Breakdown, HangUp, Messenger};
use crate::actors::shelf::Shelf;
use crate::actors::zero_copy::Unsent;
use crate::bus::{Farewell, Fault, Notification, PeerNews, PeerShared, ToPeer, TorrentContext};
use crate::formats::allowed_fast::allowed_fast;
use crate::formats::client;
use crate::formats::mse::Encryption;
use crate::formats::web_seed::WebSeed;
use crate::formats::wire::{
    EXTENSION_HANDSHAKE, ExtensionHandshake, Handshake, LT_DONTHAVE, Message, OUR_LT_DONTHAVE,
    OUR_UT_METADATA, OUR_UT_PEX, UT_METADATA, UT_PEX,
};
use crate::machines::conversation::{Inbound, Outbound, Speech};
use crate::words::address::Address;
use crate::words::id::{Block, PeerId, PeerKey, PieceIndex, TorrentKey};
use crate::words::limits;

mod meeting;

use meeting::Met;

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

    /// Ends the connection, or the one that is being made, without waiting.
    pub(crate) fn hang_up(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), LineState::Ended);
        if let LineState::Open(connection) = state {
            connection.hang_up();
        }
    }
}

/// The thread of a peer's reader.
pub(crate) type PeerThread = JoinHandle<WriterThread>;

/// What a reader returns: its writer, if it came to start one, or why the system gave no thread.
pub(crate) type WriterThread = Option<io::Result<JoinHandle<()>>>;

/// Starts the reader of a peer.
pub(crate) fn start(call: Call) -> io::Result<PeerThread> {
    let name = format!("peer-{}-in", call.peer);
    Builder::new().name(name).stack_size(limits::PEER_STACK).spawn(move || {
        let mut last_words = LastWords::of(&call);
        let Call { peer, way, line, orders, office } = call;
        let (farewell, writer) = Reader { peer, line, orders, office }.run(way);
        last_words.farewell = farewell;
        writer
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
    fn run(self, way: Way) -> (Farewell, WriterThread) {
        let met = match self.meet(way) {
            Ok(met) => met,
            Err(farewell) => return (farewell, None),
        };
        let Met { mut messenger, address, greeting, introduction: (torrent, context) } = met;
        // The metadata may have come while the handshakes were under way.
        let context = context.successor().cloned().unwrap_or(context);
        let extension = greeting.reserved.extension().then(|| self.our_extensions(&context));
        let Begun { mut inbound, outbound, connected } =
            self.begin(address, &greeting, context, extension);
        if let Err(gone) = self.publish(connected) {
            return (gone.into(), None);
        }
        let writer = match self.start_writer(torrent, outbound, messenger.split()) {
            Ok(writer) => writer,
            Err(error) => {
                let why = format!("no thread for its writer: {}", reason(&error));
                return (ours(why), Some(Err(error)));
            }
        };
        let Err(heard) = self.listen(messenger.as_mut(), &mut inbound);
        self.line.hang_up();
        let farewell = self.line.farewell.lock().take().unwrap_or(heard);
        for word in inbound.take_back() {
            if let Err(gone) = self.publish(PeerNews::Lost(word)) {
                return (gone.into(), Some(Ok(writer)));
            }
        }
        (farewell, Some(Ok(writer)))
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

    #[inline(never)]
    fn start_writer(
        &self,
        torrent: TorrentKey,
        outbound: Box<Outbound>,
        messenger: Box<dyn Messenger>,
    ) -> io::Result<JoinHandle<()>> {
        let writer = Writer {
            line: Arc::clone(&self.line),
            peer: self.peer,
            torrent,
            outbound,
            messenger,
            orders: self.orders.clone(),
            office: Arc::clone(&self.office),
            paced: None,
        };
        let name = format!("peer-{}-out", self.peer);
        Builder::new().name(name).stack_size(limits::PEER_STACK).spawn(move || writer.run())
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

/// The writer: carries out main's orders, and says by itself what its machine finds to say.
struct Writer {
    peer: PeerKey,
    torrent: TorrentKey,
    outbound: Box<Outbound>,
    messenger: Box<dyn Messenger>,
    orders: Receiver<ToPeer>,
    line: Arc<Line>,
    office: Arc<Office>,
    /// A block, or what is as large, that the rate limit lets go at this time. What else there is to
    /// say goes before it: a download must not be slow because uploads are.
    paced: Option<(Speech, Instant)>,
}

impl Writer {
    /// Speaks until the connection ends, or main lets go of it.
    fn run(mut self) {
        let Err(farewell) = self.speak();
        *self.line.farewell.lock() = farewell;
        self.line.hang_up();
    }

    fn speak(&mut self) -> Result<Infallible, Option<Farewell>> {
        loop {
            self.say_all()?;
            let look = self.outbound.poll_deadline(now());
            let until = self.paced.as_ref().map_or(look, |(_, at)| look.min(*at));
            match self.orders.recv_deadline(until) {
                Ok(order) => self.outbound.handle_order(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(None),
            }
        }
    }

    /// Says whatever there is to say just now.
    fn say_all(&mut self) -> Result<(), Option<Farewell>> {
        let mut uploads = 0;
        self.take_orders();
        while let Some(speech) = self.next_speech() {
            match speech {
                Speech::Message(message) | Speech::Metadata(message) => {
                    self.messenger.send(&message).map_err(|error| does_not_read(&error))?;
                }
                Speech::Upload(block) => {
                    self.upload(block)?;
                    uploads += 1;
                    if uploads % limits::UPLOADS_REPORTED == 0 {
                        self.report()?;
                        self.take_orders();
                    }
                }
                Speech::Farewell => {
                    self.messenger.flush().map_err(|error| does_not_read(&error))?;
                    return Err(Some(nobodys("both sides have everything")));
                }
            }
        }
        self.messenger.flush().map_err(|error| does_not_read(&error))?;
        self.report()
    }

    /// The next thing to do that the rate limit allows.
    fn next_speech(&mut self) -> Option<Speech> {
        let time = now();
        if self.paced.as_ref().is_some_and(|(_, at)| time < *at) {
            return self.outbound.poll_message(time);
        }
        if let Some((speech, _)) = self.paced.take() {
            return Some(speech);
        }
        let speech = self.outbound.poll_speech(time)?;
        match speech.payload_len().and_then(|len| self.office.up.take(len)) {
            Some(at) => {
                self.paced = Some((speech, at));
                self.outbound.poll_message(time)
            }
            None => Some(speech),
        }
    }

    fn upload(&mut self, block: Block) -> Result<(), Option<Farewell>> {
        let (offset, len) = (self.outbound.offset_of(block), u64::from(block.len));
        let parts = self.office.files.parts(self.torrent, offset, len, Access::Read);
        let mut parts = parts.map_err(|error| Some(unreadable(&error)))?;
        self.messenger.send_block(block, &mut parts).map_err(|unsent| match unsent {
            Unsent::Data(error) => Some(unreadable(&error)),
            Unsent::Line(error) => does_not_read(&error),
        })?;
        self.outbound.handle_uploaded(block.len);
        Ok(())
    }

    fn take_orders(&mut self) {
        self.orders.try_iter().for_each(|order| self.outbound.handle_order(order));
    }

    fn report(&mut self) -> Result<(), Option<Farewell>> {
        if let Some((orders, uploaded)) = self.outbound.poll_performed() {
            let performed = PeerNews::Performed { orders, uploaded };
            publish(&self.office.notifications, self.peer, performed).map_err(|_gone| None)?;
        }
        Ok(())
    }
}

/// A block that the files no longer hold: a promise that we cannot keep.
fn unreadable(error: &io::Error) -> Farewell {
    ours(format_args!("a block for it cannot be read: {error}"))
}

/// A failed write: the reader hears of a closed connection by itself; one that takes nothing is
/// ended here.
fn does_not_read(error: &io::Error) -> Option<Farewell> {
    let seconds = limits::WRITE_TIMEOUT.as_secs();
    is_time_out(error).then(|| theirs(format_args!("it read nothing for {seconds} s")))
}

#[cfg(test)]
mod tests;
