//! Which files a torrent is made of, in which order.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cli::failure::{Exit, Failure};
use crate::cli::glob;
use crate::formats::path::shown;
use crate::words::limits::FILES_MAX;

/// A file that goes into the torrent.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where it is.
    pub(super) disk: PathBuf,
    /// Its names below the torrent's folder; none if it is the torrent itself.
    pub(super) path: Vec<Vec<u8>>,
    /// Its length in bytes.
    pub(super) len: u64,
    /// Where it begins in the torrent.
    pub(super) offset: u64,
    modified: Option<SystemTime>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The files, sorted by the bytes of their paths, as mktorrent sorts them.
    pub(super) entries: Vec<Entry>,
    /// What was left out, and why.
    pub(super) warnings: Vec<(String, String)>,
}

impl Tree {
    /// All bytes.
    pub(super) fn size(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.offset + entry.len)
    }
}

/// What is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Patterns of relative paths and of names.
    pub(super) excludes: &'a [String],
    /// Whether symbolic links are followed.
    pub(super) follow: bool,
    /// The torrent that is being made, which may lie in the folder.
    pub(super) output: Option<&'a Path>,
}

/// Finds the files of `top`, which itself may be a link whatever the rules say.
///
/// # Errors
/// If something cannot be read, or nothing is found.
pub(super) fn walk(top: &Path, rules: &Rules<'_>) -> Result<Tree, Failure> {
    let metadata = metadata(top)?;
    let mut walker = Walker { rules, tree: Tree::default(), above: Vec::new() };
    if metadata.is_dir() {
        walker.folder(top, &mut Vec::new())?;
    } else if metadata.is_file() {
        walker.tree.entries.push(entry(top, Vec::new(), &metadata));
    } else {
        return Err(refused(top, "is neither a file nor a folder"));
    }
    let mut tree = walker.tree;
    if tree.entries.is_empty() {
        return Err(refused(top, "no files in this folder"));
    }
    tree.entries.sort_by_cached_key(|entry| entry.path.join(&b'/'));
    let mut end = 0_u64;
    for entry in &mut tree.entries {
        entry.offset = end;
        end = end.checked_add(entry.len).ok_or_else(|| refused(top, "is too large"))?;
    }
    Ok(tree)
}

/// Asks again for the length and time of each file.
///
/// # Errors
/// If one differs: then the hashes may be of bytes that never were in the file together.
pub(super) fn check_unchanged(entries: &[Entry]) -> Result<(), Failure> {
    for entry in entries {
        let now = metadata(&entry.disk)?;
        if now.len() != entry.len || now.modified().ok() != entry.modified {
            return Err(refused(&entry.disk, "changed while it was read; try again"));
        }
    }
    Ok(())
}

pub(super) fn refused(path: &Path, why: &str) -> Failure {
    let what = shown(path);
    Failure { exit: Exit::FileSystem, what, why: why.to_owned() }
}

fn metadata(path: &Path) -> Result<Metadata, Failure> {
    fs::metadata(path).map_err(|error| Failure::file(shown(path), &error))
}

fn entry(disk: &Path, path: Vec<Vec<u8>>, metadata: &Metadata) -> Entry {
    let modified = metadata.modified().ok();
    Entry { disk: disk.to_owned(), path, len: metadata.len(), offset: 0, modified }
}

struct Walker<'a> {
    rules: &'a Rules<'a>,
    tree: Tree,
    /// The folders that the walk is in, links resolved; kept only where links are followed.
    above: Vec<PathBuf>,
}

impl Walker<'_> {
    /// Goes through a folder. The system opens no path of more than some thousand bytes, which
    /// bounds the depth.
    fn folder(&mut self, disk: &Path, path: &mut Vec<Vec<u8>>) -> Result<(), Failure> {
        let unreadable = |error| Failure::file(shown(disk), &error);
        if self.rules.follow {
            let whole = disk.canonicalize().map_err(unreadable)?;
            if self.above.contains(&whole) {
                self.leave_out(disk, "left out: a link to a folder that it is in");
                return Ok(());
            }
            self.above.push(whole);
        }
        for item in fs::read_dir(disk).map_err(unreadable)? {
            let item = item.map_err(unreadable)?;
            path.push(item.file_name().as_encoded_bytes().to_vec());
            self.item(&item.path(), path)?;
            path.pop();
        }
        if self.rules.follow {
            self.above.pop();
        }
        Ok(())
    }

    fn item(&mut self, disk: &Path, path: &mut Vec<Vec<u8>>) -> Result<(), Failure> {
        if self.is_excluded(path) || self.is_output(disk) {
            return Ok(());
        }
        let own = fs::symlink_metadata(disk).map_err(|error| Failure::file(shown(disk), &error))?;
        if own.is_symlink() && !self.rules.follow {
            self.leave_out(disk, "left out: a symbolic link (--follow takes it in)");
            return Ok(());
        }
        let metadata = if own.is_symlink() { metadata(disk)? } else { own };
        if metadata.is_dir() {
            return self.folder(disk, path);
        }
        if !metadata.is_file() {
            self.leave_out(disk, "left out: neither a file nor a folder");
            return Ok(());
        }
        if self.tree.entries.len() == FILES_MAX {
            return Err(refused(disk, "too many files for a torrent"));
        }
        self.tree.entries.push(entry(disk, path.clone(), &metadata));
        Ok(())
    }

    fn leave_out(&mut self, disk: &Path, why: &str) {
        self.tree.warnings.push((shown(disk), why.to_owned()));
    }

    fn is_excluded(&self, path: &[Vec<u8>]) -> bool {
        let whole = path.join(&b'/');
        let (whole, name) = (String::from_utf8_lossy(&whole), path.last());
        let name = String::from_utf8_lossy(name.map_or(&[], Vec::as_slice));
        let fits = |glob: &String| glob::fits(glob, &whole) || glob::fits(glob, &name);
        self.rules.excludes.iter().any(fits)
    }

    fn is_output(&self, disk: &Path) -> bool {
        let Some(output) = self.rules.output else { return false };
        let is_same = || Some(disk.canonicalize().ok()? == output.canonicalize().ok()?);
        disk.file_name() == output.file_name() && is_same().unwrap_or(false)
    }
}
