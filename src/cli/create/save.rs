//! Where a torrent is written, whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
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

/// Writes a file beside `path` and gives it that name once it is whole. What is there and no
/// regular file (a pipe, `/dev/null`) is written to as it is.
///
/// # Errors
/// If anything fails; then `path` is as it was and nothing else is left.
pub(super) fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::file(shown(path), &error);
    // A link stays a link: the file that it names is replaced.
    let path = path.canonicalize().unwrap_or_else(|_absent| path.to_owned());
    if fs::metadata(&path).is_ok_and(|existing| !existing.is_file()) {
        return File::options()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(failed);
    }
    let part = path.with_file_name(format!(".rondalla-{}.part", std::process::id()));
    write_whole(&part, bytes).and_then(|()| fs::rename(&part, &path)).map_err(|error| {
        // The first error tells more than one of cleaning up.
        fs::remove_file(&part).ok();
        failed(error)
    })
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
