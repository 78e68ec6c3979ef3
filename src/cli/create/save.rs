//! Where a torrent is written, whole or not at all.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::file_name;
use crate::cli::failure::{Exit, Failure};
use crate::cli::options::CreateOptions;
use crate::formats::path::shown;

/// Where the torrent goes.
#[derive(Debug)]
pub(super) enum Destination {
    Stdout,
    File(PathBuf),
}

impl Destination {
    /// What the options say, for a torrent of this name.
    ///
    /// # Errors
    /// If the file exists and may not be overwritten, or is a folder.
    pub(super) fn of(options: &CreateOptions, name: &OsStr) -> Result<Self, Failure> {
        let path = match &options.to {
            Some(path) if path.as_os_str() == "-" => return Ok(Self::Stdout),
            Some(path) => path.clone(),
            None => file_name(name),
        };
        let refuse = |why: &str| {
            let what = shown(&path);
            Err(Failure { exit: Exit::FileSystem, what, why: why.to_owned() })
        };
        match fs::metadata(&path) {
            Ok(existing) if existing.is_dir() => refuse("is a folder; name a file"),
            Ok(existing) if existing.is_file() && !options.overwrite => {
                refuse("exists already; --overwrite replaces it")
            }
            Ok(_) | Err(_) => Ok(Self::File(path)),
        }
    }

    /// The file.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::File(path) => Some(path),
        }
    }
}

/// Writes the torrent.
///
/// # Errors
/// If anything fails; then `path` is as it was and nothing else is left.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    crate::actors::save::save(path, bytes).map_err(|error| Failure::file(shown(path), &error))
}
