//! What the kernel says of a process, and waiting for it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::Pid;

/// For what takes a second; a loaded machine is slower.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A field of `/proc/PID/status`.
pub fn status(pid: Pid, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(":"));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
}

/// Waits until something is so; fails if it does not come about.
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}
