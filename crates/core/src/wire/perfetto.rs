//! Lines as a trace in the JSON format that Perfetto and `chrome://tracing` read: a process for each
//! listener with its queues as counters, a slice for each connection with its verdicts.
//!
//! The format is "Trace Event Format" of the Chromium project: `ph` is the kind of an event, times are
//! microseconds.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{Number, Serializer, Value, json};

use super::{Connection, Event, Line, Lines, Loss, Owner, Run, Stage};
use crate::{explain::Lang, text::untrusted::EscapedJson, verdict::VerdictId};

/// So many listeners have a track of their own; all others share one. Whoever wrote a recording may
/// have put any number into it.
const MOST_LISTENERS: usize = 4096;
/// The process of what concerns the trace as a whole.
const TRACE: usize = 1;
/// Its listeners without a track of their own.
const OTHERS: usize = 2;
/// The first listener's.
const FIRST: usize = 3;

/// Writes the trace of the lines it is given; it is whole once the summary has come.
#[derive(Debug)]
pub struct Perfetto<W> {
    out: W,
    buffer: Vec<u8>,
    /// Of a listener by namespace, address and socket: its process.
    listeners: BTreeMap<Place, usize>,
    others: bool,
    begun: bool,
    connections: u64,
    /// The latest time so far, nanoseconds.
    last_ns: u64,
}

type Place = (Option<u32>, String, Option<u64>);

impl<W: Write> Perfetto<W> {
    /// To `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            buffer: Vec::new(),
            listeners: BTreeMap::new(),
            others: false,
            begun: false,
            connections: 0,
            last_ns: 0,
        }
    }

    /// Where the events begin; `other`: what is known of the trace as a whole.
    fn begin(&mut self, other: &Value) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        self.put(other, "{\"displayTimeUnit\":\"ms\",\"otherData\":")?;
        self.out.write_all(b",\"traceEvents\":[\n")?;
        let name =
            json!({"ph": "M", "name": "process_name", "pid": TRACE, "args": {"name": "overflow"}});
        self.put(&name, "")
    }

    fn event(&mut self, event: &Value) -> io::Result<()> {
        self.begin(&json!({}))?;
        self.put(event, ",\n")
    }

    fn put(&mut self, event: &Value, before: &str) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(before.as_bytes());
        event.serialize(&mut Serializer::with_formatter(&mut self.buffer, EscapedJson))?;
        self.out.write_all(&self.buffer)
    }

    fn run(&mut self, run: &Run<'_>) -> io::Result<()> {
        let Run { tool, kernel, distro, notes, .. } = run;
        self.begin(&json!({"tool": tool, "kernel": kernel, "distro": distro, "notes": notes}))?;
        self.event(&json!({
            "ph": "M", "name": "process_labels", "pid": TRACE, "args": {"labels": kernel},
        }))
    }

    /// The process of a listener; it is named when it is first met.
    fn listener(&mut self, place: Place, owner: Option<&Owner<'_>>) -> io::Result<usize> {
        if let Some(pid) = self.listeners.get(&place) {
            return Ok(*pid);
        }
        if self.listeners.len() >= MOST_LISTENERS {
            if !self.others {
                self.others = true;
                self.name(OTHERS, "other listeners")?;
            }
            return Ok(OTHERS);
        }
        let pid = FIRST + self.listeners.len();
        let (netns, address, _) = &place;
        let owner = owner.map(|owner| format!(" {}/{}", owner.comm, owner.pid)).unwrap_or_default();
        let netns = netns.map(|netns| format!(", netns {netns}")).unwrap_or_default();
        let name = format!("{address}{owner}{netns}");
        self.listeners.insert(place, pid);
        self.name(pid, &name)?;
        Ok(pid)
    }

    fn name(&mut self, pid: usize, name: &str) -> io::Result<()> {
        self.event(
            &json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}),
        )?;
        self.event(&json!({"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}))
    }

    /// What an event read of its listener's queues.
    fn queues(&mut self, event: &Event<'_>) -> io::Result<()> {
        let place = event.listener.as_deref().map(str::to_owned);
        let Some(place) = place.or_else(|| event.server.map(|server| server.to_string())) else {
            return Ok(());
        };
        let pid = self.listener((event.netns, place, event.inode), event.owner.as_ref())?;
        self.last_ns = self.last_ns.max(event.t_ns);
        for (name, length) in [
            ("accept queue", event.values.sk_ack_backlog),
            ("accept queue limit", event.values.sk_max_ack_backlog),
            ("SYN queue", event.values.syn_queue_len),
        ] {
            if let Some(length) = length {
                self.event(&json!({
                    "ph": "C", "name": name, "pid": pid, "ts": micros(event.t_ns), "args": {"value": length},
                }))?;
            }
        }
        Ok(())
    }

    /// From its first stage to its last; each stage is a mark on it.
    fn connection(&mut self, connection: &Connection<'_>) -> io::Result<()> {
        let Some(t0) = connection.t0_ns else { return Ok(()) };
        let place = connection.listener.as_deref().map(str::to_owned);
        let place = place.unwrap_or_else(|| connection.server.to_string());
        let place = (connection.netns, place, connection.inode);
        let pid = self.listener(place, connection.owner.as_ref())?;
        self.connections += 1;
        let name = connection.outcome.map_or("unknown", VerdictId::as_str);
        // Slices of one name share a row of tracks; an id of its own keeps them apart in it.
        let of = |ph: &str, name: &str, t: u64, args: Value| {
            json!({
                "ph": ph, "cat": "connection", "name": name, "id": format!("0x{:x}", self.connections),
                "pid": pid, "tid": pid, "ts": micros(t), "args": args,
            })
        };
        let label = connection.outcome.map(|id| id.label(Lang::En));
        let args = json!({
            "client": connection.client.to_string(),
            "server": connection.server.to_string(),
            "outcome": label,
            "gave_up": connection.gave_up,
            "synack_retransmits": connection.synack_retransmits_ns.len(),
            "verdicts": connection.stages.iter().map(|stage| stage.id.as_str()).collect::<Vec<_>>(),
        });
        let end = t0.saturating_add(last(connection));
        let mut events = vec![of("b", name, t0, args)];
        let stages = connection.stages.iter();
        events.extend(stages.map(|s| of("n", s.id.as_str(), t0.saturating_add(s.t_ns), stage(s))));
        events.push(of("e", name, end, json!({})));
        self.last_ns = self.last_ns.max(end);
        events.iter().try_for_each(|event| self.event(event))
    }

    fn loss(&mut self, loss: &Loss<'_>) -> io::Result<()> {
        let name = format!("lost: {}", loss.what);
        let args = json!({"count": loss.count, "meaning": loss.meaning});
        let ts = micros(self.last_ns);
        self.event(&json!({"ph": "i", "s": "g", "name": name, "pid": TRACE, "tid": 0, "ts": ts, "args": args}))
    }
}

impl<W: Write> Lines for Perfetto<W> {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        match line {
            Line::Run(run) => self.run(run),
            Line::Event(event) => self.queues(event),
            Line::Connection(connection) => self.connection(connection),
            Line::Loss(loss) => self.loss(loss),
            Line::Summary(_) => {
                self.begin(&json!({}))?;
                self.out.write_all(b"\n]}\n")
            }
            // Sums, and what is of another command: they have no place in time.
            Line::Listener(_)
            | Line::Audit(_)
            | Line::Cause(_)
            | Line::Scenario(_)
            | Line::Client(_)
            | Line::Handshake(_)
            | Line::Endpoint(_)
            | Line::Capture(_)
            | Line::Doctor(_)
            | Line::Topic(_)
            | Line::Whatif(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn stage(stage: &Stage<'_>) -> Value {
    json!({
        "verdict": stage.id.label(Lang::En),
        "known": stage.known.as_str(),
        "why": stage.why,
        "path": stage.path,
        "values": stage.values,
        "again": stage.repeats_ns.len(),
    })
}

/// When the last thing happened to it, nanoseconds from its first stage.
fn last(connection: &Connection<'_>) -> u64 {
    let stages = connection.stages.iter();
    let times = stages.flat_map(|s| s.repeats_ns.iter().chain([&s.t_ns]));
    times.chain(&connection.synack_retransmits_ns).copied().max().unwrap_or(0)
}

/// Microseconds with the nanoseconds behind the point, exactly.
fn micros(ns: u64) -> Number {
    let text = format!("{}.{:03}", ns / 1000, ns % 1000);
    text.parse().unwrap_or_else(|_| (ns / 1000).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &[&str] = &[
        r#"{"type":"run","v":1,"tool":"overflow 0.1.0","kernel":"6.12.1","hooks":[],"notes":[]}"#,
        r#"{"type":"event","v":1,"t_ns":1000500,"hook":"h","client":"10.0.0.1:1","server":"10.0.0.2:80","values":{"sk_ack_backlog":2,"sk_max_ack_backlog":1},"netns":7,"id":"ack.drop.overflow","listener":"0.0.0.0:80","inode":9,"owner":{"pid":5,"comm":"a\"\u001b[2J","pids":[5]}}"#,
        r#"{"type":"connection","v":1,"client":"10.0.0.1:1","server":"10.0.0.2:80","t0_ns":1000500,"stages":[{"id":"syn.queued","t_ns":0,"known":"traced"},{"id":"ack.drop.overflow","t_ns":200000000,"known":"inferred","why":"x","repeats_ns":[400000000]}],"outcome":"ack.drop.overflow","netns":7,"listener":"0.0.0.0:80","inode":9}"#,
        r#"{"type":"loss","v":1,"what":"ring_full","count":3}"#,
        r#"{"type":"summary","v":1,"connections":1,"verdicts":{},"lost":3}"#,
    ];

    fn trace(lines: &[&str]) -> String {
        let mut perfetto = Perfetto::new(Vec::new());
        for line in lines {
            let line: Line<'_> =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            perfetto.line(&line).unwrap();
        }
        String::from_utf8(perfetto.out).unwrap()
    }

    fn events(lines: &[&str]) -> Vec<Value> {
        let trace: Value = serde_json::from_str(&trace(lines)).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    }

    #[test]
    fn a_connection_is_a_slice_and_a_queue_is_a_counter() {
        let events = events(LINES);
        let of = |ph: &str| events.iter().filter(|e| e["ph"] == ph).collect::<Vec<_>>();
        let counters = of("C");
        assert_eq!(counters.len(), 2);
        assert_eq!(counters[0]["name"], "accept queue");
        assert_eq!(counters[0]["args"]["value"], 2);
        assert_eq!(counters[0]["ts"].to_string(), "1000.5");
        let (begun, ended) = (of("b"), of("e"));
        assert_eq!((begun.len(), ended.len(), of("n").len()), (1, 1, 2));
        assert_eq!(begun[0]["name"], "ack.drop.overflow");
        assert_eq!(begun[0]["id"], ended[0]["id"]);
        assert_eq!(begun[0]["pid"], counters[0]["pid"]);
        assert_eq!(ended[0]["ts"].to_string(), "401000.5");
        assert_eq!(begun[0]["args"]["client"], "10.0.0.1:1");
        assert!(events.iter().any(|e| e["name"] == "lost: ring_full" && e["args"]["count"] == 3));
    }

    #[test]
    fn names_are_told_and_do_nothing() {
        let text = trace(LINES);
        assert!(!text.contains('\u{1b}') && text.contains(r"\u001b"), "{text}");
        let named =
            events(LINES).into_iter().find(|e| e["pid"] == FIRST && e["name"] == "process_name");
        assert_eq!(named.unwrap()["args"]["name"], "0.0.0.0:80 a\"\u{1b}[2J/5, netns 7");
    }

    #[test]
    fn nothing_is_a_trace_as_well() {
        assert_eq!(events(&LINES[4..]).len(), 1);
        let told: Value = serde_json::from_str(&trace(LINES)).unwrap();
        assert_eq!(told["otherData"]["kernel"], "6.12.1");
    }

    #[test]
    fn listeners_without_end_share_a_track() {
        let mut perfetto = Perfetto::new(Vec::new());
        for port in 0..MOST_LISTENERS as u64 + 5 {
            let place = (None, "a".to_owned(), Some(port));
            let pid = perfetto.listener(place, None).unwrap();
            assert_eq!(pid == OTHERS, port >= MOST_LISTENERS as u64);
        }
    }
}
