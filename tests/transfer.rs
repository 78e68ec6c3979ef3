//! Downloads and uploads between two processes of the built program, option by option.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, write_noise};

/// A seeder that runs, of a folder of three files, `a` (300,000 bytes), `b` (500,000) and `empty`.
struct Swarm {
    scratch: Scratch,
    torrent: PathBuf,
    source: PathBuf,
    seeder: Running,
    peer: String,
}

impl Swarm {
    fn new(seed_options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let source = scratch.folder("source").join("tunes");
        fs::create_dir_all(&source).unwrap();
        let mut noise = Noise::new(1);
        write_noise(&source.join("a"), 300_000, &mut noise);
        write_noise(&source.join("b"), 500_000, &mut noise);
        fs::write(source.join("empty"), b"").unwrap();
        let torrent = scratch.path("tunes.torrent");
        rondalla::create(&source, &torrent, &["--piece-length", "16K"]);
        let mut command = rondalla::command();
        command.arg("seed").arg(&torrent).args([
            "--listen",
            "127.0.0.1:0",
            "--no-dht",
            "--no-lan",
            "--json",
        ]);
        command.arg("--dir").arg(source.parent().unwrap()).args(seed_options);
        command.arg("--state").arg(scratch.path("seeder-state"));
        let mut seeder = Running::start(&scratch, "seeder", &mut command);
        let peer = listening(&mut seeder).to_string();
        Self { scratch, torrent, source, seeder, peer }
    }

    /// `rondalla download` of the torrent into the folder `name`, from the seeder.
    fn download(&self, name: &str, options: &[&str]) -> Command {
        let mut command = rondalla::command();
        command.arg("download").arg(&self.torrent).args([
            "--listen",
            "127.0.0.1:0",
            "--no-dht",
            "--no-lan",
            "--json",
        ]);
        command.arg("--dir").arg(self.scratch.path(name)).args(["--peer", &self.peer]);
        command.arg("--state").arg(self.scratch.path(&format!("{name}-state"))).args(options);
        command
    }

    fn run(&self, name: &str, options: &[&str]) -> Running {
        let mut download = Running::start(&self.scratch, name, &mut self.download(name, options));
        let status = download.wait_for_exit();
        assert_eq!(status.code(), Some(0), "{}", download.stderr());
        download
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path(name).join("tunes")
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

fn same(a: &Path, b: &Path) -> bool {
    fs::read(a).unwrap() == fs::read(b).unwrap()
}

#[test]
fn a_download_ends_complete_and_a_second_one_touches_nothing() {
    let swarm = Swarm::new(&[]);
    let first = swarm.run("leecher", &[]);
    Tree::of(&swarm.source).assert_is_at(&swarm.at("leecher"));
    let events = first.events();
    let mut kinds = kinds(&events);
    // When the node joins the ring is a matter of chance.
    kinds.retain(|kind| *kind != "ring");
    assert_eq!(kinds[..3], ["listening", "started", "checked"], "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "finished").count(), 1);
    let finished = events.iter().find(|event| event["event"] == "finished").unwrap();
    assert_eq!(finished["bytes"], 800_000);

    let again = swarm.run("leecher", &[]);
    let events = again.events();
    let checked = events.iter().find(|event| event["event"] == "checked").unwrap();
    assert_eq!(checked["good"], checked["pieces"], "the resume file vouches for all");
    assert!(!events.iter().any(|event| event["event"] == "checking"), "nothing is hashed");
    let finished = events.iter().find(|event| event["event"] == "finished").unwrap();
    assert_eq!(finished["bytes"], 0);
}

/// The same bytes on both sides, and to a program that asks for the path; people are shown others.
#[test]
#[cfg(unix)]
fn names_that_are_not_utf8_are_kept_byte_for_byte() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let scratch = Scratch::new();
    let bytes = OsStr::from_bytes;
    let source = scratch.folder("source");
    let top = source.join(bytes(b"caf\xe9 1"));
    let mut noise = Noise::new(1);
    for name in [b"\xff\xfe".as_slice(), b"d\xe9j\xe0/vu\x9b", b"d\xe9j\xe0/\x83\x5c"] {
        write_noise(&top.join(bytes(name)), 100_000, &mut noise);
    }
    fs::write(top.join(bytes(b"\xa0")), b"").unwrap();
    let torrent = scratch.path("it.torrent");
    rondalla::create(&top, &torrent, &["--piece-length", "16K"]);
    let shown = rondalla::show(&torrent);
    assert_eq!(
        (&shown["name"], &shown["files"][0]["path"]),
        (&"caf%E9 1".into(), &"caf%E9 1/d%E9j%E0/vu%9B".into())
    );

    let share = |dir, peers, options| rondalla::Share {
        torrent: &torrent,
        dir,
        listen: "127.0.0.1:0",
        peers,
        options,
    };
    let mut seeder = share(&source, &[], &[]).start(&scratch, "seeder", "seed");
    let peer = [listening(&mut seeder)];
    let copy = scratch.path("copy");
    let mut download = share(&copy, &peer, &[]).start(&scratch, "download", "download");
    assert!(download.wait_for_exit().success(), "{}", download.stderr());
    Tree::of(&source).assert_is_at(&copy);
    let finished = download.wait_for_event("finished");
    assert!(finished["path"].as_str().unwrap().ends_with("copy/caf%E9 1"), "{finished}");

    let mut again = rondalla::command();
    again.arg("download").arg(&torrent).args(["--listen", "127.0.0.1:0"]);
    again.args(["--no-chord", "--no-dht", "--no-lan"]);
    again.arg("--dir").arg(&copy).arg("--state").arg(scratch.path("download.state"));
    let again = again.output().unwrap();
    assert!(again.status.success(), "{again:?}");
    let path = bytes(again.stdout.trim_ascii_end());
    assert_eq!(path, copy.join(bytes(b"caf\xe9 1")));
}

#[test]
fn selected_files_are_whole_and_others_are_not_asked_for() {
    let swarm = Swarm::new(&[]);
    let download = swarm.run("leecher", &["--select", "1", "--sequential"]);
    assert!(same(&swarm.source.join("a"), &swarm.at("leecher").join("a")));
    let finished = download.events().into_iter().find(|event| event["event"] == "finished");
    // The 19 pieces that hold the 300,000 bytes of the first file, and no other.
    assert_eq!(finished.unwrap()["bytes"], 19 * 16 * 1024);
    let verify = |select: &str| {
        let mut verify = rondalla::command();
        verify.arg("verify").arg(&swarm.torrent).arg("--dir").arg(swarm.scratch.path("leecher"));
        verify.args(["--select", select]).status().unwrap().code()
    };
    assert_eq!([verify("1"), verify("2"), verify("9")], [Some(0), Some(3), Some(2)]);
    swarm.run("leecher", &["--select", "2-3"]);
    Tree::of(&swarm.source).assert_is_at(&swarm.at("leecher"));
}

#[test]
fn a_ratio_ends_both_sides_and_the_hook_sees_closed_files() {
    let mut swarm = Swarm::new(&["--seed-ratio", "1"]);
    let told = swarm.scratch.path("told");
    let hook = format!(
        "echo $RONDALLA_INFOHASH \"$RONDALLA_NAME\" >'{told}'; ls \"$RONDALLA_PATH\" >>'{told}'; \
         exit 3",
        told = told.display()
    );
    let download = swarm.run("leecher", &["--on-done", &hook, "--seed-time", "0.001"]);
    let status = swarm.seeder.wait_for_exit();
    assert_eq!(status.code(), Some(0), "{}", swarm.seeder.stderr());
    let infohash = rondalla::show(&swarm.torrent)["infohash"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(told).unwrap(), format!("{infohash} tunes\na\nb\nempty\n"));
    let stderr = download.stderr();
    assert!(stderr.contains("warning: tunes: --on-done ended with exit status: 3"), "{stderr}");
}

#[test]
fn a_limited_download_is_complete_as_well() {
    // Speed is a benchmark's business; here the bucket must only let everything through.
    let swarm = Swarm::new(&["--limit-up", "4M"]);
    swarm.run("leecher", &["--limit-down", "2M"]);
    Tree::of(&swarm.source).assert_is_at(&swarm.at("leecher"));
}

#[test]
fn a_trace_tells_the_journey_of_every_block() {
    let swarm = Swarm::new(&[]);
    let trace = swarm.scratch.path("trace");
    swarm.run("leecher", &["--trace", trace.to_str().unwrap()]);
    let trace = fs::read_to_string(trace).unwrap();
    let lines: Vec<Value> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let line = line.as_object().unwrap();
        assert!(line["time"].is_f64() && line["thread"].is_string(), "{line:?}");
        assert!(line["peer"].is_null() || line["peer"].is_u64(), "{line:?}");
        assert!(["notification", "order"].contains(&line["way"].as_str().unwrap()), "{line:?}");
    }
    let times: Vec<_> = lines.iter().map(|line| line["time"].as_f64().unwrap()).collect();
    assert!(times.is_sorted());
    assert!(!lines.iter().any(|line| line["what"] == "Dropped"), "the queue takes 49 pieces");
    for piece in 0..49 {
        let at = |way: &str, thread: &str, what: &str| {
            let is_it = |line: &Value| {
                let thread_is = |name: &str| name.starts_with(thread);
                line["piece"] == piece
                    && (line["way"] == way && line["what"] == what)
                    && line["thread"].as_str().is_some_and(thread_is)
            };
            let place = lines.iter().position(is_it);
            place.unwrap_or_else(|| panic!("no {what} of piece {piece} in\n{trace}"))
        };
        let journey = [
            at("notification", "peer-0-in", "Block"),
            at("order", "storage", "Store"),
            at("notification", "storage", "Verified"),
        ];
        assert!(journey.is_sorted(), "{piece}: {journey:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_trace_that_cannot_be_written_is_told_and_stops_nothing_else() {
    let swarm = Swarm::new(&[]);
    let full = swarm.run("leecher", &["--trace", "/dev/full"]);
    let told = "rondalla: warning: --trace: No space left on device; it ends here\n";
    assert!(full.stderr().contains(told), "{}", full.stderr());
    Tree::of(&swarm.source).assert_is_at(&swarm.at("leecher"));
    let output = swarm.download("nowhere", &["--trace", "/nowhere/at/all"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6));
    assert!(!swarm.at("nowhere").exists());
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let swarm = Swarm::new(&[]);
    fs::create_dir_all(swarm.at("leecher")).unwrap();
    fs::write(swarm.at("leecher").join("a"), b"somebody's own words").unwrap();
    let mut refused =
        Running::start(&swarm.scratch, "refused", &mut swarm.download("leecher", &[]));
    assert_eq!(refused.wait_for_exit().code(), Some(6), "{}", refused.stderr());
    assert!(refused.stderr().contains("--overwrite"), "{}", refused.stderr());
    assert_eq!(fs::read(swarm.at("leecher").join("a")).unwrap(), b"somebody's own words");
    swarm.run("leecher", &["--overwrite"]);
    Tree::of(&swarm.source).assert_is_at(&swarm.at("leecher"));
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let swarm = Swarm::new(&[]);
    let mut first = swarm.download("leecher", &["--limit-down", "32K"]);
    let mut first = Running::start(&swarm.scratch, "first", &mut first);
    first.wait_for_event("checked");
    let mut second = Running::start(&swarm.scratch, "second", &mut swarm.download("leecher", &[]));
    assert_eq!(second.wait_for_exit().code(), Some(6), "{}", second.stderr());
    assert!(second.stderr().contains("in use"), "{}", second.stderr());
    // A signal before it is done: the state is saved, and the same command resumes.
    assert_eq!(first.terminate().code(), Some(7), "{}", first.stderr());
    swarm.run("leecher", &[]);
    Tree::of(&swarm.source).assert_is_at(&swarm.at("leecher"));
}

#[test]
fn nobody_to_download_from_ends_with_a_timeout() {
    let scratch = Scratch::new();
    let source = scratch.path("lonely");
    fs::write(&source, b"a word").unwrap();
    let torrent = scratch.path("lonely.torrent");
    rondalla::create(&source, &torrent, &[]);
    let mut command = rondalla::command();
    command.arg("download").arg(&torrent).args([
        "--timeout",
        "1",
        "--listen",
        "127.0.0.1:0",
        "--no-dht",
        "--no-lan",
    ]);
    command.arg("--dir").arg(scratch.path("empty")).arg("--state").arg(scratch.path("state"));
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("rondalla: lonely: no peer answered"), "{stderr}");
}

#[test]
fn encryption_that_is_required_is_had_and_whoever_has_none_gets_nothing() {
    let swarm = Swarm::new(&["--encryption", "require"]);
    let whole = Tree::of(&swarm.source);
    for (name, options) in [("asked", &[][..]), ("required", &["--encryption", "require"])] {
        swarm.run(name, options);
        whole.assert_is_at(&swarm.at(name));
    }
    let options = ["--encryption", "off", "--timeout", "2", "-v"];
    let mut off = swarm.download("off", &options);
    let mut off = Running::start(&swarm.scratch, "off", &mut off);
    assert_eq!(off.wait_for_exit().code(), Some(5), "{}", off.stderr());
    assert!(off.stdout().contains("it closed the connection"), "{}", off.stdout());
}
