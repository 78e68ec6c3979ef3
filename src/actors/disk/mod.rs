//! The file system as the storage uses it: everything that it does to files and folders goes
//! through here, so that tests can put another disk under it, one that forgets or refuses.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use crate::formats::resume::{FileMark, Timestamp};
use crate::words::limits;

/// A file system.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// What stands at `path`; a symbolic link stands for what it leads to.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// The path without links, as the system names it.
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf>;

    /// Makes one folder, whose parent exists.
    fn make_folder(&self, path: &Path, reader: Reader) -> io::Result<()>;

    /// Opens a file.
    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>>;

    /// Puts the file at `from` in the place of the one at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes what was made, renamed and removed in a folder last.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// What the file system of a folder has to offer.
    fn room(&self, folder: &Path) -> io::Result<Room>;

    /// The longest file that this process may write (`ulimit -f`): a write beyond it would not be
    /// refused, but end the process by a signal.
    fn file_len_max(&self) -> u64;
}

/// What a file system has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes that can still be written.
    pub(crate) free: u64,
    /// Whether what was never written takes no room.
    pub(crate) has_holes: bool,
}

/// An open file.
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    /// What it is.
    fn stat(&self) -> io::Result<Stat>;

    /// Makes it so long; what is new of it reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Fills `buffer` with what stands at `offset`, all of it.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes as much of `slices` at `offset` as the system takes at once. Only one thread writes
    /// to a file.
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes its bytes and its length last.
    fn sync(&self) -> io::Result<()>;

    /// Locks it until it is closed.
    fn try_lock(&self) -> Result<(), TryLockError>;

    /// The file of the operating system, if it is one.
    fn as_system_file(&self) -> Option<&File> {
        None
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Reading; it must exist.
    Read,
    /// Reading and writing; it must exist, and is never cut.
    Write,
    /// Reading and writing a file that must not exist.
    Make,
    /// Writing a file that must not exist, and that only the user may read.
    MakePrivate,
    /// Locking a file that is made if it does not exist, and that only the user may read.
    Lock,
}

/// Who may look into a folder that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Whoever the user lets.
    Anyone,
    /// Only the user.
    User,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) len: u64,
    /// The room that it takes, in bytes.
    pub(crate) allocated: u64,
    /// `None` if the file system has no times, or one beyond all reason.
    pub(crate) modified: Option<Timestamp>,
    pub(crate) inode: u64,
}

/// Kinds of what stands in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A pipe, a socket, a device.
    Other,
}

impl Stat {
    /// By what a regular file is known again.
    pub(crate) fn mark(&self) -> Option<FileMark> {
        let modified = self.modified.filter(|_| self.kind == Kind::File)?;
        Some(FileMark { len: self.len, modified, inode: self.inode })
    }
}

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        let kind = if metadata.is_file() {
            Kind::File
        } else if metadata.is_dir() {
            Kind::Folder
        } else {
            Kind::Other
        };
        let modified = metadata.modified().ok().and_then(timestamp);
        // The unit is the same whatever the file system's blocks are.
        let allocated = metadata.blocks().saturating_mul(512);
        Self { kind, len: metadata.len(), allocated, modified, inode: metadata.ino() }
    }
}

/// The time as seconds rounded down and what is left, so that later is greater before 1970 too.
fn timestamp(time: SystemTime) -> Option<Timestamp> {
    const SECOND: i128 = 1_000_000_000;

    let nanos = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).ok()?,
        Err(error) => -i128::try_from(error.duration().as_nanos()).ok()?,
    };
    Some(Timestamp {
        secs: i64::try_from(nanos.div_euclid(SECOND)).ok()?,
        nanos: u32::try_from(nanos.rem_euclid(SECOND)).ok()?,
    })
}

/// Makes a folder and those above it that are missing, and makes them last: what is claimed of
/// their contents later would otherwise go with them in a power cut. One that is there is left as
/// it is.
pub(crate) fn make_folders(disk: &dyn Disk, path: &Path, reader: Reader) -> io::Result<()> {
    match disk.stat(path) {
        Ok(found) if found.kind == Kind::Folder => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let parent = parent(path);
    if parent != path {
        make_folders(disk, parent, reader)?;
    }
    match disk.make_folder(path, reader) {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            make_folders_again(disk, path)
        }
        made => made.and_then(|()| disk.sync_folder(parent)),
    }
}

/// What stands at `path` after all must be a folder.
fn make_folders_again(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.stat(path)?.kind {
        Kind::Folder => Ok(()),
        Kind::File | Kind::Other => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// The folder in which `path` stands; that of a bare name is the current one.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Opens a regular file, and neither touches nor waits for anything else. The second look is for
/// what came in between, which only somebody who may write in the user's folder can do.
pub(crate) fn open_regular(
    disk: &dyn Disk,
    path: &Path,
    how: How,
) -> io::Result<Arc<dyn DiskFile>> {
    match disk.stat(path) {
        Ok(found) => check_regular(found.kind)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.open(path, how)?;
    check_regular(file.stat()?.kind)?;
    Ok(file)
}

fn check_regular(kind: Kind) -> io::Result<()> {
    match kind {
        Kind::File => Ok(()),
        Kind::Folder => Err(io::ErrorKind::IsADirectory.into()),
        Kind::Other => Err(io::Error::other("not a regular file")),
    }
}

/// Writes all of `slices` at `offset`.
pub(crate) fn write_all_at(
    file: &dyn DiskFile,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_at(slices, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The file system of the operating system.
#[derive(Debug)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        fs::metadata(path).map(|metadata| Stat::from(&metadata))
    }

    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn make_folder(&self, path: &Path, reader: Reader) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        if reader == Reader::User {
            builder.mode(0o700);
        }
        builder.create(path)
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match how {
            How::Read => options.read(true),
            How::Write => options.read(true).write(true),
            How::Make => options.read(true).write(true).create_new(true),
            How::MakePrivate => options.write(true).create_new(true).mode(0o600),
            How::Lock => options.read(true).write(true).create(true).truncate(false).mode(0o600),
        };
        Ok(Arc::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match File::open(path) {
            // A folder may be written and not be read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            folder => unless_it_cannot(folder?.sync_all()),
        }
    }

    fn room(&self, folder: &Path) -> io::Result<Room> {
        let found = statvfs(folder)?;
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        Ok(Room { free, has_holes: has_holes(folder)? })
    }

    fn file_len_max(&self) -> u64 {
        getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft)
    }
}

/// FAT and exFAT write zeros wherever nothing else was written; other file systems leave a hole.
#[cfg(target_os = "linux")]
fn has_holes(folder: &Path) -> io::Result<bool> {
    use nix::sys::statfs::{FsType, MSDOS_SUPER_MAGIC, statfs};

    const EXFAT_SUPER_MAGIC: FsType = FsType(0x2011_BAB0);
    let found = statfs(folder)?.filesystem_type();
    Ok(found != MSDOS_SUPER_MAGIC && found != EXFAT_SUPER_MAGIC)
}

/// Other systems do not tell in one way.
#[cfg(not(target_os = "linux"))]
fn has_holes(_: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Some file systems cannot be asked to sync.
fn unless_it_cannot(synced: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, ReadOnlyFilesystem, Unsupported};

    let cannot = [InvalidInput, ReadOnlyFilesystem, Unsupported];
    synced.or_else(|error| if cannot.contains(&error.kind()) { Ok(()) } else { Err(error) })
}

impl DiskFile for File {
    fn stat(&self) -> io::Result<Stat> {
        self.metadata().map(|metadata| Stat::from(&metadata))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    #[cfg(target_os = "linux")]
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let slices = &slices[..slices.len().min(limits::WRITE_CALL_BLOCKS)];
        Ok(rustix::io::pwritev(self, slices, offset)?)
    }

    /// Readers read at offsets of their own, so the file's cursor is free to be used.
    #[cfg(not(target_os = "linux"))]
    fn write_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        use std::io::{Seek, SeekFrom, Write};

        if let [slice] = slices {
            return FileExt::write_at(self, slice, offset);
        }
        let mut file = self;
        file.seek(SeekFrom::Start(offset))?;
        file.write_vectored(slices)
    }

    /// What cannot be asked to is read-only, or keeps nothing back.
    fn sync(&self) -> io::Result<()> {
        unless_it_cannot(self.sync_data())
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        Self::try_lock(self)
    }

    fn as_system_file(&self) -> Option<&File> {
        Some(self)
    }
}

#[cfg(test)]
pub(crate) mod fake;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_before_1970_are_in_order() {
        let half = Duration::from_millis(500);
        let second = Duration::from_secs(1);
        let table = [
            (UNIX_EPOCH - second - half, (-2, 500_000_000)),
            (UNIX_EPOCH - second, (-1, 0)),
            (UNIX_EPOCH - half, (-1, 500_000_000)),
            (UNIX_EPOCH, (0, 0)),
            (UNIX_EPOCH + second + half, (1, 500_000_000)),
        ];
        for (time, (secs, nanos)) in table {
            assert_eq!(timestamp(time), Some(Timestamp { secs, nanos }));
        }
    }
}
