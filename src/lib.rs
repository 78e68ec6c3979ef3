//! rondalla: a BitTorrent client on plain OS threads.
//!
//! A program that uses this library begins at [`session`]: a [`Session`](session::Session) takes
//! torrents, runs its main loop on the thread that it is given, and tells what happens as
//! [`Event`](bus::Event)s; its page has a whole program. [`Metainfo`](formats::metainfo::Metainfo)
//! reads a `.torrent` file, and [`Draft`](formats::metainfo::Draft) makes one. What follows is for
//! whoever reads the source.
//!
//! Two ideas carry everything. *Publish-subscribe*: secondary threads do whatever takes time and
//! publish notifications; one main thread handles them, each in constant time, and gives orders.
//! *Machines and actors*: whatever decides is a machine, pure and deterministic; whatever waits is
//! an actor, a thread that decides nothing.
//!
//! # The floors, from the ground up
//!
//! A file imports only from its own floor and from those below it; `tests/tidy.rs` reads this list
//! and holds it.
//!
//! 1. `words`: limits, ids, bit fields, the have log, bencode. No I/O, no threads, no clock.
//! 2. `formats`: bytes to values and back. No I/O.
//! 3. `bus`: all that the threads say to one another. No logic.
//! 4. `machines`: whatever decides. No clock, thread, socket, file or channel.
//! 5. `actors`: whatever waits. They meet only on the bus.
//! 6. `session`: the main loop, and the library's front door. No decisions.
//! 7. `cli`: one file a subcommand. No knowledge of the protocol.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test is the report"))]

pub mod words;

pub mod formats;

pub mod bus;

pub mod machines;

mod actors;

pub mod session;

pub mod cli;
