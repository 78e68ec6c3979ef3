//! A torrent's state on the disk: the lock that keeps a second process away, and the resume file.
//!
//! Both stand in the state folder and are named after the info-hash and the folder of the data, so
//! that one torrent in two folders has two states. What is in the state folder is believed as far
//! as its checksum; what is in the data folder, as far as the marks in the resume file. Whoever
//! may write there may change files between our look at them and their use, as at any time later:
//! what is served wrong then, the peers find out by hashing.

use std::ffi::OsStr;
use std::fs::TryLockError;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha1::{Digest, Sha1};

use super::disk::{Disk, DiskFile, How, Kind, Reader, make_folders, open_regular, write_all_at};
use super::file_error::{FileError, trouble};
use crate::bus::{Place, Trouble, TroubleKind};
use crate::formats::metainfo::Metainfo;
use crate::formats::path::shown;
use crate::formats::resume::{FileMark, Resume, trusted};
use crate::words::bitfield::Bitfield;
use crate::words::id::InfoHash;

/// The state of one torrent in one folder, ours until it is dropped.
#[derive(Debug)]
pub(crate) struct State {
    disk: Arc<dyn Disk>,
    /// The state folder.
    folder: PathBuf,
    /// What the names of the torrent's files in it begin with.
    stem: String,
    info_hash: InfoHash,
    /// The folder of the data, absolute and without links.
    dir: PathBuf,
    /// Held, not used: the lock ends when it is closed, however this process ends.
    _lock: Arc<dyn DiskFile>,
}

impl State {
    /// Locks the torrent's state, and makes the state folder and, unless the place is read-only,
    /// the data's folder if they are not there. The text is a warning: the file system has no
    /// locks, and nothing keeps a second process away.
    ///
    /// # Errors
    /// If another process has the lock, or a folder cannot be made or used.
    pub(crate) fn lock(
        disk: &Arc<dyn Disk>,
        place: &Place,
        info_hash: InfoHash,
    ) -> Result<(Self, Option<String>), Trouble> {
        let dir = data_folder(&**disk, place).map_err(|error| trouble(&place.dir, &error))?;
        let folder = place.state.clone();
        let unusable = |error: io::Error| {
            let trouble = trouble(&folder, &error);
            let why = format!("{}; name another state folder with --state", trouble.why);
            Trouble { why, ..trouble }
        };
        make_folders(&**disk, &folder, Reader::User).map_err(unusable)?;
        let stem = stem(info_hash, &dir);
        let path = folder.join(format!("{stem}.lock"));
        // The file stays when the lock ends: to remove it would be to let a process that has
        // opened it already and one that makes a new one both hold "the" lock.
        let lock =
            disk.open(&path, How::Lock).map_err(FileError::about(&path)).map_err(unusable)?;
        let warning = match lock.try_lock() {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => return Err(in_use(&place.dir, &path)),
            Err(TryLockError::Error(error)) => Some(format!(
                "{}: cannot be locked ({error}): see to it that no other rondalla process works \
                 on the same torrent in the same folder",
                shown(&path)
            )),
        };
        Ok((Self { disk: Arc::clone(disk), folder, stem, info_hash, dir, _lock: lock }, warning))
    }

    /// Locks the torrent's file or folder itself, if it is there, as long as what is given back
    /// lives: a process with another state folder does not see the lock in ours. Where it cannot be
    /// locked, it is not.
    ///
    /// # Errors
    /// If another process has it.
    pub(crate) fn lock_data(&self, name: &OsStr) -> Result<Option<Arc<dyn DiskFile>>, Trouble> {
        let path = self.dir.join(name);
        let Ok(file) = self.disk.open(&path, How::Read) else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(in_use(&self.dir, &path)),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// The resume file, and the pieces that may be believed if the files are as `marks` say; `None`
    /// if there is no resume file.
    ///
    /// # Errors
    /// A warning, if there is one that cannot be read or is not believed: everything that is there
    /// has to be hashed then.
    pub(crate) fn load(
        &self,
        metainfo: &Metainfo,
        marks: &[Option<FileMark>],
    ) -> Result<Option<(Resume, Bitfield)>, String> {
        let path = self.resume_path();
        let warning =
            |why: &str| format!("{}: {why}; what is there is checked instead", shown(&path));
        let (pieces, files) = (metainfo.pieces(), metainfo.files().len());
        let bytes = match read_at_most(&*self.disk, &path, Resume::len_max(pieces, files)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(warning(&error.to_string())),
        };
        let resume = Resume::parse(&bytes, pieces, files)
            .map_err(|error| warning(&format!("the resume file is damaged: {error}")))?;
        if resume.info_hash != self.info_hash {
            return Err(warning("the resume file is another torrent's"));
        }
        let believed = trusted(&resume, marks, metainfo);
        Ok(Some((resume, believed)))
    }

    /// Writes the resume file, so that after a power cut there is either the old one or the new
    /// one, whole. Nothing is written if it would be the same. What it claims must be synced
    /// before, and a clean one be marked when nothing more will be written to the files.
    ///
    /// # Errors
    /// If the disk refuses. The old resume file is still there then.
    pub(crate) fn save(&self, resume: &Resume) -> io::Result<()> {
        let path = self.resume_path();
        let bytes = resume.emit();
        let old = read_at_most(&*self.disk, &path, bytes.len());
        if old.is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        replace(&*self.disk, &path, &bytes).map_err(FileError::about(&path))?;
        self.disk.sync_folder(&self.folder).map_err(FileError::about(&self.folder))
    }

    /// How the torrent's files stand now, to be put into the resume file.
    pub(crate) fn marks(&self, metainfo: &Metainfo) -> Vec<Option<FileMark>> {
        marks(&*self.disk, metainfo, &self.dir)
    }

    fn resume_path(&self) -> PathBuf {
        self.folder.join(format!("{}.resume", self.stem))
    }
}

/// A mark for each file of a torrent below `dir`; `None` for what is no regular file (a symbolic
/// link stands for what it leads to), is not there or is a pad. It asks the disk once a file.
fn marks(disk: &dyn Disk, metainfo: &Metainfo, dir: &Path) -> Vec<Option<FileMark>> {
    let mark = |path: &Path| disk.stat(&dir.join(path)).ok()?.mark();
    metainfo.files().iter().map(|file| if file.pad { None } else { mark(&file.path) }).collect()
}

/// The folder of the data as the system names it, whichever way the user came to it.
fn data_folder(disk: &dyn Disk, place: &Place) -> io::Result<PathBuf> {
    if !place.read_only {
        make_folders(disk, &place.dir, Reader::Anyone)?;
    }
    let dir = disk.canonicalize(&place.dir)?;
    match disk.stat(&dir)?.kind {
        Kind::Folder => Ok(dir),
        Kind::File | Kind::Other => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn stem(info_hash: InfoHash, dir: &Path) -> String {
    let digest = Sha1::digest(dir.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{info_hash}-{hex}")
}

fn in_use(dir: &Path, lock: &Path) -> Trouble {
    Trouble {
        kind: TroubleKind::FileSystem,
        what: shown(dir),
        why: format!(
            "the torrent is in use in this folder by another rondalla process (which locks {})",
            shown(lock)
        ),
    }
}

/// The bytes of a file. One that is longer than `len_max` is cut after one byte more, so that it
/// is equal to nothing and parsed by nobody.
pub(crate) fn read_at_most(disk: &dyn Disk, path: &Path, len_max: usize) -> io::Result<Vec<u8>> {
    // What is no regular file could block, or never end.
    let file = open_regular(disk, path, How::Read)?;
    let limit = len_max.saturating_add(1);
    let len = usize::try_from(file.stat()?.len).map_or(limit, |len| len.min(limit));
    let mut bytes = vec![0; len];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Puts `bytes` in the place of the file at `path`, all of them or nothing.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("resume.new");
    // A process that was killed may have left one. It is not opened but made afresh, with our
    // permissions, and never through a link.
    match disk.remove(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = disk.open(&new, How::MakePrivate)?;
    let written = write_all_at(&*file, &mut [IoSlice::new(bytes)], 0).and_then(|()| file.sync());
    drop(file);
    let renamed = written.and_then(|()| disk.rename(&new, path));
    if renamed.is_err() {
        // On a full disk half a file helps nobody. If it stays, the next save removes it.
        disk.remove(&new).ok();
    }
    renamed
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::super::disk::SystemDisk;
    use super::super::disk::fake::FakeDisk;
    use super::super::scratch::Scratch;
    use super::*;
    use crate::formats::metainfo::{Draft, DraftFile};
    use crate::words::id::PieceIndex;

    const TORRENT: InfoHash = InfoHash([0xab; 20]);

    fn disk() -> Arc<dyn Disk> {
        Arc::new(SystemDisk)
    }

    fn place(scratch: &Scratch, dir: &str) -> Place {
        Place {
            dir: scratch.path().join(dir),
            state: scratch.path().join("home/state/rondalla"),
            check: false,
            overwrite: false,
            read_only: false,
        }
    }

    fn lock(place: &Place, info_hash: InfoHash) -> State {
        let (state, warning) = State::lock(&disk(), place, info_hash).unwrap();
        assert_eq!(warning, None);
        state
    }

    // Files:   t/a: aaaaaa   t/b: bb   and a pad of two
    // Pieces:  0   1   2
    fn torrent() -> Metainfo {
        let file = |name: &str, len| DraftFile { path: vec![name.as_bytes().to_vec()], len };
        let draft = Draft {
            name: b"t".to_vec(),
            piece_length: 4,
            files: vec![file("a", 6), file("_____padding_file_0_____", 2), file("b", 2)],
            hashes: vec![7; 3 * 20],
            ..Draft::default()
        };
        Metainfo::parse(&draft.encode()).unwrap()
    }

    /// The torrent's data, its state, and a clean resume file that claims it all.
    fn complete(scratch: &Scratch) -> (Metainfo, State, Resume) {
        let metainfo = torrent();
        let place = place(scratch, "data");
        fs::create_dir_all(place.dir.join("t")).unwrap();
        fs::write(place.dir.join("t/a"), "aaaaaa").unwrap();
        fs::write(place.dir.join("t/b"), "bb").unwrap();
        let state = lock(&place, metainfo.info_hash());
        let mut pieces = Bitfield::zeros(3);
        (0..3).for_each(|piece| {
            pieces.set(PieceIndex(piece));
        });
        let files = state.marks(&metainfo);
        let resume = Resume { info_hash: metainfo.info_hash(), clean: true, pieces, files };
        (metainfo, state, resume)
    }

    fn load(state: &State, metainfo: &Metainfo) -> Result<Option<(Resume, Bitfield)>, String> {
        state.load(metainfo, &state.marks(metainfo))
    }

    fn believed(state: &State, metainfo: &Metainfo) -> String {
        let (_, pieces) = load(state, metainfo).unwrap().unwrap();
        (0..3).map(|n| if pieces.get(PieceIndex(n)) { '1' } else { '0' }).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
        let mut names: Vec<String> = entries.map(|entry| name(entry).unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn one_process_works_on_a_torrent_in_a_folder() {
        let scratch = Scratch::new();
        let here = place(&scratch, "here");
        let held = lock(&here, TORRENT);

        let detour = Place { dir: scratch.path().join("here/../here/."), ..here.clone() };
        for place in [&here, &detour] {
            let trouble = State::lock(&disk(), place, TORRENT).unwrap_err();
            assert_eq!(trouble.kind, TroubleKind::FileSystem);
            assert_eq!(trouble.what, place.dir.display().to_string());
            assert!(
                trouble.why.contains("by another rondalla process (which locks "),
                "{trouble:?}"
            );
        }
        let other_torrent = lock(&here, InfoHash([0xcd; 20]));
        let elsewhere = lock(&place(&scratch, "there"), TORRENT);
        drop((other_torrent, elsewhere));

        drop(held);
        lock(&here, TORRENT);
        let names = names(&here.state);
        assert_eq!(names.len(), 3);
        for name in &names {
            let (stem, kind) = name.split_once('.').unwrap();
            assert_eq!((stem.len(), kind), (40 + 1 + 16, "lock"), "{name}");
        }
        assert_eq!(names.iter().filter(|name| name.starts_with(&TORRENT.to_string())).count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_folder_is_the_folder() {
        let scratch = Scratch::new();
        let here = place(&scratch, "here");
        let _held = lock(&here, TORRENT);
        std::os::unix::fs::symlink(&here.dir, scratch.path().join("link")).unwrap();
        State::lock(&disk(), &place(&scratch, "link"), TORRENT).unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_look() {
        use std::os::unix::fs::PermissionsExt;

        let scratch = Scratch::new();
        let (_, state, resume) = complete(&scratch);
        state.save(&resume).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = scratch.path().join("home/state/rondalla");
        assert_eq!(mode(&scratch.path().join("home")), 0o700);
        assert_eq!(mode(&folder), 0o700);
        let names = names(&folder);
        assert_eq!(names.len(), 2);
        for name in names {
            assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
        }
    }

    #[test]
    fn only_who_may_write_makes_the_folder_of_the_data() {
        let scratch = Scratch::new();
        let read_only = Place { read_only: true, ..place(&scratch, "new/folder") };
        let trouble = State::lock(&disk(), &read_only, TORRENT).unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::FileSystem);
        assert_eq!(trouble.what, read_only.dir.display().to_string());
        assert_eq!(names(scratch.path()), [""; 0]);

        lock(&Place { read_only: false, ..read_only.clone() }, TORRENT);
        assert!(read_only.dir.is_dir());
        lock(&read_only, TORRENT);
    }

    #[test]
    fn folders_that_are_none_are_named() {
        let scratch = Scratch::new();
        fs::write(scratch.path().join("file"), "").unwrap();
        let good = place(&scratch, "here");
        let file = scratch.path().join("file");

        for read_only in [false, true] {
            let place = Place { dir: file.clone(), read_only, ..good.clone() };
            let trouble = State::lock(&disk(), &place, TORRENT).unwrap_err();
            assert_eq!(trouble.what, file.display().to_string());
        }
        for state in [file.clone(), file.join("below")] {
            let place = Place { state: state.clone(), ..good.clone() };
            let trouble = State::lock(&disk(), &place, TORRENT).unwrap_err();
            assert_eq!(trouble.kind, TroubleKind::FileSystem);
            assert_eq!(trouble.what, state.display().to_string());
            assert!(trouble.why.contains("--state"), "{trouble:?}");
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let scratch = Scratch::new();
        let (metainfo, state, mut resume) = complete(&scratch);
        assert_eq!(load(&state, &metainfo), Ok(None));
        for clean in [true, false] {
            resume.clean = clean;
            state.save(&resume).unwrap();
            let (loaded, pieces) = load(&state, &metainfo).unwrap().unwrap();
            assert_eq!(loaded, resume);
            assert!(pieces.is_full());
        }
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let scratch = Scratch::new();
        let (_, state, mut resume) = complete(&scratch);
        let past = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let path = state.resume_path();
        state.save(&resume).unwrap();
        File::open(&path).unwrap().set_modified(past).unwrap();
        state.save(&resume).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), past);

        resume.clean = false;
        state.save(&resume).unwrap();
        assert_ne!(fs::metadata(&path).unwrap().modified().unwrap(), past);
    }

    #[test]
    fn files_that_changed_are_not_believed() {
        let scratch = Scratch::new();
        let (metainfo, state, resume) = complete(&scratch);
        state.save(&resume).unwrap();
        let (a, b) = (state.dir.join("t/a"), state.dir.join("t/b"));
        assert_eq!(believed(&state, &metainfo), "111");

        fs::write(&b, "bbb").unwrap();
        assert_eq!(believed(&state, &metainfo), "110");
        fs::remove_file(&b).unwrap();
        assert_eq!(believed(&state, &metainfo), "110");
        fs::create_dir(&b).unwrap();
        assert_eq!(believed(&state, &metainfo), "110");
        let touched = SystemTime::now() + Duration::from_secs(60);
        File::open(&a).unwrap().set_modified(touched).unwrap();
        assert_eq!(believed(&state, &metainfo), "000");

        // After a crash a later time is as it should be, but another file is not.
        state.save(&Resume { clean: false, ..resume }).unwrap();
        assert_eq!(believed(&state, &metainfo), "110");
        if cfg!(unix) {
            fs::copy(&a, state.dir.join("copy")).unwrap();
            fs::rename(state.dir.join("copy"), &a).unwrap();
            File::open(&a).unwrap().set_modified(touched).unwrap();
            assert_eq!(believed(&state, &metainfo), "000");
        }
    }

    #[test]
    fn a_damaged_resume_file_is_a_warning() {
        let scratch = Scratch::new();
        let (metainfo, state, resume) = complete(&scratch);
        let path = state.resume_path();
        let good = resume.emit();
        let table = [
            (good[..good.len() - 1].to_vec(), "damaged: it is not bencode"),
            (Vec::new(), "damaged: it is not bencode"),
            (good.repeat(9), "damaged: it is not bencode"),
            (vec![b'l'; 1 << 20], "damaged: it is not bencode"),
            (b"d7:versioni9ee".to_vec(), "damaged: it has version 9"),
            (Resume { info_hash: TORRENT, ..resume.clone() }.emit(), "another torrent's"),
            (Resume { files: Vec::new(), ..resume.clone() }.emit(), "its \"files\" is invalid"),
        ];
        for (bytes, wanted) in table {
            fs::write(&path, bytes).unwrap();
            let warning = load(&state, &metainfo).unwrap_err();
            assert!(warning.contains(wanted), "{warning}");
            assert!(warning.contains(path.to_str().unwrap()), "{warning}");
        }
        state.save(&resume).unwrap();
        assert_eq!(believed(&state, &metainfo), "111");

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let warning = load(&state, &metainfo).unwrap_err();
        assert!(warning.contains("is a directory"), "{warning}");
        let error = state.save(&resume).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_whole() {
        let disk = FakeDisk::new();
        let path = Path::new("/x.resume");
        replace(&disk, path, b"old").unwrap();
        disk.set_room(2);
        let full = replace(&disk, path, b"new");
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.names(), ["/x.resume"]);
        assert_eq!(disk.read(path), b"old");
        disk.set_room(3);
        replace(&disk, path, b"new").unwrap();
        assert_eq!(disk.read(path), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn what_a_killed_process_left_is_replaced_and_never_followed() {
        let scratch = Scratch::new();
        let (path, left) = (scratch.path().join("x.resume"), scratch.path().join("x.resume.new"));
        let victim = scratch.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        fs::write(&left, "half a fi").unwrap();
        replace(&SystemDisk, &path, b"1").unwrap();
        std::os::unix::fs::symlink(&victim, &left).unwrap();
        replace(&SystemDisk, &path, b"2").unwrap();
        assert_eq!(names(scratch.path()), ["victim", "x.resume"]);
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(fs::read(&path).unwrap(), b"2");
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_marked_and_links_are_what_they_lead_to() {
        let scratch = Scratch::new();
        let metainfo = torrent();
        let dir = scratch.path().join("t");
        fs::create_dir(&dir).unwrap();
        let lens = || -> Vec<Option<u64>> {
            let marks = marks(&SystemDisk, &metainfo, scratch.path());
            marks.iter().map(|mark| mark.map(|mark| mark.len)).collect()
        };
        assert_eq!(lens(), [None, None, None]);
        fs::write(dir.join("elsewhere"), "12345").unwrap();
        std::os::unix::fs::symlink("elsewhere", dir.join("a")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.join("b")).unwrap();
        fs::create_dir(dir.join(".pad")).unwrap();
        fs::write(dir.join(".pad/2"), "12").unwrap();
        assert_eq!(lens(), [Some(5), None, None]);
        fs::remove_file(dir.join("b")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.join("b")).unwrap();
        assert_eq!(lens(), [Some(5), None, None]);
    }
}
