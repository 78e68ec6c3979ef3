//! The side that is dialled.

use crate::formats::mse::{
    Agreement, Chance, Encryption, HASH_LEN, Input, KEY_LEN, Method, MseError, Rc4, SECRET_LEN, VC,
    cipher, group, hash, noise, pad_len, veil,
};
use crate::words::id::{InfoHash, SkeyHash};
use crate::words::rng::Rng;

/// Shakes hands as the side that is dialled.
///
/// It stops where it learns under which name the other side asks for its torrent
/// ([`torrent`](Self::torrent)), until it is told which that is
/// ([`handle_torrent`](Self::handle_torrent)).
#[derive(Debug)]
pub struct Responder {
    encryption: Encryption,
    secret: [u8; SECRET_LEN],
    rng: Rng,
    input: Input,
    output: Vec<u8>,
    step: Step,
    agreement: Option<Agreement>,
}

#[derive(Debug)]
enum Step {
    /// Their key is awaited,
    Key,
    /// then the sign that they have ours, behind noise,
    Sign { shared: [u8; KEY_LEN] },
    /// then the veiled name of the torrent,
    Name { shared: [u8; KEY_LEN] },
    /// then, from our own side, which one that is,
    Torrent { shared: [u8; KEY_LEN], name: SkeyHash },
    /// then the constant, the methods, and the length of more noise,
    Offer { hears: Rc4, says: Rc4 },
    /// then that noise, and the length of what they say first,
    Noise { method: Method, len: usize, hears: Rc4, says: Rc4 },
    /// then that.
    First { method: Method, len: usize, hears: Rc4, says: Rc4 },
    /// All is said, or nothing more will be understood.
    Over(Result<(), MseError>),
}

impl Responder {
    /// Answers somebody who may know any of our torrents.
    pub fn new(chance: Chance, encryption: Encryption) -> Self {
        let Chance { secret, seed } = chance;
        let (rng, input, output) = (Rng::new(seed), Input::default(), Vec::new());
        Self { encryption, secret, rng, input, output, step: Step::Key, agreement: None }
    }

    /// Takes in what has come.
    ///
    /// # Errors
    /// If it is no such handshake, or none that may be taken. An error is final.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), MseError> {
        self.input.bytes.extend_from_slice(bytes);
        self.advance_all()
    }

    /// Under which name the other side asks for its torrent, while we have not said which that is.
    pub fn torrent(&self) -> Option<SkeyHash> {
        match self.step {
            Step::Torrent { name, .. } => Some(name),
            Step::Key
            | Step::Sign { .. }
            | Step::Name { .. }
            | Step::Offer { .. }
            | Step::Noise { .. }
            | Step::First { .. }
            | Step::Over(_) => None,
        }
    }

    /// Takes in that this is the torrent of that name. Without a name there is nothing to do.
    ///
    /// # Errors
    /// As [`handle_bytes`](Self::handle_bytes), of what came before.
    pub fn handle_torrent(&mut self, info_hash: InfoHash) -> Result<(), MseError> {
        if let Step::Torrent { shared, .. } = &self.step {
            let says = cipher(b"keyB", shared, info_hash);
            let hears = cipher(b"keyA", shared, info_hash);
            self.step = Step::Offer { hears, says };
        }
        self.advance_all()
    }

    /// What is to be sent now.
    pub fn poll_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What was agreed on, once that is so.
    pub fn poll_agreement(&mut self) -> Option<Agreement> {
        self.agreement.take()
    }

    /// How many bytes are kept, for tests.
    pub fn held(&self) -> usize {
        self.input.bytes.len()
    }

    fn advance_all(&mut self) -> Result<(), MseError> {
        while self.advance().inspect_err(|&error| self.step = Step::Over(Err(error)))? {}
        Ok(())
    }

    /// Goes a step further; `false`: too little has come.
    fn advance(&mut self) -> Result<bool, MseError> {
        match &mut self.step {
            Step::Key => {
                let Some(theirs) = self.input.take_array() else { return Ok(false) };
                let shared = group::shared_secret(&self.secret, &theirs)?;
                self.output.extend(group::public_key(&self.secret));
                self.output.extend(noise(&mut self.rng));
                self.step = Step::Sign { shared };
            }
            Step::Sign { shared } => {
                if !self.input.skip_past(&hash(&[b"req1", shared]))? {
                    return Ok(false);
                }
                self.step = Step::Name { shared: *shared };
            }
            Step::Name { shared } => {
                let Some(veiled) = self.input.take_array::<HASH_LEN>() else { return Ok(false) };
                let name = SkeyHash(veil(veiled, shared));
                self.step = Step::Torrent { shared: *shared, name };
            }
            Step::Torrent { .. } => return Ok(false),
            Step::Offer { hears, says } => {
                let Some(offer) = self.input.take_array::<14>() else { return Ok(false) };
                let [constant @ .., a, b, c, d, high, low] = hears.applied(offer);
                if constant != VC {
                    return Err(MseError::Constant);
                }
                let method = self.encryption.choose(u32::from_be_bytes([a, b, c, d]))?;
                let (hears, says) = (hears.clone(), says.clone());
                self.step = Step::Noise { method, len: pad_len([high, low])?, hears, says };
            }
            Step::Noise { method, len, hears, says } => {
                let Some(mut noise) = self.input.take(*len + 2) else { return Ok(false) };
                hears.apply(&mut noise);
                let len = *noise.last_chunk().expect("the length is behind it");
                let len = usize::from(u16::from_be_bytes(len));
                let (method, hears, says) = (*method, hears.clone(), says.clone());
                self.step = Step::First { method, len, hears, says };
            }
            Step::First { method, len, hears, says } => {
                let Some(mut early) = self.input.take(*len) else { return Ok(false) };
                hears.apply(&mut early);
                early.extend(self.input.open_rest(*method, hears));
                let (method, hears, mut says) = (*method, hears.clone(), says.clone());
                let pad = vec![0; noise(&mut self.rng).len()];
                let mut hidden = Vec::from(VC);
                hidden.extend(method.bit().to_be_bytes());
                hidden.extend(u16::try_from(pad.len()).expect("noise is short").to_be_bytes());
                hidden.extend(pad);
                says.apply(&mut hidden);
                self.output.extend(hidden);
                self.agreement = Some(Agreement { method, hears, says, early });
                self.step = Step::Over(Ok(()));
            }
            Step::Over(Ok(())) => {
                if let Some(Agreement { method, hears, early, .. }) = &mut self.agreement {
                    early.extend(self.input.open_rest(*method, hears));
                }
                return Ok(false);
            }
            Step::Over(Err(error)) => return Err(*error),
        }
        Ok(true)
    }
}
