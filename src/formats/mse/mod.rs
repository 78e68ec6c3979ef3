//! Message Stream Encryption: how two peers agree to make their connection look like noise (the
//! specification of Vuze, "Message Stream Encryption", also called PE).
//!
//! Each side sends a public key of the group of `group.rs` and noise of a length of its own choice.
//! The side that dialled then proves that it knows the torrent, offers methods, and may say the
//! first bytes of what it wanted to say; the other side chooses the method. It hides what is said
//! from whoever looks at single packets. It proves nothing about who speaks, and holds nobody back
//! who stands between the two and knows the info-hash.
//!
//! [`Initiator`] and [`Responder`] take bytes in any pieces and give bytes to send; all chance is an
//! argument, so the same chance gives the same bytes.

mod group;
mod initiator;
mod rc4;
mod responder;

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};

use crate::words::id::{InfoHash, SkeyHash};
use crate::words::limits;
use crate::words::rng::Rng;
use crate::words::units::Unparsable;

pub use group::{KEY_LEN, SECRET_LEN};
pub use initiator::Initiator;
pub use rc4::Rc4;
pub use responder::Responder;

/// The verification constant: eight zeros.
const VC: [u8; 8] = [0; 8];

/// Bytes of a hash.
const HASH_LEN: usize = 20;

/// Whether connections to peers are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Where the other side asks for it.
    #[default]
    Prefer,
    /// Always, and all of it: who does not is refused.
    Require,
    /// Never.
    Off,
}

impl FromStr for Encryption {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        match text {
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "off" => Ok(Self::Off),
            _ => Err(Unparsable("write prefer, require or off")),
        }
    }
}

/// How two peers go on after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As without it.
    Plaintext,
    /// Every byte by RC4.
    Rc4,
}

impl Method {
    /// Its bit in `crypto_provide` and `crypto_select`.
    const fn bit(self) -> u32 {
        match self {
            Self::Plaintext => 0x01,
            Self::Rc4 => 0x02,
        }
    }
}

impl Encryption {
    /// The methods that are offered, and those that are taken: a bit each.
    const fn methods(self) -> u32 {
        match self {
            Self::Prefer => Method::Plaintext.bit() | Method::Rc4.bit(),
            Self::Require => Method::Rc4.bit(),
            Self::Off => 0,
        }
    }

    /// Which of the methods that the other side provides is taken: plaintext if it may be.
    fn choose(self, provided: u32) -> Result<Method, MseError> {
        let both = provided & self.methods();
        let chosen = [Method::Plaintext, Method::Rc4].into_iter().find(|m| both & m.bit() != 0);
        chosen.ok_or(MseError::Methods(provided))
    }

    /// The one method that the other side has selected, if it was offered.
    fn confirm(self, selected: u32) -> Result<Method, MseError> {
        let chosen = [Method::Plaintext, Method::Rc4].into_iter().find(|m| selected == m.bit());
        let offered = chosen.filter(|method| self.methods() & method.bit() != 0);
        offered.ok_or(MseError::Methods(selected))
    }
}

/// What one handshake needs of chance.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    /// The private key: 160 bits that nobody can guess.
    pub secret: [u8; SECRET_LEN],
    /// For the noise and its lengths.
    pub seed: u64,
}

/// What both sides know when the handshake is over.
#[derive(Debug)]
pub struct Agreement {
    /// How they go on.
    pub method: Method,
    /// For what is heard, if the method is RC4.
    pub hears: Rc4,
    /// For what is said, if the method is RC4.
    pub says: Rc4,
    /// What has come of the stream behind the handshake, readable.
    pub early: Vec<u8>,
}

/// What the other side got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MseError {
    /// A public key that makes any secret known: 0, 1, or the last before the prime, or one beyond.
    Key,
    /// After the key and the longest noise, no sign of the handshake.
    Sync,
    /// The constant that must be zeros is not: another torrent's name is its key, or it is noise.
    Constant,
    /// Methods of which none can be taken.
    Methods(u32),
    /// Noise longer than [`limits::MSE_PAD_MAX`].
    Pad(u16),
}

impl fmt::Display for MseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str(
                "its first bytes are no BitTorrent handshake, nor the key of an encrypted one",
            ),
            Self::Sync => {
                f.write_str("its first bytes are no BitTorrent handshake, nor an encrypted one")
            }
            Self::Constant => f.write_str("its encrypted handshake is not of this torrent"),
            Self::Methods(bits) => {
                write!(f, "of its ways of encryption ({bits:#x}) none is allowed here")
            }
            Self::Pad(len) => write!(
                f,
                "its encrypted handshake has {len} bytes of noise; the most is {}",
                limits::MSE_PAD_MAX
            ),
        }
    }
}

impl std::error::Error for MseError {}

/// Under which name an encrypted handshake asks for a torrent.
pub fn skey_hash(info_hash: InfoHash) -> SkeyHash {
    SkeyHash(hash(&[b"req2", &info_hash.0]))
}

fn hash(parts: &[&[u8]]) -> [u8; HASH_LEN] {
    let mut sha1 = Sha1::new();
    parts.iter().for_each(|part| sha1.update(part));
    sha1.finalize().into()
}

/// `HASH('req2', SKEY) xor HASH('req3', S)`, from either of the two.
fn veil(name: [u8; HASH_LEN], shared: &[u8; KEY_LEN]) -> [u8; HASH_LEN] {
    let veil = hash(&[b"req3", shared]);
    std::array::from_fn(|i| name[i] ^ veil[i])
}

/// The cipher of the side that dialled (`keyA`) or of the one that was dialled (`keyB`).
fn cipher(side: &[u8; 4], shared: &[u8; KEY_LEN], info_hash: InfoHash) -> Rc4 {
    Rc4::for_stream(&hash(&[side, shared, &info_hash.0]))
}

/// Noise of any length up to [`limits::MSE_PAD_MAX`].
fn noise(rng: &mut Rng) -> Vec<u8> {
    let most = u32::from(limits::MSE_PAD_MAX);
    let mut noise = vec![0; rng.below(most + 1) as usize];
    rng.fill(&mut noise);
    noise
}

/// What has come and was not read yet.
#[derive(Debug, Default)]
struct Input {
    bytes: Vec<u8>,
    /// Where a sign that is looked for does not begin before.
    searched: usize,
}

impl Input {
    /// Takes the next `n` bytes, once they are there.
    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        (self.bytes.len() >= n).then(|| self.bytes.drain(..n).collect())
    }

    fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N).map(|bytes| bytes.try_into().expect("so many were taken"))
    }

    /// Takes all up to and with the first `sign`, which has at most so much noise before it. `false`:
    /// it has not come yet.
    fn skip_past(&mut self, sign: &[u8]) -> Result<bool, MseError> {
        let most = usize::from(limits::MSE_PAD_MAX);
        let places = self.bytes.windows(sign.len()).enumerate().take(most + 1);
        let place = places.skip(self.searched).find(|(_, bytes)| *bytes == sign);
        match place {
            Some((place, _)) => {
                self.bytes.drain(..place + sign.len());
                Ok(true)
            }
            None if self.bytes.len() >= most + sign.len() => Err(MseError::Sync),
            None => {
                self.searched = (self.bytes.len() + 1).saturating_sub(sign.len());
                Ok(false)
            }
        }
    }

    /// Makes all that is here readable, and gives it away.
    fn open_rest(&mut self, method: Method, cipher: &mut Rc4) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.bytes);
        match method {
            Method::Plaintext => {}
            Method::Rc4 => cipher.apply(&mut rest),
        }
        rest
    }
}

/// A number of two bytes that is the length of noise.
fn pad_len(bytes: [u8; 2]) -> Result<usize, MseError> {
    let len = u16::from_be_bytes(bytes);
    if len > limits::MSE_PAD_MAX { Err(MseError::Pad(len)) } else { Ok(usize::from(len)) }
}

#[cfg(test)]
mod tests;
