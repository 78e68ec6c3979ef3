//! How a command fails: an exit code that scripts may rely on, and one line for people.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::actors::file_error::{is_full, reason};
use crate::cli::terminal::escape;

/// The exit codes but 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Anything that is none of the others.
    Failure = 1,
    /// Bad usage: an unknown option or subcommand, a value that cannot be read.
    Usage = 2,
    /// The data is incomplete or does not match.
    Incomplete = 3,
    /// The input is no valid torrent or magnet link.
    NotATorrent = 4,
    /// Nothing came in time, or the port is taken.
    Network = 5,
    /// A file cannot be read, written or created, or is not ours.
    FileSystem = 6,
    /// Stopped by a signal before it was done.
    Interrupted = 7,
    /// No space is left on the disk.
    NoSpace = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends early. Shown as `WHAT: WHY`, one line whatever the texts hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The file, address or option at fault.
    pub what: String,
    /// What is wrong with it and, where that can be said, what to do.
    pub why: String,
}

impl Failure {
    /// Bad usage: `what` is the option, argument or subcommand.
    pub fn usage(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, what: what.into(), why: why.into() }
    }

    /// What the operating system answered about the file `what`.
    pub fn file(what: impl Into<String>, error: &io::Error) -> Self {
        let exit = if is_full(error) { Exit::NoSpace } else { Exit::FileSystem };
        Self { exit, what: what.into(), why: reason(error) }
    }
}

/// The system gave no thread of this name.
pub(super) fn no_thread(name: &str, error: &io::Error) -> Failure {
    let why = format!("its thread cannot be started: {}", reason(error));
    Failure { exit: Exit::Failure, what: name.to_owned(), why }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", escape(&self.what), escape(&self.why))
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::usage("a\nb", "c\x1b[2Jd\r\u{202e}e\u{85}");
        assert_eq!(failure.to_string(), r"a\nb: c\u{1b}[2Jd\r\u{202e}e\u{85}");
    }

    #[test]
    fn errors_of_files_have_their_codes() {
        let table = [
            (io::Error::from_raw_os_error(28), Exit::NoSpace),
            (io::ErrorKind::NotFound.into(), Exit::FileSystem),
            (io::ErrorKind::PermissionDenied.into(), Exit::FileSystem),
        ];
        for (error, exit) in table {
            let failure = Failure::file("x.torrent", &error);
            assert_eq!(failure.exit, exit, "{error}");
            assert!(!failure.to_string().contains("os error"), "{failure}");
        }
    }
}
