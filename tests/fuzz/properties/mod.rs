//! What holds for any bytes, one file a format. The fuzz targets look for bytes for which it does
//! not; `tests/parsers.rs` tries those that they kept, and changed ones.

pub(crate) mod bencode;
pub(crate) mod datagram;
pub(crate) mod handshake;
pub(crate) mod http;
pub(crate) mod metadata;
pub(crate) mod metainfo;
pub(crate) mod mse;
pub(crate) mod resume;
pub(crate) mod text;
pub(crate) mod tracker;
pub(crate) mod wire;
