//! A ring that is too small for a burst: what is lost is counted and shown, what is reported is never
//! wrong, and the counts are right all the same. Two traces see the same burst, one by a ring of a
//! page, one by a ring in which all of it has room.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::{
    OVERFLOW,
    harness::tests,
    listener::counter,
    namespace::in_namespace,
    needs::Need::{Namespaces, Program, Tracing},
    support::connections::{assert_consistent, connections},
    trace::complaint,
};

tests! {
    // A burst that fills a ring keeps others from their deadlines, and needs most of the
    // descriptors that a process may have.
    needs [Tracing, Namespaces, Program("ip")] alone:
        a_burst_beyond_the_ring_is_counted_whole_and_told_without_a_wrong_word;
}

/// Fewer than a process may have files open, and more than there is room for.
const CLIENTS: usize = 800;
/// Room for some 26 records.
const SMALL: &str = "4K";
const LARGE: &str = "64M";
const PATIENCE: Duration = Duration::from_mins(1);

struct Trace {
    child: Child,
    lines: Receiver<String>,
    reported: Vec<Value>,
}

impl Trace {
    /// A trace of this thread's namespace.
    fn start(ring: &str) -> Self {
        let mut child = Command::new(OVERFLOW)
            .args(["trace", "--netns", "self", "--all", "--output", "json", "--ring-size", ring])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        let mut trace = Self { child, lines, reported: Vec::new() };
        // JSON has no header: it traces as soon as it reports something.
        let began = Instant::now();
        while trace.reported.is_empty() {
            assert!(began.elapsed() < PATIENCE, "nothing was traced");
            assert!(trace.child.try_wait().unwrap().is_none(), "{}", complaint(trace.child));
            // By tracepoints alone, only listeners opened from now on are traced.
            let probe = TcpListener::bind("127.0.0.1:0").unwrap();
            drop(TcpStream::connect(probe.local_addr().unwrap()).unwrap());
            trace.take(Duration::from_millis(300));
        }
        trace
    }

    fn take(&mut self, within: Duration) {
        while let Ok(line) = self.lines.recv_timeout(within) {
            self.reported.push(serde_json::from_str(&line).expect(&line));
        }
    }

    /// Everything it reported, and what it printed of losses, if anything.
    fn finish(mut self) -> (Vec<Value>, Option<String>) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let mut printed = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut printed).unwrap();
        self.take(PATIENCE);
        assert!(self.child.wait().unwrap().success(), "{printed}");
        let lost = printed.lines().find(|line| line.starts_with("overflow: lost "));
        (self.reported, lost.map(str::to_owned))
    }
}

fn of_type<'a>(lines: &'a [Value], name: &str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["type"] == name)
}

/// What the kernel counted at a listener: handshakes by verdict.
fn verdicts(lines: &[Value], server: SocketAddr) -> Vec<(String, u64)> {
    let mut listeners = of_type(lines, "listener").filter(|l| l["server"] == server.to_string());
    let listener = listeners.next().expect("the listener is reported");
    let verdicts = listener["verdicts"].as_object().unwrap().iter();
    let handshakes = verdicts.filter(|(id, _)| !id.starts_with("later."));
    handshakes.map(|(id, n)| (id.clone(), n.as_u64().unwrap())).collect()
}

fn burst() {
    let large = Trace::start(LARGE);
    let small = Trace::start(SMALL);

    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    let server = address.as_socket().unwrap();
    let before = counter("ListenOverflows");
    let clients: Vec<Socket> = (0..CLIENTS)
        .map(|_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            // In progress, or already there.
            let _ = client.connect(&address);
            client
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    drop(clients);
    let overflows = counter("ListenOverflows") - before;
    assert!(overflows >= (CLIENTS - 9) as u64, "{overflows}");
    let (all, printed) = large.finish();
    assert_eq!((printed, of_type(&all, "loss").count()), (None, 0));
    let (reported, printed) = small.finish();

    let lost: u64 = of_type(&reported, "loss").map(|line| line["count"].as_u64().unwrap()).sum();
    assert!(lost > 0, "{CLIENTS} SYNs had room in {SMALL}");
    assert_eq!(printed, Some(format!("overflow: lost {lost} ebpf ring_full")));
    assert_eq!(of_type(&reported, "summary").next().unwrap()["lost"], lost);

    let here = |lines: &[Value]| {
        let lines = lines.iter().filter(|line| line["server"] == server.to_string());
        lines.cloned().collect::<Vec<_>>()
    };
    let truth = connections(&here(&all));
    assert_eq!(truth.len(), CLIENTS);
    let part = connections(&here(&reported));
    assert!((1..CLIENTS).contains(&part.len()), "{} of {CLIENTS} are reported", part.len());
    assert_consistent(&here(&reported), &truth, "the small ring");

    // What is counted does not go through the ring.
    let counted = verdicts(&reported, server);
    assert_eq!(counted, verdicts(&all, server));
    let full: Vec<_> =
        counted.iter().filter(|(id, _)| id == "syn.drop.accept_queue_full").collect();
    assert_eq!(full, [&("syn.drop.accept_queue_full".to_owned(), overflows)]);
}

fn a_burst_beyond_the_ring_is_counted_whole_and_told_without_a_wrong_word() {
    in_namespace(burst);
}
