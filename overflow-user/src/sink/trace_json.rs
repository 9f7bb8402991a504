//! A live trace as lines, JSON or not yet: the kinds of `docs/events.md`, with what only tracing knows added.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use super::{
    audit_text,
    listeners::sysctl_names,
    trace::{
        Audited, Caused, Closing, Finished, Full, JudgedEvent, Listened, Message, Opening, Sink,
        Totals, Whose, certain_owner,
    },
};
use overflow_core::{
    aggregates::Waits,
    audit::unaccounted,
    cause::Change,
    hook_point,
    listeners::Listener,
    loss::Loss,
    wire::{self, Counts, Line, Lines},
};

/// Makes lines of messages.
#[derive(Debug)]
pub struct TraceLines<L> {
    to: L,
    /// Whether only aggregates are shown.
    aggregates_only: bool,
    /// How much the audit left unaccounted when that was last printed.
    unaccounted: u64,
}

impl<W: Write> TraceLines<wire::Json<W>> {
    /// As JSON to `out`, each written whole.
    pub fn json(out: W) -> Self {
        Self::new(wire::Json::new(out))
    }
}

impl<L: Lines> TraceLines<L> {
    /// To whatever takes lines.
    pub fn new(to: L) -> Self {
        Self { to, aggregates_only: false, unaccounted: 0 }
    }

    /// What has taken them.
    pub(super) fn to(&self) -> &L {
        &self.to
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.to.line(line)
    }

    /// While the trace is at work only what is unaccounted is worth a line, each time it grows.
    fn audit(&mut self, audited: &Audited<'_>) -> io::Result<()> {
        let now = unaccounted(audited.namespaces);
        if audited.last || now <= self.unaccounted {
            return Ok(());
        }
        self.unaccounted = now;
        let unequal = audited.namespaces.iter().filter(|n| n.unaccounted() > 0);
        for namespace in unequal {
            self.line(&Line::Audit(wire::Audit::of(namespace, Some(audited.t_ns))))?;
        }
        Ok(())
    }

    /// A look that finds what the look before did is told by none.
    fn cause(&mut self, caused: &Caused<'_>) -> io::Result<()> {
        if *caused.change == Change::Same {
            return Ok(());
        }
        let line = wire::Cause::of(caused.evidence, caused.judgement, Some(caused.change));
        self.line(&Line::Cause(line))
    }

    fn close(&mut self, closing: &Closing<'_>) -> io::Result<()> {
        let mut verdicts = Counts::new();
        for listened in &closing.listeners {
            self.line(&listener(listened, None, closing.seconds, closing.accepts))?;
            for (id, count) in listened.totals.by_name() {
                let sum = verdicts.entry(id).or_default();
                *sum = count.saturating_add(*sum);
            }
        }
        let mut lost = 0;
        let not_shown = (Loss::NotShown, closing.suppressed);
        for (what, count) in closing.losses.iter().chain([&not_shown]).filter(|(_, n)| *n > 0) {
            lost = count.saturating_add(lost);
            self.line(&Line::Loss(wire::Loss::of(what, *count)))?;
        }
        for namespace in closing.audit.into_iter().flatten() {
            if !audit_text::is_quiet(namespace) {
                self.line(&Line::Audit(wire::Audit::of(namespace, None)))?;
            }
        }
        self.line(&Line::Summary(wire::Summary {
            v: wire::VERSION,
            runs: None,
            connections: usize::try_from(closing.connections).unwrap_or(usize::MAX),
            disagreements: None,
            verdicts,
            clients: Some(wire::Clients::of(&closing.clients)),
            lost,
            unaccounted: closing.audit.map(unaccounted),
            agree: None,
        }))?;
        self.to.flush()
    }
}

impl<L: Lines> Sink for TraceLines<L> {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        match message {
            Message::Open(opening) => {
                self.aggregates_only = opening.summary.is_some();
                self.line(&run(opening))
            }
            Message::Event(_) | Message::Connection(_) if self.aggregates_only => Ok(()),
            Message::Event(judged) => self.line(&event(judged)),
            Message::Connection(finished) => self.line(&connection(finished)),
            Message::Audit(audited) => self.audit(audited),
            Message::Cause(caused) => self.cause(caused),
            Message::Interval(interval) => interval.listeners.iter().try_for_each(|listened| {
                let t_ns = Some(interval.t_ns);
                self.line(&listener(listened, t_ns, interval.seconds, interval.accepts))
            }),
            // The summary has the count of what was not shown.
            Message::Suppressed(_) | Message::Second(_) | Message::Ending(_) => Ok(()),
            Message::Close(closing) => self.close(closing),
            Message::Flush => self.to.flush(),
        }
    }

    fn wants_connections(&self) -> bool {
        true
    }
}

fn run<'a>(opening: &'a Opening) -> Line<'a> {
    let hooks = opening.rungs.iter().filter(|(_, rung)| !rung.is_empty());
    let hook = |point: &'a str, rung: &'a str| wire::Hook {
        moment: point.into(),
        rung: rung.into(),
        hook: None,
    };
    let distro = Some(opening.distro.as_str()).filter(|distro| !distro.is_empty());
    Line::Run(wire::Run {
        v: wire::VERSION,
        run: None,
        tool: wire::TOOL.into(),
        kernel: opening.kernel.as_str().into(),
        distro: distro.map(Cow::Borrowed),
        cell: None,
        trace: Some(wire::Trace {
            filter: opening.filter.as_str().into(),
            all: opening.all,
            summary_s: opening.summary,
            wall_offset_ns: opening.wall_offset_ns,
        }),
        hooks: hooks.map(|(point, rung)| hook(point, rung)).collect(),
        notes: (&*opening.notes).into(),
    })
}

fn event<'a>(judged: &'a JudgedEvent<'a>) -> Line<'a> {
    let (observed, stage) = (judged.observed, judged.stage);
    let (known, why) = wire::Known::of(&stage.known);
    let first = judged.listeners.first();
    Line::Event(wire::Event {
        v: wire::VERSION,
        run: None,
        t_ns: judged.t_ns,
        hook: hook_point::function(observed).into(),
        client: Some(observed.conn.client),
        server: Some(observed.conn.server),
        path: wire::Functions::Known(stage.path),
        values: Cow::Borrowed(&stage.values),
        netns: Some(observed.conn.netns),
        id: Some(stage.id),
        known: Some(known),
        why,
        listener: first.map(|l| l.place().into()),
        inode: judged.socket.map(u64::from),
        reuseport_group: group(judged.listeners),
        owner: wire::Owner::of(certain_owner(judged.listeners.iter().copied())),
        candidates: candidates(judged.listeners),
    })
}

fn connection<'a>(finished: &'a Finished<'a>) -> Line<'a> {
    let first = finished.listeners.first();
    Line::Connection(wire::Connection {
        netns: Some(finished.netns),
        listener: first.map(|l| l.place().into()),
        inode: finished.socket.map(u64::from),
        reuseport_group: group(finished.listeners),
        owner: wire::Owner::of(certain_owner(finished.listeners.iter().copied())),
        candidates: candidates(finished.listeners),
        still_trying: finished.tries,
        ..wire::Connection::of(finished.connection)
    })
}

/// How many share the address of these listeners, if it is more than one.
fn group(listeners: &[&Listener]) -> Option<usize> {
    let known = listeners.first().map_or(0, |l| usize::try_from(l.group).unwrap_or(usize::MAX));
    Some(known.max(listeners.len())).filter(|n| *n > 1)
}

/// These listeners, if it is not known which of them it is.
fn candidates<'a>(listeners: &[&'a Listener]) -> Vec<wire::Candidate<'a>> {
    let several = if listeners.len() > 1 { listeners } else { &[] };
    let candidate = |l: &&'a Listener| wire::Candidate {
        inode: l.inode,
        owner: wire::Owner::of(l.owner.as_ref()),
    };
    several.iter().map(candidate).collect()
}

fn listener<'a>(
    listened: &'a Listened<'a>,
    t_ns: Option<u64>,
    seconds: f64,
    accepts: bool,
) -> Line<'a> {
    let totals: &Totals = &listened.totals;
    let first = listened.listeners.first();
    let static_q = first.map(|l| (l.recv_q, l.send_q.unwrap_or_default()));
    let (recv_q, send_q) = totals.recv_q.or(static_q).unwrap_or_default();
    let known = listened.listeners.iter().map(|l| l.inode);
    let inodes = match listened.whose {
        Whose::Socket(ino) => vec![ino.into()],
        Whose::Group | Whose::Unknown => known.collect(),
        Whose::Closed | Whose::Elsewhere => Vec::new(),
    };
    let duration = Duration::from_secs_f64(seconds).as_millis();
    let sysctls = listened.sysctls.as_ref().map(sysctl_names);
    Line::Listener(wire::Listener {
        verdicts: totals.by_name(),
        netns: Some(listened.netns),
        traced: Some(wire::Traced {
            t_ns,
            duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
            overflows: totals.overflows(),
            phantoms: totals.phantoms,
            clients: Some(clients(totals, t_ns.is_some())),
            recv_q_max: totals.recv_q_max,
            syn_queue_max: totals.syn_queue_max,
            synack_retransmits: totals.synack_retransmits,
            accepts: accepts.then(|| totals.accepts()),
            full: totals.full.map(full),
            queue_wait: totals.waits.map(|w| wire::QueueWait {
                count: w.count(),
                total_ns: w.total_ns,
                below_us: bounds(&w),
            }),
            inodes,
            closed: listened.closed(),
            members: listened.members.iter().map(|one| member(one, t_ns.is_some())).collect(),
        }),
        owner: Some(wire::Owner::of(certain_owner(listened.listeners.iter().copied()))),
        sysctls: sysctls.filter(|sysctls| !sysctls.is_empty()),
        ..wire::Listener::new(listened.place.as_str().into(), recv_q, send_q)
    })
}

/// What became of those that were hurt is known at the end.
fn clients(totals: &Totals, interval: bool) -> wire::Clients<'static> {
    if interval { wire::Clients::begun(totals.hurt) } else { wire::Clients::of(&totals.clients) }
}

fn member<'a>(listened: &'a Listened<'a>, interval: bool) -> wire::Member<'a> {
    let totals: &Totals = &listened.totals;
    let queue = listened.queue();
    wire::Member {
        inode: listened.inode().map(u64::from),
        closed: listened.closed(),
        recv_q: queue.map(|(len, _)| len),
        send_q: queue.map(|(_, limit)| limit),
        verdicts: totals.by_name(),
        overflows: totals.overflows(),
        phantoms: totals.phantoms,
        clients: Some(clients(totals, interval)),
        recv_q_max: totals.recv_q_max,
        full: totals.full.map(full),
        owner: wire::Owner::of(certain_owner(listened.listeners.iter().copied())),
    }
}

fn full(full: Full) -> wire::Full {
    let Full { times, total_ns, longest_ns, now } = full;
    wire::Full { times, total_ns, longest_ns, now }
}

/// Buckets that anybody is in: upper bound in microseconds to count; `inf` has no bound.
fn bounds(waits: &Waits) -> BTreeMap<String, u64> {
    let last = waits.buckets.len() - 1;
    let bound = |i: usize| if i == last { "inf".to_owned() } else { (1_u64 << i).to_string() };
    let some = waits.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
    some.map(|(i, n)| (bound(i), *n)).collect()
}
