//! What a recording has when its trace ends in another way than by Ctrl-C: all that was shown.

use std::{
    env, fs,
    io::{BufRead as _, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    listener::Bound,
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        what_was_shown_outlives_a_kill,
        a_hang_up_ends_a_recording_as_ctrl_c_does,
        a_full_disk_ends_the_trace_and_says_so;
}

fn scratch(name: &str) -> PathBuf {
    env::temp_dir().join(format!("overflow-live-{}-{name}.rec", std::process::id()))
}

/// Traces an overflow until the first drops were shown, then sends the signal: what was shown in all, and
/// a replay of the recording.
fn ended_by(signal: Signal, name: &str) -> (String, Output) {
    let (netns, file) = (netns().to_string(), scratch(name));
    let _ = fs::remove_file(&file);
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--netns", &netns, "--output", "json", "--record"]).arg(&file);
    let (mut child, mut stdout, mut shown) = traced(&mut command, r#""type":"run""#);
    let _held = Bound::new().overflow(5);
    while shown.lines().filter(|line| line.contains("\"event\"")).count() < 3 {
        assert!(stdout.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    let _ = child.wait().unwrap();
    let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    let replay = Command::new(OVERFLOW)
        .args(["replay", "--netns", &netns, "--output", "json"])
        .arg(&file)
        .output()
        .unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(mode, 0o600);
    (shown, replay)
}

fn events(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with(r#"{"type":"event""#)).collect()
}

fn what_was_shown_outlives_a_kill() {
    in_namespace(|| {
        let (shown, replay) = ended_by(Signal::KILL, "killed");
        let replayed = String::from_utf8(replay.stdout).unwrap();
        let (shown, replayed_events) = (events(&shown), events(&replayed));
        assert!(shown.len() >= 3 && replayed_events.starts_with(&shown), "{replayed}");
        // And a cut is told, whoever reads.
        let lines: Vec<Value> =
            replayed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let loss = lines.iter().find(|line| line["type"] == "loss").expect(&replayed);
        assert_eq!((&loss["what"], &loss["count"]), (&"end of the recording".into(), &1.into()));
        assert_eq!(lines.last().unwrap()["lost"], 1);
        let complaint = String::from_utf8(replay.stderr).unwrap();
        assert!(replay.status.code() == Some(1) && complaint.contains("cut off"), "{complaint}");
    });
}

fn a_hang_up_ends_a_recording_as_ctrl_c_does() {
    in_namespace(|| {
        let (shown, replay) = ended_by(Signal::HUP, "hangup");
        assert!(replay.status.success());
        assert_eq!(String::from_utf8(replay.stdout).unwrap(), shown);
    });
}

fn a_full_disk_ends_the_trace_and_says_so() {
    let traced = Command::new(OVERFLOW)
        .args(["trace", "--netns", "self", "-d", "10s", "--record", "/dev/full"])
        .output()
        .unwrap();
    let complaint = String::from_utf8(traced.stderr).unwrap();
    assert_eq!(traced.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("No space left on device"), "{complaint}");
    assert!(traced.stdout.is_empty(), "nothing is shown that was not recorded");
}
