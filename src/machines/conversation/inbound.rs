//! What one peer may say: its messages are checked against the protocol, and turned into news.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::bus::{PeerNews, PeerShared, Renewal, TorrentContext};
use crate::formats::krpc::Sharer;
use crate::formats::wire::{
    ExtensionHandshake, Message, MetadataMessage, OUR_LT_DONTHAVE, OUR_UT_METADATA, OUR_UT_PEX,
    PeerExchange, PexFlags,
};
use crate::machines::conversation::early::Early;
use crate::machines::conversation::gossip::{Patience, Verdict};
use crate::words::bitfield::{WORD_BITS, Word, wire_len, word_from_wire, words_for};
use crate::words::id::{Block, PieceIndex};
use crate::words::limits;
use crate::words::limits::metadata::{EARLY_LOOK_EVERY, EARLY_PIECES_MAX};

/// The reader's machine: messages in, news out.
#[derive(Debug)]
pub struct Inbound {
    context: Arc<TorrentContext>,
    shared: Arc<PeerShared>,
    news: VecDeque<PeerNews>,
    /// The wire bitfield that is being told, word by word.
    telling: Option<Telling>,
    /// It was told as one `Seeder`, so there are no words to take back.
    told_as_seeder: bool,
    /// That it has every piece was told.
    told_complete: bool,
    interested: bool,
    choking: bool,
    /// Both sides know the fast extension (BEP 6).
    fast: bool,
    /// Pieces that it said we may ask for while it chokes us.
    allowed_fast: usize,
    /// It has said where its node of Mainline is.
    told_node: bool,
    /// How often it may still tell us whom it is connected to; `None`: we do not want to hear it.
    exchange: Option<Patience>,
    /// What it said of pieces before the torrent's metadata was here; `None`: it is here.
    early: Option<Early>,
    /// When to look whether it is.
    look_at: Instant,
    stall_at: Option<Instant>,
    sample_at: Instant,
    heard_at: Instant,
}

#[derive(Debug)]
struct Telling {
    bytes: Vec<u8>,
    next: u32,
}

/// What a peer did that the protocol forbids: a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Inbound {
    /// The handshakes are done; `fast` if both sides know the fast extension.
    pub fn new(
        context: Arc<TorrentContext>,
        shared: Arc<PeerShared>,
        fast: bool,
        now: Instant,
    ) -> Self {
        let early = context.is_unknown().then(Early::default);
        Self {
            context,
            shared,
            news: VecDeque::new(),
            telling: None,
            told_as_seeder: false,
            told_complete: false,
            interested: false,
            choking: true,
            fast,
            allowed_fast: 0,
            told_node: false,
            exchange: None,
            early,
            look_at: now + EARLY_LOOK_EVERY,
            stall_at: None,
            sample_at: now + limits::SAMPLE_EVERY,
            heard_at: now,
        }
    }

    /// We want to hear whom the peer is connected to (BEP 11), unless the torrent is private.
    pub fn listen_to_gossip(&mut self, now: Instant) {
        let private = self.context.metainfo.private();
        self.exchange = (!private).then(|| Patience::new(now));
    }

    /// Until when to wait for the next message.
    pub fn poll_deadline(&self) -> Instant {
        let silence = self.heard_at + limits::SILENCE_MAX;
        let stall = self.stall_at.unwrap_or(silence);
        let look = if self.early.is_some() { self.look_at } else { silence };
        silence.min(stall).min(self.sample_at).min(look)
    }

    /// The time is `now`, and maybe nothing has been heard.
    pub fn handle_time(&mut self, now: Instant) -> Result<(), Violation> {
        if now >= self.heard_at + limits::SILENCE_MAX {
            let silence = limits::SILENCE_MAX.as_secs();
            return Err(Violation(format!("it said nothing for {silence} s")));
        }
        if self.early.is_some() {
            self.look_at = now + EARLY_LOOK_EVERY;
            if let Some(context) = self.context.successor().cloned() {
                self.renew(context, now)?;
            }
        }
        if now >= self.sample_at {
            self.sample_at = now + limits::SAMPLE_EVERY;
            self.news.push_back(PeerNews::Sample);
        }
        let owes = self.shared.credit.is_owed() && (self.fast || !self.choking);
        match self.stall_at {
            None if owes => self.stall_at = Some(now + limits::STALL_AFTER),
            Some(at) if now >= at => {
                self.stall_at = None;
                if owes {
                    self.news.push_back(PeerNews::Stalled);
                }
            }
            None | Some(_) => {}
        }
        Ok(())
    }

    /// The peer sent `message`.
    pub fn handle_message(&mut self, message: Message, now: Instant) -> Result<(), Violation> {
        self.heard_at = now;
        let message = match &mut self.early {
            None => message,
            Some(early) => match early.keep(message)? {
                Some(message) => message,
                None => return Ok(()),
            },
        };
        match message {
            Message::KeepAlive | Message::Unknown { .. } => {}
            Message::Port(port) => self.handle_port(port),
            Message::Choke => {
                self.choking = true;
                self.stall_at = self.stall_at.filter(|_| self.fast);
                self.news.push_back(PeerNews::Choked);
            }
            Message::Unchoke => {
                self.choking = false;
                self.news.push_back(PeerNews::Unchoked);
            }
            Message::Interested => self.handle_interest(true),
            Message::NotInterested => self.handle_interest(false),
            Message::Have(piece) => self.handle_have(piece)?,
            Message::Bitfield(bytes) => self.handle_bitfield(bytes)?,
            Message::Request(block) => {
                self.news.push_back(PeerNews::Requested(self.asked(block, "requested")?));
            }
            Message::Cancel(block) => {
                self.news.push_back(PeerNews::Cancelled(self.asked(block, "cancelled")?));
            }
            Message::Piece { piece, offset, data } => {
                self.handle_block(piece, offset, data, now)?;
            }
            Message::Extended { id: 0, payload } => {
                let handshake = ExtensionHandshake::parse(&payload)
                    .map_err(|error| Violation(error.to_string()))?;
                self.news.push_back(PeerNews::Extended(Box::new(handshake)));
            }
            Message::Extended { id: OUR_UT_PEX, payload } => self.handle_exchange(&payload, now)?,
            Message::Extended { id: OUR_LT_DONTHAVE, payload } => {
                self.handle_dont_have(&payload)?;
            }
            Message::Extended { id: OUR_UT_METADATA, payload } => {
                self.handle_metadata(&payload)?;
            }
            // We offer no other extension, so it has no id to send a message under.
            Message::Extended { .. } => {}
            Message::Suggest(_)
            | Message::HaveAll
            | Message::HaveNone
            | Message::Reject(_)
            | Message::AllowedFast(_)
                if !self.fast =>
            {
                return Err(Violation("it used the fast extension, which was not agreed".into()));
            }
            // Whatever it suggests, the rarest piece comes first.
            Message::Suggest(_) | Message::HaveNone => {}
            Message::HaveAll => self.handle_have_all(),
            Message::Reject(block) => self.handle_reject(block),
            Message::AllowedFast(piece) => self.handle_allowed_fast(piece),
        }
        Ok(())
    }

    /// The next thing to publish.
    pub fn poll_news(&mut self) -> Option<PeerNews> {
        self.news.pop_front().or_else(|| self.tell_on())
    }

    /// After the end: what was told and has to be taken back, word by word.
    pub fn take_back(&mut self) -> impl Iterator<Item = Word> {
        let theirs = &self.shared.theirs;
        let words = if self.told_as_seeder { 0 } else { words_for(theirs.len()) };
        // What waits to be told is in the bit field only from when it is told on.
        (0..words).filter_map(move |index| {
            let word = Word { first: PieceIndex(index * WORD_BITS), bits: theirs.word(index) };
            (word.bits != 0).then_some(word)
        })
    }

    /// The number of pieces of the torrent, or the most that it may have while that is not known.
    pub fn pieces_max(&self) -> u32 {
        if self.early.is_some() { EARLY_PIECES_MAX } else { self.pieces() }
    }

    fn pieces(&self) -> u32 {
        self.shared.theirs.len()
    }

    /// The torrent's metadata is here: what was said of its pieces is heard now.
    fn renew(&mut self, context: Arc<TorrentContext>, now: Instant) -> Result<(), Violation> {
        let Some(early) = self.early.take() else { return Ok(()) };
        let shared = Arc::new(PeerShared::new(context.metainfo.pieces()));
        let renewal = Renewal { context: Arc::clone(&context), shared: Arc::clone(&shared) };
        self.shared.renewal.set(renewal).ok();
        (self.context, self.shared) = (context, Arc::clone(&shared));
        self.news.push_back(PeerNews::Renewed(shared));
        let heard_at = self.heard_at;
        for message in early.replay(self.pieces())? {
            self.handle_message(message, now)?;
        }
        self.heard_at = heard_at;
        Ok(())
    }

    fn handle_interest(&mut self, interested: bool) {
        if self.interested != interested {
            self.interested = interested;
            let news = if interested { PeerNews::Interested } else { PeerNews::NotInterested };
            self.news.push_back(news);
        }
    }

    fn handle_have(&mut self, piece: PieceIndex) -> Result<(), Violation> {
        if piece.0 >= self.pieces() {
            let pieces = self.pieces();
            return Err(Violation(format!("it has piece {} of {pieces}", piece.0)));
        }
        if self.shared.theirs.set(piece) {
            self.news.push_back(PeerNews::Gained(Word::of(piece)));
            self.tell_completion();
        }
        Ok(())
    }

    /// BEP 3 allows one, right after the handshakes. aria2 sends two, and others send one after the
    /// extension handshake or some HAVEs, so each counts as news about what was not told before.
    fn handle_bitfield(&mut self, bytes: Vec<u8>) -> Result<(), Violation> {
        let pieces = self.pieces();
        if bytes.len() != wire_len(pieces) {
            let (len, right) = (bytes.len(), wire_len(pieces));
            return Err(Violation(format!("its bitfield has {len} bytes instead of {right}")));
        }
        let spare = bytes.len() * 8 - pieces as usize;
        if bytes
            .last()
            .is_some_and(|last| last.trailing_zeros() < u32::try_from(spare).unwrap_or(0))
        {
            return Err(Violation("its bitfield has spare bits set".into()));
        }
        self.telling = Some(Telling { bytes, next: 0 });
        self.tell_a_seeder();
        Ok(())
    }

    /// A full bit field, and nothing told before: one word for all.
    fn tell_a_seeder(&mut self) {
        let pieces = self.pieces();
        let Some(telling) = &self.telling else { return };
        let ones: u32 = telling.bytes.iter().map(|byte| byte.count_ones()).sum();
        if ones == pieces && self.shared.theirs.count() == 0 {
            self.telling = None;
            self.handle_have_all();
        }
    }

    /// It has everything. If pieces were told one by one before, so are the others. Said again it
    /// costs nothing: five bytes would else be a walk through all words.
    fn handle_have_all(&mut self) {
        let pieces = self.pieces();
        if self.shared.theirs.is_full() {
            return;
        }
        if self.shared.theirs.count() > 0 {
            let mut all = vec![0xff; wire_len(pieces)];
            if let Some(last) = all.last_mut().filter(|_| !pieces.is_multiple_of(8)) {
                *last <<= 8 - pieces % 8;
            }
            self.telling = Some(Telling { bytes: all, next: 0 });
        } else if pieces > 0 {
            (self.told_as_seeder, self.told_complete) = (true, true);
            (0..pieces).for_each(|piece| {
                self.shared.theirs.set(PieceIndex(piece));
            });
            self.news.push_back(PeerNews::Seeder);
        }
    }

    /// What was rejected is no longer owed. A reject of what nobody asked for says nothing.
    fn handle_reject(&mut self, block: Block) {
        if self.shared.credit.take() {
            self.news.push_back(PeerNews::Rejected(block));
        }
    }

    /// A bounded number of pieces; a piece that there is not is of no use.
    fn handle_allowed_fast(&mut self, piece: PieceIndex) {
        if piece.0 < self.pieces() && self.allowed_fast < limits::ALLOWED_FAST_MAX {
            self.allowed_fast += 1;
            self.news.push_back(PeerNews::AllowedFast(piece));
        }
    }

    /// Where its node of Mainline is: once, and not of a private torrent (BEP 27).
    fn handle_port(&mut self, port: u16) {
        if port > 0 && !self.told_node && !self.context.metainfo.private() {
            self.told_node = true;
            self.news.push_back(PeerNews::Node(port));
        }
    }

    /// Whom it is connected to, in words of a few. Who is gone we notice by ourselves.
    fn handle_exchange(&mut self, payload: &[u8], now: Instant) -> Result<(), Violation> {
        // It may have turned out to be private.
        if self.context.metainfo.private() {
            return Ok(());
        }
        let Some(patience) = &mut self.exchange else { return Ok(()) };
        match patience.judge(now) {
            Verdict::Take => {}
            Verdict::PassOver => return Ok(()),
            Verdict::Flood => {
                return Err(Violation("it floods us with whom it is connected to".into()));
            }
        }
        let exchange = PeerExchange::parse(payload)
            .map_err(|_what| Violation("its peer exchange is not bencoded".into()))?;
        for peers in exchange.added.chunks(limits::ring::FOUND_WORD) {
            let sharer = |(address, flags): &(SocketAddr, PexFlags)| Sharer {
                address: *address,
                seeder: flags.is_seeder(),
            };
            self.news.push_back(PeerNews::Exchanged(peers.iter().map(sharer).collect()));
        }
        Ok(())
    }

    /// It takes a piece back. If it was told to have everything, what is left is told anew, in words.
    fn handle_dont_have(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let pieces = self.pieces();
        if self.early.is_some() {
            return Ok(());
        }
        let piece = payload.try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
        if piece >= pieces {
            return Err(Violation("it takes back a piece that there is not".into()));
        }
        let (byte, bit) = (piece as usize / 8, 0x80 >> (piece % 8));
        if let Some(telling) = &mut self.telling {
            telling.bytes[byte] &= !bit;
        }
        let piece = PieceIndex(piece);
        if !self.shared.theirs.clear(piece) {
            return Ok(());
        }
        if std::mem::take(&mut self.told_complete) {
            self.news.push_back(PeerNews::Incomplete);
        }
        if std::mem::take(&mut self.told_as_seeder) {
            let mut rest = vec![0; wire_len(pieces)];
            for left in (0..pieces).filter(|left| self.shared.theirs.clear(PieceIndex(*left))) {
                rest[left as usize / 8] |= 0x80 >> (left % 8);
            }
            self.telling = Some(Telling { bytes: rest, next: 0 });
        } else {
            self.news.push_back(PeerNews::Lost(Word::of(piece)));
        }
        Ok(())
    }

    /// The next word of the bit field that is being told.
    fn tell_on(&mut self) -> Option<PeerNews> {
        let telling = self.telling.as_mut()?;
        while telling.next < words_for(self.shared.theirs.len()) {
            let index = telling.next;
            telling.next += 1;
            let fresh = word_from_wire(&telling.bytes, index) & !self.shared.theirs.word(index);
            if fresh != 0 {
                let word = Word { first: PieceIndex(index * WORD_BITS), bits: fresh };
                word.pieces().for_each(|piece| {
                    self.shared.theirs.set(piece);
                });
                return Some(PeerNews::Gained(word));
            }
        }
        self.telling = None;
        self.tell_completion();
        self.news.pop_front()
    }

    fn tell_completion(&mut self) {
        if self.shared.theirs.is_full() && self.telling.is_none() && !self.told_complete {
            self.told_complete = true;
            self.news.push_back(PeerNews::Completed);
        }
    }

    /// Whoever has the metadata waits for no answer.
    fn handle_metadata(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let message = MetadataMessage::parse(payload);
        match message.map_err(|error| Violation(error.to_string()))? {
            message @ MetadataMessage::Request(_) => {
                self.news.push_back(PeerNews::Metadata(message));
            }
            message @ (MetadataMessage::Data { .. } | MetadataMessage::Reject(_))
                if self.early.is_some() =>
            {
                self.news.push_back(PeerNews::Metadata(message));
            }
            MetadataMessage::Data { .. }
            | MetadataMessage::Reject(_)
            | MetadataMessage::Unknown => {}
        }
        Ok(())
    }

    /// A block that the peer names in a request or a cancel.
    fn asked(&self, block: Block, verb: &str) -> Result<Block, Violation> {
        let Block { piece, offset, len } = block;
        if len > limits::REQUEST_LEN_MAX || !self.context.metainfo.holds(block) {
            let piece = piece.0;
            return Err(Violation(format!("it {verb} {len} bytes at {offset} of piece {piece}")));
        }
        Ok(block)
    }

    fn handle_block(
        &mut self,
        piece: PieceIndex,
        offset: u32,
        data: Vec<u8>,
        now: Instant,
    ) -> Result<(), Violation> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let block = Block { piece, offset, len };
        // Only whole blocks are asked for.
        if len == 0 || self.context.metainfo.block(piece, offset / limits::BLOCK_LEN) != block {
            let piece = piece.0;
            return Err(Violation(format!("it sent {len} bytes at {offset} of piece {piece}")));
        }
        if !self.shared.credit.take() {
            return Err(Violation("it sent a block that nobody asked for".into()));
        }
        self.stall_at = self.shared.credit.is_owed().then(|| now + limits::STALL_AFTER);
        self.news.push_back(PeerNews::Block(block, data));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
