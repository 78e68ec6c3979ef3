//! What a peer says of pieces before the torrent's metadata is here: it is kept, within bounds,
//! until the number of pieces is known.

use crate::formats::wire::Message;
use crate::machines::conversation::inbound::Violation;
use crate::words::bitfield::wire_len;
use crate::words::id::PieceIndex;
use crate::words::limits::ALLOWED_FAST_MAX;
use crate::words::limits::metadata::EARLY_PIECES_MAX;

/// The last word of a peer about each thing that it may say.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// The pieces that it has, as on the wire.
    bits: Vec<u8>,
    /// The length of its bit field, if it sent one.
    bitfield_len: Option<usize>,
    all: bool,
    allowed_fast: Vec<PieceIndex>,
    unchoked: bool,
    interested: bool,
    /// It used the fast extension.
    fast: bool,
}

impl Early {
    /// Keeps what is about pieces; gives back what is not, for it means the same at any time.
    pub(super) fn keep(&mut self, message: Message) -> Result<Option<Message>, Violation> {
        match message {
            Message::KeepAlive
            | Message::Port(_)
            | Message::Extended { .. }
            | Message::Unknown { .. } => return Ok(Some(message)),
            Message::Choke => self.unchoked = false,
            Message::Unchoke => self.unchoked = true,
            Message::Interested => self.interested = true,
            Message::NotInterested => self.interested = false,
            Message::Have(piece) => self.handle_have(piece)?,
            Message::Bitfield(bytes) => {
                self.bitfield_len = Some(bytes.len());
                self.reach(bytes.len());
                self.bits.iter_mut().zip(bytes).for_each(|(byte, new)| *byte |= new);
            }
            Message::HaveAll => (self.all, self.fast) = (true, true),
            Message::HaveNone | Message::Suggest(_) | Message::Reject(_) => self.fast = true,
            Message::AllowedFast(piece) => {
                self.fast = true;
                if self.allowed_fast.len() < ALLOWED_FAST_MAX {
                    self.allowed_fast.push(piece);
                }
            }
            // We have nothing yet, and said so.
            Message::Request(_) | Message::Cancel(_) => {}
            Message::Piece { .. } => {
                return Err(Violation("it sent a block that nobody asked for".into()));
            }
        }
        Ok(None)
    }

    /// All that was kept, to be heard now that there are `pieces` pieces.
    pub(super) fn replay(mut self, pieces: u32) -> Result<Vec<Message>, Violation> {
        let len = wire_len(pieces);
        if let Some(found) = self.bitfield_len.filter(|found| *found != len) {
            return Err(Violation(format!("its bitfield has {found} bytes instead of {len}")));
        }
        if self.bits.len() > len {
            return Err(Violation(format!("it has a piece beyond the {pieces} that there are")));
        }
        self.reach(len);
        let has_some = self.bits.iter().any(|byte| *byte != 0);
        let bitfield = has_some.then_some(Message::Bitfield(self.bits));
        let all = self.all.then_some(Message::HaveAll);
        let none = (self.fast && !self.all).then_some(Message::HaveNone);
        let allowed = self.allowed_fast.into_iter().map(Message::AllowedFast);
        let unchoked = self.unchoked.then_some(Message::Unchoke);
        let interested = self.interested.then_some(Message::Interested);
        let first = none.into_iter().chain(all).chain(bitfield);
        Ok(first.chain(allowed).chain(unchoked).chain(interested).collect())
    }

    fn handle_have(&mut self, piece: PieceIndex) -> Result<(), Violation> {
        if piece.0 >= EARLY_PIECES_MAX {
            let piece = piece.0;
            return Err(Violation(format!("it has piece {piece}, and no torrent has so many")));
        }
        let byte = piece.slot() / 8;
        self.reach(byte + 1);
        self.bits[byte] |= 0x80 >> (piece.0 % 8);
        Ok(())
    }

    /// Makes room for so many bytes of the bit field.
    fn reach(&mut self, len: usize) {
        if self.bits.len() < len {
            self.bits.resize(len, 0);
        }
    }
}
