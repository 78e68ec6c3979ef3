//! The trace: a thread that writes what main hears and orders to a file, one JSON line each.
//!
//! Main never waits for it: what finds the queue full is counted, and the count is written as soon
//! as there is room. No bytes of anybody's data are written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde::Serialize;

use crate::actors::file_error::reason;
use crate::bus::Notification;
use crate::words::id::{Block, BlockRange, PeerKey, PieceIndex};
use crate::words::limits;

/// A notification or an order, as far as it is traced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Instant,
    pub(crate) way: Way,
    pub(crate) thread: Speaker,
    /// The name of its kind, as `src/bus.rs` has it.
    pub(crate) what: &'static str,
    pub(crate) about: About,
}

/// Towards main, or from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    Notification,
    Order,
}

/// The thread that publishes a notification, or that an order is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// One of a kind.
    Named(&'static str),
    /// One of a kind, about a peer.
    For(&'static str, PeerKey),
    Reader(PeerKey),
    Writer(PeerKey),
}

/// What it is about, beside a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Nothing,
    Piece(PieceIndex),
    Block(Block),
    Blocks(BlockRange),
    /// So many of something.
    Count(u64),
}

/// Main's end of the trace: dropped, it ends the thread and joins it.
#[derive(Debug)]
pub(crate) struct TraceHandle {
    entries: Sender<Entry>,
    /// What found the queue full and is not written yet.
    dropped: u64,
    thread: Option<JoinHandle<()>>,
}

impl TraceHandle {
    /// Starts the thread that writes to `file`. Times are those since `start`.
    pub(crate) fn start(
        file: Arc<File>,
        start: Instant,
        notifications: Sender<Notification>,
    ) -> io::Result<Self> {
        let (entries, queue) = bounded(limits::TRACE_MAX);
        let builder = Builder::new().name("trace".into()).stack_size(limits::stacks::TRACE);
        let thread = builder.spawn(move || {
            let Err(error) = write_all(&queue, start, &*file) else { return };
            drop(queue);
            let why = format!("--trace: {}; it ends here", reason(&error));
            #[expect(clippy::disallowed_methods, reason = "the trace may wait for main")]
            let sent = notifications.send(Notification::Warning(why));
            // If main is gone, so is the need to tell it.
            sent.ok();
        })?;
        Ok(Self { entries, dropped: 0, thread: Some(thread) })
    }

    /// Has an entry written, or counts it as dropped. It takes constant time.
    pub(crate) fn record(&mut self, entry: Entry) {
        if self.dropped > 0 && self.entries.try_send(self.gap(entry.at)).is_ok() {
            self.dropped = 0;
        }
        if let Err(TrySendError::Full(_)) = self.entries.try_send(entry) {
            self.dropped += 1;
        }
    }

    fn gap(&self, at: Instant) -> Entry {
        let (thread, about) = (Speaker::Named("main"), About::Count(self.dropped));
        Entry { at, way: Way::Notification, thread, what: "Dropped", about }
    }
}

impl Drop for TraceHandle {
    fn drop(&mut self) {
        if self.dropped > 0 {
            let last = self.gap(crate::actors::clock::now());
            #[expect(clippy::disallowed_methods, reason = "main's work is over")]
            let sent = self.entries.send(last);
            // A trace that ended early has said so.
            sent.ok();
        }
        let (closed, _) = bounded(0);
        drop(mem::replace(&mut self.entries, closed));
        if let Some(thread) = self.thread.take() {
            // A trace that failed has said so on stderr.
            thread.join().ok();
        }
    }
}

/// Writes what comes until main drops its end; whenever nothing waits, the file has all of it.
fn write_all(queue: &Receiver<Entry>, start: Instant, to: impl Write) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    for entry in queue {
        serde_json::to_writer(&mut to, &Line::of(&entry, start))?;
        to.write_all(b"\n")?;
        if queue.is_empty() {
            to.flush()?;
        }
    }
    to.flush()
}

/// A line of the trace.
#[derive(Serialize)]
struct Line {
    /// Seconds, to the microsecond.
    time: f64,
    way: Way,
    thread: String,
    peer: Option<u32>,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    piece: Option<u32>,
    /// Bytes into the piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u32>,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    len: Option<u32>,
    /// The number of the first block in the piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

impl Line {
    fn of(entry: &Entry, start: Instant) -> Self {
        let micros = entry.at.saturating_duration_since(start).as_micros();
        let (thread, peer) = match entry.thread {
            Speaker::Named(name) => (name.to_owned(), None),
            Speaker::For(name, peer) => (name.to_owned(), Some(peer)),
            Speaker::Reader(peer) => (format!("peer-{peer}-in"), Some(peer)),
            Speaker::Writer(peer) => (format!("peer-{peer}-out"), Some(peer)),
        };
        let line = Self {
            time: micros as f64 / 1e6,
            way: entry.way,
            thread,
            peer: peer.map(|peer| peer.0.index),
            what: entry.what,
            piece: None,
            offset: None,
            len: None,
            first: None,
            count: None,
        };
        match entry.about {
            About::Nothing => line,
            About::Piece(piece) => Self { piece: Some(piece.0), ..line },
            About::Block(Block { piece, offset, len }) => {
                Self { piece: Some(piece.0), offset: Some(offset), len: Some(len), ..line }
            }
            About::Blocks(BlockRange { piece, first, count }) => {
                let count = Some(count.into());
                Self { piece: Some(piece.0), first: Some(first), count, ..line }
            }
            About::Count(count) => Self { count: Some(count), ..line },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::actors::clock::now;
    use crate::actors::scratch::Scratch;
    use crate::words::id::Key;

    const PEER: PeerKey = PeerKey(Key { index: 7, generation: 2 });

    fn entry(at: Instant, what: &'static str) -> Entry {
        let (thread, about) = (Speaker::Named("storage"), About::Nothing);
        Entry { at, way: Way::Notification, thread, what, about }
    }

    #[test]
    fn a_line_says_when_who_and_what() {
        let start = now();
        let block = Block { piece: PieceIndex(3), offset: 16_384, len: 5 };
        let blocks = BlockRange { piece: PieceIndex(3), first: 1, count: 4 };
        let table = [
            (
                Way::Notification,
                Speaker::Reader(PEER),
                "Block",
                About::Block(block),
                r#""way":"notification","thread":"peer-7-in","peer":7,"what":"Block","piece":3,"offset":16384,"len":5}"#,
            ),
            (
                Way::Order,
                Speaker::Writer(PEER),
                "Request",
                About::Blocks(blocks),
                r#""way":"order","thread":"peer-7-out","peer":7,"what":"Request","piece":3,"first":1,"count":4}"#,
            ),
            (
                Way::Order,
                Speaker::For("porter", PEER),
                "Dial",
                About::Nothing,
                r#""way":"order","thread":"porter","peer":7,"what":"Dial"}"#,
            ),
            (
                Way::Notification,
                Speaker::Named("storage"),
                "Verified",
                About::Piece(PieceIndex(9)),
                r#""way":"notification","thread":"storage","peer":null,"what":"Verified","piece":9}"#,
            ),
        ];
        for (way, thread, what, about, expected) in table {
            let at = start + Duration::from_micros(1_500_250);
            let line = Line::of(&Entry { at, way, thread, what, about }, start);
            let line = serde_json::to_string(&line).unwrap();
            assert_eq!(line, format!(r#"{{"time":1.50025,{expected}"#));
        }
    }

    #[test]
    fn what_has_no_room_is_counted_and_the_count_is_written() {
        let (entries, queue) = bounded(3);
        let mut trace = TraceHandle { entries, dropped: 0, thread: None };
        let start = now();
        ["a", "b", "c", "d", "e"].into_iter().for_each(|what| trace.record(entry(start, what)));
        let taken: Vec<_> = queue.try_iter().map(|entry| entry.what).collect();
        assert_eq!(taken, ["a", "b", "c"]);
        trace.record(entry(start, "f"));
        let taken: Vec<_> = queue.try_iter().map(|entry| (entry.what, entry.about)).collect();
        assert_eq!(taken, [("Dropped", About::Count(2)), ("f", About::Nothing)]);
        ["g", "h", "i"].into_iter().for_each(|what| trace.record(entry(start, what)));
        assert_eq!(trace.dropped, 0);
    }

    #[test]
    fn all_is_in_the_file_when_the_trace_has_ended() {
        let scratch = Scratch::new();
        let path = scratch.path().join("trace");
        let (notifications, _main) = bounded(1);
        let start = now();
        let file = Arc::new(File::create(&path).unwrap());
        let mut trace = TraceHandle::start(file, start, notifications).unwrap();
        ["a", "b"].into_iter().for_each(|what| trace.record(entry(start, what)));
        drop(trace);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 2);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_that_takes_nothing_ends_the_trace_with_a_warning() {
        let (notifications, main) = bounded(1);
        let full = Arc::new(File::options().write(true).open("/dev/full").unwrap());
        let mut trace = TraceHandle::start(full, now(), notifications).unwrap();
        trace.record(entry(now(), "a"));
        let Ok(Notification::Warning(why)) = main.recv() else { panic!("a warning comes") };
        assert!(why.starts_with("--trace: "), "{why}");
        trace.record(entry(now(), "b"));
    }
}
