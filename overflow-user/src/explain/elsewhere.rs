//! Why CentOS 7, the last common kernel of the old rules, makes something else of the same bursts.

use super::{Counts, Facts, Paragraph, centos7, on_centos7, stages};
use crate::verdict::VerdictId;

/// The comparison; `None` when nothing can be said.
pub(super) fn paragraph(cells: &[Facts<'_>]) -> Option<Paragraph> {
    let mut told = Vec::new();
    let reckoned: Vec<(Counts, Counts)> =
        cells.iter().filter_map(|c| Some((Counts::of(c), on_centos7(c)?))).collect();
    if let (Some(cell), false) = (cells.first(), reckoned.is_empty()) {
        told.push(format!(
            "CentOS 7 (3.10) sizes the SYN queue apart from the backlog (max_qlen_log) and never \
             below 16: for this listener it holds {} requests.",
            centos7::syn_queue_limit(cell.limit),
        ));
        told.push(difference(&reckoned));
    }
    let full_before = cells.iter().filter(|c| on_centos7(c).is_none()).cloned();
    let full_before: Vec<Facts<'_>> = full_before.collect();
    if !stages(&full_before, VerdictId::SynDropAcceptQueueFull).is_empty() {
        told.push(
            "Kernels before 4.10 (5ea8ea2cb7f1), CentOS 7 among them, drop a SYN at a full accept \
             queue only while more than one request is young: there some of these SYNs become \
             requests, and tcp_abort_on_overflow decides what their third ACKs meet."
                .to_owned(),
        );
    }
    let text = told.join(" ");
    (!text.is_empty()).then_some(Paragraph { title: "Why another distribution differs", text })
}

/// What the larger SYN queue changes, given what happened here and would have happened there.
fn difference(reckoned: &[(Counts, Counts)]) -> String {
    let differing = reckoned.iter().filter(|(here, there)| here != there).count();
    if differing == 0 {
        return "That makes no difference to these bursts.".to_owned();
    }
    let any = |test: fn(&Counts, &Counts) -> bool| reckoned.iter().any(|(a, b)| test(a, b));
    let more_requests = any(|here, there| there.reset + there.dropped > here.reset + here.dropped);
    if !more_requests {
        return format!("That changes how {differing} of these bursts would end.");
    }
    let cookies = any(|here, there| here.cookie_dropped > there.cookie_dropped);
    let syns = any(|here, there| here.syn_dropped > there.syn_dropped);
    let lost_here = match (cookies, syns) {
        (true, true) => "that get a cookie or are dropped here",
        (true, false) => "that get a cookie here",
        _ => "that are dropped here",
    };
    let cells = if reckoned.len() == 1 { "cell" } else { "cells" };
    format!(
        "So SYNs {lost_here} become requests there, their third ACKs meet tcp_check_req, and \
         tcp_abort_on_overflow decides: RST with 1, drop and retry with 0. That is reckoned by \
         the rules of its kernel, and differs from what happened here in {differing} of {} {cells}.",
        reckoned.len(),
    )
}
