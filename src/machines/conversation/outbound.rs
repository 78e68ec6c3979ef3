//! What we say next to one peer.
//!
//! Orders bring what main decided. The rest is found here: HAVEs at this writer's own cursor into
//! the have log, interest by comparing the peer's bit field with what we want, keep-alives, and that
//! nothing is left to say when both sides have everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bus::{PeerShared, ToPeer, TorrentContext};
use crate::formats::wire::Message;
use crate::words::bitfield::{Bitfield, words_for};
use crate::words::have_log::Subscription;
use crate::words::id::Block;
use crate::words::limits;

/// The writer's machine: orders in, speech out.
#[derive(Debug)]
pub struct Outbound {
    context: Arc<TorrentContext>,
    shared: Arc<PeerShared>,
    /// Both sides know the fast extension (BEP 6): whatever is not sent is rejected.
    fast: bool,
    haves: Subscription,
    messages: VecDeque<Message>,
    uploads: VecDeque<Block>,
    interest: Interest,
    spoke_at: Instant,
    performed: u32,
    uploaded: u64,
}

/// What the writer does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Speech {
    /// Send this message.
    Message(Message),
    /// Send this block from the disk.
    Upload(Block),
    /// End the connection: both sides have everything.
    Farewell,
}

/// Whether the peer has something that we want, found anew only when either side has changed.
#[derive(Debug, Default)]
struct Interest {
    told: bool,
    /// The changes of (theirs, wanted) that the last look saw.
    seen: Option<(u32, u32)>,
    /// A word in which there was something: looked at first.
    word: u32,
}

impl Interest {
    fn look(&mut self, context: &TorrentContext, shared: &PeerShared) -> Option<Message> {
        let now = (shared.theirs.changes(), context.wanted.changes());
        if self.seen.replace(now) == Some(now) {
            return None;
        }
        let words = words_for(shared.theirs.len());
        let interesting = |word: &u32| shared.theirs.word(*word) & context.wanted.word(*word) != 0;
        let found = std::iter::once(self.word).chain(0..words).find(interesting);
        self.word = found.unwrap_or(self.word);
        if found.is_some() == self.told {
            return None;
        }
        self.told = found.is_some();
        Some(if self.told { Message::Interested } else { Message::NotInterested })
    }
}

impl Outbound {
    /// The handshakes are done; `greetings` are what we say after our bit field. `fast` if both
    /// sides know the fast extension.
    pub fn new(
        context: Arc<TorrentContext>,
        shared: Arc<PeerShared>,
        fast: bool,
        greetings: Vec<Message>,
        now: Instant,
    ) -> Self {
        context.writers.fetch_add(1, Ordering::Relaxed);
        let mut haves = context.have_log.subscribe();
        let mut first = Bitfield::zeros(context.metainfo.pieces());
        haves.by_ref().for_each(|piece| {
            first.set(piece);
        });
        let bitfield = match first.ones() {
            0 if fast => Some(Message::HaveNone),
            0 => None,
            _ if fast && first.is_full() => Some(Message::HaveAll),
            _ => Some(Message::Bitfield(first.to_wire())),
        };
        Self {
            fast,
            context,
            shared,
            haves,
            messages: bitfield.into_iter().chain(greetings).collect(),
            uploads: VecDeque::new(),
            interest: Interest::default(),
            spoke_at: now,
            performed: 0,
            uploaded: 0,
        }
    }

    /// Main ordered this.
    /// An upload counts as performed when it was sent or taken back, so a peer that does not read
    /// cannot make this queue grow.
    pub fn handle_order(&mut self, order: ToPeer) {
        match order {
            ToPeer::Request(range) => {
                let blocks = range.first..range.first + range.count;
                let block = |n| self.context.metainfo.block(range.piece, n);
                self.messages.extend(blocks.map(|n| Message::Request(block(n))));
            }
            ToPeer::Cancel(block) => self.messages.push_back(Message::Cancel(block)),
            ToPeer::Choke => {
                self.messages.push_back(Message::Choke);
                self.drop_uploads(|_| true);
            }
            ToPeer::Unchoke => self.messages.push_back(Message::Unchoke),
            ToPeer::Upload(block) => {
                self.uploads.push_back(block);
                return;
            }
            ToPeer::Withdraw(block) => self.drop_uploads(|waiting| waiting == block),
            ToPeer::Reject(block) => self.messages.push_back(Message::Reject(block)),
            ToPeer::Look => {}
        }
        self.performed += 1;
    }

    /// The next thing to do, if there is any just now.
    pub fn poll_speech(&mut self, now: Instant) -> Option<Speech> {
        let speech = self.next_speech(now);
        if speech.is_some() {
            self.spoke_at = now;
        }
        speech
    }

    /// When to look again, if no order comes.
    pub fn poll_deadline(&self, now: Instant) -> Instant {
        let keep_alive = self.spoke_at + limits::KEEP_ALIVE_EVERY;
        // Main publishes the last piece before it says that there will be no more, so whoever sees
        // that sees the piece too: the order of these two looks matters.
        let growing = self.context.growing.load(Ordering::Acquire);
        if self.haves.has_news() {
            return now;
        }
        if self.haves.is_over() || !growing {
            return keep_alive;
        }
        keep_alive.min(now + have_delay(self.context.writers.load(Ordering::Relaxed)))
    }

    /// Where `block` begins in the torrent, in bytes.
    pub fn offset_of(&self, block: Block) -> u64 {
        self.context.metainfo.piece_offset(block.piece) + u64::from(block.offset)
    }

    /// A block of `len` bytes was sent.
    pub fn handle_uploaded(&mut self, len: u32) {
        self.performed += 1;
        self.uploaded += u64::from(len);
    }

    /// How many orders have been carried out and how many bytes of blocks have been sent since the
    /// last call.
    pub fn poll_performed(&mut self) -> Option<(u32, u64)> {
        let performed = (std::mem::take(&mut self.performed), std::mem::take(&mut self.uploaded));
        (performed != (0, 0)).then_some(performed)
    }

    fn drop_uploads(&mut self, dropped: impl Fn(Block) -> bool) {
        for block in std::mem::take(&mut self.uploads) {
            if !dropped(block) {
                self.uploads.push_back(block);
                continue;
            }
            self.performed += 1;
            if self.fast {
                self.messages.push_back(Message::Reject(block));
            }
        }
    }

    fn next_speech(&mut self, now: Instant) -> Option<Speech> {
        if let Some(message) = self.messages.pop_front() {
            return Some(Speech::Message(message));
        }
        if let Some(piece) = self.haves.next() {
            return Some(Speech::Message(Message::Have(piece)));
        }
        if let Some(message) = self.interest.look(&self.context, &self.shared) {
            return Some(Speech::Message(message));
        }
        if let Some(block) = self.uploads.pop_front() {
            return Some(Speech::Upload(block));
        }
        if self.haves.is_over() && self.shared.theirs.is_full() {
            return Some(Speech::Farewell);
        }
        let silent = now >= self.spoke_at + limits::KEEP_ALIVE_EVERY;
        silent.then_some(Speech::Message(Message::KeepAlive))
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.context.writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a HAVE may wait: longer where many writers look, so that looking stays cheap.
fn have_delay(writers: u32) -> Duration {
    limits::HAVE_DELAY * (writers / limits::HAVE_DELAY_WRITERS).max(1)
}
