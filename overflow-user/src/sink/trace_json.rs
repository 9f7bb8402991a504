//! A live trace as JSON lines: the kinds of `docs/events.md`, with what only tracing knows added.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{
    listeners::{OwnerLine, sysctl_names},
    trace::{Closing, Interval, Listened, Moment, Opening, Totals, TraceSink},
};
use overflow_core::{
    aggregates::Waits,
    hook_point,
    verdict::{Connection, Known},
    wire,
};

/// Prints JSON lines.
#[derive(Debug, Default)]
pub struct JsonLines;

/// The `run` line of a live trace.
#[derive(Serialize)]
struct Run<'a> {
    r#type: &'static str,
    v: u32,
    tool: &'static str,
    kernel: &'a str,
    distro: Option<&'a str>,
    filter: &'a str,
    all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_s: Option<u64>,
    wall_offset_ns: i64,
    hooks: Vec<MomentLine<'a>>,
    notes: &'a [String],
}

/// A kernel moment and the rung that traces it.
#[derive(Serialize)]
struct MomentLine<'a> {
    moment: &'a str,
    rung: &'a str,
}

/// An `event` line of a live trace.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    base: wire::Event<'a>,
    netns: u32,
    id: &'static str,
    known: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reuseport_group: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<OwnerLine<'a>>,
}

/// A `listener` line of a live trace.
#[derive(Serialize)]
struct Listener<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    base: wire::Listener<'a>,
    netns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    t_ns: Option<u64>,
    duration_ms: u128,
    overflows: u64,
    phantoms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    recv_q_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syn_queue_max: Option<u32>,
    synack_retransmits: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full: Option<FullLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_wait: Option<WaitLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inodes: Vec<u64>,
    owner: Option<OwnerLine<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: BTreeMap<&'static str, u64>,
}

/// When the accept queue was full.
#[derive(Serialize)]
struct FullLine {
    times: u64,
    total_ns: u64,
    longest_ns: u64,
    now: bool,
}

/// From the way into the accept queue to accept().
#[derive(Serialize)]
struct WaitLine {
    count: u64,
    total_ns: u64,
    below_us: BTreeMap<String, u64>,
}

impl TraceSink for JsonLines {
    fn open(&mut self, out: &mut dyn Write, opening: &Opening) -> io::Result<()> {
        let hooks = opening.rungs.iter().filter(|(_, rung)| !rung.is_empty());
        let line = Run {
            r#type: "run",
            v: wire::VERSION,
            tool: concat!("overflow ", env!("CARGO_PKG_VERSION")),
            kernel: &opening.kernel,
            distro: Some(&*opening.distro).filter(|distro| !distro.is_empty()),
            filter: &opening.filter,
            all: opening.all,
            summary_s: opening.summary,
            wall_offset_ns: opening.wall_offset_ns,
            hooks: hooks.map(|(moment, rung)| MomentLine { moment, rung }).collect(),
            notes: &opening.notes,
        };
        put(out, &line)
    }

    fn moment(&mut self, out: &mut dyn Write, moment: &Moment<'_>) -> io::Result<()> {
        let (observed, stage) = (moment.observed, moment.stage);
        let (known, why) = match &stage.known {
            Known::Traced => ("traced", None),
            Known::Inferred(why) => ("inferred", Some(&**why)),
        };
        let first = moment.listeners.first();
        let line = Event {
            r#type: "event",
            base: wire::Event {
                v: wire::VERSION,
                run: None,
                t_ns: moment.t_ns,
                hook: hook_point::function(observed),
                client: Some(observed.conn.client.to_string()),
                server: Some(observed.conn.server.to_string()),
                path: stage.path,
                values: &stage.values,
            },
            netns: observed.conn.netns,
            id: stage.id.as_str(),
            known,
            why,
            listener: first.map(|l| l.place()),
            reuseport_group: Some(moment.listeners.len()).filter(|n| *n > 1),
            owner: OwnerLine::of(first.and_then(|l| l.owner.as_ref())),
        };
        put(out, &line)
    }

    fn connection(&mut self, out: &mut dyn Write, connection: &Connection) -> io::Result<()> {
        wire::line(out, &wire::Line::Connection(wire::Connection::of(connection)))
    }

    /// Nothing now: the summary has the count.
    fn suppressed(&mut self, _: &mut dyn Write, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn interval(&mut self, out: &mut dyn Write, interval: &Interval<'_>) -> io::Result<()> {
        for listened in &interval.listeners {
            let t_ns = Some(interval.t_ns);
            put(out, &listener(listened, t_ns, interval.seconds, interval.accepts))?;
        }
        Ok(())
    }

    fn close(&mut self, out: &mut dyn Write, closing: &Closing<'_>) -> io::Result<()> {
        let mut verdicts: BTreeMap<&str, u64> = BTreeMap::new();
        for listened in &closing.listeners {
            put(out, &listener(listened, None, closing.seconds, closing.accepts))?;
            for (id, count) in listened.totals.by_name() {
                let sum = verdicts.entry(id).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        let mut lost = 0;
        let not_shown = ("moments not shown for a limit on events".to_owned(), closing.suppressed);
        for (what, count) in closing.losses.iter().chain([&not_shown]).filter(|(_, n)| *n > 0) {
            lost = count.saturating_add(lost);
            let loss = wire::Loss { v: wire::VERSION, run: None, what, count: *count };
            wire::line(out, &wire::Line::Loss(loss))?;
        }
        let summary = wire::Summary {
            v: wire::VERSION,
            runs: None,
            connections: usize::try_from(closing.connections).unwrap_or(usize::MAX),
            disagreements: None,
            verdicts,
            lost,
            agree: None,
        };
        wire::line(out, &wire::Line::Summary(summary))
    }
}

fn listener<'a>(
    listened: &'a Listened<'a>,
    t_ns: Option<u64>,
    seconds: f64,
    accepts: bool,
) -> Listener<'a> {
    let totals: &Totals = listened.totals;
    let first = listened.listeners.first();
    let static_q = first.map(|l| (l.recv_q, l.send_q.unwrap_or_default()));
    let (recv_q, send_q) = totals.recv_q.or(static_q).unwrap_or_default();
    Listener {
        r#type: "listener",
        base: wire::Listener {
            v: wire::VERSION,
            run: None,
            server: listened.place.clone(),
            recv_q_before: None,
            recv_q,
            send_q,
            verdicts: totals.by_name(),
            counters: BTreeMap::new(),
        },
        netns: listened.netns,
        t_ns,
        duration_ms: Duration::from_secs_f64(seconds).as_millis(),
        overflows: totals.overflows(),
        phantoms: totals.phantoms,
        recv_q_max: totals.recv_q_max,
        syn_queue_max: totals.syn_queue_max,
        synack_retransmits: totals.synack_retransmits,
        accepts: accepts.then(|| totals.accepts()),
        full: totals.full.map(|f| FullLine {
            times: f.times,
            total_ns: f.total_ns,
            longest_ns: f.longest_ns,
            now: f.now,
        }),
        queue_wait: totals.waits.map(|w| WaitLine {
            count: w.count(),
            total_ns: w.total_ns,
            below_us: bounds(&w),
        }),
        inodes: listened.listeners.iter().map(|l| l.inode).collect(),
        owner: OwnerLine::of(first.and_then(|l| l.owner.as_ref())),
        sysctls: listened.sysctls.as_ref().map(sysctl_names).unwrap_or_default(),
    }
}

/// Buckets that anybody is in: upper bound in microseconds to count; `inf` has no bound.
fn bounds(waits: &Waits) -> BTreeMap<String, u64> {
    let last = waits.buckets.len() - 1;
    let bound = |i: usize| if i == last { "inf".to_owned() } else { (1_u64 << i).to_string() };
    let some = waits.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
    some.map(|(i, n)| (bound(i), *n)).collect()
}

fn put(out: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    // Whole: the writer is asked once for each line, not for each of its words.
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)
}
