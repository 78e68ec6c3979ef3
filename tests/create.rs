use std::fs;
use std::path::Path;

use ::rondalla::cli::create;
use ::rondalla::cli::failure::{Exit, Failure};
use ::rondalla::cli::options::{CreateOptions, OutputOptions};
use ::rondalla::formats::metainfo::Metainfo;
use serde_json::Value;

use crate::folder::Folder;
use crate::support::{Scratch, rondalla};
use crate::torrents;

fn options(path: &Path, to: &Path) -> CreateOptions {
    CreateOptions {
        path: path.into(),
        to: Some(to.into()),
        overwrite: false,
        piece_length: None,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        nodes: Vec::new(),
        private: false,
        comment: None,
        name: None,
        source: None,
        excludes: Vec::new(),
        follow: false,
        no_date: true,
        output: OutputOptions::default(),
    }
}

/// What went to stdout and to stderr.
fn create(options: &CreateOptions) -> Result<(Vec<u8>, String), Failure> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    create::run(options, &mut out, &mut err)?;
    Ok((out, String::from_utf8(err).unwrap()))
}

/// The torrent, made without a file.
fn made(options: CreateOptions) -> Metainfo {
    let (bytes, _) = create(&CreateOptions { to: Some("-".into()), ..options }).unwrap();
    Metainfo::parse(&bytes).unwrap()
}

fn paths(torrent: &Metainfo) -> Vec<&str> {
    torrent.files().iter().map(|file| file.path.to_str().unwrap()).collect()
}

/// The lines that `seq 1 LAST` prints.
fn seq(last: u32) -> String {
    (1..=last).map(|n| format!("{n}\n")).collect()
}

/// The data of `tests/torrents/make.sh`.
fn data() -> Folder {
    let folder = Folder::new();
    folder.write("tree/numbers.txt", seq(9000));
    folder.write("tree/sub-a", "x");
    folder.write("tree/sub/b.bin", "yy");
    folder.write("tree/sub/deep/Grüße 名前.txt", seq(20_000));
    folder.write("tree/empty-ones/first", "");
    folder.write("tree/zero", "");
    folder.write("single.dat", seq(5000));
    folder
}

#[test]
fn the_info_dictionary_is_that_of_mktorrent() {
    let data = data();
    let mut tree = options(&data.path().join("tree"), Path::new("-"));
    tree.piece_length = Some(32 * 1024);
    let theirs = torrents::read("mktorrent-tree.torrent").unwrap();
    assert_eq!(made(tree).info_bytes(), theirs.info_bytes());

    let mut single = options(&data.path().join("single.dat"), Path::new("-"));
    single.piece_length = Some(32 * 1024);
    single.private = true;
    single.source = Some("SRC".to_owned());
    let theirs = torrents::read("mktorrent-private.torrent").unwrap();
    assert_eq!(made(single).info_bytes(), theirs.info_bytes());
}

#[test]
fn the_info_dictionary_is_that_of_libtorrent() {
    let data = data();
    let single = made(options(&data.path().join("single.dat"), Path::new("-")));
    let theirs = torrents::read("libtorrent-v1-single.torrent").unwrap();
    assert_eq!(single.info_bytes(), theirs.info_bytes());
}

#[test]
fn what_is_asked_for_is_in_the_torrent() {
    let data = data();
    let to = data.path().join("out.torrent");
    let mut options = options(&data.path().join("tree"), &to);
    options.trackers =
        vec![vec!["http://a/x".to_owned(), "udp://b:1".to_owned()], vec!["http://c/y".to_owned()]];
    options.web_seeds = vec!["http://w/".to_owned()];
    options.nodes = vec!["[::1]:7".parse().unwrap(), "host:8".parse().unwrap()];
    options.comment = Some("why not".to_owned());
    options.name = Some("other name".into());
    options.no_date = false;
    let (out, err) = create(&options).unwrap();

    let torrent = Metainfo::parse(&fs::read(&to).unwrap()).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), format!("{}\n", torrent.info_hash()));
    assert_eq!(err, "");
    assert_eq!(torrent.trackers(), options.trackers);
    assert_eq!(torrent.web_seeds(), options.web_seeds);
    assert_eq!(torrent.chord_nodes(), [("::1".to_owned(), 7), ("host".to_owned(), 8)]);
    assert_eq!((torrent.name(), torrent.comment()), ("other name", Some("why not")));
    assert!(torrent.creation_date().unwrap() > 1_700_000_000);
    assert!(torrent.created_by().unwrap().starts_with("rondalla/"));
    assert_eq!(data.names(), ["out.torrent", "single.dat", "tree"]);
}

#[test]
fn the_torrent_on_stdout_leaves_stderr_to_the_info_hash() {
    let data = data();
    let mut options = options(&data.path().join("tree"), Path::new("-"));
    let (bytes, err) = create(&options).unwrap();
    let torrent = Metainfo::parse(&bytes).unwrap();
    assert_eq!(err, format!("{}\n", torrent.info_hash()));
    options.output.quiet = true;
    assert_eq!(create(&options).unwrap(), (bytes, String::new()));
}

#[test]
fn json_says_what_was_made() {
    let data = data();
    let to = data.path().join("out.torrent");
    let mut options = options(&data.path().join("single.dat"), &to);
    options.output.json = true;
    let (out, _) = create(&options).unwrap();
    let object: Value = serde_json::from_slice(&out).unwrap();
    let torrent = Metainfo::parse(&fs::read(&to).unwrap()).unwrap();
    assert_eq!(object["infohash"], torrent.info_hash().to_string());
    assert_eq!(object["path"], to.to_str().unwrap());
    assert_eq!((&object["size"], &object["pieces"]), (&Value::from(23_893), &Value::from(2)));
    assert_eq!(object["piece_length"], 16_384);
    let magnet = format!("magnet:?xt=urn:btih:{}&dn=single.dat", torrent.info_hash());
    assert_eq!(object["magnet"], magnet);
    assert_eq!(object.as_object().unwrap().len(), 6);
}

#[test]
fn many_pieces_over_many_files_are_hashed_in_order() {
    let folder = Folder::new();
    for n in 0..50_u32 {
        let bytes: Vec<u8> = (0..n * 997).map(|i| (i * n % 251).to_le_bytes()[0]).collect();
        folder.write(&format!("many/{:02}", n), bytes);
    }
    let torrent = made(options(&folder.path().join("many"), Path::new("-")));
    let whole: Vec<u8> = torrent
        .files()
        .iter()
        .flat_map(|file| fs::read(folder.path().join(&file.path)).unwrap())
        .collect();
    folder.write("whole", &whole);
    let single = made(options(&folder.path().join("whole"), Path::new("-")));
    assert!(torrent.pieces() > 70 && whole.len() as u64 == torrent.len());
    let hashes = |torrent: &Metainfo| -> Vec<[u8; 20]> {
        (0..torrent.pieces())
            .map(|n| torrent.piece_hash(::rondalla::words::id::PieceIndex(n)))
            .collect()
    };
    assert_eq!(hashes(&torrent), hashes(&single));
}

#[test]
fn an_existing_torrent_is_replaced_only_where_asked() {
    let data = data();
    let to = data.write("out.torrent", "somebody's");
    let mut options = options(&data.path().join("tree"), &to);
    let failure = create(&options).unwrap_err();
    assert_eq!(failure.exit, Exit::FileSystem);
    assert_eq!(failure.what, to.to_str().unwrap());
    assert!(failure.why.contains("--overwrite"));
    assert_eq!(fs::read(&to).unwrap(), b"somebody's");

    options.overwrite = true;
    create(&options).unwrap();
    let first = fs::read(&to).unwrap();
    create(&options).unwrap();
    assert_eq!(fs::read(&to).unwrap(), first);
    assert_eq!(data.names(), ["out.torrent", "single.dat", "tree"]);
}

#[test]
fn a_torrent_does_not_contain_itself() {
    let data = data();
    let to = data.path().join("tree/tree.torrent");
    let mut options = options(&data.path().join("tree"), &to);
    create(&options).unwrap();
    let first = fs::read(&to).unwrap();
    options.overwrite = true;
    create(&options).unwrap();
    assert_eq!(fs::read(&to).unwrap(), first);
}

#[test]
fn patterns_leave_files_and_folders_out() {
    let data = data();
    let mut options = options(&data.path().join("tree"), Path::new("-"));
    options.excludes = ["deep", "*.bin", "sub-?", "empty-ones/*"].map(str::to_owned).to_vec();
    assert_eq!(paths(&made(options.clone())), ["tree/numbers.txt", "tree/zero"]);

    options.excludes = vec!["*".to_owned()];
    let failure = create(&options).unwrap_err();
    assert_eq!((failure.exit, failure.why.as_str()), (Exit::FileSystem, "no files in this folder"));
}

#[test]
fn a_folder_of_empty_files_makes_a_torrent() {
    let folder = Folder::new();
    folder.write("empty/a", "");
    let torrent = made(options(&folder.path().join("empty"), Path::new("-")));
    assert_eq!((torrent.len(), torrent.pieces(), torrent.files().len()), (0, 0, 1));
}

#[test]
fn what_cannot_be_read_is_one_error_and_no_torrent() {
    let folder = Folder::new();
    let to = folder.path().join("out.torrent");
    let missing = create(&options(&folder.path().join("missing"), &to)).unwrap_err();
    assert_eq!(missing.exit, Exit::FileSystem);
    assert!(missing.what.ends_with("missing"));

    let data = folder.write("data", "x");
    let nowhere = create(&options(&data, &folder.path().join("no/such/out.torrent"))).unwrap_err();
    assert_eq!(nowhere.exit, Exit::FileSystem);
    let a_folder = create(&options(&data, folder.path())).unwrap_err();
    assert_eq!(a_folder.exit, Exit::FileSystem);

    for name in ["..", "a/b", ""] {
        let options = CreateOptions { name: Some(name.into()), ..options(&data, &to) };
        assert_eq!(create(&options).unwrap_err().exit, Exit::Usage);
    }
    assert_eq!(folder.names(), ["data"]);
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_only_where_asked() {
        let data = data();
        symlink("../single.dat", data.path().join("tree/link")).unwrap();
        symlink("sub", data.path().join("tree/folder")).unwrap();
        symlink("..", data.path().join("tree/sub/loop")).unwrap();
        let mut options = options(&data.path().join("tree"), Path::new("-"));
        options.excludes = vec!["deep".to_owned()];
        let (bytes, err) = create(&options).unwrap();
        assert_eq!(Metainfo::parse(&bytes).unwrap().files().len(), 5);
        assert_eq!(err.matches("left out: a symbolic link").count(), 3, "{err}");

        options.follow = true;
        let (bytes, err) = create(&options).unwrap();
        let wanted = [
            "tree/empty-ones/first",
            "tree/folder/b.bin",
            "tree/link",
            "tree/numbers.txt",
            "tree/sub-a",
            "tree/sub/b.bin",
            "tree/zero",
        ];
        assert_eq!(paths(&Metainfo::parse(&bytes).unwrap()), wanted);
        assert_eq!(err.matches("a link to a folder that it is in").count(), 2, "{err}");

        symlink("nowhere", data.path().join("tree/dangling")).unwrap();
        assert_eq!(create(&options).unwrap_err().exit, Exit::FileSystem);
    }

    /// Such a torrent would be of different files to each who reads it, and to its maker too.
    #[test]
    fn names_that_cannot_be_kept_are_refused_before_anything_is_made() {
        let folder = Folder::new();
        let top = folder.path().join("t");
        fs::create_dir_all(top.join("deep")).unwrap();
        fs::write(top.join("deep").join(OsStr::from_bytes(b"caf\xe9\x1b[2J")), "x").unwrap();
        let to = folder.path().join("out.torrent");
        let mut options = options(&top, &to);
        let failure = create(&options).unwrap_err();
        assert_eq!(failure.exit, Exit::FileSystem);
        let said = failure.to_string();
        assert!(said.contains("it would become t/deep/caf%E9_[2J; rename it"), "{said}");
        assert!(!said.contains('\x1b'));
        fs::write(top.join("_____padding_file_1"), "x").unwrap();
        let said = create(&options).unwrap_err().to_string();
        assert!(
            said.contains("its name cannot be kept (and 1 more); it would be taken for padding;"),
            "{said}"
        );
        options.name = Some("a\nb".into());
        let failure = create(&options).unwrap_err();
        assert_eq!((failure.exit, failure.what.as_str()), (Exit::Usage, "--name"));
        options.name = None;

        let whole = folder.path().join(OsStr::from_bytes(b"\xff\x07"));
        fs::write(&whole, "x").unwrap();
        let single = CreateOptions { path: whole, ..options.clone() };
        let said = create(&single).unwrap_err().to_string();
        assert!(
            said.contains("this name cannot be kept; it would become %FF_; rename it"),
            "{said}"
        );
        assert!(!to.exists());

        fs::write(top.join("kept"), "x").unwrap();
        options.excludes = vec!["caf*".to_owned(), "_____*".to_owned()];
        create(&options).unwrap();
        assert_eq!(paths(&Metainfo::parse(&fs::read(&to).unwrap()).unwrap()), ["t/kept"]);
    }

    /// Whatever name `create` takes, `verify` and `seed` find the file again.
    #[test]
    fn what_is_created_can_be_verified_and_seeded() {
        let scratch = Scratch::new();
        let longest = "é".repeat(127) + "x";
        let names = [
            " ",
            "-d",
            "...",
            ".hidden",
            "CON",
            "a\\b:c*?\"<>|",
            "dots.",
            "naïve 日本.txt",
            "%FF",
            "A",
            "a",
            "e\u{301}",
            "é",
            &longest,
        ]
        .map(OsStr::new);
        // Latin-1, Shift JIS, and what has no end.
        let bytes = [b"caf\xe9".as_slice(), b"\x83\x5c", b"\xff", b"\xe6\x97", &[0xa0; 255]];
        let names = [&names[..], &bytes.map(OsStr::from_bytes)].concat();
        for top in &names {
            let source = scratch.folder("source");
            fs::create_dir(source.join(top)).unwrap();
            for (n, name) in names.iter().enumerate() {
                let folder = source.join(top).join(name);
                fs::create_dir(&folder).unwrap();
                fs::write(folder.join(name), vec![7; 5000 * n]).unwrap();
            }
            let torrent = scratch.path("it.torrent");
            let mut create = rondalla::command();
            create.arg("create").arg("-o").arg(&torrent).arg("--overwrite");
            let made = create.arg("--").arg(source.join(top)).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            let mut verify = rondalla::command();
            let said = verify.arg("verify").arg(&torrent).arg("-d").arg(&source).output().unwrap();
            assert!(said.status.success(), "{top:?}: {said:?}");
            let (listen, options) = ("127.0.0.1:0", &[]);
            let share =
                rondalla::Share { torrent: &torrent, dir: &source, listen, peers: &[], options };
            let mut seed = share.start(&scratch, "seed", "seed");
            let checked = seed.wait_for_event("checked");
            assert_eq!(checked["good"], checked["pieces"], "{top:?}");
            assert!(seed.terminate().success());
            fs::remove_dir_all(source).unwrap();
        }
    }

    #[test]
    fn a_link_to_a_torrent_stays_a_link() {
        let folder = Folder::new();
        let data = folder.write("data", "x");
        folder.write("real.torrent", "old");
        let link = folder.path().join("link.torrent");
        symlink("real.torrent", &link).unwrap();
        let options = CreateOptions { overwrite: true, ..options(&data, &link) };
        create(&options).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(Metainfo::parse(&fs::read(folder.path().join("real.torrent")).unwrap()).is_ok());
        assert_eq!(folder.names(), ["data", "link.torrent", "real.torrent"]);
    }

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let folder = Folder::new();
        let data = folder.write("data", "x");
        create(&options(&data, Path::new("/dev/null"))).unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
