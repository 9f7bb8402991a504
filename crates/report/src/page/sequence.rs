//! The sequence diagram of one connection: a list in which each step has its segments drawn between
//! two lifelines, and the kernel's decision beside it in words.

use maud::{Markup, html};
use overflow_core::text::style::Tone;

use super::facts;
use crate::{
    html::Shown,
    step::{Arrow, Step, moment},
    story::Example,
};

/// Width between the lifelines, and height of a segment, CSS pixels.
const WIDTH: u32 = 116;
const HEIGHT: u32 = 26;

/// A connection, and what each end has of it.
pub(super) fn diagram(example: &Example) -> Markup {
    html! {
        div.lanes aria-hidden="true" { div.ends { span { "client" } span { "kernel" } } }
        (steps(&example.steps))
        @if example.more_steps > 0 { p.note { "and " (example.more_steps) " more steps" } }
        (facts(&example.ends))
    }
}

/// Its steps.
pub(super) fn steps(steps: &[Step]) -> Markup {
    html! {
        ol.seq {
            @for step in steps {
                li class=(tone(step.tone)) {
                    div.lane { (arrows(&step.arrows)) }
                    div.what {
                        p {
                            @if let Some(t_ns) = step.t_ns { span.t { (moment(t_ns)) } " " }
                            b { (Shown(&step.title)) }
                            @if let Some(id) = step.id { " " code.id { (id.as_str()) } }
                        }
                        @if !step.facts.is_empty() {
                            dl {
                                @for (name, value) in &step.facts {
                                    div { dt { (*name) } dd { (fact(name, value)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is the kernel's own words stands as such.
fn fact(name: &str, value: &str) -> Markup {
    html! {
        @if ["path", "function", "condition", "values"].contains(&name) {
            code { (Shown(value)) }
        } @else {
            (Shown(value))
        }
    }
}

fn arrows(arrows: &[Arrow]) -> Markup {
    let height = HEIGHT * u32::try_from(arrows.len()).unwrap_or(1);
    let words: Vec<_> = arrows.iter().map(words).collect();
    html! {
        @if !arrows.is_empty() {
            svg role="img" width=(WIDTH) height=(height) aria-label=(words.join(", ")) {
                @for (n, arrow) in (0_u32..).zip(arrows) { (draw(arrow, n * HEIGHT + HEIGHT - 7)) }
            }
        }
    }
}

fn words(arrow: &Arrow) -> String {
    let (from, to) = if arrow.by_client { ("client", "kernel") } else { ("kernel", "client") };
    let end = if arrow.dropped { ", dropped" } else { "" };
    format!("{} from {from} to {to}{end}", arrow.name)
}

fn draw(arrow: &Arrow, y: u32) -> Markup {
    let (begin, end, head) = if arrow.by_client {
        let end = if arrow.dropped { WIDTH - 12 } else { WIDTH - 2 };
        (2, end, format!("M{} {}l-7-4v8z", WIDTH - 1, y))
    } else {
        (WIDTH - 2, 2, format!("M1 {y}l7-4v8z"))
    };
    let cross = format!("M{} {}l8 8m0-8l-8 8", WIDTH - 11, y - 4);
    html! {
        g class=(if arrow.dropped { "arrow dropped" } else { "arrow" }) {
            line x1=(begin) x2=(end) y1=(y) y2=(y) {}
            @if arrow.dropped { path.cross d=(cross) {} } @else { path.head d=(head) {} }
            text x=(WIDTH / 2) y=(y - 5) text-anchor="middle" { (Shown(&arrow.name)) }
        }
    }
}

const fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Warn => "warn",
        Tone::Strong => "strong",
        Tone::Plain | Tone::Dim => "plain",
    }
}
