//! Both sides against each other in any pieces, fixed keys against fixed bytes, and whoever does not
//! keep to the rules.

use super::*;

const INFO_HASH: InfoHash = InfoHash(*b"mnopqrstuvwxyz123456");

/// What the side that dials says first.
const FIRST: &[u8] = b"what a BitTorrent handshake says";

fn chance(from: u8, seed: u64) -> Chance {
    Chance { secret: std::array::from_fn(|i| from + u8::try_from(i).unwrap()), seed }
}

fn initiator(encryption: Encryption, seed: u64) -> Initiator {
    Initiator::new(chance(1, seed), encryption, INFO_HASH, FIRST)
}

fn responder(encryption: Encryption, seed: u64) -> Responder {
    Responder::new(chance(101, seed), encryption)
}

/// Feeds a responder, and tells it the torrent when it asks for one.
fn answer(responder: &mut Responder, bytes: &[u8]) -> Result<(), MseError> {
    responder.handle_bytes(bytes)?;
    if let Some(name) = responder.torrent() {
        assert_eq!(name, skey_hash(INFO_HASH));
        responder.handle_torrent(INFO_HASH)?;
    }
    Ok(())
}

/// Both sides meet, in pieces of `chunk` bytes.
fn meet(
    dials: Encryption,
    answers: Encryption,
    seed: u64,
    chunk: usize,
) -> Result<[Agreement; 2], MseError> {
    let (mut one, mut other) = (initiator(dials, seed), responder(answers, seed + 1));
    loop {
        let (to_other, to_one) = (one.poll_output(), other.poll_output());
        if to_other.is_empty() && to_one.is_empty() {
            break;
        }
        for part in to_other.chunks(chunk) {
            answer(&mut other, part)?;
        }
        for part in to_one.chunks(chunk) {
            one.handle_bytes(part)?;
        }
    }
    assert_eq!((one.held(), other.held()), (0, 0));
    Ok([one.poll_agreement().unwrap(), other.poll_agreement().unwrap()])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Computed by twenty lines of Python (`pow`, `hashlib.sha1`, RC4 by hand) from the private keys
/// 1 to 20 and 101 to 120, as numbers in network order.
#[test]
fn fixed_keys_give_fixed_bytes() {
    let (mut one, mut other) = (initiator(Encryption::Prefer, 1), responder(Encryption::Prefer, 2));
    let dialled = one.poll_output();
    assert_eq!(
        hex(&dialled[..KEY_LEN]),
        "96e112dab29e8c5272accb9b17b26887ce54a144a4e3b697c7d159b7a817e556\
         b0918db2b4c658e02a87f7e5fb14b18a553e084cbf3dad2d30f16596ccb982d4\
         06258c61b30c5c1dae2ddc60bdbd48d79896312aad63238c39e1a633821eb693"
    );
    answer(&mut other, &dialled).unwrap();
    let answered = other.poll_output();
    assert_eq!(
        hex(&answered[..KEY_LEN]),
        "d32ae8cedd0de9ca4fe67e35626bb8c7cdb0966727d899f6a62fdb2b68817f9d\
         dc4b684e3eb34030b8dba4e028b7cff3264020340cb4eab61923cdc4e4216ba8\
         73368d83f0a38e497f1f6b4e3d2012eb91a3ee6056f966f9eae732089b6fa46e"
    );
    one.handle_bytes(&answered).unwrap();
    let proof = one.poll_output();
    assert_eq!(hex(&proof[..20]), "78fffb0f23055a793ff7609f359e04e383ec3505");
    assert_eq!(hex(&proof[20..40]), "d2cd356c8e0ed495574b1ffb2471f8f579fa994e");
    assert_eq!(hex(&proof[40..52]), "2991478a4ddaf44893531709", "the constant, and both methods");
    answer(&mut other, &proof).unwrap();
    let choice = other.poll_output();
    assert_eq!(hex(&choice[..12]), "d3e0844d04840af8ac786b8d", "the constant, and plaintext");
    assert_eq!(hex(&skey_hash(INFO_HASH).0), "e98a2043e750244d8660f600838c6a675655dca6");
}

#[test]
fn both_sides_agree_whatever_the_chunks_and_the_noise() {
    use Encryption::{Prefer, Require};
    for (seed, chunk) in (0..).zip([1, 7, 96, 1000, usize::MAX]) {
        for (dials, answers, method) in [
            (Prefer, Prefer, Method::Plaintext),
            (Prefer, Require, Method::Rc4),
            (Require, Prefer, Method::Rc4),
            (Require, Require, Method::Rc4),
        ] {
            let [mut one, mut other] = meet(dials, answers, seed, chunk).unwrap();
            assert_eq!((one.method, other.method), (method, method), "{dials:?}, {answers:?}");
            assert_eq!((one.early.as_slice(), other.early.as_slice()), (&b""[..], FIRST));
            let mut hidden = *b"what comes after the handshake";
            one.says.apply(&mut hidden);
            other.hears.apply(&mut hidden);
            other.says.apply(&mut hidden);
            one.hears.apply(&mut hidden);
            assert_eq!(&hidden, b"what comes after the handshake");
        }
    }
}

#[test]
fn what_comes_right_behind_the_handshake_is_kept() {
    for (encryption, chunk) in [(Encryption::Prefer, 1000), (Encryption::Require, 1)] {
        let (mut one, mut other) = (initiator(encryption, 7), responder(encryption, 8));
        answer(&mut other, &one.poll_output()).unwrap();
        one.handle_bytes(&other.poll_output()).unwrap();
        answer(&mut other, &one.poll_output()).unwrap();
        let mut choice = other.poll_output();
        let mut agreement = other.poll_agreement().unwrap();
        let mut behind = *b"and so on";
        if agreement.method == Method::Rc4 {
            agreement.says.apply(&mut behind);
        }
        choice.extend(behind);
        choice.chunks(chunk).for_each(|part| one.handle_bytes(part).unwrap());
        assert_eq!(one.poll_agreement().unwrap().early, b"and so on");
    }
}

/// Somebody who knows the rules, and the torrent, and says what they please behind their key.
struct Forger {
    shared: [u8; KEY_LEN],
    target: Responder,
}

impl Forger {
    /// Has exchanged keys with a responder.
    fn new(encryption: Encryption) -> Self {
        let mut target = responder(encryption, 3);
        let secret = chance(1, 0).secret;
        target.handle_bytes(&group::public_key(&secret)).unwrap();
        let theirs = *target.poll_output().first_chunk().unwrap();
        Self { shared: group::shared_secret(&secret, &theirs).unwrap(), target }
    }

    /// Says noise, the sign and the name, then `hidden` under the key of `torrent`.
    fn say(&mut self, noise: usize, torrent: InfoHash, hidden: &[u8]) -> Result<(), MseError> {
        let mut bytes = vec![0xee; noise];
        bytes.extend(hash(&[b"req1", &self.shared]));
        bytes.extend(veil(skey_hash(INFO_HASH).0, &self.shared));
        let mut hidden = hidden.to_vec();
        cipher(b"keyA", &self.shared, torrent).apply(&mut hidden);
        bytes.extend(hidden);
        answer(&mut self.target, &bytes)
    }
}

/// The constant, methods, and the lengths of the noise and of what is said first.
fn offer(methods: u32, pad: u16, first: u16) -> Vec<u8> {
    let mut bytes = [&VC[..], &methods.to_be_bytes(), &pad.to_be_bytes()].concat();
    bytes.extend(vec![0; usize::from(pad)]);
    bytes.extend(first.to_be_bytes());
    bytes.extend(vec![b'!'; usize::from(first)]);
    bytes
}

#[test]
fn whoever_dials_and_breaks_the_rules_is_refused() {
    use Encryption::{Prefer, Require};
    let wrong_constant = [&[0, 0, 0, 0, 0, 0, 0, 1], &offer(3, 0, 0)[8..]].concat();
    let other = InfoHash([9; 20]);
    let table = [
        // What is allowed, to its bounds.
        (Prefer, 0, INFO_HASH, offer(3, 0, 0), Ok(())),
        (Prefer, 512, INFO_HASH, offer(2, 512, u16::MAX), Ok(())),
        (Require, 512, INFO_HASH, offer(0xffff_ffff, 512, 68), Ok(())),
        // Too much noise, of either kind.
        (Prefer, 513, INFO_HASH, offer(3, 0, 0), Err(MseError::Sync)),
        (Prefer, 0, INFO_HASH, offer(3, 513, 0), Err(MseError::Pad(513))),
        (Prefer, 0, INFO_HASH, offer(3, u16::MAX, 0), Err(MseError::Pad(u16::MAX))),
        // Another constant, or the key of another torrent.
        (Prefer, 0, INFO_HASH, wrong_constant, Err(MseError::Constant)),
        (Prefer, 0, other, offer(3, 0, 0), Err(MseError::Constant)),
        // Nothing that is known, or less than is asked for.
        (Prefer, 0, INFO_HASH, offer(0, 0, 0), Err(MseError::Methods(0))),
        (Prefer, 0, INFO_HASH, offer(4, 0, 0), Err(MseError::Methods(4))),
        (Require, 0, INFO_HASH, offer(1, 0, 0), Err(MseError::Methods(1))),
    ];
    for (encryption, noise, torrent, hidden, expected) in table {
        let mut forger = Forger::new(encryption);
        assert_eq!(forger.say(noise, torrent, &hidden), expected, "{encryption:?}, {noise}");
        assert_eq!(forger.target.poll_agreement().is_some(), expected.is_ok());
        assert_eq!(forger.target.handle_bytes(b"and on"), expected, "an error is final");
    }
}

#[test]
fn whoever_is_dialled_and_breaks_the_rules_is_refused() {
    use Encryption::{Prefer, Require};
    let choice = |method: u32, pad: u16| {
        let mut bytes = [&VC[..], &method.to_be_bytes(), &pad.to_be_bytes()].concat();
        bytes.extend(vec![0; usize::from(pad)]);
        bytes
    };
    let table = [
        (Prefer, 512, choice(1, 512), Ok(())),
        (Require, 0, choice(2, 0), Ok(())),
        (Prefer, 513, choice(2, 0), Err(MseError::Sync)),
        (Prefer, 0, choice(2, 513), Err(MseError::Pad(513))),
        (Prefer, 0, choice(0, 0), Err(MseError::Methods(0))),
        (Prefer, 0, choice(3, 0), Err(MseError::Methods(3))),
        (Require, 0, choice(1, 0), Err(MseError::Methods(1))),
    ];
    for (encryption, noise, mut hidden, expected) in table {
        let mut target = initiator(encryption, 5);
        let theirs = *target.poll_output().first_chunk().unwrap();
        let secret = chance(101, 0).secret;
        let shared = group::shared_secret(&secret, &theirs).unwrap();
        let mut bytes = group::public_key(&secret).to_vec();
        bytes.extend(vec![0xee; noise]);
        cipher(b"keyB", &shared, INFO_HASH).apply(&mut hidden);
        bytes.extend(hidden);
        assert_eq!(target.handle_bytes(&bytes), expected, "{encryption:?}, {noise}");
        assert_eq!(target.poll_agreement().is_some(), expected.is_ok());
        assert_eq!(target.handle_bytes(b"and on"), expected, "an error is final");
    }
}

#[test]
fn no_key_and_no_sign_end_the_handshake_before_much_is_kept() {
    for weak in [[0; KEY_LEN], [0xff; KEY_LEN]] {
        assert_eq!(responder(Encryption::Prefer, 1).handle_bytes(&weak), Err(MseError::Key));
        assert_eq!(initiator(Encryption::Prefer, 1).handle_bytes(&weak), Err(MseError::Key));
    }
    let mut forger = Forger::new(Encryption::Prefer);
    for n in 1..532 {
        assert_eq!(forger.target.handle_bytes(b"x"), Ok(()));
        assert_eq!(forger.target.held(), n);
    }
    assert_eq!(forger.target.handle_bytes(b"x"), Err(MseError::Sync));
}

#[test]
fn a_torrent_is_named_once_it_is_known() {
    let (mut one, mut other) = (initiator(Encryption::Prefer, 1), responder(Encryption::Prefer, 2));
    other.handle_torrent(INFO_HASH).unwrap();
    assert_eq!(other.torrent(), None, "nobody has asked");
    other.handle_bytes(&one.poll_output()).unwrap();
    one.handle_bytes(&other.poll_output()).unwrap();
    other.handle_bytes(&one.poll_output()).unwrap();
    assert_eq!(other.torrent(), Some(skey_hash(INFO_HASH)));
    assert!(other.poll_output().is_empty(), "nothing is said of it before");
    other.handle_torrent(INFO_HASH).unwrap();
    assert_eq!(other.torrent(), None);
    assert!(!other.poll_output().is_empty());
}
