//! What is there when a torrent opens: which pieces have to be hashed, which files are not ours, and
//! whether there is room for the rest.

use std::collections::BTreeSet;
use std::path::Path;

use crate::actors::disk::{Disk, Room};
use crate::bus::TorrentContext;
use crate::formats::metainfo::{File, Metainfo};
use crate::formats::path::shown;
use crate::formats::resume::{FileMark, Resume};
use crate::words::bitfield::Bitfield;
use crate::words::id::PieceIndex;

/// The pieces that have to be hashed: of a clean state, those that touch a file that has changed
/// since; otherwise all that are not trusted. Never those whose files are too short to hold them.
pub(super) fn to_check(
    resume: Option<&Resume>,
    trusted: &Bitfield,
    marks: &[Option<FileMark>],
    metainfo: &Metainfo,
) -> Bitfield {
    let clean = resume.filter(|resume| resume.clean);
    let changed = |file: usize| clean.is_none_or(|clean| clean.files[file] != marks[file]);
    let mut to_check = Bitfield::zeros(metainfo.pieces());
    for piece in (0..metainfo.pieces()).map(PieceIndex).filter(|piece| !trusted.get(*piece)) {
        let len = u64::from(metainfo.piece_len(piece));
        let (mut present, mut news) = (true, false);
        for stretch in metainfo.stretches(metainfo.piece_offset(piece), len) {
            if metainfo.files()[stretch.file].pad {
                continue;
            }
            let there = marks[stretch.file].map_or(0, |mark| mark.len);
            present &= there >= stretch.offset + stretch.len;
            news |= changed(stretch.file);
        }
        if present && news {
            to_check.set(piece);
        }
    }
    to_check
}

/// The files that exist, have something in them, and that no state of ours knows.
pub(super) fn strangers(
    resume: Option<&Resume>,
    marks: &[Option<FileMark>],
    metainfo: &Metainfo,
) -> BTreeSet<usize> {
    let known = |file: usize| resume.is_some_and(|resume| resume.knows(file));
    let strange = |(file, (mark, entry)): &(usize, (&Option<FileMark>, &File))| {
        let has_data = mark.is_some_and(|mark| mark.len > 0);
        has_data && !entry.pad && entry.len > 0 && !known(*file)
    };
    let files = marks.iter().zip(metainfo.files()).enumerate();
    files.filter(strange).map(|(file, _)| file).collect()
}

/// Bytes of the pieces that are wanted and not `good`.
pub(super) fn missing_len(context: &TorrentContext, good: &Bitfield) -> u64 {
    let missing = |piece: &PieceIndex| context.wanted.get(*piece) && !good.get(*piece);
    let pieces = (0..good.len()).map(PieceIndex).filter(missing);
    pieces.map(|piece| u64::from(context.metainfo.piece_len(piece))).sum()
}

/// Bytes that the files of a torrent take already, whatever is in them.
pub(super) fn room_taken(disk: &dyn Disk, metainfo: &Metainfo, dir: &Path) -> u64 {
    let files = metainfo.files().iter().filter(|file| !file.pad);
    let found = files.filter_map(|file| Some((disk.stat(&dir.join(&file.path)).ok()?, file.len)));
    found.map(|(found, len)| found.allocated.min(len)).sum()
}

/// A warning, if there is not room for so many bytes.
pub(super) fn lack_of_room(dir: &Path, needed: u64, room: Room) -> Option<String> {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    (needed > room.free).then(|| {
        format!(
            "{}: {} MiB are needed and {} MiB are free; make room, or the download stops when the \
             disk is full",
            shown(dir),
            mib(needed),
            room.free >> 20
        )
    })
}
