//! `overflow server` on one host, `overflow client` on another: two network namespaces with a cable
//! between them. What the server traced is compared with what each client believes.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    hosts::{Host, SERVER, SERVER_V6, answered, hosts, unanswered},
    needs::Need::{Namespaces, Program, Tracing},
    support::schema,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        clients_that_come_one_by_one_find_the_queue_full_in_every_family,
        clients_that_come_at_once_all_believe_but_three_are_never_served;
}

const PORT: u16 = 12345;

/// Starts the program on a host.
pub fn overflow(host: &Host, line: &str) -> Child {
    let line = line.to_owned();
    host.run(move || {
        Command::new(OVERFLOW)
            .args(line.split(' '))
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    })
}

/// A server that listens, with the rest of what it will say on stderr.
pub struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Serving {
    pub fn start(host: &Host, line: &str) -> Self {
        let mut child = overflow(host, &format!("server {line}"));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("listening at") {
            assert!(stderr.read_line(&mut printed).unwrap() > 0, "it ended: {printed}");
        }
        Self { child, stderr }
    }

    /// Waits for its end, which `asked` brings about by SIGINT: what it reported.
    pub fn finish(mut self, asked: bool) -> Vec<Value> {
        if asked {
            kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        }
        let reported = lines(&mut self.child);
        let mut printed = String::new();
        self.stderr.read_to_string(&mut printed).unwrap();
        assert!(self.child.wait().unwrap().success(), "{printed}");
        reported
    }
}

fn lines(child: &mut Child) -> Vec<Value> {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    let root = schema::shipped();
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).expect(line);
        schema::check(&root, &root, &value).unwrap_or_else(|e| panic!("{line}: {e}"));
        value
    };
    text.lines().map(line).collect()
}

/// What each client believes, by its address: (state, how connect() ended otherwise).
pub fn beliefs(mut client: Child) -> BTreeMap<String, (String, Value)> {
    let reported = lines(&mut client);
    assert!(client.wait().unwrap().success());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let belief = |line: &Value| (text(&line["state"]), line["connect_error"].clone());
    reported.iter().map(|line| (text(&line["client"]), belief(line))).collect()
}

/// What became of each connection at the server, by client: its last verdict on the handshake.
pub fn handshakes(reported: &[Value]) -> BTreeMap<String, (String, Value)> {
    let connections = reported.iter().filter(|line| line["type"] == "connection");
    connections
        .map(|line| {
            let mut ids =
                line["stages"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap());
            let handshake = ids.rfind(|id| !id.starts_with("later."));
            let client = line["client"].as_str().unwrap().to_owned();
            (client, (handshake.unwrap_or("none").to_owned(), line["outcome"].clone()))
        })
        .collect()
}

fn listener(reported: &[Value]) -> &Value {
    reported.iter().find(|line| line["type"] == "listener").expect("the listener is reported")
}

fn clients_that_come_one_by_one_find_the_queue_full_in_every_family() {
    let (server, client) = hosts();
    for (bind, to) in [(SERVER, SERVER), (SERVER_V6, SERVER_V6), ("::", SERVER)] {
        let line = format!("--bind {bind} -P {PORT}");
        let serving = Serving::start(&server, &line);
        let believed = beliefs(overflow(&client, &format!("client {to} -P {PORT} --hold 500ms")));
        let reported = serving.finish(true);
        let traced = handshakes(&reported);
        assert_eq!((believed.len(), traced.len()), (5, 5), "{bind}: {believed:?} {traced:?}");
        for (client, (state, error)) in &believed {
            let (verdict, _) = traced.get(client).unwrap_or_else(|| panic!("{client}: {traced:?}"));
            match verdict.as_str() {
                "ack.accepted" => assert_eq!(state, "ESTABLISHED", "{bind}, {client}"),
                "syn.drop.accept_queue_full" => {
                    assert_eq!((state.as_str(), error.as_str()), ("SYN_SENT", Some("pending")));
                }
                other => panic!("{bind}, {client}: {other}"),
            }
        }
        let accepted = traced.values().filter(|(id, _)| id == "ack.accepted").count();
        assert_eq!(accepted, 2, "{bind}: {traced:?}");
        let listener = listener(&reported);
        assert_eq!((&listener["recv_q"], &listener["send_q"]), (&2.into(), &1.into()), "{bind}");
        assert_eq!(listener["verdicts"]["syn.drop.accept_queue_full"], 3, "{bind}");
    }
}

fn clients_that_come_at_once_all_believe_but_three_are_never_served() {
    let (server, client) = hosts();
    server.sysctl("ipv4/tcp_syncookies", "1");
    unanswered(&server, &client);
    let serving = Serving::start(&server, &format!("--bind {SERVER} --hold 4s"));
    let mut clients = overflow(&client, &format!("client {SERVER} --hold 2s"));
    let mut stderr = BufReader::new(clients.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    thread::sleep(Duration::from_millis(300));
    answered(&client);
    let believed = beliefs(clients);
    assert_eq!(believed.len(), 5);
    assert!(believed.values().all(|(state, _)| state == "ESTABLISHED"), "{believed:?}");
    let traced = handshakes(&serving.finish(false));
    assert!(traced.keys().eq(believed.keys()), "{traced:?}");
    let count = |wanted: &str| traced.values().filter(|(id, _)| id == wanted).count();
    // The same on every kernel since v4.4, whichever way the two got in.
    let accepted = count("ack.accepted") + count("ack.accepted.cookie");
    assert_eq!((accepted, count("ack.drop.overflow.cookie")), (2, 3), "{traced:?}");
    // They closed before the server did, unserved: nobody believes in their connections any more.
    let given_up = |(_, outcome): &&(String, Value)| outcome == "ack.drop.overflow.cookie";
    assert_eq!(traced.values().filter(given_up).count(), 3, "{traced:?}");
}
