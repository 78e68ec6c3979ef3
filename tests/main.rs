//! The tests that need more than one file's inside. One binary, so that it is linked once.

#![cfg(test)]

/// What the other modules share: scratch folders, made-up data, process guards, patience.
mod support;

/// Exchanges with aria2, Transmission and libtorrent over loopback, compared to the byte.
mod interop;

/// Torrents made and read by mktorrent, Transmission and libtorrent, compared with ours.
mod makers;

/// The source as text: floors, bounds of loops, what stands where. `cargo test tidy -- --nocapture`
/// draws who imports whom.
mod tidy;
