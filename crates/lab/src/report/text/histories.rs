//! Each distinct history of a cell once: its stages with the kernel's path and values.

use crate::witness::Comparison;
use overflow_core::{
    explain::Lang,
    text::{
        duration::{since, times as in_words},
        style::{Page, Tone},
        values,
    },
    verdict::{Known, Stage, VerdictId},
};

/// Column where a stage's text begins.
const INDENT: usize = 12;

/// Prints the distinct histories of a cell's burst, in order of first appearance.
pub(super) fn histories(page: &mut Page, burst: &[&Comparison]) {
    let mut found: Vec<(&Comparison, usize)> = Vec::new();
    for comparison in burst {
        match found.iter_mut().find(|(seen, _)| summary(seen) == summary(comparison)) {
            Some((_, count)) => *count += 1,
            None => found.push((comparison, 1)),
        }
    }
    for (comparison, count) in found {
        history(page, comparison, count);
    }
}

/// What makes two connections alike: what happened and what became of it.
fn summary(comparison: &Comparison) -> (&'static str, Vec<VerdictId>, Option<VerdictId>) {
    let ids = comparison.connection.stages.iter().map(|s| s.id).collect();
    (comparison.verdict(), ids, comparison.connection.outcome)
}

fn history(page: &mut Page, comparison: &Comparison, count: usize) {
    let connection = &comparison.connection;
    let verdict = comparison.verdict();
    let mut heading = page.paint(comparison.tone(), verdict);
    heading.push_str(&page.symbols(&format!(" ×{count}")));
    page.line(&format!("  {heading}"));

    let t0 = connection.stages.iter().map(|s| s.t_ns).min().unwrap_or_default();
    // That the lab closes its listener in the end is the lab's doing, not the overflow's.
    let shown = connection.stages.iter().filter(|s| s.id != VerdictId::LaterListenerClosed);
    let shown: Vec<&Stage> = shown.collect();
    let healthy = [VerdictId::SynQueued, VerdictId::AckAccepted];
    if shown.iter().map(|s| s.id).eq(healthy) {
        // The way of every connection in the world: the reader only wants to compare its path.
        path(page, shown[1]);
        why(page, shown[1]);
        return;
    }
    for one in &shown {
        stage(page, one, t0);
    }
    if connection.stages.is_empty() {
        let seen = comparison.packets.as_ref().map_or("nothing", |e| e.pattern.words());
        page.flow("", INDENT, Tone::Plain, &format!("known from the packets only: {seen}"));
    }
    if !connection.synack_retransmits_ns.is_empty() {
        let times = in_words(&connection.synack_retransmits_ns, t0);
        page.flow("", INDENT, Tone::Plain, &format!("SYN-ACK retransmitted at {times}"));
    }
    let last = connection.stages.last().map(|s| s.id);
    let outcome = connection.outcome.filter(|id| Some(*id) != last && id.is_later());
    if let Some(id) = outcome {
        let text = format!("{id}: {}", id.label(Lang::En));
        page.flow("      then  ", INDENT, Tone::Plain, &text);
    }
}

fn stage(page: &mut Page, stage: &Stage, t0: u64) {
    let margin = format!("{:>10}  ", since(stage.t_ns, t0));
    let text = format!("{}: {}", stage.id, stage.id.label(Lang::En));
    page.flow(&margin, INDENT, Tone::Plain, &text);
    page.flow("", INDENT, Tone::Plain, &values::values(stage));
    path(page, stage);
    why(page, stage);
    if !stage.repeats_ns.is_empty() {
        let times = in_words(&stage.repeats_ns, t0);
        page.flow("", INDENT, Tone::Plain, &format!("again at {times}"));
    }
}

fn path(page: &mut Page, stage: &Stage) {
    page.flow("", INDENT, Tone::Dim, &stage.path.join(" → "));
}

fn why(page: &mut Page, stage: &Stage) {
    if let Known::Inferred(why) = &stage.known {
        page.flow("", INDENT, Tone::Dim, &format!("inferred: {why}"));
    }
}
