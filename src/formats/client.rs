//! Which client a peer runs, by its peer id (BEP 20) or by its own words, and how we name ours.

use crate::words::id::PeerId;
use crate::words::limits::CLIENT_NAME_LEN_MAX;

/// How a client writes its version into the four characters after its code.
#[derive(Clone, Copy)]
enum Version {
    /// One character a number; the fourth is a tag of the build, and not shown.
    Three,
    /// One character a number.
    Four,
    /// Two digits a number.
    Pairs,
    /// As in 0.72, in 2.94, and from 4.0.0 on as in `Three`.
    Transmission,
}

/// The clients that one meets, by the code in `-XX1234-`.
const CLIENTS: [(&[u8; 2], &str, Version); 26] = [
    (b"AZ", "Vuze", Version::Four),
    (b"BC", "BitComet", Version::Pairs),
    (b"BI", "BiglyBT", Version::Four),
    (b"BT", "BitTorrent", Version::Three),
    (b"DE", "Deluge", Version::Three),
    (b"FD", "Free Download Manager", Version::Three),
    (b"FW", "FrostWire", Version::Three),
    (b"GT", "anacrolix/torrent", Version::Four),
    (b"KT", "KTorrent", Version::Three),
    (b"LT", "libtorrent", Version::Three),
    (b"MG", "MediaGet", Version::Three),
    (b"RO", OUR_NAME, Version::Three),
    (b"SD", "Thunder", Version::Four),
    (b"TL", "Tribler", Version::Three),
    (b"TR", "Transmission", Version::Transmission),
    (b"UE", "µTorrent Embedded", Version::Three),
    (b"UM", "µTorrent for Mac", Version::Three),
    (b"UT", "µTorrent", Version::Three),
    (b"UW", "µTorrent Web", Version::Three),
    (b"WD", "WebTorrent Desktop", Version::Pairs),
    (b"WW", "WebTorrent", Version::Pairs),
    (b"XL", "Xunlei", Version::Four),
    (b"lt", "rTorrent's libtorrent", Version::Three),
    (b"qB", "qBittorrent", Version::Three),
    (b"rQ", "rqbit", Version::Four),
    (b"st", "SharkTorrent", Version::Three),
];

const OUR_NAME: &str = env!("CARGO_PKG_NAME");

/// The client that uses such peer ids, with its version: `Transmission 3.00`. For one that is not
/// known, the first eight characters of the peer id, which never hold a control character.
pub fn client_name(peer_id: PeerId) -> String {
    azureus(peer_id.0)
        .or_else(|| dashed("aria2", peer_id.0.strip_prefix(b"A2-")?))
        .or_else(|| dashed("Mainline", peer_id.0.strip_prefix(b"M")?))
        .unwrap_or_else(|| peer_id.to_string().chars().take(8).collect())
}

/// What we call ourselves in the extension handshake: `rondalla 0.1.0`.
pub fn our_name() -> String {
    format!("{OUR_NAME} {}", env!("CARGO_PKG_VERSION"))
}

/// A peer id of ours: `-RO0100-` for version 0.1.0, and 12 letters or digits out of `random`.
pub fn our_peer_id(random: [u8; 12]) -> PeerId {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let parts = [
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    ];
    let mut id = *b"-RO0000-............";
    for (place, part) in id[3..6].iter_mut().zip(parts) {
        let number: usize = part.parse().expect("cargo's versions are numbers");
        *place = ALPHABET[number];
    }
    for (place, byte) in id[8..].iter_mut().zip(random) {
        *place = ALPHABET[usize::from(byte) % ALPHABET.len()];
    }
    PeerId(id)
}

/// Text from a stranger, fit to be shown: at most [`CLIENT_NAME_LEN_MAX`] characters, none of them
/// a control character or one that turns the writing direction; what is no UTF-8 shows as U+FFFD.
pub fn cleaned(text: &[u8]) -> String {
    cleaned_to(text, CLIENT_NAME_LEN_MAX)
}

/// The same with at most so many characters.
pub fn cleaned_to(text: &[u8], len_max: usize) -> String {
    let most = text.len().min(4 * len_max);
    let text = String::from_utf8_lossy(&text[..most]);
    text.chars().filter(|&c| is_plain(c)).take(len_max).collect()
}

/// Whether a character only shows itself, and does nothing to its neighbours or to a terminal.
fn is_plain(c: char) -> bool {
    let formats = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !formats
}

/// `-XX1234-`, the style that Azureus began.
fn azureus(id: [u8; 20]) -> Option<String> {
    let Some(&[b'-', x, y, a, b, c, d]) = id.first_chunk() else { return None };
    let (_, name, style) = CLIENTS.iter().find(|(code, ..)| **code == [x, y])?;
    let version = match (style, [a, b]) {
        (Version::Transmission, [b'0', b'0']) => format!("0.{}", pair(c, d)?),
        (Version::Transmission, [b'1'..=b'3', _]) => {
            format!("{}.{}{}", number(a)?, number(b)?, number(c)?)
        }
        (Version::Three | Version::Transmission, _) => {
            format!("{}.{}.{}", number(a)?, number(b)?, number(c)?)
        }
        (Version::Four, _) => {
            format!("{}.{}.{}.{}", number(a)?, number(b)?, number(c)?, number(d)?)
        }
        (Version::Pairs, _) => format!("{}.{}", pair(a, b)?, pair(c, d)?),
    };
    Some(format!("{name} {version}"))
}

/// `1-36-0-`: three numbers of one or two digits, each with a dash after it.
fn dashed(name: &str, version: &[u8]) -> Option<String> {
    let mut parts = version.splitn(4, |&byte| byte == b'-');
    let mut part = || match *parts.next()? {
        [digit] => pair(b'0', digit),
        [ten, digit] => pair(ten, digit),
        _ => None,
    };
    let (major, minor, patch) = (part()?, part()?, part()?);
    parts.next()?;
    Some(format!("{name} {major}.{minor}.{patch}"))
}

/// What one character of a version stands for: 0 to 9, A for 10, a for 36.
fn number(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'A'..=b'Z' => Some(character - b'A' + 10),
        b'a'..=b'z' => Some(character - b'a' + 36),
        _ => None,
    }
}

/// A number of two decimal digits.
fn pair(ten: u8, digit: u8) -> Option<u8> {
    let both = ten.is_ascii_digit() && digit.is_ascii_digit();
    both.then(|| 10 * (ten - b'0') + digit - b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_known_by_their_peer_ids() {
        for (peer_id, name) in [
            (b"-TR3000-abcdefghijkl", "Transmission 3.00"),
            (b"-TR2940-abcdefghijkl", "Transmission 2.94"),
            (b"-TR0072-abcdefghijkl", "Transmission 0.72"),
            (b"-TR0006-abcdefghijkl", "Transmission 0.6"),
            (b"-TR4060-abcdefghijkl", "Transmission 4.0.6"),
            (b"-TR410Z-abcdefghijkl", "Transmission 4.1.0"),
            (b"-lt0D60-abcdefghijkl", "rTorrent's libtorrent 0.13.6"),
            (b"-LT20A0-abcdefghijkl", "libtorrent 2.0.10"),
            (b"-qB4650-abcdefghijkl", "qBittorrent 4.6.5"),
            (b"-DE211s-abcdefghijkl", "Deluge 2.1.1"),
            (b"-DE13F0-abcdefghijkl", "Deluge 1.3.15"),
            (b"-UT3550-abcdefghijkl", "µTorrent 3.5.5"),
            (b"-UT355W-abcdefghijkl", "µTorrent 3.5.5"),
            (b"-AZ5760-abcdefghijkl", "Vuze 5.7.6.0"),
            (b"-BC0199-abcdefghijkl", "BitComet 1.99"),
            (b"-WW0102-abcdefghijkl", "WebTorrent 1.2"),
            (b"-rQ8100-abcdefghijkl", "rqbit 8.1.0.0"),
            (b"-RO0100-abcdefghijkl", "rondalla 0.1.0"),
            (b"A2-1-36-0-abcdefghij", "aria2 1.36.0"),
            (b"A2-1-8-8-abcdefghijk", "aria2 1.8.8"),
            (b"M7-9-2--abcdefghijkl", "Mainline 7.9.2"),
            // Not known, or not as they should be.
            (b"-ZZ1234-abcdefghijkl", "-ZZ1234-"),
            (b"-TR??00-abcdefghijkl", "-TR??00-"),
            (b"-WW\xff\xff\xff\xff-abcdefghijkl", "-WW....-"),
            (b"A2-1-36-abcdefghijkl", "A2-1-36-"),
            (b"A2-1-2-33333333-3333", "A2-1-2-3"),
            (b"Mabcdefghijklmnopqrs", "Mabcdefg"),
            (b"\0\x1b[31m\n\r\xff\0\0\0\0\0\0\0\0\0\0\0", "..[31m.."),
            (&[b'-'; 20], "--------"),
        ] {
            assert_eq!(client_name(PeerId(*peer_id)), name);
        }
    }

    #[test]
    fn no_peer_id_says_more_than_it_may() {
        let mut rng = crate::words::rng::Rng::new(1);
        for _ in 0..5000 {
            let mut id = [0; 20];
            rng.fill(&mut id);
            let (code, ..) = CLIENTS[rng.below(26) as usize];
            id[0] = b'-';
            id[1..3].copy_from_slice(code);
            let name = client_name(PeerId(id));
            assert!(name.chars().count() <= 40 && name.chars().all(is_plain), "{name:?}");
        }
    }

    #[test]
    fn our_peer_ids_name_us() {
        for random in [[0; 12], [255; 12], *b"\x00\x09\x0a\x23\x24\x3d\x3e\x7f\x80\xfe\xff\x01"] {
            let id = our_peer_id(random);
            assert_eq!(client_name(id), our_name());
            assert!(id.0[8..].iter().all(u8::is_ascii_alphanumeric), "{id}");
        }
        assert_eq!(our_peer_id([9; 12]).0[..8], *b"-RO0100-");
        assert_ne!(our_peer_id([9; 12]), our_peer_id([10; 12]));
    }

    #[test]
    fn strangers_text_is_cleaned() {
        for (text, shown) in [
            (&b"qBittorrent/4.6.5"[..], "qBittorrent/4.6.5"),
            ("µTorrent 3.5.5".as_bytes(), "µTorrent 3.5.5"),
            (b"a\x1b[31mb\r\n\0c\x7f", "a[31mbc"),
            ("ab\u{202e}cd\u{200b}\u{2066}\u{9b}e".as_bytes(), "abcde"),
            (b"a\xffb", "a\u{fffd}b"),
            (b"", ""),
        ] {
            assert_eq!(cleaned(text), shown);
        }
        assert_eq!(cleaned(&[b'x'; 70_000]).len(), CLIENT_NAME_LEN_MAX);
    }
}
