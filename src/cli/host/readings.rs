//! Reads what the host allows: control groups, the limits of the process, the machine's memory.
//! Where there is no `/proc`, nothing is known and nothing changes.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Bound, Readings};

/// The least that a control group allows of something, by the name of the file that says so.
const GROUP_MEMORY: [(Version, &str); 2] =
    [(Version::Two, "memory.max"), (Version::One("memory"), "memory.limit_in_bytes")];
const GROUP_THREADS: [(Version, &str); 2] =
    [(Version::Two, "pids.max"), (Version::One("pids"), "pids.max")];

/// A limit of processes above this is not met by the threads of one program; whose they are need
/// not be counted.
const PROCESSES_COUNTED_MAX: u64 = 8_192;

/// Capabilities that the limit of processes does not bind (capabilities(7)).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_RESOURCE: u32 = 24;

/// One of the two ways in which Linux shows control groups (cgroups(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// One hierarchy for each controller.
    One(&'static str),
    /// One hierarchy for all.
    Two,
}

impl Readings {
    /// Those of the host on which this process runs.
    pub(in crate::cli) fn of_host() -> Self {
        Self::of(&|path| fs::read_to_string(path).ok(), &statuses)
    }

    /// Those of a host whose files `text` reads; `statuses` gives the status of each process.
    fn of(text: &dyn Fn(&Path) -> Option<String>, statuses: &dyn Fn() -> Vec<String>) -> Self {
        let proc = |name: &str| text(&Path::new("/proc").join(name));
        let status = proc("self/status").unwrap_or_default();
        let own_threads = field(&status, "Threads:").unwrap_or(1);
        let groups = proc("self/cgroup").unwrap_or_default();
        let mounts = proc("self/mountinfo").unwrap_or_default();
        let least = |kinds: [(Version, &'static str); 2]| {
            let of_kind = |(version, file)| {
                let folders = folders(&groups, &mounts, version);
                folders.into_iter().filter_map(move |folder| {
                    let max = text(&folder.join(file))?.trim().parse().ok()?;
                    Some((folder, Bound { name: file, max, taken: 0 }))
                })
            };
            kinds.into_iter().flat_map(of_kind).min_by_key(|(_, bound)| bound.max)
        };
        let group_threads = least(GROUP_THREADS).map(|(folder, bound)| {
            let current = text(&folder.join("pids.current"));
            let current: u64 = current.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            Bound { taken: current.saturating_sub(own_threads), ..bound }
        });
        let limits = proc("self/limits").unwrap_or_default();
        let processes = soft_limit(&limits, "Max processes").filter(|_| !is_exempt(&status));
        let processes = processes.map(|max| {
            let counted = if max <= PROCESSES_COUNTED_MAX { statuses() } else { Vec::new() };
            let taken = threads_of_user(&counted, &status).saturating_sub(own_threads);
            Bound { name: "the limit of processes (ulimit -u)", max, taken }
        });
        let files = "the limit of open files (ulimit -n)";
        let descriptors = soft_limit(&limits, "Max open files");
        let total = field(&proc("meminfo").unwrap_or_default(), "MemTotal:");
        Self {
            threads: group_threads.into_iter().chain(processes).collect(),
            descriptors: descriptors.map(|max| Bound { name: files, max, taken: 0 }),
            group_memory: least(GROUP_MEMORY).map(|(_, bound)| bound),
            host_memory: total.map(|kib| Bound {
                name: "MemTotal",
                max: kib.saturating_mul(1024),
                taken: 0,
            }),
        }
    }
}

/// `/proc/PID/status` of every process that may be seen.
fn statuses() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let processes =
        entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_process));
    processes.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok()).collect()
}

/// The first number behind `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The soft limit of this name in `/proc/self/limits`; `None` if there is none.
fn soft_limit(limits: &str, name: &str) -> Option<u64> {
    field(limits, name)
}

/// Whether the limit of processes does not bind this one: root's, or one with the capability.
fn is_exempt(status: &str) -> bool {
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = capabilities.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let has = |capability: u32| capabilities.unwrap_or(0) >> capability & 1 == 1;
    field(status, "Uid:") == Some(0) || has(CAP_SYS_ADMIN) || has(CAP_SYS_RESOURCE)
}

/// The threads of all processes of the user whose process has the status `ours`.
fn threads_of_user(statuses: &[String], ours: &str) -> u64 {
    let user = field(ours, "Uid:");
    let of_user = statuses.iter().filter(|status| field(status, "Uid:") == user);
    of_user.filter_map(|status| field(status, "Threads:")).sum()
}

/// The folders of the control group of this process and of those above it, as far as they can be
/// seen: `groups` is `/proc/self/cgroup`, `mounts` is `/proc/self/mountinfo` (proc(5)).
fn folders(groups: &str, mounts: &str, version: Version) -> Vec<PathBuf> {
    let is_ours = |controllers: &str| match version {
        Version::Two => controllers.is_empty(),
        Version::One(controller) => controllers.split(',').any(|name| name == controller),
    };
    let group = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        parts.next().filter(|controllers| is_ours(controllers))?;
        parts.next()
    });
    let Some(group) = group else { return Vec::new() };
    let mount = mounts.lines().find_map(|line| mount_of(line, version));
    let Some((root, mount)) = mount else { return Vec::new() };
    // In a container the group may lie outside of what is mounted: then that is the container's.
    let below = Path::new(group).strip_prefix(&root).unwrap_or_else(|_| Path::new(""));
    let lowest = mount.join(below);
    lowest.ancestors().take_while(|folder| folder.starts_with(&mount)).map(Into::into).collect()
}

/// The root of the hierarchy and where it is mounted, if this line of `mountinfo` is about it.
fn mount_of(line: &str, version: Version) -> Option<(PathBuf, PathBuf)> {
    let (place, system) = line.split_once(" - ")?;
    let mut system = system.split(' ');
    let (kind, options) = (system.next()?, system.nth(1).unwrap_or_default());
    let is_it = match version {
        Version::Two => kind == "cgroup2",
        Version::One(name) => kind == "cgroup" && options.split(',').any(|option| option == name),
    };
    let mut place = place.split(' ').skip(3);
    let (root, mount) = (place.next()?, place.next()?);
    is_it.then(|| (root.into(), unescaped(mount).into()))
}

/// A path of `mountinfo`, in which four characters are written as their octal number.
fn unescaped(path: &str) -> String {
    let escapes = [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")];
    escapes.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max processes             512                  96364                processes
Max open files            1024                 524288               files
Max address space         unlimited            unlimited            bytes
";

    const STATUS: &str = "Name:\trondalla\nUid:\t1000\t1000\t1000\t1000\nThreads:\t1\n\
                          CapEff:\t0000000000000000\n";

    /// The host with these files.
    fn host(files: &[(&str, &str)]) -> Readings {
        let text = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        };
        let other = STATUS.replace("Threads:\t1", "Threads:\t30");
        let stranger = other.replace("1000", "1001");
        Readings::of(&text, &|| vec![STATUS.to_owned(), other.clone(), stranger.clone()])
    }

    #[test]
    fn a_host_that_says_nothing_changes_nothing() {
        assert_eq!(host(&[]), Readings::default());
        let nonsense = [
            ("/proc/self/cgroup", "::\n0::\n0:x"),
            ("/proc/self/mountinfo", "1 2 3 - cgroup2\n - \n"),
            ("/proc/self/limits", "Max open files\nMax processes  many"),
            ("/proc/meminfo", "MemTotal: kB"),
        ];
        assert_eq!(host(&nonsense), Readings::default());
    }

    #[test]
    fn the_limits_of_the_process_are_read() {
        let files = [
            ("/proc/self/limits", LIMITS),
            ("/proc/self/status", STATUS),
            ("/proc/meminfo", "MemTotal:       24683656 kB\n"),
        ];
        let readings = host(&files);
        let nproc = Bound { name: "the limit of processes (ulimit -u)", max: 512, taken: 30 };
        assert_eq!(readings.threads, [nproc]);
        assert_eq!(readings.descriptors.map(|bound| bound.max), Some(1024));
        assert_eq!(readings.host_memory.map(|bound| bound.max), Some(24_683_656 * 1024));
        // Root is not bound, nor is who may do what root may.
        let root = STATUS.replace("1000", "0");
        let able = STATUS.replace("CapEff:\t0000000000000000", "CapEff:\t0000000001000000");
        for status in [root, able] {
            let files = [("/proc/self/limits", LIMITS), ("/proc/self/status", &*status)];
            assert_eq!(host(&files).threads, []);
        }
    }

    #[test]
    fn the_least_of_all_control_groups_above_is_found() {
        let files = [
            ("/proc/self/cgroup", "0::/user.slice/app.scope\n"),
            (
                "/proc/self/mountinfo",
                "25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            ),
            ("/proc/self/status", STATUS),
            ("/sys/fs/cgroup/user.slice/app.scope/memory.max", "max\n"),
            ("/sys/fs/cgroup/user.slice/memory.max", "67108864\n"),
            ("/sys/fs/cgroup/user.slice/app.scope/pids.max", "128\n"),
            ("/sys/fs/cgroup/user.slice/app.scope/pids.current", "11\n"),
            ("/sys/fs/cgroup/user.slice/pids.max", "4096\n"),
            ("/sys/fs/pids.max", "1\n"),
        ];
        let readings = host(&files);
        assert_eq!(readings.threads, [Bound { name: "pids.max", max: 128, taken: 10 }]);
        let memory = Bound { name: "memory.max", max: 64 << 20, taken: 0 };
        assert_eq!(readings.group_memory, Some(memory));
    }

    #[test]
    fn the_first_version_has_a_hierarchy_for_each_controller() {
        let mounts = "\
30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
31 25 0:27 / /sys/fs/cgroup/with\\040space/memory rw - cgroup cgroup rw,memory
32 25 0:28 /docker/ab /sys/fs/cgroup/pids rw master:9 - cgroup cgroup rw,pids
";
        let files = [
            ("/proc/self/cgroup", "5:cpu:/\n4:memory:/a\n3:name=systemd,pids:/docker/ab/c\n0::/\n"),
            ("/proc/self/mountinfo", mounts),
            ("/sys/fs/cgroup/with space/memory/a/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/with space/memory/memory.limit_in_bytes", "33554432\n"),
            ("/sys/fs/cgroup/pids/c/pids.max", "90\n"),
            ("/sys/fs/cgroup/pids/pids.max", "80\n"),
        ];
        let readings = host(&files);
        assert_eq!(readings.threads, [Bound { name: "pids.max", max: 80, taken: 0 }]);
        let memory = Bound { name: "memory.limit_in_bytes", max: 32 << 20, taken: 0 };
        assert_eq!(readings.group_memory, Some(memory));
    }

    #[test]
    fn a_group_outside_of_what_is_mounted_is_the_containers() {
        let files = [
            ("/proc/self/cgroup", "0::/../../init.scope\n"),
            (
                "/proc/self/mountinfo",
                "25 20 0:22 /kubepods/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
            ),
            ("/sys/fs/cgroup/memory.max", "1048576\n"),
        ];
        assert_eq!(host(&files).group_memory.map(|bound| bound.max), Some(1 << 20));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_host_says_how_many_files_may_be_open() {
        assert!(Readings::of_host().descriptors.is_some());
    }
}
