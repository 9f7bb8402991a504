//! `overflow server` on one host, `overflow client` on another: two network namespaces with a cable
//! between them. What the server traced is compared with what each client believes.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{Sender, channel},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    needs::Need::{Namespaces, Program, Tracing},
    support::schema,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        clients_that_come_one_by_one_find_the_queue_full_in_every_family,
        clients_that_come_at_once_all_believe_but_three_are_never_served;
}

const SERVER: &str = "10.9.0.1";
const SERVER_V6: &str = "fd09::1";
const PORT: u16 = 12345;

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own; both end together.
struct Host {
    jobs: Sender<Job>,
    tid: i32,
}

impl Host {
    fn new() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (ready, made) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ready.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            for job in todo {
                job();
            }
        });
        Self { jobs, tid: made.recv().expect("a namespace was made") }
    }

    /// Runs `job` there and waits for it.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = channel();
        self.jobs.send(Box::new(move || sender.send(job()).unwrap())).unwrap();
        result.recv().expect("the job ended early; its panic says why")
    }

    fn ip(&self, line: &str) {
        let line = line.to_owned();
        self.run(move || {
            let status = Command::new("ip").args(line.split(' ')).status().unwrap();
            assert!(status.success(), "ip {line}");
        });
    }

    fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/net/{name}");
        let value = value.to_owned();
        self.run(move || fs::write(&path, &value).unwrap_or_else(|e| panic!("{path}: {e}")));
    }

    /// The link address of its end of the cable.
    fn cable(&self) -> String {
        let show = || Command::new("ip").args(["-o", "link", "show", "cable"]).output().unwrap();
        let shown = String::from_utf8(self.run(show).stdout).unwrap();
        let mut words = shown.split_whitespace().skip_while(|word| *word != "link/ether");
        words.nth(1).unwrap_or_else(|| panic!("{shown}")).to_owned()
    }

    fn overflow(&self, line: &str) -> Child {
        let line = line.to_owned();
        self.run(move || {
            Command::new(OVERFLOW)
                .args(line.split(' '))
                .args(["--output", "json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
    }
}

/// Server and client, with a cable between them.
fn hosts() -> (Host, Host) {
    let (server, client) = (Host::new(), Host::new());
    server.ip(&format!("link add cable type veth peer name cable netns {}", client.tid));
    for (host, number) in [(&server, 1), (&client, 2)] {
        host.ip("link set lo up");
        host.ip("link set cable up");
        host.ip(&format!("addr add 10.9.0.{number}/24 dev cable"));
        host.ip(&format!("addr add fd09::{number}/64 dev cable nodad"));
    }
    (server, client)
}

/// A server that listens, with the rest of what it will say on stderr.
struct Serving {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Serving {
    fn start(host: &Host, line: &str) -> Self {
        let mut child = host.overflow(&format!("server {line}"));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut printed = String::new();
        while !printed.contains("listening at") {
            assert!(stderr.read_line(&mut printed).unwrap() > 0, "it ended: {printed}");
        }
        Self { child, stderr }
    }

    /// Waits for its end, which `asked` brings about by SIGINT: what it reported.
    fn finish(mut self, asked: bool) -> Vec<Value> {
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
fn beliefs(mut client: Child) -> BTreeMap<String, (String, Value)> {
    let reported = lines(&mut client);
    assert!(client.wait().unwrap().success());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let belief = |line: &Value| (text(&line["state"]), line["connect_error"].clone());
    reported.iter().map(|line| (text(&line["client"]), belief(line))).collect()
}

/// What became of each connection at the server, by client: its last verdict on the handshake.
fn handshakes(reported: &[Value]) -> BTreeMap<String, (String, Value)> {
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
        let believed = beliefs(client.overflow(&format!("client {to} -P {PORT} --hold 500ms")));
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
    // The SYN-ACKs wait at the server until the client answers with its link address, and so all SYNs come
    // before the first third ACK: the client knows the server's, and does not answer at first.
    server.sysctl("ipv4/neigh/cable/retrans_time_ms", "50");
    server.sysctl("ipv4/neigh/cable/mcast_solicit", "200");
    client.sysctl("ipv4/conf/cable/arp_ignore", "8");
    client.ip(&format!("neigh add {SERVER} lladdr {} dev cable nud permanent", server.cable()));
    let serving = Serving::start(&server, &format!("--bind {SERVER} --hold 4s"));
    let mut clients = client.overflow(&format!("client {SERVER} --hold 2s"));
    let mut stderr = BufReader::new(clients.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    thread::sleep(Duration::from_millis(300));
    client.sysctl("ipv4/conf/cable/arp_ignore", "0");
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
