//! Bounds of local service discovery.

use std::time::Duration;

/// Longest datagram that is read: an Ethernet frame.
pub const DATAGRAM_LEN_MAX: usize = 1500;

/// Torrents of one datagram: 20 lines of 52 bytes and some 250 for the rest stay below 1,400 (BEP 14).
pub const HASHES_MAX: usize = 20;

/// Longest cookie that is compared; ours have 25 bytes.
pub const COOKIE_LEN_MAX: usize = 64;

/// Torrents that are announced.
pub const SHARED_MAX: usize = super::TORRENTS_MAX as usize;

/// Time between two announcements of a torrent (BEP 14: "every 5 minutes").
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(300);
/// Time before the first.
pub const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);
/// Time between two datagrams (BEP 14: "no more than 1 announce per minute").
pub const DATAGRAM_EVERY: Duration = Duration::from_secs(60);

/// Torrents of ours in announcements of others that are heard in a second: in a network of a thousand
/// clients that share one torrent there are 3.
pub const HEARD_A_SECOND: u32 = 10;
/// As many at once as may be heard in this time.
pub const HEARD_BURST: Duration = Duration::from_secs(10);

/// Interfaces in whose networks we announce.
pub const INTERFACES_MAX: usize = 16;

/// Bytes of the system's table of interfaces that are read: some 120 a line.
pub const TABLE_LEN_MAX: u64 = 64 * 1024;
