//! Bounds of the metadata of magnet links (BEP 9), each with the sum behind it.

use std::time::Duration;

use crate::words::limits::STEPS_MAX;

/// Bytes of a piece of metadata (BEP 9: "16 KiB").
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

/// Longest metadata that is fetched: the hashes of some 800,000 pieces. libtorrent takes 3 MiB by
/// default, and what is larger has nobody seen.
pub const METADATA_LEN_MAX: u32 = 16 * 1024 * 1024;

/// Pieces of the longest.
pub const METADATA_PIECES_MAX: usize = (METADATA_LEN_MAX / METADATA_PIECE_LEN) as usize;

/// Metadata of so many bytes is fetched whatever else is, for most has no more: so nobody who lies
/// about a great length keeps it out. What is longer has to fit into the memory that blocks may take,
/// or is fetched alone.
pub const METADATA_SHORT: u64 = 1024 * 1024;

/// Peers may say different lengths of one torrent's metadata. So many are tried at once: the right
/// one, and those of some liars.
pub const METADATA_TRIES: usize = 4;

/// A try that takes longer, and a second for each of its pieces, makes room for another.
pub const METADATA_TRY_TIME: Duration = Duration::from_secs(60);

/// Pieces that a peer is asked for at once: libtorrent asks for as many, and a round trip brings
/// 32 KiB.
pub const METADATA_ASKED_MAX: usize = 2;

/// Peers that are asked for one piece, when each piece was asked for already.
pub const METADATA_ASKERS_MAX: u8 = 3;

/// A peer that does not send a piece of metadata within so long after it was asked is hung up on.
pub const METADATA_ANSWER_MAX: Duration = Duration::from_secs(20);

/// A peer that has no metadata to offer is kept so long, for it may get it, or tell of others.
pub const METADATA_OFFER_MAX: Duration = Duration::from_secs(60);

/// How often a peer may refuse a piece before it is asked no more.
pub const METADATA_REFUSALS_MAX: u32 = 3;

/// Peers without anything to do that one turn asks again.
pub const METADATA_WAKES: usize = 16;

/// A look for the next piece goes through all of them, and one turn may look for so many peers.
const _: () = assert!(METADATA_WAKES * METADATA_ASKED_MAX * METADATA_PIECES_MAX < STEPS_MAX);

/// How often a peer may ask for all our metadata on one connection: once, and again for what it
/// lost.
pub const METADATA_SERVED: u32 = 2;

/// Pieces that a torrent may have whose metadata is no longer than [`METADATA_LEN_MAX`]: they bound
/// what a peer may say before their number is known.
pub const EARLY_PIECES_MAX: u32 = METADATA_LEN_MAX / 20;

/// So often a peer's reader looks whether the metadata is there.
pub const EARLY_LOOK_EVERY: Duration = Duration::from_millis(250);

/// The user is told once what was tried, if the metadata is not there after so long.
pub const METADATA_TOLD_AFTER: Duration = Duration::from_secs(30);

/// Orders that the clerk may not have carried out: one for each try of several torrents.
pub const CLERK_ORDERS_MAX: usize = 64;
