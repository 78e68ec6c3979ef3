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
