//! Every bound of the program, each with the sum behind it.

use std::ops::RangeInclusive;

/// Bytes of a block, the unit that every client requests (BEP 3: "All current implementations use
/// 2^14").
pub const BLOCK_LEN: u32 = 16 * 1024;

/// Largest `.torrent` that is read. A torrent of 1 TiB in 256 KiB pieces has 80 MiB of hashes;
/// nobody makes these.
pub const TORRENT_LEN_MAX: usize = 64 * 1024 * 1024;

/// Most pieces of a torrent: 2^22 of 20 bytes are 80 MiB of hashes, above [`TORRENT_LEN_MAX`].
pub const PIECES_MAX: usize = 1 << 22;

/// Longest piece: libtorrent and qBittorrent make at most 256 MiB.
pub const PIECE_LEN_MAX: u32 = 256 * 1024 * 1024;

/// Shortest piece that is made: one block, below which no other client goes. Shorter ones are read.
pub const PIECE_LEN_MIN: u32 = BLOCK_LEN;

/// Longest piece that is chosen without being asked for; libtorrent goes no further either.
pub const PIECE_LEN_CHOSEN_MAX: u32 = 16 * 1024 * 1024;

/// Most files of a torrent. Each costs some hundred bytes of memory.
pub const FILES_MAX: usize = 1 << 20;

/// Nesting of lists and dictionaries in bencode; torrents need 5, messages 3.
pub const BENCODE_DEPTH_MAX: usize = 32;

/// The ports that are tried when none is given: BEP 3, "commonly 6881 to 6889".
pub const LISTEN_PORTS: RangeInclusive<u16> = 6881..=6889;

/// Longest name of a host: 255 octets on the wire (RFC 1035, section 2.3.4) are 253 characters.
pub const HOST_LEN_MAX: usize = 253;

/// Longest wait in seconds that can be asked for: ten years, which `Instant` adds without overflow.
pub const WAIT_MAX_S: u32 = 10 * 365 * 86_400;

/// Most keys of a dictionary whose keys are out of order: these are sorted to find one that occurs
/// twice. The largest dictionary that a maker writes by hand is the outer one, with some twenty.
pub const BENCODE_UNSORTED_KEYS_MAX: usize = 256;

/// Longest name of a file or folder, in bytes: most file systems hold 255.
pub const NAME_LEN_MAX: usize = 255;

/// Longest path inside a torrent, in bytes: Linux opens none beyond 4096.
pub const PATH_LEN_MAX: usize = 4096;

/// Nesting of values in a torrent. The file tree of a hybrid (BEP 52) has a level a folder;
/// libtorrent reads as deep.
pub const TORRENT_DEPTH_MAX: usize = 100;

/// Most trackers that a torrent brings along; public lists have some hundred. The rest is ignored.
pub const TRACKERS_MAX: usize = 512;

/// Most web seeds that a torrent brings along.
pub const WEB_SEEDS_MAX: usize = 64;

/// Most entry points of a distributed tracker that a torrent brings along.
pub const NODES_MAX: usize = 64;

/// Longest URL that is kept: servers and browsers agree on some 2,000 bytes.
pub const URL_LEN_MAX: usize = 2048;

/// Longest magnet link: [`TRACKERS_MAX`] trackers of a usual 100 bytes fit.
pub const MAGNET_LEN_MAX: usize = 64 * 1024;

/// Most peers that a magnet link brings along.
pub const MAGNET_PEERS_MAX: usize = 64;

/// Most ranges of files that a magnet link selects.
pub const MAGNET_RANGES_MAX: usize = 4096;

/// What is read from a file at once to be hashed: more is not faster, and each hasher has one.
pub const HASH_READ_LEN: usize = 256 * 1024;

/// Most threads that hash for `create`: disks give no more than so many cores take.
pub const HASHERS_MAX: usize = 16;
