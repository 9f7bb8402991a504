//! Where live tests listen and connect: in a network namespace that nobody else sees.

use std::{process::Command, thread};

use nix::sched::{CloneFlags, unshare};

/// Runs `test` in a network namespace of its own with its loopback up.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        if let Err(why) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("no namespace can be made here, nothing is tested: {why}");
            return;
        }
        let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        test();
    };
    // The namespace is the thread's; it goes away with it.
    thread::spawn(run).join().unwrap();
}
