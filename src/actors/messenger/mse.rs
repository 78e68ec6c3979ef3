//! Agreeing on encryption, before there is a Messenger: the handshake of Message Stream Encryption
//! over a socket.

use std::io::{IoSliceMut, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use crate::actors::chance::chance;
use crate::actors::clock::now;
use crate::actors::messenger::hearing::Ear;
use crate::actors::messenger::{Breakdown, EncryptedMessenger, Messenger, TcpMessenger};
use crate::actors::shelf::Shelf;
use crate::formats::mse::{Agreement, Chance, Encryption, Initiator, Method, MseError, Responder};
use crate::formats::wire::Handshake;
use crate::words::id::{InfoHash, SkeyHash};
use crate::words::limits;

/// Dials on the new connection of `messenger`, and greets. `Ok(None)`: the deadline passed.
pub(crate) fn dial(
    messenger: &TcpMessenger,
    encryption: Encryption,
    greeting: &Handshake,
    deadline: Instant,
) -> Result<Option<Box<dyn Messenger>>, Breakdown> {
    let first = greeting.emit();
    let mut initiator = Initiator::new(our_chance(), encryption, greeting.info_hash, &first);
    let (stream, shelf) = (Arc::clone(&messenger.stream), &messenger.hearing.shelf);
    let mut ear = Ear::of(Arc::clone(&stream));
    loop {
        say(&stream, &initiator.poll_output())?;
        if let Some(agreement) = initiator.poll_agreement() {
            return Ok(Some(agreed(agreement, stream, shelf)));
        }
        if !hear(&mut ear, deadline, |bytes| initiator.handle_bytes(bytes))? {
            return Ok(None);
        }
    }
}

/// Answers somebody who dialled us and does not begin as BitTorrent does.
#[derive(Debug)]
pub(crate) struct Answer {
    stream: Arc<TcpStream>,
    ear: Ear,
    shelf: Arc<Shelf>,
    responder: Responder,
}

impl Answer {
    /// Goes on where `messenger` heard something that it does not know.
    pub(crate) fn instead_of(
        messenger: &TcpMessenger,
        encryption: Encryption,
    ) -> Result<Self, Breakdown> {
        let stream = Arc::clone(&messenger.stream);
        let ear = Ear::of(Arc::clone(&stream));
        let mut responder = Responder::new(our_chance(), encryption);
        responder.handle_bytes(messenger.hearing.received())?;
        let shelf = Arc::clone(&messenger.hearing.shelf);
        Ok(Self { stream, ear, shelf, responder })
    }

    /// Hears the name under which the other side asks for its torrent. `Ok(None)`: the deadline
    /// passed.
    pub(crate) fn receive_torrent(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<SkeyHash>, Breakdown> {
        loop {
            say(&self.stream, &self.responder.poll_output())?;
            if let Some(name) = self.responder.torrent() {
                return Ok(Some(name));
            }
            let responder = &mut self.responder;
            if !hear(&mut self.ear, deadline, |bytes| responder.handle_bytes(bytes))? {
                return Ok(None);
            }
        }
    }

    /// Agrees with the other side, now that it is known which torrent it means. `Ok(None)`: the
    /// deadline passed.
    pub(crate) fn agree(
        self,
        info_hash: InfoHash,
        deadline: Instant,
    ) -> Result<Option<Box<dyn Messenger>>, Breakdown> {
        let Self { stream, mut ear, shelf, mut responder } = self;
        responder.handle_torrent(info_hash)?;
        loop {
            if let Some(agreement) = responder.poll_agreement() {
                say(&stream, &responder.poll_output())?;
                return Ok(Some(agreed(agreement, stream, &shelf)));
            }
            if !hear(&mut ear, deadline, |bytes| responder.handle_bytes(bytes))? {
                return Ok(None);
            }
        }
    }
}

fn our_chance() -> Chance {
    Chance { secret: chance(), seed: u64::from_le_bytes(chance()) }
}

/// The Messenger that was agreed on, with buffers for its blocks.
fn agreed(agreement: Agreement, stream: Arc<TcpStream>, shelf: &Arc<Shelf>) -> Box<dyn Messenger> {
    let Agreement { method, hears, says, early } = agreement;
    match method {
        Method::Plaintext => Box::new(TcpMessenger::after(early, stream).with_buffers(shelf)),
        Method::Rc4 => {
            Box::new(EncryptedMessenger::after(early, hears, says, stream).with_buffers(shelf))
        }
    }
}

/// A handshake is shorter than what a socket takes at once.
fn say(mut stream: &TcpStream, bytes: &[u8]) -> Result<(), Breakdown> {
    if bytes.is_empty() { Ok(()) } else { stream.write_all(bytes).map_err(Breakdown::Broken) }
}

/// Hears a little; `false` if the deadline has passed.
fn hear(
    ear: &mut Ear,
    deadline: Instant,
    take: impl FnOnce(&[u8]) -> Result<(), MseError>,
) -> Result<bool, Breakdown> {
    // Not on the stack, whose pages stay with the thread.
    let mut bytes = vec![0; limits::MSE_READ_LEN];
    match ear.read(&mut [IoSliceMut::new(&mut bytes)], deadline)? {
        Some(n) => take(&bytes[..n])?,
        None => return Ok(now() < deadline),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpListener;
    use std::thread::{Builder, JoinHandle};
    use std::time::Duration;

    use super::*;
    use crate::actors::disk::DiskFile;
    use crate::actors::file_part::FilePart;
    use crate::actors::scratch::Scratch;
    use crate::formats::wire::{Message, Reserved};
    use crate::machines::made_up;
    use crate::words::id::{Block, PeerId, PieceIndex};
    use crate::words::limits::BLOCK_LEN;

    const PIECES: u32 = 1000;

    fn late() -> Instant {
        now() + Duration::from_secs(30)
    }

    fn greeting() -> Handshake {
        let reserved = Reserved::default().with_extension();
        Handshake { reserved, info_hash: InfoHash([1; 20]), peer_id: PeerId([2; 20]) }
    }

    fn thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Builder::new().name("other".into()).spawn(work).unwrap()
    }

    fn line() -> (TcpMessenger, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        far.set_nodelay(true).unwrap();
        (TcpMessenger::new(listener.accept().unwrap().0).unwrap(), far)
    }

    /// Two Messengers that have agreed, and greeted one way.
    fn agreed(encryption: Encryption) -> [Box<dyn Messenger>; 2] {
        let (mut near, far) = line();
        let dials = thread(move || {
            let far = TcpMessenger::new(far).unwrap();
            dial(&far, encryption, &greeting(), late()).unwrap().unwrap()
        });
        assert!(matches!(near.receive_head(late()), Err(Breakdown::Wire(_))));
        let mut answer = Answer::instead_of(&near, Encryption::Prefer).unwrap();
        answer.receive_torrent(late()).unwrap().unwrap();
        let mut near = answer.agree(InfoHash([1; 20]), late()).unwrap().unwrap();
        assert_eq!(near.receive_greeting(late()).unwrap(), Some(greeting()));
        [near, dials.join().unwrap()]
    }

    #[test]
    fn all_is_heard_as_it_was_said_and_blocks_come_from_their_files() {
        let scratch = Scratch::new();
        let data = made_up::data(BLOCK_LEN as usize);
        std::fs::write(scratch.path().join("a"), &data).unwrap();
        let file: Arc<dyn DiskFile> = Arc::new(File::open(scratch.path().join("a")).unwrap());
        for encryption in [Encryption::Prefer, Encryption::Require] {
            let [near, mut far] = agreed(encryption);
            // The other half speaks, as a peer's writer does.
            let mut half = near.split();
            half.greet(&greeting()).unwrap();
            assert_eq!(far.receive_greeting(late()).unwrap(), Some(greeting()));
            let block = Block { piece: PieceIndex(3), offset: 0, len: BLOCK_LEN };
            for _ in 0..20 {
                let part = FilePart {
                    file: Some(Arc::clone(&file)),
                    offset: 0,
                    len: u64::from(BLOCK_LEN),
                };
                half.send(&Message::Have(PieceIndex(7))).unwrap();
                half.send_block(block, &mut std::iter::once(Ok(part))).unwrap();
            }
            let whole = Message::Piece { piece: PieceIndex(3), offset: 0, data: data.clone() };
            let listens = thread(move || {
                for _ in 0..20 {
                    let have = far.receive(PIECES, late()).unwrap();
                    assert_eq!(have, Some(Message::Have(PieceIndex(7))));
                    assert_eq!(far.receive(PIECES, late()).unwrap().as_ref(), Some(&whole));
                }
            });
            half.flush().unwrap();
            listens.join().unwrap();
        }
    }

    #[test]
    fn nothing_can_be_read_on_the_way_where_encryption_is_required() {
        let (messenger, mut eavesdropper) = line();
        let dials =
            thread(move || dial(&messenger, Encryption::Require, &greeting(), late()).map(drop));
        let mut responder = Responder::new(our_chance(), Encryption::Prefer);
        let (mut seen, mut agreement) = (Vec::new(), None);
        while agreement.is_none() {
            let mut bytes = [0; 100];
            let n = std::io::Read::read(&mut eavesdropper, &mut bytes).unwrap();
            seen.extend_from_slice(&bytes[..n]);
            responder.handle_bytes(&bytes[..n]).unwrap();
            if responder.torrent().is_some() {
                responder.handle_torrent(InfoHash([1; 20])).unwrap();
            }
            eavesdropper.write_all(&responder.poll_output()).unwrap();
            agreement = responder.poll_agreement();
        }
        dials.join().unwrap().unwrap();
        assert_eq!(agreement.unwrap().early, greeting().emit(), "it was said,");
        let shows = |part: &[u8]| seen.windows(part.len()).any(|bytes| bytes == part);
        assert!(!shows(b"BitTorrent") && !shows(&[1; 20]) && !shows(&[2; 20]), "and hidden");
    }

    #[test]
    fn whoever_is_silent_in_the_middle_is_waited_for_no_longer_than_the_deadline() {
        let soon = || now() + Duration::from_millis(20);
        let key = [2; 96];
        for said in [&key[..1], &key[..95], &key] {
            let (mut near, mut far) = line();
            far.write_all(said).unwrap();
            assert!(matches!(near.receive_head(late()), Err(Breakdown::Wire(_))));
            let mut answer = Answer::instead_of(&near, Encryption::Prefer).unwrap();
            assert_eq!(answer.receive_torrent(soon()).unwrap(), None);
        }
        let (near, _far) = line();
        assert!(dial(&near, Encryption::Prefer, &greeting(), soon()).unwrap().is_none());
    }
}
