//! What other settings would have meant, a table for each listener.

use maud::{Markup, html};

use super::facts;
use crate::{
    collect::{Asked, Number},
    html::Shown,
};

/// All of them.
pub(super) fn sections(asked: &[Asked]) -> Markup {
    html! {
        @for (n, asked) in asked.iter().enumerate() {
            section aria-labelledby=(format!("whatif-{n}")) {
                h2 id=(format!("whatif-{n}")) { (Shown(&asked.listener)) }
                (facts(&asked.facts))
                p.note {
                    "Clients by what became of them: the most likely number, and between which it is. "
                    "Delayed ones were refused at first and got into the accept queue so long later."
                }
                (table(asked))
                @if asked.more_rows > 0 {
                    p.note { "and " (asked.more_rows) " more settings" }
                }
                @if !asked.advice.is_empty() {
                    h3 { "What would have been enough" }
                    (facts(&asked.advice))
                }
                h3 { "What this rests on" }
                ul.points { @for text in &asked.assumed { li { (Shown(text)) } } }
            }
        }
    }
}

/// What happened or would have, in one sentence.
pub(super) fn headline(asked: &[Asked]) -> String {
    // The first row is what was recorded, the second the same by the model.
    let settings: Vec<_> = asked.iter().flat_map(|asked| asked.rows.iter().skip(2)).collect();
    match (settings.len(), settings.iter().filter(|row| row.hurts_nobody()).count()) {
        (0, _) => "What happened to the clients of a recording".to_owned(),
        (1, 0) => "The setting that was asked about would have hurt clients, too".to_owned(),
        (1, _) => "The setting that was asked about would have hurt nobody".to_owned(),
        (all, good) => format!("{good} of {all} settings would have hurt nobody"),
    }
}

fn table(asked: &Asked) -> Markup {
    html! {
        div.wide { table {
            caption { "Clients at each setting" }
            thead { tr {
                th scope="col" { "setting" }
                th scope="col" { "refused" }
                th scope="col" { "delayed < 1 s" }
                th scope="col" { "by 1 s" }
                th scope="col" { "by 3 s" }
                th scope="col" { "by 7 s" }
                th scope="col" { "not in at the end" }
                th scope="col" { "gave up" }
                th scope="col" { "longest wait" }
            } }
            tbody {
                @for row in &asked.rows {
                    tr {
                        th scope="row" { (Shown(&row.name)) }
                        @for number in &row.clients { td { (self::number(*number)) } }
                        td { @if let Some(wait) = &row.wait { (Shown(wait)) } }
                    }
                }
            }
        } }
    }
}

fn number(number: Number) -> Markup {
    let Number { likely, least, most } = number;
    html! {
        (likely)
        @if least != most { " " span.meaning { (least) "–" (most) } }
    }
}
