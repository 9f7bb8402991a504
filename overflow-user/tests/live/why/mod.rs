//! `overflow why` on the running kernel: real processes that do not accept, each for another reason,
//! and the cause that is named.

mod groups;
mod server;

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use self::server::{Behaviour, Server, begin};
use crate::{
    OVERFLOW,
    harness::tests,
    namespace::{in_namespace, netns},
    needs::Need::{Namespaces, Program, Root, Tracing},
    support::schema,
    trace::traced,
};

pub use server::{is_server, serve};

tests! {
    needs [Root, Namespaces, Program("ip")]:
        whoever_does_not_accept_is_named_with_the_reason,
        a_server_that_cannot_keep_up_is_overloaded,
        a_burst_is_told_with_the_limit_that_cut_it,
        the_stuck_member_of_a_group_is_told_from_the_others,
        a_thread_that_accepted_and_ended_is_remembered,
        nothing_is_said_where_nothing_is_full;
    needs [Tracing, Root, Namespaces, Program("ip")]:
        a_trace_says_why_and_a_replay_says_the_same;
    needs [Root, Namespaces, Program("ip")] alone:
        a_server_without_cpu_is_starved,
        a_server_at_its_quota_is_throttled,
        a_frozen_server_is_stopped;
}

/// The `cause` lines of this namespace.
fn why(more: &[&str]) -> Vec<Value> {
    let output = Command::new(OVERFLOW)
        .args(["why", "--output", "json", "--netns", &netns().to_string()])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let shipped = schema::shipped();
    for line in &lines {
        schema::check(&shipped, &shipped, line).unwrap_or_else(|e| panic!("{line}\n{e}"));
    }
    lines
}

/// The ids of the causes of the listener at this server.
fn causes(lines: &[Value], server: &Server) -> Vec<String> {
    let place = server.1.to_string();
    let line = lines.iter().find(|l| l["listener"] == place.as_str());
    let Some(line) = line else { return vec!["not full".to_owned()] };
    let ids = line["causes"].as_array().unwrap().iter();
    ids.map(|cause| cause["id"].as_str().unwrap().to_owned()).collect()
}

/// What is first said of one listener that is full now; waits until it is.
fn first(server: &Server) -> Vec<String> {
    let began = Instant::now();
    loop {
        let found = causes(&why(&[]), server);
        if found != ["not full"] {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{} never becomes full", server.1);
    }
}

fn whoever_does_not_accept_is_named_with_the_reason() {
    in_namespace(|| {
        let expected = [
            (Behaviour::Futex, "cause.blocked"),
            (Behaviour::Nanosleep, "cause.blocked"),
            (Behaviour::Busy, "cause.busy"),
            (Behaviour::Descriptors, "cause.fd_limit"),
            (Behaviour::DeadThread, "cause.no_acceptor"),
            (Behaviour::Edge, "cause.no_acceptor"),
            (Behaviour::Accepts, "cause.stopped"),
        ];
        let servers = expected.map(|(behaviour, _)| Server::start(behaviour, 4, 0));
        let stopped = servers.last().unwrap();
        let pid = Pid::from_child(&stopped.0);
        kill_process(pid, Signal::STOP).unwrap();
        let clients = |server: &Server| -> Vec<_> {
            // One after the other: those that it accepts make room.
            (0..12)
                .map(|_| {
                    thread::sleep(Duration::from_millis(5));
                    begin(server.1)
                })
                .collect()
        };
        let _clients: Vec<_> = servers.iter().map(clients).collect();
        thread::sleep(Duration::from_millis(200));
        let lines = why(&[]);
        for ((behaviour, cause), server) in expected.iter().zip(&servers) {
            assert_eq!(causes(&lines, server), [*cause], "{behaviour:?}: {lines:#?}");
        }
        let said = |server: &Server| {
            let place = server.1.to_string();
            let line = lines.iter().find(|l| l["listener"] == place.as_str()).unwrap();
            assert_eq!(line["owner"]["pid"], server.pid());
            line["causes"][0]["evidence"][0].as_str().unwrap().to_owned()
        };
        assert!(said(&servers[0]).contains("futex()"), "{lines:#?}");
        assert!(said(&servers[1]).contains("nanosleep()"), "{lines:#?}");
        assert!(said(&servers[5]).contains("EPOLLET"), "{lines:#?}");
        kill_process(pid, Signal::CONT).unwrap();
    });
}

fn a_server_that_cannot_keep_up_is_overloaded() {
    in_namespace(|| {
        let server = Server::start(Behaviour::Slow, 4, 0);
        let address = server.1;
        thread::scope(|scope| {
            let came = scope.spawn(move || {
                let began = Instant::now();
                let mut clients = Vec::new();
                while began.elapsed() < Duration::from_secs(4) && clients.len() < 2000 {
                    clients.push(begin(address));
                    thread::sleep(Duration::from_millis(2));
                }
            });
            thread::sleep(Duration::from_millis(300));
            assert_eq!(first(&server), ["cause.overload"]);
            came.join().unwrap();
        });
    });
}

fn a_burst_is_told_with_the_limit_that_cut_it() {
    in_namespace(|| {
        fs::write("/proc/sys/net/core/somaxconn", "64").unwrap();
        let server = Server::start(Behaviour::Slower, 1024, 0);
        // As many as it holds, and the one that it takes at once.
        let _clients = server.connect(66);
        assert_eq!(first(&server), ["cause.burst", "cause.limit_clamped"]);
    });
}

fn the_stuck_member_of_a_group_is_told_from_the_others() {
    in_namespace(groups::uneven);
}

fn a_thread_that_accepted_and_ended_is_remembered() {
    in_namespace(|| {
        let server = Server::start(Behaviour::DeadThread, 4, 0);
        let mut watching = Command::new(OVERFLOW)
            .args(["why", "--watch", "-d", "20", "--netns", &netns().to_string()])
            .env("LC_ALL", "C.UTF-8")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(watching.stdout.take().unwrap());
        let mut shown = String::new();
        stdout.read_line(&mut shown).unwrap();
        assert!(shown.contains("1 listener watched"), "{shown}");
        let _first = server.connected();
        let _clients = server.connect(8);
        while !shown.contains("cause.no_acceptor") {
            assert!(stdout.read_line(&mut shown).unwrap() > 0, "{shown}");
        }
        while !shown.ends_with(".\n") {
            assert!(stdout.read_line(&mut shown).unwrap() > 0, "{shown}");
        }
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("which waited on this socket before, has ended"), "{shown}");
        kill_process(Pid::from_child(&watching), Signal::INT).unwrap();
        stdout.read_to_string(&mut shown).unwrap();
        assert!(watching.wait().unwrap().success());
        assert!(shown.contains("in all: nobody accepts"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    });
}

fn a_trace_says_why_and_a_replay_says_the_same() {
    in_namespace(|| {
        let server = Server::start(Behaviour::Accepts, 4, 0);
        kill_process(Pid::from_child(&server.0), Signal::STOP).unwrap();
        let netns = netns().to_string();
        let recording = env::temp_dir().join(format!("overflow-why-{}.rec", std::process::id()));
        let mut command = Command::new(OVERFLOW);
        command.args(["trace", "--why", "--netns", &netns, "--record"]).arg(&recording);
        let (mut trace, mut stdout, mut shown) = traced(&mut command, "TIME ");
        let _clients = server.connect(12);
        while !shown.contains("(cause.stopped)") {
            assert!(stdout.read_line(&mut shown).unwrap() > 0, "{shown}");
        }
        kill_process(Pid::from_child(&trace), Signal::INT).unwrap();
        stdout.read_to_string(&mut shown).unwrap();
        assert!(trace.wait().unwrap().success());
        let told = shown.find("full 5/4").unwrap();
        assert!(shown.find("syn.drop.accept_queue_full").unwrap() < told, "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let replay = |more: &[&str]| {
            let output = Command::new(OVERFLOW)
                .arg("replay")
                .arg(&recording)
                .args(["--netns", &netns])
                .args(more)
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap();
            assert!(output.status.success());
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(replay(&[]), shown);
        let lines = replay(&["--output", "json"]);
        let _ = fs::remove_file(&recording);
        let mut lines = lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        let line = lines.find(|l| l["type"] == "cause").unwrap();
        let shipped = schema::shipped();
        schema::check(&shipped, &shipped, &line).unwrap_or_else(|e| panic!("{line}\n{e}"));
        assert_eq!(line["causes"][0]["id"], "cause.stopped");
        assert_eq!(line["causes"][0]["values"]["pid"], server.pid());
        assert_eq!(line["before"], Value::Null);
    });
}

fn nothing_is_said_where_nothing_is_full() {
    in_namespace(|| {
        let server = Server::start(Behaviour::Accepts, 4, 0);
        let _client = server.connected();
        assert_eq!(why(&[]), [Value::Null; 0]);
    });
}

fn a_server_without_cpu_is_starved() {
    in_namespace(|| {
        let _others = [(); 3].map(|()| Server::start(Behaviour::Hog, 1, 0));
        let server = Server::start(Behaviour::Starved, 4, 0);
        // It listens before the others run.
        thread::sleep(Duration::from_millis(500));
        let _clients = server.connect(8);
        thread::sleep(Duration::from_millis(200));
        assert_eq!(first(&server), ["cause.cpu_starved"]);
    });
}

fn a_server_at_its_quota_is_throttled() {
    in_namespace(groups::throttled);
}

fn a_frozen_server_is_stopped() {
    in_namespace(groups::frozen);
}
