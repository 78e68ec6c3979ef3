//! What stands between the program and the person: the terminal, and the two output streams.

use std::env;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Columns of a terminal whose width nobody knows: those of the VT100.
const COLUMNS: usize = 80;

/// What stderr can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Whether a line may be drawn again over itself.
    pub redraws: bool,
    /// Whether it may be in colour.
    pub colours: bool,
    /// Columns to fill. One that has become narrower since does not wrap a line put between
    /// [`NO_WRAP`] and [`WRAP`].
    pub width: usize,
}

/// Tells a terminal to cut lines at its edge (DECAWM off), and back.
pub const NO_WRAP: &str = "\x1b[?7l";
/// Tells a terminal to wrap lines again (DECAWM on).
pub const WRAP: &str = "\x1b[?7h";
/// Puts the cursor at the head of its line and empties the terminal from there on (ED): a terminal
/// that has become narrower may have made two lines of one.
pub const CLEAR: &str = "\r\x1b[J";

impl Terminal {
    /// What the stderr of this process can show.
    pub fn of_stderr() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self::new(io::stderr().is_terminal(), dumb, set("NO_COLOR").is_some())
    }

    /// The same terminal, as wide as it is now.
    pub fn measured(self) -> Self {
        Self { width: columns_of_stderr().unwrap_or(COLUMNS), ..self }
    }

    fn new(is_terminal: bool, dumb: bool, no_colour: bool) -> Self {
        let redraws = is_terminal && !dumb;
        Self { redraws, colours: redraws && !no_colour, width: COLUMNS }
    }
}

/// Columns of the terminal behind stderr, if it knows.
#[cfg(unix)]
fn columns_of_stderr() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Columns of the terminal behind stderr, if it knows.
#[cfg(not(unix))]
fn columns_of_stderr() -> Option<usize> {
    None
}

/// The text with everything escaped that would move the cursor, end the line, or turn the
/// direction of writing: names come from strangers.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            write!(shown, "{}", c.escape_default()).expect("a String takes all that is written");
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Controls, line and paragraph separators, and bidirectional controls (UAX #9, section 2).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A stream whose reader may leave: from then on all that is written is dropped, and
/// [`is_closed`](Self::is_closed) says so.
#[derive(Debug)]
pub struct Out<W> {
    stream: W,
    closed: bool,
}

impl<W: Write> Out<W> {
    /// A stream that is open.
    pub fn new(stream: W) -> Self {
        Self { stream, closed: false }
    }

    /// Whether the reader has left.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.stream
    }

    fn unless_closed<T>(
        &mut self,
        dropped: T,
        act: impl FnOnce(&mut W) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.closed {
            return Ok(dropped);
        }
        match act(&mut self.stream) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(dropped)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_is_redrawn_and_coloured() {
        let table = [
            // terminal, dumb, NO_COLOR -> redraws, colours
            (true, false, false, true, true),
            (true, false, true, true, false),
            (true, true, false, false, false),
            (false, false, false, false, false),
        ];
        for (is_terminal, dumb, no_colour, redraws, colours) in table {
            let terminal = Terminal::new(is_terminal, dumb, no_colour);
            assert_eq!((terminal.redraws, terminal.colours), (redraws, colours));
        }
    }

    #[test]
    fn nothing_unsafe_reaches_the_terminal() {
        let table = [
            ("plain, ünïcode 名前 'quoted' C:\\x", "plain, ünïcode 名前 'quoted' C:\\x"),
            ("a\nb\tc\rd", r"a\nb\tc\rd"),
            ("\x1b]0;title\x07\x7f", r"\u{1b}]0;title\u{7}\u{7f}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("gpj\u{202e}.exe\u{2069}", r"gpj\u{202e}.exe\u{2069}"),
            ("a\u{2028}b\u{feff}", r"a\u{2028}b\u{feff}"),
        ];
        for (text, shown) in table {
            assert_eq!(escape(text), shown);
        }
    }

    /// A pipe whose reader leaves after `left` bytes.
    struct Pipe {
        left: usize,
        error: ErrorKind,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.left);
            self.left -= taken;
            if taken == 0 { Err(self.error.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_leaves_is_no_error() {
        let mut out = Out::new(Pipe { left: 3, error: ErrorKind::BrokenPipe });
        out.write_all(b"abc").unwrap();
        assert!(!out.is_closed());
        out.write_all(b"def").unwrap();
        assert!(out.is_closed());
        out.flush().unwrap();

        let mut out = Out::new(Pipe { left: 3, error: ErrorKind::StorageFull });
        assert_eq!(out.write_all(b"abcd").unwrap_err().kind(), ErrorKind::StorageFull);
        assert!(!out.is_closed());
    }
}
