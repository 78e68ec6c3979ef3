//! The tests that need more than one file's inside. One binary, so that it is linked once.

#![cfg(test)]

/// What the other modules share: scratch folders, made-up data, process guards, patience.
mod support;

/// A folder of its own for each test, gone when the test ends.
mod folder;

/// The command line: arguments, exit codes, and which stream says what.
mod cli;

/// The command that makes torrents: its output against that of other makers, its errors.
mod create;

/// Disks that are full, read-only or rationed.
mod disks;

/// Long runs, large sizes, sudden ends and bad company, with processes of the program.
mod endurance;

/// Peers that are met through other peers.
mod exchange;

/// What the host allows: limits of files, of threads and of memory, and what is done with less.
mod host;

/// A raw-socket peer that breaks the protocol in every way of a table, against a running seed.
mod hostile;

/// Exchanges with aria2, Transmission and libtorrent over loopback, compared to the byte.
mod interop;

/// Processes that meet through Mainline alone, and a Mainline of libtorrent's nodes.
mod mainline;

/// Clients that find each other in the local network.
mod local;

/// Torrents by magnet link, of which the metadata comes from other processes.
mod magnets;

/// Torrents made and read by mktorrent, Transmission and libtorrent, compared with ours.
mod makers;

/// Processes that meet through the ring alone.
mod meeting;

/// Users on different networks, in containers: hosts and networks that come and go.
mod networks;

/// Every reader of bytes: what the fuzz targets kept, and values out of a seed.
mod parsers;

/// Distributed trackers on a simulated network, against a central one; and their figures.
mod ring;

/// Swarms of engines on one thread, from one seed: whatever goes wrong, the honest become complete.
mod simulation;

/// The source as text: floors, bounds of loops, what stands where. `cargo test tidy -- --nocapture`
/// draws who imports whom.
mod tidy;

/// Torrents that other programs made, against what libtorrent reads in them.
mod torrents;

/// Downloads between processes of the program, option by option.
mod transfer;

/// Processes that meet through trackers, good ones and others.
mod trackers;

/// Rings of processes that are killed, moved, left alone and brought together.
mod upheaval;

/// Torrents that are put into a watched folder while the program runs.
mod watch;

/// Downloads from servers that know nothing but files.
mod web_seeds;
