//! The bounds of the ring.

use std::time::Duration;

/// Length of the successor list. Half of 10,000 nodes may die at once, and 0.0095 of them lose all
/// of theirs (10^4 · 2^-20); it is the length of the Chord paper's own tables II and III.
pub const SUCCESSORS: usize = 20;

/// Nodes before a key that hold its entries: a lookup comes from before, so it meets the first of
/// them a hop early.
pub const REPLICAS_BEFORE: usize = 4;

/// Nodes from the owner on that hold a key's entries.
pub const REPLICAS_FROM: usize = 4;

/// Contacts of an answer: with a fifth of them dead, one lookup of 100 fails, where answers with one
/// contact fail half of them.
pub const CONTACTS_ANSWERED: usize = 8;

/// Longest datagram that is sent: it passes every link of the Internet in one piece (IPv6 promises
/// 1280, less 48 of headers).
pub const DATAGRAM_LEN_SENT: usize = 1200;

/// First delay before a node that is alone asks for company again.
pub const ALONE_RETRY: Duration = Duration::from_secs(5);

/// Longest datagram that is read: what one Ethernet frame carries.
pub const DATAGRAM_LEN_MAX: usize = 1500;

/// Nesting in a datagram; ours need 3.
pub const DATAGRAM_DEPTH_MAX: usize = 8;

/// Keys of one dictionary of a datagram; ours have at most 8.
pub const DATAGRAM_KEYS_MAX: usize = 64;

/// Room that is made for a datagram before its length is known: most fit.
pub const DATAGRAM_LEN_USUAL: usize = 256;

/// Sharers of one answer: 100 of 6 bytes and 8 contacts are 650 bytes.
pub const SHARERS_ANSWERED: usize = 100;
