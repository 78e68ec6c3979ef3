//! What Linux tells of a process in `/proc/PID`.

use std::fs;

/// Kilobytes in memory, whatever they are for.
pub(super) fn memory_kb(pid: u32) -> u64 {
    field(pid, "status", "VmRSS:")
}

pub(super) fn threads(pid: u32) -> u64 {
    field(pid, "status", "Threads:")
}

/// A counter of `/proc/PID/io`. `rchar` and `wchar` are bytes through any `read` and `write`, of
/// files, pipes and sockets (`send` and `recv` do not count), `syscw` how
/// often `write` was called, `read_bytes` and `write_bytes` what reached a disk.
pub(super) fn io(pid: u32, which: &str) -> u64 {
    field(pid, "io", &format!("{which}:"))
}

pub(super) fn open_files(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/fd");
    fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).count() as u64
}

/// How often those of its threads that there are have waited, and so have been woken.
pub(super) fn wakings(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // One that ends meanwhile is passed over.
    let texts = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok());
    texts.map(|text| field_of(&text, "voluntary_ctxt_switches:").unwrap_or(0)).sum()
}

/// CPU time in ticks of a hundredth of a second, of all its threads.
pub(super) fn ticks(pid: u32) -> u64 {
    let stat = read(pid, "stat");
    let after_name = stat.rsplit_once(')').expect("stat has the name in brackets").1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Fields 14 and 15 of proc(5), utime and stime, where the name is the second.
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = read(pid, file);
    field_of(&text, name).unwrap_or_else(|| panic!("/proc/{pid}/{file} has no {name}\n{text}"))
}

fn field_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(pid: u32, file: &str) -> String {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}
