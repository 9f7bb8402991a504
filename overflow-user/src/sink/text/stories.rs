//! Each distinct story of a cell once: its stages with the kernel's path and values.

use crate::{
    sink::values,
    verdict::{Known, Stage, VerdictId},
    witness::Judged,
};

use super::{
    style::{Page, Tone},
    words,
};

/// Column where a stage's text begins.
const INDENT: usize = 12;

/// Prints the distinct stories of a cell's burst, in order of first appearance.
pub(super) fn stories(page: &mut Page, burst: &[&Judged]) {
    let mut found: Vec<(&Judged, usize)> = Vec::new();
    for judged in burst {
        match found.iter_mut().find(|(seen, _)| plot(seen) == plot(judged)) {
            Some((_, count)) => *count += 1,
            None => found.push((judged, 1)),
        }
    }
    for (judged, count) in found {
        story(page, judged, count);
    }
}

/// What makes two connections the same story: what happened and what became of it.
fn plot(judged: &Judged) -> (&'static str, Vec<VerdictId>, Option<VerdictId>) {
    let ids = judged.connection.stages.iter().map(|s| s.id).collect();
    (judged.verdict(), ids, judged.connection.outcome)
}

fn story(page: &mut Page, judged: &Judged, count: usize) {
    let connection = &judged.connection;
    let verdict = judged.verdict();
    let mut heading = page.paint(words::tone(verdict), verdict);
    heading.push_str(&page.symbols(&format!(" ×{count}")));
    page.line(&format!("  {heading}"));

    let t0 = connection.stages.iter().map(|s| s.t_ns).min().unwrap_or_default();
    for stage in &connection.stages {
        self::stage(page, stage, t0);
    }
    if connection.stages.is_empty() {
        let seen = judged.packets.as_ref().map_or("nothing", |a| a.picture.words());
        page.flow("", INDENT, Tone::Plain, &format!("only the packets tell: {seen}"));
    }
    if !connection.synack_retransmits_ns.is_empty() {
        let times = words::times(&connection.synack_retransmits_ns, t0);
        page.flow("", INDENT, Tone::Plain, &format!("SYN-ACK sent again at {times}"));
    }
    let last = connection.stages.last().map(|s| s.id);
    if let Some(outcome) = connection.outcome
        && Some(outcome) != last
    {
        let text = format!("{outcome}: {}", words::outcome(outcome));
        page.flow("       then ", INDENT, Tone::Plain, text.trim_end_matches([':', ' ']));
    }
}

fn stage(page: &mut Page, stage: &Stage, t0: u64) {
    let margin = format!("{:>10}  ", words::since(stage.t_ns, t0));
    let mut text = stage.id.to_string();
    let values = values::values(stage);
    if !values.is_empty() {
        text.push_str("  ");
        text.push_str(&values);
    } else if stage.id.is_under("later") {
        text.push_str(": ");
        text.push_str(words::outcome(stage.id));
    }
    page.flow(&margin, INDENT, Tone::Plain, &text);
    if !stage.path.is_empty() {
        page.flow("", INDENT, Tone::Dim, &stage.path.join(" → "));
    }
    if let Known::Inferred(why) = &stage.known {
        page.flow("", INDENT, Tone::Dim, &format!("inferred from {why}"));
    }
    if !stage.repeats_ns.is_empty() {
        let times = words::times(&stage.repeats_ns, t0);
        page.flow("", INDENT, Tone::Dim, &format!("again at {times}"));
    }
}
