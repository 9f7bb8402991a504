//! `overflow trace` on the running kernel, where an address does not tell which listener it is: a
//! `SO_REUSEPORT` group, one port at two addresses, a server that restarts, more listeners than any
//! table used to hold. What is said of each must be what its socket did.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    listener::counter,
    namespace::in_namespace,
    needs::Need::{Namespaces, Program, Tracing},
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")]:
        the_member_of_a_group_that_overflowed_is_named,
        a_port_at_two_addresses_is_two_listeners,
        a_server_that_restarts_is_named_at_once,
        the_last_of_thousands_of_listeners_is_traced;
}

/// Tells this program to be a server that never accepts: `ADDRESS BACKLOG`.
const SERVER: &str = "OVERFLOW_TEST_SERVER";

/// Whether this process is such a server.
pub fn is_server() -> bool {
    env::var_os(SERVER).is_some()
}

/// Listens until stdin is closed.
pub fn serve() {
    let asked = env::var(SERVER).unwrap();
    let (address, backlog) = asked.split_once(' ').unwrap();
    let _socket = listening(address.parse().unwrap(), backlog.parse().unwrap());
    println!("listening");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A socket that listens, and shares its address with others that do.
fn listening(address: SocketAddr, backlog: i32) -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(backlog).unwrap();
    socket
}

/// A server in a process of its own.
struct Server(Child);

impl Server {
    fn start(address: SocketAddr, backlog: i32) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .env(SERVER, format!("{address} {backlog}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "listening\n");
        Self(child)
    }

    fn pid(&self) -> u64 {
        self.0.id().into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A trace of this thread's namespace.
struct Trace {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Trace {
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(OVERFLOW);
        command.args(["trace", "--netns", "self", "--output", "json"]).args(options);
        let (child, stdout, _) = traced(&mut command, r#""type":"run""#);
        Self { child, stdout }
    }

    /// Ends it: its lines of this type.
    fn end(mut self, kind: &str) -> Vec<Value> {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let mut shown = String::new();
        self.stdout.read_to_string(&mut shown).unwrap();
        assert!(self.child.wait().unwrap().success());
        let lines = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let found = lines.filter(|line| line["type"] == kind || line["type"] == "loss").collect();
        assert!(!shown.contains(r#""type":"loss""#), "{shown}");
        found
    }
}

/// Connects so many times; some SYNs are dropped.
fn connect(server: SocketAddr, clients: usize) -> Vec<TcpStream> {
    let timeout = Duration::from_millis(60);
    let clients = (0..clients).filter_map(|_| TcpStream::connect_timeout(&server, timeout).ok());
    let clients = clients.collect();
    thread::sleep(Duration::from_millis(200));
    clients
}

fn overflowed(lines: &[Value]) -> impl Iterator<Item = &Value> {
    lines.iter().filter(|line| line["id"] == "syn.drop.accept_queue_full")
}

fn the_member_of_a_group_that_overflowed_is_named() {
    in_namespace(|| {
        let address = "127.0.0.1:8443".parse().unwrap();
        // Older than the trace; the first one in the group's table is not always asked first.
        let (well, stuck) = (Server::start(address, 64), Server::start(address, 0));
        let all = Trace::start(&[]);
        let of_stuck = Trace::start(&["-p", &stuck.pid().to_string()]);
        let of_well = Trace::start(&["-p", &well.pid().to_string()]);
        let _clients = connect(address, 32);
        let overflows = counter("ListenOverflows");
        assert!(overflows > 0, "none of 32 came to the one that is stuck");
        let listeners = all.end("listener");
        let [group] = &listeners[..] else { panic!("{listeners:?}") };
        assert_eq!(group["overflows"], overflows);
        let members = group["members"].as_array().unwrap();
        let of = |pid: u64| members.iter().find(|m| m["owner"]["pid"] == pid).unwrap();
        assert_eq!(of(stuck.pid())["overflows"], overflows, "{group}");
        assert_eq!(of(stuck.pid())["recv_q"], 1);
        assert_eq!(of(well.pid())["overflows"], 0, "{group}");
        let events = of_stuck.end("event");
        assert_eq!(overflowed(&events).count() as u64, overflows);
        for event in overflowed(&events) {
            assert_eq!(event["owner"]["pid"], stuck.pid(), "{event}");
            assert_eq!(
                (&event["inode"], &event["reuseport_group"]),
                (&of(stuck.pid())["inode"], &2.into())
            );
        }
        assert_eq!(overflowed(&of_well.end("event")).count(), 0);
    });
}

fn a_port_at_two_addresses_is_two_listeners() {
    in_namespace(|| {
        let (a, b) = ("127.0.0.1:8080".parse().unwrap(), "127.0.0.2:8080".parse().unwrap());
        for closed in [false, true] {
            let trace = Trace::start(&[]);
            let before = counter("ListenOverflows");
            let _full = listening(a, 1);
            let beside = listening(b, 64);
            if closed {
                drop(beside);
            }
            let _clients = connect(a, 5);
            let overflows = counter("ListenOverflows") - before;
            assert!(overflows >= 3, "{overflows}");
            let listeners = trace.end("listener");
            let [one] = &listeners[..] else { panic!("{listeners:?}") };
            assert_eq!(
                (&one["server"], &one["overflows"]),
                (&"127.0.0.1:8080".into(), &overflows.into())
            );
        }
    });
}

fn a_server_that_restarts_is_named_at_once() {
    in_namespace(|| {
        let address = "127.0.0.1:8081".parse().unwrap();
        let trace = Trace::start(&[]);
        let mut pids = Vec::new();
        let mut told = Vec::new();
        for _ in 0..3 {
            let before = counter("ListenOverflows");
            let server = Server::start(address, 0);
            drop(connect(address, 3));
            pids.push(server.pid());
            told.push(counter("ListenOverflows") - before);
        }
        let events = trace.end("event");
        let named = |pid: u64| {
            overflowed(&events).filter(|event| event["owner"]["pid"] == pid).count() as u64
        };
        let named: Vec<u64> = pids.iter().map(|pid| named(*pid)).collect();
        assert_eq!(named, told, "{events:?}");
        assert_eq!(overflowed(&events).count() as u64, told.iter().sum::<u64>());
    });
}

fn the_last_of_thousands_of_listeners_is_traced() {
    const LISTENERS: u16 = 4200;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    assert!(most > u64::from(LISTENERS) + 1000, "at most {most} files can be open");
    in_namespace(|| {
        let trace = Trace::start(&[]);
        let address = |n: u16| SocketAddr::from(([127, 0, 0, 1], 20_000 + n));
        let _listeners: Vec<_> = (0..LISTENERS).map(|n| listening(address(n), 1)).collect();
        let last = LISTENERS - 1;
        let _clients = [connect(address(0), 5), connect(address(last), 5)];
        let overflows = counter("ListenOverflows");
        let events = trace.end("event");
        assert_eq!(overflowed(&events).count() as u64, overflows);
        let of_last = address(last).to_string();
        assert!(overflowed(&events).any(|event| event["listener"] == of_last), "{events:?}");
    });
}
