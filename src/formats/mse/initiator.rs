//! The side that dials.

use crate::formats::mse::{
    Agreement, Chance, Encryption, HASH_LEN, Input, Method, MseError, Rc4, VC, cipher, group, hash,
    noise, pad_len, skey_hash, veil,
};
use crate::formats::mse::{KEY_LEN, SECRET_LEN};
use crate::words::id::InfoHash;
use crate::words::rng::Rng;

/// Shakes hands as the side that dials.
#[derive(Debug)]
pub struct Initiator {
    encryption: Encryption,
    info_hash: InfoHash,
    secret: [u8; SECRET_LEN],
    rng: Rng,
    /// What is to be said first, with the handshake.
    first: Vec<u8>,
    input: Input,
    output: Vec<u8>,
    step: Step,
    agreement: Option<Agreement>,
}

#[derive(Debug)]
enum Step {
    /// Their key is awaited,
    Key,
    /// then their constant, which is hidden, behind noise,
    Constant { hears: Rc4, says: Rc4 },
    /// then their choice, and the length of more noise,
    Choice { hears: Rc4, says: Rc4 },
    /// then that noise.
    Noise { method: Method, len: usize, hears: Rc4, says: Rc4 },
    /// All is said, or nothing more will be understood.
    Over(Result<(), MseError>),
}

impl Initiator {
    /// Dials for a torrent. `first` is what is to be said first: the BitTorrent handshake.
    pub fn new(chance: Chance, encryption: Encryption, info_hash: InfoHash, first: &[u8]) -> Self {
        let Chance { secret, seed } = chance;
        let mut rng = Rng::new(seed);
        let mut output = group::public_key(&secret).to_vec();
        output.extend(noise(&mut rng));
        let (first, input) = (first.to_vec(), Input::default());
        let (step, agreement) = (Step::Key, None);
        Self { encryption, info_hash, secret, rng, first, input, output, step, agreement }
    }

    /// Takes in what has come.
    ///
    /// # Errors
    /// If it is no such handshake, or none that may be taken. An error is final.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), MseError> {
        self.input.bytes.extend_from_slice(bytes);
        while self.advance().inspect_err(|&error| self.step = Step::Over(Err(error)))? {}
        Ok(())
    }

    /// What is to be sent now.
    pub fn poll_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What was agreed on, once that is so. What was to be said first is said.
    pub fn poll_agreement(&mut self) -> Option<Agreement> {
        self.agreement.take()
    }

    /// How many bytes are kept, for tests.
    pub fn held(&self) -> usize {
        self.input.bytes.len()
    }

    /// Goes a step further; `false`: too little has come.
    fn advance(&mut self) -> Result<bool, MseError> {
        match &mut self.step {
            Step::Key => {
                let Some(theirs) = self.input.take_array() else { return Ok(false) };
                let shared = group::shared_secret(&self.secret, &theirs)?;
                self.prove(&shared);
            }
            Step::Constant { hears, says } => {
                let sign = hears.clone().applied(VC);
                if !self.input.skip_past(&sign)? {
                    return Ok(false);
                }
                let (mut hears, says) = (hears.clone(), says.clone());
                hears.applied(VC);
                self.step = Step::Choice { hears, says };
            }
            Step::Choice { hears, says } => {
                let Some(choice) = self.input.take_array::<6>() else { return Ok(false) };
                let [selected @ .., high, low] = hears.applied(choice);
                let method = self.encryption.confirm(u32::from_be_bytes(selected))?;
                let (hears, says) = (hears.clone(), says.clone());
                self.step = Step::Noise { method, len: pad_len([high, low])?, hears, says };
            }
            Step::Noise { method, len, hears, says } => {
                let Some(mut noise) = self.input.take(*len) else { return Ok(false) };
                hears.apply(&mut noise);
                let early = self.input.open_rest(*method, hears);
                let (method, hears, says) = (*method, hears.clone(), says.clone());
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

    /// Shows that we know the torrent, offers methods, and says what is to be said first.
    fn prove(&mut self, shared: &[u8; KEY_LEN]) {
        let mut says = cipher(b"keyA", shared, self.info_hash);
        let hears = cipher(b"keyB", shared, self.info_hash);
        let name: [u8; HASH_LEN] = skey_hash(self.info_hash).0;
        self.output.extend(hash(&[b"req1", shared]));
        self.output.extend(veil(name, shared));
        let pad = vec![0; noise(&mut self.rng).len()];
        let mut hidden = Vec::from(VC);
        hidden.extend(self.encryption.methods().to_be_bytes());
        hidden.extend(u16::try_from(pad.len()).expect("noise is short").to_be_bytes());
        hidden.extend(pad);
        hidden.extend(u16::try_from(self.first.len()).expect("a handshake is short").to_be_bytes());
        hidden.append(&mut self.first);
        says.apply(&mut hidden);
        self.output.extend(hidden);
        self.step = Step::Constant { hears, says };
    }
}
