//! Stacks of threads, in bytes. Memory that is never touched is never taken.

/// Stack of a peer's thread. It needs some 10 KiB in a release build and 40 in a debug build.
pub const PEER: usize = 128 * 1024;

/// Stack of the porter.
pub const PORTER: usize = 128 * 1024;

/// Stack of the listener.
pub const LISTENER: usize = 64 * 1024;

/// Stack of a hasher; its buffer is on the heap.
pub const HASHER: usize = 128 * 1024;

/// Stack of the syncer.
pub const SYNCER: usize = 128 * 1024;

/// Stack of the storage thread.
pub const STORAGE: usize = 256 * 1024;

/// Stack of the reactor. A datagram of 1.5 KiB is read onto it; the rest is the nodes' heap.
pub const REACTOR: usize = 256 * 1024;

/// Stack of an usher: the system's resolver wants some 64 KiB of its own.
pub const USHER: usize = 256 * 1024;

/// Stack of the console.
pub const CONSOLE: usize = 256 * 1024;

/// Stack of the watcher, which reads torrents: bencode is nested
/// [`TORRENT_DEPTH_MAX`](super::TORRENT_DEPTH_MAX) deep at most.
pub const WATCHER: usize = 1024 * 1024;

/// Stack of the thread that waits for signals.
pub const SIGNALS: usize = 64 * 1024;

/// Stack of the trace.
pub const TRACE: usize = 128 * 1024;

/// Stack of the clerk, which reads torrents, too.
pub const CLERK: usize = 1024 * 1024;

/// Stack of a thread that announces: the system's resolver wants some 64 KiB, TLS as much.
pub const ANNOUNCE: usize = 256 * 1024;

/// Stack of the crier, which starts them.
pub const CRIER: usize = 64 * 1024;
