//! The group of the key exchange: powers of 2 modulo a prime of 768 bits (Diffie and Hellman, with
//! the first group of RFC 2409 but for its last 64 bits).

use bnum::Uint;

use crate::formats::mse::MseError;

/// Bytes of a public key, and of what both sides share.
pub const KEY_LEN: usize = 96;

/// Bytes of a private key.
pub const SECRET_LEN: usize = 20;

/// Wide enough for the product of two numbers of the group.
type Wide = Uint<{ 2 * KEY_LEN }>;

const PRIME: [u8; KEY_LEN] = *b"\
    \xff\xff\xff\xff\xff\xff\xff\xff\xc9\x0f\xda\xa2\x21\x68\xc2\x34\xc4\xc6\x62\x8b\x80\xdc\x1c\xd1\
    \x29\x02\x4e\x08\x8a\x67\xcc\x74\x02\x0b\xbe\xa6\x3b\x13\x9b\x22\x51\x4a\x08\x79\x8e\x34\x04\xdd\
    \xef\x95\x19\xb3\xcd\x3a\x43\x1b\x30\x2b\x0a\x6d\xf2\x5f\x14\x37\x4f\xe1\x35\x6d\x6d\x51\xc2\x45\
    \xe4\x85\xb5\x76\x62\x5e\x7e\xc6\xf4\x4c\x42\xe9\xa6\x3a\x36\x21\x00\x00\x00\x00\x00\x09\x05\x63";

/// Our public key.
pub(super) fn public_key(secret: &[u8; SECRET_LEN]) -> [u8; KEY_LEN] {
    narrow(power(wide(&[2]), secret))
}

/// What both sides share, from our private key and the other side's public one.
pub(super) fn shared_secret(
    secret: &[u8; SECRET_LEN],
    theirs: &[u8; KEY_LEN],
) -> Result<[u8; KEY_LEN], MseError> {
    let (base, one) = (wide(theirs), wide(&[1]));
    // These have two powers at most, so anybody who listens would know the secret.
    if base <= one || base >= wide(&PRIME) - one {
        return Err(MseError::Key);
    }
    Ok(narrow(power(base, secret)))
}

fn power(base: Wide, exponent: &[u8; SECRET_LEN]) -> Wide {
    let prime = wide(&PRIME);
    let mut bits = exponent.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    // What is before the first one does nothing.
    if !bits.any(|bit| bit == 1) {
        return wide(&[1]);
    }
    bits.fold(base, |power, bit| {
        let squared = power * power % prime;
        if bit == 1 { squared * base % prime } else { squared }
    })
}

fn wide(bytes: &[u8]) -> Wide {
    Wide::from_be_slice(bytes).expect("nobody has more bytes than a product")
}

fn narrow(number: Wide) -> [u8; KEY_LEN] {
    *number.to_be_bytes().last_chunk().expect("it is below the prime")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> [u8; KEY_LEN] {
        let mut key = [0; KEY_LEN];
        key[KEY_LEN - bytes.len()..].copy_from_slice(bytes);
        key
    }

    #[test]
    fn small_powers_are_what_anybody_can_compute() {
        for (exponent, expected) in [(0, &[1][..]), (1, &[2]), (2, &[4]), (10, &[4, 0])] {
            let mut secret = [0; SECRET_LEN];
            secret[SECRET_LEN - 1] = exponent;
            assert_eq!(public_key(&secret), key(expected), "{exponent}");
        }
        let mut secret = [0; SECRET_LEN];
        secret[SECRET_LEN - 1] = 3;
        assert_eq!(shared_secret(&secret, &key(&[10])), Ok(key(&[3, 232])));
    }

    #[test]
    fn both_sides_come_to_the_same_secret() {
        let (one, other) = ([0xa7; SECRET_LEN], [0x5b; SECRET_LEN]);
        let shared = shared_secret(&one, &public_key(&other)).unwrap();
        assert_eq!(shared_secret(&other, &public_key(&one)), Ok(shared));
        assert_ne!(public_key(&one), public_key(&other));
    }

    #[test]
    fn a_key_that_gives_the_secret_away_is_none() {
        let secret = [7; SECRET_LEN];
        let mut last = PRIME;
        last[KEY_LEN - 1] -= 1;
        for weak in [key(&[0]), key(&[1]), last, PRIME, [0xff; KEY_LEN]] {
            assert_eq!(shared_secret(&secret, &weak), Err(MseError::Key));
        }
        last[KEY_LEN - 1] -= 1;
        assert!(shared_secret(&secret, &last).is_ok());
    }
}
