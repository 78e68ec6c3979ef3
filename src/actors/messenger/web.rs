//! The Messenger of a web seed (BEP 19): a server that is asked by HTTP, and looks to the engine like
//! a peer that has everything.
//!
//! The half that speaks hands the requests for blocks over; the half that hears joins those that lie
//! together, asks for them file by file, and hears each block when it is whole.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use crate::actors::clock::now;
use crate::actors::http::{Connection, Manner, NO_HTTPS, addresses_of, connect_first, is_spoken};
use crate::actors::messenger::{Breakdown, HangUp, Messenger, Parts, Unsent};
use crate::formats::http::{self, Body, Head};
use crate::formats::metainfo::{Metainfo, Stretch};
use crate::formats::url::{Scheme, Url};
use crate::formats::web_seed::{Part, WebSeed, may_ask, range_line};
use crate::formats::wire::{Handshake, HandshakeHead, Message, Reserved};
use crate::words::address::is_local;
use crate::words::id::Block;
use crate::words::limits;

/// Asks a web seed.
#[derive(Debug)]
pub(crate) struct WebMessenger {
    seed: Arc<Source>,
    line: Arc<WebLine>,
    asked: Receiver<Asked>,
    /// What is to be heard before anything else.
    ready: VecDeque<Message>,
    /// Blocks that were asked for, and of which nothing is on its way.
    queue: VecDeque<Block>,
    /// What is on its way.
    run: Option<Run>,
}

/// What is asked of whom.
#[derive(Debug)]
struct Source {
    seed: WebSeed,
    metainfo: Arc<Metainfo>,
    leave_from: Option<IpAddr>,
}

/// What the half that speaks tells the half that hears.
#[derive(Clone, Copy, Debug)]
enum Asked {
    For(Block),
    Not(Block),
    HungUp,
}

/// The end of a web seed's connections.
#[derive(Debug)]
pub(super) struct WebLine {
    asks: Sender<Asked>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    Open(Arc<TcpStream>),
    Ended,
}

impl WebLine {
    /// There is a connection now; it is ended at once if the line has been hung up before.
    fn open(&self, stream: &Arc<TcpStream>) {
        let mut state = self.state.lock();
        match *state {
            State::Ended => drop(stream.shutdown(Shutdown::Both)),
            State::Idle | State::Open(_) => *state = State::Open(Arc::clone(stream)),
        }
    }

    /// There is none for now.
    fn close(&self) {
        let mut state = self.state.lock();
        if !matches!(*state, State::Ended) {
            *state = State::Idle;
        }
    }

    fn is_ended(&self) -> bool {
        matches!(*self.state.lock(), State::Ended)
    }
}

impl HangUp for WebLine {
    fn hang_up(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Ended);
        if let State::Open(stream) = state {
            // A socket that cannot be shut down is closed already.
            stream.shutdown(Shutdown::Both).ok();
        }
        // Where there is no room the other half is awake.
        self.asks.try_send(Asked::HungUp).ok();
    }
}

impl WebMessenger {
    /// Asks `seed` for blocks of a torrent. No connection is made before the first is asked for.
    pub(crate) fn new(seed: WebSeed, metainfo: Arc<Metainfo>, leave_from: Option<IpAddr>) -> Self {
        let (asks, asked) = bounded(limits::WEB_ASKED_MAX);
        let ready = VecDeque::from([Message::HaveAll, Message::Unchoke]);
        let (seed, queue) = (Arc::new(Source { seed, metainfo, leave_from }), VecDeque::new());
        let line = Arc::new(WebLine { asks, state: Mutex::new(State::Idle) });
        Self { seed, line, asked, ready, queue, run: None }
    }

    /// How it would greet, if it could.
    pub(crate) fn greeting(&self) -> Handshake {
        let reserved = Reserved::default().with_fast();
        let (info_hash, peer_id) = (self.seed.metainfo.info_hash(), self.seed.seed.peer_id());
        Handshake { reserved, info_hash, peer_id }
    }

    fn take(&mut self, asked: Asked) -> Result<(), Breakdown> {
        match asked {
            Asked::For(block) => self.queue.push_back(block),
            Asked::Not(block) => {
                if let Some(place) = self.queue.iter().position(|queued| *queued == block) {
                    self.queue.remove(place);
                    self.ready.push_back(Message::Reject(block));
                }
            }
            Asked::HungUp => return Err(Breakdown::Closed),
        }
        Ok(())
    }

    /// The first block in the queue, and those behind it that continue it.
    fn next_run(&mut self) -> Option<Run> {
        let metainfo = &self.seed.metainfo;
        let place = |block: &Block| metainfo.piece_offset(block.piece) + u64::from(block.offset);
        let first = self.queue.pop_front()?;
        let (begin, mut end) = (place(&first), place(&first) + u64::from(first.len));
        let mut blocks = VecDeque::from([first]);
        while let Some(next) = self.queue.front().copied().filter(|next| place(next) == end) {
            end += u64::from(next.len);
            blocks.push_back(next);
            self.queue.pop_front();
        }
        let parts = metainfo.stretches(begin, end - begin).collect();
        Some(Run { blocks, parts, data: Vec::new(), answer: None })
    }
}

impl Messenger for WebMessenger {
    fn greet(&mut self, _ours: &Handshake) -> io::Result<()> {
        Ok(())
    }

    fn receive_head(&mut self, _deadline: Instant) -> Result<Option<HandshakeHead>, Breakdown> {
        let Handshake { reserved, info_hash, .. } = self.greeting();
        Ok(Some(HandshakeHead { reserved, info_hash }))
    }

    fn receive_greeting(&mut self, _deadline: Instant) -> Result<Option<Handshake>, Breakdown> {
        Ok(Some(self.greeting()))
    }

    /// A server that nobody asks anything says nothing; that is no reason to part, so a keep-alive is
    /// heard instead.
    fn receive(&mut self, _pieces: u32, deadline: Instant) -> Result<Option<Message>, Breakdown> {
        loop {
            while let Ok(asked) = self.asked.try_recv() {
                self.take(asked)?;
            }
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            if self.line.is_ended() {
                return Err(Breakdown::Closed);
            }
            if self.run.is_none() {
                self.run = self.next_run();
            }
            let Some(run) = &mut self.run else {
                match self.asked.recv_deadline(deadline) {
                    Ok(asked) => self.take(asked)?,
                    Err(RecvTimeoutError::Timeout) => return Ok(Some(Message::KeepAlive)),
                    Err(RecvTimeoutError::Disconnected) => return Err(Breakdown::Closed),
                }
                continue;
            };
            match run.advance(&self.seed, &self.line, deadline)? {
                Heard::Block(message) => {
                    if run.blocks.is_empty() {
                        self.run = None;
                        self.line.close();
                    }
                    return Ok(Some(message));
                }
                Heard::Something => {}
                Heard::Nothing => return Ok(None),
            }
        }
    }

    /// Requests and cancels are all that a server understands.
    fn send(&mut self, message: &Message) -> io::Result<()> {
        let asked = match *message {
            Message::Request(block) => Asked::For(block),
            Message::Cancel(block) => Asked::Not(block),
            Message::KeepAlive
            | Message::Choke
            | Message::Unchoke
            | Message::Interested
            | Message::NotInterested
            | Message::Have(_)
            | Message::Bitfield(_)
            | Message::Piece { .. }
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::HaveAll
            | Message::HaveNone
            | Message::Reject(_)
            | Message::AllowedFast(_)
            | Message::Extended { .. }
            | Message::Unknown { .. } => return Ok(()),
        };
        let sent = self.line.asks.try_send(asked);
        sent.map_err(|_full| io::Error::other("more is asked for than can be"))
    }

    fn send_block(&mut self, _block: Block, _parts: &mut Parts<'_>) -> Result<(), Unsent> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.line.is_ended() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn split(&self) -> Box<dyn Messenger> {
        Box::new(Self {
            seed: Arc::clone(&self.seed),
            line: Arc::clone(&self.line),
            asked: crossbeam_channel::never(),
            ready: VecDeque::new(),
            queue: VecDeque::new(),
            run: None,
        })
    }

    fn line(&self) -> Arc<dyn HangUp> {
        Arc::clone(&self.line) as Arc<dyn HangUp>
    }
}

/// Blocks that lie together, as far as they are here.
#[derive(Debug)]
struct Run {
    /// The blocks that are not here.
    blocks: VecDeque<Block>,
    /// Where their bytes are, file by file.
    parts: VecDeque<Stretch>,
    /// What is here of the first block.
    data: Vec<u8>,
    /// The answer that has the bytes of the first part.
    answer: Option<Answer>,
}

/// What came of one look at the socket.
enum Heard {
    Block(Message),
    Something,
    /// The deadline has passed.
    Nothing,
}

impl Run {
    /// Waits for some more bytes, or asks for them.
    fn advance(
        &mut self,
        source: &Source,
        line: &WebLine,
        deadline: Instant,
    ) -> Result<Heard, Breakdown> {
        let (Some(block), Some(part)) = (self.blocks.front().copied(), self.parts.front_mut())
        else {
            return Err(for_good("its blocks have no bytes"));
        };
        let missing = u64::from(block.len) - self.data.len() as u64;
        let most = missing.min(part.len);
        let len = if source.metainfo.files()[part.file].pad {
            let most = usize::try_from(most).expect("a block is short");
            self.data.resize(self.data.len() + most, 0);
            most
        } else {
            let answer = match &mut self.answer {
                Some(answer) => answer,
                None => self.answer.insert(Answer::to(source, *part, line)?),
            };
            if answer.ready.is_empty() {
                return answer.hear(deadline);
            }
            let most = usize::try_from(most).expect("a block is short").min(answer.ready.len());
            self.data.extend(answer.ready.drain(..most));
            most
        };
        part.offset += len as u64;
        part.len -= len as u64;
        if part.len == 0 {
            // Whatever else the server would say, nobody asked for it.
            self.answer = None;
            self.parts.pop_front();
        }
        if self.data.len() < block.len as usize {
            return Ok(Heard::Something);
        }
        self.blocks.pop_front();
        let Block { piece, offset, .. } = block;
        Ok(Heard::Block(Message::Piece { piece, offset, data: std::mem::take(&mut self.data) }))
    }
}

/// The body of an answer, as it comes.
#[derive(Debug)]
struct Answer {
    connection: Connection,
    body: Body,
    /// What has come and was not read.
    held: Vec<u8>,
    /// What was read and is not used.
    ready: VecDeque<u8>,
    heard_at: Instant,
}

impl Answer {
    /// Asks for a part of a file, following redirects.
    fn to(source: &Source, part: Stretch, line: &WebLine) -> Result<Self, Breakdown> {
        let url = source.seed.url_of(&source.metainfo, part.file);
        let mut url = url.map_err(|error| for_good(&error.to_string()))?;
        let deadline = now() + limits::WEB_ANSWER_TIMEOUT;
        let mut public = false;
        for _ in 0..=limits::trackers::HTTP_REDIRECTS_MAX {
            if !is_spoken(url.scheme) {
                return Err(for_good(NO_HTTPS));
            }
            let addresses = addresses_of(&url).map_err(|why| for_now(&why))?;
            let refused = |address: &SocketAddr| may_ask(&url, address.ip(), public).err();
            if let Some(why) = addresses.iter().find_map(refused) {
                return Err(for_good(&why));
            }
            let manner = Manner {
                deadline,
                body_max: 0,
                leave_from: source.leave_from,
                judge: &|url, ip| may_ask(url, ip, public),
                is_over: &|| line.is_ended(),
            };
            let (connection, theirs) =
                connect_first(&url, &addresses, public, &manner).map_err(|why| for_now(&why))?;
            public |= !is_local(theirs.ip());
            line.open(connection.socket());
            let (head, mut answer) = Self::ask(&url, part, connection, deadline)?;
            if matches!(head.status, 301..=303 | 307 | 308)
                && let Some(location) = &head.location
            {
                url = next_of(&url, location)?;
                continue;
            }
            check(&head, part, source.metainfo.files()[part.file].len)?;
            answer.sort()?;
            return Ok(answer);
        }
        Err(for_good("it redirects in circles"))
    }

    /// Sends one request, and hears the head of its answer.
    fn ask(
        url: &Url,
        part: Stretch,
        mut connection: Connection,
        deadline: Instant,
    ) -> Result<(Head, Self), Breakdown> {
        let request = http::request(url, &range_line(part.offset, part.len));
        connection.send(&request, limits::WRITE_TIMEOUT).map_err(Breakdown::Broken)?;
        let (held, ready, body) = (Vec::new(), VecDeque::new(), Body::UntilEnd);
        let mut answer = Self { connection, body, held, ready, heard_at: now() };
        loop {
            match http::head(&answer.held).map_err(|error| for_good(&error.to_string()))? {
                // What may come before the answer itself (RFC 9110, section 15.2).
                Some((head, len)) if matches!(head.status, 100..=199) => {
                    answer.held.drain(..len);
                }
                Some((head, len)) => {
                    answer.held.drain(..len);
                    answer.body = head.body;
                    return Ok((head, answer));
                }
                None if now() < deadline => drop(answer.read(deadline)?),
                None => return Err(for_now("it does not answer")),
            }
        }
    }

    /// Hears some more of the body.
    fn hear(&mut self, deadline: Instant) -> Result<Heard, Breakdown> {
        if self.body.is_whole() {
            return Err(for_good("its answer is shorter than what was asked for"));
        }
        if !self.read(deadline)? {
            let silent = now() >= self.heard_at + limits::WEB_ANSWER_TIMEOUT;
            return if silent { Err(for_now("it sends no more")) } else { Ok(Heard::Nothing) };
        }
        self.sort()?;
        Ok(Heard::Something)
    }

    /// Reads what has come; `false` if nothing came in time.
    fn read(&mut self, deadline: Instant) -> Result<bool, Breakdown> {
        let patience = deadline.saturating_duration_since(now());
        if patience.is_zero() {
            return Ok(false);
        }
        let held = self.held.len();
        self.held.resize(held + limits::BLOCK_LEN as usize, 0);
        let read = self.connection.receive(&mut self.held[held..], patience);
        let n = *read.as_ref().ok().and_then(Option::as_ref).unwrap_or(&0);
        self.held.truncate(held + n);
        match read.map_err(Breakdown::Broken)? {
            Some(0) => Err(Breakdown::Closed),
            Some(_) => {
                self.heard_at = now();
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Sorts out which of what has come are bytes of the body.
    fn sort(&mut self) -> Result<(), Breakdown> {
        loop {
            let read = self.body.read(&self.held).map_err(|error| for_good(&error.to_string()))?;
            let (done, bytes) = read;
            self.ready.extend(bytes);
            self.held.drain(..done);
            if done == 0 || self.held.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Where a redirect goes, if it may be followed: from HTTPS to nothing less.
fn next_of(url: &Url, location: &str) -> Result<Url, Breakdown> {
    let next = url.join(location);
    let next = next.map_err(|error| for_good(&format!("it redirects, but {error}")))?;
    match (url.scheme, next.scheme) {
        (Scheme::Http, Scheme::Http) | (_, Scheme::Https) => Ok(next),
        (_, scheme) => Err(for_good(&format!("it redirects to {scheme}, which is not followed"))),
    }
}

/// Whether an answer has the part of a file that was asked for. A server that knows no parts gives
/// the whole: that is as good where the part is at the beginning.
fn check(head: &Head, part: Stretch, whole: u64) -> Result<(), Breakdown> {
    match head.status {
        206 => {
            let told = head.content_range.as_deref().and_then(Part::parse);
            let told = told.ok_or_else(|| for_good("it does not say which part its answer is"))?;
            if told.whole.is_some_and(|told| told != whole) {
                return Err(for_good("its file has another length"));
            }
            let right = told.first == part.offset && told.last >= part.offset + part.len - 1;
            if right { Ok(()) } else { Err(for_good("its answer is another part of the file")) }
        }
        200 if part.offset > 0 => Err(for_good("it serves whole files, and no parts of them")),
        200 => match head.body {
            Body::Sized(len) if len != whole => Err(for_good("its file has another length")),
            Body::Sized(_)
            | Body::UntilEnd
            | Body::ChunkLine
            | Body::Chunk(_)
            | Body::ChunkEnd
            | Body::Whole => Ok(()),
        },
        408 | 425 | 429 | 500..=599 => Err(for_now(&format!("it answers {}", head.status))),
        status => Err(for_good(&format!("it answers {status}"))),
    }
}

fn for_good(why: &str) -> Breakdown {
    Breakdown::Web { why: why.to_owned(), for_good: true }
}

fn for_now(why: &str) -> Breakdown {
    Breakdown::Web { why: why.to_owned(), for_good: false }
}

#[cfg(test)]
mod tests;
