//! What we say next to one peer.
//!
//! Orders bring what main decided. The rest is found here: HAVEs at this writer's own cursor into
//! the have log, interest by comparing the peer's bit field with what we want, keep-alives, and that
//! nothing is left to say when both sides have everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::bus::{MetadataWord, PeerShared, Renewal, ToPeer, TorrentContext};
use crate::formats::wire::{
    EXTENSION_HANDSHAKE, ExtensionHandshake, Message, MetadataMessage, OUR_UT_METADATA, UT_METADATA,
};
use crate::machines::conversation::gossip::Gossip;
use crate::words::bitfield::{Bitfield, words_for};
use crate::words::have_log::Subscription;
use crate::words::id::Block;
use crate::words::limits;
use crate::words::limits::metadata::METADATA_PIECE_LEN;

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
    /// Peer exchange, if the peer understands it.
    gossip: Option<Gossip>,
    /// The pieces of metadata that it is to be sent, and as which message.
    metadata: VecDeque<(u8, u32)>,
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
    /// Send this message, which is as large as a block: a piece of metadata.
    Metadata(Message),
    /// End the connection: both sides have everything.
    Farewell,
}

impl Speech {
    /// The bytes of a block, or of what is as large: the rate limit is for these.
    pub fn payload_len(&self) -> Option<u32> {
        match self {
            Self::Upload(block) => Some(block.len),
            Self::Metadata(Message::Extended { payload, .. }) => u32::try_from(payload.len()).ok(),
            Self::Message(_) | Self::Metadata(_) | Self::Farewell => None,
        }
    }
}

const KEEP_ALIVE: Speech = Speech::Message(Message::KeepAlive);

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
            gossip: None,
            metadata: VecDeque::new(),
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
        self.renew();
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
            ToPeer::Exchange { id, peer, near } => match &mut self.gossip {
                Some(gossip) => gossip.rename(id),
                None => {
                    let log = Arc::clone(&self.context.swarm);
                    self.gossip = Some(Gossip::new(log, (peer, near), id));
                }
            },
            ToPeer::OfferMetadata => self.offer_metadata(),
            ToPeer::Metadata(id, MetadataWord::Ask(piece)) => {
                self.say_of_metadata(id, &MetadataMessage::Request(piece));
            }
            ToPeer::Metadata(id, MetadataWord::Refuse(piece)) => {
                self.say_of_metadata(id, &MetadataMessage::Reject(piece));
            }
            ToPeer::Metadata(id, MetadataWord::Give(piece)) => {
                self.metadata.push_back((id, piece));
                return;
            }
        }
        self.performed += 1;
    }

    /// The next thing to do, if there is any just now.
    pub fn poll_speech(&mut self, now: Instant) -> Option<Speech> {
        self.renew();
        let speech = self.next_speech(now);
        if speech.is_some() {
            self.spoke_at = now;
        }
        speech
    }

    /// The next thing to do but a block, while the rate limit lets none go.
    pub fn poll_message(&mut self, now: Instant) -> Option<Speech> {
        let speech = self.next_message(now);
        if speech.is_some() {
            self.spoke_at = now;
        }
        speech
    }

    /// When to look again, if no order comes.
    pub fn poll_deadline(&self, now: Instant) -> Instant {
        let gossip = self.gossip.as_ref().map(|gossip| gossip.poll_deadline(now));
        let keep_alive = self.spoke_at + limits::KEEP_ALIVE_EVERY;
        let keep_alive = gossip.map_or(keep_alive, |due| due.min(keep_alive));
        // Main publishes the last piece before it says that there will be no more, so whoever sees
        // that sees the piece too: the order of these two looks matters.
        let growing = self.is_growing();
        if self.haves.has_news() {
            return now;
        }
        if self.haves.is_over() || !growing {
            return keep_alive;
        }
        keep_alive.min(now + have_delay(self.context.writers.load(Ordering::Relaxed)))
    }

    /// Until when there is nothing to say if no order comes, if that is so long that no thread should
    /// wait for it.
    pub fn poll_rest(&self, now: Instant) -> Option<Instant> {
        let is_done =
            self.messages.is_empty() && self.uploads.is_empty() && self.metadata.is_empty();
        let until = self.poll_deadline(now);
        (is_done && !self.context.is_unknown() && until >= now + limits::WRITER_RESTS_FOR)
            .then_some(until)
    }

    /// Whether the torrent may still gain pieces, of which the peer is told.
    pub fn is_growing(&self) -> bool {
        self.context.growing.load(Ordering::Acquire)
    }

    /// The bytes of what there is to say just now beside blocks.
    pub fn greeting_len(&self) -> usize {
        let mut bytes = Vec::new();
        self.messages.iter().for_each(|message| message.emit(&mut bytes));
        bytes.len()
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

    /// The torrent's metadata has come to the reader: from now on there are pieces to talk about.
    fn renew(&mut self) {
        if !self.context.is_unknown() {
            return;
        }
        let Some(Renewal { context, shared }) = self.shared.renewal.get().cloned() else { return };
        context.writers.fetch_add(1, Ordering::Relaxed);
        self.context.writers.fetch_sub(1, Ordering::Relaxed);
        self.haves = context.have_log.subscribe();
        self.interest = Interest::default();
        (self.context, self.shared) = (context, shared);
    }

    /// What a peer leaves out of a further handshake is as it was (BEP 10).
    fn offer_metadata(&mut self) {
        let handshake = ExtensionHandshake {
            extensions: [(UT_METADATA.to_owned(), OUR_UT_METADATA)].into(),
            metadata_len: u32::try_from(self.context.metainfo.info_bytes().len()).ok(),
            ..ExtensionHandshake::default()
        };
        let (id, payload) = (EXTENSION_HANDSHAKE, handshake.emit());
        self.messages.push_back(Message::Extended { id, payload });
    }

    fn say_of_metadata(&mut self, id: u8, message: &MetadataMessage) {
        self.messages.push_back(Message::Extended { id, payload: message.emit() });
    }

    /// Main has made sure that there is such a piece.
    fn piece_of_metadata(&self, id: u8, piece: u32) -> Message {
        let info = self.context.metainfo.info_bytes();
        let total_len = u32::try_from(info.len()).expect("a torrent is shorter than 4 GiB");
        let data = info.chunks(METADATA_PIECE_LEN as usize).nth(piece as usize).unwrap_or_default();
        let data = MetadataMessage::Data { piece, total_len, data: data.to_vec() };
        Message::Extended { id, payload: data.emit() }
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
        // Whoever is silent for long has no block to send, and nothing to say before.
        let message = self.next_message(now).filter(|speech| *speech != KEEP_ALIVE);
        if message.is_some() {
            return message;
        }
        if let Some((id, piece)) = self.metadata.pop_front() {
            self.performed += 1;
            return Some(Speech::Metadata(self.piece_of_metadata(id, piece)));
        }
        if let Some(block) = self.uploads.pop_front() {
            return Some(Speech::Upload(block));
        }
        let is_known = !self.context.is_unknown();
        if is_known && self.haves.is_over() && self.shared.theirs.is_full() {
            return Some(Speech::Farewell);
        }
        self.is_silent(now).then_some(KEEP_ALIVE)
    }

    fn next_message(&mut self, now: Instant) -> Option<Speech> {
        if let Some(message) = self.messages.pop_front() {
            return Some(Speech::Message(message));
        }
        if let Some(piece) = self.haves.next() {
            return Some(Speech::Message(Message::Have(piece)));
        }
        if let Some(message) = self.interest.look(&self.context, &self.shared) {
            return Some(Speech::Message(message));
        }
        if let Some(message) = self.gossip.as_mut().and_then(|gossip| gossip.poll_message(now)) {
            return Some(Speech::Message(message));
        }
        self.is_silent(now).then_some(KEEP_ALIVE)
    }

    fn is_silent(&self, now: Instant) -> bool {
        now >= self.spoke_at + limits::KEEP_ALIVE_EVERY
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

#[cfg(test)]
mod tests;
