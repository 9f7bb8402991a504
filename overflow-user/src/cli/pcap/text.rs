//! What a capture shows, for people.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use jiff::Timestamp;

use super::{Sink, Whole};
use overflow_core::{
    capture::{
        finding::Finding,
        link::Link,
        point::{Place, Surety},
        sums::Sum,
    },
    text::{
        duration::{self, count, since},
        style::{Options, Page, Tone},
        table::{Column, Field, table},
    },
    verdict::WirePattern,
};

/// How many ids are named before the rest is counted.
const NAMED: usize = 3;
/// How many listeners, and how many clients, have a row.
const ROWS: usize = 20;
const INDENT: usize = 4;

/// Prints it.
pub(super) struct Text<W: Write> {
    out: W,
    options: Options,
}

impl<W: Write> Text<W> {
    /// Begins with what is read.
    pub(super) fn new(out: W, options: Options, file: &str) -> io::Result<Self> {
        let mut text = Self { out, options };
        let mut page = text.page();
        let name = if file == "-" { "standard input" } else { file };
        let what = format!(
            "Handshakes in {name}, by their packets alone; times are UTC, #N is a packet's number"
        );
        page.flow("", 0, Tone::Plain, &what);
        page.blank();
        text.put(page)?;
        text.flush()?;
        Ok(text)
    }

    fn page(&self) -> Page {
        Page::new(self.options)
    }

    fn put(&mut self, page: Page) -> io::Result<()> {
        page.write_to(&mut self.out)
    }
}

impl<W: Write> Sink for Text<W> {
    fn finding(&mut self, finding: &Finding, interface: Option<&str>) -> io::Result<()> {
        let mut page = self.page();
        let mut head = format!(
            "{} #{}  {} → {}",
            clock(finding.t0_ns),
            finding.number,
            finding.client,
            finding.server
        );
        if let Some(name) = interface {
            // Whoever made the file chose it.
            head = format!("{head}  ({})", name.escape_debug());
        }
        page.flow("", 0, Tone::Plain, &head);
        page.flow("", INDENT, tone(finding), &verdict(finding));
        page.flow("", INDENT, Tone::Plain, &seen(finding));
        if !finding.doubts.is_empty() {
            let doubts: Vec<&str> = finding.doubts.iter().map(|doubt| doubt.what()).collect();
            page.flow("", INDENT, Tone::Dim, &format!("cannot tell {}", doubts.join("; nor ")));
        }
        self.put(page)
    }

    fn end(&mut self, whole: &Whole) -> io::Result<()> {
        let mut page = self.page();
        let sums = &whole.sums;
        if sums.all.connections > 0 {
            page.blank();
            let listeners = sums.listeners.iter().map(|(a, sum)| (a.to_string(), sum));
            ends(&mut page, "listener", listeners.collect());
            page.blank();
            let clients = sums.clients.iter().map(|(a, sum)| (a.to_string(), sum));
            ends(&mut page, "client", clients.collect());
            page.blank();
            places(&mut page, whole);
        }
        doubts(&mut page, whole);
        remarks(&mut page, whole);
        self.put(page)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn tone(finding: &Finding) -> Tone {
    if finding.verdicts.is_empty() { Tone::Warn } else { finding.evidence.pattern.tone() }
}

/// The verdict, or those that look alike.
fn verdict(finding: &Finding) -> String {
    let ids: Vec<&str> = finding.verdicts.iter().map(|id| id.as_str()).collect();
    let recovered =
        if finding.recovered { ", after an earlier third ACK had not got in" } else { "" };
    match &ids[..] {
        [] => finding.family().to_owned(),
        [only] => format!("{only}{recovered}"),
        ids if ids.len() <= NAMED => format!("{}{recovered}", ids.join(" or ")),
        ids => {
            let more = ids.len() - NAMED;
            format!("{}, or {more} more that look alike{recovered}", ids[..NAMED].join(", "))
        }
    }
}

/// What the packets show, with times.
fn seen(finding: &Finding) -> String {
    let evidence = &finding.evidence;
    let times = |times: &[u64]| duration::times(times, finding.t0_ns);
    let mut parts = vec![evidence.pattern.words().to_owned()];
    if let Some(again) = evidence.flow.syns.get(1..).filter(|again| !again.is_empty()) {
        parts.push(format!("SYN sent again {}", times(again)));
    }
    if let Some(ack) = evidence.flow.acks.first() {
        parts.push(format!("third ACK {}", since(ack.t_ns, finding.t0_ns)));
    }
    let resent = evidence.resent_synacks();
    if !resent.is_empty() {
        parts.push(format!("SYN-ACK sent again {}", times(&resent)));
    }
    for reset in finding.resets.iter().take(NAMED) {
        parts.push(format!("RST {}, {}", since(reset.t_ns, finding.t0_ns), reset.kind.words()));
    }
    if finding.phantom == Some(true) && !finding.recovered {
        parts.push("the client believed it was connected".to_owned());
    }
    parts.join("; ")
}

/// A table of listeners or clients, those with most trouble first.
fn ends(page: &mut Page, role: &'static str, mut all: Vec<(String, &Sum)>) {
    let trouble = |sum: &Sum| sum.connections - sum.families.get(ACCEPTED).unwrap_or(&0);
    all.sort_by_key(|(_, sum)| std::cmp::Reverse((trouble(sum) + sum.recovered, sum.connections)));
    let left = all.len().saturating_sub(ROWS);
    all.truncate(ROWS);
    let columns = [
        Column::left(role, 0),
        Column::right("conns", 0),
        Column::right("accepted", 0),
        Column::right("phantoms", 1),
        Column::right("SYN again", 3),
        Column::right("SYN-ACK again", 2),
        Column::right("RST s/c", 4),
    ];
    let row = |(address, sum): &(String, &Sum)| {
        let plain = |n: u64| Field::new(n.to_string(), Tone::Plain);
        vec![
            Field::new(address.clone(), Tone::Strong),
            plain(sum.connections),
            plain(*sum.families.get(ACCEPTED).unwrap_or(&0)),
            plain(sum.phantoms),
            plain(sum.syn_retransmits),
            plain(sum.synack_retransmits),
            Field::new(format!("{}/{}", sum.server_resets, sum.client_resets), Tone::Plain),
        ]
    };
    let rows: Vec<Vec<Field>> = all.iter().map(row).collect();
    table(page, &columns, &rows);
    if left > 0 {
        page.flow("", 2, Tone::Dim, &format!("and {}", count(left, role)));
    }
}

const ACCEPTED: &str = WirePattern::Accepted.text();

/// How many ended how, and where they were captured.
fn places(page: &mut Page, whole: &Whole) {
    let families: Vec<String> =
        whole.sums.all.families.iter().map(|(family, n)| format!("{family}\u{a0}×{n}")).collect();
    page.flow("verdicts", 12, Tone::Plain, &families.join(", "));
    for (point, n) in &whole.sums.places {
        let known = match point.surety {
            Surety::Given | Surety::Shown => "",
            Surety::Suggested if point.place == Place::Unknown => "",
            Surety::Suggested => ", it seems",
        };
        let n = count(usize::try_from(*n).unwrap_or(usize::MAX), "connection");
        let text = format!("{}{known} ({n}): {}", point.place.words(), point.why);
        page.flow("captured", 12, Tone::Plain, &text);
    }
}

/// What it leaves open, and what would tell.
fn doubts(page: &mut Page, whole: &Whole) {
    let doubts = &whole.sums.doubts;
    if doubts.is_empty() {
        return;
    }
    page.blank();
    page.line("What this capture cannot tell:");
    let mut ports = whole.sums.listeners.keys().map(SocketAddr::port);
    let port = ports.next().filter(|first| ports.all(|port| port == *first));
    for (doubt, n) in doubts {
        let n = count(usize::try_from(*n).unwrap_or(usize::MAX), "connection");
        page.flow("  -", INDENT, Tone::Plain, &format!("{} ({n})", doubt.what()));
        let ask = match port {
            Some(port) => doubt.ask().replace("PORT", &port.to_string()),
            None => doubt.ask().to_owned(),
        };
        page.flow("", INDENT, Tone::Dim, &ask);
    }
}

/// What a reader must know besides.
fn remarks(page: &mut Page, whole: &Whole) {
    let mut remarks = Vec::new();
    let Whole { packets, others, counts, sums, .. } = whole;
    let plural = |n: u64, one: &str| count(usize::try_from(n).unwrap_or(usize::MAX), one);
    let mut read = format!(
        "{}, {} asked for",
        plural(*packets, "packet"),
        plural(counts.segments, "TCP segment")
    );
    for (n, one, rest) in [
        (counts.copies, "segment", " seen twice"),
        (*others, "packet", " without a TCP segment that could be read"),
        (counts.without_handshake, "pair", " of ends whose handshake is not in it"),
    ] {
        if n > 0 {
            read = format!("{read}; {}{rest}", plural(n, one));
        }
    }
    remarks.push(read);
    for (link, n) in &whole.unread_links {
        let known: Vec<&str> = Link::ALL.iter().map(|link| link.name()).collect();
        remarks.push(format!(
            "{n} packets are of link type {link}, which is not read; those that are: {}",
            known.join(", ")
        ));
    }
    for (loss, n) in &whole.losses {
        remarks.push(format!("{n} {loss}: {}", loss.meaning()));
    }
    if sums.all.connections > *sums.all.families.get(ACCEPTED).unwrap_or(&0) {
        remarks.push(format!(
            "all but {ACCEPTED} rests also on what did not come: where packets are missing from the \
             capture, say --lossy"
        ));
    }
    page.blank();
    for remark in remarks {
        page.flow("  -", INDENT, Tone::Dim, &remark);
    }
}

/// Date and time in UTC, to the microsecond.
fn clock(t_ns: u64) -> String {
    match Timestamp::from_nanosecond(i128::from(t_ns)) {
        Ok(time) => time.strftime("%F %T%.6f").to_string(),
        Err(_) => format!("{t_ns} ns"),
    }
}
