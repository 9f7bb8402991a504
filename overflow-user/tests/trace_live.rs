//! `overflow trace` on the running kernel: a listener that nobody accepts from, in a namespace of
//! its own. What is traced must equal the kernel's counters, and a replay of the recording must
//! equal what was printed.
//!
//! Needs the privileges of tracing; says so and passes where they are missing.

mod live;

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use live::{counter, overflow};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};

const OVERFLOW: &str = env!("CARGO_BIN_EXE_overflow");

/// Brings up loopback in the calling thread's namespace.
fn loopback_up() {
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(status.success());
}

fn netns() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").unwrap().ino()
}

/// Starts tracing `netns` and waits for the header.
fn start(
    netns: u64,
    recording: &Path,
) -> Option<(Child, BufReader<std::process::ChildStdout>, String)> {
    let mut child = Command::new(OVERFLOW)
        .args(["trace", "--netns", &netns.to_string(), "--record"])
        .arg(recording)
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut head = String::new();
    while !head.contains("TIME ") {
        if stdout.read_line(&mut head).unwrap() == 0 {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(1));
            // Nothing else is a reason to test nothing.
            assert!(why.contains("eBPF") || why.contains("no hook attaches"), "{why}");
            eprintln!("tracing is not possible here, nothing is tested: {why}");
            return None;
        }
    }
    Some((child, stdout, head))
}

fn overflow_and_trace() {
    if let Err(why) = unshare(CloneFlags::CLONE_NEWNET) {
        eprintln!("no namespace can be made here, nothing is tested: {why}");
        return;
    }
    loopback_up();
    let netns = netns();
    let recording = env::temp_dir().join(format!("overflow-live-{}.rec", std::process::id()));
    let Some((mut child, mut stdout, mut shown)) = start(netns, &recording) else { return };

    let (_listener, _clients) = overflow();
    thread::sleep(Duration::from_millis(300));
    let overflows = counter("ListenOverflows");
    assert!(overflows >= 3, "{overflows}");

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    let drops = shown.lines().filter(|l| l.contains("syn.drop.accept_queue_full 2/1")).count();
    assert_eq!(drops as u64, overflows, "{shown}");
    assert!(shown.contains(&format!("ListenOverflows {overflows},")), "{shown}");
    let me = format!("/{}", std::process::id());
    assert!(shown.lines().filter(|l| l.contains("full 2/1")).all(|l| l.ends_with(&me)), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");

    let replay = Command::new(OVERFLOW)
        .arg("replay")
        .arg(&recording)
        .args(["--netns", &netns.to_string()])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let _ = fs::remove_file(&recording);
    assert!(replay.status.success());
    assert_eq!(String::from_utf8(replay.stdout).unwrap(), shown);
}

#[test]
fn what_is_traced_is_what_the_kernel_counted_and_what_a_replay_shows() {
    // The namespace is the thread's; it goes away with it.
    thread::spawn(overflow_and_trace).join().unwrap();
}
