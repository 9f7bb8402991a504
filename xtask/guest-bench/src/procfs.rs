//! /proc of a tool: its memory and that of the processes it started.

use std::fs;

use anyhow::{Context as _, Result};
use guest_bench::memory::Memory;

/// A number of /proc/PID/status, KiB.
pub fn status(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    kib(&text, name).with_context(|| format!("{path} has no {name}"))
}

/// Memory of this process and all below it.
pub fn memory(pid: u32) -> Result<Memory> {
    let mut memory = Memory::default();
    for pid in family(pid)? {
        memory.processes += 1;
        memory.rss_kib += status(pid, "VmRSS:")?;
        memory.anon_kib += status(pid, "RssAnon:")?;
        memory.most_kib += status(pid, "VmHWM:")?;
    }
    Ok(memory)
}

/// From now on, the most that was resident is counted anew (proc(5), `clear_refs`).
pub fn forget_peak(pid: u32) -> Result<()> {
    for pid in family(pid)? {
        let path = format!("/proc/{pid}/clear_refs");
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

/// A process and all below it.
fn family(pid: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended meanwhile.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        parents.extend(parent(&text).map(|parent| (pid, parent)));
    }
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&pid) = family.get(next) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child));
        next += 1;
    }
    Ok(family)
}

fn parent(status: &str) -> Option<u32> {
    value(status, "PPid:")?.parse().ok()
}

fn kib(status: &str, name: &str) -> Option<u64> {
    value(status, name)?.strip_suffix("kB")?.trim().parse().ok()
}

fn value<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read() {
        let status = "Name:\ttool\nPPid:\t7\nVmHWM:\t    7104 kB\nVmRSS:\t    6940 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:")), (Some(6940), Some(7104)));
        assert_eq!(kib(status, "VmSwap:"), None);
        assert_eq!(parent(status), Some(7));
    }

    #[test]
    fn a_process_is_in_its_own_family() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.processes >= 1 && memory.rss_kib > 0 && memory.most_kib >= memory.rss_kib);
    }
}
