//! Every bound of the program, each with the sum behind it.

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

/// Longest extended message (BEP 10), and longest message of an unknown kind that is skipped. The
/// largest in use is a piece of metadata, 16 KiB and a header of some 50 bytes (BEP 9); peer
/// exchange names at most 100 peers of 19 bytes (BEP 11).
pub const EXTENDED_LEN_MAX: u32 = 64 * 1024;

/// Bytes that a peer's decoder reads into while no block is under way: all that an idle peer
/// costs, 1 MB for 2,000 of them. 56 HAVEs fit; a request, the longest message that must fit, takes
/// 17 bytes.
pub const DECODER_BUFFER_LEN: usize = 512;

/// Characters of a peer's own name for its client that are kept: a column of a table.
pub const CLIENT_NAME_LEN_MAX: usize = 64;

/// Most extensions that a peer's handshake may name; further ones are ignored. libtorrent names
/// six.
pub const EXTENSIONS_MAX: usize = 32;

/// Longest name of an extension, in bytes; longer ones are ignored. `ut_holepunch` has 12.
pub const EXTENSION_NAME_LEN_MAX: usize = 32;
