//! Bounds of a node of Mainline.

use std::time::Duration;

use super::{NODES_MAX, TORRENTS_MAX};

// ------------------------------------------------------------------------ Datagrams of a DHT ---

/// Longest datagram that is read: an Ethernet frame. Longer ones come in fragments, which no
/// implementation sends.
pub const DATAGRAM_LEN_MAX: usize = 1500;

/// Nesting of values in a datagram: arguments, and lists in them, are 3.
pub const DATAGRAM_DEPTH_MAX: usize = 8;

/// Longest transaction of a stranger's query: 2 bytes are usual, 8 the longest seen.
pub const TRANSACTION_LEN_MAX: usize = 16;

/// Longest token of a stranger: 4 to 20 bytes are usual.
pub const TOKEN_LEN_MAX: usize = 64;

/// Characters of a stranger's error that are kept: a line of a log.
pub const ERROR_TEXT_LEN_MAX: usize = 80;

// ---------------------------------------------------------- Mainline's DHT: one node of Kademlia ---

/// Nodes of a bucket, nodes that hold an announcement, nodes that answer a lookup (BEP 5: K = 8).
pub const BUCKET_LEN: usize = 8;

/// Nodes of one subnet in a bucket: who has a /24 does not have the bucket.
pub const SUBNET_NODES_MAX: usize = 2;

/// A node that was heard of within this is good (BEP 5).
pub const NODE_FRESH: Duration = Duration::from_secs(15 * 60);

/// A node that leaves so many queries in a row unanswered is bad (BEP 5: "multiple").
pub const NODE_FAILURES_MAX: u32 = 2;

/// A bucket from which nobody answered for so long is refreshed (BEP 5).
pub const BUCKET_REFRESH_EVERY: Duration = Duration::from_secs(15 * 60);

/// Time between two lookups of a node's own id: its nearest neighbours come and go.
pub const SELF_LOOKUP_EVERY: Duration = Duration::from_secs(15 * 60);
/// The same while it knows nobody; from there on it doubles, since those who came at the same time
/// find one another only when they look again.
pub const SELF_LOOKUP_START: Duration = Duration::from_secs(10);

/// Mean time between two rounds of a node's upkeep, which does a little of each.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(10);

/// Queries of one lookup that wait for an answer at once. The Kademlia paper has 3, libtorrent 5.
pub const LOOKUP_PARALLEL: usize = 4;

/// Nodes that a lookup remembers: eight that answer among as many dead ones, twice over.
pub const CANDIDATES_MAX: usize = 32;

/// Queries of one lookup. In a network of ten million nodes it needs some 25; one that needs more
/// is being led on.
pub const LOOKUP_QUERIES_MAX: u32 = 128;

/// Peers that one lookup finds at most, 20 KiB of addresses.
pub const LOOKUP_FOUND_MAX: usize = 512;

/// Lookups at once, and those that wait for one of them to end.
pub const LOOKUPS_MAX: usize = 16;
/// See [`LOOKUPS_MAX`].
pub const LOOKUPS_WAITING_MAX: usize = TORRENTS_MAX as usize;

/// Peers that one word of news names.
pub const FOUND_MAX: usize = 16;

/// Queries that wait for an answer: those of all lookups, and as many announcements and pings.
pub const CALLS_MAX: usize = 256;
const _: () = assert!(CALLS_MAX >= LOOKUPS_MAX * (2 * LOOKUP_PARALLEL));

/// How long an answer may take before somebody else is asked: before anything was measured, and at
/// least.
pub const CALL_RTO_START: Duration = Duration::from_secs(1);
/// See [`CALL_RTO_START`].
pub const CALL_RTO_MIN: Duration = Duration::from_millis(200);

/// An answer that has not come by then never will.
pub const CALL_LOST_AFTER: Duration = Duration::from_secs(3);

/// Entry points that a node is given.
pub const ENTRY_POINTS_MAX: usize = NODES_MAX;

/// Nodes that asked us something and wait to be pinged.
pub const NEWCOMERS_MAX: usize = 32;

/// How long they wait: what a query opened in a NAT has closed again.
pub const NEWCOMER_DELAY: Duration = Duration::from_secs(90);
/// The same on local addresses, which have no NAT between them.
pub const NEWCOMER_DELAY_LOCAL: Duration = Duration::from_secs(2);

/// Torrents of which we hold announcements; libtorrent holds 2,000.
pub const ENTRIES_TORRENTS_MAX: usize = 4096;

/// Peers held of one torrent; of one host among them, and of one subnet.
pub const ENTRY_PEERS_MAX: usize = 1024;
/// See [`ENTRY_PEERS_MAX`].
pub const ENTRY_HOST_PEERS_MAX: usize = 2;
/// See [`ENTRY_PEERS_MAX`].
pub const ENTRY_SUBNET_PEERS_MAX: usize = 16;

/// Peers held of all torrents, 48 bytes each: 3 MiB in each family. What whole subnets may announce
/// would be a hundred times as much.
pub const ENTRIES_MAX: usize = 64 * 1024;

/// An announcement is forgotten after this.
pub const ENTRY_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Torrents that are announced.
pub const ANNOUNCED_MAX: usize = TORRENTS_MAX as usize;

/// Announcements are repeated so often, a fifth more or less: two may get lost.
pub const ANNOUNCE_EVERY: Duration = Duration::from_secs(12 * 60);

/// An announcement that nobody took, since nobody was known, is tried again after this.
pub const ANNOUNCE_RETRY: Duration = Duration::from_secs(60);

/// Torrents that one round of upkeep looks through for what is too old: all in 11 minutes.
pub const ENTRIES_EXPIRED_AT_ONCE: usize = 64;

/// Peers of an answer, of 8 bytes or 21 each: 400 bytes, so that with eight nodes of both families
/// it stays below 1,200.
pub const ANSWER_PEERS_V4: usize = 50;
/// See [`ANSWER_PEERS_V4`].
pub const ANSWER_PEERS_V6: usize = 19;

/// Bytes of a token: nobody guesses 64 bits in ten minutes.
pub const TOKEN_LEN: usize = 8;

/// A token is good for this period and the next (BEP 5).
pub const TOKEN_PERIOD: Duration = Duration::from_secs(5 * 60);

/// Sources whose queries are counted.
pub const SOURCES_MAX: usize = 4096;

/// Queries of one source that are answered; a lookup asks each node once.
pub const SOURCE_QUERIES_PER_SECOND: u32 = 10;
/// As many at once.
pub const SOURCE_QUERIES_BURST: u32 = 50;

/// Bytes of all answers together.
pub const ANSWERS_BYTES_PER_SECOND: u32 = 16 * 1024;
/// As many at once as may be sent in this time.
pub const ANSWERS_BURST: Duration = Duration::from_secs(3);

/// A node at a global address that nobody has asked for so long, but those to whom it has sent
/// something, takes itself for unreachable: who can be reached is asked every minute.
pub const REACH_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// So long after that it tries again.
pub const REACH_AGAIN: Duration = Duration::from_secs(45 * 60);
/// What we send opens a router's way back for so long: some for three minutes, few for five.
pub const REACH_MAPPING: Duration = Duration::from_secs(5 * 60);
/// Nodes to whom we have sent something that are remembered: 16 lookups of 128 queries.
pub const REACH_SENT_MAX: usize = 2048;

/// Voters on our own address that are remembered, and those that have to agree.
pub const VOTES_MAX: usize = 16;
/// See [`VOTES_MAX`].
pub const VOTES_MIN: usize = 3;

/// How long another address must have the majority before it is believed.
pub const VOTES_SETTLE: Duration = Duration::from_secs(10 * 60);
