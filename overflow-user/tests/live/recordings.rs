//! What a recording has when its trace ends in another way than by Ctrl-C: all that was shown.

use std::{
    env, fs,
    io::{BufRead as _, Read as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    listener::Bound,
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Tracing},
    trace::{complaint, traced},
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        what_was_shown_outlives_a_kill,
        a_hang_up_ends_a_recording_as_ctrl_c_does,
        a_full_disk_ends_the_trace_and_says_so,
        of_a_flight_what_came_before_is_recorded_and_no_more;
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

/// A handshake long before, one just before, the overflow, and one long after.
fn of_a_flight_what_came_before_is_recorded_and_no_more() {
    in_namespace(|| {
        let (netns, file) = (netns().to_string(), scratch("flight"));
        let _ = fs::remove_file(&file);
        let mut command = Command::new(OVERFLOW);
        command.args(["trace", "--netns", &netns, "--output", "json", "--flight", "2s"]);
        command.arg("--record").arg(&file);
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (child, mut stdout, mut shown) = traced(&mut command, r#""type":"run""#);
        let served = |wait: u64| {
            let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
            let port = client.local_addr().unwrap().port();
            let _ = (client, server.accept().unwrap());
            thread::sleep(Duration::from_millis(wait));
            port
        };
        let (early, before) = (served(3_500), served(300));
        let _held = Bound::new().overflow(5);
        thread::sleep(Duration::from_millis(4_500));
        let after = served(500);
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        stdout.read_to_string(&mut shown).unwrap();
        let said = complaint(child);
        let replay = Command::new(OVERFLOW)
            .args(["replay", "--netns", &netns, "--output", "json", "--all"])
            .arg(&file)
            .output()
            .unwrap();
        fs::remove_file(&file).unwrap();
        assert!(said.contains("1 episode recorded"), "{said}");
        let replayed = String::from_utf8(replay.stdout).unwrap();
        assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
        // What went wrong was shown, and is recorded.
        let wrong = |text: &str| text.matches(r#""syn.drop.accept_queue_full""#).count();
        assert!(wrong(&events(&shown).concat()) >= 3, "{shown}");
        assert_eq!(wrong(&events(&replayed).concat()), wrong(&events(&shown).concat()));
        assert!(!events(&shown).concat().contains(r#""ack.accepted""#), "{shown}");
        let of = |port: u16| replayed.contains(&format!("127.0.0.1:{port}\""));
        assert_eq!((of(early), of(before), of(after)), (false, true, false), "{replayed}");
    });
}
