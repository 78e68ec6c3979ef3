//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside `path` and gives it that name once it is whole. What is there and no
/// regular file (a pipe, `/dev/null`) is written to as it is.
///
/// # Errors
/// If anything fails; then `path` is as it was and nothing else is left.
pub(crate) fn save(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays a link: the file that it names is replaced.
    let path = path.canonicalize().unwrap_or_else(|_absent| path.to_owned());
    if fs::metadata(&path).is_ok_and(|existing| !existing.is_file()) {
        return File::options().write(true).open(&path).and_then(|mut file| file.write_all(bytes));
    }
    let part = path.with_file_name(format!(".rondalla-{}.part", std::process::id()));
    write_whole(&part, bytes).and_then(|()| fs::rename(&part, &path)).inspect_err(|_error| {
        // It tells more than one of cleaning up.
        fs::remove_file(&part).ok();
    })
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
