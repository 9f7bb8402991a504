//! `overflow trace` on the running kernel: a listener that nobody accepts from, in a namespace of
//! its own. What is traced must equal the kernel's counters, and a replay of the recording must
//! equal what was printed.

use std::{env, fs, io::Read, process::Command, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    OVERFLOW,
    harness::tests,
    listener::{Bound, counter},
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        what_is_traced_is_what_the_kernel_counted_and_what_a_replay_shows;
}

fn overflow_and_trace() {
    let netns = netns();
    let recording = env::temp_dir().join(format!("overflow-live-{}.rec", std::process::id()));
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--netns", &netns.to_string(), "--record"]).arg(&recording);
    let (mut child, mut stdout, mut shown) = traced(&mut command, "TIME ");

    let (_listener, _clients) = Bound::new().overflow(5);
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

fn what_is_traced_is_what_the_kernel_counted_and_what_a_replay_shows() {
    in_namespace(overflow_and_trace);
}
