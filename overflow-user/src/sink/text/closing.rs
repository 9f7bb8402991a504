//! After the cells: side by side, disagreements, losses, what decided it.

use crate::{
    explain::{self, Facts},
    lab::Phase,
    sink::{CellReport, Report},
};

use super::{
    style::{Page, Tone},
    table::{Column, Field, table},
    words,
};

pub(super) fn closing(page: &mut Page, report: &Report) {
    if report.cells.len() > 1 {
        page.blank();
        page.rule("side by side: what became of each burst");
        page.blank();
        side_by_side(page, report);
    }
    page.blank();
    witnesses(page, report);
    losses(page, report);
    let facts: Vec<Facts<'_>> = report.cells.iter().map(facts).collect();
    for paragraph in explain::explain(&facts, &report.host.kernel) {
        page.blank();
        let title = page.paint(Tone::Strong, paragraph.title);
        page.line(&title);
        page.flow("", 0, Tone::Plain, &paragraph.text);
    }
}

fn side_by_side(page: &mut Page, report: &Report) {
    let columns = [
        Column::right("abort", 0),
        Column::right("syncookies", 0),
        Column::right("accepted", 0),
        Column::right("RST", 0),
        Column::right("ACK dropped", 0),
        Column::right("dropped by cookie", 0),
        Column::right("SYN dropped", 0),
        Column::right("other", 0),
    ];
    let row = |cell: &CellReport| {
        let mut counts = [0_usize; 6];
        let connections = &cell.judgement.connections;
        for judged in connections.iter().filter(|c| c.phase != Some(Phase::Prefill)) {
            counts[class(judged.verdict())] += 1;
        }
        let tones = [Tone::Good, Tone::Warn, Tone::Bad, Tone::Bad, Tone::Bad, Tone::Bad];
        let mut fields = vec![
            Field::new(cell.config.abort_on_overflow.to_string(), Tone::Plain),
            Field::new(cell.config.syncookies.to_string(), Tone::Plain),
        ];
        fields.extend(counts.iter().zip(tones).map(|(n, tone)| {
            if *n == 0 { Field::new("–", Tone::Dim) } else { Field::new(n.to_string(), tone) }
        }));
        fields
    };
    let mut rows: Vec<Vec<Field>> = report.cells.iter().map(row).collect();
    // A column of which nothing happened anywhere tells nothing: emptied, it is left out.
    for at in 2..columns.len() {
        if rows.iter().all(|row| row[at].text == "–") {
            for row in &mut rows {
                row[at].text.clear();
            }
        }
    }
    table(page, &columns, &rows);
}

/// Column of a verdict, or family of verdicts, in the table.
fn class(verdict: &str) -> usize {
    match verdict {
        v if v.starts_with("ack.accepted") => 0,
        v if v.starts_with("ack.reset") => 1,
        "ack.drop.overflow.cookie" => 3,
        v if v.starts_with("ack.drop") => 2,
        v if v.starts_with("syn.drop") => 4,
        _ => 5,
    }
}

fn witnesses(page: &mut Page, report: &Report) {
    let connections = report.cells.iter().map(|c| c.judgement.connections.len()).sum();
    if report.agree() {
        let text = format!(
            "✓ Tracer, packets, counters and both ends' sockets agree on {}.",
            words::count(connections, "connection")
        );
        // Without a tracer there is one witness less, and the sentence must not claim it.
        let text = if report.cells.iter().all(|c| c.hooks.is_empty()) {
            text.replace("Tracer, packets", "Packets")
        } else {
            text
        };
        page.flow("", 0, Tone::Good, &text);
        return;
    }
    let line = page.paint(Tone::Bad, "✗ THE WITNESSES DISAGREE. Do not rely on these verdicts:");
    page.line(&line);
    for cell in &report.cells {
        let name = cell.config.run_name();
        for judged in cell.judgement.connections.iter().filter(|c| !c.agree) {
            let why = judged.why.as_deref().unwrap_or("for no stated reason");
            let text = format!("{name}, port {}: {why}", judged.connection.client.port());
            page.flow("  - ", 4, Tone::Bad, &text);
        }
        if !cell.judgement.counters.is_empty() {
            let text = format!("{name}: {}", cell.judgement.counters_text());
            page.flow("  - ", 4, Tone::Bad, &text);
        }
    }
}

fn losses(page: &mut Page, report: &Report) {
    let mut lost: Vec<(&str, u64)> = Vec::new();
    for loss in report.cells.iter().flat_map(|c| &c.losses).filter(|l| l.count > 0) {
        match lost.iter_mut().find(|(what, _)| *what == loss.what) {
            Some((_, n)) => *n += loss.count,
            None => lost.push((&loss.what, loss.count)),
        }
    }
    if lost.is_empty() {
        page.flow("", 0, Tone::Plain, "Nothing was lost: no event, no packet.");
        return;
    }
    let lost: Vec<String> = lost.iter().map(|(what, n)| format!("{n} {what}")).collect();
    page.flow("", 0, Tone::Warn, &format!("Lost: {}.", lost.join(", ")));
}

fn facts(cell: &CellReport) -> Facts<'_> {
    let connections = cell.judgement.connections.iter();
    let burst = connections.filter(|c| c.phase != Some(Phase::Prefill));
    Facts {
        config: &cell.config,
        limit: cell.observation.queue.1.send_q,
        connections: burst.map(|c| &c.connection).collect(),
        listen_overflows: cell.observation.counters.get("ListenOverflows").copied(),
    }
}
