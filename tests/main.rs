//! The tests that need more than one file's inside. One binary, so that it is linked once.

#![cfg(test)]

// The command that makes torrents: its output against that of other makers, its errors.
mod create;
// A folder of its own for each test, gone when the test ends.
mod folder;
// Torrents that other programs made, against what libtorrent reads in them.
mod torrents;
