//! The encrypted handshake: what either side makes of any bytes, whatever the chunks. What comes
//! behind the key is read a second time here, in twenty lines.

use rondalla::formats::mse::{
    Chance, Encryption, Initiator, KEY_LEN, Method, MseError, Responder, SECRET_LEN, skey_hash,
};
use rondalla::words::id::{InfoHash, SkeyHash};
use sha1::{Digest as _, Sha1};

const INFO_HASH: InfoHash = InfoHash(*b"mnopqrstuvwxyz123456");

/// Longest noise.
const PAD_MAX: usize = 512;

/// The first byte is the length of the chunks, the second says who hears, what is allowed, and
/// whether the others come over the wire as they are, or behind a key, and hidden, as the rules want.
pub(crate) fn check(bytes: &[u8]) {
    let [chunk, mode, rest @ ..] = bytes else { return };
    let encryption = if mode & 1 == 0 { Encryption::Prefer } else { Encryption::Require };
    let hear = if mode & 2 == 0 { answered } else { dialled };
    let forged = mode & 4 != 0;
    let stream = if forged { forge(rest, mode & 2 != 0) } else { rest.to_vec() };
    let heard = hear(&stream, usize::from(*chunk).max(1), encryption);
    for chunk in [1, KEY_LEN, stream.len().max(1)] {
        assert_eq!(hear(&stream, chunk, encryption), heard, "chunks of {chunk}");
    }
    if forged {
        let expected = expected(rest, &stream, mode & 2 != 0, encryption);
        assert_eq!((heard.result, heard.agreed), expected);
    }
}

/// What was heard and said when all chunks had come.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    result: Result<(), MseError>,
    agreed: Option<(Method, Vec<u8>)>,
    asked: Option<SkeyHash>,
    said: Vec<u8>,
}

/// Our private key is 1, so our public key is 2, and the secret is their key.
fn chance() -> Chance {
    let mut secret = [0; SECRET_LEN];
    secret[SECRET_LEN - 1] = 1;
    Chance { secret, seed: 1 }
}

/// Somebody dials us.
fn answered(bytes: &[u8], chunk: usize, encryption: Encryption) -> Heard {
    let mut responder = Responder::new(chance(), encryption);
    let (mut result, mut asked) = (Ok(()), None);
    for part in bytes.chunks(chunk) {
        let heard = responder.handle_bytes(part);
        assert!(result.is_ok() || heard == result, "an error is final");
        result = heard;
        if let Some(name) = responder.torrent() {
            asked = Some(name);
            result = responder.handle_torrent(INFO_HASH);
        }
    }
    assert!(responder.held() <= bytes.len());
    let agreed = responder.poll_agreement().map(|agreement| (agreement.method, agreement.early));
    Heard { result, agreed, asked, said: responder.poll_output() }
}

/// We dial.
fn dialled(bytes: &[u8], chunk: usize, encryption: Encryption) -> Heard {
    let mut initiator = Initiator::new(chance(), encryption, INFO_HASH, b"first");
    let mut result = Ok(());
    for part in bytes.chunks(chunk) {
        let heard = initiator.handle_bytes(part);
        assert!(result.is_ok() || heard == result, "an error is final");
        result = heard;
    }
    assert!(initiator.held() <= bytes.len());
    let agreed = initiator.poll_agreement().map(|agreement| (agreement.method, agreement.early));
    Heard { result, agreed, asked: None, said: initiator.poll_output() }
}

fn their_key() -> [u8; KEY_LEN] {
    [7; KEY_LEN]
}

fn hash(parts: &[&[u8]]) -> [u8; 20] {
    Sha1::digest(parts.concat()).into()
}

/// A key, some noise, and `rest` as the side says it that dialled, or the one that we dialled.
fn forge(rest: &[u8], dialled: bool) -> Vec<u8> {
    let key = their_key();
    let mut stream = key.to_vec();
    stream.extend([0xee; 100]);
    if dialled {
        stream.extend(hidden(b"keyB", &[&[0; 8], rest].concat()));
    } else {
        stream.extend(hash(&[b"req1", &key]));
        let veil = hash(&[b"req3", &key]);
        stream.extend(skey_hash(INFO_HASH).0.iter().zip(veil).map(|(name, veil)| name ^ veil));
        stream.extend(hidden(b"keyA", rest));
    }
    stream
}

/// RC4, without its first 1,024 bytes.
fn hidden(side: &[u8; 4], bytes: &[u8]) -> Vec<u8> {
    let key = hash(&[side, &their_key(), &INFO_HASH.0]);
    let mut state: Vec<usize> = (0..256).collect();
    let mut j = 0;
    for i in 0..256 {
        j = (j + state[i] + usize::from(key[i % key.len()])) % 256;
        state.swap(i, j);
    }
    let (mut i, mut j) = (0, 0);
    let mut next = || {
        i = (i + 1) % 256;
        j = (j + state[i]) % 256;
        state.swap(i, j);
        u8::try_from(state[(state[i] + state[j]) % 256]).expect("it is below 256")
    };
    (0..1024).for_each(|_| {
        next();
    });
    bytes.iter().map(|byte| byte ^ next()).collect()
}

type Expected = (Result<(), MseError>, Option<(Method, Vec<u8>)>);

/// What `rest` means, of which `stream` is the hidden form.
fn expected(rest: &[u8], stream: &[u8], dialled: bool, encryption: Encryption) -> Expected {
    let (constant, rest) =
        if dialled { (&[0; 8][..], rest) } else { rest.split_at(8.min(rest.len())) };
    let [a, b, c, d, high, low, ..] = *rest else { return (Ok(()), None) };
    if constant != [0; 8] {
        return (Err(MseError::Constant), None);
    }
    let methods = u32::from_be_bytes([a, b, c, d]);
    let plain = encryption == Encryption::Prefer;
    let method = match methods {
        1 if dialled && plain => Method::Plaintext,
        2 if dialled => Method::Rc4,
        _ if dialled => return (Err(MseError::Methods(methods)), None),
        _ if methods & 1 != 0 && plain => Method::Plaintext,
        _ if methods & 2 != 0 => Method::Rc4,
        _ => return (Err(MseError::Methods(methods)), None),
    };
    let pad = u16::from_be_bytes([high, low]);
    if usize::from(pad) > PAD_MAX {
        return (Err(MseError::Pad(pad)), None);
    }
    let Some(mut rest) = rest.get(6 + usize::from(pad)..) else { return (Ok(()), None) };
    let mut early = Vec::new();
    if !dialled {
        let [high, low, first @ ..] = rest else { return (Ok(()), None) };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((first, behind)) = first.split_at_checked(len) else { return (Ok(()), None) };
        early.extend_from_slice(first);
        rest = behind;
    }
    match method {
        Method::Rc4 => early.extend_from_slice(rest),
        Method::Plaintext => early.extend_from_slice(&stream[stream.len() - rest.len()..]),
    }
    (Ok(()), Some((method, early)))
}
