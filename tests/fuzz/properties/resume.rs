//! Resume files: what is believed is byte for byte what was written.

use rondalla::formats::metainfo::{Draft, DraftFile, Metainfo};
use rondalla::formats::resume::{FileMark, MARK_LEN, Resume, trusted};
use rondalla::words::bitfield::wire_len;
use sha1::{Digest as _, Sha1};

/// The first two bytes are the numbers of pieces and files; the rest is a resume file, and once
/// more the body of one whose checksum is right, which chance never is.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&[pieces, files], bytes)) = bytes.split_first_chunk() else { return };
    let (pieces, files) = (u32::from(pieces), usize::from(files) % 8);
    parse(bytes, pieces, files);
    parse(&sealed(bytes), pieces, files);
}

fn parse(bytes: &[u8], pieces: u32, files: usize) {
    let resume = match Resume::parse(bytes, pieces, files) {
        Ok(resume) => resume,
        Err(error) => return assert!(!error.to_string().contains(char::is_control)),
    };
    assert_eq!(resume.emit(), bytes, "what is believed is what was written");
    assert!(bytes.len() <= Resume::len_max(pieces, files));
    assert!(bytes.len() >= wire_len(pieces) + files * MARK_LEN);
    assert_eq!((resume.pieces.len(), resume.files.len()), (pieces, files));
    assert_eq!(resume.pieces.iter().count(), resume.pieces.ones() as usize);
    let one_more =
        [Resume::parse(bytes, pieces + 8, files), Resume::parse(bytes, pieces, files + 1)];
    assert!(one_more.iter().all(Result::is_err), "it is believed for one torrent only");
    trust(resume);
}

/// Never is more believed than is claimed, and nothing of a file that is gone.
fn trust(resume: Resume) {
    let (pieces, files) = (resume.pieces.len(), resume.files.len());
    let Some(metainfo) = torrent(pieces, files) else { return };
    let resume = Resume { info_hash: metainfo.info_hash(), ..resume };
    let as_they_were = trusted(&resume, &resume.files, &metainfo);
    assert_eq!(as_they_were.len(), pieces);
    assert!(as_they_were.iter().all(|piece| resume.pieces.get(piece)));
    let gone: Vec<Option<FileMark>> = vec![None; files];
    let whole = metainfo.files().iter().all(|file| file.len > 0);
    assert!(!whole || trusted(&resume, &gone, &metainfo).ones() == 0);
    let another = Resume { info_hash: rondalla::words::id::InfoHash([0; 20]), ..resume.clone() };
    assert_eq!(trusted(&another, &resume.files, &metainfo).ones(), 0);
}

/// So many pieces of four bytes, in so many files of about one length.
fn torrent(pieces: u32, files: usize) -> Option<Metainfo> {
    let len = 4 * u64::from(pieces);
    let each = len.checked_div(files as u64)?;
    let mut lens = vec![each; files];
    *lens.last_mut()? += len - each * files as u64;
    let file = |(n, &len): (usize, &u64)| DraftFile { path: vec![n.to_string().into_bytes()], len };
    let draft = Draft {
        name: b"t".to_vec(),
        piece_length: 4,
        files: lens.iter().enumerate().map(file).collect(),
        hashes: vec![7; 20 * pieces as usize],
        ..Draft::default()
    };
    Some(Metainfo::parse(&draft.encode()).expect("a torrent as any other"))
}

/// The body under its checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    let (head, checksum) = (format!("d4:body{}:", body.len()), Sha1::digest(body));
    [head.as_bytes(), body, b"8:checksum20:", &checksum, b"7:versioni1ee"].concat()
}
