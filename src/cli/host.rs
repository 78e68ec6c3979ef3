//! The defaults of `--max-peers` and `--memory`, and the number of open files: as much as the host
//! bears.
//!
//! `readings` looks at the host; here its bounds become numbers, each with its reason.

mod readings;

use std::fmt;

use crate::words::limits;
use crate::words::units::Size;

/// What the host allows this process, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Readings {
    /// Bounds of the number of threads: `pids.max`, the limit of processes.
    pub(super) threads: Vec<Bound>,
    /// The limit of open files.
    pub(super) descriptors: Option<Bound>,
    /// What this process and its neighbours in the control group may take.
    pub(super) group_memory: Option<Bound>,
    /// What the machine has for everybody.
    pub(super) host_memory: Option<Bound>,
}

/// One bound of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// What people know it by.
    pub(super) name: &'static str,
    /// The most of it.
    pub(super) max: u64,
    /// Of that, what others have taken.
    pub(super) taken: u64,
}

impl Bound {
    fn left(&self) -> u64 {
        self.max.saturating_sub(self.taken)
    }

    fn of_memory(&self) -> String {
        format!("{} is {}", self.name, Size(self.max))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.name, self.max)?;
        if self.taken > 0 { write!(f, ", of which {} are taken", self.taken) } else { Ok(()) }
    }
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    pub(super) max_peers: Option<u32>,
    pub(super) memory: Option<u64>,
    /// Torrents of this run: each has a lock, which is a descriptor.
    pub(super) torrents: usize,
}

/// What this run may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Means {
    pub(super) max_peers: u32,
    /// Bytes.
    pub(super) memory: u64,
    pub(super) files_open: usize,
    /// For whatever is less than usual, how much it is and why: a line each.
    pub(super) reasons: Vec<String>,
    /// For whatever was asked for and does not fit, why: a line each.
    pub(super) warnings: Vec<String>,
}

impl Means {
    /// What `wishes` come to on this host.
    pub(super) fn of_host(wishes: Wishes) -> Self {
        Self::of(&Readings::of_host(), wishes)
    }

    /// What `wishes` come to on a host with these bounds. What was asked for is not changed, up to
    /// [`limits::PEERS_MAX`].
    pub(super) fn of(readings: &Readings, wishes: Wishes) -> Self {
        let torrents = u64::try_from(wishes.torrents).unwrap_or(u64::MAX);
        let (mut peers, mut memory) = (Share::default(), Share::default());
        for bound in &readings.threads {
            let bears = bound.left().saturating_sub(limits::THREADS_BESIDE_PEERS);
            let bears = bears / limits::PEER_THREADS;
            peers.bound(bears, bears, || bound.to_string());
        }
        let beside = limits::DESCRIPTORS_BESIDE_PEERS.saturating_add(torrents);
        let descriptors = readings.descriptors.map(|bound| bound.left().saturating_sub(beside));
        if let (Some(bound), Some(left)) = (readings.descriptors, descriptors) {
            // A quarter is for the torrents' files.
            peers.bound(left - left / 4, left.saturating_sub(1), || bound.to_string());
        }
        let of_host = readings.host_memory.map(|bound| (bound, limits::HOST_MEMORY_PARTS));
        let of_group = readings.group_memory.map(|bound| (bound, 1));
        for (bound, parts) in of_group.into_iter().chain(of_host) {
            let rest = |all: u64| all.saturating_sub(limits::PROCESS_MEMORY);
            let (ours, all) = (rest(bound.left() / parts), rest(bound.left()));
            memory.bound(ours / 2, all, || bound.of_memory());
            let (ours, all) = (ours / 4 / limits::PEER_MEMORY, all / limits::PEER_MEMORY);
            peers.bound(ours, all, || bound.of_memory());
        }

        let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
        let count = |n: u64| n.to_string();
        let wish = wishes.max_peers.map(u64::from);
        let usual = limits::PEERS_DEFAULT.into();
        let max_peers = peers.take("max-peers", wish, usual, 1, count, &mut reasons, &mut warnings);
        let size = |bytes: u64| Size(bytes).to_string();
        let (usual, least) = (limits::MEMORY_DEFAULT, limits::MEMORY_DEFAULT_MIN);
        let memory =
            memory.take("memory", wishes.memory, usual, least, size, &mut reasons, &mut warnings);

        let most = limits::PEERS_MAX.into();
        if max_peers > most {
            warnings.push(format!("--max-peers {max_peers}: {most} are the most"));
        }
        let max_peers = max_peers.min(most);

        let mut files = Share::default();
        if let (Some(bound), Some(left)) = (readings.descriptors, descriptors) {
            let left = left.saturating_sub(max_peers);
            files.bound(left, left, || bound.to_string());
        }
        let usual = limits::FILES_OPEN_MAX as u64;
        let files_open =
            files.take("open files", None, usual, 1, count, &mut reasons, &mut warnings);
        Self {
            max_peers: u32::try_from(max_peers).unwrap_or(u32::MAX),
            memory,
            files_open: usize::try_from(files_open).unwrap_or(usize::MAX),
            reasons,
            warnings,
        }
    }
}

/// The least that the bounds leave of one thing: as a default, and at all.
#[derive(Debug, Default)]
struct Share {
    default: Option<(u64, String)>,
    at_all: Option<(u64, String)>,
}

impl Share {
    fn bound(&mut self, default: u64, at_all: u64, why: impl Fn() -> String) {
        for (least, bears) in [(&mut self.default, default), (&mut self.at_all, at_all)] {
            if least.as_ref().is_none_or(|(least, _)| bears < *least) {
                *least = Some((bears, why()));
            }
        }
    }

    /// What was wished, or at most `usual` of what there is.
    #[expect(clippy::too_many_arguments, reason = "three calls, side by side")]
    fn take(
        self,
        name: &str,
        wish: Option<u64>,
        usual: u64,
        least: u64,
        show: impl Fn(u64) -> String,
        reasons: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> u64 {
        match (wish, self.default, self.at_all) {
            (Some(wish), _, Some((at_all, why))) if wish > at_all => {
                warnings.push(format!(
                    "--{name} {}: this host bears {}: {why}",
                    show(wish),
                    show(at_all)
                ));
                wish
            }
            (Some(wish), ..) => wish,
            (None, Some((default, why)), _) if default < usual => {
                let taken = default.max(least);
                reasons.push(format!("{name} {}: {why}", show(taken)));
                taken
            }
            (None, ..) => usual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bound(name: &'static str, max: u64) -> Bound {
        Bound { name, max, taken: 0 }
    }

    fn picture(readings: &Readings, wishes: Wishes) -> String {
        let means = Means::of(readings, wishes);
        let numbers = format!(
            "{} peers, {}, {} files",
            means.max_peers,
            Size(means.memory),
            means.files_open
        );
        let warnings = means.warnings.into_iter().map(|warning| format!("! {warning}"));
        let lines = means.reasons.into_iter().chain(warnings);
        lines.fold(numbers, |all, line| all + "; " + &line)
    }

    #[test]
    fn a_default_is_as_much_as_the_host_bears() {
        let none = Readings::default();
        let threads = |max, taken| Readings {
            threads: vec![Bound { name: "pids.max", max, taken }],
            ..Readings::default()
        };
        let files =
            |max| Readings { descriptors: Some(bound("ulimit -n", max)), ..Readings::default() };
        let group =
            |max| Readings { group_memory: Some(bound("memory.max", max)), ..Readings::default() };
        let host =
            |max| Readings { host_memory: Some(bound("MemTotal", max)), ..Readings::default() };
        let usual = "100 peers, 16.0 MiB, 128 files";
        let table = [
            (none, usual),
            (threads(218, 0), usual),
            (threads(128, 0), "55 peers, 16.0 MiB, 128 files; max-peers 55: pids.max is 128"),
            (
                threads(128, 40),
                "35 peers, 16.0 MiB, 128 files; max-peers 35: pids.max is 128, of which 40 are taken",
            ),
            (
                threads(3, 9),
                "1 peers, 16.0 MiB, 128 files; max-peers 1: pids.max is 3, of which 9 are taken",
            ),
            (files(276), usual),
            (files(256), "100 peers, 16.0 MiB, 108 files; open files 108: ulimit -n is 256"),
            (
                files(64),
                "12 peers, 16.0 MiB, 4 files; max-peers 12: ulimit -n is 64; open files 4: ulimit -n is 64",
            ),
            (
                files(10),
                "1 peers, 16.0 MiB, 1 files; max-peers 1: ulimit -n is 10; open files 1: ulimit -n is 10",
            ),
            (group(40 * MIB), usual),
            (
                group(37 * MIB),
                "97 peers, 14.5 MiB, 128 files; max-peers 97: memory.max is 37.0 MiB; memory 14.5 MiB: memory.max is 37.0 MiB",
            ),
            (
                group(16 * MIB),
                "26 peers, 4.00 MiB, 128 files; max-peers 26: memory.max is 16.0 MiB; memory 4.00 MiB: memory.max is 16.0 MiB",
            ),
            (
                group(MIB),
                "1 peers, 256 KiB, 128 files; max-peers 1: memory.max is 1.00 MiB; memory 256 KiB: memory.max is 1.00 MiB",
            ),
            (host(160 * MIB), usual),
            (
                host(64 * MIB),
                "26 peers, 4.00 MiB, 128 files; max-peers 26: MemTotal is 64.0 MiB; memory 4.00 MiB: MemTotal is 64.0 MiB",
            ),
        ];
        for (readings, expected) in table {
            assert_eq!(picture(&readings, Wishes::default()), expected, "{readings:?}");
        }
    }

    #[test]
    fn of_several_bounds_the_least_is_told() {
        let readings = Readings {
            threads: vec![bound("pids.max", 128), bound("ulimit -u", 96)],
            descriptors: Some(bound("ulimit -n", 1024)),
            group_memory: Some(bound("memory.max", 64 * MIB)),
            host_memory: Some(bound("MemTotal", 1024 * MIB)),
        };
        let expected = "39 peers, 16.0 MiB, 128 files; max-peers 39: ulimit -u is 96";
        assert_eq!(picture(&readings, Wishes::default()), expected);
    }

    #[test]
    fn what_was_asked_for_stays_and_is_warned_of() {
        let readings = Readings {
            threads: vec![bound("pids.max", 128)],
            descriptors: Some(bound("ulimit -n", 256)),
            group_memory: Some(bound("memory.max", 32 * MIB)),
            host_memory: None,
        };
        let wishes = |max_peers, memory| Wishes { max_peers, memory, torrents: 0 };
        let table = [
            (wishes(Some(55), Some(24 * MIB)), "55 peers, 24.0 MiB, 128 files"),
            (
                wishes(Some(56), Some(25 * MIB)),
                "56 peers, 25.0 MiB, 128 files; \
                 ! --max-peers 56: this host bears 55: pids.max is 128; \
                 ! --memory 25.0 MiB: this host bears 24.0 MiB: memory.max is 32.0 MiB",
            ),
            (
                wishes(Some(u32::MAX), Some(MIB)),
                "32768 peers, 1.00 MiB, 1 files; open files 1: ulimit -n is 256; \
                 ! --max-peers 4294967295: this host bears 55: pids.max is 128; \
                 ! --max-peers 4294967295: 32768 are the most",
            ),
        ];
        for (wishes, expected) in table {
            assert_eq!(picture(&readings, wishes), expected);
        }
    }

    #[test]
    fn each_torrent_has_a_lock() {
        let readings =
            Readings { descriptors: Some(bound("ulimit -n", 256)), ..Readings::default() };
        let wishes = Wishes { torrents: 8, ..Wishes::default() };
        assert_eq!(Means::of(&readings, wishes).files_open, 100);
    }
}
