//! The bounds of trackers, as a client meets them and as `rondalla tracker` is one.

use std::time::Duration;

// ------------------------------------------------------------------- What a tracker may answer ---

/// Longest answer that is read: [`PEERS_READ_MAX`] peers that are not compact have some 100 bytes
/// each.
pub const ANSWER_LEN_MAX: usize = 256 * 1024;

/// Nesting in an answer: a list of dictionaries in a dictionary, and whatever else it brings.
pub const ANSWER_DEPTH_MAX: usize = 16;

/// Peers of one list that are looked at where each is a dictionary.
pub const PEERS_READ_MAX: usize = 2048;

/// Peers of one answer that are kept: twice as many as a torrent holds of one way
/// ([`FOUND_A_WAY`](super::FOUND_A_WAY)), of which those of the highest priority stay (BEP 40).
pub const PEERS_ANSWERED_MAX: usize = 200;

/// Longest tracker id that is said again; it stands in a URL, each byte as three.
pub const TRACKER_ID_LEN_MAX: usize = 256;

/// Characters of a tracker's warning or refusal that are shown: two lines of a terminal.
pub const MESSAGE_LEN_MAX: usize = 160;

/// The time between two announces when a tracker names none: what most name.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// The shortest, whatever a tracker says.
pub const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// The longest: peers that are gone for hours are of no use, and a tracker may have been restarted.
pub const INTERVAL_MAX: Duration = Duration::from_secs(3 * 60 * 60);

// ------------------------------------------------------------------------ Announcing, our part ---

/// Peers that we want to hear of, as most clients do.
pub const PEERS_WANTED: u32 = 50;

/// HTTP announces that are under way at once, each in a thread, of which most wait for dead trackers.
pub const ANNOUNCES_MAX: u32 = 23;

/// UDP announces that are under way at once: a datagram each, and what is asked.
pub const UDP_ANNOUNCES_MAX: u32 = 128;

/// Names of UDP trackers that are resolved at once, each in a thread.
pub const RESOLVERS_MAX: usize = 8;

/// Threads of announces. With the one that starts them they are 32.
pub const THREADS_MAX: usize = ANNOUNCES_MAX as usize + RESOLVERS_MAX;

/// Announces that wait for a thread: ten of each of the most torrents there can be. What finds no
/// room waits for its tracker's next turn.
pub const ANNOUNCES_WAITING_MAX: usize = 10 * super::TORRENTS_MAX as usize;

/// Tiers of one torrent that one turn looks at.
pub const TIERS_A_TURN: usize = 16;

/// Announces that one turn orders, or finds out of date.
pub const ANNOUNCES_A_TURN: usize = 16;

/// A tracker that has not answered for so long delays the next of its tier no more.
pub const IMPATIENCE: Duration = Duration::from_secs(5);

/// An HTTP announce may take so long: some trackers need half a minute when they are busy.
pub const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(45);

/// The first time to wait after all trackers of a tier have failed; it doubles with each failure.
pub const FAILED_AGAIN: Duration = Duration::from_secs(60);
/// The longest.
pub const FAILED_AGAIN_MAX: Duration = Duration::from_secs(60 * 60);

/// At the end so long is waited for trackers to hear that we stop: who does not answer by then does
/// not delay the exit.
pub const STOPPED_MAX: Duration = Duration::from_secs(2);

/// Orders that the crier may not have carried out: all that there can be.
pub const ORDERS_MAX: usize = ANNOUNCES_MAX as usize + UDP_ANNOUNCES_MAX as usize;

/// Events that the crier takes from the system at once: its waker's and two sockets'.
pub const EVENTS: usize = 4;

/// How long the crier waits when the system does not let it.
pub const BACK_OFF: Duration = Duration::from_millis(100);

/// Peers of one notification, as of the ring's.
pub const FOUND_WORD: usize = 16;

// ---------------------------------------------------------------------------------------- UDP ---

/// Longest datagram of a tracker that is read; [`PEERS_ANSWERED_MAX`] peers of IPv6 have 3,620 bytes.
pub const DATAGRAM_LEN_MAX: usize = 4096;

/// A datagram that is not answered is sent again after so long, then after twice as long, and so on
/// (BEP 15, "time outs").
pub const UDP_AGAIN: Duration = Duration::from_secs(15);

/// So long a connection may be used (BEP 15, "UDP connections / spoofing").
pub const UDP_CONNECTION_FOR: Duration = Duration::from_secs(60);

/// Connections that are remembered.
pub const UDP_CONNECTIONS_MAX: usize = 256;

/// Torrents of one scrape: "up to about 74 torrents can be scraped at once" (BEP 15).
pub const SCRAPED_MAX: usize = 74;

// --------------------------------------------------------------------------------------- HTTP ---

/// Longest head of an answer that is read, and most lines of it: Apache's and nginx's own bounds
/// are some 8 KiB and 100.
pub const HTTP_HEAD_LEN_MAX: usize = 16 * 1024;
/// See [`HTTP_HEAD_LEN_MAX`].
pub const HTTP_HEADERS_MAX: usize = 64;

/// Longest line before a chunk: sixteen digits, and an extension that nobody sends.
pub const HTTP_CHUNK_LINE_LEN_MAX: usize = 256;

/// Redirects that are followed, one after another.
pub const HTTP_REDIRECTS_MAX: usize = 5;

/// What is read from a connection at once.
pub const HTTP_READ_LEN: usize = 8 * 1024;

/// How long a thread that waits for an answer does not notice that it should end.
pub const HTTP_WAIT_MAX: Duration = Duration::from_millis(250);

// -------------------------------------------------------------------- `rondalla tracker` itself ---

/// Torrents that a tracker holds, and peers of all of them: with some 250 bytes a peer they are
/// 8 MiB, which a router has.
pub const TORRENTS_TRACKED_MAX: usize = 16 * 1024;
/// See [`TORRENTS_TRACKED_MAX`].
pub const PEERS_TRACKED_MAX: usize = 32 * 1024;

/// Of these, the ones of one global IPv4 address or /64 of IPv6: several people with several torrents
/// may be behind it, and nobody is to take all places.
pub const PEERS_TRACKED_A_NETWORK: u32 = 1024;

/// Peers that were not heard of for so many intervals are forgotten: one announce may be lost.
pub const PEER_INTERVALS: u32 = 2;

/// Peers that one turn of a tracker looks at, to forget them.
pub const LOOKS_A_TURN: usize = 256;

/// Peers that are given to whoever does not say how many it wants, and at most.
pub const PEERS_GIVEN: usize = 50;
/// See [`PEERS_GIVEN`].
pub const PEERS_GIVEN_MAX: usize = 200;

/// Peers of one datagram: with 20 bytes before them they are at most 1,200, as many as pass every
/// link of the Internet in one piece.
pub const PEERS_SENT_V4: usize = 196;
/// See [`PEERS_SENT_V4`].
pub const PEERS_SENT_V6: usize = 65;

/// The secret that stands behind the connections of UDP clients counts the time in these: each
/// connection is good for one to two (BEP 15: "until two minutes after it has been sent").
pub const CONNECTION_PERIOD: Duration = Duration::from_secs(60);

/// How often clients of a tracker are to announce, unless `--interval` says so.
pub const INTERVAL_TRACKED: Duration = Duration::from_secs(30 * 60);

/// The longest time that it may say: a day.
pub const INTERVAL_TRACKED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a tracker listens, unless `--listen` says so.
pub const TRACKER_PORT: u16 = 6969;

/// Requests of HTTP that are not answered yet: some 5 KiB each. The oldest makes room.
pub const CONNECTIONS_MAX: usize = 256;

/// So long after it connected, a client has to have its answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest request that is read: a URL of [`URL_LEN_MAX`](super::URL_LEN_MAX) and what browsers send
/// with it.
pub const REQUEST_LEN_MAX: usize = 4096;

/// Parameters of a request that are looked at: 74 hashes of a scrape, and whatever else.
pub const PARAMETERS_MAX: usize = 128;

/// Events that a tracker takes from the system at once.
pub const SERVER_EVENTS: usize = 256;

/// Trackers of one torrent that are scraped, all at once, each in a thread.
pub const SCRAPES_MAX: usize = 32;

/// How long a scrape may take.
pub const SCRAPE_TIMEOUT: Duration = Duration::from_secs(15);
