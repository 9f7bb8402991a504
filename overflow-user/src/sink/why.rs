//! Why a listener is full, as text of a few lines, and as a `cause` line.

use std::io::{self, Write};

use overflow_core::{
    cause::{Change, Evidence, Finding, Judgement},
    explain::Lang,
    text::{
        duration::period,
        style::{Page, Tone},
    },
    wire::{self, Line},
};

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Also what was ruled out, and by what.
    pub ruled_out: bool,
}

/// Writes the `cause` line of one look.
pub fn json(
    out: &mut dyn Write,
    evidence: &Evidence,
    judgement: &Judgement,
    change: Option<&Change>,
) -> io::Result<()> {
    wire::line(out, &Line::Cause(wire::Cause::of(evidence, judgement, change)))
}

/// Adds what one look found: a line that names the cause, what shows it, and what to do. `margin`
/// stands before the first line.
pub fn text(
    page: &mut Page,
    margin: &str,
    evidence: &Evidence,
    judgement: &Judgement,
    detail: Detail,
) {
    let indent = margin.chars().count();
    let who = headline(evidence);
    let Some((first, others)) = judgement.causes.split_first() else {
        page.flow(margin, indent, Tone::Strong, &format!("{who}: no cause was found"));
        if judgement.unknown.is_empty() || detail.ruled_out {
            outcomes(page, "ruled out", &judgement.ruled_out);
        }
        outcomes(page, "not known", &judgement.unknown);
        return unread(page, evidence);
    };
    let since = if evidence.listener.recv_q > 0 { waited(evidence) } else { String::new() };
    page.flow(margin, indent, Tone::Bad, &format!("{who}{since}: {}", first.id.short(Lang::En)));
    cause(page, first);
    for other in others {
        page.flow("  also:", 8, Tone::Bad, other.id.short(Lang::En));
        cause(page, other);
    }
    if detail.ruled_out {
        outcomes(page, "ruled out", &judgement.ruled_out);
        outcomes(page, "not known", &judgement.unknown);
    }
    unread(page, evidence);
}

/// `0.0.0.0:80 nginx/1234, full 129/128`.
fn headline(evidence: &Evidence) -> String {
    let listener = &evidence.listener;
    let owner = listener.owner.as_ref().map_or_else(|| "?".to_owned(), |owner| owner.short(24));
    let limit = listener.send_q.map_or_else(|| "?".to_owned(), |limit| limit.to_string());
    let queue = format!("{}/{limit}", listener.recv_q);
    let state = if evidence.full() {
        format!("full {queue}")
    } else if evidence.syn_queue_full() {
        let requests = listener.syn_recv.unwrap_or_default();
        format!("SYN queue full, {requests} requests, accept queue {queue}")
    } else {
        format!("accept queue {queue}")
    };
    format!("{} {owner}, {state}", listener.place())
}

/// Since when, as far as the connections in the queue show it.
fn waited(evidence: &Evidence) -> String {
    match (evidence.full_for_ns(), evidence.waiting) {
        (Some(full), _) if full >= evidence.apart_ns => format!(" for {}", period(full)),
        (_, Some(waiting)) => format!(", the first waits for {}", period(waiting.oldest_ns)),
        _ => String::new(),
    }
}

fn cause(page: &mut Page, found: &Finding) {
    for evidence in &found.evidence {
        page.flow("", 2, Tone::Plain, &format!("{evidence} ({}).", found.id));
    }
    page.flow("  →", 4, Tone::Plain, &found.advice(Lang::En));
}

fn outcomes(page: &mut Page, title: &str, of: &[(overflow_core::cause::CauseId, String)]) {
    if of.is_empty() {
        return;
    }
    page.line(&page.paint(Tone::Dim, &format!("  {title}:")));
    for (id, why) in of {
        page.flow(&format!("    {id}"), 26, Tone::Dim, why);
    }
}

fn unread(page: &mut Page, evidence: &Evidence) {
    for note in &evidence.unread {
        page.flow("  !", 4, Tone::Warn, &format!("{note}."));
    }
}
