//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::actors::chance::chance;

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
    // By chance, not by process: in containers all are process 1, and a folder may be shared.
    let number = u64::from_le_bytes(chance());
    let part = path.with_file_name(format!(".rondalla-{number:016x}.part"));
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::actors::scratch::Scratch;

    #[test]
    fn those_who_save_in_one_folder_at_a_time_do_not_meet() {
        let scratch = Scratch::new();
        let save_many =
            |name: &str| (0..100).try_for_each(|_| save(&scratch.path().join(name), &[1; 99]));
        thread::scope(|scope| {
            let one = scope.spawn(|| save_many("one"));
            save_many("other").unwrap();
            one.join().unwrap().unwrap();
        });
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "nothing else is left");
    }
}
