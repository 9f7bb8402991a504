//! Where live tests listen and connect: in a network namespace that nobody else sees.

use std::{fs, os::unix::fs::MetadataExt, panic, process::Command, thread};

use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a network namespace of its own with its loopback up.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        test();
    };
    // The namespace is the thread's; it goes away with it.
    thread::spawn(run).join().unwrap_or_else(|why| panic::resume_unwind(why));
}

/// The inode number of the calling thread's network namespace.
pub fn netns() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}
