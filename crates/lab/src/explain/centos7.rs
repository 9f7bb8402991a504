//! Why CentOS 7, the last common kernel of the old rules, makes something else of the same bursts.

use super::{
    Facts, Paragraph,
    question::{counts, of_cell},
};
use crate::CellConfig;
use overflow_core::{
    explain::{Counts, predict_burst::Question},
    model::{compare, features::Features},
};

/// A burst that ran, and what the model makes of it on CentOS 7.
struct Predicted<'a> {
    config: &'a CellConfig,
    question: Question,
    here: Counts,
    there: Counts,
}

/// The comparison; `None` when nothing can be concluded.
pub(super) fn paragraph<'a>(cells: &[Facts<'a>], features: Features) -> Option<Paragraph> {
    let predicted = |cell: &Facts<'a>| {
        let question = of_cell(cell.config, cell.limit)?;
        let there = question.counts(Features::EL7);
        Some(Predicted { config: cell.config, question, here: counts(cell), there })
    };
    let predicted: Vec<Predicted<'a>> = cells.iter().filter_map(predicted).collect();
    let first = predicted.first()?;
    let mut sentences = vec![format!(
        "CentOS 7 (3.10) sizes the SYN queue apart from the backlog (max_qlen_log) and never below \
         16: for this listener it holds {} requests.",
        first.question.syn_queue(Features::EL7),
    )];
    if predicted.iter().any(|r| r.question.queued > r.question.limit) {
        sentences.push(
            "At a full accept queue it drops a SYN only while more than one request is young; \
             since 4.10 (5ea8ea2cb7f1) such a SYN is always dropped."
                .to_owned(),
        );
    }
    sentences.push(difference(&predicted));
    sentences.extend(parting(&predicted, features));
    Some(Paragraph { title: "Why another distribution differs", text: sentences.join(" ") })
}

/// What the other rules change, given what happened here and would have happened there.
fn difference(predicted: &[Predicted<'_>]) -> String {
    let differing = predicted.iter().filter(|r| r.here != r.there).count();
    if differing == 0 {
        return "That makes no difference to these bursts.".to_owned();
    }
    let any =
        |test: fn(&Counts, &Counts) -> bool| predicted.iter().any(|r| test(&r.here, &r.there));
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
    let cells = if predicted.len() == 1 { "cell" } else { "cells" };
    format!(
        "So SYNs {lost_here} become requests there, their third ACKs meet tcp_check_req, and \
         tcp_abort_on_overflow decides: RST with 1, drop and retry with 0. That is predicted by a \
         model of its kernel, and differs from what happened here in {differing} of {} {cells}.",
        predicted.len(),
    )
}

/// The first decision of the model at which the two kernels part, in the first cell that differs.
fn parting(predicted: &[Predicted<'_>], features: Features) -> Option<String> {
    let cell = predicted.iter().find(|r| r.here != r.there)?;
    let (here, there) = (cell.question.paths(features), cell.question.paths(Features::EL7));
    let first = compare::first_divergence(&here, &there)?;
    let (left, right) = (first.left?, first.right?);
    Some(format!(
        "They part at client {} of {}: {} here ({}), {} there ({}).",
        first.client + 1,
        cell.config.run_name(),
        left.id,
        left.condition,
        right.id,
        right.condition,
    ))
}
