//! After the cells: side by side, disagreements, losses, what decided it.

use crate::{
    explain::{self, Facts},
    report::{CellReport, Report},
};
use overflow_core::{
    explain::Counts,
    loss::Loss,
    model::scenario::Phase,
    text::{
        duration::count,
        style::{Page, Tone},
        table::{Column, Field, table},
    },
};

pub(super) fn closing(page: &mut Page, report: &Report) {
    let facts: Vec<Facts<'_>> = report.cells.iter().map(facts).collect();
    page.blank();
    page.rule("what became of each burst");
    page.blank();
    side_by_side(page, &facts);
    page.blank();
    witnesses(page, report);
    losses(page, report);
    for paragraph in explain::explain(&facts, &report.host.kernel) {
        page.blank();
        let title = page.paint(Tone::Strong, paragraph.title);
        page.line(&title);
        page.flow("", 0, Tone::Plain, &paragraph.text);
    }
}

/// A line per cell; the last column is what makes the same experiment a riddle elsewhere.
fn side_by_side(page: &mut Page, facts: &[Facts<'_>]) {
    let columns = [
        Column::right("abort", 0),
        Column::right("syncookies", 0),
        Column::left("here", 0),
        Column::left("CentOS 7 would have", 1),
    ];
    let row = |cell: &Facts<'_>| {
        let there = explain::on_centos7(cell).map(|c| c.to_string()).unwrap_or_default();
        vec![
            Field::new(cell.config.abort_on_overflow.to_string(), Tone::Plain),
            Field::new(cell.config.syncookies.to_string(), Tone::Plain),
            Field::new(explain::counts(cell).to_string(), Tone::Strong),
            Field::new(there, Tone::Plain),
        ]
    };
    let rows: Vec<Vec<Field>> = facts.iter().map(row).collect();
    table(page, &columns, &rows);
    for (word, meaning) in Counts::WORDS {
        if rows.iter().flatten().any(|field| field.text.contains(word)) {
            page.flow("  ", 2, Tone::Dim, &format!("{word}: {meaning}"));
        }
    }
}

fn witnesses(page: &mut Page, report: &Report) {
    let connections = report.cells.iter().map(|c| c.judgement.connections.len()).sum();
    if report.agree() {
        let text = format!(
            "✓ Tracer, packets, counters and both ends' sockets agree on {}.",
            count(connections, "connection")
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
        for comparison in cell.judgement.connections.iter().filter(|c| !c.agree) {
            let why = comparison.why.as_deref().unwrap_or("for no stated reason");
            let text = format!("{name}, port {}: {why}", comparison.connection.client.port());
            page.flow("  - ", 4, Tone::Bad, &text);
        }
        if !cell.judgement.counters.is_empty() {
            let text = format!("{name}: {}", cell.judgement.counters_text());
            page.flow("  - ", 4, Tone::Bad, &text);
        }
    }
}

fn losses(page: &mut Page, report: &Report) {
    let mut lost: Vec<(&Loss, u64)> = Vec::new();
    for (loss, count) in report.cells.iter().flat_map(|c| &c.losses).filter(|(_, n)| *n > 0) {
        match lost.iter_mut().find(|(known, _)| *known == loss) {
            Some((_, n)) => *n += count,
            None => lost.push((loss, *count)),
        }
    }
    if lost.is_empty() {
        page.flow("", 0, Tone::Plain, "Nothing was lost.");
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
