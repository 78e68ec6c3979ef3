//! Hosts that allow little: what the program makes of it, and that it works all the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::folder::Folder;
use crate::support::rondalla::{self, listening};
use crate::support::{Noise, Running, Scratch, Tree, number, write_noise};

/// A torrent with its data.
struct Shared {
    torrent: PathBuf,
    source: PathBuf,
}

impl Shared {
    fn new(scratch: &Scratch) -> Self {
        let source = scratch.folder("source").join("tunes");
        fs::create_dir_all(&source).unwrap();
        let mut noise = Noise::new(1);
        for n in 0..20 {
            write_noise(&source.join(n.to_string()), 40_000, &mut noise);
        }
        let torrent = scratch.path("tunes.torrent");
        rondalla::create(&source, &torrent, &["--piece-length", "16K"]);
        Self { torrent, source }
    }

    /// A seeder with no limits, and where it listens.
    fn seeder(&self, scratch: &Scratch, name: &str) -> (Running, String) {
        let mut command = rondalla::command();
        command.arg("seed").arg(&self.torrent).args([
            "--listen",
            "127.0.0.1:0",
            "--no-dht",
            "--no-lan",
            "--json",
        ]);
        command.arg("--dir").arg(self.source.parent().unwrap());
        command.arg("--state").arg(scratch.path(&format!("{name}.state")));
        let mut seeder = Running::start(scratch, name, &mut command);
        let peer = listening(&mut seeder).to_string();
        (seeder, peer)
    }

    /// `program download` of the torrent into the folder `name`.
    fn download(&self, scratch: &Scratch, name: &str, mut program: Command) -> Command {
        program.arg("download").arg(&self.torrent).args([
            "--listen",
            "127.0.0.1:0",
            "--no-dht",
            "--no-lan",
        ]);
        program.arg("--dir").arg(scratch.path(name));
        program.arg("--state").arg(scratch.path(&format!("{name}.state")));
        program
    }
}

/// The program, started by a shell behind `before`.
fn behind(before: &str) -> Command {
    let mut shell = Command::new("sh");
    let program = rondalla::command();
    shell.args(["-c", &format!("{before} && exec \"$0\" \"$@\"")]).arg(program.get_program());
    shell
}

#[test]
#[cfg(target_os = "linux")]
fn few_descriptors_are_told_of_and_enough_for_a_download() {
    let scratch = Scratch::new();
    let shared = Shared::new(&scratch);
    let seeders: Vec<_> = (0..3).map(|n| shared.seeder(&scratch, &format!("seeder{n}"))).collect();
    let mut command = shared.download(&scratch, "small", behind("ulimit -n 56"));
    for (_, peer) in &seeders {
        command.args(["--peer", peer]);
    }
    let mut small = Running::start(&scratch, "small", command.arg("-v"));
    assert_eq!(small.wait_for_exit().code(), Some(0), "{}", small.stderr());
    let stderr = small.stderr();
    let told = [
        "max-peers 6: the limit of open files (ulimit -n) is 56",
        "open files 1: the limit of open files (ulimit -n) is 56",
    ];
    for told in told {
        assert!(stderr.lines().any(|line| line == told), "{stderr}");
    }
    Tree::of(&shared.source).assert_is_at(&scratch.path("small").join("tunes"));
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_asked_for_and_does_not_fit_is_warned_of() {
    let scratch = Scratch::new();
    let shared = Shared::new(&scratch);
    let (_seeder, peer) = shared.seeder(&scratch, "seeder");
    let mut command = shared.download(&scratch, "small", behind("ulimit -n 80"));
    command.args(["--peer", &peer, "--max-peers", "31", "--json"]);
    let mut small = Running::start(&scratch, "small", &mut command);
    assert_eq!(small.wait_for_exit().code(), Some(0), "{}", small.stderr());
    let why = "--max-peers 31: this host bears 30: the limit of open files (ulimit -n) is 80";
    assert!(small.stderr().contains(&format!("rondalla: warning: {why}\n")), "{}", small.stderr());
    let events = small.events();
    let told = events.iter().find(|event| event["event"] == "warning").unwrap();
    assert_eq!(told["message"], why);
    assert_eq!(events[0]["event"], "listening");
}

/// A control group that is removed with this guard.
struct Group(Vec<PathBuf>);

impl Group {
    /// One below the root of each hierarchy that has `pids` or `memory`, with these bounds.
    fn new(pids: u64, memory: u64) -> Self {
        Self::of(pids, memory, None)
    }

    /// The same, with so many hundredths of one core.
    fn with_cpu(pids: u64, memory: u64, percent: u64) -> Self {
        Self::of(pids, memory, Some(percent))
    }

    fn of(pids: u64, memory: u64, percent: Option<u64>) -> Self {
        // Of a period of 100 ms, as it is unless it is changed.
        let quota = percent.map(|percent| percent * 1000);
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("rondalla-test-{}-{nth}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers"));
        let hierarchies = match controllers {
            Ok(controllers) => {
                assert!(controllers.contains("pids") && controllers.contains("memory"));
                fs::write(root.join("cgroup.subtree_control"), "+pids +memory").unwrap();
                let cpu = quota.map(|quota| {
                    fs::write(root.join("cgroup.subtree_control"), "+cpu").unwrap();
                    (root.to_owned(), "cpu.max", quota)
                });
                let bounds =
                    [(root.to_owned(), "pids.max", pids), (root.to_owned(), "memory.max", memory)];
                bounds.into_iter().chain(cpu).collect::<Vec<_>>()
            }
            Err(_) => {
                let bounds = [
                    (root.join("pids"), "pids.max", pids),
                    (root.join("memory"), "memory.limit_in_bytes", memory),
                ];
                let cpu = quota.map(|quota| (root.join("cpu"), "cpu.cfs_quota_us", quota));
                bounds.into_iter().chain(cpu).collect()
            }
        };
        let mut folders = Vec::new();
        for (hierarchy, file, bound) in hierarchies {
            let folder = hierarchy.join(&name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), bound.to_string()).unwrap();
            folders.push(folder);
        }
        Self(folders)
    }

    /// What a shell does to enter it.
    fn enter(&self) -> String {
        let enter = |folder: &PathBuf| format!("echo $$ >{}/cgroup.procs", folder.display());
        self.0.iter().map(enter).collect::<Vec<_>>().join(" && ")
    }

    /// The number behind `word` in the first of these files that is there.
    fn count(&self, files: &[&str], word: &str) -> u64 {
        let paths =
            self.0.iter().flat_map(|folder| files.iter().map(move |file| folder.join(file)));
        let text = paths.flat_map(fs::read_to_string).next().expect("one of them is there");
        let counts = text.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        counts.map(|count| count.parse().unwrap()).next().expect(&text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The same folder for each bound where there is one hierarchy.
        self.0.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

#[test]
#[ignore = "needs root and control groups"]
fn a_control_group_brings_the_defaults_down() {
    let scratch = Scratch::new();
    let shared = Shared::new(&scratch);
    let (_seeder, peer) = shared.seeder(&scratch, "seeder");
    let group = Group::new(128, 16 << 20);
    let mut command = shared.download(&scratch, "small", behind(&group.enter()));
    let mut small = Running::start(&scratch, "small", command.args(["--peer", &peer, "-v"]));
    assert_eq!(small.wait_for_exit().code(), Some(0), "{}", small.stderr());
    let stderr = small.stderr();
    let peers = stderr.lines().find(|line| line.starts_with("max-peers ")).expect(&stderr);
    assert!(peers.starts_with("max-peers 26: memory."), "{stderr}");
    let memory = stderr.lines().find(|line| line.starts_with("memory 4.00 MiB: memory."));
    assert!(memory.is_some_and(|line| line.ends_with(" is 16.0 MiB")), "{stderr}");
    drop(group);
    let group = Group::new(40, 1 << 30);
    let mut command = shared.download(&scratch, "fewer", behind(&group.enter()));
    let mut fewer = Running::start(&scratch, "fewer", command.args(["--peer", &peer, "-v"]));
    assert_eq!(fewer.wait_for_exit().code(), Some(0), "{}", fewer.stderr());
    let stderr = fewer.stderr();
    assert!(stderr.lines().any(|line| line == "max-peers 11: pids.max is 40"), "{stderr}");
}

/// `MIB` (1,024 in full, 64 by default) come from `SEEDERS` (50) to whoever has a quarter of a core, 32
/// MiB and 256 processes and threads, and are given on.
#[test]
#[ignore = "needs root and control groups"]
fn a_small_host_downloads_from_fifty_seeders_and_stays_inside_its_bounds() {
    let (mib, count) = (number("MIB").unwrap_or(64), number("SEEDERS").unwrap_or(50));
    let scratch = Scratch::new();
    let source = scratch.folder("source").join("films");
    fs::create_dir(&source).unwrap();
    write_noise(&source.join("film"), mib << 20, &mut Noise::new(2));
    let torrent = scratch.path("films.torrent");
    rondalla::create(&source, &torrent, &["--piece-length", "1M"]);
    let shared = Shared { torrent, source };
    // One has looked at it all; the others believe what it remembers.
    let (mut first, _) = shared.seeder(&scratch, "first");
    first.wait_for_event("checked");
    assert!(first.terminate().success());
    let seeders: Vec<_> = (0..count)
        .map(|n| {
            let name = format!("seeder{n}");
            let mut copy = Command::new("cp");
            copy.arg("-r").arg(scratch.path("first.state"));
            assert!(copy.arg(scratch.path(&format!("{name}.state"))).status().unwrap().success());
            shared.seeder(&scratch, &name)
        })
        .collect();
    let group = Group::with_cpu(256, 32 << 20, 25);
    let mut command = shared.download(&scratch, "small", behind(&group.enter()));
    command.args(["--seed", "--json", "--no-chord"]);
    for (_, peer) in &seeders {
        command.args(["--peer", peer]);
    }
    if number("MIB").is_none() {
        // Not over before all are there.
        command.args(["--limit-down", "8M"]);
    }
    let mut small = Running::start(&scratch, "small", &mut command);
    let peer = listening(&mut small).to_string();
    let finished = small.wait_for_event("finished");
    let mut command = shared.download(&scratch, "other", rondalla::command());
    command.args(["--peer", &peer, "--no-chord"]);
    let mut other = Running::start(&scratch, "other", &mut command);
    assert_eq!(other.wait_for_exit().code(), Some(0), "{}", other.stderr());
    let killed = group.count(&["memory.events", "memory.oom_control"], "oom_kill");
    let refused = group.count(&["pids.events"], "max");
    assert_eq!((killed, refused), (0, 0), "{}", small.stderr());
    let status = fs::read_to_string(format!("/proc/{}/status", small.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).expect(&status);
    let is_peer = |event: &serde_json::Value| event["state"] == "connected";
    let peers = small.events().into_iter().filter(is_peer).count();
    println!("{mib} MiB from {peers} peers in {} s, {peak}", finished["seconds"]);
    assert!(peers as u64 * 2 > count, "{}", small.stdout());
    assert!(small.terminate().success());
    for name in ["small", "other"] {
        Tree::of(&shared.source).assert_is_at(&scratch.path(name).join("films"));
    }
}

/// A folder of its own below the system's for temporary files, which another user may use, with a
/// copy of the program.
struct Elsewhere {
    folder: Folder,
    program: PathBuf,
}

/// A user who has no process.
const NOBODY: &str = "54321";

impl Elsewhere {
    fn new() -> Self {
        let folder = Folder::new();
        let program = folder.path().join("rondalla");
        fs::copy(rondalla::command().get_program(), &program).unwrap();
        let chown = Command::new("chown").args(["-R", NOBODY]).arg(folder.path()).status();
        assert!(chown.unwrap().success());
        Self { folder, program }
    }

    /// The program as another user, who may have so many threads.
    fn command(&self, threads: u32) -> Command {
        let mut command = Command::new("setpriv");
        let user = format!("--reuid={NOBODY}");
        command.args([&user, "--regid=54321", "--clear-groups", "prlimit"]);
        command.arg(format!("--nproc={threads}")).arg(&self.program);
        command
    }
}

#[test]
#[ignore = "needs root"]
fn whoever_gets_few_threads_downloads_with_few_peers() {
    let scratch = Scratch::new();
    let shared = Shared::new(&scratch);
    let elsewhere = Elsewhere::new();
    let torrent = elsewhere.folder.write("tunes.torrent", fs::read(&shared.torrent).unwrap());
    let seeders: Vec<_> = (0..12).map(|n| shared.seeder(&scratch, &format!("seed{n}"))).collect();
    let table: [(&str, &[&str], &str); 2] = [
        ("fewer", &[], "max-peers 2: the limit of processes (ulimit -u) is 22"),
        ("short", &["--max-peers", "50"], "rondalla: warning: no thread for more than "),
    ];
    for (name, options, told) in table {
        let mut command = elsewhere.command(22);
        command
            .arg("download")
            .arg(&torrent)
            .args(["--listen", "127.0.0.1:0", "--no-dht", "--no-lan", "-v"])
            .args(options);
        command.arg("--dir").arg(elsewhere.folder.path().join(name));
        command.arg("--state").arg(elsewhere.folder.path().join("state"));
        for (_, peer) in &seeders {
            command.args(["--peer", peer]);
        }
        // Slow enough for every peer to be wanted.
        command.args(["--limit-down", "400K"]);
        let mut running = Running::start(&scratch, name, &mut command);
        assert_eq!(running.wait_for_exit().code(), Some(0), "{}", running.stderr());
        let stderr = running.stderr();
        assert!(stderr.lines().any(|line| line.starts_with(told)), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        Tree::of(&shared.source).assert_is_at(&elsewhere.folder.path().join(name).join("tunes"));
    }
}

#[test]
#[ignore = "needs root"]
fn too_few_threads_to_begin_with_are_one_line_and_code_1() {
    let scratch = Scratch::new();
    let shared = Shared::new(&scratch);
    let elsewhere = Elsewhere::new();
    let torrent = elsewhere.folder.write("tunes.torrent", fs::read(&shared.torrent).unwrap());
    for threads in 1..=6 {
        let mut command = elsewhere.command(threads);
        command.arg("seed").arg(&torrent).args([
            "--listen",
            "127.0.0.1:0",
            "--no-dht",
            "--no-lan",
            "--dir",
        ]);
        command.arg(elsewhere.folder.path()).arg("--state").arg(elsewhere.folder.path());
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{threads}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{threads}: {stderr}");
        assert!(stderr.contains("cannot be started: "), "{threads}: {stderr}");
    }
}
