//! A live trace for people: a header, a line per event, a summary per listener.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{
    audit_text,
    listeners::whereabouts,
    trace::{Audited, Closing, Interval, Listened, Message, Opening, Sink, Totals},
    trace_line::{CLIENT, Lines, VERDICT, push_owner},
};
use overflow_core::{
    audit::unaccounted,
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
            lines,
            unaccounted: 0,
        }
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
            section(&mut page, &margin, listened, interval.seconds, interval.accepts);
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
        for listened in &closing.listeners {
            page.blank();
            section(&mut page, "  ", listened, closing.seconds, closing.accepts);
        }
        if closing.suppressed > 0 {
            page.blank();
            page.line(&format!("{} events were counted but not shown.", closing.suppressed));
        }
        page.blank();
        audit_text::summary(&mut page, closing.audit);
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

/// One listener with its aggregates; `margin` stands before the first line.
fn section(page: &mut Page, margin: &str, listened: &Listened<'_>, seconds: f64, accepts: bool) {
    let totals = listened.totals;
    let indent = margin.len();
    let mut owner = String::new();
    push_owner(&mut owner, &listened.listeners, 40, true);
    let mut parts = vec![listened.place.clone(), owner];
    let place = whereabouts(listened.listeners.first().and_then(|l| l.owner.as_ref()));
    parts.extend((!place.is_empty()).then_some(place));
    parts.push(format!("netns\u{a0}{}", listened.netns));
    page.flow(margin, indent, Tone::Strong, &parts.join(", "));

    let mut facts = vec![format!("ListenOverflows\u{a0}{}", totals.overflows())];
    facts.extend(phantoms(totals));
    if let (Some(max), Some((now, limit))) = (totals.recv_q_max, totals.recv_q) {
        facts.push(format!("Recv-Q\u{a0}{now}/{limit}\u{a0}(max\u{a0}{max})"));
    }
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
    if let Some(full) = totals.full.filter(|f| f.times > 0) {
        let (total, longest) = (period(full.total_ns), period(full.longest_ns));
        let now = if full.now { ",\u{a0}still" } else { "" };
        facts.push(format!(
            "full\u{a0}{}\u{a0}times,\u{a0}{total}\u{a0}in\u{a0}all,\u{a0}longest\u{a0}{longest}{now}",
            full.times
        ));
    }
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
}

/// How many clients were left with half a connection, and how many of them got in after all.
fn phantoms(totals: &Totals) -> Option<String> {
    let recovered = match totals.recovered() {
        0 => String::new(),
        n => format!("\u{a0}({n}\u{a0}recovered)"),
    };
    (totals.phantoms > 0).then(|| format!("phantoms\u{a0}{}{recovered}", totals.phantoms))
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
