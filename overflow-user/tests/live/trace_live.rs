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
        what_is_traced_is_what_the_kernel_counted_and_what_a_replay_shows,
        the_summary_says_what_is_when_it_is_printed,
        what_is_asked_for_and_not_there_is_said;
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

fn the_summary_says_what_is_when_it_is_printed() {
    in_namespace(|| {
        let mut command = Command::new(OVERFLOW);
        command.args(["trace", "--netns", "self"]);
        let (mut child, mut stdout, mut shown) = traced(&mut command, "TIME ");
        let (listener, _clients) = Bound::new().overflow(5);
        thread::sleep(Duration::from_millis(300));
        // Nothing shows either.
        let _served = [listener.accept().unwrap(), listener.accept().unwrap()];
        fs::write("/proc/sys/net/ipv4/tcp_abort_on_overflow", "1").unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        stdout.read_to_string(&mut shown).unwrap();
        assert!(child.wait().unwrap().success());
        let shown = shown.replace('\u{a0}', " ");
        assert!(shown.contains("Recv-Q 0/1 (max 2)") && shown.contains("abort=1"), "{shown}");
    });
}

fn what_is_asked_for_and_not_there_is_said() {
    let run = |args: &[&str]| {
        let output = Command::new(OVERFLOW).args(args).args(["-d", "1s"]).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(printed).unwrap().replace('\n', " "))
    };
    let (status, printed) = run(&["trace", "--cgroup", "/no/such-group"]);
    assert_eq!(status, Some(1), "{printed}");
    assert!(printed.contains("there is no control group `/no/such-group`"), "{printed}");
    let (status, printed) = run(&["trace", "--cgroup", "no-such.service"]);
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains("no TCP listener is of control group `no-such.service`"), "{printed}");
}
