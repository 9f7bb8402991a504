//! The calling thread's own files in procfs: a thread of the lab has a network namespace of its own, and
//! `/proc/self` and `/proc/net` are about the main thread's.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// `/proc/thread-self`, as far as there is one: since v3.17 (0097875bd415).
const THREAD_SELF: &str = "/proc/thread-self";

/// A file or directory of the calling thread, such as `ns/net` or `net/netstat`.
///
/// Older kernels resolve `/proc/TID` for any thread, though they list processes alone
/// (`proc_pid_lookup`); their `/proc/self/task/TID` has no `net` (6ba8ed79a3cc, v3.17).
pub fn file(name: &str) -> PathBuf {
    static NEW: LazyLock<bool> = LazyLock::new(|| Path::new(THREAD_SELF).is_dir());
    of(*NEW, rustix::thread::gettid().as_raw_nonzero().get(), name)
}

fn of(thread_self: bool, tid: i32, name: &str) -> PathBuf {
    let own = if thread_self { PathBuf::from(THREAD_SELF) } else { format!("/proc/{tid}").into() };
    own.join(name)
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[test]
    fn both_places_are_the_same_threads() {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let tid = rustix::thread::gettid().as_raw_nonzero().get();
                [true, false].map(|new| fs::read_to_string(of(new, tid, "status")).unwrap())
            });
            let of_pid = |status: &str| {
                let mut lines = status.lines();
                lines.find_map(|line| line.strip_prefix("Pid:").map(str::to_owned)).unwrap()
            };
            let [new, old] = worker.join().unwrap();
            assert_eq!(of_pid(&new), of_pid(&old));
        });
    }

    #[test]
    fn it_has_what_is_read_of_it() {
        for name in ["status", "ns/net", "net/netstat", "net/tcp"] {
            assert!(file(name).exists(), "{name}");
        }
    }
}
