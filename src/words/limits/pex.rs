//! Peer exchange (BEP 11): who comes and goes, told to peers and heard of them.

use std::time::Duration;

/// Time between two messages of peer exchange to one peer, and between two looks whether there is
/// anything to tell (BEP 11: "no more than 1 PEX message per minute").
pub const EVERY: Duration = Duration::from_secs(60);
/// Time before the first one.
pub const AFTER: Duration = Duration::from_secs(5);
/// Peers that came, and peers that went, of one message (BEP 11).
pub const NAMED_MAX: usize = 50;
/// The same of a message that we take; libtorrent's first one has 100.
pub const TAKEN_MAX: usize = 100;
/// Messages that a peer may send at once before one every half [`EVERY`] is enough: clocks
/// differ, and some send two for a start.
pub const AT_ONCE: u32 = 4;
/// Messages that came too soon before we hang up.
pub const PASSED_OVER_MAX: u32 = 16;
/// Peers of a torrent that others are told of: two messages and a half.
pub const LISTED_MAX: usize = 128;
/// Comings and goings of a torrent that are kept: four times as many, so that whoever reads once a
/// minute misses none as long as one of two peers a second comes or goes. 24 KiB.
pub const LOG_LEN: usize = 4 * LISTED_MAX;
/// Of these, the ones that are copied under one lock: some microseconds.
pub const READ_LEN: usize = 64;
