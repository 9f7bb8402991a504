//! A busy listener with 40 clients, of which some are served late, some give up and some never hear
//! of it: what a trace says of them at its end against what they report themselves.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    OVERFLOW,
    harness::tests,
    hosts::{Host, SERVER, answered, hosts, unanswered},
    namespace::netns,
    needs::Need::{Namespaces, Program, Tracing},
    support::schema,
    trace::traced,
};

tests! {
    needs [Tracing, Namespaces, Program("ip")] alone:
        the_closing_lines_say_what_clients_report,
        aggregates_say_what_clients_report;
}

const PORT: u16 = 8080;
const BACKLOG: i32 = 7;
/// Clients that the queue takes: `sk_acceptq_is_full` is `len > backlog`.
const ROOM: usize = 8;
/// When the server begins to accept, after the last clients came.
const BUSY: Duration = Duration::from_millis(2500);
/// A dropped SYN is not sent again later than this.
const SYN_OVERDUE: Duration = Duration::from_millis(3600);
const PATIENCE: Duration = Duration::from_secs(40);
/// So often is it tried until nothing is lost.
const TRIES: usize = 3;
/// How far a client's clock and the trace may differ about a delay, which begins at one end or the
/// other.
const LEEWAY: Duration = Duration::from_millis(400);

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// Asks, and waits for the answer.
    Ask,
    /// Closes after a while without an answer.
    Close,
    /// Says nothing and believes.
    Believe,
    /// Connects for this long, and no longer.
    Impatient,
}

/// What it reports.
#[derive(Debug)]
struct Report {
    script: Script,
    /// Its own address; `None` if it never got a connection.
    local: Option<SocketAddr>,
    /// How long it took to connect, and then until the answer came.
    connected: Option<Duration>,
    answered: Option<Duration>,
}

fn client(script: Script, end: &Receiver<()>) -> Report {
    let server: SocketAddr = format!("{SERVER}:{PORT}").parse().unwrap();
    let began = Instant::now();
    let patience = if script == Script::Impatient { Duration::from_millis(300) } else { PATIENCE };
    let Ok(mut stream) = TcpStream::connect_timeout(&server, patience) else {
        return Report { script, local: None, connected: None, answered: None };
    };
    let (local, connected) = (stream.local_addr().ok(), Some(began.elapsed()));
    let mut report = Report { script, local, connected, answered: None };
    match script {
        Script::Ask => {
            let asked = Instant::now();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"ask").unwrap();
            let answer = stream.read(&mut [0; 8]);
            report.answered = answer.is_ok_and(|n| n > 0).then(|| asked.elapsed());
        }
        Script::Close => thread::sleep(Duration::from_millis(300)),
        Script::Believe | Script::Impatient => {
            let _ = end.recv();
        }
    }
    report
}

/// Starts clients on a host, all at once.
fn clients(
    host: &Host,
    scripts: Vec<Script>,
) -> (Vec<thread::JoinHandle<Report>>, Vec<Sender<()>>) {
    host.run(move || {
        let start = |script| {
            let (sender, end) = channel();
            (thread::spawn(move || client(script, &end)), sender)
        };
        scripts.into_iter().map(start).unzip()
    })
}

/// Accepts from now on, and answers whoever asks; whom, in the order of the queue.
fn serve(listener: TcpListener) -> Receiver<SocketAddr> {
    let (sender, accepted) = channel();
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            if sender.send(peer).is_err() {
                break;
            }
            thread::spawn(move || {
                if stream.read(&mut [0; 8]).is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(b"answer");
                }
            });
        }
    });
    accepted
}

/// What a trace said, what the clients report, and who of them was in the queue from the first.
struct Found {
    lines: Vec<Value>,
    reports: Vec<Report>,
    at_once: BTreeSet<SocketAddr>,
}

/// Whom a trace with these options says was hurt, and what the clients report. `None` if it says that
/// something was lost: on a busy machine a tracepoint's program may be preempted, and miss what comes
/// meanwhile.
fn hurt(options: &[&str]) -> Option<Found> {
    let (server, client) = hosts();
    server.sysctl("ipv4/tcp_syncookies", "1");
    unanswered(&server, &client);
    let netns = server.run(netns).to_string();
    let mut command = Command::new(OVERFLOW);
    command.args(["trace", "--output", "json", "--netns", &netns]).args(options);
    let (mut child, mut stdout, mut shown) = traced(&mut command, r#""type":"run""#);
    let listener = server.run(|| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let address: SocketAddr = format!("{SERVER}:{PORT}").parse().unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(BACKLOG).unwrap();
        TcpListener::from(socket)
    });

    let burst = [vec![Script::Ask; 7], vec![Script::Close; 7], vec![Script::Believe; 6]].concat();
    let (mut running, mut ends) = clients(&client, burst);
    thread::sleep(Duration::from_millis(300));
    answered(&client);
    thread::sleep(Duration::from_millis(700));
    let late = [vec![Script::Ask; 10], vec![Script::Impatient; 10]].concat();
    let (more, more_ends) = clients(&client, late);
    let came = Instant::now();
    running.extend(more);
    ends.extend(more_ends);
    thread::sleep(BUSY);
    let accepted = serve(listener);
    let (believing, others): (Vec<_>, Vec<_>) =
        running.into_iter().enumerate().partition(|(i, _)| (14..20).contains(i));
    let mut reports: Vec<Report> =
        others.into_iter().map(|(_, client)| client.join().unwrap()).collect();
    thread::sleep(SYN_OVERDUE.saturating_sub(came.elapsed()));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    stdout.read_to_string(&mut shown).unwrap();
    assert!(child.wait().unwrap().success());
    drop(ends);
    reports.extend(believing.into_iter().map(|(_, client)| client.join().unwrap()));

    let root = schema::shipped();
    let mut lines = Vec::new();
    for line in shown.lines() {
        let value: Value = serde_json::from_str(line).expect(line);
        schema::check(&root, &root, &value).unwrap_or_else(|e| panic!("{line}: {e}"));
        lines.push(value);
    }
    let summary = &lines.last().unwrap()["clients"];
    let listeners = lines.iter().filter(|l| l["type"] == "listener" && l["t_ns"].is_null());
    let hurt = |line: &Value| line["clients"]["hurt"].as_u64().unwrap();
    assert_eq!(listeners.map(hurt).sum::<u64>(), summary["hurt"], "at all listeners");
    if lines.last().unwrap()["lost"] != 0 {
        return None;
    }
    let at_once = accepted.try_iter().take(ROOM).collect();
    Some(Found { lines, reports, at_once })
}

fn check(options: &[&str]) {
    let Found { lines, reports, at_once } =
        (0..TRIES).find_map(|_| hurt(options)).expect("something was lost each time");
    let said = &lines.last().unwrap()["clients"];
    assert_eq!((reports.len(), at_once.len()), (40, ROOM));
    let hurt: Vec<&Report> = reports
        .iter()
        .filter(|client| client.local.is_none_or(|local| !at_once.contains(&local)))
        .collect();
    let count = |script| hurt.iter().filter(|client| client.script == script).count();
    let told = |name: &str| usize::try_from(said[name].as_u64().unwrap()).unwrap();
    let context = || {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        format!("{}\n{hurt:#?}", lines.join("\n"))
    };
    assert_eq!(told("hurt"), 32, "{}", context());
    assert_eq!(told("delayed"), count(Script::Ask), "{}", context());
    assert_eq!(told("gave_up"), count(Script::Close), "{}", context());
    // SYN-ACKs of requests and those with cookies can leave in any order. Whose third ACK is dropped and
    // has a request still hears from it.
    assert_eq!(told("phantom") + told("waiting"), count(Script::Believe), "{}", context());
    if options.is_empty() {
        let believing = |client: &&&Report| client.script == Script::Believe;
        let has_request = |client: &&&Report| {
            let local = client.local.map(|local| local.to_string());
            lines.iter().any(|line| {
                line["id"] == "ack.drop.overflow" && line["client"].as_str() == local.as_deref()
            })
        };
        let waiting = hurt.iter().filter(believing).filter(has_request).count();
        assert_eq!(told("waiting"), waiting, "{}", context());
    }
    assert_eq!(told("never_served"), count(Script::Impatient), "{}", context());
    assert_eq!(told("reset"), 0, "{}", context());

    // Who came first believes at once and waits for the answer; the others wait to be connected.
    let delays: Vec<Duration> = hurt
        .iter()
        .filter(|client| client.script == Script::Ask)
        .map(|client| {
            let (connected, answered) = (client.connected.unwrap(), client.answered);
            let answered = answered.unwrap_or_else(|| panic!("{}", context()));
            if connected > Duration::from_millis(700) { connected } else { answered }
        })
        .collect();
    let mut below = 0;
    for bound in [1, 3, 7, 15] {
        below += said["delayed_below_s"][bound.to_string()].as_u64().unwrap_or(0);
        let bound = Duration::from_secs(bound);
        let surely = delays.iter().filter(|delay| **delay + LEEWAY < bound).count();
        let perhaps = delays.iter().filter(|delay| **delay < bound + LEEWAY).count();
        let told = usize::try_from(below).unwrap();
        assert!((surely..=perhaps).contains(&told), "{bound:?}: {}", context());
    }
    let longest = Duration::from_nanos(said["longest_delay_ns"].as_u64().unwrap());
    assert!(longest.abs_diff(*delays.iter().max().unwrap()) < LEEWAY, "{}", context());
    let period = said["last_ns"].as_u64().unwrap() - said["first_ns"].as_u64().unwrap();
    assert!(Duration::from_nanos(period) > BUSY, "{}", context());
}

fn the_closing_lines_say_what_clients_report() {
    check(&[]);
}

fn aggregates_say_what_clients_report() {
    check(&["--summary", "1"]);
}
