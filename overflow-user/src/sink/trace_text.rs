//! A live trace for people: a header, a line per event, a summary per listener.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    audit_text, clients_text,
    listeners::whereabouts,
    trace::{
        Audited, Caused, Closing, Interval, Listened, Message, Opening, Sink, Totals, Whose,
        certain_owner,
    },
    trace_line::{CLIENT, Lines, VERDICT, push_owner},
    why::{self, Detail},
};
use overflow_core::{
    audit::unaccounted,
    cause::Change,
    text::{
        duration::{count, period},
        style::{Options, Page, Tone},
    },
    verdict::VerdictId,
};

/// Prints text.
#[derive(Debug)]
pub struct TraceText<W> {
    out: W,
    opts: Options,
    wall_offset_ns: i64,
    utc_offset_s: i32,
    /// Whether only aggregates are shown.
    aggregates_only: bool,
    /// Whether there is no header.
    quiet: bool,
    lines: Lines,
    /// How much the audit left unaccounted when that was last printed.
    unaccounted: u64,
}

impl<W: Write> TraceText<W> {
    /// Text to `out`, set with these options.
    pub fn new(out: W, opts: Options) -> Self {
        let lines = Lines::new(opts, 0, 0);
        Self {
            out,
            opts,
            wall_offset_ns: 0,
            utc_offset_s: 0,
            aggregates_only: false,
            quiet: false,
            lines,
            unaccounted: 0,
        }
    }

    /// The same without a header, and so without notes, if `quiet`.
    #[must_use]
    pub fn quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    fn clock(&self, t_ns: u64) -> String {
        clock(t_ns, self.wall_offset_ns, self.utc_offset_s)
    }

    /// Learns how times are to be shown, and prints nothing.
    pub(super) fn learn(&mut self, opening: &Opening) {
        self.aggregates_only = opening.summary.is_some();
        self.wall_offset_ns = opening.wall_offset_ns;
        self.utc_offset_s = opening.utc_offset_s;
        self.lines = Lines::new(self.opts, self.wall_offset_ns, self.utc_offset_s);
    }

    fn open(&mut self, opening: &Opening) -> io::Result<()> {
        self.learn(opening);
        if self.quiet {
            return Ok(());
        }
        let mut page = Page::new(self.opts);
        let what = match (&opening.summary, opening.all) {
            (Some(seconds), _) => format!("Aggregates of TCP listeners every {seconds} s"),
            (None, true) => "Every handshake with TCP listeners".to_owned(),
            (None, false) => "Abnormal handshakes with TCP listeners".to_owned(),
        };
        let filter = match opening.filter.as_str() {
            "" => String::new(),
            filter => format!(" ({filter})"),
        };
        let line = format!(
            "{what}{filter}, kernel {}, by {}. Ctrl-C ends.",
            opening.kernel,
            rungs(&opening.rungs)
        );
        page.flow("", 0, Tone::Plain, &line);
        for note in &opening.notes {
            page.flow("note:", 6, Tone::Dim, note);
        }
        if opening.summary.is_none() {
            let head = format!(
                "{:8} {:CLIENT$} {:5} {:VERDICT$} {:6} OWNER",
                "TIME", "CLIENT", "LPORT", "VERDICT (~ inferred)", "Recv-Q"
            );
            let head = page.paint(Tone::Dim, &head);
            page.line(&head);
        }
        page.write_to(&mut self.out)
    }

    fn suppressed(&mut self, count: u64) -> io::Result<()> {
        let mut page = Page::new(self.opts);
        let text = format!("         ({count} more in this second are not shown)");
        let text = page.paint(Tone::Dim, &text);
        page.line(&text);
        page.write_to(&mut self.out)
    }

    fn interval(&mut self, interval: &Interval<'_>) -> io::Result<()> {
        let mut page = Page::new(self.opts);
        let clock = self.clock(interval.t_ns);
        for listened in &interval.listeners {
            let margin = format!("{clock} ");
            let span = Span { seconds: interval.seconds, accepts: interval.accepts, clock: None };
            section(&mut page, &margin, listened, &interval.listeners, span);
        }
        page.write_to(&mut self.out)
    }

    /// While the trace is at work only what is unaccounted is worth a line, each time it grows.
    fn audit(&mut self, audited: &Audited<'_>) -> io::Result<()> {
        let now = unaccounted(audited.namespaces);
        if audited.last || now <= self.unaccounted {
            return Ok(());
        }
        self.unaccounted = now;
        let mut page = Page::new(self.opts);
        for namespace in audited.namespaces.iter().filter(|n| n.unaccounted() > 0) {
            audit_text::namespace(&mut page, "audit", namespace);
        }
        page.write_to(&mut self.out)
    }

    /// Below the events that filled the queue, each time the cause is another one.
    fn cause(&mut self, caused: &Caused<'_>) -> io::Result<()> {
        if *caused.change == Change::Same {
            return Ok(());
        }
        let mut page = Page::new(self.opts);
        let margin = format!("{} ", self.clock(caused.evidence.t_ns));
        why::text(&mut page, &margin, caused.evidence, caused.judgement, Detail::default());
        page.write_to(&mut self.out)
    }

    pub(super) fn close(&mut self, closing: &Closing<'_>) -> io::Result<()> {
        let mut page = Page::new(self.opts);
        page.blank();
        let seconds = closing.seconds;
        if closing.listeners.is_empty() {
            let counted = closing.audit.is_some_and(|a| !a.iter().all(audit_text::is_quiet));
            let but = if counted { ", although the kernel counted drops" } else { "" };
            page.line(&format!("Nothing to report in {seconds:.1} s{but}."));
        } else {
            let listeners = count(closing.listeners.len(), "listener");
            page.line(&format!("{listeners} in {seconds:.1} s:"));
        }
        let clock = |t_ns| self.clock(t_ns);
        // One listener says it itself.
        if closing.listeners.len() > 1
            && let Some(hurt) = clients_text::summary(&closing.clients, clock)
        {
            page.flow("", 2, Tone::Bad, &hurt);
        }
        for listened in &closing.listeners {
            page.blank();
            let (seconds, accepts) = (closing.seconds, closing.accepts);
            let span = Span { seconds, accepts, clock: Some(&clock) };
            section(&mut page, "  ", listened, &closing.listeners, span);
        }
        if closing.suppressed > 0 {
            page.blank();
            page.line(&format!("{} events were counted but not shown.", closing.suppressed));
        }
        page.blank();
        if closing.part {
            audit_text::of_a_part(&mut page);
        } else {
            audit_text::summary(&mut page, closing.audit);
        }
        page.write_to(&mut self.out)
    }
}

impl<W: Write> Sink for TraceText<W> {
    fn handle(&mut self, message: Message<'_>) -> io::Result<()> {
        match message {
            Message::Open(opening) => self.open(opening),
            Message::Event(_) if self.aggregates_only => Ok(()),
            Message::Event(judged) => self.out.write_all(self.lines.line(judged).as_bytes()),
            Message::Suppressed(count) => self.suppressed(count),
            Message::Interval(interval) => self.interval(interval),
            Message::Audit(audited) => self.audit(audited),
            Message::Cause(caused) => self.cause(caused),
            // Each of a connection's events had a line.
            Message::Connection(_) | Message::Second(_) | Message::Ending(_) => Ok(()),
            Message::Close(closing) => {
                self.close(closing)?;
                self.out.flush()
            }
            Message::Flush => self.out.flush(),
        }
    }

    fn wants_connections(&self) -> bool {
        false
    }
}

/// `HH:MM:SS` of a CLOCK_MONOTONIC time, as the clocks stood when tracing began.
pub(super) fn clock(t_ns: u64, wall_offset_ns: i64, utc_offset_s: i32) -> String {
    let wall = i128::from(t_ns) + i128::from(wall_offset_ns);
    let seconds = wall.div_euclid(1_000_000_000) + i128::from(utc_offset_s);
    let of_day = seconds.rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// The time that aggregates are of.
#[derive(Clone, Copy)]
struct Span<'a> {
    /// Its length.
    seconds: f64,
    /// Whether accept() was traced.
    accepts: bool,
    /// Writes a time of the day; `None` for an interval, at whose end it is not yet known what becomes of
    /// clients.
    clock: Option<&'a dyn Fn(u64) -> String>,
}

/// One listener with its aggregates; `margin` stands before the first line, and `others` are shown
/// beside it.
fn section(
    page: &mut Page,
    margin: &str,
    listened: &Listened<'_>,
    others: &[Listened<'_>],
    span: Span<'_>,
) {
    let Span { seconds, accepts, clock } = span;
    let totals = &*listened.totals;
    let indent = margin.len();
    page.flow(margin, indent, Tone::Strong, &heading(listened, others).join(", "));
    let hurt = match clock {
        Some(clock) => clients_text::summary(&totals.clients, clock),
        None => hurt(totals),
    };
    if let Some(hurt) = hurt {
        page.flow("", indent + 2, Tone::Bad, &hurt);
    }

    let mut facts = vec![format!("ListenOverflows\u{a0}{}", totals.overflows())];
    facts.extend(phantoms(totals));
    facts.extend(queue(totals));
    if let Some(max) = totals.syn_queue_max {
        facts.push(format!("SYN-Q\u{a0}max\u{a0}{max}"));
    }
    if totals.synack_retransmits > 0 {
        facts.push(format!("SYN-ACKs\u{a0}resent\u{a0}{}", totals.synack_retransmits));
    }
    if accepts && seconds > 0.0 {
        #[allow(clippy::cast_precision_loss)] // a rate for people
        let rate = totals.accepts() as f64 / seconds;
        facts.push(format!("accept()\u{a0}{rate:.1}/s"));
    }
    facts.extend(full_for(totals));
    if let Some(waits) = totals.waits.filter(|w| w.count() > 0) {
        let below =
            |per_mille| waits.below(per_mille).map_or("?".to_owned(), |us| period(us * 1000));
        facts.push(format!(
            "in\u{a0}queue\u{a0}until\u{a0}accept():\u{a0}half\u{a0}<{},\u{a0}99\u{a0}%\u{a0}<{}",
            below(500),
            below(990)
        ));
    }
    if let Some(sysctls) = listened.sysctls {
        let setting = |name: &str, value: Option<u8>| value.map(|v| format!("{name}={v}"));
        facts.extend(setting("abort", sysctls.abort_on_overflow));
        facts.extend(setting("syncookies", sysctls.syncookies));
    }
    page.flow("", indent + 2, Tone::Plain, &facts.join(", "));
    for (id, count) in by_count(&totals.verdicts) {
        let line = format!("{:indent$}  {count:>9}  {}", "", page.paint(id.tone(), id.as_str()));
        page.line(&line);
    }
    for one in &listened.members {
        member(page, indent + 2, one);
    }
}

/// Which listener it is, and whose; `others`: those that are shown beside it.
fn heading(listened: &Listened<'_>, others: &[Listened<'_>]) -> Vec<String> {
    let mut parts = vec![listened.place.clone()];
    let mut owner = String::new();
    match listened.whose {
        Whose::Group => {
            parts.push(format!("{} by SO_REUSEPORT", count(listened.members.len(), "member")));
        }
        Whose::Socket(_) | Whose::Unknown => {
            push_owner(&mut owner, &listened.listeners, 40);
            parts.push(owner);
            let place = whereabouts(certain_owner(listened.listeners.iter().copied()));
            parts.extend((!place.is_empty()).then_some(place));
        }
        Whose::Closed => parts.push(closed(listened)),
        Whose::Elsewhere => return vec![format!("{}: {}", listened.place, closed(listened))],
    }
    parts.push(format!("netns\u{a0}{}", listened.netns));
    let same = |other: &&Listened<'_>| {
        (other.netns, other.local) == (listened.netns, listened.local)
            && other.whose != listened.whose
    };
    // One after the other at the same address.
    if let Some(ino) = listened.inode().filter(|_| others.iter().any(|other| same(&other))) {
        parts.push(format!("socket\u{a0}{ino}"));
        parts.extend((!listened.open).then(|| "closed".to_owned()));
    }
    parts
}

/// Of sockets that are gone and are counted together, how many there are.
fn closed(listened: &Listened<'_>) -> String {
    count(usize::try_from(listened.sockets).unwrap_or(usize::MAX), "closed listener")
}

/// A member of a group in one line.
fn member(page: &mut Page, indent: usize, listened: &Listened<'_>) {
    let mut parts = Vec::new();
    match listened.whose {
        Whose::Socket(ino) => {
            let mut owner = String::new();
            push_owner(&mut owner, &listened.listeners, 40);
            parts.push(owner);
            parts.push(format!("socket\u{a0}{ino}"));
            parts.extend((!listened.open).then(|| "closed".to_owned()));
        }
        Whose::Group | Whose::Unknown => {
            parts.push("unknown\u{a0}which".to_owned());
        }
        Whose::Closed | Whose::Elsewhere => parts.push(closed(listened)),
    }
    let totals = &*listened.totals;
    parts.push(format!("ListenOverflows\u{a0}{}", totals.overflows()));
    let looked = listened.queue().filter(|_| listened.open);
    let looked = looked.map(|(len, limit)| format!("Recv-Q\u{a0}{len}/{limit}"));
    parts.extend(queue(totals).or(looked));
    parts.extend(full_for(totals));
    parts.extend(hurt(totals));
    let verdicts = by_count(&totals.verdicts).into_iter();
    parts.extend(verdicts.map(|(id, n)| format!("{n}\u{a0}{id}")));
    let margin = format!("{:indent$}- ", "");
    page.flow(&margin, indent + 2, Tone::Plain, &parts.join(", "));
}

/// How many clients were refused for the first time.
fn hurt(totals: &Totals) -> Option<String> {
    let clients = count(usize::try_from(totals.hurt).unwrap_or(usize::MAX), "client");
    (totals.hurt > 0).then(|| format!("{clients} hurt").replace(' ', "\u{a0}"))
}

fn queue(totals: &Totals) -> Option<String> {
    let (max, (now, limit)) = totals.recv_q_max.zip(totals.recv_q)?;
    Some(format!("Recv-Q\u{a0}{now}/{limit}\u{a0}(max\u{a0}{max})"))
}

/// How long the accept queue was full, if it was.
fn full_for(totals: &Totals) -> Option<String> {
    let full = totals.full.filter(|f| f.times > 0)?;
    let (total, longest) = (period(full.total_ns), period(full.longest_ns));
    let now = if full.now { ",\u{a0}still" } else { "" };
    Some(format!(
        "full\u{a0}{}\u{a0}times,\u{a0}{total}\u{a0}in\u{a0}all,\u{a0}longest\u{a0}{longest}{now}",
        full.times
    ))
}

/// How many clients were left with half a connection, and how many of them got in after all, in time
/// or when they had closed it.
fn phantoms(totals: &Totals) -> Option<String> {
    let ended = [(totals.recovered(), "recovered"), (totals.recovered_too_late(), "too\u{a0}late")];
    let ended: Vec<String> =
        ended.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n}\u{a0}{what}")).collect();
    let ended = match &*ended {
        [] => String::new(),
        _ => format!("\u{a0}({})", ended.join(",\u{a0}")),
    };
    (totals.phantoms > 0).then(|| format!("phantoms\u{a0}{}{ended}", totals.phantoms))
}

/// The most frequent first.
pub(super) fn by_count(verdicts: &BTreeMap<VerdictId, u64>) -> Vec<(VerdictId, u64)> {
    let mut sorted: Vec<_> = verdicts.iter().map(|(id, n)| (*id, *n)).collect();
    sorted.sort_by_key(|(id, n)| (std::cmp::Reverse(*n), *id));
    sorted
}

/// Those in use, as words.
pub(super) fn rungs(rungs: &[(String, String)]) -> String {
    let mut used: Vec<&str> = Vec::new();
    for (_, rung) in rungs {
        if !rung.is_empty() && !used.contains(&rung.as_str()) {
            used.push(rung);
        }
    }
    used.join(" and ")
}

/// Cuts the middle out of an address that is too long: its port and both its ends identify it best.
pub(super) fn elide(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_owned();
    }
    let port = text.rfind(']').unwrap_or(text.len());
    let (address, tail) = text.split_at(port);
    let room = width.saturating_sub(tail.len() + 2);
    let front = room / 2;
    let back = address.len() - (room - front);
    format!("{}..{}{tail}", &address[..front], &address[back..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_addresses_keep_both_ends_and_the_port() {
        assert_eq!(elide("10.7.0.2:41234", 21), "10.7.0.2:41234");
        let long = "[2001:db8:1234:5678:9abc:def0:1234:5678]:54321";
        assert_eq!(elide(long, 21), "[2001:..4:5678]:54321");
        assert!(elide(long, 21).len() <= 21);
    }

    #[test]
    fn the_clock_is_the_recorders_local_time() {
        let mut text = TraceText::new(io::sink(), Options::default());
        text.wall_offset_ns = 86_399_500_000_000;
        assert_eq!(text.clock(400_000_000), "23:59:59");
        assert_eq!(text.clock(500_000_000), "00:00:00");
        text.utc_offset_s = -3600;
        assert_eq!(text.clock(500_000_000), "23:00:00");
    }
}
