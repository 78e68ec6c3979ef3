//! Puts messages together from whatever bytes have come.
//!
//! The socket is read straight into the place where a byte will stay: the payload of a block goes
//! into the block's own buffer, in the same `readv` that takes what follows into a small one. That
//! buffer may be lent, so that none has to be made. An idle peer costs the small one and nothing
//! else.

use crate::formats::wire::WireError;
use crate::formats::wire::message::{BodyKind, Head, Message};
use crate::words::limits::{BLOCK_LEN, DECODER_BUFFER_LEN};

/// The longest head of a message: prefix, id and the fields of a request.
const HEAD_LEN_MAX: usize = 17;
const _: () = assert!(HEAD_LEN_MAX <= DECODER_BUFFER_LEN);
const _: () = assert!(DECODER_BUFFER_LEN <= BLOCK_LEN as usize, "a body grows by a block or more");

/// Bytes become messages, one connection's worth.
///
/// The order of calls: [`poll_message`](Self::poll_message) until it gives nothing; a `readv` into
/// [`spaces`](Self::spaces); [`filled`](Self::filled); and again. Between two of these the decoder
/// may be left for any time, and nothing is lost.
///
/// # What it holds
///
/// [`DECODER_BUFFER_LEN`] bytes, and the body of one message: a block's whole buffer; of anything
/// longer at most 16 KiB or twice what has come, whichever is more, and never more than its length.
#[derive(Debug)]
pub struct Decoder {
    pieces: u32,
    buffer: Box<[u8; DECODER_BUFFER_LEN]>,
    /// The bytes in `buffer` that belong to no message yet begin here,
    start: usize,
    /// and end here.
    end: usize,
    state: State,
}

/// What the next bytes are.
#[derive(Debug)]
enum State {
    /// The head of a message.
    Head,
    /// The body of a message.
    Body(Body),
    /// So many bytes of an unknown message.
    Skip(usize),
    /// Nobody knows.
    Broken(WireError),
}

impl Decoder {
    /// A decoder for what follows the handshake. `pieces` bounds the bitfield: the torrent's
    /// number of pieces, or the most that it may have while that is not known.
    pub fn new(pieces: u32) -> Self {
        let buffer = Box::new([0; DECODER_BUFFER_LEN]);
        Self { pieces, buffer, start: 0, end: 0, state: State::Head }
    }

    /// Where the next bytes go: first the rest of the body that is under way, which may be empty,
    /// then the small buffer. They are not both empty once [`poll_message`](Self::poll_message) has
    /// given nothing, or an error.
    pub fn spaces(&mut self) -> [&mut [u8]; 2] {
        match &mut self.state {
            State::Body(body) => {
                let n = body.missing().min(self.end - self.start);
                body.absorb(&self.buffer[self.start..self.start + n]);
                self.start += n;
            }
            State::Broken(_) => self.start = self.end,
            State::Head | State::Skip(_) => (),
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let body = match &mut self.state {
            State::Body(body) => body.space(),
            State::Head | State::Skip(_) | State::Broken(_) => &mut [],
        };
        [body, &mut self.buffer[self.end..]]
    }

    /// Whether a block is under way that has no buffer yet: [`lend`](Self::lend) it one, or
    /// [`spaces`](Self::spaces) makes one.
    pub fn wants_buffer(&self) -> bool {
        match &self.state {
            State::Body(body) => body.data.is_empty() && body.len == BLOCK_LEN as usize,
            State::Head | State::Skip(_) | State::Broken(_) => false,
        }
    }

    /// The block that is under way is put into `buffer`, whatever is in that, if its length fits.
    pub fn lend(&mut self, buffer: Vec<u8>) {
        let fits = self.wants_buffer() && buffer.len() == BLOCK_LEN as usize;
        if let State::Body(body) = &mut self.state
            && fits
        {
            body.data = buffer;
        }
    }

    /// Takes in that `n` bytes were read into [`spaces`](Self::spaces), in their order.
    ///
    /// # Panics
    ///
    /// If `n` is more than there was space for.
    pub fn filled(&mut self, n: usize) {
        let in_body = match &mut self.state {
            State::Body(body) => body.fill(n),
            State::Head | State::Skip(_) | State::Broken(_) => 0,
        };
        self.end += n - in_body;
        assert!(self.end <= DECODER_BUFFER_LEN, "more bytes than there was space for");
    }

    /// The next message, if all its bytes are there. An error is final: each later call gives the
    /// same one.
    pub fn poll_message(&mut self) -> Result<Option<Message>, WireError> {
        self.skip();
        match self.state {
            State::Head => self.poll_head(),
            State::Body(_) => Ok(self.poll_body()),
            State::Skip(_) => Ok(None),
            State::Broken(error) => Err(error),
        }
    }

    /// Drops what has come of an unknown message.
    fn skip(&mut self) {
        let State::Skip(left) = &mut self.state else { return };
        let n = (*left).min(self.end - self.start);
        self.start += n;
        *left -= n;
        if *left == 0 {
            self.state = State::Head;
        }
    }

    fn poll_head(&mut self) -> Result<Option<Message>, WireError> {
        let head = Head::parse(&self.buffer[self.start..self.end], self.pieces)
            .inspect_err(|&error| self.state = State::Broken(error))?;
        let Some((n, head)) = head else { return Ok(None) };
        self.start += n;
        match head {
            Head::Whole(message) => Ok(Some(message)),
            Head::Body { kind, len } => {
                self.state = State::Body(Body::new(kind, len as usize));
                Ok(self.poll_body())
            }
            Head::Unknown { id, len } => {
                self.state = State::Skip(len as usize);
                Ok(Some(Message::Unknown { id }))
            }
        }
    }

    fn poll_body(&mut self) -> Option<Message> {
        let State::Body(body) = &mut self.state else { return None };
        let n = body.missing();
        if n > self.end - self.start {
            return None;
        }
        body.absorb(&self.buffer[self.start..self.start + n]);
        self.start += n;
        let message = body.take_message();
        self.state = State::Head;
        Some(message)
    }
}

/// The body of a message, as far as it has come.
#[derive(Debug)]
struct Body {
    kind: BodyKind,
    /// Its length when it is whole.
    len: usize,
    /// `filled` bytes that have come, and whatever was where the next ones go.
    data: Vec<u8>,
    filled: usize,
}

impl Body {
    fn new(kind: BodyKind, len: usize) -> Self {
        Self { kind, len, data: Vec::new(), filled: 0 }
    }

    fn missing(&self) -> usize {
        self.len - self.filled
    }

    /// Where the next bytes go; empty only if the body is whole.
    fn space(&mut self) -> &mut [u8] {
        if self.filled == self.data.len() {
            self.grow();
        }
        &mut self.data[self.filled..]
    }

    /// Doubles the space, so that a sender who promises much must send half of it first. A block
    /// gets all of its space at once.
    fn grow(&mut self) {
        let len = self.len.min((2 * self.filled).max(BLOCK_LEN as usize));
        self.data.reserve_exact(len - self.filled);
        self.data.resize(len, 0);
    }

    /// Takes in that up to `n` bytes were read into the space; says how many there was space for.
    fn fill(&mut self, n: usize) -> usize {
        let n = n.min(self.data.len() - self.filled);
        self.filled += n;
        n
    }

    /// Takes bytes from the small buffer. They come after all that there was space for, so the
    /// space is full, and what it grows by is more than a small buffer holds.
    fn absorb(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.space()[..bytes.len()].copy_from_slice(bytes);
            self.filled += bytes.len();
        }
    }

    fn take_message(&mut self) -> Message {
        self.kind.message(std::mem::take(&mut self.data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::wire::message::PieceHeader;
    use crate::words::id::{Block, PieceIndex};
    use crate::words::limits::EXTENDED_LEN_MAX;
    use crate::words::rng::Rng;

    const PIECES: u32 = 1_000_000;

    /// Reads as a socket that has `bytes` would be read, and says how many it took.
    fn read(decoder: &mut Decoder, bytes: &[u8]) -> usize {
        let spaces = decoder.spaces();
        assert!(spaces.iter().any(|space| !space.is_empty()));
        let mut taken = 0;
        for space in spaces {
            let n = space.len().min(bytes.len() - taken);
            space[..n].copy_from_slice(&bytes[taken..taken + n]);
            taken += n;
        }
        decoder.filled(taken);
        decoder.check(PIECES);
        taken
    }

    /// Feeds all of `bytes` in chunks of random lengths: the messages, and the error at the end.
    fn decode(bytes: &[u8], rng: &mut Rng) -> (Vec<Message>, Result<(), WireError>) {
        let mut decoder = Decoder::new(PIECES);
        let mut messages = Vec::new();
        let chunk_max = [1, 7, 600, 20_000][rng.below(4) as usize];
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = rest.len().min(1 + rng.below(chunk_max) as usize);
            rest = &rest[read(&mut decoder, &rest[..n])..];
            loop {
                match decoder.poll_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(decoder.poll_message(), Err(error));
                        assert_eq!(read(&mut decoder, rest), rest.len().min(DECODER_BUFFER_LEN));
                        assert_eq!(decoder.poll_message(), Err(error));
                        return (messages, Err(error));
                    }
                }
                decoder.check(PIECES);
            }
        }
        (messages, Ok(()))
    }

    impl Decoder {
        /// Asserts what the decoder says about itself.
        fn check(&self, pieces: u32) {
            assert!(self.start <= self.end && self.end <= DECODER_BUFFER_LEN);
            let State::Body(body) = &self.state else { return };
            assert!(body.filled <= body.data.len() && body.data.len() <= body.len);
            let most = (2 * body.filled).max(BLOCK_LEN as usize).min(body.len);
            assert!(body.data.capacity() <= most, "{} bytes for {most}", body.data.capacity());
            assert!(body.len <= pieces.div_ceil(8).max(EXTENDED_LEN_MAX) as usize);
        }
    }

    fn random_message(rng: &mut Rng) -> Message {
        let piece = PieceIndex(rng.below(u32::MAX));
        let (offset, len) = (rng.below(u32::MAX), rng.below(u32::MAX));
        let block = Block { piece, offset, len };
        let mut body = |least, most| {
            let most = if rng.chance(1, 2) { most } else { least + 40 };
            let mut bytes = vec![0; (least + rng.below(most + 1 - least)) as usize];
            rng.fill(&mut bytes);
            bytes
        };
        let (data, bits, payload) = (body(1, BLOCK_LEN), body(0, 125_000), body(0, 65_536));
        match rng.below(18) {
            0 => Message::KeepAlive,
            1 => Message::Choke,
            2 => Message::Unchoke,
            3 => Message::Interested,
            4 => Message::NotInterested,
            5 => Message::Have(piece),
            6 => Message::Bitfield(bits),
            7 => Message::Request(block),
            8 => Message::Cancel(block),
            9 => Message::Port(6881),
            10 => Message::Suggest(piece),
            11 => Message::HaveAll,
            12 => Message::HaveNone,
            13 => Message::Reject(block),
            14 => Message::AllowedFast(piece),
            15 => Message::Extended { id: data[0], payload },
            16 => Message::Unknown { id: 21 },
            _ => Message::Piece { piece, offset, data },
        }
    }

    /// Messages and their bytes. Unknown ones get a payload, which the decoder is to drop.
    fn random_stream(rng: &mut Rng) -> (Vec<Message>, Vec<u8>) {
        let messages: Vec<_> = (0..1 + rng.below(20)).map(|_| random_message(rng)).collect();
        let mut bytes = Vec::new();
        for message in &messages {
            if let Message::Unknown { id } = *message {
                let len = rng.below(2000);
                bytes.extend((len + 1).to_be_bytes());
                bytes.push(id);
                bytes.extend((0..len).map(|_| 0xee));
            } else {
                message.emit(&mut bytes);
            }
        }
        (messages, bytes)
    }

    #[test]
    fn the_same_messages_come_out_whatever_the_chunks() {
        for seed in 0..300 {
            let mut rng = Rng::new(seed);
            let (messages, bytes) = random_stream(&mut rng);
            assert!(decode(&bytes, &mut rng) == (messages, Ok(())), "seed {seed}");
        }
    }

    #[test]
    fn spoilt_streams_end_in_an_error_or_in_messages() {
        let mut errors = 0;
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let (_, mut bytes) = random_stream(&mut rng);
            bytes.truncate(1 + rng.below(20_000) as usize);
            for _ in 0..1 + rng.below(8) {
                // Half of the mutations hit the first bytes, where heads are.
                let reach = if rng.chance(1, 2) { bytes.len().min(40) } else { bytes.len() };
                let at = rng.below(u32::try_from(reach).unwrap()) as usize;
                rng.fill(&mut bytes[at..=at]);
            }
            errors += u32::from(decode(&bytes, &mut rng).1.is_err());
        }
        assert!((100..500).contains(&errors), "{errors} errors");
    }

    #[test]
    fn noise_is_survived() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let mut bytes = vec![0; 4000];
            rng.fill(&mut bytes);
            // Lengths of two bytes, so that some noise gets past its first prefix.
            bytes.chunks_mut(16).for_each(|chunk| chunk[..2].fill(0));
            let mut out = Vec::new();
            decode(&bytes, &mut rng).0.iter().for_each(|message| message.emit(&mut out));
            assert!(out.len() <= bytes.len(), "seed {seed}: more came out than went in");
        }
    }

    #[test]
    fn a_block_is_read_into_its_own_buffer() {
        let block = Block { piece: PieceIndex(3), offset: 0, len: BLOCK_LEN };
        let mut decoder = Decoder::new(PIECES);
        let lens = |decoder: &mut Decoder| decoder.spaces().map(|space| space.len());
        assert_eq!(lens(&mut decoder), [0, 512]);

        read(&mut decoder, &PieceHeader(block).emit());
        assert_eq!(decoder.poll_message(), Ok(None));
        assert_eq!(lens(&mut decoder), [16384, 512]);

        read(&mut decoder, &[7; 384]);
        assert_eq!(decoder.poll_message(), Ok(None));
        assert_eq!(lens(&mut decoder), [16000, 512]);

        // The rest, a HAVE, and the first three bytes of what comes next.
        let mut rest = vec![7; 16000];
        Message::Have(PieceIndex(1)).emit(&mut rest);
        rest.extend([0, 0, 0]);
        assert_eq!(read(&mut decoder, &rest), rest.len());
        let data = vec![7; 16384];
        let piece = Message::Piece { piece: block.piece, offset: 0, data };
        assert_eq!(decoder.poll_message(), Ok(Some(piece)));
        assert_eq!(decoder.poll_message(), Ok(Some(Message::Have(PieceIndex(1)))));
        assert_eq!(decoder.poll_message(), Ok(None));
        assert_eq!(lens(&mut decoder), [0, 509]);
    }

    #[test]
    fn a_lent_buffer_becomes_the_blocks_own() {
        let block = Block { piece: PieceIndex(3), offset: 0, len: BLOCK_LEN };
        let mut decoder = Decoder::new(PIECES);
        let lent = || vec![9; BLOCK_LEN as usize];
        assert!(!decoder.wants_buffer(), "an idle connection needs none");
        decoder.lend(lent());
        read(&mut decoder, &[&PieceHeader(block).emit(), &[7; 100][..]].concat());
        assert_eq!(decoder.poll_message(), Ok(None));
        assert!(decoder.wants_buffer());
        decoder.lend(vec![9; 5]);
        assert!(decoder.wants_buffer(), "that was too short");
        let buffer = lent();
        let place = buffer.as_ptr();
        decoder.lend(buffer);
        assert!(!decoder.wants_buffer());
        read(&mut decoder, &[7; 16284]);
        let Ok(Some(Message::Piece { data, .. })) = decoder.poll_message() else { panic!() };
        assert!(data == [7; BLOCK_LEN as usize] && data.as_ptr() == place);

        // What comes whole in the small buffer, or is no whole block, gets a buffer of its own size.
        let short = Block { len: 600, ..block };
        read(&mut decoder, &PieceHeader(short).emit());
        assert_eq!(decoder.poll_message(), Ok(None));
        assert!(!decoder.wants_buffer());
    }

    #[test]
    fn a_promise_of_much_gets_room_as_it_is_kept() {
        let mut decoder = Decoder::new(PIECES);
        read(&mut decoder, &[0, 1, 0xe8, 0x49, 5]);
        let mut rooms = Vec::new();
        let message = loop {
            if let Some(message) = decoder.poll_message().unwrap() {
                break message;
            }
            let room = decoder.spaces()[0].len();
            rooms.push(room);
            read(&mut decoder, &vec![0xff; room]);
        };
        assert_eq!(rooms, [16384, 16384, 32768, 59464]);
        assert_eq!(message, Message::Bitfield(vec![0xff; 125_000]));
    }

    #[test]
    fn the_number_of_pieces_bounds_the_bitfield() {
        let mut decoder = Decoder::new(9);
        read(&mut decoder, b"\0\0\0\x03\x05\xff\x80\0\0\0\x04\x05");
        assert_eq!(decoder.poll_message(), Ok(Some(Message::Bitfield(vec![0xff, 0x80]))));
        let error = WireError::Length { message: "bitfield", found: 4, least: 1, most: 3 };
        assert_eq!(decoder.poll_message(), Err(error));
    }
}
