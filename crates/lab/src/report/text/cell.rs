//! One cell: heading, table of the burst, histories, queues and counters.

use std::collections::BTreeSet;

use crate::{
    CellConfig,
    report::{CellReport, Host},
    witness::Comparison,
};
use overflow_common::Rung;
use overflow_core::{
    model::scenario::Phase,
    text::{
        duration::{count, setting},
        style::{Page, Tone},
        table::{Column, Field, table},
        values,
    },
    verdict::Counter,
    wire::LinkKind,
};

use super::{histories::histories, sockets};

/// With more clients than this, rows that are alike are counted instead of listed.
const LISTED: usize = 20;
/// Margin of the lines below the table.
const LABEL: usize = 12;

/// What is known before the first cell.
pub(super) fn header(page: &mut Page, host: &Host, first: &CellReport) {
    let distro = host.distro.as_ref().map_or(String::new(), |d| format!(", {d}"));
    page.flow("", 0, Tone::Strong, &format!("overflow lab on Linux {}{distro}", host.kernel));
    page.blank();
    let how = match first.observation.link {
        LinkKind::Netem => "netem",
        LinkKind::Userspace => "a user-space link",
    };
    let text = format!(
        "A server listens and never calls accept(); {} connect at once. What the server sends \
         takes {} longer ({how}), so that every SYN has arrived before the first third ACK.",
        count(first.config.clients as usize, "client"),
        setting(first.config.delay),
    );
    page.flow("", 0, Tone::Plain, &text);
    let legend = format!(
        "In the tables, client and server are what each end has {} later, in the words of ss; ✓ \
         says that packets, counters and both sockets bear the verdict out; abort is \
         net.ipv4.tcp_abort_on_overflow, syncookies is net.ipv4.tcp_syncookies.",
        setting(first.config.hold),
    );
    page.flow("", 0, Tone::Dim, &legend);
    if first.hooks.is_empty() {
        let text = "Nothing traces the kernel here: every verdict is inferred from packets and \
                    counters.";
        page.flow("", 0, Tone::Warn, text);
    } else {
        page.flow("", 0, Tone::Dim, &format!("Traced by {}.", hooks(first)));
    }
    for note in &first.observation.notes {
        page.flow("", 0, Tone::Dim, &format!("Note: {note}"));
    }
}

pub(super) fn cell(page: &mut Page, cell: &CellReport) {
    let config = &cell.config;
    page.blank();
    page.rule(&heading(config));
    if !cell.observation.concurrent {
        let text = "The burst was not concurrent: a third ACK came before the last SYN, so this \
                    cell shows another experiment than the one asked for.";
        page.flow("  ", 2, Tone::Warn, text);
    }
    let of_phase = |phase| {
        let all = cell.judgement.connections.iter();
        all.filter(move |c| c.phase == phase).collect::<Vec<&Comparison>>()
    };
    let mut burst = of_phase(Some(Phase::Burst));
    burst.extend(of_phase(None));
    prefill(page, &of_phase(Some(Phase::Prefill)), cell);
    page.blank();
    connections(page, &burst, cell);
    page.blank();
    histories(page, &burst);
    page.blank();
    sums(page, cell);
}

fn heading(config: &CellConfig) -> String {
    let mut parts = vec![
        format!("abort={} syncookies={}", config.abort_on_overflow, config.syncookies),
        format!("backlog {}", config.backlog),
    ];
    if let Some(somaxconn) = config.somaxconn {
        parts.push(format!("somaxconn {somaxconn}"));
    }
    if config.prefill > 0 {
        parts.push(format!("prefill {}", config.prefill));
    }
    parts.push(count(config.clients as usize, "client"));
    if config.payload > 0 {
        parts.push(format!("{} each", count(config.payload, "byte")));
    }
    parts.push(format!("delay {}", setting(config.delay)));
    parts.join(", ")
}

/// All prefill connections in one line.
fn prefill(page: &mut Page, comparisons: &[&Comparison], cell: &CellReport) {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for comparison in comparisons {
        match counts.iter_mut().find(|(verdict, _)| *verdict == comparison.verdict()) {
            Some((_, n)) => *n += 1,
            None => counts.push((comparison.verdict(), 1)),
        }
    }
    if counts.is_empty() {
        return;
    }
    let verdicts: Vec<String> = counts.iter().map(|(v, n)| format!("{v} ×{n}")).collect();
    let tick = tick(comparisons.iter().all(|c| cell.agrees(c)));
    let text = format!("before the burst: {} {tick}", verdicts.join(", "));
    page.blank();
    page.flow("  ", 2, Tone::Plain, &text);
}

fn connections(page: &mut Page, burst: &[&Comparison], cell: &CellReport) {
    let grouped = burst.len() > LISTED;
    let mut rows: Vec<(Vec<Field>, usize)> = Vec::new();
    for comparison in burst {
        let row = row(comparison, cell);
        match rows.iter_mut().find(|(seen, _)| grouped && *seen == row) {
            Some((_, count)) => *count += 1,
            None => rows.push((row, 1)),
        }
    }
    let first = |(mut row, count): (Vec<Field>, usize), comparison: Option<&&Comparison>| {
        let text = match comparison {
            Some(comparison) => comparison.connection.client.port().to_string(),
            None => format!("{count}×"),
        };
        row.insert(0, Field::new(text, Tone::Plain));
        row
    };
    let rows: Vec<Vec<Field>> = if grouped {
        rows.into_iter().map(|row| first(row, None)).collect()
    } else {
        rows.into_iter().zip(burst).map(|(row, comparison)| first(row, Some(comparison))).collect()
    };
    let columns = [
        Column::right(if grouped { "clients" } else { "port" }, 0),
        Column::left("client", 0),
        Column::left("server", 0),
        Column::left("verdict", 0),
        Column::left("decided by", 2),
        Column::left("known", 1),
    ];
    table(page, &columns, &rows);
}

fn row(comparison: &Comparison, cell: &CellReport) -> Vec<Field> {
    let verdict = comparison.verdict();
    let (client, client_tone) = sockets::client(comparison);
    let (server, server_tone) = sockets::server(comparison);
    let decided = comparison.connection.handshake().map(values::decided_by).unwrap_or_default();
    let agree = cell.agrees(comparison);
    let known = comparison.known();
    let tone = if agree { Tone::Plain } else { Tone::Bad };
    vec![
        Field::new(client, client_tone),
        Field::new(server, server_tone),
        Field::new(verdict, comparison.tone()),
        Field::new(decided, Tone::Plain),
        Field::new(format!("{known} {}", tick(agree)), tone),
    ]
}

/// The cell's own sums: queue and counters, and what the counters prove.
fn sums(page: &mut Page, cell: &CellReport) {
    let (before, after) = &cell.observation.queue;
    let queue = format!(
        "Recv-Q {} of Send-Q {} ({} before the burst): {}",
        after.recv_q,
        after.send_q,
        before.recv_q,
        if after.recv_q > after.send_q { "full" } else { "not full" },
    );
    page.flow("  listener  ", LABEL, Tone::Plain, &queue);
    let counted = Counter::ALL.iter().map(|counter| counter.as_str()).filter_map(|name| {
        let n = *cell.observation.counters.get(name)?;
        (n > 0).then(|| format!("{name}\u{a0}{n}"))
    });
    let counted: Vec<String> = counted.collect();
    let counted = if counted.is_empty() { "none rose".to_owned() } else { counted.join(", ") };
    let agree = cell.judgement.counters.is_empty();
    let counted = format!("{} {counted}", tick(agree));
    page.flow("  counters  ", LABEL, Tone::Plain, &counted);
    if !agree {
        page.flow("", LABEL, Tone::Bad, &cell.judgement.counters_text());
    }
    if cell.observation.attempts > 1 {
        let text = format!("{} until the burst was concurrent", cell.observation.attempts);
        page.flow("  attempts  ", LABEL, Tone::Plain, &text);
    }
}

/// How many kernel functions and tracepoints are hooked, by rung; the names are a page long.
fn hooks(cell: &CellReport) -> String {
    let mut rungs: Vec<(Rung, BTreeSet<&str>)> = Vec::new();
    for hook in &cell.hooks {
        // `fentry:f` and `fexit:f` are one function.
        let name = hook.hook.rsplit_once(':').map_or(hook.hook.as_str(), |(_, name)| name);
        match rungs.iter_mut().find(|(rung, _)| *rung == hook.rung) {
            Some((_, names)) => _ = names.insert(name),
            None => rungs.push((hook.rung, BTreeSet::from([name]))),
        }
    }
    let rung = |(rung, names): &(Rung, BTreeSet<&str>)| {
        let tracepoint = *rung == Rung::Tracepoint;
        let what = if tracepoint { "tracepoint" } else { "kernel function" };
        let by = if tracepoint { String::new() } else { format!(" ({})", rung.as_str()) };
        format!("{}{by}", count(names.len(), what))
    };
    let rungs: Vec<String> = rungs.iter().map(rung).collect();
    format!("hooks on {}; `overflow doctor` names them", rungs.join(" and "))
}

fn tick(agree: bool) -> &'static str {
    if agree { "✓" } else { "✗" }
}
