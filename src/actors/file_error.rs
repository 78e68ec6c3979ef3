//! What the operating system answered, and about which file: without the name nobody can act.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::bus::{Trouble, TroubleKind};
use crate::formats::path::shown;

/// Whether a read or write ended because its time was over (Unix says the one, Windows the other).
pub(crate) fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An error with the path of the file at fault. It travels inside an [`io::Error`] of its kind.
#[derive(Debug)]
pub(crate) struct FileError {
    path: PathBuf,
    error: io::Error,
}

impl FileError {
    /// For `map_err`: says that an error was about `path`.
    pub(crate) fn about(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
        move |error| {
            let kind = error.kind();
            io::Error::new(kind, Self { path: path.to_owned(), error })
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", shown(&self.path), reason(&self.error))
    }
}

impl Error for FileError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// What the user is told of an error: the file that it names, or else `place`.
pub(crate) fn trouble(place: &Path, error: &io::Error) -> Trouble {
    let named = error.get_ref().and_then(|inner| inner.downcast_ref::<FileError>());
    let (path, error) = named.map_or((place, error), |named| (&named.path, &named.error));
    let (kind, mut why) = (kind(error), reason(error));
    if kind == TroubleKind::NoSpace {
        why.push_str("; make room, and the same command resumes");
    }
    Trouble { kind, what: shown(path), why }
}

fn kind(error: &io::Error) -> TroubleKind {
    if is_full(error) { TroubleKind::NoSpace } else { TroubleKind::FileSystem }
}

/// Whether an error says that the disk, or our share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero
    )
}

/// The sentence of an error, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => text.replace(&format!(" (os error {number})"), ""),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_names_the_file() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let inner = FileError::about(Path::new("inner"));
        let table = [
            (
                full(),
                TroubleKind::NoSpace,
                "outer",
                "no storage space; make room, and the same command resumes",
            ),
            (denied(), TroubleKind::FileSystem, "outer", "permission denied"),
            (
                inner(full()),
                TroubleKind::NoSpace,
                "inner",
                "no storage space; make room, and the same command resumes",
            ),
            (io::Error::other("odd"), TroubleKind::FileSystem, "outer", "odd"),
        ];
        for (error, kind, what, why) in table {
            let wanted = Trouble { kind, what: what.to_owned(), why: why.to_owned() };
            assert_eq!(trouble(Path::new("outer"), &error), wanted);
        }
    }

    #[test]
    fn the_kind_is_kept_and_the_number_is_not_shown() {
        let missing = std::fs::File::open("/nowhere/x").map_err(FileError::about(Path::new("x")));
        let missing = missing.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(missing.to_string().starts_with("x: "), "{missing}");
        assert!(!missing.to_string().contains("os error"), "{missing}");
    }
}
