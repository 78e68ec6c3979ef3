//! Local service discovery (BEP 14): an announcement in the manner of HTTP, sent to a multicast group.
//!
//! Beside the headers of the BEP ours have `Chord`: the UDP port at which the sender's node of the ring
//! is. Others pass it over, as HTTP has it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::formats::magnet::parse_info_hash;
use crate::words::id::InfoHash;
use crate::words::limits::lan as limits;

/// Where announcements of IPv4 go.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 192, 152, 143);

/// Where announcements of IPv6 go.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f);

/// The port of both groups.
pub const PORT: u16 = 6771;

/// What one datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Where the sender takes connections, never 0.
    pub port: u16,
    /// The torrents that it shares, at most [`HASHES_MAX`](limits::HASHES_MAX).
    pub info_hashes: Vec<InfoHash>,
    /// By it the sender knows its own again.
    pub cookie: Option<Cookie>,
    /// The port of the sender's node of the ring, never 0.
    pub chord: Option<u16>,
}

/// Some characters of the sender's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie(pub Box<str>);

impl Announcement {
    /// Reads a datagram; `None`: it is no announcement, or names no torrent or no port.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > limits::DATAGRAM_LEN_MAX {
            return None;
        }
        let mut lines = str::from_utf8(bytes).ok()?.lines();
        if lines.next()? != "BT-SEARCH * HTTP/1.1" {
            return None;
        }
        let (mut port, mut cookie, mut chord, mut info_hashes) = (None, None, None, Vec::new());
        for line in lines.take_while(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "port" => port = number(value),
                "chord" => chord = number(value),
                "cookie" if value.len() <= limits::COOKIE_LEN_MAX => {
                    cookie = Some(Cookie(value.into()));
                }
                "infohash" if info_hashes.len() < limits::HASHES_MAX => {
                    info_hashes.extend(info_hash(value));
                }
                _ => (),
            }
        }
        let port = port.filter(|_| !info_hashes.is_empty())?;
        Some(Self { port, info_hashes, cookie, chord })
    }

    /// Writes the datagram for one of the groups.
    pub fn emit(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = format!("BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        let mut header = |name: &str, value: &dyn std::fmt::Display| {
            write!(text, "{name}: {value}\r\n").expect("a String takes all that is written");
        };
        self.info_hashes.iter().for_each(|info_hash| header("Infohash", info_hash));
        if let Some(Cookie(cookie)) = &self.cookie {
            header("cookie", cookie);
        }
        if let Some(chord) = self.chord {
            header("Chord", &chord);
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}

fn number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&number| digits && number > 0)
}

/// Forty hexadecimal digits.
fn info_hash(text: &str) -> Option<InfoHash> {
    parse_info_hash(text).filter(|_| text.len() == 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement {
        Announcement {
            port: 6881,
            info_hashes: vec![InfoHash([0xab; 20]), InfoHash([0x01; 20])],
            cookie: Some(Cookie("name".into())),
            chord: Some(7),
        }
    }

    /// The form of BEP 14, "Protocol".
    #[test]
    fn construct_and_deconstruct() {
        let group = SocketAddr::new(GROUP_V4.into(), PORT);
        let text = format!(
            "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
             Infohash: {}\r\nInfohash: {}\r\ncookie: name\r\nChord: 7\r\n\r\n\r\n",
            "ab".repeat(20),
            "01".repeat(20)
        );
        assert_eq!(announcement().emit(group), text.as_bytes());
        assert_eq!(Announcement::parse(text.as_bytes()), Some(announcement()));
        let group = SocketAddr::new(GROUP_V6.into(), PORT);
        let text = String::from_utf8(announcement().emit(group)).unwrap();
        assert!(text.contains("\r\nHost: [ff15::efc0:988f]:6771\r\n"), "{text}");
    }

    #[test]
    fn the_longest_of_ours_fits_into_a_frame() {
        let info_hashes = vec![InfoHash([0xab; 20]); limits::HASHES_MAX];
        let group = SocketAddr::new(GROUP_V6.into(), PORT);
        let cookie = Some(Cookie("x".repeat(limits::COOKIE_LEN_MAX).into()));
        let long = Announcement { port: 65_535, info_hashes, cookie, chord: Some(65_535) };
        assert!(long.emit(group).len() <= 1400);
    }

    #[test]
    fn what_others_send_is_read_as_far_as_it_is_well_formed() {
        let hash = "Ab".repeat(20);
        let text = |lines: &str| format!("BT-SEARCH * HTTP/1.1\r\n{lines}\r\n\r\n\r\n");
        let taken = [
            format!("Infohash: {hash}\r\nPort: 1"),
            format!("PORT:1\r\nINFOHASH:{hash}\r\nX-More: yes"),
            format!("Port: 1\r\nno header\r\nInfohash: zz\r\nInfohash: {hash}"),
            format!("Port: 1\nInfohash: {hash}\nChord: 0\ncookie: {}", "c".repeat(65)),
        ];
        for lines in taken {
            let read = Announcement::parse(text(&lines).as_bytes());
            let wanted = Announcement {
                port: 1,
                info_hashes: vec![InfoHash([0xab; 20])],
                cookie: None,
                chord: None,
            };
            assert_eq!(read, Some(wanted), "{lines}");
        }
        let refused = [
            text(&format!("Infohash: {hash}")),
            text("Port: 1"),
            text(&format!("Port: 0\r\nInfohash: {hash}")),
            text(&format!("Port: 65536\r\nInfohash: {hash}")),
            text(&format!("Port: +1\r\nInfohash: {hash}")),
            text(&format!("Port: 1\r\nInfohash: {hash}0")),
            text(&format!("\r\nPort: 1\r\nInfohash: {hash}")),
            format!("M-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: {hash}\r\n\r\n"),
            String::new(),
            text(&format!("Port: 1\r\nInfohash: {hash}\r\nX: {}", "x".repeat(2000))),
        ];
        for text in refused {
            assert_eq!(Announcement::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Announcement::parse(b"BT-SEARCH * HTTP/1.1\r\n\xff"), None);
        let many = text(&format!("Port: 1\r\n{}", format!("Infohash: {hash}\r\n").repeat(25)));
        let read = Announcement::parse(many.as_bytes()).unwrap();
        assert_eq!(read.info_hashes.len(), limits::HASHES_MAX);
    }
}
