//! What a client and a tracker say to one another by HTTP (BEP 3, "trackers"; compact lists: BEP 7 and
//! BEP 23), and in [`udp`] by datagrams (BEP 15).
//!
//! An answer is a stranger's: what of it makes no sense is an error, what is too much is left out.

pub mod answers;
pub mod asked;
pub mod udp;

use std::fmt::{self, Write as _};

use crate::formats::url::{Url, percent_encoded};
use crate::words::id::{InfoHash, PeerId};

pub use answers::{Answer, Counts, Refusal, parse_answer, parse_counts};

/// What a client tells a tracker of itself and one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// How the client names itself.
    pub peer_id: PeerId,
    /// A number that stays the same when the client's address does not (BEP 7).
    pub key: u32,
    /// Where it takes connections.
    pub port: u16,
    /// Bytes uploaded since `started`.
    pub uploaded: u64,
    /// Bytes downloaded since `started`.
    pub downloaded: u64,
    /// Bytes that it lacks.
    pub left: u64,
    /// What has happened.
    pub event: Option<Event>,
    /// Peers that it wants to hear of.
    pub wanted: u32,
}

/// What a client tells of itself beside the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It begins.
    Started,
    /// It has everything now and had not before.
    Completed,
    /// It ends.
    Stopped,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Stopped => "stopped",
        })
    }
}

impl Announce {
    /// What is asked of the tracker at `url`, with the id that it gave last time, if any. The
    /// client's own address is left out: a tracker sees it, and no other would be true.
    pub fn url(&self, url: &Url, tracker_id: Option<&[u8]>) -> Url {
        let mut query = format!(
            "info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&compact=1\
             &numwant={}&key={:08X}",
            percent_encoded(&self.info_hash.0),
            percent_encoded(&self.peer_id.0),
            self.port,
            self.uploaded,
            self.downloaded,
            self.left,
            self.wanted,
            self.key,
        );
        if let Some(event) = self.event {
            write!(query, "&event={event}").expect("a String takes all that is written");
        }
        if let Some(id) = tracker_id {
            write!(query, "&trackerid={}", percent_encoded(id)).expect("as above");
        }
        with_query(url, &query)
    }
}

/// Where a tracker tells how many share a torrent, by the convention that the last part of its path
/// is `announce`, or begins with it, and `scrape` in its place; `None` if it has no such path.
pub fn scrape_url(url: &Url, info_hash: InfoHash) -> Option<Url> {
    let path = url.path();
    let (folder, last) = path.split_at(path.rfind('/')? + 1);
    let rest = last.strip_prefix("announce")?;
    let query = &url.target[path.len()..];
    let target = format!("{folder}scrape{rest}{query}");
    let scrape = Url { target, ..url.clone() };
    Some(with_query(&scrape, &format!("info_hash={}", percent_encoded(&info_hash.0))))
}

/// A URL with more in its query.
fn with_query(url: &Url, query: &str) -> Url {
    let between = match url.target.rsplit_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    Url { target: format!("{}{between}{query}", url.target), ..url.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of BEP 23, with all that this client says beside it.
    #[test]
    fn an_announce_is_a_url() {
        let announce = Announce {
            info_hash: InfoHash([b'a'; 20]),
            peer_id: PeerId(*b"-RO0100-\x00\x01\x02\x03\x04\x05\xfe\xff ~._"),
            key: 0xc0ffee,
            port: 6881,
            uploaded: 0,
            downloaded: 100,
            left: 0,
            event: None,
            wanted: 50,
        };
        let url = Url::parse("http://t.example:6969/announce").unwrap();
        let asked = announce.url(&url, None);
        assert_eq!(
            asked.target,
            "/announce?info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-RO0100-%00%01%02%03%04%05%FE%FF%20~._\
             &port=6881&uploaded=0&downloaded=100&left=0&compact=1&numwant=50&key=00C0FFEE"
        );
        assert_eq!(asked.authority(), "t.example:6969");
        let started = Announce { event: Some(Event::Started), ..announce };
        let url = Url::parse("http://t.example/announce?passkey=x").unwrap();
        let asked = started.url(&url, Some(b"id &")).target;
        assert!(asked.starts_with("/announce?passkey=x&info_hash=aaaa"), "{asked}");
        assert!(asked.ends_with("&event=started&trackerid=id%20%26"), "{asked}");
    }

    #[test]
    fn a_scrape_is_beside_the_announce() {
        let table = [
            ("http://t.example/announce", Some("/scrape?info_hash=bbbbbbbbbbbbbbbbbbbb")),
            (
                "http://t.example/x/announce.php?y=z",
                Some("/x/scrape.php?y=z&info_hash=bbbbbbbbbbbbbbbbbbbb"),
            ),
            ("http://t.example/a", None),
            ("http://t.example/announce/x", None),
        ];
        for (text, expected) in table {
            let url = Url::parse(text).unwrap();
            let scrape = scrape_url(&url, InfoHash([b'b'; 20]));
            assert_eq!(scrape.map(|url| url.target).as_deref(), expected, "{text}");
        }
    }
}
