//! The half of a peer that writes, and the desk at which it rests.
//!
//! A writer that has had nothing to do for a while, and nothing to say before long, needs no thread: its
//! thread lays it on the desk and ends. Main looks there after each order, and has the porter start a
//! thread for it; when it is time for a keep-alive, the reader does. A writer of a torrent that still
//! grows does not rest, since it looks at the have log.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;

use super::{Line, Office, Reader, nobodys, ours, publish, theirs};
use crate::actors::clock::now;
use crate::actors::file_error::{is_time_out, reason};
use crate::actors::files::Access;
use crate::actors::messenger::Messenger;
use crate::actors::zero_copy::Unsent;
use crate::bus::{Farewell, PeerNews, ToPeer};
use crate::machines::conversation::{Outbound, Speech};
use crate::words::id::{Block, PeerKey, TorrentKey};
use crate::words::limits;

/// Where a writer is while it has no thread; and what is known of the threads that it had.
///
/// It belongs to a [`Line`], which the writer knows as well: the last words of the reader break that
/// ring, by [`clear`](Self::clear).
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// A writer rests. Whoever makes this false has to see to it that it goes on.
    rests: AtomicBool,
    sheet: Mutex<Sheet>,
}

#[derive(Debug, Default)]
struct Sheet {
    /// The writer, and when it has to go on.
    resting: Option<(Box<Writer>, Instant)>,
    /// Its last thread.
    thread: Option<JoinHandle<()>>,
    /// Why the system gave none, if it did not.
    shortage: Option<io::Error>,
}

impl Desk {
    /// Whether a writer rests, and the caller, and nobody else, is to let it go on. Waits for nobody.
    pub(super) fn claim(&self) -> bool {
        fence(Ordering::SeqCst);
        self.rests.load(Ordering::SeqCst) && self.rests.swap(false, Ordering::SeqCst)
    }

    /// The same if its time has come.
    pub(super) fn claim_due(&self, now: Instant) -> bool {
        let is_due = || self.sheet.lock().resting.as_ref().is_some_and(|(_, until)| *until <= now);
        self.rests.load(Ordering::SeqCst) && is_due() && self.claim()
    }

    /// Starts a thread for the writer that was claimed, unless its connection has ended.
    pub(super) fn go_on(&self) -> Result<(), Farewell> {
        let mut sheet = self.sheet.lock();
        match sheet.resting.take() {
            Some((writer, _)) => sheet.start(writer),
            None => Ok(()),
        }
    }

    /// Starts a thread for a writer, or lays it down if there is nothing to do.
    pub(super) fn begin(&self, writer: Box<Writer>) -> Result<(), Farewell> {
        let writer = match writer.rest_until(now()) {
            Some(until) => self.lay_down(writer, until),
            None => Some(writer),
        };
        writer.map_or(Ok(()), |writer| self.sheet.lock().start(writer))
    }

    /// A writer rests from now on, unless an order has come: then it is given back. If its connection
    /// has ended, so does it.
    fn lay_down(&self, writer: Box<Writer>, until: Instant) -> Option<Box<Writer>> {
        let (line, orders) = (Arc::clone(&writer.line), writer.orders.clone());
        {
            let mut sheet = self.sheet.lock();
            if line.is_ended() {
                return None;
            }
            sheet.resting = Some((writer, until));
            self.rests.store(true, Ordering::SeqCst);
        }
        // Main orders, then looks here; we lie down, then look for orders. One of us sees the other.
        fence(Ordering::SeqCst);
        if orders.is_empty() || !self.claim() {
            return None;
        }
        let resting = self.sheet.lock().resting.take();
        resting.map(|(writer, _)| writer)
    }

    /// The connection has ended, and the writer with it, if it rests.
    pub(super) fn clear(&self) {
        let resting = self.sheet.lock().resting.take();
        drop(resting);
    }

    /// The writer's last thread, of which main has let go.
    pub(super) fn take_thread(&self) -> Option<JoinHandle<()>> {
        self.sheet.lock().thread.take()
    }

    /// Why the system gave no thread, told once.
    pub(super) fn take_shortage(&self) -> Option<io::Error> {
        self.sheet.lock().shortage.take()
    }
}

impl Sheet {
    /// The thread before has laid the writer down, so it is over or about to be.
    fn start(&mut self, writer: Box<Writer>) -> Result<(), Farewell> {
        let name = format!("peer-{}-out", writer.peer);
        let thread = Builder::new().name(name).stack_size(limits::stacks::PEER);
        match thread.spawn(move || writer.run()) {
            Ok(thread) => {
                self.thread = Some(thread);
                Ok(())
            }
            Err(error) => {
                let why = format!("no thread for its writer: {}", reason(&error));
                self.shortage = Some(error);
                Err(ours(why))
            }
        }
    }
}

/// Carries out main's orders, and says by itself what its machine finds to say.
#[derive(Debug)]
pub(super) struct Writer {
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
    /// When it carried out its last orders.
    performed_at: Option<Instant>,
}

impl Writer {
    /// The one that belongs to `reader`.
    #[inline(never)]
    pub(super) fn new(
        reader: &Reader,
        torrent: TorrentKey,
        outbound: Box<Outbound>,
        messenger: Box<dyn Messenger>,
    ) -> Box<Self> {
        Box::new(Self {
            peer: reader.peer,
            torrent,
            outbound,
            messenger,
            orders: reader.orders.clone(),
            line: Arc::clone(&reader.line),
            office: Arc::clone(&reader.office),
            paced: None,
            performed_at: None,
        })
    }

    /// Says what is said first, from the reader's thread: if it is so short that a socket takes it that
    /// has said nothing but a handshake, and if there is to be no thread for more. Nothing has been
    /// ordered yet.
    #[inline(never)]
    pub(super) fn greet(&mut self) -> Result<(), Farewell> {
        if self.outbound.is_growing() || self.outbound.greeting_len() > limits::GREETING_LEN_MAX {
            return Ok(());
        }
        self.say_all().or_else(|farewell| {
            // Of a closed connection the reader hears by itself.
            self.line.hang_up();
            farewell.map_or(Ok(()), Err)
        })
    }

    /// Until when there will be nothing to say, unless main orders something; `None` if that would not
    /// be worth a rest.
    fn rest_until(&self, now: Instant) -> Option<Instant> {
        let is_done = self.performed_at.is_none_or(|at| now >= at + limits::WRITER_RESTS_AFTER);
        self.outbound.poll_rest(now).filter(|_| is_done && self.paced.is_none())
    }

    /// Speaks until there is nothing to say for long, the connection ends, or main lets go of it.
    pub(super) fn run(mut self: Box<Self>) {
        loop {
            match self.speak() {
                Ok(until) => {
                    let line = Arc::clone(&self.line);
                    match line.desk.lay_down(self, until) {
                        Some(writer) => self = writer,
                        None => return,
                    }
                }
                Err(farewell) => {
                    *self.line.farewell.lock() = farewell;
                    return self.line.hang_up();
                }
            }
        }
    }

    /// Returns until when it may rest.
    fn speak(&mut self) -> Result<Instant, Option<Farewell>> {
        loop {
            self.say_all()?;
            let now = now();
            if let Some(until) = self.rest_until(now) {
                return Ok(until);
            }
            let look = self.outbound.poll_deadline(now);
            let rest = self.performed_at.map(|at| at + limits::WRITER_RESTS_AFTER);
            let rest = rest.filter(|at| *at > now).unwrap_or(look);
            let until = self.paced.as_ref().map_or(look, |(_, at)| look.min(*at)).min(rest);
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
            self.performed_at = Some(now());
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
