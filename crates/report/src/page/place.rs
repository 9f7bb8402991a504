//! One place: its clients' stories, its queues, why they were full, its settings and counters.

use maud::{Markup, html};

use super::{causes, facts, marks, sequence};
use crate::{
    chart,
    collect::Kind,
    html::Shown,
    scene::{Parting, Scene},
    story::Story,
};

/// A section; `diagrams` and `steps`: how many it has room for.
pub(super) fn section(
    kind: Kind,
    scene: &Scene,
    n: usize,
    diagrams: usize,
    steps: usize,
) -> Markup {
    let id = format!("p{n}");
    let stories = scene.stories();
    html! {
        section.place id=(id) aria-labelledby=(format!("{id}-h")) {
            h2 id=(format!("{id}-h")) { (Shown(&scene.title)) }
            @if let Some(owner) = &scene.owner { p.owner { "held by " (Shown(owner)) } }
            (facts(&scene.facts))
            @for note in &scene.notes { p.note { (Shown(note)) } }
            @if !stories.is_empty() {
                h3 { "What happened to its clients" }
                @for (rank, told) in stories.iter().enumerate() {
                    (story(told, rank < diagrams, rank == 0 && n < 4))
                }
                @if scene.stories.left_out.total() > 0 {
                    p.note {
                        "Other ways, for which this page has no room: "
                        (scene.stories.left_out.words()) "."
                    }
                }
            }
            @if let Some(parting) = &scene.parting { (apart(parting)) }
            (queues(kind, scene, steps))
            (causes::section(scene))
            (settings(scene))
        }
    }
}

fn story(story: &Story, drawn: bool, open: bool) -> Markup {
    let example = &story.example;
    let clients = match story.count {
        1 => "1 client".to_owned(),
        n => format!("{n} clients"),
    };
    html! {
        details.story open[open && drawn] {
            summary {
                (marks::mark(story.fate))
                span { b { (clients) " " (story.fate.word()) } " " span.chain { (chain(story)) } }
            }
            @for disagreement in &story.disagreements {
                p.warn { "Witnesses disagree: " (Shown(disagreement)) }
            }
            @if drawn {
                p.example {
                    @if story.count > 1 { "The first of them, " }
                    (Shown(&example.client)) " → " (Shown(&example.server))
                }
                (sequence::diagram(example))
            } @else {
                p.note { "This page has no room for more diagrams." }
            }
            @if story.count > 1 {
                details {
                    summary { "Who they are" }
                    ul.clients-list { @for client in &story.clients { li { (Shown(client)) } } }
                    @if story.count > story.clients.len() as u64 {
                        p.note { "and " (story.count - story.clients.len() as u64) " more" }
                    }
                }
            }
        }
    }
}

/// What decided, in order; the same several times in a row is named once.
fn chain(story: &Story) -> Markup {
    let mut chain: Vec<&str> = story.chain.iter().map(String::as_str).collect();
    chain.dedup();
    html! {
        @for (n, words) in chain.iter().enumerate() {
            @if n > 0 { " → " }
            (Shown(words))
        }
        @if chain.is_empty() { "nothing was seen of its handshake" }
        @if let Some(outcome) = story.outcome { " " code { (outcome.as_str()) } }
    }
}

fn apart(parting: &Parting) -> Markup {
    html! {
        h3 { "Where the two kernels part" }
        @match &parting.connection {
            None => p { "They decide alike." },
            Some(connection) => {
                p { "At " (Shown(connection)) ":" }
                div.two {
                    @for (kernel, step) in parting.kernels.iter().zip(&parting.steps) {
                        div {
                            h4 { (Shown(kernel)) }
                            @match step {
                                Some(step) => (sequence::steps(std::slice::from_ref(step))),
                                None => p { "nothing more happens" },
                            }
                        }
                    }
                }
            }
        }
    }
}

fn queues(kind: Kind, scene: &Scene, steps: usize) -> Markup {
    html! {
        @if scene.timeline.steps().next().is_some() {
            h3 { "Its queues" }
            (chart::queues(&scene.timeline, &scene.title, steps))
        } @else if scene.parting.is_none() {
            p.note {
                @match kind {
                    Kind::Capture => "Its queues: a capture does not show them.",
                    Kind::Prediction => {
                        "Its queues over time are not drawn: each decision above has their lengths."
                    }
                    Kind::Trace | Kind::Lab | Kind::Whatif => "Its queues: neither was read.",
                }
            }
        }
    }
}

fn settings(scene: &Scene) -> Markup {
    let rows =
        |caption: &str, name: &str, value: &str, of: &std::collections::BTreeMap<String, u64>| {
            html! {
                @if !of.is_empty() {
                    table {
                        caption { (caption) }
                        thead { tr { th scope="col" { (name) } th scope="col" { (value) } } }
                        tbody {
                            @for (name, n) in of {
                                tr { th scope="row" { code { (Shown(name)) } } td { (n) } }
                            }
                        }
                    }
                }
            }
        };
    html! {
        @if !scene.sysctls.is_empty() || !scene.counters.is_empty() {
            details.settings {
                summary { "Settings and counters" }
                div.two {
                    (rows("Sysctls of its network namespace", "sysctl", "value", &scene.sysctls))
                    (rows("The kernel's counters, nstat names", "counter", "rose by", &scene.counters))
                }
            }
        }
    }
}
